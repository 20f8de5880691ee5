//! A patch and the present object in, the patched object out: JSON patch, merge patch, strategic merge patch.

use super::resources::{ListKind, Resource, list_kind};
use super::status::ApiError;
use serde_json::{Map, Value};

fn unprocessable(message: String) -> ApiError {
    let mut error = ApiError::bad_request(message);
    error.code = http::StatusCode::UNPROCESSABLE_ENTITY;
    error.reason = "Invalid";
    error
}

/// RFC 7396.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            map.shift_remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// RFC 6902. A failed `test` and a missing path are 422, as the real server answers.
pub fn json(target: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let Some(operations) = patch.as_array() else {
        return Err(ApiError::bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        ));
    };
    for operation in operations {
        let field = |name: &str| operation.get(name).and_then(Value::as_str);
        let (Some(op), Some(path)) = (field("op"), field("path")) else {
            return Err(ApiError::bad_request(
                "error decoding patch: an operation lacks `op` or `path`",
            ));
        };
        let value = || operation.get("value").cloned().unwrap_or(Value::Null);
        let missing = || {
            unprocessable(format!(
                "the server rejected our request due to an error in our request: {op} operation does not apply: doc is missing path: {path}"
            ))
        };
        match op {
            "add" => add(target, path, value()).ok_or_else(missing)?,
            "replace" => *target.pointer_mut(path).ok_or_else(missing)? = value(),
            "remove" => {
                remove(target, path).ok_or_else(missing)?;
            }
            "move" | "copy" => {
                let from = field("from").ok_or_else(missing)?;
                let moved = if op == "move" {
                    remove(target, from)
                } else {
                    target.pointer(from).cloned()
                }
                .ok_or_else(missing)?;
                add(target, path, moved).ok_or_else(missing)?;
            }
            "test" => {
                if target.pointer(path).unwrap_or(&Value::Null) != &value() {
                    return Err(unprocessable(format!(
                        "the server rejected our request due to an error in our request: testing value {path} failed"
                    )));
                }
            }
            other => return Err(unprocessable(format!("Unexpected kind: {other}"))),
        }
    }
    Ok(())
}

fn split(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    let (parent, key) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(map) => {
            map.insert(key, value);
        }
        Value::Array(list) => {
            let at = if key == "-" {
                list.len()
            } else {
                key.parse().ok().filter(|at| *at <= list.len())?
            };
            list.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(target: &mut Value, path: &str) -> Option<Value> {
    let (parent, key) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(map) => map.shift_remove(&key),
        Value::Array(list) => {
            let at = key.parse().ok().filter(|at: &usize| *at < list.len())?;
            Some(list.remove(at))
        }
        _ => None,
    }
}

/// The strategic merge of built-in kinds: lists with a merge key are merged by it, `$patch`, `$retainKeys`,
/// `$deleteFromPrimitiveList/` and `$setElementOrder/` are obeyed.
pub fn strategic(resource: &Resource, target: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let Value::Object(patch) = patch else {
        return Err(ApiError::bad_request(
            "error decoding patch: a strategic merge patch must be an object",
        ));
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    match target.as_object_mut() {
        Some(map) => strategic_map(resource, map, patch, ""),
        None => Ok(()),
    }
}

fn child(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Strategic merge has one key a list: the first of the server-side apply keys, except that ports go by `containerPort`.
fn merge_key(resource: &Resource, path: &str) -> ListKind {
    // Tolerations and taints: taints merge by key in strategic merge, but are atomic for server-side apply.
    match (resource.kind, path) {
        ("Node", "spec.taints") => ListKind::Map(&["key"]),
        _ => list_kind(resource, path),
    }
}

fn strategic_map(
    resource: &Resource,
    map: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    path: &str,
) -> Result<(), ApiError> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *map = patch
                .iter()
                .filter(|(key, _)| !key.starts_with('$'))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            return Ok(());
        }
        Some("delete") => {
            map.clear();
            return Ok(());
        }
        _ => {}
    }
    if let Some(keys) = patch.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|key, _| keys.iter().any(|kept| kept.as_str() == Some(key)));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(present), Some(gone)) = (
                map.get_mut(list).and_then(Value::as_array_mut),
                value.as_array(),
            ) {
                present.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        let at = child(path, key);
        match value {
            Value::Null => {
                map.shift_remove(key);
            }
            Value::Object(inner) => {
                let slot = map
                    .entry(key.clone())
                    .or_insert_with(|| Value::Object(Map::new()));
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Some(slot) = slot.as_object_mut() {
                    strategic_map(resource, slot, inner, &at)?;
                }
            }
            Value::Array(items) => {
                let present = map
                    .entry(key.clone())
                    .or_insert_with(|| Value::Array(Vec::new()));
                let merged = strategic_list(
                    resource,
                    present.as_array().cloned().unwrap_or_default(),
                    items,
                    &at,
                )?;
                *present = Value::Array(merged);
            }
            other => {
                map.insert(key.clone(), other.clone());
            }
        }
    }
    for (key, order) in patch {
        if let (Some(list), Some(order)) = (key.strip_prefix("$setElementOrder/"), order.as_array())
        {
            let kind = merge_key(resource, &child(path, list));
            if let Some(present) = map.get_mut(list).and_then(Value::as_array_mut) {
                let rank = |item: &Value| {
                    let place = order.iter().position(|wanted| match kind {
                        ListKind::Map([first, ..]) => {
                            item.get(first).is_some() && item.get(first) == wanted.get(first)
                        }
                        _ => item == wanted,
                    });
                    place.unwrap_or(usize::MAX)
                };
                present.sort_by_key(rank);
            }
        }
    }
    Ok(())
}

fn strategic_list(
    resource: &Resource,
    mut present: Vec<Value>,
    patch: &[Value],
    path: &str,
) -> Result<Vec<Value>, ApiError> {
    match merge_key(resource, path) {
        ListKind::Atomic => Ok(patch
            .iter()
            .filter(|item| item.get("$patch").is_none())
            .cloned()
            .collect()),
        ListKind::Set => {
            for item in patch {
                if !present.contains(item) {
                    present.push(item.clone());
                }
            }
            Ok(present)
        }
        ListKind::Map(keys) => {
            let Some(key) = keys.first() else {
                return Ok(patch.to_vec());
            };
            if patch
                .iter()
                .any(|item| item.get("$patch").and_then(Value::as_str) == Some("replace"))
            {
                return Ok(patch
                    .iter()
                    .filter(|item| item.get("$patch").is_none())
                    .cloned()
                    .collect());
            }
            for item in patch {
                let Some(wanted) = item.get(key) else {
                    return Err(ApiError::bad_request(format!(
                        "error decoding patch: map: {item} does not contain declared merge key: {key}"
                    )));
                };
                // Taints are told apart by key and effect in practice, yet strategic merge looks at the key alone.
                let at = present
                    .iter()
                    .position(|have| have.get(key) == Some(wanted));
                let deleted = item.get("$patch").and_then(Value::as_str) == Some("delete");
                match (at, deleted) {
                    (Some(at), true) => {
                        present.remove(at);
                    }
                    (None, true) => {}
                    (Some(at), false) => {
                        if let (Some(have), Some(item)) = (
                            present.get_mut(at).and_then(Value::as_object_mut),
                            item.as_object(),
                        ) {
                            strategic_map(resource, have, item, &format!("{path}[]"))?;
                        }
                    }
                    (None, false) => present.push(without_directives(item)),
                }
            }
            Ok(present)
        }
    }
}

fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(key, v)| !key.starts_with('$') && !v.is_null())
                .map(|(k, v)| (k.clone(), without_directives(v)))
                .collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::api::resources::find;
    use serde_json::json;

    #[test]
    fn merge_removes_by_null_and_replaces_lists() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        merge(
            &mut object,
            &json!({"a": {"b": null, "d": {"e": null, "f": 1}}, "l": [3]}),
        );
        assert_eq!(object, json!({"a": {"c": 2, "d": {"f": 1}}, "l": [3]}));
    }

    #[test]
    fn json_patch_does_all_six_and_refuses_what_is_missing() {
        let mut object = json!({"a": {"b~/": 1}, "l": [1, 3]});
        let patch = json!([
            {"op": "test", "path": "/a/b~0~1", "value": 1}, {"op": "add", "path": "/l/1", "value": 2},
            {"op": "add", "path": "/l/-", "value": 4}, {"op": "copy", "from": "/l/0", "path": "/c"},
            {"op": "move", "from": "/c", "path": "/d"}, {"op": "remove", "path": "/l/0"}, {"op": "replace", "path": "/d", "value": 9},
        ]);
        super::json(&mut object, &patch).unwrap();
        assert_eq!(object, json!({"a": {"b~/": 1}, "l": [2, 3, 4], "d": 9}));
        for bad in [
            json!([{"op": "remove", "path": "/none"}]),
            json!([{"op": "test", "path": "/d", "value": 8}]),
            json!([{"op": "add", "path": "/l/9", "value": 8}]),
            json!({"op": "add"}),
        ] {
            assert!(super::json(&mut object.clone(), &bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn strategic_merges_containers_by_name_and_taints_by_key() {
        let pods = find("", "v1", "pods").unwrap();
        let mut pod = json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}});
        let patch = json!({"spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "c"}],
            "containers": [{"name": "a", "image": "2"}, {"name": "c", "image": "3"}]}});
        strategic(pods, &mut pod, &patch).unwrap();
        assert_eq!(
            pod,
            json!({"spec": {"containers": [{"name": "b", "image": "1"}, {"name": "a", "image": "2"}, {"name": "c", "image": "3"}]}})
        );
        let nodes = find("", "v1", "nodes").unwrap();
        let mut node = json!({"spec": {"taints": [{"key": "x", "effect": "NoSchedule"}], "unschedulable": true}});
        let patch = json!({"spec": {"taints": [{"key": "x", "$patch": "delete"}, {"key": "y", "effect": "NoExecute"}], "unschedulable": null}});
        strategic(nodes, &mut node, &patch).unwrap();
        assert_eq!(
            node,
            json!({"spec": {"taints": [{"key": "y", "effect": "NoExecute"}]}})
        );
    }
}
