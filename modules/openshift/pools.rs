//! In: whole pools, nodes and MachineConfigs. Out: who belongs to whom, by the operator's own rules. Pure.

use serde_json::Value;

use super::objects::{self, PREFIX, name};

/// Whether a label selector (`matchLabels`, `matchExpressions`) selects these labels.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let by_labels = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, value)| label(key) == value.as_str());
    let by_expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
        .all(|expression| {
            let key = expression["key"].as_str().unwrap_or_default();
            let values = || {
                expression["values"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
            };
            match expression["operator"].as_str().unwrap_or_default() {
                "In" => label(key).is_some_and(|value| values().any(|known| known == value)),
                "NotIn" => label(key).is_none_or(|value| values().all(|known| known != value)),
                "Exists" => label(key).is_some(),
                "DoesNotExist" => label(key).is_none(),
                _ => false,
            }
        });
    // No selector at all selects nothing; an empty one everything, which no pool means.
    let is_empty = selector["matchLabels"]
        .as_object()
        .is_none_or(serde_json::Map::is_empty)
        && selector["matchExpressions"]
            .as_array()
            .is_none_or(Vec::is_empty);
    !is_empty && by_labels && by_expressions
}

/// The pool that a node belongs to: control plane before custom before worker (MCO: helpers.go `GetPoolsForNode`).
pub fn pool_of<'p>(node: &Value, pools: &'p [Value]) -> Option<&'p Value> {
    let labels = &node["metadata"]["labels"];
    let own: Vec<&Value> = pools
        .iter()
        .filter(|pool| selects(&pool["spec"]["nodeSelector"], labels))
        .collect();
    let by_name = |wanted: &str| own.iter().find(|pool| name(pool) == wanted).copied();
    if let Some(master) = by_name("master") {
        return Some(master);
    }
    let custom: Vec<&&Value> = own
        .iter()
        .filter(|pool| !matches!(name(pool), "worker" | "arbiter"))
        .collect();
    match custom.as_slice() {
        [one] => Some(one),
        [] => by_name("arbiter").or_else(|| by_name("worker")),
        // A node of two custom pools is an error for the operator: it belongs to none.
        _ => None,
    }
}

/// The nodes of a pool.
pub fn members<'n>(
    pool: &str,
    pools: &[Value],
    nodes: impl IntoIterator<Item = &'n Value>,
) -> Vec<&'n Value> {
    nodes
        .into_iter()
        .filter(|node| pool_of(node, pools).is_some_and(|own| name(own) == pool))
        .collect()
}

/// The label that makes a MachineConfig feed the pool: the pool's own role, as its selector names it.
pub fn role_label(pool: &Value) -> Option<(String, String)> {
    let key = format!("{PREFIX}role");
    let selector = &pool["spec"]["machineConfigSelector"];
    let own = name(pool);
    let by_labels = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let by_expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|expression| {
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            let values = expression["values"].as_array().into_iter().flatten();
            values
                .filter_map(Value::as_str)
                .map(|value| (key.clone(), value.to_owned()))
                .collect::<Vec<_>>()
        });
    let all: Vec<(String, String)> = by_labels.chain(by_expressions).collect();
    let exact = all
        .iter()
        .find(|(known, value)| *known == key && value == own);
    exact
        .or_else(|| all.iter().find(|(known, _)| *known == key))
        .or(all.first())
        .cloned()
}

/// The roles of a node, by its labels.
pub fn roles_of(node: &Value) -> impl Iterator<Item = &str> {
    let labels = node["metadata"]["labels"].as_object();
    labels
        .into_iter()
        .flat_map(serde_json::Map::keys)
        .filter_map(|key| key.strip_prefix("node-role.kubernetes.io/"))
}

/// MachineConfigs that feed the pool and set an OS image, in the order in which they are merged: those of the role
/// `worker` by name, then all others by name; the last one wins (MCO: `pkg/controller/common/helpers.go`). Rendered ones
/// and those that a template controller made are not counted.
pub fn image_setters<'m>(pool: &Value, machine_configs: &'m [Value]) -> Vec<&'m Value> {
    let mut found: Vec<&Value> = machine_configs
        .iter()
        .filter(|config| {
            selects(
                &pool["spec"]["machineConfigSelector"],
                &config["metadata"]["labels"],
            )
        })
        .filter(|config| {
            config["spec"]["osImageURL"]
                .as_str()
                .is_some_and(|url| !url.is_empty())
        })
        .filter(|config| {
            config["metadata"]["annotations"][format!("{PREFIX}generated-by-controller-version")]
                .is_null()
        })
        .collect();
    found.sort_by_key(|config| {
        let role = &config["metadata"]["labels"][format!("{PREFIX}role")];
        (role != "worker", name(config))
    });
    found
}

/// Whether the operator counts a node as there (MCO: `layered_node_state.go` `CheckNodeReady`).
pub fn is_available(node: &Value) -> bool {
    let status = |kind: &str| {
        objects::condition(node, kind).and_then(|condition| condition["status"].as_str())
    };
    status("Ready") == Some("True")
        && status("DiskPressure").is_none_or(|status| status == "False")
        && status("NetworkUnavailable").is_none_or(|status| status == "False")
        && node["spec"]["unschedulable"] != true
}

/// Whether a node's daemon says that it failed.
pub fn is_failing(node: &Value) -> bool {
    matches!(
        objects::annotation(node, "state"),
        "Degraded" | "Unreconcilable"
    )
}

/// The version that a cluster is being upgraded to, while it is.
pub fn upgrades_to(version: &Value) -> Option<&str> {
    let newest = &version["status"]["history"][0];
    let desired = &version["status"]["desired"]["version"];
    (newest["state"] == "Partial" || objects::is_true(version, "Progressing"))
        .then(|| desired.as_str().unwrap_or("another version"))
}

/// The `MachineOSConfig` that builds a pool's images on the cluster.
pub fn build_of<'b>(pool: &str, builds: &'b [Value]) -> Option<&'b Value> {
    builds
        .iter()
        .find(|build| build["spec"]["machineConfigPool"]["name"] == pool)
}

/// Nodes in the order in which the operator takes them: by zone, those without one last; in a zone the oldest first
/// (MCO: `node_controller.go` `getAllCandidateMachines`).
pub fn sort_by_turn(nodes: &mut [&Value]) {
    nodes.sort_by_key(|node| {
        let zone = node["metadata"]["labels"]["topology.kubernetes.io/zone"].as_str();
        let born = node["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap_or_default();
        (zone.is_none(), zone.unwrap_or_default(), born, name(node))
    });
}

/// How many nodes may be away at once (MCO: `node_controller.go` `maxUnavailable`): 1 when unset, percentages round down,
/// never below 1.
pub fn max_unavailable(pool: &Value, count: usize) -> usize {
    let wanted = match &pool["spec"]["maxUnavailable"] {
        Value::Number(number) => number
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or(1),
        Value::String(text) => match text
            .strip_suffix('%')
            .and_then(|text| text.parse::<usize>().ok())
        {
            Some(percent) => count * percent / 100,
            None => text.parse().unwrap_or(1),
        },
        _ => 1,
    };
    wanted.max(1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(name: &str, roles: &[&str], node_role: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {
            "machineConfigSelector": {"matchExpressions": [{"key": format!("{PREFIX}role"), "operator": "In", "values": roles}]},
            "nodeSelector": {"matchLabels": {format!("node-role.kubernetes.io/{node_role}"): ""}},
        }})
    }

    fn node(roles: &[&str]) -> Value {
        let labels: serde_json::Map<String, Value> = roles
            .iter()
            .map(|role| (format!("node-role.kubernetes.io/{role}"), json!("")))
            .collect();
        json!({"metadata": {"name": "n", "labels": labels}})
    }

    #[test]
    fn a_custom_pool_beats_worker_and_master_beats_all() {
        let pools = [
            pool("worker", &["worker"], "worker"),
            pool("canary", &["worker", "canary"], "canary"),
            pool("infra", &["worker", "infra"], "infra"),
            pool("master", &["master"], "master"),
        ];
        let own = |roles: &[&str]| pool_of(&node(roles), &pools).map(|pool| name(pool).to_owned());
        assert_eq!(own(&["worker"]).as_deref(), Some("worker"));
        assert_eq!(own(&["worker", "canary"]).as_deref(), Some("canary"));
        assert_eq!(own(&["worker", "master"]).as_deref(), Some("master"));
        assert_eq!(own(&["worker", "canary", "infra"]), None);
        assert_eq!(
            role_label(&pools[1]),
            Some((format!("{PREFIX}role"), "canary".to_owned()))
        );
    }

    #[test]
    fn away_at_once() {
        for (wanted, count, most) in [
            (json!(null), 5, 1),
            (json!(0), 5, 1),
            (json!("34%"), 5, 1),
            (json!("50%"), 5, 2),
            (json!(3), 5, 3),
            (json!("10%"), 3, 1),
        ] {
            assert_eq!(
                max_unavailable(&json!({"spec": {"maxUnavailable": wanted}}), count),
                most
            );
        }
    }
}
