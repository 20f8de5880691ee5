//! In: a node. Out: the digest that it has booted, read from the node itself. "Could not look" is never "wrong".

use std::time::Duration;

use indexmap::IndexMap;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::runtime::wait::await_condition;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::Cluster;
use super::exec::End;
use super::objects::{MCO_NAMESPACE, api, api_in, image_stream_tag, name, namespace, pod};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::{CommandSpec, Platform};

/// How a node is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Through the machine-config daemon's pod; through a debug pod when there is none.
    #[default]
    Auto,
    /// Through the machine-config daemon's pod.
    Daemon,
    /// Through a pod as `oc debug node` makes it.
    Debug,
    /// By SSH to the node's internal address.
    Ssh,
}

/// One command on a node must not take longer.
pub(super) const LIMIT: Duration = Duration::from_mins(1);
/// A debug pod may have to pull its image.
const POD_LIMIT: Duration = Duration::from_mins(5);
/// What `oc debug node` falls back to, too (oc: pkg/cli/debug).
const DEBUG_IMAGE: &str = "registry.redhat.io/rhel9/support-tools";

/// What a node said.
#[derive(Debug, Clone, PartialEq)]
pub struct Booted {
    /// The digest of the manifest that was imported.
    pub digest: Option<String>,
    /// The image reference without its transport.
    pub reference: String,
    pub version: String,
    pub boot_id: String,
    /// A deployment waits for the next boot.
    pub staged: bool,
    /// How it was read: `daemon`, `debug`, `ssh`.
    pub proof: &'static str,
}

impl Booted {
    /// `name@digest` of what runs.
    pub fn image(&self) -> String {
        match &self.digest {
            Some(digest) => {
                let base = self.reference.split('@').next().unwrap_or_default();
                format!("{base}@{digest}")
            }
            None => self.reference.clone(),
        }
    }

    /// True when the node runs the wanted digest: as a manifest, or as the list that the reference names.
    pub fn is(&self, digest: &str) -> bool {
        self.digest.as_deref() == Some(digest) || self.reference.ends_with(&format!("@{digest}"))
    }
}

/// Asks a node.
pub async fn read(
    platform: &Platform,
    cluster: &Cluster,
    node: &Value,
    method: Method,
) -> Result<Booted, ModuleError> {
    match method {
        Method::Daemon => by_daemon(cluster, node).await,
        Method::Debug => by_debug_pod(cluster, node).await,
        Method::Ssh => by_ssh(platform, node).await,
        Method::Auto => match by_daemon(cluster, node).await {
            Ok(booted) => Ok(booted),
            // No daemon on the node, or none that can be asked: the second way. A node that is away stays away.
            Err(problem) if matches!(problem.kind, ErrorKind::NotFound | ErrorKind::Forbidden) => {
                by_debug_pod(cluster, node).await
            }
            Err(problem) => Err(problem),
        },
    }
}

/// The script that a node is asked with: one line for the boot, then the deployments.
const SCRIPT: &str = "cat /proc/sys/kernel/random/boot_id && rpm-ostree status --json";

fn asked(root: &str) -> Vec<String> {
    ["chroot", root, "/bin/sh", "-c", SCRIPT]
        .map(str::to_owned)
        .to_vec()
}

/// The container of the machine-config daemon's pods.
pub(super) const DAEMON: &str = "machine-config-daemon";

/// The pod of the machine-config daemon on a node.
pub(super) async fn daemon_pod(cluster: &Cluster, node: &str) -> Result<String, ModuleError> {
    let pods = api_in(cluster, &pod(), MCO_NAMESPACE);
    let wanted = ListParams::default()
        .labels("k8s-app=machine-config-daemon")
        .fields(&format!("spec.nodeName={node}"));
    let found = pods
        .list(&wanted)
        .await
        .map_err(|problem| cluster.told("find the machine-config daemon's pod", &problem))?;
    let running = found
        .items
        .into_iter()
        .find(|pod| pod.data["status"]["phase"] == "Running");
    running.and_then(|pod| pod.metadata.name).ok_or_else(|| {
        ModuleError::new(
            ErrorKind::NotFound,
            format!("node `{node}` has no running machine-config daemon pod"),
        )
        .hint("try `proof: debug` or `proof: ssh`")
    })
}

async fn by_daemon(cluster: &Cluster, node: &Value) -> Result<Booted, ModuleError> {
    let node_name = name(node);
    let pod = daemon_pod(cluster, node_name).await?;
    let text = exec(cluster, MCO_NAMESPACE, &pod, DAEMON, asked("/rootfs")).await?;
    parse(&text, node_name, "daemon")
}

/// Runs a command in a pod; what it prints.
async fn exec(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: &str,
    command: Vec<String>,
) -> Result<String, ModuleError> {
    let work = super::exec::run(cluster, namespace, pod, container, command);
    let late = |_| {
        let limit = LIMIT.as_secs();
        let message = format!("a command in pod `{pod}` did not end within {limit} s");
        ModuleError::new(ErrorKind::Unreachable, message)
    };
    let ran = tokio::time::timeout(LIMIT, work).await.map_err(late)??;
    let (kind, said) = match ran.end {
        End::Status(0) => return Ok(ran.stdout),
        End::Status(code) => (ErrorKind::Failed, format!("it ended with status {code}")),
        End::Refused(said) => (ErrorKind::Unreachable, said),
    };
    let text = format!(
        "a command in pod `{pod}` failed: {said} {}",
        ran.stderr.trim()
    );
    Err(ModuleError::new(kind, text.trim_end()))
}

/// The image that `oc debug node` takes: the cluster's own tools, from its payload and pullable where the cluster is cut
/// off; without them the one that oc names.
async fn debug_image(cluster: &Cluster) -> String {
    let tags = api_in(cluster, &image_stream_tag(), "openshift");
    let tag = tags.get("tools:latest").await.ok();
    tag.as_ref()
        .and_then(|tag| tag.data["image"]["dockerImageReference"].as_str())
        .unwrap_or(DEBUG_IMAGE)
        .to_owned()
}

/// As `oc debug node/NAME` does it: a namespace of its own, a privileged pod with the host at `/host`; both are deleted
/// whatever happens, also when this is dropped.
async fn by_debug_pod(cluster: &Cluster, node: &Value) -> Result<Booted, ModuleError> {
    let node_name = name(node);
    let namespaces = api(cluster, &namespace());
    let parse_error = |problem: serde_json::Error| ModuleError::failed(problem.to_string());
    let wanted: DynamicObject = serde_json::from_value(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "generateName": "openshift-debug-",
        "labels": {
            "pod-security.kubernetes.io/enforce": "privileged", "pod-security.kubernetes.io/audit": "privileged",
            "pod-security.kubernetes.io/warn": "privileged", "security.openshift.io/scc.podSecurityLabelSync": "false",
        },
        "annotations": {"oc.openshift.io/command": "oc debug", "openshift.io/node-selector": ""},
    }}))
    .map_err(parse_error)?;
    let made = namespaces
        .create(&PostParams::default(), &wanted)
        .await
        .map_err(|problem| cluster.told("create a namespace for a debug pod", &problem))?;
    let space = made.metadata.name.unwrap_or_default();
    let cleanup = Cleanup {
        namespaces: namespaces.clone(),
        name: Some(space.clone()),
    };
    let pods = api_in(cluster, &pod(), &space);
    let pod_name = format!("{}-debug", node_name.replace('.', "-"));
    let pod: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": pod_name, "labels": {"debug.openshift.io/managed-by": "oc-debug"}, "annotations": {
            "debug.openshift.io/source-container": "container-00", "debug.openshift.io/source-resource": format!("/v1, Resource=nodes/{node_name}"),
            "openshift.io/required-scc": "privileged",
        }},
        "spec": {
            "nodeName": node_name, "hostNetwork": true, "hostPID": true, "hostIPC": true, "restartPolicy": "Never",
            "volumes": [{"name": "host", "hostPath": {"path": "/", "type": "Directory"}}],
            "containers": [{
                "name": "container-00", "image": debug_image(cluster).await, "command": ["/bin/sh", "-c", "sleep 900"],
                "env": [{"name": "TMOUT", "value": "900"}, {"name": "HOST", "value": "/host"}],
                "securityContext": {"privileged": true, "runAsUser": 0},
                "volumeMounts": [{"name": "host", "mountPath": "/host"}],
            }],
        },
    }))
    .map_err(parse_error)?;
    let work = async {
        pods.create(&PostParams::default(), &pod)
            .await
            .map_err(|problem| {
                cluster.told(
                    &format!("create a debug pod on node `{node_name}`"),
                    &problem,
                )
            })?;
        tokio::time::timeout(
            POD_LIMIT,
            await_condition(pods.clone(), &pod_name, |pod: Option<&DynamicObject>| {
                pod.is_some_and(|pod| pod.data["status"]["phase"] == "Running")
            }),
        )
        .await
        .map_err(|_| {
            ModuleError::new(
                ErrorKind::Unreachable,
                format!(
                    "the debug pod on node `{node_name}` did not start within {} s",
                    POD_LIMIT.as_secs()
                ),
            )
        })?
        .map_err(|problem| {
            ModuleError::new(
                ErrorKind::Unreachable,
                format!("the debug pod on node `{node_name}` cannot be watched: {problem}"),
            )
        })?;
        let text = exec(cluster, &space, &pod_name, "container-00", asked("/host")).await?;
        parse(&text, node_name, "debug")
    };
    let result = work.await;
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    // The namespace takes what is left of it along.
    let _ = pods.delete(&pod_name, &now).await;
    cleanup.now().await;
    result
}

/// Deletes a namespace, also when the work is dropped half-way.
struct Cleanup {
    namespaces: Api<DynamicObject>,
    name: Option<String>,
}

impl Cleanup {
    async fn now(mut self) {
        if let Some(name) = self.name.take() {
            let _ = self
                .namespaces
                .delete(&name, &DeleteParams::default())
                .await;
        }
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if let (Some(name), Ok(runtime)) = (self.name.take(), tokio::runtime::Handle::try_current())
        {
            let namespaces = self.namespaces.clone();
            runtime.spawn(async move { namespaces.delete(&name, &DeleteParams::default()).await });
        }
    }
}

async fn by_ssh(platform: &Platform, node: &Value) -> Result<Booted, ModuleError> {
    let node_name = name(node);
    let address = node["status"]["addresses"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|address| address["type"] == "InternalIP")
        .and_then(|address| address["address"].as_str())
        .unwrap_or(node_name);
    let mut connection: IndexMap<String, Value> = platform.connection.clone();
    // The user of RHCOS nodes.
    connection
        .entry("ansible_user".to_owned())
        .or_insert_with(|| json!("core"));
    let shell = platform.opener.ssh(address, &connection).await?;
    let output = shell
        .run(CommandSpec {
            argv: ["/bin/sh", "-c", SCRIPT].map(str::to_owned).to_vec(),
            ..CommandSpec::default()
        })
        .await?;
    if output.rc != 0 {
        return Err(ModuleError::failed(format!(
            "node `{node_name}`: `rpm-ostree status` ended with status {}: {}",
            output.rc,
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    parse(&String::from_utf8_lossy(&output.stdout), node_name, "ssh")
}

/// What the node printed: the boot id, then `rpm-ostree status --json`.
fn parse(text: &str, node: &str, proof: &'static str) -> Result<Booted, ModuleError> {
    let unreadable = |why: &str| {
        ModuleError::failed(format!(
            "node `{node}`: what it says of its boot cannot be read: {why}"
        ))
    };
    let (boot_id, status) = text
        .trim_start()
        .split_once('\n')
        .ok_or_else(|| unreadable("nothing after the boot id"))?;
    let status: Value =
        serde_json::from_str(status).map_err(|problem| unreadable(&problem.to_string()))?;
    let deployments = status["deployments"]
        .as_array()
        .ok_or_else(|| unreadable("no deployments"))?;
    let booted = deployments
        .iter()
        .find(|deployment| deployment["booted"] == true)
        .ok_or_else(|| unreadable("no booted deployment"))?;
    let full = booted["container-image-reference"]
        .as_str()
        .unwrap_or_default();
    let reference = without_transport(full).to_owned();
    let digest = booted["container-image-reference-digest"]
        .as_str()
        .or_else(|| reference.split_once('@').map(|(_, digest)| digest))
        .map(ToOwned::to_owned);
    Ok(Booted {
        digest,
        reference,
        version: booted["version"].as_str().unwrap_or_default().to_owned(),
        boot_id: boot_id.trim().to_owned(),
        staged: deployments
            .iter()
            .any(|deployment| deployment["staged"] == true),
        proof,
    })
}

/// The image of an ostree reference (rpm-ostree and ostree-ext write it in seven ways).
fn without_transport(text: &str) -> &str {
    let rest = [
        "ostree-unverified-registry:",
        "ostree-unverified-image:docker://",
        "ostree-unverified-image:registry:",
        "ostree-unverified-image:containers-storage:",
        "ostree-image-signed:docker://",
        "ostree-image-signed:registry:",
    ]
    .iter()
    .find_map(|prefix| text.strip_prefix(prefix));
    if let Some(rest) = rest {
        return rest;
    }
    // `ostree-remote-registry:REMOTE:REF`, `ostree-remote-image:REMOTE:docker://REF`
    for prefix in ["ostree-remote-registry:", "ostree-remote-image:"] {
        if let Some((_, image)) = text
            .strip_prefix(prefix)
            .and_then(|rest| rest.split_once(':'))
        {
            return image
                .trim_start_matches("docker://")
                .trim_start_matches("registry:");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_reference_gives_the_image() {
        for text in [
            "ostree-unverified-registry:r/x@sha256:1",
            "ostree-unverified-image:docker://r/x@sha256:1",
            "ostree-unverified-image:containers-storage:r/x@sha256:1",
            "ostree-remote-registry:fedora:r/x@sha256:1",
            "ostree-remote-image:fedora:docker://r/x@sha256:1",
        ] {
            assert_eq!(without_transport(text), "r/x@sha256:1", "{text}");
        }
    }

    #[test]
    fn the_booted_deployment_counts_and_a_staged_one_is_seen() {
        let status = json!({"deployments": [
            {"booted": false, "staged": true, "container-image-reference": "ostree-unverified-registry:r/x@sha256:2", "container-image-reference-digest": "sha256:2"},
            {"booted": true, "staged": false, "container-image-reference": "ostree-unverified-registry:r/x@sha256:L", "container-image-reference-digest": "sha256:1", "version": "9.4"},
        ]});
        let booted = parse(&format!("boot-1\n{status}"), "n", "daemon").unwrap();
        assert!(booted.is("sha256:1") && booted.is("sha256:L") && !booted.is("sha256:2"));
        assert_eq!(
            (
                booted.boot_id.as_str(),
                booted.staged,
                booted.image().as_str()
            ),
            ("boot-1", true, "r/x@sha256:1")
        );
        for text in [
            "",
            "boot",
            "boot\nno json",
            "boot\n{}",
            "boot\n{\"deployments\": []}",
        ] {
            assert!(parse(text, "n", "daemon").is_err(), "{text}");
        }
    }
}
