//! The node controller and the drain controller. In: pools and nodes. Out: nodes get their turn, are cordoned, drained
//! and uncordoned; pools tell how far they are (MCO: pkg/controller/node, pkg/controller/drain).

use std::collections::HashMap;

use kube::Error;
use layerplay_modules::openshift::objects::{condition, is_true};
use layerplay_modules::openshift::pools::{
    is_available, is_failing, max_unavailable, members, sort_by_turn,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Pace;
use super::access::{Access, NODES, P, PODS, POOLS, annotation, name};
use super::seen::{Seen, on_change};

pub(super) fn start(access: Access, pace: Pace, stop: CancellationToken) {
    let (other, other_stop) = (access.clone(), stop.clone());
    tokio::spawn(async move {
        on_change(&access, &[POOLS, NODES], pace.sync, &stop, targets).await;
    });
    tokio::spawn(async move {
        let work = async move |access: &Access, seen: &Seen| drains(access, seen, pace).await;
        on_change(&other, &[NODES, PODS], pace.sync, &other_stop, work).await;
    });
}

fn is_done(node: &Value) -> bool {
    annotation(node, "currentConfig") == annotation(node, "desiredConfig")
        && annotation(node, "state") == "Done"
}

fn is_at(node: &Value, target: &str) -> bool {
    is_done(node) && annotation(node, "currentConfig") == target
}

/// Fails to go somewhere: one that only fails where it is does not count (MCO: `layered_node_state.go`
/// `IsNodeMCDFailing`).
fn is_stuck(node: &Value) -> bool {
    is_failing(node) && annotation(node, "currentConfig") != annotation(node, "desiredConfig")
}

/// Away: not ready, cordoned, or on its way (MCO: `layered_node_state.go` `IsUnavailableForUpdate`). One that is stuck,
/// ready and schedulable is not away.
fn is_away(node: &Value) -> bool {
    !is_available(node) || (!is_done(node) && !is_stuck(node))
}

/// The nodes whose turn it is (MCO: `node_controller.go` `getAllCandidateMachines`).
fn candidates<'n>(pool: &Value, nodes: &[&'n Value], target: &str) -> Vec<&'n Value> {
    let away = nodes.iter().filter(|node| is_away(node)).count();
    // Nodes that fail with this very config use up what may be away, too.
    let failing = nodes
        .iter()
        .filter(|node| annotation(node, "desiredConfig") == target && is_stuck(node))
        .count();
    let free = max_unavailable(pool, nodes.len())
        .saturating_sub(away)
        .saturating_sub(failing);
    let mut waiting: Vec<&Value> = nodes
        .iter()
        .copied()
        .filter(|node| annotation(node, "desiredConfig") != target && is_available(node))
        .collect();
    sort_by_turn(&mut waiting);
    waiting.truncate(free);
    waiting
}

/// Gives nodes their turn, then writes the pools' status.
async fn targets(access: &Access, seen: &Seen) -> Result<(), Error> {
    let pools: Vec<Value> = seen.all(POOLS).cloned().collect();
    for pool in &pools {
        let target = pool["spec"]["configuration"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if target.is_empty() {
            continue;
        }
        let own = members(name(pool), &pools, seen.all(NODES));
        let mut chosen: HashMap<String, Value> = HashMap::new();
        if pool["spec"]["paused"] != true {
            for node in &own {
                taint(access, node, annotation(node, "desiredConfig") != target).await?;
            }
            for node in candidates(pool, &own, &target) {
                let desired =
                    json!({"metadata": {"annotations": {format!("{P}desiredConfig"): target}}});
                access.merge(NODES, None, name(node), &desired).await?;
                let mut node = node.clone();
                node["metadata"]["annotations"][format!("{P}desiredConfig")] = json!(target);
                chosen.insert(name(&node).to_owned(), node);
            }
        }
        // With the nodes as they are now that their turn has come.
        let own: Vec<&Value> = own
            .into_iter()
            .map(|node| chosen.get(name(node)).unwrap_or(node))
            .collect();
        status(access, pool, &own, &target).await?;
    }
    Ok(())
}

const TAINT: &str = "UpdateInProgress";

/// Nodes that still wait for their turn are a bad place for new pods (MCO: `node_controller.go` `setUpdateInProgressTaint`).
async fn taint(access: &Access, node: &Value, wanted: bool) -> Result<(), Error> {
    let taints = node["spec"]["taints"].as_array();
    let mut taints: Vec<Value> = taints.into_iter().flatten().cloned().collect();
    if taints.iter().any(|taint| taint["key"] == TAINT) == wanted {
        return Ok(());
    }
    if wanted {
        taints.push(json!({"key": TAINT, "effect": "PreferNoSchedule"}));
    } else {
        taints.retain(|taint| taint["key"] != TAINT);
    }
    let patch = json!({"spec": {"taints": taints}});
    access.merge(NODES, None, name(node), &patch).await
}

async fn status(
    access: &Access,
    pool: &Value,
    nodes: &[&Value],
    target: &str,
) -> Result<(), Error> {
    let count = |is: &dyn Fn(&Value) -> bool| nodes.iter().filter(|node| is(node)).count();
    let updated = count(&|node| is_at(node, target));
    let ready = count(&|node| is_at(node, target) && is_available(node));
    let away = count(&is_away);
    let degraded: Vec<&&Value> = nodes.iter().filter(|node| is_failing(node)).collect();
    let is_paused = pool["spec"]["paused"] == true;
    // Also true for a pool without machines.
    let all = updated == nodes.len() && ready == nodes.len() && away == 0;
    let reports: Vec<String> = degraded
        .iter()
        .map(|node| {
            format!(
                "Node {} is reporting: \"{}\"",
                name(node),
                annotation(node, "reason")
            )
        })
        .collect();
    let updating_message = match (all, is_paused) {
        (true, _) => String::new(),
        (false, true) => format!("Pool is paused; will not update to MachineConfig {target}"),
        (false, false) => format!("All nodes are updating to MachineConfig {target}"),
    };
    let wanted = [
        (
            "Updated",
            all,
            String::new(),
            if all {
                format!("All nodes are updated with MachineConfig {target}")
            } else {
                String::new()
            },
        ),
        (
            "Updating",
            !all && !is_paused,
            String::new(),
            updating_message,
        ),
        (
            "NodeDegraded",
            !degraded.is_empty(),
            if degraded.is_empty() {
                String::new()
            } else {
                format!(
                    "{} nodes are reporting degraded status on sync",
                    degraded.len()
                )
            },
            reports.join(", "),
        ),
        (
            "Degraded",
            !degraded.is_empty() || is_true(pool, "RenderDegraded"),
            String::new(),
            reports.join(", "),
        ),
    ];
    let conditions = conditions(pool, &wanted);
    let configuration = if all {
        pool["spec"]["configuration"].clone()
    } else {
        pool["status"]["configuration"].clone()
    };
    let status = json!({
        "observedGeneration": pool["metadata"]["generation"], "configuration": configuration, "machineCount": nodes.len(),
        "updatedMachineCount": updated, "readyMachineCount": ready, "unavailableMachineCount": away,
        "degradedMachineCount": degraded.len(), "conditions": conditions,
    });
    let is_same = status
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, value)| pool["status"][key] == *value);
    if is_same {
        return Ok(());
    }
    access
        .merge_status(POOLS, None, name(pool), &json!({"status": status}))
        .await
}

/// `True` or `False`.
pub(super) fn flag(is: bool) -> &'static str {
    if is { "True" } else { "False" }
}

/// Type, whether it is true, reason, message.
type Wanted = (&'static str, bool, String, String);

/// A pool's conditions with these written over them. The list is one value to the API, and two controllers write it.
pub(super) fn conditions(pool: &Value, wanted: &[Wanted]) -> Vec<Value> {
    let written = wanted.iter().map(|(kind, is, reason, message)| {
        // The time moves only when the status flips (MCO: apihelpers.go SetMachineConfigPoolCondition).
        let time = condition(pool, kind)
            .filter(|before| before["status"] == flag(*is))
            .and_then(|before| before["lastTransitionTime"].as_str())
            .map_or_else(now, ToOwned::to_owned);
        json!({"type": kind, "status": flag(*is), "reason": reason, "message": message, "lastTransitionTime": time})
    });
    with_conditions(pool, written)
}

/// An object's conditions with these in the places of those of their types.
pub(in crate::lab) fn with_conditions(
    object: &Value,
    written: impl IntoIterator<Item = Value>,
) -> Vec<Value> {
    let known = object["status"]["conditions"].as_array();
    let mut all: Vec<Value> = known.into_iter().flatten().cloned().collect();
    for condition in written {
        match all
            .iter_mut()
            .find(|known| known["type"] == condition["type"])
        {
            Some(place) => *place = condition,
            None => all.push(condition),
        }
    }
    all
}

/// Now, as the API server writes times.
pub(in crate::lab) fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Carries out what daemons ask for in `desiredDrain`.
async fn drains(access: &Access, seen: &Seen, pace: Pace) -> Result<(), Error> {
    let is_asking = |node: &&Value| {
        !annotation(node, "desiredDrain").is_empty()
            && annotation(node, "desiredDrain") != annotation(node, "lastAppliedDrain")
    };
    let asking: Vec<&Value> = seen.all(NODES).filter(is_asking).collect();
    if asking.is_empty() {
        return Ok(());
    }
    let mut pods: HashMap<&str, Vec<&Value>> = HashMap::new();
    for pod in seen.all(PODS) {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        pods.entry(node).or_default().push(pod);
    }
    let done = asking.into_iter().map(|node| {
        let own = pods.get(name(node)).map_or(&[][..], Vec::as_slice);
        carry_out(access, node, own, pace)
    });
    // One that is not empty yet must not hold up the others.
    let done = futures_util::future::join_all(done).await;
    done.into_iter().collect()
}

async fn carry_out(
    access: &Access,
    node: &Value,
    pods: &[&Value],
    pace: Pace,
) -> Result<(), Error> {
    let wanted = annotation(node, "desiredDrain");
    let is_drain = wanted.starts_with("drain-");
    if (node["spec"]["unschedulable"] == true) != is_drain {
        let unschedulable = if is_drain { json!(true) } else { Value::Null };
        let cordon = json!({"spec": {"unschedulable": unschedulable}});
        access.merge(NODES, None, name(node), &cordon).await?;
    }
    if is_drain {
        tokio::time::sleep(pace.drain).await;
        if !drain(access, pods).await? {
            // Looked at again after the pause: the operator never gives a drain up.
            return Err(Error::Service("the node is not empty yet".into()));
        }
    }
    let applied = json!({"metadata": {"annotations": {format!("{P}lastAppliedDrain"): wanted}}});
    access.merge(NODES, None, name(node), &applied).await
}

/// Evicts what is there; `true` once nothing is left.
async fn drain(access: &Access, pods: &[&Value]) -> Result<bool, Error> {
    let mut is_empty = true;
    for pod in pods {
        let owners = pod["metadata"]["ownerReferences"].as_array();
        // Pods of daemon sets stay (kubectl drain --ignore-daemonsets); finished ones and debug pods hold nothing up.
        let stays = owners
            .into_iter()
            .flatten()
            .any(|owner| owner["kind"] == "DaemonSet")
            || matches!(
                pod["status"]["phase"].as_str(),
                Some("Succeeded" | "Failed")
            )
            || pod["metadata"]["labels"]["debug.openshift.io/managed-by"].is_string();
        if stays {
            continue;
        }
        is_empty = false;
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        access.evict(namespace, name(pod)).await?;
    }
    Ok(is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, current: &str, desired: &str, state: &str) -> Value {
        json!({
            "metadata": {"name": name, "annotations": {
                format!("{P}currentConfig"): current, format!("{P}desiredConfig"): desired, format!("{P}state"): state,
            }},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        })
    }

    #[test]
    fn a_node_that_fails_where_it_is_is_away() {
        let waiting = node("b", "old", "old", "Done");
        let pool = json!({"spec": {"maxUnavailable": 1}});
        let taken = |first: Value| -> Vec<String> {
            let chosen = candidates(&pool, &[&first, &waiting], "new");
            chosen.iter().map(|node| name(node).to_owned()).collect()
        };
        assert!(taken(node("a", "new", "new", "Degraded")).is_empty());
        assert!(taken(node("a", "old", "new", "Degraded")).is_empty());
        // What is stuck on its way to something else can be sent elsewhere.
        assert_eq!(taken(node("a", "old", "bad", "Degraded")), ["a"]);
        assert_eq!(taken(node("a", "new", "new", "Done")), ["b"]);
    }
}
