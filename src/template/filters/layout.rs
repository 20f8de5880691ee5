//! Filters that cut text to a width, and take URLs apart.

use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error};

use super::fail;

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("truncate", truncate);
    env.add_filter("wordwrap", wordwrap);
    env.add_filter("filesizeformat", filesizeformat);
    env.add_filter("urlsplit", urlsplit);
}

/// `truncate(length=255, killwords=false, end='...', leeway=5)`.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn truncate(
    value: &Value,
    length: Option<usize>,
    kill: Option<bool>,
    rest: Rest<Value>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let length = kwargs
        .get::<Option<usize>>("length")?
        .or(length)
        .unwrap_or(255);
    let kill = kwargs
        .get::<Option<bool>>("killwords")?
        .or(kill)
        .unwrap_or(false);
    let end = kwargs
        .get::<Option<String>>("end")?
        .or_else(|| rest.first().map(ToString::to_string));
    let end = end.unwrap_or_else(|| "...".to_owned());
    let leeway = kwargs
        .get::<Option<usize>>("leeway")?
        .or_else(|| rest.get(1)?.as_usize())
        .unwrap_or(5);
    kwargs.assert_all_used()?;
    let text = value.to_string();
    let tail = end.chars().count();
    if length < tail {
        return Err(fail(format!(
            "`truncate` to {length} leaves no place for `{end}`"
        )));
    }
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text);
    }
    let cut: String = text.chars().take(length - tail).collect();
    if kill {
        return Ok(cut + &end);
    }
    let cut = cut.rsplit_once(' ').map_or(cut.as_str(), |(head, _)| head);
    Ok(format!("{cut}{end}"))
}

/// `wordwrap(width=79, break_long_words=true, wrapstring='\n')`; lines stay lines.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn wordwrap(
    value: &Value,
    width: Option<usize>,
    cuts: Option<bool>,
    sign: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let width = kwargs
        .get::<Option<usize>>("width")?
        .or(width)
        .unwrap_or(79);
    let cuts = kwargs
        .get::<Option<bool>>("break_long_words")?
        .or(cuts)
        .unwrap_or(true);
    let sign = kwargs.get::<Option<String>>("wrapstring")?.or(sign);
    let sign = sign.unwrap_or_else(|| "\n".to_owned());
    kwargs.assert_all_used()?;
    if width == 0 {
        return Err(fail("`wordwrap` takes a width above 0"));
    }
    let text = value.to_string();
    let lines: Vec<String> = text
        .lines()
        .map(|line| wrapped(line, width, cuts).join(&sign))
        .collect();
    Ok(lines.join(&sign))
}

fn wrapped(line: &str, width: usize, cuts: bool) -> Vec<String> {
    let size = |text: &str| text.chars().count();
    let (mut lines, mut last) = (Vec::new(), String::new());
    for word in line.split_inclusive(' ') {
        let (bare, space) = word.split_at(word.trim_end_matches(' ').len());
        if size(&last) + size(bare) > width && !last.trim().is_empty() {
            lines.push(last.trim_end().to_owned());
            last.clear();
        }
        let (mut rest, mut left) = (bare, size(bare));
        while cuts && size(&last) + left > width {
            let room = width.saturating_sub(size(&last)).max(1);
            let at = rest.char_indices().nth(room);
            let (head, tail) = rest.split_at(at.map_or(rest.len(), |(at, _)| at));
            last.push_str(head);
            (rest, left) = (tail, left.saturating_sub(room));
            lines.push(std::mem::take(&mut last));
        }
        last.push_str(rest);
        last.push_str(space);
    }
    let last = last.trim_end();
    if !last.is_empty() {
        lines.push(last.to_owned());
    }
    lines
}

/// `1500 | filesizeformat` is `1.5 kB`.
fn filesizeformat(value: &Value, binary: Option<bool>) -> Result<String, Error> {
    let bytes = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    let bytes =
        bytes.ok_or_else(|| fail(format!("`filesizeformat` takes a number, not {value}")))?;
    let binary = binary.unwrap_or(false);
    let base = if binary { 1024.0 } else { 1000.0 };
    let units = if binary {
        ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
    } else {
        ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
    };
    if (bytes - 1.0).abs() < f64::EPSILON {
        return Ok("1 Byte".to_owned());
    }
    if bytes < base {
        return Ok(format!("{} Bytes", bytes.trunc()));
    }
    let mut size = bytes / base;
    for (at, unit) in units.iter().enumerate() {
        if size < base || at + 1 == units.len() {
            return Ok(format!("{size:.1} {unit}"));
        }
        size /= base;
    }
    Ok(format!("{bytes} Bytes"))
}

/// The parts of a URL, or one of them.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn urlsplit(text: &str, query: Option<String>, kwargs: Kwargs) -> Result<Value, Error> {
    let wanted = kwargs.get::<Option<String>>("query")?.or(query);
    kwargs.assert_all_used()?;
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = match rest.split_once(':') {
        Some((scheme, rest))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) =>
        {
            (scheme.to_lowercase(), rest)
        }
        _ => (String::new(), rest),
    };
    let (netloc, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let (user, host) = netloc
        .rsplit_once('@')
        .map_or((None, netloc), |(user, host)| (Some(user), host));
    let (username, password) = match user.map(|user| user.split_once(':').ok_or(user)) {
        Some(Ok((name, password))) => (Some(name), Some(password)),
        Some(Err(name)) => (Some(name), None),
        None => (None, None),
    };
    // An IPv6 address has colons of its own.
    let (name, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((name, rest)) => (name, rest.strip_prefix(':')),
        None => host
            .split_once(':')
            .map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => Value::from(
            port.parse::<u16>()
                .map_err(|_| fail(format!("`{port}` is no port")))?,
        ),
        None => Value::from(()),
    };
    let name = (!name.is_empty()).then(|| name.to_lowercase());
    let parts = [
        ("fragment", Value::from(fragment)),
        ("hostname", Value::from(name)),
        ("netloc", Value::from(netloc)),
        ("password", Value::from(password)),
        ("path", Value::from(path)),
        ("port", port),
        ("query", Value::from(query)),
        ("scheme", Value::from(scheme)),
        ("username", Value::from(username)),
    ];
    match wanted.filter(|wanted| !wanted.is_empty()) {
        None => Ok(Value::from_pairs(parts)),
        Some(wanted) => parts
            .into_iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
            .ok_or_else(|| fail(format!("urlsplit: unknown URL component: {wanted}"))),
    }
}
