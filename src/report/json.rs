//! In: events; out: one JSON object a line, the event stream itself.

use serde_json::json;

use super::Output;
use crate::event::{Event, Sink};

/// `--format json`.
pub struct JsonLines {
    output: Output,
}

impl JsonLines {
    pub fn new(output: Output) -> Self {
        Self { output }
    }
}

impl Sink for JsonLines {
    fn event(&mut self, event: &Event) {
        // Events hold only strings, numbers and JSON: writing them cannot fail, and if it did a reader must still see
        // that an event is missing.
        let value = serde_json::to_value(event).unwrap_or_else(|problem| {
            json!({"event": "warning", "message": format!("event {} cannot be written: {problem}", event.seq)})
        });
        self.output.json(value);
    }
}
