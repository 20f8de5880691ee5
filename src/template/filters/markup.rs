//! Filters over HTML and XML, as Jinja2 and `MarkupSafe` have them.

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error};

use super::fail;

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("striptags", |value: &Value| strip(&value.to_string()));
    env.add_filter("xmlattr", attributes);
}

/// Tags and comments are cut out, white space becomes single spaces, and what is escaped becomes itself.
fn strip(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let (tag, end) = match rest[start..].strip_prefix("<!--") {
            Some(inner) => (inner, "-->"),
            None => (&rest[start..], ">"),
        };
        // What is never closed stays.
        let Some(at) = tag.find(end) else { break };
        kept.push_str(&rest[..start]);
        rest = &tag[at + end.len()..];
    }
    kept.push_str(rest);
    let words: Vec<&str> = kept.split_whitespace().collect();
    unescape(&words.join(" "))
}

/// `&amp;`, `&#228;`, `&#xE4;` and the names that texts have; other names stay as they are.
fn unescape(text: &str) -> String {
    const NAMES: &[(&str, &str)] = &[
        ("amp", "&"),
        ("lt", "<"),
        ("gt", ">"),
        ("quot", "\""),
        ("apos", "'"),
        ("nbsp", "\u{a0}"),
        ("copy", "©"),
        ("reg", "®"),
        ("laquo", "«"),
        ("raquo", "»"),
        ("hellip", "…"),
        ("ndash", "–"),
        ("mdash", "—"),
        ("auml", "ä"),
        ("ouml", "ö"),
        ("uuml", "ü"),
        ("szlig", "ß"),
        ("euro", "€"),
    ];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest[1..].split_once(';').map(|(name, _)| name);
        let number = name.and_then(|name| {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        });
        let known = NAMES.iter().find(|(known, _)| Some(*known) == name);
        match (number, known, name) {
            (Some(c), _, Some(name)) => {
                out.push(c);
                rest = &rest[name.len() + 2..];
            }
            (None, Some((_, text)), Some(name)) => {
                out.push_str(text);
                rest = &rest[name.len() + 2..];
            }
            _ => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// ` class="a" id="b"`; what is null is left out. The first space goes with `autospace=false`.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn attributes(value: &Value, autospace: Option<bool>, kwargs: Kwargs) -> Result<String, Error> {
    let autospace = kwargs
        .get::<Option<bool>>("autospace")?
        .or(autospace)
        .unwrap_or(true);
    kwargs.assert_all_used()?;
    let mut out = Vec::new();
    for key in value.try_iter()? {
        let item = value.get_item(&key)?;
        if item.is_none() || item.is_undefined() {
            continue;
        }
        let name = key.to_string();
        if name.contains(|c: char| c.is_whitespace() || "/>=".contains(c)) {
            return Err(fail(format!(
                "Invalid character in attribute name: '{name}'"
            )));
        }
        out.push(format!(
            "{}=\"{}\"",
            escape(&name),
            escape(&item.to_string())
        ));
    }
    let space = if autospace && !out.is_empty() {
        " "
    } else {
        ""
    };
    Ok(format!("{space}{}", out.join(" ")))
}
