//! Filters over text as such: how it is laid out, and what stands for it.

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error};
use sha1::Digest;

use super::super::percent;
use super::{bounded, fail};

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("center", center);
    env.add_filter("wordcount", |value: &Value| words(&value.to_string()));
    env.add_filter("title", |value: &Value| title(&value.to_string()));
    env.add_filter("type_debug", type_debug);
    env.add_filter("to_uuid", to_uuid);
    env.add_filter("comment", comment);
    env.add_filter(
        "format",
        |format: &str, args: Rest<Value>, kwargs: Kwargs| {
            let names: Vec<_> = kwargs.args().map(ToOwned::to_owned).collect();
            let named = names
                .iter()
                .map(|name| Ok((name.clone(), kwargs.get::<Value>(name)?)))
                .collect::<Result<Vec<_>, Error>>()?;
            let whole = if named.is_empty() {
                Value::UNDEFINED
            } else {
                Value::from_pairs(named)
            };
            percent::format_all(format, args.0, &whole).map_err(fail)
        },
    );
    env.add_filter("urldecode", urldecode);
    env.add_filter("strftime", strftime);
    // Ansible's `uri` accepts any text unless schemes are named.
    env.add_test("uri", |text: &str, schemes: Option<Vec<String>>| {
        is_of(text, schemes.as_deref())
    });
    env.add_test("url", |text: &str, schemes: Option<Vec<String>>| {
        let (scheme, rest) = scheme(text);
        let has_host = rest
            .strip_prefix("//")
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#']));
        is_of(text, schemes.as_deref()) && (has_host || scheme == "file")
    });
    // Functions and macros; a point in time is an object of another kind.
    env.add_test("callable", |value: &Value| {
        value.kind() == ValueKind::Plain && super::super::clock::type_name(value).is_none()
    });
    env.add_test("urn", |text: &str| scheme(text).0 == "urn");
}

/// A URL's scheme in lower case, empty when there is none, and what follows.
fn scheme(text: &str) -> (String, &str) {
    let is_scheme = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    match text.split_once(':') {
        Some((name, rest)) if is_scheme(name) => (name.to_lowercase(), rest),
        _ => (String::new(), text),
    }
}

fn is_of(text: &str, schemes: Option<&[String]>) -> bool {
    schemes.is_none_or(|schemes| schemes.is_empty() || schemes.contains(&scheme(text).0))
}

/// Python puts the odd space on the right, unless both the space and the width are odd.
fn center(value: &Value, width: Option<usize>) -> Result<String, Error> {
    let (text, width) = (value.to_string(), bounded("width", width.unwrap_or(80))?);
    let room = width.saturating_sub(text.chars().count());
    let left = room / 2 + (room & width & 1);
    Ok(format!(
        "{}{text}{}",
        " ".repeat(left),
        " ".repeat(room - left)
    ))
}

fn words(text: &str) -> usize {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .count()
}

/// A word begins after white space, a hyphen or an opening bracket; an apostrophe is inside of one.
fn title(text: &str) -> String {
    let mut is_first = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_first {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        is_first = c.is_whitespace() || "-({[<".contains(c);
    }
    out
}

/// Python's name of the type.
fn type_debug(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Map => "dict",
        ValueKind::Undefined => "Undefined",
        ValueKind::Plain => super::super::clock::type_name(value).unwrap_or("object"),
        _ => "list",
    }
}

/// Ansible's own namespace for names.
const NAMESPACE: &str = "361E6D51-FAEC-444A-9079-341386DA8E2E";

/// A UUID of version 5: the same text has the same one everywhere.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn to_uuid(value: &Value, namespace: Option<String>, kwargs: Kwargs) -> Result<String, Error> {
    let namespace = kwargs.get::<Option<String>>("namespace")?.or(namespace);
    kwargs.assert_all_used()?;
    let namespace = namespace.unwrap_or_else(|| NAMESPACE.to_owned());
    let bytes = hex::decode(namespace.replace('-', ""))
        .ok()
        .filter(|bytes| bytes.len() == 16)
        .ok_or_else(|| fail(format!("the namespace `{namespace}` is no UUID")))?;
    let mut digest = sha1::Sha1::new();
    digest.update(&bytes);
    digest.update(value.to_string());
    let mut id = digest.finalize();
    id[6] = (id[6] & 0x0f) | 0x50;
    id[8] = (id[8] & 0x3f) | 0x80;
    let id = hex::encode(&id[..16]);
    Ok(format!(
        "{}-{}-{}-{}-{}",
        &id[..8],
        &id[8..12],
        &id[12..16],
        &id[16..20],
        &id[20..]
    ))
}

/// Text as a comment of some language: `plain`, `erlang`, `c`, `cblock`, `xml`, each part of which can be given.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn comment(value: &Value, style: Option<String>, kwargs: Kwargs) -> Result<String, Error> {
    let style = kwargs.get::<Option<String>>("style")?.or(style);
    let (beginning, decoration, end) = match style.as_deref().unwrap_or("plain") {
        "plain" => ("", "# ", ""),
        "erlang" => ("", "% ", ""),
        "c" => ("", "// ", ""),
        "cblock" => ("/*", " * ", " */"),
        "xml" => ("<!--", " - ", "-->"),
        other => {
            return Err(fail(format!(
                "`{other}` is no style of `comment`: plain, erlang, c, cblock or xml"
            )));
        }
    };
    let given = |key: &str, default: &str| {
        Ok::<_, Error>(
            kwargs
                .get::<Option<String>>(key)?
                .unwrap_or_else(|| default.to_owned()),
        )
    };
    let count = |key: &str| bounded(key, kwargs.get::<Option<usize>>(key)?.unwrap_or(1));
    let newline = given("newline", "\n")?;
    let decoration = given("decoration", decoration)?;
    let bare = decoration.trim_end().to_owned();
    let (beginning, end) = (given("beginning", beginning)?, given("end", end)?);
    let (prefix, postfix) = (given("prefix", &bare)?, given("postfix", &bare)?);
    let (before, after) = (count("prefix_count")?, count("postfix_count")?);
    kwargs.assert_all_used()?;
    let text = value
        .to_string()
        .replace(&newline, &format!("{newline}{decoration}"));
    // No spaces at the end of a line that holds nothing else.
    let text = format!("{decoration}{text}").replace(
        &format!("{decoration}{newline}"),
        &format!("{bare}{newline}"),
    );
    let mut out = String::new();
    if !beginning.is_empty() {
        out.push_str(&format!("{beginning}{newline}"));
    }
    if prefix == newline {
        out.push_str(&newline.repeat(before));
    } else if !prefix.is_empty() {
        out.push_str(&format!("{prefix}{newline}").repeat(before));
    }
    out.push_str(&text);
    if postfix == newline {
        out.push_str(&newline.repeat(after));
    } else if !postfix.is_empty() {
        out.push_str(&format!("{newline}{postfix}").repeat(after));
    }
    if !end.is_empty() {
        out.push_str(&format!("{newline}{end}"));
    }
    Ok(out)
}

/// `%20` and `+` are spaces; what is no escape stays.
fn urldecode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| hex::decode(digits).ok());
        if let Some(byte) = escaped {
            out.extend(byte);
            at += 3;
        } else {
            out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `'%Y' | strftime(seconds, utc)`: now, and in the zone of this machine, unless told otherwise.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn strftime(
    format: &str,
    second: Option<f64>,
    utc: Option<bool>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let second = kwargs.get::<Option<f64>>("second")?.or(second);
    let utc = kwargs.get::<Option<bool>>("utc")?.or(utc).unwrap_or(false);
    kwargs.assert_all_used()?;
    let wrong =
        |problem: jiff::Error| fail(format!("`strftime` cannot write this time: {problem}"));
    let time = match second {
        None => jiff::Timestamp::now(),
        Some(second) => jiff::SignedDuration::try_from_secs_f64(second)
            .and_then(jiff::Timestamp::from_duration)
            .map_err(wrong)?,
    };
    let zone = if utc {
        jiff::tz::TimeZone::UTC
    } else {
        jiff::tz::TimeZone::system()
    };
    jiff::fmt::strtime::format(format, &time.to_zoned(zone)).map_err(wrong)
}
