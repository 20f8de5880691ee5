//! In: where each node of a pool stands. Out: a verdict on the pool, and a line that says what is new. Pure.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::{Value, json};

use super::node::{NodeState, Phase};

/// Events tell each node of a pool up to this many, and of larger pools those that are new: else a rollout over
/// thousands of nodes would tell gigabytes.
const WHOLE: usize = 100;
/// A line names this many nodes.
const NAMED: usize = 10;

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

#[derive(Debug, Clone, PartialEq)]
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

    /// Nodes that stand elsewhere than at the last look; at the first one, those that do not just wait.
    fn news(&self, last: Option<&Self>) -> Vec<&NodeState> {
        let known: HashMap<&str, (Phase, &str)> = last
            .into_iter()
            .flat_map(|last| &last.nodes)
            .map(|known| (known.name.as_str(), (known.phase, known.reason.as_str())))
            .collect();
        let before = |node: &NodeState| {
            let known = known.get(node.name.as_str());
            known.copied().unwrap_or((Phase::Unseen, ""))
        };
        let is_new = |node: &&NodeState| (node.phase, node.reason.as_str()) != before(node);
        self.nodes.iter().filter(is_new).collect()
    }

    /// As events tell it, with when each node was first at work. After the first time, a large pool's nodes are those
    /// that are new.
    pub fn told(&self, last: Option<&Self>, begun: &BTreeMap<String, jiff::Timestamp>) -> Value {
        let partial = last.is_some() && self.nodes.len() > WHOLE;
        let told: Vec<&NodeState> = if partial {
            self.news(last)
        } else {
            self.nodes.iter().collect()
        };
        let nodes: Vec<Value> = told
            .into_iter()
            .map(|node| {
                let mut value = json!(node);
                value["begun"] = json!(begun.get(&node.name).map(ToString::to_string));
                value
            })
            .collect();
        let mut counts: BTreeMap<Phase, usize> = BTreeMap::new();
        for node in &self.nodes {
            *counts.entry(node.phase).or_default() += 1;
        }
        json!({
            "pool": self.pool, "rendered": self.rendered, "verdict": self.verdict, "noticed": self.noticed,
            "paused": self.paused, "nodes": nodes, "partial": partial, "total": self.nodes.len(), "counts": counts,
            "settled": self.settled, "lacks": self.lacks, "text": self.line(last),
        })
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
        let mut changed = self.news(last.filter(|last| last.noticed));
        // A pause is said once, of the pool.
        changed.retain(|node| !(self.paused && node.phase == Phase::Blocked));
        // What needs somebody comes first where not all are named.
        changed.sort_by_key(|node| node.phase != Phase::Degraded);
        let more = changed.len().saturating_sub(NAMED);
        let mut news: Vec<String> = changed
            .into_iter()
            .take(NAMED)
            .map(|node| {
                let why = node.reason.lines().next().unwrap_or_default();
                match node.phase {
                    _ if why.is_empty() => format!("{} {}", node.name, node.doing),
                    Phase::Booted => format!("{} is back, {why}", node.name),
                    _ => format!("{} {}: {why}", node.name, node.doing),
                }
            })
            .collect();
        if more > 0 {
            news.push(format!("and {more} more"));
        }
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
