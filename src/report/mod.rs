//! In: events; out: text for people (`ansible` in the form of ansible-playbook, `pretty` for a terminal) and JSON lines
//! for tools. Nothing else prints.

mod ansible;
mod json;
mod live;
mod pretty;
mod recap;

pub use ansible::Ansible;
pub use json::JsonLines;
pub use pretty::Pretty;

use std::io::Write;
use std::sync::Arc;

use serde_json::Value;

use layerplay_modules::secret::Secrets;

/// Where a reporter writes. Every line passes the mask; a reader that went away (a closed pipe) ends the output, not
/// the run: nodes may be half-way through a rollout.
pub struct Output {
    writer: Box<dyn Write + Send>,
    secrets: Arc<Secrets>,
    closed: bool,
}

impl Output {
    pub fn new(writer: Box<dyn Write + Send>, secrets: Arc<Secrets>) -> Self {
        Self {
            writer,
            secrets,
            closed: false,
        }
    }

    /// Writes one line (or several: `text` may hold newlines).
    pub fn line(&mut self, text: &str) {
        if self.closed {
            return;
        }
        let masked = self.secrets.mask(text);
        let done = writeln!(self.writer, "{masked}").and_then(|()| self.writer.flush());
        self.closed = done.is_err();
    }
}

/// Why a rollout does not move: cause, since when, evidence, what to do, the command.
fn stall(host: &str, diagnosis: &Value) -> String {
    let text = |field: &str| diagnosis[field].as_str().unwrap_or_default();
    format!(
        "{host}: stalled since {}: {}\n  seen in {}\n  {}:\n  {}",
        text("since"),
        text("cause"),
        text("evidence"),
        text("remedy"),
        text("command")
    )
}
