//! In: diagnostics. Out: text with the source lines and carets (annotate-snippets), or JSON for tools.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

use super::{Diagnostic, Severity};
use crate::source::Span;

/// Lines of a file that are handed to the drawing, each side of a place: enough for what is shown, so that a problem
/// in a huge file costs no more than one in a small one.
const WINDOW: usize = 3;

/// A range of bytes to mark, what to write under it, and how.
type Mark<'d> = (Range<usize>, &'d str, AnnotationKind);

/// One problem as text: code, message, place with its line, help. `color` when the reader's terminal shows it.
pub fn draw(diagnostic: &Diagnostic, color: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut main = Group::with_title(
        level
            .primary_title(&diagnostic.message)
            .id(diagnostic.code.0),
    );
    let marks = diagnostic
        .primary
        .iter()
        .map(|mark| (mark, AnnotationKind::Primary))
        .chain(
            diagnostic
                .secondary
                .iter()
                .map(|mark| (mark, AnnotationKind::Context)),
        );
    // Places in one file are drawn in one snippet, files in the order in which they come up.
    let mut files: Vec<(&Span, Range<usize>, Vec<Mark<'_>>)> = Vec::new();
    for ((span, label), kind) in marks {
        let mark = (
            boundary(span, span.start)..boundary(span, span.end),
            label.as_str(),
            kind,
        );
        let lines = window(span);
        match files.iter_mut().find(|(known, ..)| known.file == span.file) {
            Some((_, range, marks)) => {
                *range = range.start.min(lines.start)..range.end.max(lines.end);
                marks.push(mark);
            }
            None => files.push((span, lines, vec![mark])),
        }
    }
    for (span, lines, marks) in files {
        let (line, _) = span.file.line_column(lines.start);
        let annotations = marks.into_iter().map(|(range, label, kind)| {
            let annotation = kind.span(range.start - lines.start..range.end - lines.start);
            if label.is_empty() {
                annotation
            } else {
                annotation.label(label)
            }
        });
        let annotations: Vec<_> = annotations.collect();
        let text = span.file.text.get(lines).unwrap_or_default();
        if span.file.is_secret {
            let note = format!(
                "in line {line} of `{}`, which is encrypted",
                span.path().display()
            );
            main = main.element(Level::NOTE.message(note));
            continue;
        }
        let path = span.path().display().to_string();
        main = main.element(
            Snippet::source(text)
                .path(path)
                .line_start(line)
                .annotations(annotations),
        );
    }
    for help in &diagnostic.help {
        main = main.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.render(&[main])
}

/// The nearest byte at or before this one where a character starts.
fn boundary(span: &Span, byte: usize) -> usize {
    let text = &span.file.text;
    (0..=byte.min(text.len()))
        .rev()
        .find(|byte| text.is_char_boundary(*byte))
        .unwrap_or(0)
}

/// Whole lines around a span, as a range of bytes.
fn window(span: &Span) -> Range<usize> {
    let text = &span.file.text;
    let line_start = |byte: usize| text[..byte].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = |byte: usize| {
        text[byte..]
            .find('\n')
            .map_or(text.len(), |newline| byte + newline + 1)
    };
    let mut start = line_start(boundary(span, span.start));
    let mut end = line_end(boundary(span, span.end));
    for _ in 0..WINDOW {
        // The byte before a line's start is a newline, a whole character.
        start = line_start(start.saturating_sub(1));
        end = line_end(end);
    }
    start..end
}

/// One problem as JSON: `severity`, `code`, `message`, `file`, `line`, `column`, `end_line`, `end_column`, `help`,
/// `related`.
pub fn to_json(diagnostic: &Diagnostic) -> Value {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut problem = json!({
        "severity": severity,
        "code": diagnostic.code.0,
        "message": diagnostic.message,
    });
    if let Some((span, label)) = &diagnostic.primary {
        merge(&mut problem, place(span, label));
    }
    problem["help"] = json!(diagnostic.help);
    problem["related"] = diagnostic
        .secondary
        .iter()
        .map(|(span, label)| place(span, label))
        .collect();
    problem
}

fn place(span: &Span, label: &str) -> Value {
    let (line, column) = span.line_column();
    let (end_line, end_column) = span.file.line_column(span.end);
    let mut place = json!({
        "file": span.path().display().to_string(),
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    });
    if !label.is_empty() {
        place["label"] = json!(label);
    }
    place
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;
    use crate::source::SourceFile;

    fn example() -> Diagnostic {
        let file = SourceFile::from_text("site.yml", "- hosts: all\n  taskz: []\n  vars: {a: 1}\n");
        Diagnostic::error(Code::UNKNOWN_KEYWORD, "`taskz` is no keyword of a play")
            .at(&Span::new(&file, 15, 20), "")
            .also(&Span::new(&file, 2, 7), "in this play")
            .suggest("taskz", ["tasks", "roles"])
    }

    #[test]
    fn a_problem_shows_its_line_and_the_way_out() {
        let drawn = draw(&example(), false);
        let expected = "\
error[LP0202]: `taskz` is no keyword of a play
 --> site.yml:2:3
  |
1 | - hosts: all
  |   ----- in this play
2 |   taskz: []
  |   ^^^^^
  |
  = help: did you mean `tasks`?";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_problem_for_tools() {
        let problem = to_json(&example());
        assert_eq!(problem["code"], "LP0202");
        assert_eq!(
            (&problem["line"], &problem["column"], &problem["end_column"]),
            (&json!(2), &json!(3), &json!(8))
        );
        assert_eq!(problem["related"][0]["label"], "in this play");
        assert_eq!(problem["help"], json!(["did you mean `tasks`?"]));
    }

    #[test]
    fn a_place_in_a_huge_file_is_cheap_and_right() {
        let file = SourceFile::from_text("big.yml", "é: 1\n".repeat(100_000));
        let at = "é: 1\n".len() * 70_000;
        let drawn = draw(
            &Diagnostic::error(Code::WRONG_SHAPE, "here").at(&Span::new(&file, at, at + 2), ""),
            false,
        );
        assert!(drawn.contains("big.yml:70001:1"), "{drawn}");
    }

    proptest::proptest! {
        #[test]
        fn any_place_can_be_drawn(text in "[aé\\n\\t]{0,40}", start in 0usize..50, length in 0usize..20) {
            let file = SourceFile::from_text("t", text);
            let problem = Diagnostic::error(Code::WRONG_SHAPE, "m").at(&Span::new(&file, start, start + length), "l");
            draw(&problem, false);
            to_json(&problem);
        }
    }
}
