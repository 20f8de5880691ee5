//! `repair_pool`: frees nodes that still go to a configuration which their pool has left. In: a pool. Out: nodes that are
//! schedulable again and ran nothing new, or why one may not be freed.
//!
//! A node that failed to take a configuration is cordoned. When its pool then leaves that configuration, the node is no
//! candidate for another one, because it is cordoned, and tries the bad one for ever; nothing in the cluster says so (MCO:
//! `node_controller.go` `getAllCandidateMachines`). The way out is the operator's own tests': the node is told to go to
//! what it runs, finds that it is there, and asks to be uncordoned. It does not reboot. A node that still goes where its
//! pool goes is never touched: uncordoned, it would reboot into the bad image without being drained.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use kube::api::{Patch, PatchParams};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::Cluster;
use super::look::PoolView;
use super::mirror::Mirror;
use super::objects::{self, PREFIX, annotation, machine_config, machine_config_pool, name, node};
use super::pools::{is_available, is_failing};
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

pub struct RepairPool;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The pool's name.
    pool: String,
    /// An image that the pool must have left before its nodes are freed: after its MachineConfig was deleted or changed it
    /// takes the operator some seconds to notice.
    left: Option<String>,
    /// Seconds that the pool has to leave the image, and that each node has to be schedulable again.
    #[serde(default = "timeout")]
    timeout: u64,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

fn timeout() -> u64 {
    900
}

/// A node that is to be freed.
#[derive(Debug, Clone, PartialEq)]
pub struct Freed {
    name: String,
    from: String,
    to: String,
    version: String,
}

/// What a pool's nodes need.
#[derive(Debug, Default, PartialEq)]
struct Found {
    free: Vec<Freed>,
    /// Nodes that are degraded and are left alone, each with the reason.
    left: Vec<(String, String)>,
}

/// Which nodes are stuck, by the objects alone. `exists` says whether a rendered MachineConfig is there.
fn find(target: &str, nodes: &[Value], exists: impl Fn(&str) -> bool) -> Found {
    let mut found = Found::default();
    for node in nodes {
        if !is_failing(node) {
            continue;
        }
        let (current, desired) = (
            annotation(node, "currentConfig"),
            annotation(node, "desiredConfig"),
        );
        let why = if desired == target {
            Some(format!(
                "it goes where its pool goes, `{target}`: take that back first"
            ))
        } else if desired == current {
            Some("it runs what it was told to run, and is degraded for another reason".to_owned())
        } else if annotation(node, "post-config-action") == "Rebooting" {
            Some("it is rebooting: what it comes back with is not known yet".to_owned())
        } else if current.is_empty() || !exists(current) {
            Some(format!(
                "the MachineConfig that it runs, `{current}`, is gone"
            ))
        } else {
            None
        };
        match why {
            Some(why) => found.left.push((name(node).to_owned(), why)),
            None => found.free.push(Freed {
                name: name(node).to_owned(),
                from: desired.to_owned(),
                to: current.to_owned(),
                version: node["metadata"]["resourceVersion"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            }),
        }
    }
    found
}

/// The node has done what it was asked: it is where it was, and takes pods. Or it goes on to where its pool goes.
fn is_free(node: &Value, freed: &Freed) -> bool {
    let desired = annotation(node, "desiredConfig");
    if desired != freed.to {
        return desired != freed.from;
    }
    annotation(node, "state") == "Done"
        && annotation(node, "currentConfig") == freed.to
        && annotation(node, "desiredDrain") == annotation(node, "lastAppliedDrain")
        && is_available(node)
}

impl Args {
    async fn cluster(&self, platform: &Platform) -> Result<Cluster, ModuleError> {
        platform
            .open_cluster(self.kubeconfig.as_ref(), self.context.as_ref())
            .await
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The pool once it has left the image.
    async fn view(&self, cluster: &Cluster, platform: &Platform) -> Result<PoolView, ModuleError> {
        let view = PoolView::read(cluster, &self.pool).await?;
        let Some(left) = &self.left else {
            return Ok(view);
        };
        let goes_there = async |view: &PoolView| {
            let rendered = view.rendered(cluster).await?;
            let url = rendered
                .as_ref()
                .map(|rendered| &rendered["spec"]["osImageURL"]);
            Ok::<_, ModuleError>(url.is_none_or(|url| url == left.as_str()))
        };
        if platform.check || !goes_there(&view).await? {
            return Ok(view);
        }
        platform.status(format!(
            "pool {}: waiting until it leaves {left}",
            self.pool
        ));
        let mut pools = Mirror::start(cluster, &machine_config_pool());
        let waits = async {
            loop {
                pools.next().await?;
                let view = PoolView::read(cluster, &self.pool).await?;
                if !goes_there(&view).await? {
                    return Ok(view);
                }
            }
        };
        within(platform, self.limit(), waits, || {
            format!(
                "pool `{}` still goes to `{left}` after {} s",
                self.pool, self.timeout
            )
        })
        .await
    }
}

/// What is waited for, unless it takes too long or the run is ended.
async fn within<T>(
    platform: &Platform,
    limit: Duration,
    work: impl Future<Output = Result<T, ModuleError>>,
    late: impl Fn() -> String,
) -> Result<T, ModuleError> {
    tokio::select! {
        done = work => done,
        () = platform.clock.sleep(limit) => Err(ModuleError::new(ErrorKind::Timeout, late())),
        () = platform.cancel.cancelled() => Err(ModuleError::new(ErrorKind::Cancelled, "the wait was interrupted; what was freed stays free")),
    }
}

fn result(args: &Args, target: &str, found: &Found) -> Value {
    let free: Vec<Value> = found
        .free
        .iter()
        .map(|node| json!({"name": node.name, "from": node.from, "to": node.to}))
        .collect();
    let left: Vec<Value> = found
        .left
        .iter()
        .map(|(node, why)| json!({"name": node, "reason": why}))
        .collect();
    json!({"pool": args.pool, "rendered": target, "freed": free, "left": left})
}

#[async_trait]
impl Module for RepairPool {
    type Args = Args;
    type Work = Vec<Freed>;
    const NAME: &'static str = "repair_pool";
    const SUMMARY: &'static str =
        "Frees nodes that still go to a configuration which their pool has left";
    const EXAMPLES: &'static str = "- repair_pool: {pool: worker}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = Touches {
        cluster: true,
        nodes: true,
        ..Touches::NOTHING
    };

    async fn inspect(
        &self,
        args: &Args,
        platform: &Platform,
    ) -> Result<Change<Vec<Freed>>, ModuleError> {
        let cluster = args.cluster(platform).await?;
        let view = args.view(&cluster, platform).await?;
        let configs = objects::list(&cluster, &machine_config()).await?;
        let target = view.pool["spec"]["configuration"]["name"]
            .as_str()
            .unwrap_or_default();
        let found = find(target, &view.nodes, |wanted| {
            configs.iter().any(|config| name(config) == wanted)
        });
        let mut outcome = Outcome::unchanged(result(args, target, &found));
        outcome.warnings = found
            .left
            .iter()
            .map(|(node, why)| format!("node {node} is left as it is: {why}"))
            .collect();
        if found.free.is_empty() {
            return Ok(Change::None(outcome));
        }
        let fields = found
            .free
            .iter()
            .map(|node| FieldChange {
                field: format!("Node {}: desiredConfig", node.name),
                before: json!(node.from),
                after: json!(node.to),
            })
            .collect();
        outcome.changed = true;
        Ok(Change::Some {
            fields,
            diff: Vec::new(),
            preview: outcome,
            work: found.free,
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Vec<Freed>,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let cluster = args.cluster(platform).await?;
        let mut mirror = Mirror::start(&cluster, &node());
        for freed in &work {
            // Refused when anybody, the daemon included, has written to the node since it was looked at.
            let patch = json!({"metadata": {
                "resourceVersion": freed.version,
                "annotations": {format!("{PREFIX}desiredConfig"): freed.to},
            }});
            objects::api(&cluster, &node())
                .patch(&freed.name, &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .map_err(|problem| {
                    cluster.told(
                        &format!("tell node `{}` to stay where it is", freed.name),
                        &problem,
                    )
                })?;
            platform.note(format!(
                "node {} is told to stay at {}",
                freed.name, freed.to
            ));
        }
        let still = |mirror: &Mirror| -> Vec<String> {
            work.iter()
                .filter(|freed| {
                    let node = mirror.objects().get(&freed.name);
                    node.is_some_and(|node| !is_free(node, freed))
                })
                .map(|freed| freed.name.clone())
                .collect()
        };
        let waits = async {
            loop {
                mirror.next().await?;
                if mirror.is_complete() {
                    let waiting = still(&mirror);
                    if waiting.is_empty() {
                        return Ok(());
                    }
                    platform.status(format!(
                        "pool {}: waiting for {}",
                        args.pool,
                        waiting.join(", ")
                    ));
                }
            }
        };
        within(platform, args.limit(), waits, || {
            format!(
                "nodes of pool `{}` are not schedulable again after {} s",
                args.pool, args.timeout
            )
        })
        .await
        .map_err(|error| {
            error.hint(
                "read the machine-config daemon's log; `layerplay repair` goes on where this ended",
            )
        })?;
        let found = Found {
            free: work,
            left: Vec::new(),
        };
        let view = PoolView::read(&cluster, &args.pool).await?;
        let target = view.pool["spec"]["configuration"]["name"]
            .as_str()
            .unwrap_or_default();
        Ok(Outcome::changed(result(args, target, &found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuck(current: &str, desired: &str) -> Value {
        json!({"metadata": {"name": "n1", "resourceVersion": "7", "annotations": {
            format!("{PREFIX}currentConfig"): current, format!("{PREFIX}desiredConfig"): desired,
            format!("{PREFIX}state"): "Degraded",
        }}, "spec": {"unschedulable": true}})
    }

    fn names(found: &Found) -> (usize, usize) {
        (found.free.len(), found.left.len())
    }

    #[test]
    fn only_a_node_whose_pool_has_left_is_freed() {
        let exists = |name: &str| name == "A";
        assert_eq!(names(&find("A", &[stuck("A", "B")], exists)), (1, 0));
        // Uncordoning this one would reboot it, undrained, into the bad image.
        assert_eq!(names(&find("B", &[stuck("A", "B")], exists)), (0, 1));
        assert_eq!(names(&find("A", &[stuck("A", "A")], exists)), (0, 1));
        assert_eq!(names(&find("A", &[stuck("gone", "B")], exists)), (0, 1));
        let mut reboots = stuck("A", "B");
        reboots["metadata"]["annotations"][format!("{PREFIX}post-config-action")] =
            json!("Rebooting");
        assert_eq!(names(&find("A", &[reboots], exists)), (0, 1));
        let mut works = stuck("A", "B");
        works["metadata"]["annotations"][format!("{PREFIX}state")] = json!("Working");
        assert_eq!(names(&find("A", &[works], exists)), (0, 0));
    }

    #[test]
    fn a_node_is_free_when_it_takes_pods_or_goes_on() {
        let found = find("A", &[stuck("A", "B")], |_| true);
        let freed = &found.free[0];
        let mut node = stuck("A", "B");
        assert!(!is_free(&node, freed));
        node["metadata"]["annotations"][format!("{PREFIX}desiredConfig")] = json!("A");
        node["metadata"]["annotations"][format!("{PREFIX}state")] = json!("Done");
        assert!(!is_free(&node, freed), "it is still cordoned");
        node["spec"]["unschedulable"] = json!(false);
        node["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        assert!(is_free(&node, freed));
        node["metadata"]["annotations"][format!("{PREFIX}desiredConfig")] = json!("C");
        assert!(is_free(&node, freed));
    }
}
