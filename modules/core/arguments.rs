//! In: a task's arguments as JSON and the schema of a module. Out: the typed arguments, or an error that names the
//! argument and suggests the nearest right one. Converts as Ansible does: `"5"` for a number, `"yes"` for a bool,
//! `a,b` for a list, a number for text.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use crate::error::ModuleError;

/// Parses a module's arguments.
pub fn parse<A: DeserializeOwned>(
    module: &str,
    schema: &Value,
    args: &Map<String, Value>,
) -> Result<A, ModuleError> {
    let properties = schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    // A module without declared properties takes any mapping (`set_fact`-like).
    let is_closed = schema["additionalProperties"] == Value::Bool(false);
    let mut converted = Map::new();
    let aliases = aliases(&properties);
    for (name, value) in args {
        // An argument under another of its names; its own name wins.
        let name = match aliases.get(name.as_str()) {
            Some(own) if args.contains_key(own.as_str()) => continue,
            Some(own) => own,
            None => name,
        };
        match properties.get(name) {
            Some(property) => {
                converted.insert(name.clone(), convert(module, name, value, property)?);
            }
            None if is_closed => return Err(unknown(module, name, &properties)),
            None => {
                converted.insert(name.clone(), value.clone());
            }
        }
    }
    let required = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let missing: Vec<&str> = required
        .filter(|name| !converted.contains_key(*name))
        .collect();
    if !missing.is_empty() {
        return Err(self::missing(module, &missing));
    }
    serde_path_to_error::deserialize(Value::Object(converted)).map_err(|problem| {
        let path = problem.path().to_string();
        let name = path.split(['.', '[']).next().unwrap_or_default().to_owned();
        let inner = problem.inner().to_string();
        let message = choice(&path, &inner)
            .unwrap_or_else(|| format!("`{module}`: argument `{path}`: {inner}"));
        ModuleError::argument(name, message)
            .hint(format!("`layerplay doc {module}` lists its arguments"))
    })
}

/// What serde says about a word that is none of an argument's, in Ansible's words.
fn choice(path: &str, problem: &str) -> Option<String> {
    let (wrong, known) = problem
        .strip_prefix("unknown variant `")?
        .split_once("`, expected ")?;
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let list = known.join(", ");
    Some(format!(
        "value of {path} must be one of: {list}, got: {wrong}"
    ))
}

/// The other names of arguments (`x-aliases` in the schema), each with the name that it stands for.
pub fn aliases(properties: &Map<String, Value>) -> HashMap<&str, &String> {
    properties
        .iter()
        .flat_map(|(own, property)| {
            let others = property["x-aliases"].as_array().into_iter().flatten();
            others.filter_map(move |alias| Some((alias.as_str()?, own)))
        })
        .collect()
}

/// The first word of a text, as a shell reads it, and what follows it as it is written.
pub fn first_word(text: &str) -> Option<(String, &str)> {
    let text = text.trim();
    let mut quote = None;
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                end = at;
                break;
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            // In single quotes it is a character like any other.
            (None | Some('"'), '\\') => {
                chars.next();
            }
            _ => {}
        }
    }
    let (word, rest) = text.split_at(end);
    let word = shlex::split(word)?.into_iter().next()?;
    (!word.is_empty()).then_some((word, rest.trim_start()))
}

/// Arguments that must be given and are not, in Ansible's words, which playbooks look for.
pub fn missing(module: &str, names: &[&str]) -> ModuleError {
    let message = format!("missing required arguments: {}", names.join(", "));
    ModuleError::argument(names.first().copied().unwrap_or_default(), message)
        .hint(format!("`layerplay doc {module}` lists its arguments"))
}

/// An argument that a module does not have, in Ansible's words, with the nearest that it has.
pub fn unknown(module: &str, name: &str, properties: &Map<String, Value>) -> ModuleError {
    let near = properties
        .keys()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= (name.len().max(known.len()) / 3).max(1))
        .min();
    let mut known: Vec<&str> = properties.keys().map(String::as_str).collect();
    known.sort_unstable();
    let message = format!(
        "Unsupported parameters for ({module}) module: {name}. Supported parameters include: {}.",
        known.join(", ")
    );
    let error = ModuleError::argument(name, message);
    match near {
        Some((_, near)) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("`layerplay doc {module}` lists its arguments")),
    }
}

/// The types that a property's schema allows: `["string", "null"]`, also behind `anyOf`. None said means that any may
/// do: also when it is one of several words, whose own reader tells what is wrong.
fn types(property: &Value) -> Vec<&str> {
    match &property["type"] {
        Value::String(one) => return vec![one.as_str()],
        Value::Array(several) => return several.iter().filter_map(Value::as_str).collect(),
        _ => {}
    }
    let branches = property["anyOf"].as_array().into_iter().flatten();
    let behind: Vec<Vec<&str>> = branches.map(types).collect();
    if behind.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    behind.into_iter().flatten().collect()
}

/// Whether the schema of a property is somewhere else, also behind `anyOf`, as for an optional one.
fn is_reference(property: &Value) -> bool {
    let branches = property["anyOf"].as_array();
    property.get("$ref").is_some() || branches.into_iter().flatten().any(is_reference)
}

/// Gives a value the type that its argument has, where Ansible would.
fn convert(
    module: &str,
    name: &str,
    value: &Value,
    property: &Value,
) -> Result<Value, ModuleError> {
    // A type of its own (a struct, an enum) reads itself.
    if is_reference(property) {
        return Ok(value.clone());
    }
    let types = types(property);
    let allows = |wanted: &str| types.contains(&wanted);
    let is_right = match value {
        Value::Null => types.is_empty() || allows("null"),
        Value::Bool(_) => allows("boolean"),
        Value::Number(number) => allows("number") || (allows("integer") && !number.is_f64()),
        Value::String(_) => allows("string"),
        Value::Array(_) => allows("array"),
        Value::Object(_) => allows("object"),
    };
    if is_right || types.is_empty() {
        return Ok(match (value, property.get("items")) {
            (Value::Array(items), Some(item)) => Value::Array(
                items
                    .iter()
                    .map(|value| convert(module, name, value, item))
                    .collect::<Result<_, _>>()?,
            ),
            _ => value.clone(),
        });
    }
    let wrong = |wanted: &str| {
        ModuleError::argument(
            name,
            format!(
                "argument '{name}' is of type {} and we were unable to convert to {wanted}",
                python_type(value)
            ),
        )
        .hint(format!("`layerplay doc {module}` lists its arguments"))
    };
    match value {
        Value::String(text) if allows("boolean") => {
            boolean(text).map(Value::Bool).ok_or_else(|| wrong("bool"))
        }
        Value::Number(number) if allows("boolean") => match number.as_i64() {
            Some(0) => Ok(Value::Bool(false)),
            Some(1) => Ok(Value::Bool(true)),
            _ => Err(wrong("bool")),
        },
        Value::String(text) if allows("integer") => text
            .trim()
            .parse::<i64>()
            .map(Value::from)
            .map_err(|_| wrong("int")),
        Value::String(text) if allows("number") => {
            let number = text.trim().parse::<f64>().ok().and_then(Number::from_f64);
            number.map(Value::Number).ok_or_else(|| wrong("float"))
        }
        // A list is read once more, for its items.
        Value::String(text) if allows("array") => {
            let parts = text.split(',').map(str::trim);
            let list: Value = parts.filter(|part| !part.is_empty()).collect();
            convert(module, name, &list, property)
        }
        Value::Number(_) | Value::Bool(_) if allows("array") => {
            let list = Value::Array(vec![value.clone()]);
            convert(module, name, &list, property)
        }
        // Python's `str()` of a bool, as Ansible converts it.
        Value::Bool(flag) if allows("string") => {
            Ok(Value::from(if *flag { "True" } else { "False" }))
        }
        Value::Number(number) if allows("string") => Ok(Value::from(number.to_string())),
        _ => Err(wrong(
            &types
                .iter()
                .filter(|kind| **kind != "null")
                .map(|kind| type_name(kind))
                .collect::<Vec<_>>()
                .join(" or "),
        )),
    }
}

/// What Ansible takes for a boolean (`module_utils/parsing/convert_bool.py`); `None` for anything else.
pub fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "yes" | "on" | "1" | "true" | "t" | "y" | "1.0" => Some(true),
        "no" | "off" | "0" | "false" | "f" | "n" | "0.0" => Some(false),
        _ => None,
    }
}

/// A type's name as Ansible has it.
fn type_name(kind: &str) -> &str {
    match kind {
        "string" => "str",
        "integer" => "int",
        "number" => "float",
        "boolean" => "bool",
        "array" => "list",
        "object" => "dict",
        other => other,
    }
}

/// Python's name of a value's type: what it is, without the value, which may be a secret.
pub fn python_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Args {
        #[schemars(extend("x-aliases" = ["name"]))]
        pool: String,
        #[serde(default)]
        paused: Option<bool>,
        #[serde(default)]
        timeout: Option<u32>,
        #[serde(default)]
        nodes: Vec<String>,
        #[serde(default)]
        options: Option<Options>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Options {
        force: bool,
    }

    #[allow(clippy::needless_pass_by_value, reason = "called with `json!`")]
    fn read(args: Value) -> Result<Args, ModuleError> {
        let schema = schemars::schema_for!(Args).to_value();
        parse("machine_config_pool", &schema, args.as_object().unwrap())
    }

    #[test]
    fn converts_as_ansible_does() {
        let args =
            read(json!({"pool": 5, "paused": "yes", "timeout": "30", "nodes": "a, b"})).unwrap();
        let expected = Args {
            pool: "5".to_owned(),
            paused: Some(true),
            timeout: Some(30),
            nodes: vec!["a".to_owned(), "b".to_owned()],
            options: None,
        };
        assert_eq!(args, expected);
        assert_eq!(read(json!({"name": "w"})).unwrap().pool, "w");
        assert_eq!(read(json!({"name": "w", "pool": "v"})).unwrap().pool, "v");
        assert_eq!(
            read(json!({"pool": "w", "options": {"force": true}}))
                .unwrap()
                .options,
            Some(Options { force: true })
        );
        assert_eq!(
            read(json!({"pool": true, "paused": 0})).unwrap().pool,
            "True"
        );
        assert_eq!(
            read(json!({"pool": "w", "nodes": [1, "x"]})).unwrap().nodes,
            ["1", "x"]
        );
        assert_eq!(
            read(json!({"pool": "w", "paused": null})).unwrap().paused,
            None
        );
    }

    #[test]
    fn the_first_word_ends_where_a_shell_ends_it() {
        for (text, word, rest) in [
            ("a.sh", "a.sh", ""),
            (" a.sh  -x 'b  c' $D ", "a.sh", "-x 'b  c' $D"),
            ("'a b'.sh x", "a b.sh", "x"),
            (r#""a \"b" x"#, "a \"b", "x"),
            (r"a\ b x", "a b", "x"),
            (r"'a\' x", r"a\", "x"),
        ] {
            assert_eq!(first_word(text), Some((word.to_owned(), rest)), "{text}");
        }
        for wrong in ["", "  ", "'a b", "''"] {
            assert_eq!(first_word(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_the_argument_and_the_way_out() {
        let unknown = read(json!({"pool": "w", "pausd": true})).unwrap_err();
        assert_eq!(unknown.argument.as_deref(), Some("pausd"));
        assert_eq!(
            unknown.message,
            "Unsupported parameters for (machine_config_pool) module: pausd. Supported parameters include: nodes, options, paused, pool, timeout."
        );
        assert_eq!(unknown.hint.as_deref(), Some("did you mean `paused`?"));

        let missing = read(json!({})).unwrap_err();
        assert_eq!(missing.message, "missing required arguments: pool");

        let wrong = read(json!({"pool": "w", "timeout": "soon"})).unwrap_err();
        assert_eq!(
            wrong.message,
            "argument 'timeout' is of type str and we were unable to convert to int"
        );
        let shape = read(json!({"pool": {"a": 1}})).unwrap_err();
        assert_eq!(
            shape.message,
            "argument 'pool' is of type dict and we were unable to convert to str"
        );
        assert_eq!(
            read(json!({"pool": "w", "timeout": -1}))
                .unwrap_err()
                .argument
                .as_deref(),
            Some("timeout")
        );
    }
}
