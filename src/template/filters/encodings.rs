//! Filters that turn values into text of another form, and back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, Error};
use sha1::Digest;

use super::{bounded, fail};

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("to_json", |value: &Value, kwargs: Kwargs| {
        to_json(value, &kwargs, None)
    });
    env.add_filter("to_nice_json", |value: &Value, kwargs: Kwargs| {
        to_json(value, &kwargs, Some(4))
    });
    env.add_filter("from_json", from_json);
    env.add_filter("b64encode", |value: &Value| {
        STANDARD.encode(value.to_string())
    });
    env.add_filter("b64decode", b64decode);
    env.add_filter("hash", hash);
    env.add_filter("checksum", |value: &Value| hash(value, Some("sha1")));
    env.add_filter("sha1", |value: &Value| hash(value, Some("sha1")));
    env.add_filter("md5", |value: &Value| hash(value, Some("md5")));
    env.add_filter("quote", quote);
}

/// `json.dumps`: a space after `,` and `:`, ASCII only unless told otherwise; the nice form sorts its keys.
fn to_json(value: &Value, kwargs: &Kwargs, nice: Option<usize>) -> Result<String, Error> {
    let indent = kwargs.get::<Option<usize>>("indent")?.or(nice);
    let indent = indent.map(|indent| bounded("indent", indent)).transpose()?;
    let sort = kwargs
        .get::<Option<bool>>("sort_keys")?
        .unwrap_or(nice.is_some());
    let ascii = kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(true);
    kwargs.assert_all_used()?;
    let json = serde_json::to_value(Serde(value).0)
        .map_err(|problem| fail(format!("cannot be written as JSON: {problem}")))?;
    let mut out = String::new();
    write(&mut out, &json, indent, sort, ascii, 0);
    Ok(out)
}

fn write(
    out: &mut String,
    json: &serde_json::Value,
    indent: Option<usize>,
    sort: bool,
    ascii: bool,
    level: usize,
) {
    let (open, close, items): (char, char, Vec<(Option<&String>, &serde_json::Value)>) = match json
    {
        serde_json::Value::Array(items) => {
            ('[', ']', items.iter().map(|item| (None, item)).collect())
        }
        serde_json::Value::Object(entries) => {
            let mut entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| (Some(key), value))
                .collect();
            if sort {
                entries.sort_by_key(|(key, _)| *key);
            }
            ('{', '}', entries)
        }
        serde_json::Value::String(text) => return text_of(out, text, ascii),
        other => return out.push_str(&other.to_string()),
    };
    out.push(open);
    let line = |out: &mut String, level: usize| {
        if let Some(indent) = indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent * level));
        }
    };
    for (at, (key, item)) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        line(out, level + 1);
        if let Some(key) = key {
            text_of(out, key, ascii);
            out.push_str(": ");
        }
        write(out, item, indent, sort, ascii, level + 1);
    }
    if !items.is_empty() {
        line(out, level);
    }
    out.push(close);
}

fn text_of(out: &mut String, text: &str, ascii: bool) {
    let quoted = serde_json::Value::from(text).to_string();
    for c in quoted.chars() {
        if ascii && !c.is_ascii() {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
}

fn from_json(text: &str) -> Result<Value, Error> {
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|problem| fail(format!("not JSON: {problem}")))?;
    Ok(Value::from(Serde(json)))
}

fn b64decode(text: &str) -> Result<String, Error> {
    let bytes = STANDARD
        .decode(text.trim())
        .map_err(|problem| fail(format!("not base64: {problem}")))?;
    String::from_utf8(bytes).map_err(|_| fail("the decoded base64 is not UTF-8 text"))
}

fn hash(value: &Value, algorithm: Option<&str>) -> Result<String, Error> {
    let text = value.to_string();
    Ok(match algorithm.unwrap_or("sha1") {
        "md5" => hex::encode(md5::Md5::digest(&text)),
        "sha1" => hex::encode(sha1::Sha1::digest(&text)),
        "sha224" => hex::encode(sha2::Sha224::digest(&text)),
        "sha256" => hex::encode(sha2::Sha256::digest(&text)),
        "sha384" => hex::encode(sha2::Sha384::digest(&text)),
        "sha512" => hex::encode(sha2::Sha512::digest(&text)),
        other => {
            return Err(fail(format!(
                "`{other}` is no hash: md5, sha1, sha224, sha256, sha384 or sha512"
            )));
        }
    })
}

/// For a POSIX shell, as Python's `shlex.quote`.
fn quote(value: &Value) -> String {
    let text = value.to_string();
    let is_plain = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c));
    if is_plain {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\"'\"'"))
    }
}
