//! In: an image and a pool. Out: whether a node of the pool finds the image: with its own way to the registry, its mirrors,
//! its trusted CAs and its logins. A digest that is wrong costs a question here, and a drained node later.

use super::super::diagnose::of_node;
use super::super::exec::{self, End};
use super::super::objects::{MCO_NAMESPACE, name};
use super::super::pools::{is_available, sort_by_turn};
use super::super::proof::{DAEMON, LIMIT, daemon_pod};
use super::{Look, Refusal, refusal};
use crate::error::ModuleError;

/// Where nodes have their logins (MCO: docs/PullSecret.md).
const AUTH_FILE: &str = "/var/lib/kubelet/config.json";

/// What the node said: nothing when it found the image.
enum Said {
    Found,
    NotFound(String),
    /// What it lacks to look.
    CannotLook(&'static str),
}

impl Look<'_> {
    /// The node that would be taken first looks for the image.
    pub(super) async fn node(&self, refusals: &mut Vec<Refusal>, warnings: &mut Vec<String>) {
        let mut nodes: Vec<_> = self
            .view
            .nodes
            .iter()
            .filter(|node| is_available(node))
            .collect();
        sort_by_turn(&mut nodes);
        let Some(node) = nodes.first() else {
            return;
        };
        let (image, node_name) = (self.image, name(node));
        match self.ask(node_name).await {
            Ok(Said::Found) => {}
            Ok(Said::CannotLook(lacks)) => warnings.push(format!(
                "whether node {node_name} finds `{image}` was not looked at: it has no `{lacks}`"
            )),
            Ok(Said::NotFound(text)) => refusals.push(refusal(
                "node_pull",
                format!("node `{node_name}` does not find `{image}`: {text}"),
                of_node(&text).remedy(),
            )),
            Err(problem) => warnings.push(format!(
                "node {node_name} could not be asked whether it finds `{image}`: {problem}"
            )),
        }
    }

    async fn ask(&self, node: &str) -> Result<Said, ModuleError> {
        let pod = daemon_pod(self.cluster, node).await?;
        let image = format!("docker://{}", self.image);
        let command = [
            "chroot",
            "/rootfs",
            "skopeo",
            "inspect",
            "--raw",
            "--authfile",
            AUTH_FILE,
            &image,
        ];
        let command = command.map(str::to_owned).to_vec();
        let work = exec::run(self.cluster, MCO_NAMESPACE, &pod, DAEMON, command);
        let Ok(ran) = tokio::time::timeout(LIMIT, work).await else {
            return Ok(Said::NotFound(format!(
                "no answer within {} s (i/o timeout)",
                LIMIT.as_secs()
            )));
        };
        let ran = ran?;
        Ok(match ran.end {
            End::Status(0) => Said::Found,
            End::Status(126 | 127) => Said::CannotLook("skopeo"),
            End::Status(_) => match message(&ran.stderr) {
                // The file itself, not what it holds.
                text if text.contains(AUTH_FILE) => Said::CannotLook(AUTH_FILE),
                text => Said::NotFound(text),
            },
            End::Refused(said) => return Err(ModuleError::failed(said)),
        })
    }
}

/// The words of skopeo, out of its log line: `time="..." level=fatal msg="..."`.
fn message(stderr: &str) -> String {
    let line = stderr.lines().rev().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or("it does not say why").trim();
    match line.split_once("msg=") {
        Some((_, quoted)) => serde_json::from_str(quoted).unwrap_or_else(|_| quoted.to_owned()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skopeos_words_are_taken_out_of_its_log() {
        let line = r#"time="2026-11-24T09:00:00Z" level=fatal msg="Error parsing image name \"docker://r/x@sha256:0\": reading manifest sha256:0 in r/x: manifest unknown""#;
        assert_eq!(
            message(line),
            "Error parsing image name \"docker://r/x@sha256:0\": reading manifest sha256:0 in r/x: manifest unknown"
        );
        assert_eq!(
            message("chroot: cannot change root\n"),
            "chroot: cannot change root"
        );
        assert_eq!(message(""), "it does not say why");
    }
}
