//! Tests over registered results (`is failed`, `is changed`), and over plain values: versions, truth, lists.

use std::cmp::Ordering;

use layerplay_modules::core::arguments::boolean;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error};

use super::fail;

pub(super) fn add_to(env: &mut Environment<'static>) {
    for name in ["failed", "failure"] {
        env.add_test(name, |result: &Value| flag(result, "failed", "failed"));
    }
    // A skipped result succeeded: nothing went wrong (ansible-core: plugins/test/core.py).
    for name in ["succeeded", "success", "successful"] {
        env.add_test(name, |result: &Value| {
            flag(result, "failed", "succeeded").map(|failed| !failed)
        });
    }
    for name in ["changed", "change"] {
        env.add_test(name, changed);
    }
    for name in ["skipped", "skip"] {
        env.add_test(name, |result: &Value| flag(result, "skipped", "skipped"));
    }
    env.add_test("unreachable", |result: &Value| {
        flag(result, "unreachable", "unreachable")
    });
    env.add_test("reachable", |result: &Value| {
        flag(result, "unreachable", "reachable").map(|lost| !lost)
    });
    // Of a task that was not asynchronous both hold.
    for name in ["started", "finished"] {
        env.add_test(name, move |result: &Value| {
            if result.kind() != ValueKind::Map {
                return Err(fail(format!("`{name}` is asked of a task's result")));
            }
            let flag = result.get_item(&Value::from(name))?;
            Ok(flag.is_undefined() || flag.is_true())
        });
    }
    env.add_test("timedout", |result: &Value| {
        flag(result, "timedout", "timedout")
    });
    env.add_test("version", version);
    env.add_test("version_compare", version);
    env.add_test("truthy", |value: &Value, kwargs: Kwargs| {
        truth(value, &kwargs)
    });
    env.add_test("falsy", |value: &Value, kwargs: Kwargs| {
        truth(value, &kwargs).map(|truth| !truth)
    });
    env.add_test("contains", contains);
    for name in ["subset", "issubset"] {
        env.add_test(name, |part: &Value, whole: &Value| {
            contains_all(whole, part)
        });
    }
    for name in ["superset", "issuperset"] {
        env.add_test(name, |whole: &Value, part: &Value| {
            contains_all(whole, part)
        });
    }
    env.add_test("any", |list: &Value| {
        Ok::<_, Error>(items(list)?.iter().any(Value::is_true))
    });
    env.add_test("all", |list: &Value| {
        Ok::<_, Error>(items(list)?.iter().all(Value::is_true))
    });
}

fn flag(result: &Value, key: &str, test: &str) -> Result<bool, Error> {
    if result.kind() != ValueKind::Map {
        return Err(fail(format!(
            "The '{test}' test expects a dictionary: the result of a task"
        )));
    }
    Ok(result.get_item(&Value::from(key))?.is_true())
}

/// A loop's result changed when one of its items did, also where the whole does not say so.
fn changed(result: &Value) -> Result<bool, Error> {
    let own = result.get_item(&Value::from("changed")).unwrap_or_default();
    if result.kind() == ValueKind::Map && own.is_undefined() {
        let results = result.get_item(&Value::from("results"))?;
        let mut each = results.try_iter().into_iter().flatten();
        return Ok(each.any(|item| {
            item.get_item(&Value::from("changed"))
                .is_ok_and(|changed| changed.is_true())
        }));
    }
    flag(result, "changed", "changed")
}

fn items(list: &Value) -> Result<Vec<Value>, Error> {
    match list.kind() {
        ValueKind::String => Ok(list
            .as_str()
            .unwrap_or_default()
            .chars()
            .map(|c| Value::from(c.to_string()))
            .collect()),
        _ => Ok(list.try_iter()?.collect()),
    }
}

/// A text contains its parts, a list its items, a mapping its keys.
fn contains(whole: &Value, part: &Value) -> Result<bool, Error> {
    match (whole.as_str(), part.as_str()) {
        (Some(whole), Some(part)) => Ok(whole.contains(part)),
        _ => Ok(items(whole)?.contains(part)),
    }
}

fn contains_all(whole: &Value, part: &Value) -> Result<bool, Error> {
    let whole = items(whole)?;
    Ok(items(part)?.iter().all(|item| whole.contains(item)))
}

/// `convert_bool=true` reads yes and no in text.
fn truth(value: &Value, kwargs: &Kwargs) -> Result<bool, Error> {
    let convert = kwargs.get::<Option<bool>>("convert_bool")?.unwrap_or(false);
    kwargs.assert_all_used()?;
    let said = value.as_str().filter(|_| convert).and_then(boolean);
    Ok(said.unwrap_or_else(|| value.is_true()))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the engine gives keyword arguments by value"
)]
/// `a is version('1.10', '>=')`; `strict=true` and `version_type=` choose how texts are read.
fn version(
    value: &Value,
    other: &Value,
    operator: Option<String>,
    kwargs: Kwargs,
) -> Result<bool, Error> {
    let by_name: Option<String> = kwargs.get("operator")?;
    let strict: Option<bool> = kwargs.get("strict")?;
    let kind: Option<String> = kwargs.get("version_type")?;
    kwargs.assert_all_used()?;
    let operator = operator.or(by_name).unwrap_or_else(|| "==".to_owned());
    let (one, other) = (value.to_string(), other.to_string());
    if one.is_empty() || other.is_empty() {
        return Err(fail("Input version value cannot be empty"));
    }
    let order = match (kind.as_deref(), strict.unwrap_or(false)) {
        (Some("semver" | "semantic"), _) => semantic(&one)?.cmp_precedence(&semantic(&other)?),
        (Some("strict"), _) | (None, true) => numbers(&one)?.cmp(&numbers(&other)?),
        (Some("pep440"), _) => python(&one)?.cmp(&python(&other)?),
        (None | Some("loose"), _) => loose(&one, &other)?,
        (Some(other), _) => {
            return Err(fail(format!(
                "Invalid version type ({other}). Must be one of loose, strict, semver, semantic, pep440"
            )));
        }
    };
    match operator.as_str() {
        "==" | "=" | "eq" => Ok(order == Ordering::Equal),
        "!=" | "<>" | "ne" => Ok(order != Ordering::Equal),
        ">" | "gt" => Ok(order == Ordering::Greater),
        ">=" | "ge" => Ok(order != Ordering::Less),
        "<" | "lt" => Ok(order == Ordering::Less),
        "<=" | "le" => Ok(order != Ordering::Greater),
        other => Err(fail(format!(
            "Invalid operator type ({other}). Must be one of =, ==, eq, <, lt, <=, le, >, gt, >=, ge, !=, <>, ne"
        ))),
    }
}

/// Runs of digits and runs of letters, as Python's `LooseVersion` splits a version.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_digit = |c: char| c.is_ascii_digit();
        let is_letter = |c: char| c.is_ascii_lowercase();
        let end = if is_digit(first) {
            rest.find(|c| !is_digit(c)).unwrap_or(rest.len())
        } else if is_letter(first) {
            rest.find(|c| !is_letter(c)).unwrap_or(rest.len())
        } else {
            rest.find(|c| is_digit(c) || is_letter(c))
                .unwrap_or(rest.len())
        };
        let (part, after) = rest.split_at(end);
        if part != "." {
            parts.push(part);
        }
        rest = after;
    }
    parts
}

fn loose(one: &str, other: &str) -> Result<Ordering, Error> {
    let (one_parts, other_parts) = (parts(one), parts(other));
    for (a, b) in one_parts.iter().zip(&other_parts) {
        let order = match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            (Err(_), Err(_)) => a.cmp(b),
            // Python cannot order a number and a word either.
            _ => {
                return Err(fail(format!(
                    "Version comparison failed: `{one}` and `{other}` differ in form"
                )));
            }
        };
        if order != Ordering::Equal {
            return Ok(order);
        }
    }
    Ok(one_parts.len().cmp(&other_parts.len()))
}

fn numbers(text: &str) -> Result<Vec<u64>, Error> {
    let read = |text: &str| {
        text.split('.')
            .map(|part| part.parse().ok())
            .collect::<Option<Vec<u64>>>()
    };
    let mut numbers = read(text).ok_or_else(|| fail(format!("invalid version number '{text}'")))?;
    // `1.0` and `1.0.0` are the same.
    while numbers.len() > 1 && numbers.last() == Some(&0) {
        numbers.pop();
    }
    Ok(numbers)
}

fn semantic(text: &str) -> Result<semver::Version, Error> {
    semver::Version::parse(text)
        .map_err(|problem| fail(format!("invalid semantic version '{text}': {problem}")))
}

fn python(text: &str) -> Result<pep440_rs::Version, Error> {
    text.parse()
        .map_err(|problem| fail(format!("Invalid version: '{text}': {problem}")))
}
