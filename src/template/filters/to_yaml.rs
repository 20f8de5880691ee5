//! `to_yaml` and `to_nice_yaml`: what PyYAML writes, byte by byte for what playbooks have.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error};

use crate::yaml::{NodeKind, ScalarValue};

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("to_yaml", |value: &Value, kwargs: Kwargs| {
        dump(value, &kwargs, 2, None)
    });
    env.add_filter("to_nice_yaml", |value: &Value, kwargs: Kwargs| {
        dump(value, &kwargs, 4, Some(false))
    });
}

#[derive(Clone)]
struct Writer {
    indent: usize,
    width: usize,
    sort_keys: bool,
    /// `None`: a collection of scalars alone is written in one line.
    flow: Option<bool>,
}

fn dump(
    value: &Value,
    kwargs: &Kwargs,
    indent: usize,
    flow: Option<bool>,
) -> Result<String, Error> {
    let writer = Writer {
        indent: kwargs
            .get::<Option<usize>>("indent")?
            .filter(|indent| (2..10).contains(indent))
            .unwrap_or(if kwargs.has("indent") { 2 } else { indent }),
        width: kwargs.get::<Option<usize>>("width")?.unwrap_or(80),
        sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(true),
        flow: kwargs.get::<Option<bool>>("default_flow_style")?.or(flow),
    };
    let is_marked = kwargs
        .get::<Option<bool>>("explicit_start")?
        .unwrap_or(false);
    let is_ended = kwargs.get::<Option<bool>>("explicit_end")?.unwrap_or(false);
    // Written the same way whatever they say.
    for name in [
        "allow_unicode",
        "canonical",
        "encoding",
        "version",
        "tags",
        "line_break",
    ] {
        let _ = kwargs.get::<Option<Value>>(name)?;
    }
    kwargs.assert_all_used()?;
    let mut out = String::new();
    if is_marked {
        out.push_str("---");
    }
    writer.node(
        &mut out,
        value,
        Place {
            column: 0,
            in_list: false,
            dash: is_marked,
        },
    )?;
    out.push('\n');
    if is_ended {
        out.push_str("...\n");
    }
    Ok(out)
}

#[derive(Clone, Copy)]
struct Place {
    /// Where the collection's own lines begin.
    column: usize,
    /// The node stands behind a dash.
    in_list: bool,
    /// Something stands on the line already.
    dash: bool,
}

fn is_collection(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable
    )
}

impl Writer {
    fn items(value: &Value) -> Result<Vec<Value>, Error> {
        Ok(value.try_iter()?.collect())
    }

    fn pairs(&self, value: &Value) -> Result<Vec<(Value, Value)>, Error> {
        let mut pairs = Vec::new();
        for key in value.try_iter()? {
            let item = value.get_item(&key)?;
            pairs.push((key, item));
        }
        if self.sort_keys {
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        Ok(pairs)
    }

    fn is_flow(&self, value: &Value) -> Result<bool, Error> {
        let is_empty = value.len() == Some(0);
        Ok(match self.flow {
            _ if is_empty => true,
            Some(flow) => flow,
            None if value.kind() == ValueKind::Map => self
                .pairs(value)?
                .iter()
                .all(|(_, item)| !is_collection(item)),
            None => Self::items(value)?.iter().all(|item| !is_collection(item)),
        })
    }

    /// A node behind what stands on the line.
    fn node(&self, out: &mut String, value: &Value, place: Place) -> Result<(), Error> {
        if !is_collection(value) {
            if place.dash {
                out.push(' ');
            }
            let text = self.scalar(value, out, place.column, false);
            out.push_str(&text);
            return Ok(());
        }
        if self.is_flow(value)? {
            if place.dash {
                out.push(' ');
            }
            return self.flow(out, value, place.column);
        }
        let step = self.indent;
        if value.kind() == ValueKind::Map {
            for (at, (key, item)) in self.pairs(value)?.into_iter().enumerate() {
                if at > 0 || (place.dash && !place.in_list) {
                    out.push('\n');
                    out.push_str(&" ".repeat(place.column));
                } else if place.in_list {
                    out.push_str(&" ".repeat(step - 1));
                }
                if !self.key(out, &key, place.column + step, false) {
                    out.push('\n');
                    out.push_str(&" ".repeat(place.column));
                    out.push(':');
                    let inner = Place {
                        column: place.column + step,
                        in_list: true,
                        dash: true,
                    };
                    self.node(out, &item, inner)?;
                    continue;
                }
                out.push(':');
                // A list stands at the column of its key; a mapping one step further in.
                let column = if item.kind() == ValueKind::Map || !is_collection(&item) {
                    place.column + step
                } else {
                    place.column
                };
                self.node(
                    out,
                    &item,
                    Place {
                        column,
                        in_list: false,
                        dash: true,
                    },
                )?;
            }
            return Ok(());
        }
        for (at, item) in Self::items(value)?.into_iter().enumerate() {
            if at > 0 || (place.dash && !place.in_list) {
                out.push('\n');
                out.push_str(&" ".repeat(place.column));
            } else if place.in_list {
                out.push_str(&" ".repeat(step - 1));
            }
            out.push('-');
            let column = place.column + step;
            self.node(
                out,
                &item,
                Place {
                    column,
                    in_list: true,
                    dash: true,
                },
            )?;
        }
        Ok(())
    }

    /// `[a, b]`, `{a: 1}`, broken where the line is full.
    fn flow(&self, out: &mut String, value: &Value, column: usize) -> Result<(), Error> {
        let is_map = value.kind() == ValueKind::Map;
        let width = |out: &String| out.chars().rev().take_while(|c| *c != '\n').count();
        let column = column.max(self.indent);
        out.push(if is_map { '{' } else { '[' });
        let parts = if is_map {
            self.pairs(value)?
        } else {
            Self::items(value)?
                .into_iter()
                .map(|item| (Value::UNDEFINED, item))
                .collect()
        };
        for (at, (key, item)) in parts.into_iter().enumerate() {
            if at > 0 {
                out.push(',');
                if width(out) > self.width {
                    out.push('\n');
                    out.push_str(&" ".repeat(column));
                } else {
                    out.push(' ');
                }
            }
            if is_map {
                let is_simple = self.key(out, &key, column + self.indent, true);
                out.push_str(if is_simple { ": " } else { " : " });
            }
            if is_collection(&item) {
                self.flow(out, &item, column + self.indent)?;
            } else {
                let text = self.scalar(&item, out, column + self.indent, true);
                out.push_str(&text);
            }
        }
        out.push(if is_map { '}' } else { ']' });
        Ok(())
    }

    /// Writes a key: in one line, else, when it is empty, long or has lines of its own, behind a `?`. Says which it was.
    fn key(&self, out: &mut String, key: &Value, column: usize, in_flow: bool) -> bool {
        const LONGEST: usize = 128;
        let is_simple = key.as_str().is_none_or(|text| {
            !text.is_empty() && !text.contains('\n') && text.chars().count() < LONGEST
        });
        let mut writer = self.clone();
        if is_simple {
            writer.width = usize::MAX;
        } else {
            out.push_str("? ");
        }
        let text = writer.scalar(key, out, column, in_flow);
        out.push_str(&text);
        is_simple
    }

    fn scalar(&self, value: &Value, out: &str, column: usize, in_flow: bool) -> String {
        match value.kind() {
            ValueKind::None | ValueKind::Undefined => "null".to_owned(),
            ValueKind::Bool => value.is_true().to_string(),
            ValueKind::Number => number(value),
            _ => {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), ToOwned::to_owned);
                let used = out.chars().rev().take_while(|c| *c != '\n').count();
                self.text(&text, used, column.max(self.indent), in_flow)
            }
        }
    }

    fn text(&self, text: &str, used: usize, column: usize, in_flow: bool) -> String {
        match style(text, in_flow) {
            Style::Plain => self.folded(text, used, column),
            Style::Single => {
                let quoted = text.replace('\'', "''");
                format!("'{}'", self.folded(&quoted, used + 1, column))
            }
            Style::Double => self.double(text, used, column),
        }
    }

    /// Broken at single spaces where the line is full; a line break in text is doubled.
    fn folded(&self, text: &str, used: usize, column: usize) -> String {
        let mut out = String::new();
        let mut at = used;
        let chars: Vec<char> = text.chars().collect();
        let mut next = 0;
        while next < chars.len() {
            let c = chars[next];
            let is_single = c == ' '
                && next > 0
                && next + 1 < chars.len()
                && !matches!(chars[next - 1], ' ' | '\n')
                && !matches!(chars[next + 1], ' ' | '\n');
            if is_single && at > self.width {
                out.push('\n');
                out.push_str(&" ".repeat(column));
                at = column;
            } else if c == '\n' {
                let mut count = 0;
                while chars.get(next) == Some(&'\n') {
                    count += 1;
                    next += 1;
                }
                out.push_str(&"\n".repeat(count + 1));
                out.push_str(&" ".repeat(column));
                at = column;
                continue;
            } else {
                out.push(c);
                at += 1;
            }
            next += 1;
        }
        out
    }

    fn double(&self, text: &str, used: usize, column: usize) -> String {
        let mut out = String::from('"');
        let mut at = used + 1;
        let chars: Vec<char> = text.chars().collect();
        for (index, c) in chars.iter().enumerate() {
            let piece = match c {
                '"' => "\\\"".to_owned(),
                '\\' => "\\\\".to_owned(),
                '\n' => "\\n".to_owned(),
                '\t' => "\\t".to_owned(),
                '\r' => "\\r".to_owned(),
                '\0' => "\\0".to_owned(),
                '\u{7}' => "\\a".to_owned(),
                '\u{8}' => "\\b".to_owned(),
                '\u{1b}' => "\\e".to_owned(),
                '\u{a0}' => "\\_".to_owned(),
                '\u{85}' => "\\N".to_owned(),
                c if *c as u32 > 0xffff => format!("\\U{:08X}", *c as u32),
                c if (*c as u32) < 0x20 || (0x7f..0xa0).contains(&(*c as u32)) => {
                    format!("\\x{:02X}", *c as u32)
                }
                c => c.to_string(),
            };
            out.push_str(&piece);
            at += piece.chars().count();
            let is_inside = index > 0 && index + 1 < chars.len();
            if is_inside && *c == ' ' && at > self.width {
                out.push_str("\\\n");
                out.push_str(&" ".repeat(column));
                at = column;
                if chars[index + 1] == ' ' {
                    out.push('\\');
                    at += 1;
                }
            }
        }
        out.push('"');
        out
    }
}

fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(number) if number.is_nan() => ".nan".to_owned(),
        Ok(number) if number.is_infinite() && number > 0.0 => ".inf".to_owned(),
        Ok(number) if number.is_infinite() => "-.inf".to_owned(),
        _ => {
            let text = value.to_string();
            // YAML 1.1 wants a point before the exponent.
            match text.split_once('e') {
                Some((head, tail)) if !head.contains('.') => format!("{head}.0e{tail}"),
                _ => text,
            }
        }
    }
}

#[derive(PartialEq)]
enum Style {
    Plain,
    Single,
    Double,
}

/// How PyYAML would write text.
fn style(text: &str, in_flow: bool) -> Style {
    let is_special = |c: char| {
        (c < ' ' && c != '\n')
            || ('\u{7f}'..='\u{a0}').contains(&c)
            || c == '\u{feff}'
            || c > '\u{ffff}'
    };
    if text.chars().any(is_special) {
        return Style::Double;
    }
    if text.is_empty() {
        return Style::Single;
    }
    // White space at a line's start or end cannot be told from folding.
    let has_lost_space = text
        .split('\n')
        .enumerate()
        .any(|(at, line)| (at > 0 && line.starts_with(' ')) || line.ends_with(' '))
        && text.contains('\n');
    if has_lost_space {
        return Style::Double;
    }
    let first = text.chars().next().unwrap_or_default();
    let second = text.chars().nth(1);
    let is_open = |next: Option<char>| next.is_none_or(char::is_whitespace);
    let is_indicator = "#,[]{}&*!|>'\"%@`".contains(first)
        || (matches!(first, '-' | '?' | ':') && is_open(second))
        || text.starts_with("---")
        || text.starts_with("...");
    let mut before = ' ';
    let mut is_inner = false;
    for (at, c) in text.char_indices() {
        let next = text[at + c.len_utf8()..].chars().next();
        is_inner |= match c {
            ',' | '[' | ']' | '{' | '}' | '?' => in_flow,
            ':' => in_flow || is_open(next),
            '#' => before.is_whitespace() && at > 0,
            _ => false,
        };
        before = c;
    }
    if is_indicator
        || is_inner
        || text.starts_with(' ')
        || text.ends_with(' ')
        || text.contains('\n')
        || !is_text(text)
    {
        return Style::Single;
    }
    Style::Plain
}

/// Whether text without quotes is read back as text.
fn is_text(text: &str) -> bool {
    if text == "=" || text == "<<" {
        return false;
    }
    let file = crate::source::SourceFile::from_text("to_yaml", text.to_owned());
    let (nodes, problems) = crate::yaml::parse_documents(&file);
    if problems.has_errors() {
        return false;
    }
    match nodes.as_slice() {
        [node] => match &node.kind {
            NodeKind::Scalar(scalar) => {
                matches!(scalar.value, ScalarValue::Text) && *scalar.text == *text && !is_date(text)
            }
            _ => false,
        },
        _ => false,
    }
}

/// `2024-01-02`, with or without a time: a date in YAML 1.1.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 8
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b"-: .tTzZ+".contains(&b))
        && text.matches('-').count() >= 2
}
