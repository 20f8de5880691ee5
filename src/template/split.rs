//! In: template text. Out: its pieces (text, output expressions, statements, comments) with their bytes, without
//! knowing what the expressions mean. Quotes and brackets inside an expression hide its end, as in Jinja2.

use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Range<usize>),
    /// `{{ ... }}`: all of it, and the expression inside.
    Output {
        all: Range<usize>,
        inner: Range<usize>,
    },
    /// `{% ... %}`, with the tag's name and the rest inside.
    Statement {
        all: Range<usize>,
        inner: Range<usize>,
    },
    Comment(Range<usize>),
}

/// Where a template stops being one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unclosed {
    pub(super) at: Range<usize>,
    pub(super) wanted: String,
}

/// What opens and closes statements, outputs and comments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Markers<'m> {
    pub(super) block: (&'m str, &'m str),
    pub(super) variable: (&'m str, &'m str),
    pub(super) comment: (&'m str, &'m str),
}

const USUAL: Markers<'static> = Markers {
    block: ("{%", "%}"),
    variable: ("{{", "}}"),
    comment: ("{#", "#}"),
};

/// Splits a template with the usual markers.
pub(super) fn split(text: &str) -> Result<Vec<Piece>, Unclosed> {
    split_by(text, &USUAL)
}

/// Splits a template. `{% raw %}` hides everything to its `{% endraw %}`: that is text.
pub(super) fn split_by(text: &str, markers: &Markers) -> Result<Vec<Piece>, Unclosed> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let Some((open, kind)) = next_open(text, at, markers) else {
            break;
        };
        if open > at {
            pieces.push(Piece::Text(at..open));
        }
        let (opened, close) = match kind {
            0 => markers.variable,
            1 => markers.block,
            _ => markers.comment,
        };
        let from = open + opened.len();
        let end = if kind == 2 {
            text[from..].find(close).map(|end| from + end)
        } else {
            end_of(text, from, close)
        };
        let Some(end) = end else {
            return Err(Unclosed {
                at: open..from,
                wanted: close.to_owned(),
            });
        };
        let all = open..end + close.len();
        let inner = inside(text, from..end);
        at = all.end;
        match kind {
            0 => pieces.push(Piece::Output { all, inner }),
            1 if &text[inner.clone()] == "raw" => {
                let Some((from, to)) = end_raw(text, at, markers.block) else {
                    return Err(Unclosed {
                        at: all,
                        wanted: format!("{} endraw {}", markers.block.0, markers.block.1),
                    });
                };
                pieces.push(Piece::Statement {
                    all: all.start..to,
                    inner: from..from,
                });
                at = to;
            }
            1 => pieces.push(Piece::Statement { all, inner }),
            _ => pieces.push(Piece::Comment(all)),
        }
    }
    if at < text.len() {
        pieces.push(Piece::Text(at..text.len()));
    }
    Ok(pieces)
}

/// The next marker, and which it is. Of two that begin at the same place the longer one counts.
fn next_open(text: &str, from: usize, markers: &Markers) -> Option<(usize, usize)> {
    [markers.variable.0, markers.block.0, markers.comment.0]
        .into_iter()
        .enumerate()
        .filter_map(|(kind, open)| Some((from + text[from..].find(open)?, kind, open.len())))
        .min_by_key(|(at, _, length)| (*at, usize::MAX - length))
        .map(|(at, kind, _)| (at, kind))
}

/// The place of `close` outside of quotes and brackets.
fn end_of(text: &str, from: usize, close: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (from, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            _ if depth == 0 && text.as_bytes()[at..].starts_with(close.as_bytes()) => {
                return Some(at);
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Without the whitespace and the `-` and `+` of whitespace control.
fn inside(text: &str, range: Range<usize>) -> Range<usize> {
    let raw = &text[range.clone()];
    let lead = raw.strip_prefix(['-', '+']).unwrap_or(raw);
    let start = range.end - lead.trim_start().len();
    // `x -}}` ends in a control sign, `x - 1 }}` does not.
    let body = lead.strip_suffix(['-', '+']).unwrap_or(lead).trim();
    start..start + body.len()
}

/// The start of the content's end and the end of `{% endraw %}`.
fn end_raw(text: &str, from: usize, block: (&str, &str)) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        let open = at + text[at..].find(block.0)?;
        let body = open + block.0.len();
        let close = body + text[body..].find(block.1)?;
        if &text[inside(text, body..close)] == "endraw" {
            return Some((open, close + block.1.len()));
        }
        at = body;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let pieces = split(text).unwrap();
        let shown = pieces.iter().map(|piece| match piece {
            Piece::Text(range) => format!("text:{}", &text[range.clone()]),
            Piece::Output { inner, .. } => format!("out:{}", &text[inner.clone()]),
            Piece::Statement { inner, .. } => format!("do:{}", &text[inner.clone()]),
            Piece::Comment(_) => "comment".to_owned(),
        });
        shown.collect()
    }

    #[test]
    fn pieces() {
        assert_eq!(shown("a {{ b }}c"), ["text:a ", "out:b", "text:c"]);
        assert_eq!(shown("{{- '}}' ~ {'a': {}} -}}"), ["out:'}}' ~ {'a': {}}"]);
        assert_eq!(
            shown("{% if a %}x{%- endif -%}"),
            ["do:if a", "text:x", "do:endif"]
        );
        assert_eq!(shown("{# {{ no }} #}y{"), ["comment", "text:y{"]);
        assert_eq!(shown("{% raw %}{{ x }}{% endraw %}z"), ["do:", "text:z"]);
        assert_eq!(shown(r#"{{ "a\"}}" }}"#), [r#"out:"a\"}}""#]);
    }

    #[test]
    fn what_never_ends() {
        assert_eq!(
            split("x {{ y").unwrap_err(),
            Unclosed {
                at: 2..4,
                wanted: "}}".to_owned()
            }
        );
        assert_eq!(split("{{ '}} ").unwrap_err().wanted, "}}");
        assert!(split("{% raw %}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_split_whole_or_refused(text in "[ {}%#'\"\\\\a-é|()\\[\\]]{0,40}") {
            if let Ok(pieces) = split(&text) {
                let mut at = 0;
                for piece in pieces {
                    let (Piece::Text(range) | Piece::Comment(range) | Piece::Output { all: range, .. } | Piece::Statement { all: range, .. }) = piece;
                    proptest::prop_assert_eq!(range.start, at);
                    at = range.end;
                }
                proptest::prop_assert_eq!(at, text.len());
            }
        }
    }
}
