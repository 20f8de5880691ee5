//! `validate_argument_spec`. In: a specification, arguments that are given with it, and the variables of the task. Out:
//! whether the values are as the specification says.

use serde_json::{Map, Value, json};

use crate::run::attempt::Unit;
use crate::run::result::{Done, map, to_json};
use layerplay_modules::core::arguments::python_type;

/// The mapping that an argument holds.
fn mapping(arguments: &Map<String, Value>, name: &str) -> Result<Map<String, Value>, Done> {
    match arguments.get(name) {
        None => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(other) => Err(Done::failed(format!(
            "Incorrect type for {name}, expected dict and got <class '{}'>",
            python_type(other)
        ))),
    }
}

pub(in crate::run) fn run(unit: &Unit, arguments: &Map<String, Value>) -> Done {
    judged(unit, arguments).unwrap_or_else(|done| done)
}

fn judged(unit: &Unit, arguments: &Map<String, Value>) -> Result<Done, Done> {
    if !arguments.contains_key("argument_spec") {
        return Err(Done::failed("\"argument_spec\" arg is required in args"));
    }
    let spec = mapping(arguments, "argument_spec")?;
    let provided = mapping(arguments, "provided_arguments")?;
    if let Some(problem) = malformed(&spec, "argument_spec") {
        return Err(Done::failed(problem));
    }
    let scope = unit.scope.share();
    let mut given = Map::new();
    for name in spec.keys() {
        if let Some(lazy) = scope.lookup(name) {
            let value = unit.templar().evaluate(&lazy, &scope);
            let value = value.map_err(|problem| Done::template(&problem))?;
            given.insert(name.clone(), to_json(&value));
        }
    }
    given.extend(provided);
    let verdict = super::validate(&spec, given);
    for secret in &verdict.secrets {
        unit.run.secrets.add(secret);
    }
    let context = arguments.get("validate_args_context");
    let context = context.cloned().unwrap_or_else(|| json!({}));
    let mut result = map(json!({"validate_args_context": context}));
    let is_wrong = !verdict.errors.is_empty();
    if is_wrong {
        let message = format!(
            "Validation of arguments failed:\n{}",
            verdict.errors.join("\n")
        );
        result.insert("msg".to_owned(), message.into());
        result.insert("argument_spec_data".to_owned(), Value::Object(spec));
        result.insert("argument_errors".to_owned(), json!(verdict.errors));
    } else {
        result.insert("msg".to_owned(), "The arg spec validation passed".into());
    }
    Ok(Done {
        failed: is_wrong,
        warnings: verdict.warnings,
        result,
        ..Done::default()
    })
}

/// An option that is described by something else than a mapping.
fn malformed(spec: &Map<String, Value>, place: &str) -> Option<String> {
    spec.iter().find_map(|(name, entry)| {
        let place = format!("{place}.{name}");
        let Some(entry) = entry.as_object() else {
            return Some(format!(
                "`{place}` is a mapping with `type`, `required` and so on, not {}",
                python_type(entry)
            ));
        };
        match entry.get("options") {
            None | Some(Value::Null) => None,
            Some(Value::Object(inner)) => malformed(inner, &format!("{place}.options")),
            Some(other) => Some(format!(
                "`{place}.options` is a mapping of options, not {}",
                python_type(other)
            )),
        }
    })
}
