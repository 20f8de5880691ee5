//! Methods of text, lists and mappings that Python has and the engine lacks. Those that change a list or a mapping in
//! place are not here: what templates see never changes.

use minijinja::value::{Rest, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};

/// The engine asks here for what it does not know.
pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let own = match value.kind() {
        ValueKind::String => text(value.as_str().unwrap_or_default(), method, args)?,
        ValueKind::Seq => list(value, method, args)?,
        ValueKind::Map => map(value, method, args)?,
        _ => None,
    };
    match own {
        Some(own) => Ok(own),
        None => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
    }
}

fn fail(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Wider is a mistake, and would cost memory.
const WIDEST: usize = 100_000;
const TAB: usize = 1000;

fn text(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let padding = || -> Result<(usize, char), Error> {
        let (width, fill): (usize, Option<String>) = from_args(args)?;
        if width > WIDEST {
            return Err(fail(format!("a width above {WIDEST}")));
        }
        let fill = fill.as_deref().and_then(|fill| fill.chars().next());
        Ok((
            width.saturating_sub(text.chars().count()),
            fill.unwrap_or(' '),
        ))
    };
    let repeat = |fill: char, count: usize| fill.to_string().repeat(count);
    Ok(Some(match method {
        "zfill" => {
            let (missing, _) = padding()?;
            let body = text.trim_start_matches(['-', '+']);
            let (sign, body) = if text.len() - body.len() == 1 {
                text.split_at(1)
            } else {
                ("", text)
            };
            Value::from(format!("{sign}{}{body}", repeat('0', missing)))
        }
        "ljust" => {
            let (missing, fill) = padding()?;
            Value::from(format!("{text}{}", repeat(fill, missing)))
        }
        "rjust" => {
            let (missing, fill) = padding()?;
            Value::from(format!("{}{text}", repeat(fill, missing)))
        }
        "center" => {
            let (missing, fill) = padding()?;
            let width = text.chars().count() + missing;
            // Python puts the odd one to the left when the width is odd.
            let left = missing / 2 + (missing & width & 1);
            Value::from(format!(
                "{}{text}{}",
                repeat(fill, left),
                repeat(fill, missing - left)
            ))
        }
        "rsplit" => {
            let (sign, most): (Option<String>, Option<i64>) = from_args(args)?;
            Value::from(rsplit(text, sign.as_deref(), most.unwrap_or(-1)))
        }
        "partition" | "rpartition" => {
            let (sign,): (String,) = from_args(args)?;
            let found = if method == "partition" {
                text.split_once(&sign)
            } else {
                text.rsplit_once(&sign)
            };
            let parts = match (found, method) {
                (Some((head, tail)), _) => [head, &sign, tail],
                (None, "partition") => [text, "", ""],
                (None, _) => ["", "", text],
            };
            Value::from(parts.map(Value::from).to_vec())
        }
        "index" | "rindex" | "find" | "rfind" => {
            let (part, start): (String, Option<usize>) = from_args(args)?;
            let from = text
                .char_indices()
                .nth(start.unwrap_or(0))
                .map_or(text.len(), |(at, _)| at);
            let found = if method.starts_with('r') {
                text[from..].rfind(&part)
            } else {
                text[from..].find(&part)
            };
            match found {
                Some(at) => Value::from(text[..from + at].chars().count()),
                None if method.ends_with("find") => Value::from(-1),
                None => return Err(fail("substring not found")),
            }
        }
        "casefold" => Value::from(text.to_lowercase()),
        "swapcase" => Value::from(
            text.chars()
                .map(|c| {
                    if c.is_uppercase() {
                        c.to_lowercase().to_string()
                    } else {
                        c.to_uppercase().to_string()
                    }
                })
                .collect::<String>(),
        ),
        "expandtabs" => {
            let (size,): (Option<usize>,) = from_args(args)?;
            Value::from(expand(text, size.unwrap_or(8).min(TAB)))
        }
        "removeprefix" => {
            let (part,): (String,) = from_args(args)?;
            Value::from(text.strip_prefix(&part).unwrap_or(text))
        }
        "removesuffix" => {
            let (part,): (String,) = from_args(args)?;
            Value::from(text.strip_suffix(&part).unwrap_or(text))
        }
        "isidentifier" => {
            let mut chars = text.chars();
            let is_first = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_');
            Value::from(is_first && chars.all(|c| c.is_alphanumeric() || c == '_'))
        }
        "isdecimal" | "isnumeric" => {
            Value::from(!text.is_empty() && text.chars().all(char::is_numeric))
        }
        "isspace" => Value::from(!text.is_empty() && text.chars().all(char::is_whitespace)),
        "istitle" => Value::from(is_title(text)),
        _ => return Ok(None),
    }))
}

fn is_title(text: &str) -> bool {
    let (mut before, mut is_any) = (false, false);
    for c in text.chars() {
        if c.is_uppercase() {
            if before {
                return false;
            }
            (before, is_any) = (true, true);
        } else if c.is_lowercase() {
            if !before {
                return false;
            }
        } else {
            before = false;
        }
    }
    is_any
}

fn expand(text: &str, size: usize) -> String {
    let (mut out, mut column) = (String::new(), 0);
    for c in text.chars() {
        match c {
            '\t' if size > 0 => {
                let missing = size - column % size;
                out.push_str(&" ".repeat(missing));
                column += missing;
            }
            '\t' => {}
            '\n' | '\r' => {
                out.push(c);
                column = 0;
            }
            _ => {
                out.push(c);
                column += 1;
            }
        }
    }
    out
}

fn rsplit(text: &str, sign: Option<&str>, most: i64) -> Vec<Value> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut parts: Vec<&str> = if let Some(sign) = sign {
        text.rsplitn(most.saturating_add(1), sign).collect()
    } else {
        let (mut parts, mut rest) = (Vec::new(), text.trim());
        while !rest.is_empty() {
            let at = rest.rfind(char::is_whitespace);
            let Some(at) = at.filter(|_| parts.len() < most) else {
                parts.push(rest);
                break;
            };
            let next = rest[at..].chars().next().map_or(1, char::len_utf8);
            parts.push(&rest[at + next..]);
            rest = rest[..at].trim_end();
        }
        parts
    };
    parts.reverse();
    parts.into_iter().map(Value::from).collect()
}

fn list(value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let items = || -> Result<Vec<Value>, Error> { Ok(value.try_iter()?.collect()) };
    Ok(Some(match method {
        "index" => {
            let (wanted, start): (Value, Option<usize>) = from_args(args)?;
            let start = start.unwrap_or(0);
            let found = items()?
                .iter()
                .skip(start)
                .position(|item| *item == wanted)
                .ok_or_else(|| fail(format!("{wanted:?} is not in list")))?;
            Value::from(found + start)
        }
        "count" => {
            let (wanted,): (Value,) = from_args(args)?;
            Value::from(items()?.iter().filter(|item| **item == wanted).count())
        }
        "copy" => value.clone(),
        "append" | "extend" | "insert" | "remove" | "pop" | "clear" | "sort" | "reverse" => {
            return Err(in_place(method, "`list + [item]`, `sort`, `reverse`"));
        }
        _ => return Ok(None),
    }))
}

fn in_place(method: &str, other: &str) -> Error {
    fail(format!(
        "`.{method}()` would change a value in place, which no template can: use {other}"
    ))
}

fn map(value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "copy" => value.clone(),
        "fromkeys" => {
            let (keys, Rest(rest)): (Value, Rest<Value>) = from_args(args)?;
            let item = rest.first().cloned().unwrap_or_else(|| Value::from(()));
            Value::from_pairs(keys.try_iter()?.map(|key| (key, item.clone())))
        }
        "pop" | "update" | "setdefault" | "clear" | "popitem" => {
            return Err(in_place(method, "`combine`"));
        }
        _ => return Ok(None),
    }))
}
