//! In: objects as users write them (a mapping, a list, YAML text of several documents, arguments). Out: one complete
//! definition an object. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::ModuleError;

/// What arguments say where a definition does not.
#[derive(Debug, Clone, Default)]
pub struct Defaults<'d> {
    pub kind: Option<&'d str>,
    pub api_version: Option<&'d str>,
    pub name: Option<&'d str>,
    pub generate_name: Option<&'d str>,
    pub namespace: Option<&'d str>,
}

/// The documents of a YAML text, empty ones left out.
fn documents(argument: &str, text: &str) -> Result<Vec<Value>, ModuleError> {
    let wrong = |problem: String| {
        ModuleError::argument(argument, format!("`{argument}` is not YAML: {problem}"))
    };
    let mut found = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut value = serde_yaml::Value::deserialize(document)
            .map_err(|problem| wrong(problem.to_string()))?;
        value
            .apply_merge()
            .map_err(|problem| wrong(problem.to_string()))?;
        let value = json_of(value).map_err(wrong)?;
        if !value.is_null() {
            found.push(value);
        }
    }
    Ok(found)
}

/// YAML as JSON: keys that are numbers or booleans become text.
fn json_of(value: serde_yaml::Value) -> Result<Value, String> {
    use serde_yaml::Value as Yaml;
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => Value::Bool(flag),
        Yaml::String(text) => Value::String(text),
        Yaml::Number(number) => {
            serde_json::to_value(&number).map_err(|problem| problem.to_string())?
        }
        Yaml::Sequence(items) => {
            Value::Array(items.into_iter().map(json_of).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(map) => {
            let mut object = Map::new();
            for (key, value) in map {
                let key = match json_of(key)? {
                    Value::String(text) => text,
                    key @ (Value::Bool(_) | Value::Number(_)) => key.to_string(),
                    _ => return Err("a key is not text".to_owned()),
                };
                object.insert(key, json_of(value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => return Err(format!("the tag `{}` means nothing here", tagged.tag)),
    })
}

/// Takes what a user gave apart into objects, each a mapping.
fn objects(argument: &str, given: &Value) -> Result<Vec<Map<String, Value>>, ModuleError> {
    let mut found = Vec::new();
    match given {
        Value::Null => {}
        Value::Object(map) => found.push(map.clone()),
        Value::Array(items) => {
            for item in items {
                found.extend(objects(argument, item)?);
            }
        }
        Value::String(text) => {
            for document in documents(argument, text)? {
                match document {
                    Value::String(_) => {
                        return Err(ModuleError::argument(
                            argument,
                            format!("`{argument}` is text and no object"),
                        ));
                    }
                    other => found.extend(objects(argument, &other)?),
                }
            }
        }
        Value::Bool(_) | Value::Number(_) => {
            return Err(ModuleError::argument(
                argument,
                format!("`{argument}` must hold objects: mappings with `kind` and `metadata`"),
            ));
        }
    }
    Ok(found)
}

/// Complete definitions. A `List` is replaced by what it holds. `given` absent: one object out of the defaults alone.
pub fn definitions(
    argument: &str,
    given: Option<&Value>,
    defaults: &Defaults<'_>,
) -> Result<Vec<Value>, ModuleError> {
    let raw = match given {
        Some(given) => objects(argument, given)?,
        None => vec![Map::new()],
    };
    let mut found = Vec::new();
    for object in raw {
        flatten(argument, object, defaults, &mut found)?;
    }
    Ok(found)
}

fn flatten(
    argument: &str,
    mut object: Map<String, Value>,
    defaults: &Defaults<'_>,
    found: &mut Vec<Value>,
) -> Result<(), ModuleError> {
    let mut whole = Map::new();
    for (key, value) in [
        ("apiVersion", defaults.api_version.or(Some("v1"))),
        ("kind", defaults.kind),
    ] {
        let given = object.shift_remove(key).filter(|given| !given.is_null());
        if let Some(value) = given.or_else(|| value.map(|value| json!(value))) {
            whole.insert(key.to_owned(), value);
        }
    }
    whole.extend(object);
    let mut object = whole;
    let kind = object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if kind.is_empty() {
        return Err(ModuleError::argument("kind", "an object lacks its `kind`")
            .hint("say it in the definition, or with the argument `kind`"));
    }
    if let (Some(single), Some(Value::Array(items))) =
        (kind.strip_suffix("List"), object.get("items"))
    {
        let api_version = object.get("apiVersion").and_then(Value::as_str);
        let inner = Defaults {
            kind: Some(single)
                .filter(|kind| !kind.is_empty())
                .or(defaults.kind),
            api_version: api_version.or(defaults.api_version),
            ..defaults.clone()
        };
        for item in items.clone() {
            let Value::Object(item) = item else {
                return Err(ModuleError::argument(
                    argument,
                    format!("`{kind}` holds something that is no object"),
                ));
            };
            flatten(argument, item, &inner, found)?;
        }
        return Ok(());
    }
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    let Some(metadata) = metadata.as_object_mut() else {
        return Err(ModuleError::argument(
            argument,
            format!("the `metadata` of a {kind} must be a mapping"),
        ));
    };
    let has_name = metadata.contains_key("name") || metadata.contains_key("generateName");
    for (key, value) in [
        ("name", defaults.name.filter(|_| !has_name)),
        (
            "generateName",
            defaults
                .generate_name
                .filter(|_| !has_name && defaults.name.is_none()),
        ),
        ("namespace", defaults.namespace),
    ] {
        if metadata.get(key).is_none_or(Value::is_null) {
            match value {
                Some(value) => {
                    metadata.insert(key.to_owned(), json!(value));
                }
                None => {
                    metadata.shift_remove(key);
                }
            }
        }
    }
    let mut object = Value::Object(object);
    encode_string_data(&mut object);
    found.push(object);
    Ok(())
}

/// `stringData` is written only; as `data` it can be compared with what is there.
fn encode_string_data(object: &mut Value) {
    if !is_secret(object) {
        return;
    }
    let Some(map) = object.as_object_mut() else {
        return;
    };
    let Some(Value::Object(plain)) = map.get("stringData").cloned() else {
        return;
    };
    if plain.values().any(|value| !value.is_string()) {
        // The server says best what is wrong with it.
        return;
    }
    map.shift_remove("stringData");
    let data = map.entry("data").or_insert_with(|| json!({}));
    if data.is_null() {
        *data = json!({});
    }
    if let Some(data) = data.as_object_mut() {
        for (key, value) in plain {
            let text = value.as_str().unwrap_or_default();
            data.insert(key, json!(STANDARD.encode(text)));
        }
    }
}

pub fn is_secret(object: &Value) -> bool {
    object["kind"] == "Secret" && object["apiVersion"] == "v1"
}

/// What a Secret holds, encoded and decoded.
pub fn secret_values(object: &Value) -> Vec<String> {
    if !is_secret(object) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for field in ["data", "stringData"] {
        for value in object[field].as_object().into_iter().flatten() {
            let Some(text) = value.1.as_str() else {
                continue;
            };
            if field == "data"
                && let Some(plain) = STANDARD
                    .decode(text)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
            {
                found.push(plain);
            }
            if field == "stringData" {
                found.push(STANDARD.encode(text));
            }
            found.push(text.to_owned());
        }
    }
    found
}

/// Whether labels satisfy selectors as kubectl writes them: `a=b`, `a!=b`, `a in (x,y)`, `a notin (x)`, `a`, `!a`.
pub fn labels_match(selectors: &[String], labels: &Value) -> bool {
    let label = |key: &str| labels.get(key.trim()).and_then(Value::as_str);
    let set = |values: &str| -> Vec<String> {
        values
            .trim()
            .trim_start_matches('(')
            .trim_end_matches(')')
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect()
    };
    selectors.iter().map(|text| text.trim()).all(|selector| {
        if let Some((key, values)) = selector.split_once(" notin ") {
            return label(key).is_none_or(|value| !set(values).iter().any(|known| known == value));
        }
        if let Some((key, values)) = selector.split_once(" in ") {
            return label(key).is_some_and(|value| set(values).iter().any(|known| known == value));
        }
        if let Some((key, value)) = selector.split_once("!=") {
            return label(key) != Some(value.trim());
        }
        if let Some((key, value)) = selector.split_once("==").or(selector.split_once('=')) {
            return label(key) == Some(value.trim());
        }
        match selector.strip_prefix('!') {
            Some(key) => label(key).is_none(),
            None => label(selector).is_some(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &Value, defaults: &Defaults<'_>) -> Result<Vec<Value>, ModuleError> {
        definitions("definition", Some(given), defaults)
    }

    #[test]
    fn text_holds_several_documents_and_merge_keys() {
        let text = "---\nkind: ConfigMap\nmetadata: {name: a}\ndata: &d {k: v, 1: one}\n---\n# nothing\n---\nkind: ConfigMap\nmetadata: {name: b}\ndata:\n  <<: *d\n";
        // An anchor ends with its document.
        assert!(read(&json!(text), &Defaults::default()).is_err());
        let text = "kind: ConfigMap\nmetadata: {name: a}\nx: &d {k: v, 1: one}\ndata: {<<: *d, z: y}\n---\n---\nkind: Pod\nmetadata: {name: b}\n";
        let found = read(&json!(text), &Defaults::default()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0]["data"], json!({"z": "y", "k": "v", "1": "one"}));
        assert_eq!(found[1]["apiVersion"], "v1");
    }

    #[test]
    fn the_definition_wins_over_arguments_and_lists_are_taken_apart() {
        let defaults = Defaults {
            name: Some("other"),
            namespace: Some("space"),
            api_version: Some("apps/v1"),
            ..Defaults::default()
        };
        let found = read(
            &json!([{"kind": "ConfigMapList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b", "namespace": "own"}}]},
                    {"kind": "Deployment"}]),
            &defaults,
        )
        .unwrap();
        let shown: Vec<String> = found
            .iter()
            .map(|object| {
                format!(
                    "{} {} {} {}",
                    object["apiVersion"].as_str().unwrap(),
                    object["kind"].as_str().unwrap(),
                    object["metadata"]["namespace"].as_str().unwrap(),
                    object["metadata"]["name"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "v1 ConfigMap space a",
                "v1 ConfigMap own b",
                "apps/v1 Deployment space other"
            ]
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for wrong in [json!(5), json!("just text"), json!([true]), json!("a: [")] {
            assert!(read(&wrong, &Defaults::default()).is_err(), "{wrong}");
        }
        let error = read(&json!({"metadata": {"name": "a"}}), &Defaults::default()).unwrap_err();
        assert_eq!(error.argument.as_deref(), Some("kind"));
    }

    #[test]
    fn secrets_are_encoded_and_their_values_known() {
        let found = read(
            &json!({"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "word"}, "data": {"o": "b3RoZXI="}}),
            &Defaults::default(),
        )
        .unwrap();
        assert_eq!(found[0]["data"], json!({"o": "b3RoZXI=", "k": "d29yZA=="}));
        assert_eq!(found[0]["stringData"], Value::Null);
        let values = secret_values(&found[0]);
        for value in ["word", "d29yZA==", "other", "b3RoZXI="] {
            assert!(values.iter().any(|known| known == value), "{value}");
        }
    }

    #[test]
    fn selectors_are_kubectls() {
        let labels = json!({"app": "web", "tier": "front"});
        for (selector, matches) in [
            ("app=web", true),
            ("app==db", false),
            ("app!=db", true),
            ("app in (db, web)", true),
            ("app notin (web)", false),
            ("tier", true),
            ("!tier", false),
            ("none!=x", true),
        ] {
            assert_eq!(
                labels_match(&[selector.to_owned()], &labels),
                matches,
                "{selector}"
            );
        }
    }
}
