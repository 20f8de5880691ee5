//! In: events; out: text for people (`ansible` in the form of ansible-playbook, `pretty` for a terminal), JSON lines
//! for tools, JUnit XML for CI. Nothing else prints.

mod ansible;
mod json;
mod junit;
mod live;
mod pretty;
mod recap;

pub use ansible::Ansible;
pub use json::JsonLines;
pub use junit::{Junit, JunitOptions};
pub use pretty::Pretty;

use std::io::Write;
use std::sync::Arc;

use serde_json::Value;

use layerplay_modules::secret::Secrets;

use crate::event::TaskResult;

/// The host of a result, and where it ran: `alpha -> helper(10.0.0.1)`.
fn host_of(result: &TaskResult) -> String {
    match (&result.delegated_to, &result.delegated_address) {
        (Some(other), _) if *other == result.host => result.host.clone(),
        (Some(other), Some(address)) => format!("{} -> {other}({address})", result.host),
        (Some(other), None) => format!("{} -> {other}", result.host),
        (None, _) => result.host.clone(),
    }
}

/// All facts of a host are too much to read: as Ansible, `-v` does not show them.
fn is_gathering(action: &str) -> bool {
    matches!(
        action.rsplit('.').next().unwrap_or(action),
        "gather_facts" | "setup"
    )
}

/// Where a reporter writes. Every line passes the mask; a reader that went away (a closed pipe) ends the output, not
/// the run: nodes may be half-way through a rollout.
pub struct Output {
    writer: Box<dyn Write + Send>,
    /// Gets the same lines without colours, each with its time.
    log: Option<Box<dyn Write + Send>>,
    secrets: Arc<Secrets>,
    closed: bool,
}

/// How much is shown, and in which form.
#[derive(Debug, Clone)]
pub struct Shown {
    pub verbosity: u8,
    pub diff: bool,
    /// Lines around a difference.
    pub diff_context: usize,
    /// `ansible` only.
    pub skipped: bool,
    /// `ansible` only: hosts that are as they should be.
    pub ok: bool,
    /// `ansible` only: banners say `[CHECK MODE]`.
    pub check_markers: bool,
    /// `ansible` only.
    pub results: ResultFormat,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            verbosity: 0,
            diff: false,
            diff_context: 3,
            skipped: true,
            ok: true,
            check_markers: false,
            results: ResultFormat::Json,
        }
    }
}

/// How results are written out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResultFormat {
    #[default]
    Json,
    Yaml,
}

impl Output {
    pub fn new(writer: Box<dyn Write + Send>, secrets: Arc<Secrets>) -> Self {
        Self {
            writer,
            log: None,
            secrets,
            closed: false,
        }
    }

    /// Also into a log.
    #[must_use]
    pub fn with_log(mut self, log: Box<dyn Write + Send>) -> Self {
        self.log = Some(log);
        self
    }

    /// Writes a value as one line of JSON.
    pub fn json(&mut self, value: Value) {
        let value = if self.secrets.is_empty() {
            value
        } else {
            hidden(value, &self.secrets)
        };
        self.raw(&value.to_string());
    }

    /// Writes one line (or several: `text` may hold newlines).
    pub fn line(&mut self, text: &str) {
        let masked = self.secrets.mask(text).into_owned();
        self.raw(&masked);
    }

    /// The text without secrets.
    fn masked(&self, text: &str) -> String {
        self.secrets.mask(text).into_owned()
    }

    /// Writes what was masked part by part: a secret that is a word of the document's own form does not break it.
    fn document(&mut self, text: &str) {
        self.raw(text);
    }

    fn raw(&mut self, text: &str) {
        if let Some(log) = &mut self.log {
            let time = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S");
            let process = std::process::id();
            let mut lines = text.lines().filter(|line| !line.is_empty());
            let written =
                lines.try_for_each(|line| writeln!(log, "{time} p={process} n=layerplay | {line}"));
            // A disk that is full ends the log, not the run.
            if written.and_then(|()| log.flush()).is_err() {
                self.log = None;
            }
        }
        if self.closed {
            return;
        }
        let done = writeln!(self.writer, "{text}").and_then(|()| self.writer.flush());
        self.closed = done.is_err();
    }
}

/// Fields of events: a secret that is the same word does not hide them.
const FIELDS: &[&str] = &[
    "after",
    "again",
    "batch",
    "batches",
    "before",
    "changed",
    "changes",
    "check",
    "cluster",
    "delay_seconds",
    "delegated_address",
    "delegated_to",
    "diagnosis",
    "diagnostic",
    "diff",
    "digest",
    "event",
    "exit_code",
    "failed",
    "field",
    "file",
    "help",
    "host",
    "hosts",
    "id",
    "ignored",
    "image",
    "inventory",
    "item",
    "items",
    "layerplay",
    "message",
    "name",
    "nodes",
    "over_limit",
    "place",
    "play",
    "playbooks",
    "pool",
    "progress",
    "proof",
    "proofs",
    "reason",
    "rescued",
    "result",
    "retries_left",
    "seconds",
    "seq",
    "simulation",
    "stage",
    "stats",
    "status",
    "task",
    "text",
    "time",
    "version",
    "warnings",
];

/// Hides secrets in every string, key and number of a value, which stays JSON.
fn hidden(value: Value, secrets: &Secrets) -> Value {
    match value {
        Value::String(text) => Value::String(secrets.mask(&text).into_owned()),
        Value::Number(number) => {
            let text = number.to_string();
            match secrets.mask(&text) {
                masked if masked == text => Value::Number(number),
                masked => Value::String(masked.into_owned()),
            }
        }
        Value::Array(items) => items
            .into_iter()
            .map(|item| hidden(item, secrets))
            .collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| {
                // What an event is and how a task ended are words of ours.
                let is_word = match key.as_str() {
                    "event" | "time" | "status" => value.is_string(),
                    "seq" | "seconds" | "exit_code" | "id" | "line" | "column" => value.is_number(),
                    _ => false,
                };
                let value = if is_word {
                    value
                } else {
                    hidden(value, secrets)
                };
                if FIELDS.contains(&key.as_str()) {
                    (key, value)
                } else {
                    (secrets.mask(&key).into_owned(), value)
                }
            })
            .collect(),
        other => other,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_and_json_stays_json() {
        let secrets = Secrets::default();
        secrets.add("event");
        secrets.add("12345");
        let event = json!({"event": "task_done", "seq": 12345, "result": {"result": {"the event": "an event", "pin": 12345}}});
        assert_eq!(
            hidden(event, &secrets),
            json!({"event": "task_done", "seq": 12345, "result": {"result": {"the ********": "an ********", "pin": "********"}}})
        );
    }
}
