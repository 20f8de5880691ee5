//! In: an expression with templates inside of its literals, as older playbooks have them: `lookup('file', '{{ name }}')`,
//! `when: a == '{{ b }}'`. Out: the expression that is meant: `lookup('file', name)`, `a == b`. ansible-core 2.19 still
//! takes both, warns, and asks for the second form; left alone, a condition would silently compare with braces.

use std::borrow::Cow;

use super::rewrite::{Kind, Token, tokens};
use super::split::{Piece, split};

/// Where literals may have templates in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// In the terms of a lookup, and in lists and mappings of these; not in its options.
    Lookups,
    /// In every literal: conditions.
    Everywhere,
}

pub(super) fn inline(source: &str, place: Where) -> Cow<'_, str> {
    if !source.contains("{{") {
        return Cow::Borrowed(source);
    }
    let tokens = tokens(source);
    let word = |token: &Token| &source[token.at.clone()];
    let (mut out, mut end) = (String::with_capacity(source.len()), 0);
    // For each open bracket, whether it holds terms of a lookup.
    let mut open: Vec<bool> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| &tokens[index]);
        match (token.kind, word(token)) {
            (Kind::Sign, "(") => {
                let name = before.filter(|token| token.kind == Kind::Name).map(word);
                let is_inside = open.last() == Some(&true) && name.is_none();
                open.push(
                    is_inside || name.is_some_and(|name| matches!(name, "lookup" | "query" | "q")),
                );
            }
            (Kind::Sign, "[" | "{") => open.push(open.last() == Some(&true)),
            (Kind::Sign, ")" | "]" | "}") => {
                open.pop();
            }
            (Kind::String, literal) if literal.contains("{{") => {
                let after = tokens.get(index + 1).map_or("", word);
                let is_alone = matches!(before.map_or("", word), "(" | "[" | "," | ":")
                    && matches!(after, ")" | "]" | "}" | ",");
                let is_term = open.last() == Some(&true) && is_alone;
                if (place == Where::Everywhere || is_term)
                    && let Some(meant) = meant(literal, place)
                {
                    out.push_str(&source[end..token.at.start]);
                    out.push_str(&meant);
                    end = token.at.end;
                }
            }
            _ => {}
        }
    }
    if end == 0 {
        return Cow::Borrowed(source);
    }
    out.push_str(&source[end..]);
    Cow::Owned(out)
}

/// The expression that a literal with templates stands for; `None` for one that is left as it is: with statements, or
/// with braces that do not close.
fn meant(literal: &str, place: Where) -> Option<String> {
    let quote = literal.chars().next()?;
    let escaped = format!("\\{quote}");
    let text = literal
        .get(1..literal.len().checked_sub(1)?)?
        .replace(&escaped, &quote.to_string());
    let pieces = split(&text).ok()?;
    let mut parts = Vec::new();
    for piece in &pieces {
        parts.push(match piece {
            Piece::Text(range) => {
                let text = text[range.clone()].replace(quote, &escaped);
                format!("{quote}{text}{quote}")
            }
            Piece::Output { inner, .. } => format!("({})", inline(&text[inner.clone()], place)),
            _ => return None,
        });
    }
    match parts.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("({})", several.join(" ~ "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_lookups_and_nothing_else() {
        for (source, wanted) in [
            ("lookup('file', '{{ f }}')", "lookup('file', (f))"),
            (
                "lookup('file', '{{ d }}/{{ f }}')",
                "lookup('file', ((d) ~ '/' ~ (f)))",
            ),
            (
                "query('items', ['{{ f }}', 'b'])",
                "query('items', [(f), 'b'])",
            ),
            ("q('x', \"{{ a['b'] }}\")", "q('x', (a['b']))"),
            ("q('x', '{{ a[\\'b\\'] }}')", "q('x', (a['b']))"),
            (
                "lookup('x', 'a', default='{{ f }}')",
                "lookup('x', 'a', default='{{ f }}')",
            ),
            ("'{{ f }}' | upper", "'{{ f }}' | upper"),
            (
                "lookup('x', '{{ f }}' | upper)",
                "lookup('x', '{{ f }}' | upper)",
            ),
            ("lookup('x', f('{{ f }}'))", "lookup('x', f('{{ f }}'))"),
            ("lookup('x', '{{ f')", "lookup('x', '{{ f')"),
            (
                "lookup('x', '{% if a %}{{ f }}{% endif %}')",
                "lookup('x', '{% if a %}{{ f }}{% endif %}')",
            ),
        ] {
            let got = inline(source, Where::Lookups);
            assert_eq!(got, wanted, "{source}");
        }
    }

    #[test]
    fn every_literal_of_a_condition() {
        let got = inline(
            "f == '{{ f }}' and g is match('^{{ h }}$')",
            Where::Everywhere,
        );
        assert_eq!(got, "f == (f) and g is match(('^' ~ (h) ~ '$'))");
    }
}
