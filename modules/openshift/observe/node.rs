//! In: a node, where its pool goes, what it said itself. Out: where it stands. Pure.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::super::objects::{annotation, is_true, name};
use super::super::pools::{is_available, is_failing, max_unavailable};

/// Where a node stands, by what the operator and the daemon write on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not its turn yet.
    Unseen,
    /// Its turn; the daemon has not begun.
    Targeted,
    Draining,
    /// Pulls the image and writes the deployment.
    Applying,
    Rebooting,
    /// Runs the wanted config; `reason` says what it lacks, if anything.
    Booted,
    /// Runs the wanted config, and has said itself in its present boot that it runs the wanted image.
    Verified,
    /// `reason` is the daemon's.
    Degraded,
    /// Its turn does not come; `reason` says by what.
    Blocked,
}

impl Phase {
    /// The daemon is surely not past its reboot.
    pub fn is_before_reboot(self) -> bool {
        matches!(
            self,
            Self::Unseen | Self::Targeted | Self::Draining | Self::Blocked
        )
    }

    /// Nothing was done with the node yet.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Unseen | Self::Blocked)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Unseen => "waits for its turn",
            Self::Targeted => "is next",
            Self::Draining => "is drained",
            Self::Applying => "pulls and writes the image",
            Self::Rebooting => "reboots",
            Self::Booted => "is done",
            Self::Verified => "is proven",
            Self::Degraded => "is degraded",
            Self::Blocked => "is blocked",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeState {
    pub name: String,
    pub phase: Phase,
    /// The phase in words.
    pub doing: &'static str,
    /// The daemon's words, what it lacks, or what blocks it.
    pub reason: String,
}

impl NodeState {
    /// Runs the wanted config; ready and schedulable.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Verified || (self.phase == Phase::Booted && self.reason.is_empty())
    }
}

/// What is read from a node; never anything that is not on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    name: String,
    current: String,
    desired: String,
    state: String,
    reason: String,
    /// What the daemon asked of the drain controller, and what that did.
    drain: String,
    drained: String,
    boot: Option<String>,
    is_available: bool,
    is_failing: bool,
    is_rebooting: bool,
    /// A cluster of one node is not drained at all (MCO: pkg/daemon/drain.go).
    is_alone: bool,
    /// Why its turn cannot come although the daemon does nothing on it.
    kept_away: Option<&'static str>,
}

impl NodeFacts {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub fn of(node: &Value) -> Self {
        let text = |short: &str| annotation(node, short).to_owned();
        let state = text("state");
        let (is_available, is_ready) = (is_available(node), is_true(node, "Ready"));
        let kept_away = if state != "Done" || is_available {
            None
        } else if node["spec"]["unschedulable"] == true {
            Some("it was cordoned")
        } else if is_true(node, "DiskPressure") {
            Some("it has too little disk space")
        } else if is_ready {
            Some("its network is not available")
        } else {
            Some("it is not ready")
        };
        Self {
            name: name(node).to_owned(),
            current: text("currentConfig"),
            desired: text("desiredConfig"),
            reason: text("reason"),
            drain: text("desiredDrain"),
            drained: text("lastAppliedDrain"),
            boot: node["status"]["nodeInfo"]["bootID"]
                .as_str()
                .map(ToOwned::to_owned),
            is_failing: is_failing(node),
            is_rebooting: !is_ready
                || state == "Rebooting"
                || annotation(node, "post-config-action") == "Rebooting",
            is_alone: annotation(node, "controlPlaneTopology") == "SingleReplica",
            state,
            is_available,
            kept_away,
        }
    }
}

/// What keeps the turn of all nodes that wait from coming: a pause, or nodes that use up what may be away without being
/// on their way (MCO: `node_controller.go` `getAllCandidateMachines`). Empty when nothing does.
pub(super) fn in_the_way(pool: &Value, nodes: &[Arc<NodeFacts>], target: &str) -> String {
    if pool["spec"]["paused"] == true {
        return "the pool is paused".to_owned();
    }
    let standing: Vec<&str> = nodes
        .iter()
        .filter(|node| node.kept_away.is_some() || (node.is_failing && node.desired == target))
        .map(|node| node.name.as_str())
        .collect();
    let most = max_unavailable(pool, nodes.len());
    if standing.is_empty() || standing.len() < most {
        return String::new();
    }
    format!(
        "no more than {most} may be away, and that is {}",
        standing.join(", ")
    )
}

pub(super) fn state(
    node: &NodeFacts,
    target: &str,
    proven: Option<&str>,
    in_the_way: &str,
) -> NodeState {
    let plain = |phase| (phase, "");
    let (phase, reason) = if node.is_failing {
        (Phase::Degraded, node.reason.as_str())
    } else if node.desired != target {
        match node.kept_away {
            Some(why) => (Phase::Blocked, why),
            None if in_the_way.is_empty() => plain(Phase::Unseen),
            None => (Phase::Blocked, in_the_way),
        }
    } else if node.is_rebooting {
        plain(Phase::Rebooting)
    } else if node.current == target && node.state == "Done" {
        let boot = node.boot.as_deref();
        if node.drain != node.drained {
            (Phase::Booted, "waits to be uncordoned")
        } else if !node.is_available {
            (Phase::Booted, "was cordoned by somebody")
        } else if proven.is_some_and(|proven| boot.is_none_or(|boot| boot == proven)) {
            plain(Phase::Verified)
        } else {
            plain(Phase::Booted)
        }
    } else if node.drain.starts_with("uncordon-") && node.drain.ends_with(target) {
        (Phase::Booted, "waits to be uncordoned")
    } else if node.drain.starts_with("drain-") && node.drain != node.drained {
        plain(Phase::Draining)
    } else if node.state == "Working" && (node.drain.starts_with("drain-") || node.is_alone) {
        plain(Phase::Applying)
    } else {
        plain(Phase::Targeted)
    };
    NodeState {
        name: node.name.clone(),
        phase,
        doing: phase.word(),
        reason: reason.to_owned(),
    }
}
