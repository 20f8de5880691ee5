//! `k8s_info`: objects of a kind as they are. In: kind, names and selectors; out: the objects, at once or when they are
//! as waited for.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::await_objects::{self, WaitCondition, Waited, Watched, is_reached};
use super::dynamic::{self, At};
use super::k8s_plan::keep_secret;
use super::kinds;
use super::objects::name;
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

pub struct K8sInfo;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Kind of the objects: `Pod`, also `pods` or `po`.
    kind: String,
    /// Its `apiVersion`.
    #[serde(default = "v1")]
    api_version: String,
    /// Only the object of this name.
    name: Option<String>,
    /// Only objects of this namespace; all namespaces without it.
    namespace: Option<String>,
    /// Only objects with these labels: `app=web`, `tier in (a,b)`, `!old`.
    #[serde(default)]
    label_selectors: Vec<String>,
    /// Only objects with these fields: `status.phase=Running`.
    #[serde(default)]
    field_selectors: Vec<String>,
    /// Wait until there is such an object and every one of them is ready, or has `wait_condition`.
    #[serde(default)]
    wait: bool,
    /// Seconds that a wait takes at most; 120 by default.
    #[serde(default = "timeout")]
    wait_timeout: u64,
    /// Taken for kubernetes.core's sake: a watch tells of each change at once, so nothing sleeps.
    #[serde(default)]
    #[allow(dead_code, reason = "accepted, and without meaning here")]
    wait_sleep: Option<u64>,
    /// With `wait`: a condition of the objects' status, a mapping of `type`, `status` (`True` by default) and `reason`.
    wait_condition: Option<WaitCondition>,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

fn v1() -> String {
    "v1".to_owned()
}

fn timeout() -> u64 {
    120
}

#[async_trait]
impl Module for K8sInfo {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "k8s_info";
    const SUMMARY: &'static str = "Reads objects of any kind from a cluster";
    const EXAMPLES: &'static str = "- k8s_info: {kind: Pod, namespace: web, label_selectors: [app=web]}\n  register: pods\n- k8s_info:\n    kind: MachineConfigPool\n    api_version: machineconfiguration.openshift.io/v1\n    name: worker\n    wait: true\n    wait_condition: {type: Updated, status: \"True\"}\n    wait_timeout: 3600\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = Touches::NOTHING;
    const ALIASES: &'static [&'static str] =
        &["kubernetes.core.k8s_info", "community.kubernetes.k8s_info"];

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        let cluster = platform
            .open_cluster(args.kubeconfig.as_ref(), args.context.as_ref())
            .await?;
        let Some(kind) = kinds::find(&cluster, &args.api_version, &args.kind).await? else {
            return Ok(Change::None(Outcome::unchanged(json!({
                "resources": [], "api_found": false,
                "msg": format!("the cluster has no kind `{}` in `{}`", args.kind, args.api_version),
            }))));
        };
        let namespace = args.namespace.as_deref().unwrap_or_default();
        let mut fields = args.field_selectors.clone();
        if let Some(name) = &args.name {
            fields.push(format!("metadata.name={name}"));
        }
        let resources = if args.wait && !platform.check {
            let what = format!(
                "{} {}",
                kind.plural,
                args.name.as_deref().unwrap_or_default()
            );
            let watched = Watched {
                kind: &kind,
                namespace,
                labels: &args.label_selectors,
                fields: &fields,
                what: what.trim().to_owned(),
            };
            let condition = args.wait_condition.as_ref();
            platform.status(format!(
                "{}: waiting for {}",
                watched.what,
                await_objects::goal(condition)
            ));
            let done = |objects: &[Value]| {
                !objects.is_empty() && objects.iter().all(|object| is_reached(object, condition))
            };
            let timeout = Duration::from_secs(args.wait_timeout);
            match await_objects::until(platform, &cluster, &watched, timeout, done).await? {
                Waited::Reached(objects) => objects,
                Waited::TimedOut(objects) => {
                    let late: Vec<&str> = objects
                        .iter()
                        .filter(|object| !is_reached(object, condition))
                        .map(name)
                        .collect();
                    if !late.is_empty() {
                        return Err(ModuleError::new(
                            ErrorKind::Timeout,
                            format!(
                                "waited {} s for {} of {}: {}",
                                args.wait_timeout,
                                await_objects::goal(condition),
                                kind.plural,
                                late.join(", ")
                            ),
                        )
                        .hint("`wait_timeout` sets how long"));
                    }
                    objects
                }
            }
        } else if let (Some(name), true, true) = (
            &args.name,
            args.label_selectors.is_empty() && args.field_selectors.is_empty(),
            !namespace.is_empty() || !kind.namespaced,
        ) {
            // One object is read by its name: that needs no right to list.
            let at = At {
                kind: kind.clone(),
                namespace: namespace.to_owned(),
                name: name.clone(),
            };
            at.get(&cluster).await?.into_iter().collect()
        } else {
            dynamic::list(&cluster, &kind, namespace, &args.label_selectors, &fields).await?
        };
        for resource in &resources {
            keep_secret(platform, resource);
        }
        Ok(Change::None(Outcome::unchanged(
            json!({"resources": resources, "api_found": true}),
        )))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}
