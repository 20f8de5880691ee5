//! Objects in, sets of field paths out, in the form of `FieldsV1`: what server-side apply counts ownership in.

use super::resources::{ListKind, Resource, atomic_map, list_kind};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A set of fields as a tree. A leaf owns itself; an element of a keyed list owns itself and has children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    own: bool,
    children: BTreeMap<String, Fields>,
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The `k:{...}` segment of an element of a keyed list; a missing protocol counts as TCP, as the types' defaults say.
fn element_key(item: &Value, keys: &[&str]) -> String {
    let mut sorted: BTreeMap<&str, Value> = BTreeMap::new();
    for key in keys {
        match item.get(key) {
            Some(value) => {
                sorted.insert(key, value.clone());
            }
            None if *key == "protocol" => {
                sorted.insert(key, json!("TCP"));
            }
            None => {}
        }
    }
    format!("k:{}", json!(sorted))
}

/// Whether two elements of a keyed list are the same one.
pub(super) fn same_element(a: &Value, b: &Value, keys: &[&str]) -> bool {
    element_key(a, keys) == element_key(b, keys)
}

impl Fields {
    fn leaf() -> Self {
        Self {
            own: true,
            children: BTreeMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        !self.own && self.children.is_empty()
    }

    /// The fields that `value` (at `path`) sets.
    pub fn of(resource: &Resource, value: &Value, path: &str) -> Self {
        match value {
            Value::Object(map) if !map.is_empty() && !atomic_map(resource, path) => Self {
                own: false,
                children: map
                    .iter()
                    .map(|(key, value)| {
                        (
                            format!("f:{key}"),
                            Self::of(resource, value, &join(path, key)),
                        )
                    })
                    .collect(),
            },
            Value::Array(items) if !items.is_empty() => match list_kind(resource, path) {
                ListKind::Atomic => Self::leaf(),
                ListKind::Set => Self {
                    own: false,
                    children: items
                        .iter()
                        .map(|v| (format!("v:{v}"), Self::leaf()))
                        .collect(),
                },
                ListKind::Map(keys) => Self {
                    own: false,
                    children: items
                        .iter()
                        .map(|item| {
                            let mut fields = Self::of(resource, item, &format!("{path}[]"));
                            fields.own = true;
                            (element_key(item, keys), fields)
                        })
                        .collect(),
                },
            },
            _ => Self::leaf(),
        }
    }

    /// The fields of `after` that are new or have another value than in `before`.
    pub fn changed(resource: &Resource, before: Option<&Value>, after: &Value, path: &str) -> Self {
        if before == Some(after) {
            return Self::default();
        }
        let mut found = Self::default();
        let mut put = |key: String, fields: Self| {
            if !fields.is_empty() {
                found.children.insert(key, fields);
            }
        };
        match (after, before) {
            (Value::Object(map), Some(Value::Object(old)))
                if !map.is_empty() && !atomic_map(resource, path) =>
            {
                for (key, value) in map {
                    put(
                        format!("f:{key}"),
                        Self::changed(resource, old.get(key), value, &join(path, key)),
                    );
                }
            }
            (Value::Array(items), Some(Value::Array(old))) if !items.is_empty() => {
                match list_kind(resource, path) {
                    ListKind::Atomic => return Self::leaf(),
                    ListKind::Set => {
                        for item in items.iter().filter(|item| !old.contains(item)) {
                            put(format!("v:{item}"), Self::leaf());
                        }
                    }
                    ListKind::Map(keys) => {
                        let inner = format!("{path}[]");
                        for item in items {
                            let key = element_key(item, keys);
                            if let Some(old) = old.iter().find(|old| element_key(old, keys) == key)
                            {
                                put(key, Self::changed(resource, Some(old), item, &inner));
                            } else {
                                let mut fields = Self::of(resource, item, &inner);
                                fields.own = true;
                                put(key, fields);
                            }
                        }
                    }
                }
            }
            _ => return Self::of(resource, after, path),
        }
        found
    }

    pub fn union(&mut self, other: &Self) {
        self.own |= other.own;
        for (key, fields) in &other.children {
            self.children.entry(key.clone()).or_default().union(fields);
        }
    }

    pub fn subtract(&mut self, other: &Self) {
        self.own &= !other.own;
        for (key, fields) in &other.children {
            if let Some(mine) = self.children.get_mut(key) {
                mine.subtract(fields);
                if mine.is_empty() {
                    self.children.remove(key);
                }
            }
        }
    }

    pub fn minus(mut self, other: &Self) -> Self {
        self.subtract(other);
        self
    }

    pub fn intersect(&self, other: &Self) -> Self {
        let mut found = Self {
            own: self.own && other.own,
            children: BTreeMap::new(),
        };
        for (key, fields) in &self.children {
            if let Some(theirs) = other.children.get(key) {
                let both = fields.intersect(theirs);
                if !both.is_empty() {
                    found.children.insert(key.clone(), both);
                }
            }
        }
        found
    }

    /// Drops a path such as `["f:metadata", "f:name"]`.
    pub fn drop_path(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.children.remove(*last);
            }
            [first, rest @ ..] => {
                if let Some(inner) = self.children.get_mut(*first) {
                    inner.drop_path(rest);
                    if inner.is_empty() {
                        self.children.remove(*first);
                    }
                }
            }
        }
    }

    /// As `fieldsV1` writes it.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        if self.own && !self.children.is_empty() {
            map.insert(".".into(), json!({}));
        }
        map.extend(
            self.children
                .iter()
                .map(|(key, fields)| (key.clone(), fields.to_value())),
        );
        Value::Object(map)
    }

    /// From `fieldsV1`.
    pub fn from_value(value: &Value) -> Self {
        let Some(map) = value.as_object() else {
            return Self::default();
        };
        Self {
            own: map.is_empty() || map.contains_key("."),
            children: map
                .iter()
                .filter(|(key, _)| *key != ".")
                .map(|(key, value)| (key.clone(), Self::from_value(value)))
                .collect(),
        }
    }

    /// Every field as people write it: `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect("", &mut found);
        found
    }

    fn collect(&self, at: &str, found: &mut Vec<String>) {
        if self.own && self.children.is_empty() {
            found.push(at.to_owned());
        }
        for (key, fields) in &self.children {
            let next = match key.split_at_checked(2) {
                Some(("f:", name)) => format!("{at}.{name}"),
                Some(("k:", keys)) => {
                    let keys: BTreeMap<String, Value> =
                        serde_json::from_str(keys).unwrap_or_default();
                    let keys: Vec<String> = keys
                        .iter()
                        .map(|(key, value)| format!("{key}={value}"))
                        .collect();
                    format!("{at}[{}]", keys.join(","))
                }
                Some((_, value)) => format!("{at}[={value}]"),
                None => at.to_owned(),
            };
            fields.collect(&next, found);
        }
    }

    /// Takes these fields out of `value`. Maps and lists that become empty go with them.
    pub fn remove_from(&self, resource: &Resource, value: &mut Value, path: &str) {
        match value {
            Value::Object(map) => {
                for (key, fields) in &self.children {
                    let Some(name) = key.strip_prefix("f:") else {
                        continue;
                    };
                    let Some(inner) = map.get_mut(name) else {
                        continue;
                    };
                    let mut gone = fields.own && fields.children.is_empty();
                    if !gone {
                        fields.remove_from(resource, inner, &join(path, name));
                        gone = match inner {
                            Value::Object(map) => map.is_empty(),
                            Value::Array(list) => list.is_empty(),
                            _ => false,
                        };
                    }
                    if gone {
                        map.shift_remove(name);
                    }
                }
            }
            Value::Array(items) => match list_kind(resource, path) {
                ListKind::Atomic => {}
                ListKind::Set => {
                    items.retain(|item| !self.children.contains_key(&format!("v:{item}")));
                }
                ListKind::Map(keys) => {
                    items.retain(|item| {
                        !self
                            .children
                            .get(&element_key(item, keys))
                            .is_some_and(|fields| fields.own)
                    });
                    for item in items {
                        if let Some(fields) = self.children.get(&element_key(item, keys)) {
                            fields.remove_from(resource, item, &format!("{path}[]"));
                        }
                    }
                }
            },
            _ => {}
        }
    }
}
