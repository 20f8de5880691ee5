//! In: a `layerplay.toml`: the sections and keys of `ansible.cfg`, typed. Out: its entries with their places.

use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::Entry;
use super::kinds::Raw;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{SourceFile, Span};

pub(super) fn entries(file: &Arc<SourceFile>) -> (Vec<Entry>, Diagnostics) {
    let place = |range: Range<usize>| Span::new(file, range.start, range.end);
    let mut problems = Diagnostics::default();
    let mut found = Vec::new();
    let table = match DeTable::parse(&file.text) {
        Ok(table) => table,
        Err(problem) => {
            problems.push(
                Diagnostic::error(
                    Code::SETTINGS,
                    format!("the text is not TOML: {}", problem.message()),
                )
                .at(&problem.span().map_or_else(|| Span::file(file), place), ""),
            );
            return (found, problems);
        }
    };
    for (section, inside) in table.get_ref() {
        let DeValue::Table(keys) = inside.get_ref() else {
            problems.push(
                Diagnostic::error(Code::SETTINGS, "a setting stands before the first section")
                    .at(&place(section.span()), "")
                    .help(format!("write `[defaults]` above `{}`", section.get_ref())),
            );
            continue;
        };
        for (key, value) in keys {
            match raw(value.get_ref()) {
                Some(raw) => found.push(Entry {
                    section: section.get_ref().to_string(),
                    key: key.get_ref().to_lowercase(),
                    raw,
                    span: place(key.span().start..value.span().end),
                }),
                None => problems.push(
                    Diagnostic::error(
                        Code::SETTINGS,
                        format!(
                            "`{}` is neither a value nor a list of values",
                            key.get_ref()
                        ),
                    )
                    .at(&place(value.span()), ""),
                ),
            }
        }
    }
    // The parser gives keys in alphabetical order; people read files from the top.
    found.sort_by_key(|entry: &Entry| entry.span.start);
    problems
        .0
        .sort_by_key(|problem: &Diagnostic| problem.primary.as_ref().map(|(span, _)| span.start));
    (found, problems)
}

fn raw(value: &DeValue<'_>) -> Option<Raw> {
    match value {
        DeValue::Array(items) => items
            .iter()
            .map(|item| scalar(item.get_ref()))
            .collect::<Option<Vec<_>>>()
            .map(Raw::List),
        other => scalar(other).map(Raw::Text),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
