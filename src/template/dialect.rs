//! The engine, set up for Ansible's dialect. One for the process: it holds nothing of a run.

use std::sync::OnceLock;

use minijinja::value::{Kwargs, Object, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior};

use super::rewrite::{ATTRIBUTE, ITEM};

/// Stands for "not given" in arguments, mappings and lists.
#[derive(Debug)]
pub(super) struct Omit;

impl Object for Omit {
    fn render(self: &std::sync::Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("__omit_place_holder__")
    }
}

/// Work that a template may do before it counts as runaway. A loop over ten thousand hosts stays far below.
const FUEL: u64 = 50_000_000;

/// The engine.
pub(super) fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(build)
}

fn build() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    // Names like `x.yaml` would be escaped as JSON otherwise.
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_debug(true);
    env.set_fuel(Some(FUEL));
    let mut syntax = minijinja::syntax::SyntaxConfig::builder();
    syntax.trim_blocks(true);
    if let Ok(syntax) = syntax.build() {
        env.set_syntax(syntax);
    }
    // A null that is itself an output prints as nothing (ansible-core 2.19); elsewhere it is `None`.
    env.set_formatter(|out, state, value| {
        // Printed as a whole: nothing undefined in it, and tuples are lists, as in Ansible.
        let settled = match value.kind() {
            ValueKind::Seq | ValueKind::Map => super::expand::settle(value)?,
            _ => value.clone(),
        };
        super::outputs::seen(&settled);
        if settled.is_none() {
            Ok(())
        } else {
            minijinja::escape_formatter(out, state, &settled)
        }
    });
    env.set_unknown_method_callback(super::methods::call);
    env.add_global("omit", Value::from_object(Omit));
    env.add_function("dict", dict);
    env.add_function("undef", undef);
    env.add_filter(ATTRIBUTE, step);
    env.add_filter(ITEM, step);
    env.add_filter("default", default);
    env.add_filter("d", default);
    env.add_filter("mandatory", mandatory);
    env.add_filter("bool", boolean);
    env.add_filter("int", int);
    env.add_filter("float", float);
    env.add_filter("ternary", ternary);
    super::clock::add_to(&mut env);
    super::operators::add_to(&mut env);
    super::filters::add_to(&mut env);
    env
}

/// A value that is undefined on purpose, with the reason.
fn undef(hint: Option<String>) -> Value {
    super::expand::nowhere(hint);
    Value::UNDEFINED
}

/// Python's `dict()`: of a mapping, of pairs, of keywords.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn dict(from: Option<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let mut entries: Vec<(Value, Value)> = Vec::new();
    if let Some(from) = from {
        let is_map = from.kind() == ValueKind::Map;
        for entry in from.try_iter()? {
            if is_map {
                let value = from.get_item(&entry)?;
                entries.push((entry, value));
                continue;
            }
            let pair: Vec<Value> = entry.try_iter()?.collect();
            let [key, value] = pair.as_slice() else {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "`dict` takes a mapping, or pairs of a key and a value",
                ));
            };
            entries.push((key.clone(), value.clone()));
        }
    }
    let names: Vec<String> = kwargs.args().map(ToOwned::to_owned).collect();
    for name in names {
        let value = kwargs.get::<Value>(&name)?;
        entries.push((Value::from(name), value));
    }
    Ok(Value::from_pairs(entries))
}

/// One step of a chain. What is undefined is handed on, and fails where it is used.
fn step(value: &Value, key: &Value) -> Result<Value, Error> {
    if value.is_undefined() {
        return Ok(Value::UNDEFINED);
    }
    let found = value.get_item(key)?;
    // Python's negative indexes, and attributes that are methods elsewhere, are the engine's own business.
    if found.is_undefined() {
        let kind = super::explain::python_type(value);
        let name = match key.as_str() {
            Some(name) => format!("'{name}'"),
            None => key.to_string(),
        };
        super::expand::nowhere(Some(format!(
            "object of type '{kind}' has no attribute {name}"
        )));
    }
    Ok(found)
}

/// `default(value, true)` also replaces what is false.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn default(
    value: &Value,
    other: Option<Value>,
    also_false: Option<bool>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let also_false = kwargs
        .get::<Option<bool>>("boolean")?
        .or(also_false)
        .unwrap_or(false);
    let other = match kwargs.get::<Option<Value>>("default_value")? {
        Some(other) => other,
        None => other.unwrap_or_else(|| Value::from("")),
    };
    kwargs.assert_all_used()?;
    Ok(
        if value.is_undefined() || (also_false && !value.is_true()) {
            other
        } else {
            value.clone()
        },
    )
}

/// What is said of a variable without a name.
pub(super) const MANDATORY: &str = "Mandatory variable not defined.";

fn mandatory(value: &Value, message: Option<String>) -> Result<Value, Error> {
    if value.is_undefined() {
        let message = message.unwrap_or_else(|| MANDATORY.to_owned());
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    Ok(value.clone())
}

/// Ansible's `bool`: text like `yes`, numbers 0 and 1; everything else is false.
fn boolean(value: &Value) -> Value {
    match value.kind() {
        ValueKind::Bool => value.clone(),
        ValueKind::Number => Value::from(*value == Value::from(1)),
        _ => {
            let text = value.as_str().map(str::to_lowercase);
            Value::from(matches!(text.as_deref(), Some("yes" | "on" | "1" | "true")))
        }
    }
}

/// `'zz' | int` is 0; `'0x1f' | int(base=16)` is 31.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn int(
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let base = kwargs.get::<Option<u32>>("base")?.or(base).unwrap_or(10);
    let default = kwargs
        .get::<Option<Value>>("default")?
        .or(default)
        .unwrap_or_else(|| Value::from(0));
    kwargs.assert_all_used()?;
    if !(2..=36).contains(&base) {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "a base is from 2 to 36",
        ));
    }
    Ok(match value.kind() {
        ValueKind::Bool => Value::from(i64::from(value.is_true())),
        ValueKind::Number if value.is_integer() => value.clone(),
        ValueKind::Number => f64::try_from(value.clone())
            .ok()
            .and_then(truncate)
            .unwrap_or(default),
        ValueKind::String => {
            let text = value
                .as_str()
                .unwrap_or_default()
                .trim()
                .replace('_', "")
                .to_lowercase();
            let (sign, digits) = text
                .strip_prefix('-')
                .map_or(("", text.trim_start_matches('+')), |digits| ("-", digits));
            let prefix = match base {
                16 => "0x",
                8 => "0o",
                2 => "0b",
                _ => "",
            };
            let digits = digits.strip_prefix(prefix).unwrap_or(digits);
            let whole = i128::from_str_radix(&format!("{sign}{digits}"), base)
                .ok()
                .map(narrow);
            // Jinja2: text that is no integer is tried as a float.
            whole
                .or_else(|| text.parse::<f64>().ok().and_then(truncate))
                .unwrap_or(default)
        }
        _ => default,
    })
}

fn narrow(value: i128) -> Value {
    i64::try_from(value).map_or_else(|_| Value::from(value), Value::from)
}

fn truncate(value: f64) -> Option<Value> {
    #[allow(clippy::cast_possible_truncation, reason = "the range was looked at")]
    (value.is_finite() && value.abs() < 1e38).then(|| narrow(value.trunc() as i128))
}

fn float(value: &Value, default: Option<f64>) -> Value {
    let default = default.unwrap_or(0.0);
    Value::from(match value.kind() {
        ValueKind::Bool => f64::from(u8::from(value.is_true())),
        ValueKind::Number => f64::try_from(value.clone()).unwrap_or(default),
        ValueKind::String => value
            .as_str()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(default),
        _ => default,
    })
}

/// `x | ternary('yes', 'no', none)`.
fn ternary(_: &State, value: &Value, yes: Value, no: Value, none: Option<Value>) -> Value {
    match none {
        Some(none) if value.is_none() => none,
        _ if value.is_true() => yes,
        _ => no,
    }
}
