//! In: an `ansible.cfg`. Out: its entries with their places. The form is that of Python's `configparser` as Ansible
//! uses it: sections, `key = value` or `key: value`, indented lines continue a value, `#` and `;` begin comments, and
//! ` ;` ends a value.

use std::sync::Arc;

use super::Entry;
use super::kinds::Raw;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{SourceFile, Span};

/// Lines that are indented deeper than their key belong to its value.
pub(super) fn entries(file: &Arc<SourceFile>) -> (Vec<Entry>, Diagnostics) {
    let mut found: Vec<Entry> = Vec::new();
    let mut problems = Diagnostics::default();
    let mut section = None;
    let mut start = 0;
    let mut key_indent = None;
    for line in file.text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        let trimmed = line.trim();
        let indent = line.len() - line.trim_start().len();
        let span = Span::new(file, at + indent, at + indent + trimmed.len());
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let (Some(deepest), Some(Raw::Text(text))) =
            (key_indent, found.last_mut().map(|entry| &mut entry.raw))
            && indent > deepest
        {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(without_comment(trimmed));
            continue;
        }
        key_indent = None;
        if let Some(name) = trimmed.strip_prefix('[') {
            match name.split_once(']') {
                Some((name, _)) => section = Some(name.trim().to_owned()),
                None => problems.push(
                    Diagnostic::error(Code::SETTINGS, "a section is opened and never closed")
                        .at(&span, "`]` is missing"),
                ),
            }
            continue;
        }
        let Some(in_section) = &section else {
            problems.push(
                Diagnostic::error(Code::SETTINGS, "a setting stands before the first section")
                    .at(&span, "")
                    .help("put `[defaults]` above it"),
            );
            continue;
        };
        let Some(end) = trimmed.find(['=', ':']) else {
            problems.push(
                Diagnostic::error(Code::SETTINGS, "a line is neither a section nor a setting")
                    .at(&span, "")
                    .help("a setting is `key = value`"),
            );
            continue;
        };
        let value = without_comment(trimmed[end + 1..].trim());
        found.push(Entry {
            section: in_section.clone(),
            key: trimmed[..end].trim().to_lowercase(),
            raw: Raw::Text(unquoted(value).to_owned()),
            span,
        });
        key_indent = Some(indent);
    }
    (found, problems)
}

fn without_comment(value: &str) -> &str {
    if value.starts_with(';') {
        return "";
    }
    value
        .find(" ;")
        .or_else(|| value.find("\t;"))
        .map_or(value, |at| value[..at].trim_end())
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return inner;
        }
    }
    value
}
