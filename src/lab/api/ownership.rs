//! A write and its manager in, `metadata.managedFields` out; and server-side apply, which lives on it.

use super::fields::{Fields, same_element};
use super::resources::{ListKind, Resource, atomic_map, list_kind};
use super::status::ApiError;
use serde_json::{Value, json};

/// Who writes, through which door, when.
#[derive(Debug, Clone)]
pub struct Writer {
    pub manager: String,
    pub subresource: String,
    pub now: String,
}

/// One element of `managedFields`.
#[derive(Debug, Clone)]
struct Entry {
    manager: String,
    operation: String,
    subresource: String,
    api_version: String,
    time: String,
    fields: Fields,
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn entries(object: Option<&Value>) -> Vec<Entry> {
    let list = object
        .and_then(|o| o.pointer("/metadata/managedFields"))
        .and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter(|entry| entry.get("operation").is_some())
        .map(|entry| Entry {
            manager: text(entry, "manager"),
            operation: text(entry, "operation"),
            subresource: text(entry, "subresource"),
            api_version: text(entry, "apiVersion"),
            time: text(entry, "time"),
            fields: Fields::from_value(entry.get("fieldsV1").unwrap_or(&Value::Null)),
        })
        .collect()
}

fn write_entries(object: &mut Value, entries: &[Entry]) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let list: Vec<Value> = entries
        .iter()
        .filter(|entry| !entry.fields.is_empty())
        .map(|entry| {
            let mut value = json!({
                "manager": entry.manager, "operation": entry.operation, "apiVersion": entry.api_version, "time": entry.time,
                "fieldsType": "FieldsV1", "fieldsV1": entry.fields.to_value(),
            });
            if let (false, Some(map)) = (entry.subresource.is_empty(), value.as_object_mut()) {
                map.insert("subresource".into(), json!(entry.subresource));
            }
            value
        })
        .collect();
    if list.is_empty() {
        metadata.shift_remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), Value::Array(list));
    }
}

/// Identity and what the server itself writes belong to nobody.
fn without_system_fields(mut fields: Fields) -> Fields {
    fields.drop_path(&["f:apiVersion"]);
    fields.drop_path(&["f:kind"]);
    for name in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "resourceVersion",
        "managedFields",
        "selfLink",
    ] {
        fields.drop_path(&["f:metadata", &format!("f:{name}")]);
    }
    fields
}

/// Books the difference between `before` and `after` to the writer, as every update does.
pub fn record(resource: &Resource, before: Option<&Value>, after: &mut Value, writer: &Writer) {
    let given = after
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    // The list with one empty entry is how a client asks to forget all managers.
    let mut books = match given.map(Vec::as_slice) {
        Some([only]) if only.as_object().is_some_and(serde_json::Map::is_empty) => Vec::new(),
        Some(list) if !list.is_empty() => entries(Some(after)),
        _ => entries(before),
    };
    let empty = json!({});
    let old = before.unwrap_or(&empty);
    let changed = without_system_fields(Fields::changed(resource, before.map(|_| old), after, ""));
    let removed = without_system_fields(
        Fields::of(resource, old, "").minus(&Fields::of(resource, after, "")),
    );
    if !changed.is_empty() || !removed.is_empty() {
        let mine = |e: &Entry| {
            e.manager == writer.manager
                && e.operation == "Update"
                && e.subresource == writer.subresource
        };
        for entry in books.iter_mut().filter(|entry| !mine(entry)) {
            entry.fields.subtract(&changed);
            entry.fields.subtract(&removed);
        }
        if !books.iter().any(mine) {
            books.push(Entry {
                manager: writer.manager.clone(),
                operation: "Update".into(),
                subresource: writer.subresource.clone(),
                api_version: resource.api_version(),
                time: writer.now.clone(),
                fields: Fields::default(),
            });
        }
        for entry in books.iter_mut().filter(|entry| mine(entry)) {
            entry.fields.subtract(&removed);
            entry.fields.union(&changed);
            entry.time.clone_from(&writer.now);
        }
    }
    write_entries(after, &books);
}

/// Merges an applied configuration into the live object.
fn merge(resource: &Resource, live: &mut Value, config: &Value, path: &str) {
    match config {
        Value::Object(map) if live.is_object() && !atomic_map(resource, path) => {
            let Some(live) = live.as_object_mut() else {
                return;
            };
            for (key, value) in map {
                let at = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match live.get_mut(key) {
                    Some(present) => merge(resource, present, value, &at),
                    None => {
                        live.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        Value::Array(items) if live.is_array() => {
            let kind = list_kind(resource, path);
            let Some(live) = live.as_array_mut() else {
                return;
            };
            match kind {
                ListKind::Atomic => live.clone_from(items),
                ListKind::Set => {
                    for item in items {
                        if !live.contains(item) {
                            live.push(item.clone());
                        }
                    }
                }
                ListKind::Map(keys) => {
                    for item in items {
                        match live.iter_mut().find(|have| same_element(have, item, keys)) {
                            Some(have) => merge(resource, have, item, &format!("{path}[]")),
                            None => live.push(item.clone()),
                        }
                    }
                }
            }
        }
        other => live.clone_from(other),
    }
}

/// The configuration to apply, without what apply may not set.
pub fn check_config(resource: &Resource, config: &Value) -> Result<(), ApiError> {
    if config
        .pointer("/metadata/managedFields")
        .is_some_and(|m| m.as_array().is_none_or(|m| !m.is_empty()))
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    if text(config, "kind") != resource.kind || text(config, "apiVersion") != resource.api_version()
    {
        return Err(ApiError::bad_request(format!(
            "invalid object type: {}, Kind={}; expected {}, Kind={}",
            text(config, "apiVersion"),
            text(config, "kind"),
            resource.api_version(),
            resource.kind
        )));
    }
    Ok(())
}

/// Server-side apply onto a live object. Fields that the manager applied earlier and no longer names are removed, unless
/// others own them too. A value that another manager owns is a conflict, unless forced.
pub fn apply(
    resource: &Resource,
    live: &Value,
    config: &Value,
    writer: &Writer,
    force: bool,
) -> Result<Value, ApiError> {
    let mut books = entries(Some(live));
    let mut config = config.clone();
    if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        metadata.remove("creationTimestamp");
    }
    let wanted = without_system_fields(Fields::of(resource, &config, ""));
    let mut merged = live.clone();
    merge(resource, &mut merged, &config, "");
    let mine = |e: &Entry| {
        e.manager == writer.manager && e.operation == "Apply" && e.subresource == writer.subresource
    };

    let changed = without_system_fields(Fields::changed(resource, Some(live), &merged, ""))
        .intersect(&wanted);
    let mut causes = Vec::new();
    let mut whom = Vec::new();
    for entry in books.iter().filter(|entry| !mine(entry)) {
        let paths = entry.fields.intersect(&changed).paths();
        if paths.is_empty() {
            continue;
        }
        let using = if entry.operation == "Update" {
            format!(" using {}", entry.api_version)
        } else {
            String::new()
        };
        let subresource = if entry.subresource.is_empty() {
            String::new()
        } else {
            format!(" with subresource {:?}", entry.subresource)
        };
        let who = format!("conflict with {:?}{subresource}{using}", entry.manager);
        whom.push((who.clone(), paths.clone()));
        causes.extend(
            paths.into_iter().map(
                |path| json!({"reason": "FieldManagerConflict", "message": who, "field": path}),
            ),
        );
    }
    if !causes.is_empty() && !force {
        let count = causes.len();
        let list = match whom.as_slice() {
            [(who, paths)] if paths.len() == 1 => format!("{who}: {}", paths.join("")),
            many => {
                let parts: Vec<String> = many
                    .iter()
                    .map(|(who, paths)| format!("{who}:\n- {}", paths.join("\n- ")))
                    .collect();
                parts
                    .join("\n")
                    .clone()
                    .replacen("conflict with", "conflicts with", many.len())
            }
        };
        return Err(ApiError {
            code: http::StatusCode::CONFLICT,
            reason: "Conflict",
            message: format!(
                "Apply failed with {count} conflict{}: {list}",
                if count == 1 { "" } else { "s" }
            ),
            details: Some(json!({"causes": causes})),
        });
    }
    for entry in books.iter_mut().filter(|entry| !mine(entry)) {
        entry.fields.subtract(&changed);
    }
    // What this manager gave up goes, unless somebody else holds it too.
    let mut given_up = books
        .iter()
        .find(|entry| mine(entry))
        .map(|e| e.fields.clone())
        .unwrap_or_default()
        .minus(&wanted);
    for entry in books.iter().filter(|entry| !mine(entry)) {
        given_up.subtract(&entry.fields);
    }
    given_up.remove_from(resource, &mut merged, "");
    match books.iter_mut().find(|entry| mine(entry)) {
        Some(entry) if entry.fields == wanted => {}
        Some(entry) => {
            entry.fields = wanted;
            entry.time.clone_from(&writer.now);
        }
        None => books.push(Entry {
            manager: writer.manager.clone(),
            operation: "Apply".into(),
            subresource: writer.subresource.clone(),
            api_version: resource.api_version(),
            time: writer.now.clone(),
            fields: wanted,
        }),
    }
    write_entries(&mut merged, &books);
    Ok(merged)
}

/// Books a newly created object to an apply.
pub fn record_created_by_apply(
    resource: &Resource,
    object: &mut Value,
    config: &Value,
    writer: &Writer,
) {
    let fields = without_system_fields(Fields::of(resource, config, ""));
    let entry = Entry {
        manager: writer.manager.clone(),
        operation: "Apply".into(),
        subresource: writer.subresource.clone(),
        api_version: resource.api_version(),
        time: writer.now.clone(),
        fields,
    };
    write_entries(object, &[entry]);
}
