//! The node controller and the drain controller. In: pools and nodes. Out: nodes get their turn, are cordoned, drained
//! and uncordoned; pools tell how far they are (MCO: pkg/controller/node, pkg/controller/drain).

use kube::Error;
use layerplay_modules::openshift::pools::{max_unavailable, members};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Pace;
use super::access::{Access, NODES, P, PODS, POOLS, annotation, name};

pub(super) fn start(access: Access, pace: Pace, stop: CancellationToken) {
    let (other, other_stop) = (access.clone(), stop.clone());
    tokio::spawn(async move {
        access
            .on_change(&[POOLS, NODES], None, pace.sync, &stop, targets)
            .await;
    });
    tokio::spawn(async move {
        other
            .on_change(
                &[NODES, PODS],
                None,
                pace.sync,
                &other_stop,
                async move |access: &Access| drains(access, pace).await,
            )
            .await;
    });
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn is_done(node: &Value, target: &str) -> bool {
    annotation(node, "currentConfig") == target
        && annotation(node, "desiredConfig") == target
        && annotation(node, "state") == "Done"
}

/// Away: not ready, cordoned, or on its way (MCO: `layered_node_state.go` `IsUnavailableForUpdate`).
fn is_away(node: &Value) -> bool {
    let is_busy = annotation(node, "currentConfig") != annotation(node, "desiredConfig")
        || annotation(node, "state") != "Done";
    !is_ready(node) || node["spec"]["unschedulable"] == true || is_busy
}

/// Gives nodes their turn, then writes the pools' status.
async fn targets(access: &Access) -> Result<(), Error> {
    let pools = access.list(POOLS, None).await?;
    let mut nodes = access.list(NODES, None).await?;
    for pool in &pools {
        let target = pool["spec"]["configuration"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if target.is_empty() {
            continue;
        }
        let mut chosen = Vec::new();
        if pool["spec"]["paused"] != true {
            let own = members(name(pool), &pools, &nodes);
            let away = own.iter().filter(|node| is_away(node)).count();
            let free = max_unavailable(pool, own.len()).saturating_sub(away);
            // Oldest first within the zones, as the names of this lab are in the order of their age.
            chosen = own
                .iter()
                .filter(|node| annotation(node, "desiredConfig") != target && !is_away(node))
                .take(free)
                .map(|node| name(node).to_owned())
                .collect();
        }
        for node in &chosen {
            access
                .merge(
                    NODES,
                    None,
                    node,
                    &json!({"metadata": {"annotations": {format!("{P}desiredConfig"): target}}}),
                )
                .await?;
        }
        for node in nodes
            .iter_mut()
            .filter(|node| chosen.iter().any(|known| known == name(node)))
        {
            node["metadata"]["annotations"][format!("{P}desiredConfig")] = json!(target);
        }
        status(access, pool, &members(name(pool), &pools, &nodes), &target).await?;
    }
    Ok(())
}

async fn status(
    access: &Access,
    pool: &Value,
    nodes: &[&Value],
    target: &str,
) -> Result<(), Error> {
    let count = |is: &dyn Fn(&Value) -> bool| nodes.iter().filter(|node| is(node)).count();
    let updated = count(&|node| is_done(node, target));
    let ready = count(&|node| {
        is_done(node, target) && is_ready(node) && node["spec"]["unschedulable"] != true
    });
    let away = count(&is_away);
    let degraded: Vec<&&Value> = nodes
        .iter()
        .filter(|node| annotation(node, "state") == "Degraded")
        .collect();
    let is_paused = pool["spec"]["paused"] == true;
    // Also true for a pool without machines.
    let all = updated == nodes.len() && ready == nodes.len() && away == 0;
    let flag = |is: bool| if is { "True" } else { "False" };
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
        ("RenderDegraded", false, String::new(), String::new()),
        (
            "Degraded",
            !degraded.is_empty(),
            String::new(),
            reports.join(", "),
        ),
    ];
    let known = pool["status"]["conditions"].as_array();
    let conditions: Vec<Value> = wanted
        .iter()
        .map(|(kind, is, reason, message)| {
            let before = known.into_iter().flatten().find(|condition| condition["type"] == *kind);
            // The time moves only when the status flips (MCO: apihelpers.go SetMachineConfigPoolCondition).
            let time = before.filter(|condition| condition["status"] == flag(*is)).and_then(|condition| condition["lastTransitionTime"].as_str());
            let time = time.map_or_else(now, ToOwned::to_owned);
            json!({"type": kind, "status": flag(*is), "reason": reason, "message": message, "lastTransitionTime": time})
        })
        .collect();
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

/// Now, as the API server writes times.
pub(super) fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Carries out what daemons ask for in `desiredDrain`.
async fn drains(access: &Access, pace: Pace) -> Result<(), Error> {
    let nodes = access.list(NODES, None).await?;
    let asking: Vec<&Value> = nodes
        .iter()
        .filter(|node| {
            !annotation(node, "desiredDrain").is_empty()
                && annotation(node, "desiredDrain") != annotation(node, "lastAppliedDrain")
        })
        .collect();
    for node in asking {
        let wanted = annotation(node, "desiredDrain");
        let is_drain = wanted.starts_with("drain-");
        access.merge(NODES, None, name(node), &json!({"spec": {"unschedulable": if is_drain { json!(true) } else { Value::Null }}})).await?;
        if is_drain {
            tokio::time::sleep(pace.drain).await;
            if !drain(access, name(node)).await? {
                continue;
            }
        }
        access
            .merge(
                NODES,
                None,
                name(node),
                &json!({"metadata": {"annotations": {format!("{P}lastAppliedDrain"): wanted}}}),
            )
            .await?;
    }
    Ok(())
}

/// Evicts what may be evicted; `false` while something stays.
async fn drain(access: &Access, node: &str) -> Result<bool, Error> {
    let mut is_empty = true;
    for pod in access
        .list(PODS, Some(&format!("spec.nodeName={node}")))
        .await?
    {
        let owners = pod["metadata"]["ownerReferences"].as_array();
        // Pods of daemon sets stay (kubectl drain --ignore-daemonsets); finished ones and debug pods hold nothing up.
        let stays = owners
            .into_iter()
            .flatten()
            .any(|owner| owner["kind"] == "DaemonSet")
            || pod["metadata"]["labels"]["debug.openshift.io/managed-by"].is_string();
        if stays {
            continue;
        }
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        is_empty &= access.evict(namespace, name(&pod)).await?;
    }
    Ok(is_empty)
}
