//! In: what a module tried and saw. Out: one error type that the engine can show, retry on, or turn into a result.

use std::time::Duration;

use serde_json::{Map, Value};

/// What kind of failure it is. The engine decides by this, never by text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// An argument is wrong: a tag where a digest is needed, a name that cannot be.
    Argument,
    /// The task failed: the world answered, and the answer is no.
    Failed,
    /// A check before the first write said no; nothing was changed.
    Preflight,
    /// The host (a machine, or a cluster's API) could not be reached. Ansible's `unreachable`.
    Unreachable,
    /// Not allowed: RBAC, file permissions, registry credentials.
    Forbidden,
    /// What was asked for is not there.
    NotFound,
    /// The world moved between inspect and apply; nothing was changed.
    Conflict,
    /// A wait ran out of time or of progress.
    Timeout,
    /// The run was interrupted.
    Cancelled,
    /// A program that the module needs is not installed.
    MissingProgram,
}

/// Whether trying again can help. Modules never retry on their own; the runner does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    Never,
    After(Duration),
}

/// Why a module could not do, or could not find out, what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ModuleError {
    pub kind: ErrorKind,
    /// Lower case, no full stop, the thing in backticks: what was tried and what was seen.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The argument that is wrong, by name, when one is: the engine points at it in the playbook.
    pub argument: Option<String>,
    pub retry: Retry,
    /// Further keys of the task's result (`rc`, `stdout`, `nodes`, ...), as playbooks read them.
    pub result: Map<String, Value>,
}

impl ModuleError {
    /// The host lacks a program. The hint is the module's own: it knows the other ways.
    pub fn lacks(place: &str, program: &str) -> Self {
        Self::new(
            ErrorKind::MissingProgram,
            format!("{place} has no `{program}`"),
        )
    }

    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            argument: None,
            retry: Retry::Never,
            result: Map::new(),
        }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// An argument that cannot be used, by its name.
    pub fn argument(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            argument: Some(name.into()),
            ..Self::new(ErrorKind::Argument, message)
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry = Retry::After(delay);
        self
    }

    /// Adds a key to the task's result.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.result.insert(key.into(), value.into());
        self
    }
}
