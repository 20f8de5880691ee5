//! Lookups that arrange what they are given.

use minijinja::value::ValueKind;

use super::{Found, Options};
use crate::template::{LookupCall, LookupError, Value, percent_format};

pub(super) fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

fn items(value: &Value) -> Vec<Value> {
    value.try_iter().map(Iterator::collect).unwrap_or_default()
}

/// One level flatter.
pub(super) fn flat(terms: &[Value]) -> Vec<Value> {
    let mut out = Vec::new();
    for term in terms {
        if is_list(term) {
            out.extend(items(term));
        } else {
            out.push(term.clone());
        }
    }
    out
}

/// Flat at all levels.
pub(super) fn flattened(terms: &[Value]) -> Vec<Value> {
    let mut out = Vec::new();
    for term in terms {
        if is_list(term) {
            out.extend(flattened(&items(term)));
        } else {
            out.push(term.clone());
        }
    }
    out
}

pub(super) fn list(call: &LookupCall) -> Found {
    Options::of(call, &[])?;
    Ok(call.terms.clone())
}

pub(super) fn indexed(terms: &[Value]) -> Vec<Value> {
    flat(terms)
        .into_iter()
        .enumerate()
        .map(|(at, item)| Value::from(vec![Value::from(at), item]))
        .collect()
}

pub(super) fn dict(call: &LookupCall) -> Found {
    Options::of(call, &[])?;
    let mut out = Vec::new();
    for term in &call.terms {
        if term.kind() != ValueKind::Map {
            return Err("with_dict expects a dict".into());
        }
        for key in items(term) {
            let value = term.get_item(&key).unwrap_or_default();
            out.push(Value::from_pairs([("key", key), ("value", value)]));
        }
    }
    Ok(out)
}

/// More is a mistake, and would cost memory.
const MOST: usize = 1_000_000;

/// Every item of the first list with every item of the next, and so on.
pub(super) fn nested(call: &LookupCall) -> Found {
    Options::of(call, &[])?;
    if call.terms.is_empty() {
        return Err("with_nested requires at least one element in the nested list".into());
    }
    let mut done: Vec<Vec<Value>> = vec![Vec::new()];
    for term in &call.terms {
        let next = if is_list(term) {
            items(term)
        } else {
            vec![term.clone()]
        };
        if done.len().saturating_mul(next.len()) > MOST {
            return Err("more than a million items".into());
        }
        done = done
            .iter()
            .flat_map(|head| {
                next.iter().map(|item| {
                    let mut row = head.clone();
                    row.extend(flat(std::slice::from_ref(item)));
                    row
                })
            })
            .collect();
    }
    Ok(done.into_iter().map(Value::from).collect())
}

/// The first items of all lists, the second ones, and so on; null where a list has ended.
pub(super) fn together(call: &LookupCall) -> Found {
    Options::of(call, &[])?;
    if call.terms.is_empty() {
        return Err("with_together requires at least one element in each list".into());
    }
    let columns: Vec<Vec<Value>> = call
        .terms
        .iter()
        .map(|term| {
            if is_list(term) {
                items(term)
            } else {
                vec![term.clone()]
            }
        })
        .collect();
    let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
    let row = |at: usize| {
        let row: Vec<Value> = columns
            .iter()
            .map(|column| column.get(at).cloned().unwrap_or_else(|| Value::from(())))
            .collect();
        Value::from(flat(&row))
    };
    Ok((0..longest).map(row).collect())
}

/// `start=1 end=5 stride=2 format=n%02d`, `2-10/2:n%02d`, or the same as options.
pub(super) fn sequence(call: &LookupCall) -> Found {
    const FIELDS: &[&str] = &["start", "end", "stride", "count", "format"];
    let options = Options::of(call, FIELDS)?;
    let mut terms: Vec<String> = call.terms.iter().map(ToString::to_string).collect();
    if terms.is_empty() && !call.options.is_empty() {
        terms.push(String::new());
    }
    let mut out = Vec::new();
    for term in terms {
        let mut fields = options.0.clone();
        if let Some(short) = shortcut(&term) {
            fields.extend(short);
        } else {
            let (named, rest) = crate::playbook::parse_words(&term, false)?;
            if !rest.is_empty() {
                return Err(format!("unrecognized arguments to with_sequence: {rest}").into());
            }
            for (name, value) in named {
                if !FIELDS.contains(&name.as_str()) {
                    return Err(format!("unrecognized arguments to with_sequence: {name}").into());
                }
                fields.insert(name, Value::from(value));
            }
        }
        steps(&fields, &mut out)?;
    }
    Ok(out)
}

/// `[start-]end[/stride][:format]`.
fn shortcut(term: &str) -> Option<Vec<(String, Value)>> {
    let (numbers, format) = term
        .split_once(':')
        .map_or((term, None), |(numbers, format)| (numbers, Some(format)));
    let (range, stride) = numbers
        .split_once('/')
        .map_or((numbers, None), |(range, stride)| (range, Some(stride)));
    let (start, end) = range
        .split_once('-')
        .map_or((None, range), |(start, end)| (Some(start), end));
    let mut fields = Vec::new();
    for (name, text) in [("start", start), ("end", Some(end)), ("stride", stride)] {
        if let Some(text) = text {
            number(text)?;
            fields.push((name.to_owned(), Value::from(text)));
        }
    }
    if let Some(format) = format {
        fields.push(("format".to_owned(), Value::from(format)));
    }
    Some(fields)
}

/// Decimal, `0x` or octal with a leading zero.
fn number(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or((1, text), |digits| (-1, digits));
    let lower = digits.to_lowercase();
    let number = if let Some(hex) = lower.strip_prefix("0x") {
        i64::from_str_radix(hex, 16)
    } else if lower.len() > 1 && lower.starts_with('0') {
        i64::from_str_radix(lower[1..].trim_start_matches('o'), 8)
    } else {
        lower.parse()
    };
    number.ok().map(|number| sign * number)
}

fn steps(
    fields: &indexmap::IndexMap<String, Value>,
    out: &mut Vec<Value>,
) -> Result<(), LookupError> {
    let get = |name: &str| -> Result<Option<i64>, LookupError> {
        fields
            .get(name)
            .map(|value| {
                number(&value.to_string()).ok_or_else(|| {
                    LookupError::Text(format!("can't parse {name}={value} as integer"))
                })
            })
            .transpose()
    };
    let start = get("start")?.unwrap_or(1);
    let stride = get("stride")?.unwrap_or(1);
    let end = match (get("count")?, get("end")?) {
        (None, None) => return Err("must specify count or end in with_sequence".into()),
        (Some(_), Some(_)) => {
            return Err("can't specify both count and end in with_sequence".into());
        }
        (Some(0), None) => return Ok(()),
        (Some(count), None) => start
            .saturating_add(count.saturating_mul(stride))
            .saturating_sub(1),
        (None, Some(end)) => end,
    };
    if stride > 0 && end < start {
        return Err("to count backwards make stride negative".into());
    }
    if stride < 0 && end > start {
        return Err("to count forward don't make stride negative".into());
    }
    if stride == 0 {
        return Ok(());
    }
    if end.abs_diff(start) / stride.unsigned_abs() > MOST as u64 {
        return Err("more than a million items".into());
    }
    let format = fields
        .get("format")
        .map_or_else(|| "%d".to_owned(), ToString::to_string);
    if format.matches('%').count() != 1 {
        return Err(format!("bad formatting string: {format}").into());
    }
    let mut at = start;
    while (stride > 0 && at <= end) || (stride < 0 && at >= end) {
        let text = percent_format(&format, &Value::from(at))
            .map_err(|problem| format!("problem formatting {at} with '{format}': {problem}"))?;
        out.push(Value::from(text));
        // The last number may be the last there is.
        let Some(next) = at.checked_add(stride) else {
            break;
        };
        at = next;
    }
    Ok(())
}

/// Each element with each item of a list inside of it; the element comes without that list, as in Ansible.
pub(super) fn subelements(call: &LookupCall) -> Found {
    Options::of(call, &[])?;
    let (elements, key, flags) = match call.terms.as_slice() {
        [elements, key] => (elements, key, None),
        [elements, key, flags] => (elements, key, Some(flags)),
        _ => return Err("subelements lookup expects a list of two or three items".into()),
    };
    let (true, Some(key)) = (
        is_list(elements) || elements.kind() == ValueKind::Map,
        key.as_str(),
    ) else {
        return Err("subelements lookup expects a list of two or three items, first a dict or a list, second a string pointing to the subkey".into());
    };
    let is_skipped =
        |value: &Value| matches!(value.get_attr("skipped"), Ok(skipped) if skipped.is_true());
    let elements = if elements.kind() == ValueKind::Map {
        if is_skipped(elements) {
            return Ok(Vec::new());
        }
        items(elements)
            .iter()
            .map(|key| elements.get_item(key).unwrap_or_default())
            .collect()
    } else {
        items(elements)
    };
    let skip_missing = flags.is_some_and(|flags| {
        flags.get_attr("skip_missing").is_ok_and(|value| {
            value.is_true() && !matches!(value.to_string().as_str(), "no" | "false" | "False")
        })
    });
    let path: Vec<&str> = key.split('.').collect();
    let mut out = Vec::new();
    for element in elements {
        if element.kind() != ValueKind::Map {
            return Err(format!("subelements lookup expects a dictionary, got '{element}'").into());
        }
        if is_skipped(&element) {
            continue;
        }
        let Some(list) = below(&element, &path, skip_missing)? else {
            continue;
        };
        let rest = without(&element, &path);
        out.extend(
            items(&list)
                .into_iter()
                .map(|item| Value::from(vec![rest.clone(), item])),
        );
    }
    Ok(out)
}

fn below(element: &Value, path: &[&str], skip: bool) -> Result<Option<Value>, LookupError> {
    let mut value = element.clone();
    for (at, key) in path.iter().enumerate() {
        let next = value.get_attr(key).unwrap_or_default();
        if next.is_undefined() {
            return if skip {
                Ok(None)
            } else {
                Err(format!("could not find '{key}' key in iterated item '{value}'").into())
            };
        }
        let is_last = at + 1 == path.len();
        if is_last && !is_list(&next) {
            return Err(format!("the key {key} should point to a list, got '{next}'").into());
        }
        if !is_last && next.kind() != ValueKind::Map {
            return if skip {
                Ok(None)
            } else {
                Err(format!("the key {key} should point to a dictionary, got '{next}'").into())
            };
        }
        value = next;
    }
    Ok(Some(value))
}

fn without(element: &Value, path: &[&str]) -> Value {
    let Some((first, rest)) = path.split_first() else {
        return element.clone();
    };
    let mut entries = Vec::new();
    for key in items(element) {
        let value = element.get_item(&key).unwrap_or_default();
        if key.as_str() == Some(first) {
            if !rest.is_empty() {
                entries.push((key, without(&value, rest)));
            }
        } else {
            entries.push((key, value));
        }
    }
    Value::from_pairs(entries)
}
