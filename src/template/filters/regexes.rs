//! Filters and tests over regular expressions, as Python's `re` has them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

use layerplay_modules::python_regex::{Flags, Pattern, Problem};
use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error};

use super::fail;

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("regex_replace", replace);
    env.add_filter("regex_search", search);
    env.add_filter("regex_findall", findall);
    env.add_filter("regex_escape", escape);
    env.add_test("match", |text: &Value, pattern: &str, kwargs: Kwargs| {
        test(text, pattern, Some("match"), &kwargs)
    });
    env.add_test("search", |text: &Value, pattern: &str, kwargs: Kwargs| {
        test(text, pattern, Some("search"), &kwargs)
    });
    env.add_test("regex", |text: &Value, pattern: &str, kwargs: Kwargs| {
        test(text, pattern, None, &kwargs)
    });
}

/// As Python's `re.escape`, which escapes white space, `-`, `&` and `~` too.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Compiled patterns that are kept.
const PATTERNS: usize = 500;

fn compile(pattern: &str, flags: Flags) -> Result<Arc<Pattern>, Error> {
    type Compiled = HashMap<(String, Flags), Arc<Pattern>>;
    static COMPILED: LazyLock<RwLock<Compiled>> = LazyLock::new(RwLock::default);
    let key = (pattern.to_owned(), flags);
    if let Some(known) = COMPILED
        .read()
        .ok()
        .and_then(|compiled| compiled.get(&key).cloned())
    {
        return Ok(known);
    }
    let regex = Pattern::text(pattern, flags)
        .map(Arc::new)
        .map_err(|problem| fail(format!("`{pattern}` is no regular expression: {problem}")))?;
    if let Ok(mut compiled) = COMPILED.write() {
        // Patterns are few, unless they are made of data.
        if compiled.len() >= PATTERNS {
            compiled.clear();
        }
        compiled.insert(key, Arc::clone(&regex));
    }
    Ok(regex)
}

/// The flags by their names, else as they stand in Ansible's order.
fn flags(
    kwargs: &Kwargs,
    ignore_case: Option<bool>,
    multiline: Option<bool>,
) -> Result<Flags, Error> {
    let named = |name, default: Option<bool>| {
        kwargs
            .get::<Option<bool>>(name)
            .map(|flag| flag.or(default).unwrap_or(false))
    };
    Ok(Flags {
        ignore_case: named("ignorecase", ignore_case)?,
        multiline: named("multiline", multiline)?,
        dotall: false,
    })
}

/// Backtracking has a limit: a pattern that would run for ever is told.
#[allow(clippy::needless_pass_by_value, reason = "handed over by `map_err`")]
fn told(problem: Problem) -> Error {
    fail(problem.to_string())
}

fn test(value: &Value, pattern: &str, kind: Option<&str>, kwargs: &Kwargs) -> Result<bool, Error> {
    let flags = flags(kwargs, None, None)?;
    let kind = match kind {
        Some(kind) => kind.to_owned(),
        None => kwargs
            .get::<Option<String>>("match_type")?
            .unwrap_or_else(|| "search".to_owned()),
    };
    kwargs.assert_all_used()?;
    let text = value.to_string();
    let regex = compile(pattern, flags)?;
    match kind.as_str() {
        "match" => regex.is_match_at_start(&text),
        "fullmatch" => compile(&format!("(?:{pattern})\\Z"), flags)?.is_match_at_start(&text),
        _ => regex.is_match(&text),
    }
    .map_err(told)
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn replace(
    value: &Value,
    pattern: Option<String>,
    replacement: Option<String>,
    more: Rest<bool>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let flags = flags(&kwargs, more.first().copied(), more.get(1).copied())?;
    let named = |name: &str, given: Option<String>| {
        kwargs
            .get::<Option<String>>(name)
            .map(|text| text.or(given).unwrap_or_default())
    };
    let pattern = named("pattern", pattern)?;
    let replacement = named("replacement", replacement)?;
    let count = kwargs.get::<Option<usize>>("count")?.unwrap_or(0);
    let wanted = kwargs.get::<Option<usize>>("mandatory_count")?.unwrap_or(0);
    kwargs.assert_all_used()?;
    let text = value.to_string();
    let most = if count == 0 { usize::MAX } else { count };
    let (out, found) = compile(&pattern, flags)?
        .replace(&replacement, &text, most)
        .map_err(told)?;
    if wanted != 0 && wanted != found {
        return Err(fail(format!(
            "'{pattern}' should match {wanted} times, but matches {found} times in '{text}'"
        )));
    }
    Ok(out)
}

/// The match, or with `'\\1'`, `'\\g<name>'` the groups as a list; nothing when there is none.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn search(
    value: &Value,
    pattern: &str,
    groups: Rest<String>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let flags = flags(&kwargs, None, None)?;
    kwargs.assert_all_used()?;
    let wanted = groups.iter().map(|group| {
        let number = group.strip_prefix('\\').map(|number| {
            let digits = number.len()
                - number
                    .trim_start_matches(|c: char| c.is_ascii_digit())
                    .len();
            &number[..digits]
        });
        group
            .strip_prefix("\\g<")
            .and_then(|name| name.strip_suffix('>'))
            .or(number)
            .filter(|name| !name.is_empty())
            .ok_or_else(|| fail("Unknown argument"))
    });
    let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
    let text = value.to_string();
    let regex = compile(pattern, flags)?;
    let Some(found) = regex.search(&text).map_err(told)? else {
        return Ok(Value::from(()));
    };
    if wanted.is_empty() {
        return Ok(Value::from(found.get(0).map_or("", |whole| whole.as_str())));
    }
    let group = |name: &&str| regex.group(&found, name).map(Value::from).map_err(told);
    let groups = wanted.iter().map(group);
    Ok(Value::from(groups.collect::<Result<Vec<_>, _>>()?))
}

/// All matches; with one group that group of each, with several a list of each.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn findall(
    value: &Value,
    pattern: &str,
    multiline: Option<bool>,
    ignore_case: Option<bool>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let flags = flags(&kwargs, ignore_case, multiline)?;
    kwargs.assert_all_used()?;
    let text = value.to_string();
    let regex = compile(pattern, flags)?;
    let found = regex.find_all(&text, usize::MAX).map_err(told)?;
    let all = found.iter().map(|found| {
        let group =
            |number: usize| Value::from(found.get(number).map_or("", |group| group.as_str()));
        match found.len() {
            1 => group(0),
            2 => group(1),
            groups => Value::from((1..groups).map(group).collect::<Vec<_>>()),
        }
    });
    Ok(Value::from(all.collect::<Vec<_>>()))
}
