//! In: where each node of a pool stands. Out: a verdict on the pool, and a line that says what is new. Pure.

use std::collections::HashMap;

use serde::Serialize;

use super::node::{NodeState, Phase};

/// How the rollout of the pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The pool does not go to the image yet.
    Unnoticed,
    /// It goes there, and has no nodes: nothing will ever be proven.
    Empty,
    /// A node, or the rendering, has failed.
    Degraded,
    Paused,
    /// No node is at work, and none will be until something else happens.
    Blocked,
    Rolling,
    /// Every node says that it is done, and the pool agrees. What they booted is still to be read.
    Settled,
    /// Every node has said itself what it booted.
    Done,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    pub pool: String,
    /// The rendered MachineConfig that the pool is going to.
    pub rendered: String,
    pub verdict: Verdict,
    /// The pool goes to the wanted image.
    pub noticed: bool,
    pub paused: bool,
    pub nodes: Vec<NodeState>,
    pub settled: usize,
    /// What the pool's own status still lacks, once all nodes are settled; empty when it agrees.
    pub lacks: String,
}

impl Progress {
    pub(super) fn judge(&self, cannot_render: bool) -> Verdict {
        let any = |is: fn(&NodeState) -> bool| self.nodes.iter().any(is);
        let all = |is: fn(&NodeState) -> bool| self.nodes.iter().all(is);
        if cannot_render || any(|node| node.phase == Phase::Degraded) {
            Verdict::Degraded
        } else if !self.noticed {
            Verdict::Unnoticed
        } else if self.nodes.is_empty() {
            Verdict::Empty
        } else if self.settled == self.nodes.len() && self.lacks.is_empty() {
            if all(|node| node.phase == Phase::Verified) {
                Verdict::Done
            } else {
                Verdict::Settled
            }
        } else if all(|node| node.is_settled() || node.phase == Phase::Blocked)
            && self.settled < self.nodes.len()
        {
            if self.paused {
                Verdict::Paused
            } else {
                Verdict::Blocked
            }
        } else {
            Verdict::Rolling
        }
    }

    /// Every node runs the wanted config, and the pool says so. What they booted may still have to be read.
    pub fn is_settled(&self) -> bool {
        matches!(self.verdict, Verdict::Settled | Verdict::Done)
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
        let last_seen = last.filter(|last| last.noticed);
        let known: HashMap<&str, (Phase, &str)> = last_seen
            .into_iter()
            .flat_map(|last| &last.nodes)
            .map(|known| (known.name.as_str(), (known.phase, known.reason.as_str())))
            .collect();
        let before = |node: &NodeState| {
            let known = known.get(node.name.as_str());
            known.copied().unwrap_or((Phase::Unseen, ""))
        };
        let news: Vec<String> = self
            .nodes
            .iter()
            // A pause is said once, of the pool.
            .filter(|node| (node.phase, node.reason.as_str()) != before(node))
            .filter(|node| !(self.paused && node.phase == Phase::Blocked))
            .map(|node| {
                let why = node.reason.lines().next().unwrap_or_default();
                match node.phase {
                    _ if why.is_empty() => format!("{} {}", node.name, node.doing),
                    Phase::Booted => format!("{} is back, {why}", node.name),
                    _ => format!("{} {}: {why}", node.name, node.doing),
                }
            })
            .collect();
        if !news.is_empty() {
            return format!("{head}: {}", news.join(", "));
        }
        if !self.lacks.is_empty() {
            return format!("{head}: {}", self.lacks);
        }
        if self.verdict == Verdict::Settled {
            return format!("{head}: each is asked what it booted");
        }
        if last.is_none_or(|last| !last.noticed) {
            return format!("{head}: goes to {}", self.rendered);
        }
        head
    }
}
