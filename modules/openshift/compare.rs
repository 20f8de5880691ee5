//! In: an object before and after. Out: what differs, field by field and as text, without what the server only keeps
//! books in, and without the values of Secrets. Pure.

use serde_json::{Map, Value, json};

use super::manifest::is_secret;
use crate::contract::{FieldChange, TextDiff};
use crate::secret::MASK;

/// Where `kubectl apply` keeps what was applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What the server writes about every object.
const BOOKS: &[&str] = &[
    "managedFields",
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "selfLink",
];

/// An object without the server's books and its status: what a user means by it.
pub fn content(object: &Value) -> Value {
    let mut object = object.clone();
    let Some(map) = object.as_object_mut() else {
        return object;
    };
    map.shift_remove("status");
    if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
        for field in BOOKS {
            metadata.shift_remove(*field);
        }
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.shift_remove(LAST_APPLIED);
        }
        metadata.retain(|_, value| !is_empty(value));
    }
    object
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The values of a Secret as masks; those that differ from `other`'s say so.
fn masked(object: &Value, other: Option<&Value>) -> Value {
    let mut shown = content(object);
    if !is_secret(object) {
        return shown;
    }
    for field in ["data", "stringData"] {
        let Some(Value::Object(map)) = shown.get_mut(field) else {
            continue;
        };
        for (key, value) in map.iter_mut() {
            let had = other.map_or(&Value::Null, |other| &other[field][key]);
            let is_new = other.is_some() && !had.is_null() && had != value;
            *value = if is_new {
                json!(format!("{MASK} (changed)"))
            } else {
                json!(MASK)
            };
        }
    }
    shown
}

/// An object as it may be shown.
pub fn shown(object: &Value) -> Value {
    masked(object, None)
}

/// Every field that differs, by path. Mappings are walked, lists compared as a whole.
pub fn changes(what: &str, before: Option<&Value>, after: Option<&Value>) -> Vec<FieldChange> {
    let (Some(old), Some(new)) = (before, after) else {
        return vec![FieldChange {
            field: what.to_owned(),
            before: before.map_or(Value::Null, shown),
            after: after.map_or(Value::Null, shown),
        }];
    };
    let mut found = Vec::new();
    walk("", &content(old), &content(new), &mut found);
    if is_secret(new) {
        for change in &mut found {
            if change.field == "data"
                || change.field.starts_with("data.")
                || change.field.starts_with("stringData")
            {
                for value in [&mut change.before, &mut change.after] {
                    if !value.is_null() {
                        *value = json!(MASK);
                    }
                }
            }
        }
    }
    for change in &mut found {
        change.field = format!("{what}: {}", change.field);
    }
    found
}

fn walk(path: &str, before: &Value, after: &Value, found: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    if let (Value::Object(old), Value::Object(new)) = (before, after) {
        let added = new.keys().filter(|key| !old.contains_key(*key));
        for key in old.keys().chain(added) {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            walk(&path, &before[key], &after[key], found);
        }
        return;
    }
    if is_empty(before) && is_empty(after) {
        return;
    }
    found.push(FieldChange {
        field: path.to_owned(),
        before: before.clone(),
        after: after.clone(),
    });
}

/// The two states as YAML, for `--diff`.
pub fn diff(what: &str, before: Option<&Value>, after: Option<&Value>) -> TextDiff {
    let text = |object: Option<&Value>, other: Option<&Value>| {
        object
            .and_then(|object| serde_saphyr::to_string(&masked(object, other)).ok())
            .unwrap_or_default()
    };
    TextDiff {
        before_header: what.to_owned(),
        after_header: what.to_owned(),
        before: text(before, None),
        after: text(after, before),
    }
}

/// Fields of a definition that the server did not keep: most often a name that is spelled wrong.
pub fn dropped(definition: &Value, kept: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (field, value) in definition.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "status" | "stringData") {
            lost(field, value, &kept[field], &mut found);
        }
    }
    found
}

fn lost(path: &str, wanted: &Value, kept: &Value, found: &mut Vec<String>) {
    match (wanted, kept) {
        (wanted, _) if is_empty(wanted) => {}
        (Value::Object(wanted), Value::Object(kept)) => {
            for (key, value) in wanted {
                let path = format!("{path}.{key}");
                lost(&path, value, kept.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(wanted), Value::Array(kept)) if wanted.len() == kept.len() => {
            for (index, (wanted, kept)) in wanted.iter().zip(kept).enumerate() {
                lost(&format!("{path}[{index}]"), wanted, kept, found);
            }
        }
        (_, Value::Null) if path != "metadata.namespace" => found.push(path.to_owned()),
        _ => {}
    }
}

/// The fields that a manager applied, as the server books them; `Null` for none.
pub fn applied_by(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array();
    entries
        .into_iter()
        .flatten()
        .find(|entry| {
            entry["manager"] == manager
                && entry["operation"] == "Apply"
                && entry["subresource"].as_str().unwrap_or_default().is_empty()
        })
        .map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

/// RFC 7396: what a merge patch makes of an object, where no server can be asked.
pub fn merged(object: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut result: Map<String, Value> = object.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            result.shift_remove(key);
        } else {
            let merged = merged(result.get(key).unwrap_or(&Value::Null), value);
            result.insert(key.clone(), merged);
        }
    }
    Value::Object(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "called with `json!`")]
    fn map(data: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data, "metadata": {
            "name": "a", "resourceVersion": "5", "managedFields": [{}], "annotations": {LAST_APPLIED: "{}"}}})
    }

    #[test]
    fn books_and_status_are_no_difference() {
        let mut after = map(json!({"k": "v"}));
        after["metadata"] = json!({"name": "a", "resourceVersion": "6"});
        after["status"] = json!({"x": 1});
        let before = map(json!({"k": "v"}));
        assert!(changes("x", Some(&before), Some(&after)).is_empty());
        assert_eq!(content(&before), content(&after));
    }

    #[test]
    fn fields_are_named_by_their_path() {
        let found = changes(
            "ConfigMap `a`",
            Some(&map(json!({"k": "v", "gone": "x"}))),
            Some(&map(json!({"k": "w", "new": "y"}))),
        );
        let fields: Vec<&str> = found.iter().map(|change| change.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "ConfigMap `a`: data.k",
                "ConfigMap `a`: data.gone",
                "ConfigMap `a`: data.new"
            ]
        );
        assert_eq!(found[0].after, "w");
    }

    #[test]
    fn no_value_of_a_secret_is_shown() {
        let secret = |word: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": word, "same": "c2FtZQ=="}});
        let (before, after) = (secret("b25l"), secret("dHdv"));
        let all = format!(
            "{:?} {:?} {:?} {:?}",
            changes("s", Some(&before), Some(&after)),
            changes("s", None, Some(&after)),
            diff("s", Some(&before), Some(&after)),
            shown(&after)
        );
        for word in ["b25l", "dHdv", "c2FtZQ"] {
            assert!(!all.contains(word), "{all}");
        }
        let diff = diff("s", Some(&before), Some(&after));
        assert_ne!(diff.before, diff.after);
    }

    #[test]
    fn what_the_server_did_not_keep_is_named() {
        let wanted = json!({"kind": "Pod", "spec": {"containers": [{"name": "a", "imagee": "x"}], "empty": {}, "n": null}});
        let kept = json!({"kind": "Pod", "spec": {"containers": [{"name": "a", "image": "x"}]}});
        assert_eq!(dropped(&wanted, &kept), ["spec.containers[0].imagee"]);
    }

    #[test]
    fn what_a_manager_applied_is_found() {
        let object = json!({"metadata": {"managedFields": [
            {"manager": "m", "operation": "Update", "fieldsV1": {"f:a": {}}},
            {"manager": "m", "operation": "Apply", "subresource": "status", "fieldsV1": {"f:b": {}}},
            {"manager": "m", "operation": "Apply", "fieldsV1": {"f:c": {}}}]}});
        assert_eq!(applied_by(&object, "m"), json!({"f:c": {}}));
        assert_eq!(applied_by(&object, "n"), Value::Null);
    }
}
