//! In: whole objects (a pool, the rendered MachineConfig that it names, its nodes) and what is wanted. Out: where the
//! rollout stands, node by node. Pure: watches only feed it. What blocks it is [`super::diagnose`]'s.
//!
//! Content is the anchor: a pool has noticed a change when the rendered MachineConfig named in `spec.configuration`
//! carries the wanted `osImageURL`; never because of `Updated=True`, a new name, or the list of sources.

use serde::Serialize;
use serde_json::Value;

use super::objects::{annotation, condition, is_true, name};
use super::pools::{is_available, is_failing};

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Snapshot<'s> {
    pub pool: &'s Value,
    /// The MachineConfig that `spec.configuration.name` names.
    pub rendered: Option<&'s Value>,
    pub nodes: Vec<&'s Value>,
}

/// Where a node stands, by what the operator and the daemon write on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not its turn yet.
    Waiting,
    /// Its turn; the daemon has not begun.
    Targeted,
    Draining,
    /// Pulls the image and writes the deployment.
    Updating,
    Rebooting,
    /// Is back and waits to be schedulable again.
    Returning,
    /// Runs the wanted config; ready and schedulable.
    Settled,
    /// Runs the wanted config and was cordoned by somebody.
    Cordoned,
    Degraded,
}

impl Phase {
    /// The daemon is surely not past its reboot.
    pub fn is_before_reboot(self) -> bool {
        matches!(self, Self::Waiting | Self::Targeted | Self::Draining)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waits for its turn",
            Self::Targeted => "is next",
            Self::Draining => "is drained",
            Self::Updating => "pulls and writes the image",
            Self::Rebooting => "reboots",
            Self::Returning => "is back, waits to be uncordoned",
            Self::Settled => "is done",
            Self::Cordoned => "is done, and cordoned by somebody",
            Self::Degraded => "is degraded",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeState {
    pub name: String,
    pub phase: Phase,
    /// The phase in words.
    pub doing: &'static str,
    /// The operator's own words, for degraded nodes.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    pub pool: String,
    /// The rendered MachineConfig that the pool is going to.
    pub rendered: String,
    /// The pool goes to the wanted image.
    pub noticed: bool,
    pub paused: bool,
    pub nodes: Vec<NodeState>,
    pub settled: usize,
    /// What the pool's own status still lacks, once all nodes are settled; empty when it agrees.
    pub lacks: String,
}

impl Progress {
    /// Every node runs the wanted config, and the pool says so. What they booted is still to be read.
    pub fn is_settled(&self) -> bool {
        self.noticed
            && !self.nodes.is_empty()
            && self.settled == self.nodes.len()
            && self.lacks.is_empty()
    }

    /// One line: counts, and what changed since the last look.
    pub fn line(&self, last: Option<&Self>) -> String {
        let pool = &self.pool;
        if !self.noticed {
            return format!("pool {pool}: waiting until it goes to the image");
        }
        let paused = if self.paused { ", paused" } else { "" };
        let head = format!(
            "pool {pool}{paused}, {} of {} nodes",
            self.settled,
            self.nodes.len()
        );
        let before = |node: &NodeState| {
            last.filter(|last| last.noticed)
                .and_then(|last| last.nodes.iter().find(|known| known.name == node.name))
                .map_or(Phase::Waiting, |known| known.phase)
        };
        let news: Vec<String> = self
            .nodes
            .iter()
            .filter(|node| node.phase != before(node))
            .map(|node| {
                let why = node.reason.lines().next().unwrap_or_default();
                let sep = if why.is_empty() { "" } else { ": " };
                format!("{} {}{sep}{why}", node.name, node.doing)
            })
            .collect();
        if !news.is_empty() {
            return format!("{head}: {}", news.join(", "));
        }
        if !self.lacks.is_empty() {
            return format!("{head}: {}", self.lacks);
        }
        if self.is_settled() {
            return format!("{head}: each is asked what it booted");
        }
        if last.is_none_or(|last| !last.noticed) {
            return format!("{head}: goes to {}", self.rendered);
        }
        head
    }
}

/// Where the rollout of `image` stands.
pub fn observe(snapshot: &Snapshot<'_>, image: &str) -> Progress {
    let pool = snapshot.pool;
    let target = pool["spec"]["configuration"]["name"]
        .as_str()
        .unwrap_or_default();
    let noticed = snapshot.rendered.is_some_and(|rendered| {
        name(rendered) == target && rendered["spec"]["osImageURL"] == image
    });
    let nodes: Vec<NodeState> = snapshot
        .nodes
        .iter()
        .map(|node| state(node, target))
        .collect();
    let settled = nodes
        .iter()
        .filter(|node| noticed && node.phase == Phase::Settled)
        .count();
    Progress {
        pool: name(pool).to_owned(),
        rendered: target.to_owned(),
        noticed,
        paused: pool["spec"]["paused"] == true,
        lacks: if settled == nodes.len() {
            lacks(pool, target, nodes.len())
        } else {
            String::new()
        },
        nodes,
        settled,
    }
}

/// What the pool's status does not say yet of its own specification (MCO: `pkg/controller/node/status.go`). Only once
/// `observedGeneration` has caught up do the counts and conditions speak about this configuration.
fn lacks(pool: &Value, target: &str, nodes: usize) -> String {
    let status = &pool["status"];
    let observed = status["observedGeneration"].as_i64().unwrap_or_default();
    let count = |field: &str| {
        status[field]
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or_default()
    };
    if observed < pool["metadata"]["generation"].as_i64().unwrap_or_default() {
        return "the pool's status is older than its specification".to_owned();
    }
    if let Some(text) = condition(pool, "RenderDegraded")
        .filter(|condition| condition["status"] == "True")
        .and_then(|condition| condition["message"].as_str())
    {
        return format!("the pool's configuration cannot be rendered: {text}");
    }
    if count("machineCount") != nodes {
        // A node in two custom pools is counted nowhere (MCO: pkg/helpers GetPrimaryPoolForNode).
        return format!(
            "the pool counts {} nodes, and its selector finds {nodes}",
            count("machineCount")
        );
    }
    if status["configuration"]["name"] != target || !is_true(pool, "Updated") {
        return "the pool's status does not say yet that it is updated".to_owned();
    }
    String::new()
}

fn state(node: &Value, target: &str) -> NodeState {
    let (current, desired) = (
        annotation(node, "currentConfig"),
        annotation(node, "desiredConfig"),
    );
    let state = annotation(node, "state");
    let (drain, applied) = (
        annotation(node, "desiredDrain"),
        annotation(node, "lastAppliedDrain"),
    );
    let is_rebooting = !is_true(node, "Ready")
        || state == "Rebooting"
        || annotation(node, "post-config-action") == "Rebooting";
    let phase = if is_failing(node) {
        Phase::Degraded
    } else if desired != target {
        Phase::Waiting
    } else if is_rebooting {
        Phase::Rebooting
    } else if current == target && state == "Done" {
        if drain != applied {
            Phase::Returning
        } else if !is_available(node) {
            Phase::Cordoned
        } else {
            Phase::Settled
        }
    } else if drain.starts_with("uncordon-") && drain.ends_with(target) {
        Phase::Returning
    } else if drain.starts_with("drain-") && drain != applied {
        Phase::Draining
    } else if state == "Working"
        && (drain.starts_with("drain-")
            // A cluster of one node is not drained at all (MCO: pkg/daemon/drain.go).
            || annotation(node, "controlPlaneTopology") == "SingleReplica")
    {
        Phase::Updating
    } else {
        Phase::Targeted
    };
    NodeState {
        name: name(node).to_owned(),
        phase,
        doing: phase.word(),
        reason: if phase == Phase::Degraded {
            annotation(node, "reason").to_owned()
        } else {
            String::new()
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::objects::PREFIX;
    use super::*;

    fn node(current: &str, desired: &str, state: &str, ready: &str) -> Value {
        let drained = format!("uncordon-{current}");
        json!({"metadata": {"name": "n1", "annotations": {
            format!("{PREFIX}currentConfig"): current, format!("{PREFIX}desiredConfig"): desired, format!("{PREFIX}state"): state,
            format!("{PREFIX}desiredDrain"): drained, format!("{PREFIX}lastAppliedDrain"): drained,
        }}, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    }

    fn with(node: &Value, annotations: &[(&str, &str)]) -> Value {
        let mut node = node.clone();
        for (key, value) in annotations {
            node["metadata"]["annotations"][format!("{PREFIX}{key}")] = json!(value);
        }
        node
    }

    /// A pool that goes to `target`, and says that it is there.
    fn pool(target: &str) -> Value {
        json!({"metadata": {"name": "worker", "generation": 2}, "spec": {"configuration": {"name": target}}, "status": {
            "observedGeneration": 2, "machineCount": 1, "configuration": {"name": target},
            "conditions": [{"type": "Updated", "status": "True"}]}})
    }

    fn rendered(name: &str, url: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"osImageURL": url}})
    }

    fn look(pool: &Value, rendered: &Value, nodes: &[&Value], image: &str) -> Progress {
        let snapshot = Snapshot {
            pool,
            rendered: Some(rendered),
            nodes: nodes.to_vec(),
        };
        observe(&snapshot, image)
    }

    #[test]
    fn a_pool_that_says_updated_has_noticed_nothing() {
        let (pool, old) = (pool("A"), rendered("A", "base"));
        let node = node("A", "A", "Done", "True");
        let progress = look(&pool, &old, &[&node], "L1");
        assert!(!progress.noticed && !progress.is_settled());
        assert!(look(&pool, &old, &[&node], "base").is_settled());
    }

    #[test]
    fn a_rendered_config_of_another_name_counts_for_nothing() {
        let node = node("B", "B", "Done", "True");
        assert!(!look(&pool("B"), &rendered("A", "L1"), &[&node], "L1").noticed);
    }

    #[test]
    fn nodes_are_where_their_annotations_say() {
        let (pool, wanted) = (pool("B"), rendered("B", "L1"));
        let old = node("A", "B", "Working", "True");
        let done = node("B", "B", "Done", "True");
        let mut cordoned = done.clone();
        cordoned["spec"]["unschedulable"] = json!(true);
        for (node, phase) in [
            (node("A", "A", "Done", "True"), Phase::Waiting),
            (node("A", "B", "Done", "True"), Phase::Targeted),
            (old.clone(), Phase::Targeted),
            (
                with(&old, &[("controlPlaneTopology", "SingleReplica")]),
                Phase::Updating,
            ),
            (with(&old, &[("desiredDrain", "drain-B")]), Phase::Draining),
            (
                with(
                    &old,
                    &[("desiredDrain", "drain-B"), ("lastAppliedDrain", "drain-B")],
                ),
                Phase::Updating,
            ),
            (
                with(&old, &[("post-config-action", "Rebooting")]),
                Phase::Rebooting,
            ),
            (node("A", "B", "Working", "Unknown"), Phase::Rebooting),
            (node("B", "B", "Done", "False"), Phase::Rebooting),
            (
                with(&old, &[("desiredDrain", "uncordon-B")]),
                Phase::Returning,
            ),
            (
                with(&done, &[("lastAppliedDrain", "drain-B")]),
                Phase::Returning,
            ),
            (cordoned, Phase::Cordoned),
            // A last update that needed no drain leaves the older word.
            (
                with(
                    &done,
                    &[
                        ("desiredDrain", "uncordon-A"),
                        ("lastAppliedDrain", "uncordon-A"),
                    ],
                ),
                Phase::Settled,
            ),
            (done, Phase::Settled),
            (node("A", "B", "Degraded", "True"), Phase::Degraded),
            (node("A", "B", "Unreconcilable", "True"), Phase::Degraded),
        ] {
            let progress = look(&pool, &wanted, &[&node], "L1");
            assert_eq!(progress.nodes[0].phase, phase);
            assert_eq!(progress.is_settled(), phase == Phase::Settled, "{phase:?}");
        }
        assert!(
            !look(&pool, &wanted, &[], "L1").is_settled(),
            "no nodes, nothing proven"
        );
    }

    #[test]
    fn the_pools_own_status_must_agree_and_be_new() {
        let (wanted, done) = (rendered("B", "L1"), node("B", "B", "Done", "True"));
        for (path, value) in [
            ("/status/observedGeneration", json!(1)),
            ("/status/machineCount", json!(2)),
            ("/status/configuration/name", json!("A")),
            ("/status/conditions/0/status", json!("False")),
            (
                "/status/conditions/0",
                json!({"type": "RenderDegraded", "status": "True", "message": "no"}),
            ),
        ] {
            let mut pool = pool("B");
            *pool.pointer_mut(path).unwrap() = value;
            let progress = look(&pool, &wanted, &[&done], "L1");
            assert!(
                !progress.is_settled() && !progress.lacks.is_empty(),
                "{path}"
            );
        }
    }

    #[test]
    fn a_line_says_what_is_new() {
        let (pool, wanted) = (pool("B"), rendered("B", "L1"));
        let at = |node: &Value| look(&pool, &wanted, &[node], "L1");
        let (waits, next) = (
            at(&node("A", "A", "Done", "True")),
            at(&node("A", "B", "Done", "True")),
        );
        assert_eq!(waits.line(None), "pool worker, 0 of 1 nodes: goes to B");
        assert_eq!(
            next.line(Some(&waits)),
            "pool worker, 0 of 1 nodes: n1 is next"
        );
        assert_eq!(next.line(Some(&next)), "pool worker, 0 of 1 nodes");
    }
}
