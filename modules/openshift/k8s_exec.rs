//! `k8s_exec`: a command in a container of a pod. In: pod, container, command; out: what it printed, and its status.

use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::exec::{self, End};
use super::objects;
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

pub struct K8sExec;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The pod's namespace.
    namespace: String,
    /// The pod.
    pod: String,
    /// The container; the pod's default one, or its first, without it.
    container: Option<String>,
    /// The command and its arguments, quoted as for a shell. There is none: for pipes and variables write `sh -c '...'`.
    command: String,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

/// Where to run what.
pub struct Work {
    container: String,
    command: Vec<String>,
}

/// The annotation that `kubectl exec` looks at.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The container that is meant, which the pod must have.
fn container(pod: &Value, wanted: Option<&str>, shown: &str) -> Result<String, ModuleError> {
    let names: Vec<&str> = ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .filter_map(|list| pod["spec"][list].as_array())
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    if let Some(wanted) = wanted {
        return if names.contains(&wanted) {
            Ok(wanted.to_owned())
        } else {
            let message = format!("{shown} has no container `{wanted}`");
            Err(ModuleError::argument("container", message)
                .hint(format!("it has {}", names.join(", "))))
        };
    }
    let by_default = pod["metadata"]["annotations"][DEFAULT_CONTAINER]
        .as_str()
        .filter(|name| names.contains(name));
    by_default
        .or(names.first().copied())
        .map(ToOwned::to_owned)
        .ok_or_else(|| ModuleError::failed(format!("{shown} has no containers")))
}

#[async_trait]
impl Module for K8sExec {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "k8s_exec";
    const SUMMARY: &'static str = "Runs a command in a container of a pod";
    const EXAMPLES: &'static str = "- k8s_exec:\n    namespace: openshift-etcd\n    pod: etcd-master-0\n    container: etcdctl\n    command: etcdctl endpoint health --write-out json\n  register: health\n- k8s_exec: {namespace: web, pod: web-0, command: \"sh -c 'df -h | tail -n 1'\"}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = Touches {
        cluster: true,
        ..Touches::NOTHING
    };
    const ALIASES: &'static [&'static str] =
        &["kubernetes.core.k8s_exec", "community.kubernetes.k8s_exec"];

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let command = shlex::split(&args.command)
            .filter(|words| !words.is_empty())
            .ok_or_else(|| {
                let what = if args.command.trim().is_empty() {
                    "`command` is empty"
                } else {
                    "`command`: a quote is opened and never closed"
                };
                ModuleError::argument("command", what)
            })?;
        let cluster = platform
            .open_cluster(args.kubeconfig.as_ref(), args.context.as_ref())
            .await?;
        let shown = format!("pod `{}/{}`", args.namespace, args.pod);
        let pod = objects::api_in(&cluster, &objects::pod(), &args.namespace)
            .get(&args.pod)
            .await
            .map_err(|problem| cluster.told(&format!("read {shown}"), &problem))?;
        let pod = objects::json(&pod)?;
        Ok(Change::Unknown {
            message: "Command would have run if not in check mode".to_owned(),
            work: Work {
                container: container(&pod, args.container.as_deref(), &shown)?,
                command,
            },
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let cluster = platform
            .open_cluster(args.kubeconfig.as_ref(), args.context.as_ref())
            .await?;
        let ran = tokio::select! {
            ran = exec::run(&cluster, &args.namespace, &args.pod, &work.container, work.command) => ran?,
            () = platform.cancel.cancelled() => {
                let message = format!("a command in pod `{}` was left: the run was interrupted", args.pod);
                return Err(ModuleError::new(ErrorKind::Cancelled, message));
            }
        };
        let lines = |text: &str| -> Value { text.lines().map(Value::from).collect() };
        let mut result = json!({
            "stdout": ran.stdout, "stdout_lines": lines(&ran.stdout),
            "stderr": ran.stderr, "stderr_lines": lines(&ran.stderr),
            "container": work.container,
        });
        match ran.end {
            End::Status(code) => {
                result["rc"] = json!(code);
                result["return_code"] = json!(code);
                if code != 0 {
                    result["msg"] = json!(format!("the command ended with status {code}"));
                }
                Ok(Outcome::changed(result))
            }
            End::Refused(said) => Err(ModuleError::failed(format!(
                "the command cannot be run in container `{}` of pod `{}/{}`: {said}",
                work.container, args.namespace, args.pod
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_is_the_named_one_the_default_one_or_the_first() {
        let pod = |annotations: Value| -> Value {
            json!({
                "metadata": {"annotations": annotations},
                "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
            })
        };
        let plain = pod(json!({}));
        assert_eq!(container(&plain, None, "p").unwrap(), "a");
        assert_eq!(container(&plain, Some("i"), "p").unwrap(), "i");
        let problem = container(&plain, Some("c"), "pod `x/y`").unwrap_err();
        assert_eq!(problem.message, "pod `x/y` has no container `c`");
        assert_eq!(problem.hint.as_deref(), Some("it has a, b, i"));
        let marked = pod(json!({DEFAULT_CONTAINER: "b"}));
        assert_eq!(container(&marked, None, "p").unwrap(), "b");
        assert_eq!(
            container(&pod(json!({DEFAULT_CONTAINER: "z"})), None, "p").unwrap(),
            "a"
        );
        assert!(container(&json!({}), None, "p").is_err());
    }
}
