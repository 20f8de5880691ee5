//! Filters and tests over regular expressions in Python's dialect: look-around, back references, named groups.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

use fancy_regex::{Captures, Regex};
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error};

use super::fail;

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("regex_replace", replace);
    env.add_filter("regex_search", search);
    env.add_filter("regex_findall", findall);
    env.add_filter("regex_escape", escape);
    env.add_test("match", |text: &str, pattern: &str, kwargs: Kwargs| {
        test(text, &format!(r"\A(?:{pattern})"), &kwargs)
    });
    env.add_test("search", |text: &str, pattern: &str, kwargs: Kwargs| {
        test(text, pattern, &kwargs)
    });
    env.add_test("regex", |text: &str, pattern: &str, kwargs: Kwargs| {
        test(text, pattern, &kwargs)
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

/// Python writes a named group `(?P<n>..)` as Rust does, and its back reference `(?P=n)`; `\Z` is the very end.
fn compile(pattern: &str, ignore_case: bool, multiline: bool) -> Result<Arc<Regex>, Error> {
    static COMPILED: LazyLock<RwLock<HashMap<String, Arc<Regex>>>> = LazyLock::new(RwLock::default);
    let flags = match (ignore_case, multiline) {
        (true, true) => "(?im)",
        (true, false) => "(?i)",
        (false, true) => "(?m)",
        (false, false) => "",
    };
    let pattern = pattern.replace(r"\Z", r"\z");
    let whole = format!("{flags}{pattern}");
    if let Some(known) = COMPILED
        .read()
        .ok()
        .and_then(|compiled| compiled.get(&whole).cloned())
    {
        return Ok(known);
    }
    let regex = Regex::new(&whole)
        .map(Arc::new)
        .map_err(|problem| fail(format!("`{pattern}` is no regular expression: {problem}")))?;
    if let Ok(mut compiled) = COMPILED.write() {
        // Patterns are few, unless they are made of data.
        if compiled.len() >= PATTERNS {
            compiled.clear();
        }
        compiled.insert(whole, Arc::clone(&regex));
    }
    Ok(regex)
}

fn flags(kwargs: &Kwargs) -> Result<(bool, bool), Error> {
    let flags = (
        kwargs.get::<Option<bool>>("ignorecase")?.unwrap_or(false),
        kwargs.get::<Option<bool>>("multiline")?.unwrap_or(false),
    );
    Ok(flags)
}

fn run<T>(result: Result<T, fancy_regex::Error>) -> Result<T, Error> {
    // Backtracking has a limit: a pattern that would run for ever is told.
    result.map_err(|problem| fail(format!("the regular expression gave up: {problem}")))
}

fn test(text: &str, pattern: &str, kwargs: &Kwargs) -> Result<bool, Error> {
    let (ignore_case, multiline) = flags(kwargs)?;
    kwargs.assert_all_used()?;
    run(compile(pattern, ignore_case, multiline)?.is_match(text))
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn replace(
    value: &Value,
    pattern: &str,
    replacement: &str,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let (ignore_case, multiline) = flags(&kwargs)?;
    let count = kwargs.get::<Option<usize>>("count")?.unwrap_or(0);
    kwargs.assert_all_used()?;
    let text = value.to_string();
    let regex = compile(pattern, ignore_case, multiline)?;
    let (mut out, mut end) = (String::new(), 0);
    for (done, found) in regex.captures_iter(text.as_str()).enumerate() {
        if count != 0 && done == count {
            break;
        }
        let found = run(found)?;
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&text[end..whole.start()]);
        expand(&mut out, replacement, &found)?;
        end = whole.end();
    }
    out.push_str(&text[end..]);
    Ok(out)
}

/// Python's replacement text: `\1`, `\g<1>`, `\g<name>`, `\n`, `\\`; `$` means nothing.
fn expand(out: &mut String, replacement: &str, found: &Captures<'_, str>) -> Result<(), Error> {
    let mut rest = replacement;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(inner) = rest.strip_prefix("g<") {
            let end = inner
                .find('>')
                .ok_or_else(|| fail("`\\g<` in a replacement is not closed"))?;
            let name = &inner[..end];
            let group = name
                .parse()
                .map_or_else(|_| found.name(name), |number: usize| found.get(number));
            out.push_str(group.map_or("", |group| group.as_str()));
            rest = &inner[end + 1..];
            continue;
        }
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if let Ok(number) = rest[..digits.min(2)].parse::<usize>() {
            if number >= found.len() {
                return Err(fail(format!(
                    "the replacement names group {number}, and the expression has {}",
                    found.len() - 1
                )));
            }
            out.push_str(found.get(number).map_or("", |group| group.as_str()));
            rest = &rest[digits.min(2)..];
            continue;
        }
        let mut chars = rest.chars();
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('\\') | None => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    Ok(())
}

/// The match, or with `'\\1'`, `'\\g<name>'` the groups as a list; nothing when there is none.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn search(
    value: &Value,
    pattern: &str,
    groups: minijinja::value::Rest<String>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let (ignore_case, multiline) = flags(&kwargs)?;
    kwargs.assert_all_used()?;
    let text = value.to_string();
    let Some(found) = run(compile(pattern, ignore_case, multiline)?.captures(text.as_str()))?
    else {
        return Ok(Value::from(()));
    };
    if groups.is_empty() {
        return Ok(Value::from(found.get(0).map_or("", |whole| whole.as_str())));
    }
    let wanted = groups.iter().map(|group| {
        let mut text = String::new();
        let is_reference = group.starts_with('\\');
        if is_reference {
            expand(&mut text, group, &found).map(|()| Value::from(text))
        } else {
            Err(fail("unknown argument"))
        }
    });
    Ok(Value::from(wanted.collect::<Result<Vec<_>, _>>()?))
}

/// All matches; with one group that group of each, with several a list of each.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn findall(value: &Value, pattern: &str, kwargs: Kwargs) -> Result<Value, Error> {
    let (ignore_case, multiline) = flags(&kwargs)?;
    kwargs.assert_all_used()?;
    let text = value.to_string();
    let mut all = Vec::new();
    for found in compile(pattern, ignore_case, multiline)?.captures_iter(text.as_str()) {
        let found = run(found)?;
        let group =
            |number: usize| Value::from(found.get(number).map_or("", |group| group.as_str()));
        all.push(match found.len() {
            1 => group(0),
            2 => group(1),
            groups => Value::from((1..groups).map(group).collect::<Vec<_>>()),
        });
    }
    Ok(Value::from(all))
}
