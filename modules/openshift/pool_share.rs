//! In: a custom pool, all pools and nodes, and a share of the workers. Out: the nodes that make the share, spread over the
//! zones. Pure: the same cluster gives the same nodes, and nodes that are in the pool already stay.

use std::collections::BTreeMap;

use serde_json::Value;

use super::objects::name;
use super::pools::{is_available, members, sort_by_turn};
use crate::error::{ErrorKind, ModuleError};

fn zone(node: &Value) -> &str {
    node["metadata"]["labels"]["topology.kubernetes.io/zone"]
        .as_str()
        .unwrap_or_default()
}

/// The names of the nodes that `percentage` of the pool's and worker's nodes are, rounded up. Those that are in the pool
/// come first; the rest comes from worker, from the zone that has given the fewest.
pub fn share(
    pool: &str,
    percentage: u8,
    pools: &[Value],
    nodes: &[Value],
) -> Result<Vec<String>, ModuleError> {
    let own = members(pool, pools, nodes);
    let mut free = members("worker", pools, nodes);
    let all = own.len() + free.len();
    let wanted = (all * usize::from(percentage)).div_ceil(100);
    let missing = wanted.saturating_sub(own.len());
    // What is away now would hold the new pool up from the start.
    free.retain(|node| is_available(node));
    if free.len() < missing {
        return Err(ModuleError::new(
            ErrorKind::Preflight,
            format!(
                "pool `{pool}` is to have {wanted} of {all} nodes and has {}, and only {} of worker are ready and schedulable",
                own.len(),
                free.len()
            ),
        )
        .hint("bring nodes back, or ask for a smaller `percentage`"));
    }
    sort_by_turn(&mut free);
    let mut given: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &own {
        *given.entry(zone(node)).or_default() += 1;
    }
    let mut chosen: Vec<&Value> = own;
    for _ in 0..missing {
        let count = |node: &&Value| given.get(zone(node)).copied().unwrap_or_default();
        // The first of equals: nodes stand in the order of their turn.
        let Some(at) = (0..free.len()).min_by_key(|at| count(&free[*at])) else {
            break;
        };
        let node = free.remove(at);
        *given.entry(zone(node)).or_default() += 1;
        chosen.push(node);
    }
    Ok(chosen
        .into_iter()
        .map(|node| name(node).to_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, role: &str, zone: &str) -> Value {
        json!({
            "metadata": {"name": name, "labels": {
                "topology.kubernetes.io/zone": zone, "node-role.kubernetes.io/worker": "", format!("node-role.kubernetes.io/{role}"): "",
            }},
            "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        })
    }

    fn pool(name: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"nodeSelector": {"matchLabels": {format!("node-role.kubernetes.io/{name}"): ""}}}})
    }

    #[test]
    fn a_share_is_rounded_up_spread_and_stays() {
        let pools = [pool("worker"), pool("canary")];
        let mut nodes: Vec<Value> = ["a", "a", "a", "b", "b", "c"]
            .iter()
            .enumerate()
            .map(|(at, zone)| node(&format!("n{at}"), "worker", zone))
            .collect();
        let taken = |nodes: &[Value], percentage| share("canary", percentage, &pools, nodes);
        assert_eq!(taken(&nodes, 1).unwrap(), ["n0"]);
        assert_eq!(taken(&nodes, 34).unwrap(), ["n0", "n3", "n5"]);
        assert_eq!(taken(&nodes, 100).unwrap().len(), 6);
        // The same again, once some are there; the zone that has one already comes last.
        nodes[3] = node("n3", "canary", "b");
        assert_eq!(taken(&nodes, 1).unwrap(), ["n3"]);
        assert_eq!(taken(&nodes, 50).unwrap(), ["n3", "n0", "n5"]);
        nodes[0]["spec"]["unschedulable"] = json!(true);
        assert_eq!(taken(&nodes, 50).unwrap(), ["n3", "n1", "n5"]);
        let problem = taken(&nodes, 100).unwrap_err();
        assert!(
            problem
                .message
                .contains("is to have 6 of 6 nodes and has 1, and only 4"),
            "{problem}"
        );
    }
}
