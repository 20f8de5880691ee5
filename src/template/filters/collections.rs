//! Filters over lists and mappings.

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error};

use super::fail;

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("dict2items", dict2items);
    env.add_filter("items2dict", items2dict);
    env.add_filter("combine", combine);
    env.add_filter("flatten", flatten);
    env.add_filter("union", |a: Vec<Value>, b: Vec<Value>| {
        unique(a.into_iter().chain(b))
    });
    env.add_filter("intersect", |a: Vec<Value>, b: Vec<Value>| {
        unique(a.into_iter().filter(|item| b.contains(item)))
    });
    env.add_filter("difference", |a: Vec<Value>, b: Vec<Value>| {
        unique(a.into_iter().filter(|item| !b.contains(item)))
    });
    env.add_filter("symmetric_difference", |a: Vec<Value>, b: Vec<Value>| {
        let only_b: Vec<Value> = b.iter().filter(|item| !a.contains(item)).cloned().collect();
        unique(a.into_iter().filter(|item| !b.contains(item)).chain(only_b))
    });
}

/// Equal values once, the first of each.
fn unique(items: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}

fn entries(value: &Value, filter: &str) -> Result<Vec<(Value, Value)>, Error> {
    if value.kind() != ValueKind::Map {
        return Err(fail(format!(
            "`{filter}` takes a mapping, and was given {}",
            value.kind()
        )));
    }
    value
        .try_iter()?
        .map(|key| Ok((key.clone(), value.get_item(&key)?)))
        .collect()
}

fn names(kwargs: &Kwargs) -> Result<(String, String), Error> {
    let name = |key: &str, default: &str| {
        Ok::<_, Error>(
            kwargs
                .get::<Option<String>>(key)?
                .unwrap_or_else(|| default.to_owned()),
        )
    };
    let names = (name("key_name", "key")?, name("value_name", "value")?);
    kwargs.assert_all_used()?;
    Ok(names)
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn dict2items(value: &Value, kwargs: Kwargs) -> Result<Vec<Value>, Error> {
    let (key_name, value_name) = names(&kwargs)?;
    let items = entries(value, "dict2items")?.into_iter();
    Ok(items
        .map(|(key, value)| {
            Value::from_pairs([(key_name.clone(), key), (value_name.clone(), value)])
        })
        .collect())
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn items2dict(items: Vec<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let (key_name, value_name) = names(&kwargs)?;
    let pick = |item: &Value, name: &str| {
        let found = item.get_item(&Value::from(name))?;
        if found.is_undefined() {
            Err(fail(format!("`items2dict` needs `{name}` in every item")))
        } else {
            Ok(found)
        }
    };
    let pairs = items
        .iter()
        .map(|item| Ok((pick(item, &key_name)?, pick(item, &value_name)?)));
    Ok(Value::from_pairs(pairs.collect::<Result<Vec<_>, Error>>()?))
}

/// Later mappings win; `recursive` merges mappings inside, and `list_merge` says what becomes of lists.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn combine(first: &Value, others: Rest<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let recursive = kwargs.get::<Option<bool>>("recursive")?.unwrap_or(false);
    let lists = kwargs
        .get::<Option<String>>("list_merge")?
        .unwrap_or_else(|| "replace".to_owned());
    kwargs.assert_all_used()?;
    if ![
        "replace",
        "keep",
        "append",
        "prepend",
        "append_rp",
        "prepend_rp",
    ]
    .contains(&lists.as_str())
    {
        return Err(fail(
            "`list_merge` is one of replace, keep, append, prepend, append_rp, prepend_rp",
        ));
    }
    let mut all = Vec::new();
    for value in std::iter::once(first).chain(others.iter()) {
        // A list of mappings counts as its mappings.
        match value.kind() {
            ValueKind::Seq => all.extend(value.try_iter()?),
            _ => all.push(value.clone()),
        }
    }
    let mut all = all.into_iter();
    let Some(mut merged) = all.next() else {
        return Ok(Value::from_pairs::<_, String, Value>([]));
    };
    entries(&merged, "combine")?;
    for next in all {
        merged = merge(&merged, &next, recursive, &lists)?;
    }
    Ok(merged)
}

fn merge(a: &Value, b: &Value, recursive: bool, lists: &str) -> Result<Value, Error> {
    let mut merged = entries(a, "combine")?;
    for (key, new) in entries(b, "combine")? {
        let Some((_, old)) = merged.iter_mut().find(|(known, _)| *known == key) else {
            merged.push((key, new));
            continue;
        };
        *old = match (old.kind(), new.kind()) {
            (ValueKind::Map, ValueKind::Map) if recursive => merge(old, &new, true, lists)?,
            (ValueKind::Seq, ValueKind::Seq) => list(old, &new, lists)?,
            _ => new,
        };
    }
    Ok(Value::from_pairs(merged))
}

fn list(old: &Value, new: &Value, how: &str) -> Result<Value, Error> {
    let (old_items, new_items): (Vec<Value>, Vec<Value>) =
        (old.try_iter()?.collect(), new.try_iter()?.collect());
    let without = |items: &[Value], present: &[Value]| {
        items
            .iter()
            .filter(|item| !present.contains(item))
            .cloned()
            .collect::<Vec<_>>()
    };
    Ok(match how {
        "keep" => old.clone(),
        "append" => [old_items, new_items].concat().into(),
        "prepend" => [new_items, old_items].concat().into(),
        "append_rp" => [without(&old_items, &new_items), new_items].concat().into(),
        "prepend_rp" => [new_items.clone(), without(&old_items, &new_items)]
            .concat()
            .into(),
        _ => new.clone(),
    })
}

/// Lists in lists, to `levels` deep or all the way; nulls are dropped unless `skip_nulls` is false.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn flatten(items: Vec<Value>, levels: Option<usize>, kwargs: Kwargs) -> Result<Vec<Value>, Error> {
    let levels = kwargs.get::<Option<usize>>("levels")?.or(levels);
    let skip_nulls = kwargs.get::<Option<bool>>("skip_nulls")?.unwrap_or(true);
    kwargs.assert_all_used()?;
    let mut flat = Vec::new();
    collect(items, levels, skip_nulls, &mut flat)?;
    Ok(flat)
}

fn collect(
    items: impl IntoIterator<Item = Value>,
    levels: Option<usize>,
    skip_nulls: bool,
    flat: &mut Vec<Value>,
) -> Result<(), Error> {
    for item in items {
        if item.is_none() && skip_nulls {
            continue;
        }
        if item.kind() == ValueKind::Seq && levels != Some(0) {
            collect(
                item.try_iter()?,
                levels.map(|levels| levels - 1),
                skip_nulls,
                flat,
            )?;
        } else {
            flat.push(item);
        }
    }
    Ok(())
}
