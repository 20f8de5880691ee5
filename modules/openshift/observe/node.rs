//! In: a node, where its pool goes, what it said itself. Out: where it stands. Pure.

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

/// Why a node's turn cannot come although the daemon does nothing on it.
fn kept_away(node: &Value) -> Option<&'static str> {
    if annotation(node, "state") != "Done" || is_available(node) {
        return None;
    }
    Some(if node["spec"]["unschedulable"] == true {
        "it was cordoned"
    } else if is_true(node, "DiskPressure") {
        "it has too little disk space"
    } else if is_true(node, "Ready") {
        "its network is not available"
    } else {
        "it is not ready"
    })
}

/// What keeps the turn of all nodes that wait from coming: a pause, or nodes that use up what may be away without being
/// on their way (MCO: `node_controller.go` `getAllCandidateMachines`). Empty when nothing does.
pub(super) fn in_the_way(pool: &Value, nodes: &[&Value], target: &str) -> String {
    if pool["spec"]["paused"] == true {
        return "the pool is paused".to_owned();
    }
    let stands = |node: &&&Value| {
        let is_failing_there = is_failing(node) && annotation(node, "desiredConfig") == target;
        kept_away(node).is_some() || is_failing_there
    };
    let standing: Vec<&str> = nodes.iter().filter(stands).map(|node| name(node)).collect();
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
    node: &Value,
    target: &str,
    proven: Option<&str>,
    in_the_way: &str,
) -> NodeState {
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
    let boot = node["status"]["nodeInfo"]["bootID"].as_str();
    let plain = |phase| (phase, "");
    let (phase, reason) = if is_failing(node) {
        (Phase::Degraded, annotation(node, "reason"))
    } else if desired != target {
        match kept_away(node) {
            Some(why) => (Phase::Blocked, why),
            None if in_the_way.is_empty() => plain(Phase::Unseen),
            None => (Phase::Blocked, in_the_way),
        }
    } else if is_rebooting {
        plain(Phase::Rebooting)
    } else if current == target && state == "Done" {
        if drain != applied {
            (Phase::Booted, "waits to be uncordoned")
        } else if !is_available(node) {
            (Phase::Booted, "was cordoned by somebody")
        } else if proven.is_some_and(|proven| boot.is_none_or(|boot| boot == proven)) {
            plain(Phase::Verified)
        } else {
            plain(Phase::Booted)
        }
    } else if drain.starts_with("uncordon-") && drain.ends_with(target) {
        (Phase::Booted, "waits to be uncordoned")
    } else if drain.starts_with("drain-") && drain != applied {
        plain(Phase::Draining)
    } else if state == "Working"
        && (drain.starts_with("drain-")
            // A cluster of one node is not drained at all (MCO: pkg/daemon/drain.go).
            || annotation(node, "controlPlaneTopology") == "SingleReplica")
    {
        plain(Phase::Applying)
    } else {
        plain(Phase::Targeted)
    };
    NodeState {
        name: name(node).to_owned(),
        phase,
        doing: phase.word(),
        reason: reason.to_owned(),
    }
}
