//! In: a type's name as argument specifications have it, and a value. Out: the value in that type, or ansible-core's
//! words for why not. Classes are told as Python's (`<class 'str'>`), without the wrappers of ansible-core.

use std::cmp::Ordering;
use std::fmt::Write;

use layerplay_modules::core::arguments::boolean;
use serde_json::{Map, Value};

use crate::inventory::literal;
use crate::run::result::{from_json, to_json};
use layerplay_modules::core::arguments::python_type;

use crate::template::{bytes_of, expand_path};

const TRUE: &[&str] = &["y", "yes", "on", "1", "true", "t"];
const FALSE: &[&str] = &["n", "no", "off", "0", "false", "f"];
/// The types that there are.
const KINDS: &str = "str, list, dict, bool, int, float, path, raw, json, jsonarg, bytes, bits";

/// Python's `str()`.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => from_json(&other).to_string(),
    }
}

/// Python's `repr()`: text in quotes.
fn repr(value: &Value) -> String {
    match value {
        // In a list text has its quotes.
        Value::String(_) => {
            let list = text(&Value::Array(vec![value.clone()]));
            list[1..list.len() - 1].to_owned()
        }
        other => text(other),
    }
}

/// Python's truth.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// One name, or a list of them.
pub(super) fn names(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        one => vec![text(one)],
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        other => other.as_f64(),
    }
}

/// Two numbers of Python's: exactly the same, and `nan` is nothing's equal.
fn same(one: f64, other: f64) -> bool {
    one.partial_cmp(&other) == Some(Ordering::Equal)
}

/// Python's `==`: `1`, `1.0` and `True` are the same.
pub(super) fn equal(one: &Value, other: &Value) -> bool {
    match (number(one), number(other)) {
        (Some(one), Some(other)) => return same(one, other),
        (None, None) => {}
        _ => return false,
    }
    match (one, other) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => one == other,
    }
}

/// The one choice that stands for a boolean; `None` where there are several, or none.
pub(super) fn only_meant(choices: &[Value], meaning: bool) -> Option<Value> {
    let words = if meaning { TRUE } else { FALSE };
    let mut meant: Vec<&Value> = Vec::new();
    for choice in choices {
        let is_meant = match choice {
            Value::String(text) => words.contains(&text.as_str()),
            other => number(other).is_some_and(|number| same(number, f64::from(u8::from(meaning)))),
        };
        if is_meant && !meant.iter().any(|known| equal(known, choice)) {
            meant.push(choice);
        }
    }
    match meant.as_slice() {
        [one] => Some((*one).clone()),
        _ => None,
    }
}

/// The value in a type.
pub(super) fn convert(kind: &str, value: &Value) -> Result<Value, String> {
    let class = || format!("<class '{}'>", python_type(value));
    match kind {
        "raw" => Ok(value.clone()),
        "str" => Ok(Value::String(plain(value))),
        "path" => Ok(Value::String(expand_path(&plain(value)))),
        "list" => match value {
            Value::Array(_) => Ok(value.clone()),
            Value::String(text) => Ok(text.split(',').map(Value::from).collect()),
            Value::Number(_) | Value::Bool(_) => Ok(Value::Array(vec![text(value).into()])),
            _ => Err(format!("{} cannot be converted to a list", class())),
        },
        "dict" => match value {
            Value::Object(_) => Ok(value.clone()),
            Value::String(text) => dict(text),
            _ => Err(format!("{} cannot be converted to a dict", class())),
        },
        "bool" => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::String(_) | Value::Number(_) => truth(value),
            _ => Err(format!("{} cannot be converted to a bool", class())),
        },
        "int" => {
            let whole = match value {
                Value::Bool(_) => Some(value.clone()),
                Value::Number(number) if !number.is_f64() => Some(value.clone()),
                Value::Number(number) => whole(&number.to_string()),
                Value::String(text) => whole(&text.trim().replace('_', "")),
                _ => None,
            };
            whole.ok_or_else(|| format!("\"{}\" cannot be converted to an int", repr(value)))
        }
        "float" => {
            let number = match value {
                Value::String(text) => text.trim().replace('_', "").parse().ok(),
                other => number(other),
            };
            // What is no number to JSON (`nan`) is one to Python.
            let number = number.map(|number| {
                serde_json::Number::from_f64(number).map_or_else(|| value.clone(), Value::Number)
            });
            number.ok_or_else(|| format!("{} cannot be converted to a float", class()))
        }
        "json" | "jsonarg" => match value {
            Value::String(text) => Ok(text.trim().into()),
            Value::Array(_) | Value::Object(_) => Ok(value.to_string().into()),
            _ => Err(format!("{} cannot be converted to a json string", class())),
        },
        "bytes" | "bits" => {
            let (is_bits, word) = (kind == "bits", if kind == "bits" { "Bit" } else { "Byte" });
            let size = bytes_of(&text(value), None, is_bits);
            size.map(Value::from)
                .ok_or_else(|| format!("{} cannot be converted to a {word} value", class()))
        }
        other => Err(format!("there is no type '{other}': {KINDS}")),
    }
}

/// Text; nothing is empty text.
fn plain(value: &Value) -> String {
    if value.is_null() {
        String::new()
    } else {
        text(value)
    }
}

fn truth(value: &Value) -> Result<Value, String> {
    let known = match value {
        // `1.0` is a boolean as a number, and none as text.
        Value::String(text) if text.trim().ends_with(".0") => None,
        Value::String(text) => boolean(text),
        other if number(other).is_some_and(|number| same(number, 1.0)) => Some(true),
        other if number(other).is_some_and(|number| same(number, 0.0)) => Some(false),
        _ => None,
    };
    known.map(Value::Bool).ok_or_else(|| {
        let mut all = String::new();
        for (words, number) in [(TRUE, 1), (FALSE, 0)] {
            for word in words {
                let _ = write!(all, "'{word}', ");
            }
            let _ = write!(all, "{number}, ");
        }
        format!(
            "The value '{}' is not a valid boolean. Valid booleans include: {}",
            text(value),
            all.trim_end_matches(", ")
        )
    })
}

/// A decimal number without a part behind the point.
fn whole(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    let number = text.parse::<f64>().ok()?;
    #[allow(clippy::cast_possible_truncation, reason = "the range was looked at")]
    let whole = (number.fract() == 0.0).then(|| {
        if number.abs() < 9e18 {
            Value::from(number as i64)
        } else {
            Value::from(number)
        }
    });
    whole
}

/// A mapping in text: JSON, Python's, or `a=1, b="x y"`.
pub(super) fn dict(text: &str) -> Result<Value, String> {
    if text.starts_with('{') {
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            return Ok(value);
        }
        return match to_json(&literal(text)) {
            map @ Value::Object(_) => Ok(map),
            _ => Err("unable to evaluate string as dictionary".to_owned()),
        };
    }
    if !text.contains('=') {
        return Err("dictionary requested, could not parse JSON or key=value".to_owned());
    }
    let (mut fields, mut field) = (Vec::new(), String::new());
    let (mut quote, mut is_escaped) = (None, false);
    for c in text.trim().chars() {
        match c {
            _ if is_escaped => {
                field.push(c);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '\'' | '"' if quote.is_none() => quote = Some(c),
            _ if quote == Some(c) => quote = None,
            ',' | ' ' if quote.is_none() => fields.push(std::mem::take(&mut field)),
            _ => field.push(c),
        }
    }
    fields.push(field);
    fields
        .iter()
        .filter(|field| !field.is_empty())
        .map(|field| {
            let (key, value) = field.split_once('=')?;
            Some((key.to_owned(), Value::from(value)))
        })
        .collect::<Option<Map<_, _>>>()
        .map(Value::Object)
        .ok_or_else(|| {
            "unable to evaluate string in the \"key=value\" format as dictionary".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_what_ansible_core_makes_of_them() {
        for (kind, value, expected) in [
            ("int", json!(" 7 "), json!(7)),
            ("int", json!("7.0"), json!(7)),
            ("int", json!(2.0), json!(2)),
            ("int", json!(true), json!(true)),
            ("bool", json!("Yes"), json!(true)),
            ("bool", json!(0), json!(false)),
            ("float", json!("1e3"), json!(1000.0)),
            ("str", json!(true), json!("True")),
            ("str", json!(null), json!("")),
            ("str", json!(["a", 1]), json!("['a', 1]")),
            ("list", json!("a, b"), json!(["a", " b"])),
            ("list", json!(3), json!(["3"])),
            ("dict", json!("a=1, b='x y'"), json!({"a": "1", "b": "x y"})),
            ("dict", json!("{'a': 1}"), json!({"a": 1})),
            ("json", json!(" [1] "), json!("[1]")),
            ("bytes", json!("1K"), json!(1024)),
            ("bits", json!("1Mb"), json!(1_048_576)),
        ] {
            assert_eq!(convert(kind, &value), Ok(expected), "{kind} {value}");
        }
        for (kind, value, problem) in [
            (
                "int",
                json!("1.5"),
                "\"'1.5'\" cannot be converted to an int",
            ),
            (
                "int",
                json!({"b": 1}),
                "\"{'b': 1}\" cannot be converted to an int",
            ),
            (
                "int",
                json!("inf"),
                "\"'inf'\" cannot be converted to an int",
            ),
            (
                "float",
                json!("x"),
                "<class 'str'> cannot be converted to a float",
            ),
            (
                "list",
                json!({}),
                "<class 'dict'> cannot be converted to a list",
            ),
            (
                "dict",
                json!("x"),
                "dictionary requested, could not parse JSON or key=value",
            ),
            (
                "json",
                json!(5),
                "<class 'int'> cannot be converted to a json string",
            ),
            (
                "bits",
                json!("5MB"),
                "<class 'str'> cannot be converted to a Bit value",
            ),
        ] {
            assert_eq!(
                convert(kind, &value),
                Err(problem.to_owned()),
                "{kind} {value}"
            );
        }
        assert!(
            convert("bool", &json!("1.0"))
                .unwrap_err()
                .contains("'1.0' is not a valid boolean")
        );
    }
}
