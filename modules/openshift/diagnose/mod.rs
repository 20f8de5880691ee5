//! In: a pool, its nodes, and what is around them. Out: why its rollout does not move: what is stuck, since when, by which
//! object, what to do, which command. Pure: whole objects in, and nothing asked.
//!
//! ```text
//! failure  the names of failures, and what to do about each
//! reasons  the daemon's and the controller's words -> a failure
//! nodes    what single nodes show: failed, drained, away
//! ```
//!
//! The API alone is looked at. Node annotations count for more than the pool's status, and that for more than
//! `MachineConfigNode`s, which the operator writes when it can.

mod failure;
mod nodes;
mod reasons;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::Value;

pub use failure::Failure;
pub(super) use nodes::{has_room, held};
pub(super) use reasons::of_node;

use super::objects::{MCO_NAMESPACE, PREFIX, annotation, condition, is_true, name};
use super::observe::{Progress, Snapshot};
use super::pool_pause;
use super::pools::{
    build_of, image_setters, is_available, max_unavailable, roles_of, selects, upgrades_to,
};

/// Why nothing moves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    pub failure: Failure,
    /// The node that shows it, when one does.
    pub node: Option<String>,
    pub cause: String,
    /// The object and field that say so.
    pub evidence: String,
    pub remedy: &'static str,
    pub command: String,
    /// Since when, where the object says it.
    pub since: Option<String>,
    /// It often goes away by itself.
    pub is_transient: bool,
}

impl Diagnosis {
    fn new(
        failure: Failure,
        cause: impl Into<String>,
        evidence: impl Into<String>,
        command: impl Into<String>,
    ) -> Self {
        Self {
            failure,
            node: None,
            cause: cause.into(),
            evidence: evidence.into(),
            remedy: failure.remedy(),
            command: command.into(),
            since: None,
            is_transient: failure.is_transient(),
        }
    }

    fn on(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    fn since(mut self, time: &Value) -> Self {
        self.since = time.as_str().map(ToOwned::to_owned);
        self
    }

    /// All nodes are settled, and one cannot be asked what it booted.
    pub fn unasked(why: &str) -> Self {
        Self::new(
            Failure::Unasked,
            format!("a node cannot be asked what it booted: {why}"),
            "pods of the machine-config daemon",
            format!("oc -n {MCO_NAMESPACE} get pods -l k8s-app=machine-config-daemon -o wide"),
        )
    }
}

/// What is around a pool. Everything may be absent: what a cluster does not serve, or who asks may not read.
#[derive(Debug, Clone, Default)]
pub struct Around {
    pub pools: Vec<Value>,
    /// All nodes of the cluster.
    pub nodes: Vec<Value>,
    pub machine_configs: Vec<Value>,
    pub machine_config_nodes: Vec<Value>,
    /// Pods on the nodes that are drained.
    pub pods: Vec<Value>,
    pub budgets: Vec<Value>,
    pub version: Option<Value>,
    pub controller: Option<Value>,
    /// `MachineOSConfig`s.
    pub builds: Vec<Value>,
}

/// All that can be seen of a rollout.
struct Situation<'s> {
    snapshot: &'s Snapshot<'s>,
    progress: &'s Progress,
    around: &'s Around,
}

/// Everything that keeps a pool from the wanted image, the most telling first; `Unknown` alone when nothing does.
pub fn diagnose(
    snapshot: &Snapshot<'_>,
    progress: &Progress,
    around: &Around,
    image: &str,
) -> Vec<Diagnosis> {
    let all = Situation {
        snapshot,
        progress,
        around,
    };
    let mut found = Vec::new();
    found.extend(all.paused());
    found.extend(all.render());
    found.extend(all.content(image));
    found.extend(nodes::failing(&all));
    found.extend(nodes::draining(&all));
    found.extend(nodes::away(&all));
    found.extend(all.capacity());
    found.extend(all.membership());
    found.extend(all.controller());
    found.extend(all.builds());
    found.extend(all.certificates());
    found.extend(nodes::skew(&all));
    found.extend(all.upgrade());
    found.extend(all.status());
    if found.is_empty() {
        found.push(Diagnosis::new(
            Failure::Unknown,
            "no reason can be seen",
            format!("MachineConfigPool {}: status.conditions", progress.pool),
            format!("oc -n {MCO_NAMESPACE} logs deploy/machine-config-controller"),
        ));
    }
    found
}

impl Situation<'_> {
    fn pool(&self) -> &str {
        &self.progress.pool
    }

    /// Certificates of the nodes are renewed by a rollout on older releases.
    fn paused(&self) -> Option<Diagnosis> {
        let pool = self.pool();
        let until = pool_pause::end(self.snapshot.pool);
        let until = until.map_or_else(String::new, |end| format!(" until {end}"));
        self.progress.paused.then(|| {
            Diagnosis::new(
                Failure::Paused,
                format!("pool {pool} is paused{until}"),
                format!("MachineConfigPool {pool}: spec.paused"),
                format!("oc patch mcp {pool} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'"),
            )
        })
    }

    fn render(&self) -> Option<Diagnosis> {
        let pool = self.pool();
        let told = condition(self.snapshot.pool, "RenderDegraded")
            .filter(|condition| condition["status"] == "True")?;
        let text = told["message"].as_str().unwrap_or_default();
        let failure = reasons::of_render(text);
        Some(
            Diagnosis::new(
                failure,
                format!("the pool's configuration cannot be rendered: {text}"),
                format!("MachineConfigPool {pool}: status.conditions[RenderDegraded]"),
                format!("oc get mcp {pool} -o yaml"),
            )
            .since(&told["lastTransitionTime"]),
        )
    }

    /// Why the rendered configuration has another image: MachineConfigs are merged by role and name, and nothing in the
    /// cluster says which one has lost.
    fn content(&self, image: &str) -> Option<Diagnosis> {
        let (pool, configs) = (self.pool(), &self.around.machine_configs);
        if !image.contains('@') {
            return Some(Diagnosis::new(
                Failure::ImageByTag,
                format!("`{image}` is a tag: nodes look it up once, and each at another time"),
                format!("MachineConfig {}: spec.osImageURL", self.progress.rendered),
                format!("skopeo inspect docker://{image}"),
            ));
        }
        if self.progress.noticed || configs.is_empty() {
            return None;
        }
        let setters = image_setters(self.snapshot.pool, configs);
        let sets_it = |config: &&&Value| config["spec"]["osImageURL"] == image;
        let winner = setters.last();
        if let Some(own) = setters.iter().find(sets_it) {
            let winner = winner.filter(|winner| name(winner) != name(own))?;
            return Some(Diagnosis::new(
                Failure::Overridden,
                format!(
                    "MachineConfig `{}` sets the image of pool {pool}, and `{}` comes after it and sets `{}`",
                    name(own),
                    name(winner),
                    winner["spec"]["osImageURL"].as_str().unwrap_or_default()
                ),
                format!("MachineConfig {}: spec.osImageURL", name(winner)),
                format!("oc get mc {} -o yaml", name(winner)),
            ));
        }
        let elsewhere = configs.iter().find(|config| {
            config["spec"]["osImageURL"] == image && config["metadata"]["ownerReferences"].is_null()
        });
        Some(match elsewhere {
            Some(config) => Diagnosis::new(
                Failure::NotSelected,
                format!(
                    "pool {pool} does not select MachineConfig `{}`: its labels are {}",
                    name(config),
                    config["metadata"]["labels"]
                ),
                format!("MachineConfigPool {pool}: spec.machineConfigSelector"),
                format!(
                    "oc label mc {} --overwrite {PREFIX}role={pool}",
                    name(config)
                ),
            ),
            None => Diagnosis::new(
                Failure::NotSelected,
                format!("no MachineConfig of pool {pool} sets `{image}`"),
                format!("MachineConfigPool {pool}: spec.configuration.source"),
                format!("oc get mc -l {PREFIX}role={pool}"),
            ),
        })
    }

    /// MCO: `node_controller.go` `getAllCandidateMachines`: nodes that are away count, whoever sent them away.
    fn capacity(&self) -> Option<Diagnosis> {
        let (pool, snapshot) = (self.pool(), self.snapshot);
        let waits = self
            .progress
            .nodes
            .iter()
            .any(|node| node.phase.is_waiting());
        let count = snapshot.nodes.len();
        let away: Vec<&Value> = snapshot
            .nodes
            .iter()
            .copied()
            .filter(|node| !is_available(node))
            .collect();
        let most = max_unavailable(snapshot.pool, count);
        if !waits || away.len() < most {
            return None;
        }
        // One that the rollout itself has taken away is no reason.
        let own = |node: &&Value| annotation(node, "state") == "Done";
        let by_others: Vec<&str> = away.iter().copied().filter(own).map(name).collect();
        let first = by_others.first()?;
        Some(
            Diagnosis::new(
                Failure::NoCapacity,
                format!(
                    "{} of {count} nodes are away ({}), and no more than {most} may be",
                    away.len(),
                    away.iter().map(|node| name(node)).collect::<Vec<_>>().join(", ")
                ),
                format!("MachineConfigPool {pool}: spec.maxUnavailable; Node {first}: spec.unschedulable, status.conditions"),
                format!("oc adm uncordon {first}"),
            )
            .on(first),
        )
    }

    /// A node of two custom pools drops out of all counts (MCO: pkg/helpers `GetPoolsForNode`).
    fn membership(&self) -> Vec<Diagnosis> {
        let Around { pools, nodes, .. } = self.around;
        let is_custom = |pool: &&Value| !matches!(name(pool), "worker" | "master" | "arbiter");
        let told = nodes.iter().filter_map(|node| {
            let labels = &node["metadata"]["labels"];
            let own: Vec<&str> = pools
                .iter()
                .filter(is_custom)
                .filter(|pool| selects(&pool["spec"]["nodeSelector"], labels))
                .map(name)
                .collect();
            let is_master = roles_of(node).any(|role| role == "master");
            let concerns = own.len() > 1 && own.contains(&self.pool()) && !is_master;
            concerns.then(|| {
                Diagnosis::new(
                    Failure::SeveralPools,
                    format!("node {} belongs to {}: the operator leaves it alone, and counts it nowhere", name(node), own.join(" and ")),
                    format!("Node {}: metadata.labels", name(node)),
                    format!("oc label node {} node-role.kubernetes.io/{}-", name(node), own[1]),
                )
                .on(name(node))
            })
        });
        told.collect()
    }

    /// Rendering waits without a word while the operator's templates are not done (MCO: pkg/apihelpers).
    fn controller(&self) -> Option<Diagnosis> {
        let controller = self.around.controller.as_ref()?;
        let observed = controller["status"]["observedGeneration"].as_i64();
        let is_behind = observed.is_some_and(|observed| {
            observed
                < controller["metadata"]["generation"]
                    .as_i64()
                    .unwrap_or_default()
        });
        let text = ["TemplateControllerFailing", "TemplateControllerRunning"]
            .into_iter()
            .find(|kind| is_true(controller, kind))
            .or(is_behind.then_some("an older generation"))?;
        if self.progress.noticed {
            return None;
        }
        Some(Diagnosis::new(
            Failure::ControllerBusy,
            format!("the machine-config controller is not ready to render: {text}"),
            "ControllerConfig machine-config-controller: status",
            "oc get controllerconfig machine-config-controller -o yaml",
        ))
    }

    fn builds(&self) -> Option<Diagnosis> {
        let pool = self.pool();
        let build = build_of(pool, &self.around.builds)?;
        Some(Diagnosis::new(
            Failure::OnClusterLayering,
            format!(
                "MachineOSConfig `{}` builds images for pool {pool}: nodes boot those, and never the layer itself",
                name(build)
            ),
            format!("MachineOSConfig {}: spec.machineConfigPool", name(build)),
            format!("oc get machineosconfig {} -o yaml", name(build)),
        ))
    }

    /// Older releases renew the kubelet's CA by a rollout, which a pause holds up.
    fn certificates(&self) -> Option<Diagnosis> {
        let pool = self.pool();
        let soonest = self.snapshot.pool["status"]["certExpirys"]
            .as_array()?
            .iter()
            .filter_map(|entry| entry["expiry"].as_str())
            .min()?;
        self.progress.paused.then(|| {
            Diagnosis::new(
                Failure::CertificatesExpire,
                format!("certificates of pool {pool}, which is paused, run out at {soonest}"),
                format!("MachineConfigPool {pool}: status.certExpirys"),
                format!("oc get mcp {pool} -o jsonpath='{{.status.certExpirys}}'"),
            )
        })
    }

    fn upgrade(&self) -> Option<Diagnosis> {
        let version = self.around.version.as_ref()?;
        let target = upgrades_to(version)?;
        Some(
            Diagnosis::new(
                Failure::Upgrade,
                format!("the cluster is being upgraded to {target}: pools roll for that, too"),
                "ClusterVersion version: status.history",
                "oc get clusterversion",
            )
            .since(&version["status"]["history"][0]["startedTime"]),
        )
    }

    fn status(&self) -> Option<Diagnosis> {
        let (pool, progress) = (self.pool(), self.progress);
        (progress.settled == progress.nodes.len() && !progress.lacks.is_empty()).then(|| {
            Diagnosis::new(
                Failure::StatusBehind,
                progress.lacks.clone(),
                format!("MachineConfigPool {pool}: status"),
                format!("oc get mcp {pool} -o yaml"),
            )
        })
    }
}
