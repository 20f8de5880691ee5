//! Filters that make lists out of several lists, and take things out of containers by key.

use std::collections::HashSet;

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error};

use super::fail;

/// What a combining filter may give. Factorials grow past any memory; this is far above what a playbook means.
const MOST: usize = 1_000_000;
/// Values in one row.
const LONGEST: usize = 1000;
/// Values in all rows together.
const CELLS: usize = 8 * MOST;

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("zip", |first: Vec<Value>, others: Rest<Vec<Value>>| {
        zip(&first, &others)
    });
    env.add_filter("zip_longest", zip_longest);
    env.add_filter("product", product);
    env.add_filter("permutations", |items: Vec<Value>, size: Option<usize>| {
        arrange(&items, size.unwrap_or(items.len()), true)
    });
    env.add_filter("combinations", |items: Vec<Value>, size: usize| {
        arrange(&items, size, false)
    });
    env.add_filter("extract", extract);
    env.add_filter("subelements", subelements);
    env.add_filter("rekey_on_member", rekey_on_member);
}

/// As long as the shortest.
fn zip(first: &[Value], others: &[Vec<Value>]) -> Vec<Value> {
    let shortest = others.iter().map(Vec::len).min().unwrap_or(first.len());
    let rows = first.iter().enumerate().take(shortest);
    rows.map(|(at, item)| {
        let rest = others.iter().map(|other| other[at].clone());
        std::iter::once(item.clone()).chain(rest).collect()
    })
    .collect()
}

/// As long as the longest; `fillvalue` stands where there is nothing.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn zip_longest(
    first: Vec<Value>,
    others: Rest<Vec<Value>>,
    kwargs: Kwargs,
) -> Result<Vec<Value>, Error> {
    let fill = kwargs
        .get::<Option<Value>>("fillvalue")?
        .unwrap_or_else(|| Value::from(()));
    kwargs.assert_all_used()?;
    let all: Vec<&Vec<Value>> = std::iter::once(&first).chain(others.iter()).collect();
    let longest = all.iter().map(|list| list.len()).max().unwrap_or(0);
    Ok((0..longest)
        .map(|at| {
            all.iter()
                .map(|list| list.get(at).unwrap_or(&fill).clone())
                .collect()
        })
        .collect())
}

/// Every item with every item; the last list turns fastest.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn product(
    first: Vec<Value>,
    others: Rest<Vec<Value>>,
    kwargs: Kwargs,
) -> Result<Vec<Value>, Error> {
    let repeat = kwargs.get::<Option<usize>>("repeat")?.unwrap_or(1);
    // A list of one value makes one row, however long: each step copies it.
    if repeat > LONGEST {
        return Err(fail(format!("`repeat` is at most {LONGEST}, not {repeat}")));
    }
    kwargs.assert_all_used()?;
    let once: Vec<&Vec<Value>> = std::iter::once(&first).chain(others.iter()).collect();
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for _ in 0..repeat {
        for list in &once {
            // Rows of one value grow as well.
            let length = rows.first().map_or(0, Vec::len) + 1;
            let count = rows.len().saturating_mul(list.len());
            if count.saturating_mul(length) > CELLS || count > MOST {
                return Err(too_many("product"));
            }
            let longer = |row: &Vec<Value>| {
                let row = row.clone();
                list.iter()
                    .map(move |item| [row.as_slice(), std::slice::from_ref(item)].concat())
            };
            rows = rows.iter().flat_map(longer).collect();
            if rows.is_empty() {
                return Ok(Vec::new());
            }
        }
    }
    Ok(rows.into_iter().map(Value::from).collect())
}

fn too_many(filter: &str) -> Error {
    fail(format!(
        "`{filter}` would give more than {MOST} lists: give it less"
    ))
}

/// Choices of `size` items by their places, in the order of the places; `is_ordered` tells `ab` from `ba`.
fn arrange(items: &[Value], size: usize, is_ordered: bool) -> Result<Vec<Value>, Error> {
    let mut rows: Vec<Vec<usize>> = vec![Vec::new()];
    if size > items.len() {
        return Ok(Vec::new());
    }
    for chosen in 0..size {
        let mut longer = Vec::new();
        for row in &rows {
            let from = if is_ordered {
                0
            } else {
                row.last().map_or(0, |last| last + 1)
            };
            // A choice that could not be finished any more is not begun.
            let to = if is_ordered {
                items.len()
            } else {
                items.len() - (size - chosen - 1)
            };
            for at in (from..to).filter(|at| !is_ordered || !row.contains(at)) {
                if longer.len().saturating_mul(chosen + 1) > CELLS || longer.len() == MOST {
                    return Err(too_many(if is_ordered {
                        "permutations"
                    } else {
                        "combinations"
                    }));
                }
                longer.push([row.as_slice(), &[at]].concat());
            }
        }
        rows = longer;
    }
    let row = |row: Vec<usize>| row.into_iter().map(|at| items[at].clone()).collect();
    Ok(rows.into_iter().map(row).collect())
}

/// `key | extract(container, morekeys)`: what `map('extract', hostvars, 'x')` is made of.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn extract(
    key: &Value,
    container: &Value,
    more: Option<Value>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let more = kwargs.get::<Option<Value>>("morekeys")?.or(more);
    kwargs.assert_all_used()?;
    let mut found = container.get_item(key)?;
    let more = match more {
        Some(keys) if keys.kind() == ValueKind::Seq => keys.try_iter()?.collect(),
        Some(key) if !key.is_none() => vec![key],
        _ => Vec::new(),
    };
    for key in &more {
        if found.is_undefined() {
            break;
        }
        found = found.get_item(key)?;
    }
    Ok(found)
}

/// Each item of a list with each item of the list inside it: pairs.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn subelements(
    items: &Value,
    path: &Value,
    skip: Option<bool>,
    kwargs: Kwargs,
) -> Result<Vec<Value>, Error> {
    let skip = kwargs
        .get::<Option<bool>>("skip_missing")?
        .or(skip)
        .unwrap_or(false);
    kwargs.assert_all_used()?;
    let outer: Vec<Value> = match items.kind() {
        ValueKind::Map => items
            .try_iter()?
            .map(|key| items.get_item(&key))
            .collect::<Result<_, _>>()?,
        ValueKind::Seq => items.try_iter()?.collect(),
        other => {
            return Err(fail(format!(
                "`subelements` takes a list or a mapping, and was given {other}"
            )));
        }
    };
    let steps: Vec<Value> = match path.as_str() {
        Some(path) => path.split('.').map(Value::from).collect(),
        None => path.try_iter()?.collect(),
    };
    let mut pairs = Vec::new();
    for item in outer {
        let mut inner = item.clone();
        for step in &steps {
            inner = match inner.kind() {
                ValueKind::Map => inner.get_item(step)?,
                _ => {
                    return Err(fail(format!(
                        "`subelements` looks for `{step}` in a mapping, and found {}",
                        inner.kind()
                    )));
                }
            };
            if inner.is_undefined() {
                if skip {
                    inner = Value::from(Vec::<Value>::new());
                    break;
                }
                return Err(fail(format!(
                    "`subelements` finds no `{step}` in an item: `skip_missing=true` leaves such items out"
                )));
            }
        }
        if inner.kind() != ValueKind::Seq {
            return Err(fail(format!(
                "`subelements` wants a list at `{path}`, and found {}",
                inner.kind()
            )));
        }
        for sub in inner.try_iter()? {
            pairs.push([item.clone(), sub].into_iter().collect());
        }
    }
    Ok(pairs)
}

/// A list of mappings becomes a mapping by the value of one of their keys.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn rekey_on_member(
    items: &Value,
    member: &Value,
    duplicates: Option<String>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let duplicates = kwargs
        .get::<Option<String>>("duplicates")?
        .or(duplicates)
        .unwrap_or_else(|| "error".to_owned());
    kwargs.assert_all_used()?;
    if duplicates != "error" && duplicates != "overwrite" {
        return Err(fail("`duplicates` is `error` or `overwrite`"));
    }
    let all: Vec<Value> = match items.kind() {
        ValueKind::Map => items
            .try_iter()?
            .map(|key| items.get_item(&key))
            .collect::<Result<_, _>>()?,
        _ => items.try_iter()?.collect(),
    };
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for item in all {
        if item.kind() != ValueKind::Map {
            return Err(fail(format!(
                "`rekey_on_member` takes mappings, and found {}",
                item.kind()
            )));
        }
        let key = item.get_item(member)?;
        if key.is_undefined() {
            return Err(fail(format!(
                "`rekey_on_member` finds no `{member}` in an item"
            )));
        }
        if !seen.insert(key.clone()) && duplicates == "error" {
            return Err(fail(format!(
                "`rekey_on_member` finds `{key}` twice: `duplicates='overwrite'` keeps the last"
            )));
        }
        pairs.push((key, item));
    }
    Ok(Value::from_pairs(pairs))
}
