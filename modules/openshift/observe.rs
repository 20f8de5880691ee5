//! In: whole objects (a pool, the rendered MachineConfig that it names, its nodes) and what is wanted. Out: where the
//! rollout stands, node by node, and what blocks it. Pure: watches only feed it.
//!
//! Content is the anchor: a pool has noticed a change when the rendered MachineConfig named in `spec.configuration`
//! carries the wanted `osImageURL`; never because of `Updated=True`, a new name, or the list of sources.

use serde::Serialize;
use serde_json::Value;

use super::objects::{annotation, condition, is_true, name};
use super::pools::max_unavailable;

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Snapshot<'s> {
    pub pool: &'s Value,
    /// The MachineConfig that `spec.configuration.name` names.
    pub rendered: Option<&'s Value>,
    pub nodes: Vec<&'s Value>,
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not its turn yet.
    Waiting,
    Draining,
    /// Pulls the image and writes the deployment.
    Updating,
    Rebooting,
    /// Runs the wanted config; ready and schedulable.
    Settled,
    /// Runs the wanted config and takes no pods.
    Cordoned,
    Degraded,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeState {
    pub name: String,
    pub phase: Phase,
    /// The operator's own words, for degraded nodes.
    pub reason: String,
    pub boot_id: String,
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
}

impl Progress {
    /// Every node runs the wanted config. What they booted is still to be read.
    pub fn is_settled(&self) -> bool {
        self.noticed && !self.nodes.is_empty() && self.settled == self.nodes.len()
    }

    /// One line: counts, and each node that is at work.
    pub fn line(&self) -> String {
        if !self.noticed {
            return format!(
                "pool {}: waiting until the pool goes to the image",
                self.pool
            );
        }
        let busy: Vec<String> = self
            .nodes
            .iter()
            .filter(|node| !matches!(node.phase, Phase::Settled | Phase::Waiting))
            .map(|node| format!("{} {}", node.name, word(node.phase)))
            .collect();
        let paused = if self.paused { ", paused" } else { "" };
        let tail = if busy.is_empty() {
            String::new()
        } else {
            format!(": {}", busy.join(", "))
        };
        format!(
            "pool {}{paused}: {} of {} nodes{tail}",
            self.pool,
            self.settled,
            self.nodes.len()
        )
    }
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waits",
        Phase::Draining => "is drained",
        Phase::Updating => "updates",
        Phase::Rebooting => "reboots",
        Phase::Settled => "is done",
        Phase::Cordoned => "is done and cordoned",
        Phase::Degraded => "is degraded",
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
        nodes,
        settled,
    }
}

fn state(node: &Value, target: &str) -> NodeState {
    let (current, desired) = (
        annotation(node, "currentConfig"),
        annotation(node, "desiredConfig"),
    );
    let is_ready = is_true(node, "Ready");
    let state = annotation(node, "state");
    let drain = annotation(node, "desiredDrain");
    let phase = if matches!(state, "Degraded" | "Unreconcilable") {
        Phase::Degraded
    } else if desired != target {
        Phase::Waiting
    } else if current == target && state == "Done" {
        if !is_ready {
            Phase::Rebooting
        } else if node["spec"]["unschedulable"] == true {
            Phase::Cordoned
        } else {
            Phase::Settled
        }
    } else if !is_ready {
        Phase::Rebooting
    } else if drain.starts_with("drain-") && drain != annotation(node, "lastAppliedDrain") {
        Phase::Draining
    } else {
        Phase::Updating
    };
    NodeState {
        name: name(node).to_owned(),
        phase,
        reason: if phase == Phase::Degraded {
            annotation(node, "reason").to_owned()
        } else {
            String::new()
        },
        boot_id: node["status"]["nodeInfo"]["bootID"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    }
}

/// Why nothing moves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    pub cause: String,
    /// The object and field that say so.
    pub evidence: String,
    pub remedy: String,
    pub command: String,
}

/// The most likely reason why a rollout does not move.
pub fn diagnose(snapshot: &Snapshot<'_>, progress: &Progress) -> Diagnosis {
    let pool = &progress.pool;
    let told = |cause: String, evidence: String, remedy: &str, command: String| Diagnosis {
        cause,
        evidence,
        remedy: remedy.to_owned(),
        command,
    };
    let message = |kind: &str| {
        condition(snapshot.pool, kind)
            .filter(|condition| condition["status"] == "True")
            .and_then(|condition| condition["message"].as_str())
    };
    if let Some(text) = message("RenderDegraded") {
        return told(
            format!("the pool's configuration cannot be rendered: {text}"),
            format!("MachineConfigPool {pool}: status.conditions[RenderDegraded]"),
            "mend or delete the MachineConfig that it names",
            format!("oc get mcp {pool} -o yaml"),
        );
    }
    if let Some(node) = progress
        .nodes
        .iter()
        .find(|node| node.phase == Phase::Degraded)
    {
        return told(
            format!("node {} is degraded: {}", node.name, node.reason),
            format!(
                "Node {}: metadata.annotations[machineconfiguration.openshift.io/reason]",
                node.name
            ),
            "read the daemon's log; when the image is the reason, take the layer back",
            format!(
                "oc -n openshift-machine-config-operator logs -l k8s-app=machine-config-daemon --field-selector spec.nodeName={}",
                node.name
            ),
        );
    }
    if progress.paused {
        return told(
            format!("pool {pool} is paused"),
            format!("MachineConfigPool {pool}: spec.paused"),
            "unpause the pool when its nodes may reboot",
            format!("oc patch mcp {pool} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'"),
        );
    }
    if !progress.noticed {
        return told(
            format!("pool {pool} does not go to the wanted image"),
            format!("MachineConfig {}: spec.osImageURL", progress.rendered),
            "another MachineConfig may win, or the operator may be busy",
            format!("oc get mc {} -o yaml", progress.rendered),
        );
    }
    if let Some(node) = progress
        .nodes
        .iter()
        .find(|node| node.phase == Phase::Draining)
    {
        return told(
            format!("node {} is not drained: a pod cannot be evicted", node.name),
            format!(
                "Node {}: desiredDrain differs from lastAppliedDrain",
                node.name
            ),
            "look for a PodDisruptionBudget that allows no disruption",
            "oc get pdb -A".to_owned(),
        );
    }
    if let Some(node) = progress
        .nodes
        .iter()
        .find(|node| node.phase == Phase::Rebooting)
    {
        return told(
            format!("node {} is not ready", node.name),
            format!("Node {}: status.conditions[Ready]", node.name),
            "look at the machine's console: it may not come back from its reboot",
            format!("oc describe node {}", node.name),
        );
    }
    let count = snapshot.nodes.len();
    let away: Vec<&str> = snapshot
        .nodes
        .iter()
        .filter(|node| node["spec"]["unschedulable"] == true || !is_true(node, "Ready"))
        .map(|node| name(node))
        .collect();
    if away.len() >= max_unavailable(snapshot.pool, count) {
        return told(
            format!(
                "{} of {count} nodes are away ({}), and no more may be",
                away.len(),
                away.join(", ")
            ),
            format!("MachineConfigPool {pool}: spec.maxUnavailable; Node: spec.unschedulable"),
            "uncordon the node that somebody cordoned",
            away.first()
                .map_or_else(String::new, |node| format!("oc adm uncordon {node}")),
        );
    }
    told(
        "no reason can be seen".to_owned(),
        format!("MachineConfigPool {pool}: status.conditions"),
        "read the machine-config controller's log",
        "oc -n openshift-machine-config-operator logs deploy/machine-config-controller".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::objects::PREFIX;
    use super::*;

    fn node(current: &str, desired: &str, state: &str, ready: &str) -> Value {
        json!({"metadata": {"name": "n1", "annotations": {
            format!("{PREFIX}currentConfig"): current, format!("{PREFIX}desiredConfig"): desired, format!("{PREFIX}state"): state,
        }}, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": ready}], "nodeInfo": {"bootID": "b"}}})
    }

    fn pool(target: &str) -> Value {
        json!({"metadata": {"name": "worker"}, "spec": {"configuration": {"name": target}},
            "status": {"conditions": [{"type": "Updated", "status": "True"}]}})
    }

    fn rendered(name: &str, url: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"osImageURL": url}})
    }

    #[test]
    fn a_pool_that_says_updated_has_noticed_nothing() {
        let (pool, old, node) = (
            pool("A"),
            rendered("A", "base"),
            node("A", "A", "Done", "True"),
        );
        let snapshot = Snapshot {
            pool: &pool,
            rendered: Some(&old),
            nodes: vec![&node],
        };
        let progress = observe(&snapshot, "L1");
        assert!(!progress.noticed && !progress.is_settled());
        assert!(observe(&snapshot, "base").is_settled());
    }

    #[test]
    fn a_rendered_config_of_another_name_counts_for_nothing() {
        let (pool, other, node) = (
            pool("B"),
            rendered("A", "L1"),
            node("B", "B", "Done", "True"),
        );
        assert!(
            !observe(
                &Snapshot {
                    pool: &pool,
                    rendered: Some(&other),
                    nodes: vec![&node]
                },
                "L1"
            )
            .noticed
        );
    }

    #[test]
    fn nodes_are_where_their_annotations_say() {
        let (pool, wanted) = (pool("B"), rendered("B", "L1"));
        let mut draining = node("A", "B", "Working", "True");
        draining["metadata"]["annotations"][format!("{PREFIX}desiredDrain")] = json!("drain-B");
        let mut cordoned = node("B", "B", "Done", "True");
        cordoned["spec"]["unschedulable"] = json!(true);
        for (node, phase) in [
            (node("A", "A", "Done", "True"), Phase::Waiting),
            (draining, Phase::Draining),
            (node("A", "B", "Working", "True"), Phase::Updating),
            (node("A", "B", "Working", "Unknown"), Phase::Rebooting),
            (node("B", "B", "Done", "False"), Phase::Rebooting),
            (cordoned, Phase::Cordoned),
            (node("B", "B", "Done", "True"), Phase::Settled),
            (node("A", "B", "Degraded", "True"), Phase::Degraded),
        ] {
            let progress = observe(
                &Snapshot {
                    pool: &pool,
                    rendered: Some(&wanted),
                    nodes: vec![&node],
                },
                "L1",
            );
            assert_eq!(progress.nodes[0].phase, phase);
            assert_eq!(progress.is_settled(), phase == Phase::Settled, "{phase:?}");
        }
        assert!(
            !observe(
                &Snapshot {
                    pool: &pool,
                    rendered: Some(&wanted),
                    nodes: Vec::new()
                },
                "L1"
            )
            .is_settled(),
            "no nodes, nothing proven"
        );
    }

    #[test]
    fn a_cordoned_node_is_named_as_what_blocks() {
        let (pool, wanted) = (pool("B"), rendered("B", "L1"));
        let mut cordoned = node("A", "A", "Done", "True");
        cordoned["spec"]["unschedulable"] = json!(true);
        let snapshot = Snapshot {
            pool: &pool,
            rendered: Some(&wanted),
            nodes: vec![&cordoned],
        };
        let diagnosis = diagnose(&snapshot, &observe(&snapshot, "L1"));
        assert!(
            diagnosis.cause.contains("n1") && diagnosis.command == "oc adm uncordon n1",
            "{diagnosis:?}"
        );
    }
}
