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

/// A question, whose answer is given on the same line.
pub(super) fn question(text: &str) {
    let mut stderr = anstream::stderr();
    let _ = write!(stderr, "{text}");
    let _ = stderr.flush();
}
