//! The only way from commands to standard output and standard error. A closed pipe ends the output quietly.

use std::io::Write;

/// Results: what the command was asked for.
pub(super) fn out(text: &str) {
    let _ = writeln!(anstream::stdout(), "{text}");
}

/// Everything else: problems and hints.
pub(super) fn err(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}
