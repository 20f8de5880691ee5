//! In: whole objects (a pool, the rendered MachineConfig that it names, its nodes), what nodes said themselves, and what
//! is wanted. Out: where the rollout stands, node by node, and a verdict on the pool. Pure: watches only feed it, and
//! nothing is remembered, so that a wait that is begun again comes to the same.
//!
//! Content is the anchor: a pool has noticed a change when the rendered MachineConfig named in `spec.configuration`
//! carries the wanted `osImageURL`; never because of `Updated=True`, a new name, or the list of sources.
//!
//! ```text
//! node     where one node stands        progress  the whole pool: verdict, and a line about it
//! ```

mod node;
mod progress;
#[cfg(test)]
mod shuffled;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::objects::{condition, is_true, name};

pub use node::{NodeFacts, NodeState, Phase};
pub use progress::{Progress, Verdict};

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Snapshot<'s> {
    pub pool: &'s Value,
    /// The MachineConfig that `spec.configuration.name` names.
    pub rendered: Option<&'s Value>,
    pub nodes: Vec<&'s Value>,
    /// What is read from each of them.
    facts: Vec<Arc<NodeFacts>>,
    /// Nodes that said themselves that they have booted the wanted image, with the boot in which they said it.
    pub proven: BTreeMap<String, String>,
}

impl<'s> Snapshot<'s> {
    /// Objects alone: nobody was asked yet.
    pub fn new(
        pool: &'s Value,
        rendered: Option<&'s Value>,
        nodes: impl IntoIterator<Item = &'s Value>,
    ) -> Self {
        let read = |node| (node, Arc::new(NodeFacts::of(node)));
        Self::read(pool, rendered, nodes.into_iter().map(read))
    }

    /// The same of nodes from which the facts were read before.
    pub fn read(
        pool: &'s Value,
        rendered: Option<&'s Value>,
        nodes: impl IntoIterator<Item = (&'s Value, Arc<NodeFacts>)>,
    ) -> Self {
        let (nodes, facts) = nodes.into_iter().unzip();
        Self {
            pool,
            rendered,
            nodes,
            facts,
            proven: BTreeMap::new(),
        }
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
    let in_the_way = node::in_the_way(pool, &snapshot.facts, target);
    let nodes: Vec<NodeState> = snapshot
        .facts
        .iter()
        .map(|facts| {
            let proven = snapshot.proven.get(facts.name()).map(String::as_str);
            node::state(facts, target, proven.filter(|_| noticed), &in_the_way)
        })
        .collect();
    let settled = nodes
        .iter()
        .filter(|node| noticed && node.is_settled())
        .count();
    let lacks = if settled == nodes.len() {
        lacks(pool, target, nodes.len())
    } else {
        String::new()
    };
    let mut progress = Progress {
        pool: name(pool).to_owned(),
        rendered: target.to_owned(),
        verdict: Verdict::Unnoticed,
        noticed,
        paused: pool["spec"]["paused"] == true,
        lacks,
        nodes,
        settled,
    };
    progress.verdict = progress.judge(is_true(pool, "RenderDegraded"));
    progress
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
    // Another controller writes this one, and does not touch `observedGeneration`.
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
