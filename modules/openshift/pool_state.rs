//! In: a whole pool, its nodes, the image of its rendered MachineConfig. Out: what a playbook reads of it, and a verdict
//! that never rests on one condition alone. Pure.

use serde::Serialize;
use serde_json::{Value, json};

use super::objects::{annotation, condition, is_true, name};
use super::pool_pause;
use super::pools::is_failing;

/// How a pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every node runs what the pool goes to.
    Updated,
    Updating,
    /// Nodes that are not targeted yet stay as they are.
    Paused,
    Degraded,
    /// Nothing to go to yet.
    NotRendered,
    /// No nodes: the operator calls it updated, and nothing is proven.
    Empty,
}

fn count(pool: &Value, field: &str) -> usize {
    pool["status"][field]
        .as_u64()
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(0)
}

fn target(pool: &Value) -> &str {
    pool["spec"]["configuration"]["name"]
        .as_str()
        .unwrap_or_default()
}

/// The verdict and its reason, in one look at whole objects.
pub fn verdict(pool: &Value, members: &[&Value]) -> (Verdict, String) {
    let message = |kind: &str| {
        condition(pool, kind)
            .filter(|condition| condition["status"] == "True")
            .map(|condition| {
                let text = condition["message"].as_str().unwrap_or_default();
                if text.is_empty() { kind } else { text }.to_owned()
            })
    };
    if let Some(text) = message("RenderDegraded") {
        return (Verdict::Degraded, text);
    }
    let broken = members.iter().find(|node| is_failing(node));
    if let Some(node) = broken {
        return (
            Verdict::Degraded,
            format!("node {}: {}", name(node), annotation(node, "reason")),
        );
    }
    if let Some(text) = message("NodeDegraded").or_else(|| message("Degraded")) {
        return (Verdict::Degraded, text);
    }
    let target = target(pool);
    let there = members
        .iter()
        .filter(|node| {
            annotation(node, "currentConfig") == target && annotation(node, "state") == "Done"
        })
        .count();
    let some = format!("{there} of {} nodes run `{target}`", members.len());
    if pool["spec"]["paused"] == true {
        return (Verdict::Paused, some);
    }
    if target.is_empty() {
        return (
            Verdict::NotRendered,
            "the operator has not rendered its configuration yet".to_owned(),
        );
    }
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    if number(&pool["status"]["observedGeneration"]) < number(&pool["metadata"]["generation"]) {
        return (
            Verdict::Updating,
            "the operator has not looked at the pool's newest version yet".to_owned(),
        );
    }
    let machines = count(pool, "machineCount");
    if machines != members.len() {
        return (
            Verdict::Updating,
            format!(
                "the operator counts {machines} machines, and labels put {} nodes into the pool",
                members.len()
            ),
        );
    }
    if machines == 0 {
        return (Verdict::Empty, "no node is in the pool".to_owned());
    }
    let is_settled = pool["status"]["configuration"]["name"] == target
        && is_true(pool, "Updated")
        && !is_true(pool, "Updating")
        && count(pool, "updatedMachineCount") == machines
        && count(pool, "readyMachineCount") == machines
        && count(pool, "unavailableMachineCount") == 0
        && there == machines;
    if is_settled {
        (Verdict::Updated, some)
    } else {
        (Verdict::Updating, some)
    }
}

/// What a playbook reads of a pool.
pub fn summary(pool: &Value, members: &[&Value], os_image: Option<&str>) -> Value {
    let (verdict, reason) = verdict(pool, members);
    let conditions: Vec<Value> = pool["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|condition| {
            json!({"type": condition["type"], "status": condition["status"], "reason": condition["reason"], "message": condition["message"]})
        })
        .collect();
    let names: Vec<&str> = members.iter().map(|node| name(node)).collect();
    json!({
        "name": name(pool),
        "paused": pool["spec"]["paused"] == true,
        "paused_until": pool_pause::end(pool).map(|end| end.to_string()),
        "max_unavailable": pool["spec"]["maxUnavailable"],
        "node_selector": pool["spec"]["nodeSelector"],
        "machine_count": count(pool, "machineCount"),
        "updated_machine_count": count(pool, "updatedMachineCount"),
        "ready_machine_count": count(pool, "readyMachineCount"),
        "unavailable_machine_count": count(pool, "unavailableMachineCount"),
        "degraded_machine_count": count(pool, "degradedMachineCount"),
        "rendered": {"spec": pool["spec"]["configuration"]["name"], "status": pool["status"]["configuration"]["name"]},
        "os_image": os_image,
        "members": names,
        "conditions": conditions,
        "verdict": verdict,
        "reason": reason,
    })
}

#[cfg(test)]
mod tests {
    use super::super::objects::PREFIX;
    use super::*;

    fn node(current: &str, state: &str) -> Value {
        json!({"metadata": {"name": "n", "annotations": {
            format!("{PREFIX}currentConfig"): current, format!("{PREFIX}state"): state, format!("{PREFIX}reason"): "why"}}})
    }

    fn pool(machines: usize) -> Value {
        json!({"metadata": {"name": "p", "generation": 2}, "spec": {"configuration": {"name": "B"}}, "status": {
            "observedGeneration": 2, "configuration": {"name": "B"}, "machineCount": machines, "updatedMachineCount": machines,
            "readyMachineCount": machines, "unavailableMachineCount": 0,
            "conditions": [{"type": "Updated", "status": "True"}, {"type": "Updating", "status": "False"}]}})
    }

    #[test]
    fn updated_only_when_everything_says_so() {
        let done = node("B", "Done");
        assert_eq!(verdict(&pool(1), &[&done]).0, Verdict::Updated);
        assert_eq!(verdict(&pool(0), &[]).0, Verdict::Empty);
        let old = node("A", "Done");
        assert_eq!(verdict(&pool(1), &[&old]).0, Verdict::Updating);
        let mut stale = pool(1);
        stale["metadata"]["generation"] = json!(3);
        assert_eq!(verdict(&stale, &[&done]).0, Verdict::Updating);
        // A node of two custom pools drops out of the operator's counts.
        assert_eq!(verdict(&pool(1), &[&done, &done]).0, Verdict::Updating);
    }

    #[test]
    fn trouble_comes_before_pause_and_pause_before_the_rest() {
        let broken = node("A", "Degraded");
        let mut paused = pool(1);
        paused["spec"]["paused"] = json!(true);
        assert_eq!(
            verdict(&paused, &[&broken]),
            (Verdict::Degraded, "node n: why".to_owned())
        );
        assert_eq!(verdict(&paused, &[&node("B", "Done")]).0, Verdict::Paused);
        let mut fresh = pool(0);
        fresh["spec"]["configuration"] = json!({});
        assert_eq!(verdict(&fresh, &[]).0, Verdict::NotRendered);
        let mut wrong = pool(0);
        wrong["status"]["conditions"] =
            json!([{"type": "RenderDegraded", "status": "True", "message": "bad"}]);
        assert_eq!(verdict(&wrong, &[]), (Verdict::Degraded, "bad".to_owned()));
    }
}
