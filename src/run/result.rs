//! In: how one attempt of a task, or one item of its loop, went. Out: the result that playbooks read and reporters show.

use layerplay_modules::contract::TextDiff;
use layerplay_modules::{ErrorKind, FieldChange, ModuleError, Outcome};
use minijinja::Value as TemplateValue;
use serde_json::{Map, Value, json};

use crate::diagnostic::draw;
use crate::event::Status;
use crate::source::Span;
use crate::template::{TemplateError, TemplateErrorKind};

/// What a task of the engine's own asks the walk to do.
#[derive(Debug, Clone)]
pub(super) enum Request {
    /// Tasks of a file, with parameters.
    Include {
        file: std::path::PathBuf,
        /// Instead of a file: a role.
        role: Option<Box<crate::playbook::RoleWish>>,
        parameters: crate::vars::Layers,
        /// The item of the include's loop, as shown.
        item: Option<String>,
        apply: Option<serde_json::Map<String, Value>>,
    },
    FlushHandlers,
    RefreshInventory,
    ClearHostErrors,
    EndPlay,
    EndBatch,
    EndHost,
    EndRole,
    /// The run cannot go on: why.
    Stop(String),
}

/// One result.
#[derive(Debug, Clone, Default)]
pub(super) struct Done {
    /// As playbooks read it, without `changed`, `failed`, `skipped`.
    pub(super) result: Map<String, Value>,
    pub(super) changed: bool,
    pub(super) failed: bool,
    pub(super) skipped: bool,
    pub(super) unreachable: bool,
    pub(super) changes: Vec<FieldChange>,
    pub(super) diff: Vec<TextDiff>,
    pub(super) warnings: Vec<String>,
    /// A failure drawn with its place.
    pub(super) diagnostic: Option<String>,
    pub(super) help: Option<String>,
    /// Results that are always shown.
    pub(super) shown: bool,
    pub(super) requests: Vec<Request>,
}

impl Done {
    pub(super) fn ok(result: Value) -> Self {
        Self {
            result: map(result),
            ..Self::default()
        }
    }

    pub(super) fn skipped(reason: &str) -> Self {
        Self {
            skipped: true,
            result: map(json!({"skip_reason": reason})),
            ..Self::default()
        }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self {
            failed: true,
            result: map(json!({"msg": message.into()})),
            ..Self::default()
        }
    }

    pub(super) fn template(problem: &TemplateError) -> Self {
        Self::template_in("", problem)
    }

    /// A template failed where the words say; the message is in Ansible's form, which playbooks look into.
    pub(super) fn template_in(place: &str, problem: &TemplateError) -> Self {
        Self {
            diagnostic: Some(draw(&problem.to_diagnostic(), false)),
            help: problem.help.clone(),
            ..Self::failed(format!("Task failed: {place}{}", problem.message))
        }
    }

    /// A condition failed.
    pub(super) fn condition(problem: &TemplateError) -> Self {
        let place = match problem.kind {
            TemplateErrorKind::Undefined => "Error while evaluating conditional: ",
            _ => "",
        };
        Self::template_in(place, problem)
    }

    pub(super) fn outcome(outcome: Outcome) -> Self {
        let mut result = outcome.result;
        if !outcome.facts.is_empty() {
            result.insert("ansible_facts".to_owned(), Value::Object(outcome.facts));
        }
        let is_rc_bad = result
            .get("rc")
            .and_then(Value::as_i64)
            .is_some_and(|rc| rc != 0);
        Self {
            failed: is_rc_bad,
            result,
            changed: outcome.changed,
            skipped: outcome.skipped,
            warnings: outcome.warnings,
            ..Self::default()
        }
    }

    /// `argument_place` is where the wrong argument stands in the playbook.
    pub(super) fn error(problem: ModuleError, argument_place: Option<&Span>) -> Self {
        let mut result = problem.result;
        result
            .entry("msg")
            .or_insert_with(|| Value::String(problem.message.clone()));
        if let Some(hint) = &problem.hint {
            result.insert("help".to_owned(), Value::String(hint.clone()));
        }
        let diagnostic = argument_place.map(|place| {
            let code = crate::diagnostic::Code::ARGUMENT;
            let diagnostic = crate::diagnostic::Diagnostic::error(code, problem.message.clone());
            draw(&diagnostic.at(place, ""), false)
        });
        Self {
            unreachable: problem.kind == ErrorKind::Unreachable,
            failed: problem.kind != ErrorKind::Unreachable,
            changed: result
                .get("changed")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            result,
            help: problem.hint,
            diagnostic,
            ..Self::default()
        }
    }

    pub(super) fn status(&self) -> Status {
        if self.unreachable {
            Status::Unreachable
        } else if self.failed {
            Status::Failed
        } else if self.skipped {
            Status::Skipped
        } else if self.changed {
            Status::Changed
        } else {
            Status::Ok
        }
    }

    /// The whole result as a registered variable has it.
    pub(super) fn whole(&self) -> Map<String, Value> {
        let mut whole = Map::new();
        whole.insert("changed".to_owned(), json!(self.changed));
        whole.insert("failed".to_owned(), json!(self.failed));
        if self.skipped {
            whole.insert("skipped".to_owned(), json!(true));
        }
        if self.unreachable {
            whole.insert("unreachable".to_owned(), json!(true));
        }
        for (key, value) in &self.result {
            whole.insert(key.clone(), value.clone());
        }
        whole
    }

    pub(super) fn value(&self) -> TemplateValue {
        from_json(&self.whole())
    }
}

pub(super) fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A template's value as JSON.
pub(super) fn to_json(value: &TemplateValue) -> Value {
    serde_json::to_value(value).unwrap_or_else(|_| Value::String(value.to_string()))
}

/// JSON, and whatever serializes to it, as a template's value.
pub(super) fn from_json(value: &impl serde::Serialize) -> TemplateValue {
    TemplateValue::from(minijinja::value::Serde(value))
}
