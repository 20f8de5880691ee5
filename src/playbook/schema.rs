//! In: the catalogue. Out: the JSON schema (draft 2020-12) of a playbook, for editors: keywords, modules and their
//! arguments. Where a value may be a template, text is allowed as well.

use serde_json::{Map, Value, json};

use super::Catalogue;
use super::block::SECTIONS;
use super::keywords::{BELOW_PLAYS, INHERITED};
use super::lower::PLAY;
use super::task::{CONTROL, TASK};

/// The schema of a playbook with these modules.
pub fn schema(catalogue: &Catalogue) -> Value {
    let mut modules = Map::new();
    for info in catalogue.infos() {
        let is_free = info.free_form.is_some();
        let arguments = arguments(&info.schema, &info.summary, is_free);
        for name in std::iter::once(&info.name).chain(&info.aliases) {
            modules.insert(name.clone(), arguments.clone());
        }
    }
    let any = |names: &[&str]| -> Map<String, Value> {
        names
            .iter()
            .map(|name| ((*name).to_owned(), json!({})))
            .collect()
    };
    let mut play = any(INHERITED);
    play.extend(any(PLAY));
    for list in ["tasks", "pre_tasks", "post_tasks", "handlers"] {
        play.insert(list.to_owned(), json!({"$ref": "#/$defs/items"}));
    }
    play.insert(
        "hosts".to_owned(),
        json!({"type": ["string", "array"], "description": "A pattern, or a list of patterns."}),
    );
    play.insert("stage".to_owned(), json!({
        "type": "object", "required": ["name"], "additionalProperties": false, "description": "A step of a promotion.",
        "properties": {
            "name": {"type": "string"},
            "after": {"type": "string", "description": "The stage whose hosts must have proven the very digest that this one applies."},
        },
    }));
    play.extend(any(&["import_playbook", "ansible.builtin.import_playbook"]));
    let mut task = any(INHERITED);
    task.extend(any(BELOW_PLAYS));
    task.extend(any(TASK));
    task.insert(
        "loop_control".to_owned(),
        json!({
            "type": "object", "properties": any(CONTROL), "additionalProperties": false,
        }),
    );
    task.extend(modules);
    let mut block = any(INHERITED);
    block.extend(any(BELOW_PLAYS));
    for section in SECTIONS {
        block.insert((*section).to_owned(), json!({"$ref": "#/$defs/items"}));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "layerplay playbook",
        "type": "array",
        "items": {"type": "object", "properties": play, "additionalProperties": false},
        "$defs": {
            "items": {"type": ["array", "null"], "items": {
                "if": {"required": ["block"]},
                "then": {"type": "object", "properties": block, "additionalProperties": false},
                "else": {"type": "object", "properties": task, "patternProperties": {"^with_": {}}, "additionalProperties": false},
            }},
        },
    })
}

/// A module's arguments as they stand in a playbook: each may be a template, and so may all of them.
fn arguments(schema: &Value, summary: &str, is_free: bool) -> Value {
    let mut own = schema.clone();
    if let Some(properties) = own.get_mut("properties").and_then(Value::as_object_mut) {
        // The other names of arguments.
        let others: Vec<(String, Value)> = layerplay_modules::core::arguments::aliases(properties)
            .into_iter()
            .filter_map(|(other, own)| Some((other.to_owned(), properties.get(own)?.clone())))
            .collect();
        properties.extend(others);
        for property in properties.values_mut() {
            let meaning = property.get("description").cloned();
            let plain = property.take();
            *property = json!({"anyOf": [plain, {"type": "string", "pattern": "\\{[{%]"}]});
            if let Some(meaning) = meaning {
                property["description"] = meaning;
            }
        }
    }
    // Definitions of a module's own types are referred to from inside of it.
    let definitions = own.as_object_mut().and_then(|own| own.remove("$defs"));
    own.as_object_mut().map(|own| own.remove("$schema"));
    if let Some(definitions) = definitions {
        own = inlined(own, &definitions);
    }
    let text = if is_free {
        json!({"type": "string"})
    } else {
        json!({"type": "string", "pattern": "[{=]"})
    };
    json!({"description": summary, "anyOf": [own, text, {"type": "null"}]})
}

/// Puts definitions in the place of references to them: schemas of several modules stand in one file.
fn inlined(value: Value, definitions: &Value) -> Value {
    match value {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str)
                && let Some(name) = name.strip_prefix("#/$defs/")
            {
                return inlined(definitions[name].clone(), definitions);
            }
            map.into_iter()
                .map(|(key, value)| (key, inlined(value, definitions)))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(items) => items
            .into_iter()
            .map(|item| inlined(item, definitions))
            .collect(),
        other => other,
    }
}
