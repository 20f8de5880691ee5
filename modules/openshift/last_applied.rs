//! `kubectl apply` without the server's help. In: what was applied last (an annotation), what is wanted, what is there.
//! Out: the merge patch between them. Pure.
//!
//! A field that was applied and is wanted no more goes; a field that somebody else set stays. Lists of Kubernetes' own
//! kinds whose elements have a key merge element by element, all other lists are replaced.

use serde_json::{Map, Value, json};

use super::compare::LAST_APPLIED;

/// The wanted object with itself in its annotation.
pub fn annotated(wanted: &Value) -> Value {
    let mut object = without_annotation(wanted);
    let text = object.to_string();
    if let Some(map) = object.as_object_mut() {
        let metadata = map.entry("metadata").or_insert_with(|| json!({}));
        if metadata.is_object() {
            if !metadata["annotations"].is_object() {
                metadata["annotations"] = json!({});
            }
            metadata["annotations"][LAST_APPLIED] = json!(text);
        }
    }
    object
}

fn without_annotation(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") {
        annotations.shift_remove(LAST_APPLIED);
    }
    object
}

/// The patch that brings `live` to `wanted`; an empty mapping when it is there. `keyed`: lists merge by key.
pub fn patch(live: &Value, wanted: &Value, keyed: bool) -> Value {
    let wanted = without_annotation(wanted);
    let last: Value = live["metadata"]["annotations"][LAST_APPLIED]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let mut patch = mapping(&last, &wanted, live, keyed);
    if without_annotation(&last) != wanted {
        let annotation = annotated(&wanted)["metadata"]["annotations"][LAST_APPLIED].clone();
        let mut metadata = patch
            .get("metadata")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let mut annotations = metadata
            .get("annotations")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        annotations.insert(LAST_APPLIED.to_owned(), annotation);
        metadata.insert("annotations".to_owned(), Value::Object(annotations));
        patch.insert("metadata".to_owned(), Value::Object(metadata));
    }
    Value::Object(patch)
}

fn mapping(last: &Value, wanted: &Value, live: &Value, keyed: bool) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, value) in wanted.as_object().into_iter().flatten() {
        let (had, has) = (&last[key], &live[key]);
        match (value, has) {
            (Value::Object(_), Value::Object(_)) => {
                let inner = mapping(had, value, has, keyed);
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (Value::Array(items), Value::Array(present)) => {
                let merged = list(key, had, items, present, keyed);
                if merged != *present {
                    patch.insert(key.clone(), Value::Array(merged));
                }
            }
            (value, has) if value == has => {}
            (value, _) => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in last.as_object().into_iter().flat_map(Map::keys) {
        if wanted.get(key).is_none() && live.get(key).is_some() {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}

/// Fields by which elements of a list are told apart, by the list's name (the `patchMergeKey` of Kubernetes' types).
fn keys(list: &str) -> &'static [&'static str] {
    match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "secrets" => &["name"],
        "ports" => &["containerPort", "port"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey"],
        "ownerReferences" => &["uid"],
        _ => &[],
    }
}

fn list(name: &str, last: &Value, wanted: &[Value], live: &[Value], keyed: bool) -> Vec<Value> {
    let last = last.as_array().map(Vec::as_slice).unwrap_or_default();
    let key = keys(name).iter().find(|key| {
        wanted
            .iter()
            .chain(live)
            .all(|item| item.get(**key).is_some())
    });
    let Some(key) = key.filter(|_| keyed) else {
        return wanted.to_vec();
    };
    let same = |items: &[Value], item: &Value| {
        items
            .iter()
            .find(|other| other[*key] == item[*key])
            .cloned()
    };
    let mut result = Vec::new();
    for item in live {
        match (same(wanted, item), same(last, item)) {
            (Some(wanted), had) => {
                let inner = mapping(&had.unwrap_or_default(), &wanted, item, keyed);
                result.push(super::compare::merged(item, &Value::Object(inner)));
            }
            // Applied earlier, wanted no more.
            (None, Some(_)) => {}
            (None, None) => result.push(item.clone()),
        }
    }
    for item in wanted {
        if same(live, item).is_none() {
            result.push(item.clone());
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::super::compare::merged;
    use super::*;

    #[test]
    fn what_was_applied_goes_and_what_others_set_stays() {
        let first = json!({"metadata": {"name": "a"}, "data": {"k": "v", "old": "x"}});
        let mut live = annotated(&first);
        live["data"]["theirs"] = json!("y");
        let second = json!({"metadata": {"name": "a"}, "data": {"k": "w"}});
        let step = patch(&live, &second, true);
        assert_eq!(step["data"], json!({"k": "w", "old": null}));
        let after = merged(&live, &step);
        assert_eq!(after["data"], json!({"k": "w", "theirs": "y"}));
        assert_eq!(patch(&after, &second, true), json!({}), "twice is nothing");
    }

    #[test]
    fn an_object_that_was_never_applied_gets_its_annotation() {
        let live =
            json!({"metadata": {"name": "a", "annotations": {"x": "y"}}, "data": {"k": "v"}});
        let wanted = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
        let step = patch(&live, &wanted, true);
        let after = merged(&live, &step);
        assert_eq!(after["metadata"]["annotations"]["x"], "y");
        assert_eq!(patch(&after, &wanted, true), json!({}));
    }

    #[test]
    fn containers_merge_by_name_and_unknown_lists_are_replaced() {
        let wanted = json!({"spec": {"containers": [{"name": "a", "image": "2"}], "args": ["x"]}});
        let live = json!({"metadata": {"annotations": {LAST_APPLIED: r#"{"spec":{"containers":[{"name":"a","image":"1","tty":true},{"name":"gone"}]}}"#}},
            "spec": {"containers": [{"name": "a", "image": "1", "tty": true, "pull": "Always"}, {"name": "gone"}, {"name": "injected"}], "args": ["y", "z"]}});
        let step = patch(&live, &wanted, true);
        assert_eq!(
            step["spec"],
            json!({"containers": [{"name": "a", "image": "2", "pull": "Always"}, {"name": "injected"}], "args": ["x"]})
        );
        let whole = patch(&live, &wanted, false);
        assert_eq!(whole["spec"]["containers"], wanted["spec"]["containers"]);
    }
}
