//! In: all pools and nodes, and what is wanted of one pool. Out: which fields of the pool and which labels of nodes
//! change, or why they must not. Pure.

use serde_json::{Map, Value, json};

use super::compare::applied_by;
use super::machine_config::FIELD_MANAGER;
use super::objects::{PREFIX, annotation, name};
use super::pool_pause::{PAUSED_UNTIL, Pause};
use super::pools;
use crate::error::{ErrorKind, ModuleError};

/// Pools that the operator itself makes and needs.
pub const BUILT_IN: &[&str] = &["master", "worker", "arbiter"];

/// The operator's own writers. They set a pool's switches once, when they make it, and never again; taking them over is
/// no quarrel with anybody.
const OPERATOR: &[&str] = &[
    "machine-config-operator",
    "machine-config-controller",
    "cluster-version-operator",
    "cluster-bootstrap",
];

/// The label that puts a node into a custom pool.
pub fn role_key(pool: &str) -> String {
    format!("node-role.kubernetes.io/{pool}")
}

/// What is wanted of a pool that is to be there; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'w> {
    pub name: &'w str,
    pub pause: Pause,
    pub max_unavailable: Option<Value>,
    pub node_selector: Option<Value>,
    pub nodes: &'w [String],
}

/// A number of nodes, or a share of them, as the API takes it.
pub fn max_unavailable(given: &Value) -> Result<Value, ModuleError> {
    let wrong = || {
        ModuleError::argument(
            "max_unavailable",
            format!("`max_unavailable` is {given}, and neither a number of nodes nor a percentage"),
        )
        .hint("write `2` or `\"25%\"`; at least one node is always updated, `paused: true` stops a pool")
    };
    let text = match given {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return Err(wrong()),
    };
    if let Some(percent) = text.strip_suffix('%') {
        return match percent.parse::<u8>() {
            Ok(1..=100) => Ok(json!(text)),
            _ => Err(wrong()),
        };
    }
    match text.parse::<u32>() {
        Ok(count) if count > 0 => Ok(json!(count)),
        _ => Err(wrong()),
    }
}

/// More nodes away at once than now is what people are afraid of: it is refused unless it is meant.
pub fn check_raise(
    before: &Value,
    limit: &Value,
    members: usize,
    is_meant: bool,
) -> Result<(), ModuleError> {
    let with = |limit: &Value| {
        let mut pool = before.clone();
        pool["spec"]["maxUnavailable"] = limit.clone();
        pools::max_unavailable(&pool, members)
    };
    let (now, then) = (pools::max_unavailable(before, members), with(limit));
    if then <= now || is_meant {
        return Ok(());
    }
    let pool = name(before);
    Err(ModuleError::argument(
        "max_unavailable",
        format!(
            "{then} of {members} nodes of pool `{pool}` could be away at once, and now it is {now}"
        ),
    )
    .hint("`allow_raise: true` says that this is meant; a lower limit needs no such word"))
}

/// A selector: as it is when it is one, else a mapping of labels.
pub fn selector(given: &Map<String, Value>) -> Value {
    if given.contains_key("matchLabels") || given.contains_key("matchExpressions") {
        Value::Object(given.clone())
    } else {
        json!({"matchLabels": given})
    }
}

/// What is to be applied to a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolWrite {
    pub object: Value,
    /// All fields that others own are the operator's first values.
    pub take_over: bool,
}

/// The object to apply, or `None` when the pool is as wanted. Fields that were applied earlier are named again, since
/// server-side apply takes away what is named no more.
pub fn write(before: Option<&Value>, wanted: &Wanted<'_>) -> Option<PoolWrite> {
    let mut spec = Map::new();
    let pool = wanted.name;
    let selector = wanted
        .node_selector
        .clone()
        .unwrap_or_else(|| json!({"matchLabels": {role_key(pool): ""}}));
    let Some(before) = before else {
        spec.insert(
            "machineConfigSelector".to_owned(),
            json!({"matchExpressions": [{"key": format!("{PREFIX}role"), "operator": "In", "values": ["worker", pool]}]}),
        );
        spec.insert("nodeSelector".to_owned(), selector);
        spec.insert(
            "paused".to_owned(),
            json!(wanted.pause.paused.unwrap_or(false)),
        );
        if let Some(limit) = &wanted.max_unavailable {
            spec.insert("maxUnavailable".to_owned(), limit.clone());
        }
        return Some(PoolWrite {
            object: whole(wanted, &spec),
            take_over: false,
        });
    };
    let has = &before["spec"];
    let own = applied_by(before, FIELD_MANAGER);
    let owns = |field: &str| own["f:spec"].get(format!("f:{field}")).is_some();
    for field in [
        "machineConfigSelector",
        "nodeSelector",
        "paused",
        "maxUnavailable",
    ] {
        if owns(field) && !has[field].is_null() {
            spec.insert(field.to_owned(), has[field].clone());
        }
    }
    let mut changed = Vec::new();
    for (field, value) in [
        ("paused", wanted.pause.paused.map(|flag| json!(flag))),
        ("maxUnavailable", wanted.max_unavailable.clone()),
        ("nodeSelector", wanted.node_selector.clone()),
    ] {
        let Some(value) = value else { continue };
        // An absent `paused` is false.
        let is_there = has[field] == value || (value == false && has[field].is_null());
        if !is_there {
            spec.insert(field.to_owned(), value);
            changed.push(field);
        }
    }
    let until = wanted.pause.until.map(|until| until.to_string());
    let has_until = before["metadata"]["annotations"][PAUSED_UNTIL].as_str();
    // What is left of a pause that somebody else ended is no reason to write.
    let is_left = until.is_none() && has.get("paused") != Some(&json!(true));
    if changed.is_empty() && (is_left || has_until == until.as_deref()) {
        return None;
    }
    let owners: Vec<&str> = changed
        .iter()
        .flat_map(|field| owners(before, field))
        .collect();
    Some(PoolWrite {
        object: whole(wanted, &spec),
        take_over: !owners.is_empty() && owners.iter().all(|owner| OPERATOR.contains(owner)),
    })
}

fn whole(wanted: &Wanted<'_>, spec: &Map<String, Value>) -> Value {
    let mut pool = json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool",
        "metadata": {"name": wanted.name}, "spec": spec,
    });
    if let Some(until) = wanted.pause.until {
        pool["metadata"]["annotations"] = json!({PAUSED_UNTIL: until.to_string()});
    }
    pool
}

/// Managers other than our own apply that own a field of the specification.
fn owners<'p>(pool: &'p Value, field: &str) -> Vec<&'p str> {
    let entries = pool["metadata"]["managedFields"].as_array();
    entries
        .into_iter()
        .flatten()
        .filter(|entry| {
            !(entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply")
                && entry["fieldsV1"]["f:spec"]
                    .get(format!("f:{field}"))
                    .is_some()
        })
        .filter_map(|entry| entry["manager"].as_str())
        .collect()
}

fn with_label(node: &Value, key: &str, value: Option<&str>) -> Value {
    let mut node = node.clone();
    if !node["metadata"]["labels"].is_object() {
        node["metadata"]["labels"] = json!({});
    }
    if let Some(labels) = node["metadata"]["labels"].as_object_mut() {
        match value {
            Some(value) => {
                labels.insert(key.to_owned(), json!(value));
            }
            None => {
                labels.shift_remove(key);
            }
        }
    }
    node
}

/// The nodes as they are with the pool's label on (or off) some of them.
pub fn relabelled(nodes: &[Value], pool: &str, names: &[String], on: bool) -> Vec<Value> {
    let key = role_key(pool);
    nodes
        .iter()
        .map(|node| {
            if names.iter().any(|wanted| wanted == name(node)) {
                with_label(node, &key, on.then_some(""))
            } else {
                node.clone()
            }
        })
        .collect()
}

fn has_label(node: &Value, key: &str) -> bool {
    node["metadata"]["labels"].get(key).is_some()
}

fn named<'n>(nodes: &'n [Value], wanted: &str) -> Result<&'n Value, ModuleError> {
    nodes
        .iter()
        .find(|node| name(node) == wanted)
        .ok_or_else(|| {
            let mut error = ModuleError::new(
                ErrorKind::NotFound,
                format!("the cluster has no node `{wanted}`"),
            );
            error.argument = Some("nodes".to_owned());
            let near = nodes
                .iter()
                .map(|node| (strsim::damerau_levenshtein(name(node), wanted), name(node)))
                .filter(|(distance, _)| *distance <= 2)
                .min();
            match near {
                Some((_, near)) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            }
        })
}

/// Nodes that get the pool's label. `pools` holds the pool as it will be.
pub fn to_label(
    wanted: &Wanted<'_>,
    pools: &[Value],
    nodes: &[Value],
) -> Result<Vec<String>, ModuleError> {
    let key = role_key(wanted.name);
    let mut found = Vec::new();
    for node_name in wanted.nodes {
        let node = with_label(named(nodes, node_name)?, &key, Some(""));
        let labels = &node["metadata"]["labels"];
        let wrong = |message: String| ModuleError::argument("nodes", message);
        let others: Vec<&str> = pools
            .iter()
            .filter(|pool| pools::selects(&pool["spec"]["nodeSelector"], labels))
            .map(name)
            .filter(|pool| *pool != wanted.name && *pool != "worker")
            .collect();
        if others.contains(&"master") {
            return Err(wrong(format!(
                "node `{node_name}` is of the control plane, and stays in pool `master` whatever its labels say"
            )));
        }
        if let Some(other) = others.first() {
            return Err(
                wrong(format!("node `{node_name}` is in pool `{other}` already")).hint(format!(
                    "the operator updates no node of two custom pools: take `{}` off it first",
                    role_key(other)
                )),
            );
        }
        let is_selected = pools.iter().any(|pool| {
            name(pool) == wanted.name && pools::selects(&pool["spec"]["nodeSelector"], labels)
        });
        if !is_selected {
            return Err(wrong(format!(
                "pool `{}` does not select node `{node_name}` by the label `{key}`",
                wanted.name
            ))
            .hint("its `node_selector` asks for other labels: put them on the nodes, or leave `nodes` out"));
        }
        if !has_label(named(nodes, node_name)?, &key) && !found.contains(node_name) {
            found.push(node_name.clone());
        }
    }
    Ok(found)
}

/// Nodes that give the label of a pool back before it goes, or why the pool cannot go.
pub fn to_unlabel(
    pool_name: &str,
    named_nodes: &[String],
    pools: &[Value],
    nodes: &[Value],
) -> Result<Vec<String>, ModuleError> {
    let key = role_key(pool_name);
    let pool = pools.iter().find(|pool| name(pool) == pool_name);
    let others: Vec<Value> = pools
        .iter()
        .filter(|pool| name(pool) != pool_name)
        .cloned()
        .collect();
    for wanted in named_nodes {
        named(nodes, wanted)?;
    }
    let selects = |node: &Value| {
        pool.is_some_and(|pool| {
            pools::selects(&pool["spec"]["nodeSelector"], &node["metadata"]["labels"])
        })
    };
    let refuse = |message: String| ModuleError::new(ErrorKind::Preflight, message);
    let mut found = Vec::new();
    for node in nodes {
        let without = with_label(node, &key, None);
        if selects(&without) {
            return Err(refuse(format!(
                "pool `{pool_name}` still has node `{}`, which another label than `{key}` puts there",
                name(node)
            ))
            .hint("take the labels of its `nodeSelector` off its nodes first: layerplay takes off the role's label and no other"));
        }
        let is_named = named_nodes.iter().any(|wanted| wanted == name(node));
        if !has_label(node, &key) || !(is_named || selects(node)) {
            continue;
        }
        let Some(next) = pools::pool_of(&without, &others) else {
            return Err(refuse(format!(
                "node `{}` would be in no pool without `{pool_name}`",
                name(node)
            ))
            .hint("give it the role `worker` first: `oc label node NODE node-role.kubernetes.io/worker=`"));
        };
        if next["spec"]["paused"] == true && runs(node, pool_name) {
            return Err(refuse(format!(
                "node `{}` would go to pool `{}`, which is paused: it would never leave the configuration of `{pool_name}`",
                name(node),
                name(next)
            ))
            .hint(format!("unpause pool `{}` first", name(next))));
        }
        found.push(name(node).to_owned());
    }
    Ok(found)
}

/// Whether a node runs, or goes to, a configuration that was rendered for the pool. Deleting the pool deletes those,
/// and a node whose configuration is gone is degraded.
pub fn runs(node: &Value, pool: &str) -> bool {
    ["currentConfig", "desiredConfig"].iter().any(|key| {
        annotation(node, key)
            .strip_prefix("rendered-")
            .and_then(|rest| rest.rsplit_once('-'))
            .is_some_and(|(own, _)| own == pool)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(name: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"paused": false, "nodeSelector": {"matchLabels": {role_key(name): ""}}}})
    }

    fn node(name: &str, roles: &[&str]) -> Value {
        let labels: Map<String, Value> = roles
            .iter()
            .map(|role| (role_key(role), json!("")))
            .collect();
        json!({"metadata": {"name": name, "labels": labels, "annotations": {}}})
    }

    #[test]
    fn limits_are_numbers_or_shares() {
        for (given, wanted) in [
            (json!(2), json!(2)),
            (json!("3"), json!(3)),
            (json!("25%"), json!("25%")),
        ] {
            assert_eq!(max_unavailable(&given).unwrap(), wanted);
        }
        for wrong in [
            json!(0),
            json!("0%"),
            json!("101%"),
            json!("many"),
            json!(-1),
            json!(1.5),
            json!([1]),
        ] {
            assert!(max_unavailable(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_new_pool_inherits_from_worker() {
        let wanted = Wanted {
            name: "infra",
            ..Wanted::default()
        };
        let object = write(None, &wanted).unwrap().object;
        assert_eq!(
            object["spec"]["machineConfigSelector"]["matchExpressions"][0]["values"],
            json!(["worker", "infra"])
        );
        assert_eq!(
            object["spec"]["nodeSelector"],
            json!({"matchLabels": {"node-role.kubernetes.io/infra": ""}})
        );
        assert_eq!(object["spec"]["paused"], false);
    }

    #[test]
    fn a_partial_change_names_what_was_applied_before() {
        let mut live = pool("infra");
        live["spec"]["maxUnavailable"] = json!(2);
        live["metadata"]["managedFields"] = json!([
            {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:nodeSelector": {}, "f:paused": {}, "f:maxUnavailable": {}}}}]);
        let wanted = Wanted {
            name: "infra",
            pause: Pause {
                paused: Some(true),
                until: None,
            },
            ..Wanted::default()
        };
        let written = write(Some(&live), &wanted).unwrap();
        assert_eq!(
            written.object["spec"],
            json!({"nodeSelector": live["spec"]["nodeSelector"], "paused": true, "maxUnavailable": 2})
        );
        live["spec"]["paused"] = json!(true);
        assert_eq!(write(Some(&live), &wanted), None);
        let none = Wanted {
            name: "infra",
            pause: Pause {
                paused: Some(false),
                until: None,
            },
            ..Wanted::default()
        };
        assert_eq!(
            write(Some(&json!({"spec": {}})), &none),
            None,
            "absent is false"
        );
    }

    #[test]
    fn only_the_operators_own_first_values_are_taken_over() {
        let owned = |manager: &str| {
            let mut live = pool("worker");
            live["metadata"]["managedFields"] = json!([{"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}}]);
            let wanted = Wanted {
                name: "worker",
                pause: Pause {
                    paused: Some(true),
                    until: None,
                },
                ..Wanted::default()
            };
            write(Some(&live), &wanted).unwrap().take_over
        };
        assert!(owned("machine-config-operator"));
        assert!(!owned("kubectl-edit"));
    }

    #[test]
    fn nodes_that_cannot_join_are_refused() {
        let pools = [
            pool("master"),
            pool("worker"),
            pool("infra"),
            pool("canary"),
        ];
        let nodes = [
            node("m", &["master"]),
            node("w", &["worker"]),
            node("i", &["worker", "infra"]),
            node("c", &["worker", "canary"]),
        ];
        let label = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            to_label(
                &Wanted {
                    name: "infra",
                    nodes: &names,
                    ..Wanted::default()
                },
                &pools,
                &nodes,
            )
        };
        assert_eq!(label(&["w", "i", "w"]).unwrap(), ["w"]);
        assert!(label(&["m"]).unwrap_err().message.contains("control plane"));
        assert!(label(&["c"]).unwrap_err().message.contains("`canary`"));
        assert_eq!(label(&["x"]).unwrap_err().kind, ErrorKind::NotFound);
        let mut other = pools.clone();
        other[2]["spec"]["nodeSelector"] = json!({"matchLabels": {"disk": "fast"}});
        let names = ["w".to_owned()];
        let error = to_label(
            &Wanted {
                name: "infra",
                nodes: &names,
                ..Wanted::default()
            },
            &other,
            &nodes,
        )
        .unwrap_err();
        assert!(error.message.contains("does not select"), "{error}");
    }

    #[test]
    fn a_pool_gives_its_label_back_and_no_other() {
        let mut pools = [pool("worker"), pool("infra")];
        let nodes = [node("i", &["worker", "infra"]), node("w", &["worker"])];
        assert_eq!(to_unlabel("infra", &[], &pools, &nodes).unwrap(), ["i"]);
        let alone = [node("i", &["infra"])];
        assert!(
            to_unlabel("infra", &[], &pools, &alone)
                .unwrap_err()
                .message
                .contains("no pool")
        );
        let mut busy = nodes.clone();
        busy[0]["metadata"]["annotations"][format!("{PREFIX}currentConfig")] =
            json!("rendered-infra-0a");
        pools[0]["spec"]["paused"] = json!(true);
        assert!(
            to_unlabel("infra", &[], &pools, &busy)
                .unwrap_err()
                .message
                .contains("paused")
        );
        pools[1]["spec"]["nodeSelector"] = json!({"matchLabels": {"disk": "fast"}});
        let mut fast = nodes.clone();
        fast[0]["metadata"]["labels"]["disk"] = json!("fast");
        assert!(
            to_unlabel("infra", &[], &pools, &fast)
                .unwrap_err()
                .message
                .contains("another label")
        );
        // The pool is gone already, the label is not.
        assert_eq!(
            to_unlabel("infra", &["i".to_owned()], &pools[..0], &nodes)
                .unwrap_err()
                .kind,
            ErrorKind::Preflight
        );
        let worker = [pool("worker")];
        assert_eq!(
            to_unlabel("infra", &["i".to_owned()], &worker, &nodes).unwrap(),
            ["i"]
        );
    }

    #[test]
    fn a_pools_own_configurations_are_told_by_their_whole_name() {
        let at = |config: &str| json!({"metadata": {"annotations": {format!("{PREFIX}desiredConfig"): config}}});
        assert!(runs(&at("rendered-a-b-0123"), "a-b"));
        assert!(!runs(&at("rendered-a-b-0123"), "a"));
        assert!(!runs(&at("rendered-worker-0123"), "a"));
    }
}
