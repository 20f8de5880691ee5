//! In: what went wrong in a template. Out: an error with the user's own place and the way there.

use std::path::PathBuf;

use crate::diagnostic::Diagnostic;
use crate::foreign::{self, Sort};
use crate::source::Span;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateErrorKind {
    Syntax,
    Undefined,
    UnknownFilter,
    /// A filter, test or lookup that only Ansible can run.
    Foreign,
    NotBoolean,
    Recursion,
    Failed,
}

/// A template that did not compile or did not render.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    pub kind: TemplateErrorKind,
    /// As Ansible's users know it where there is such a text: `'missing' is undefined`.
    pub message: String,
    /// Where in the user's text, as near as can be told.
    pub span: Option<Span>,
    /// The variables that led here, outermost first, each with its place.
    pub chain: Vec<(String, Option<Span>)>,
    pub help: Option<String>,
}

impl TemplateError {
    pub fn to_diagnostic(&self) -> Diagnostic {
        use crate::diagnostic::Code;
        let code = match self.kind {
            TemplateErrorKind::Syntax => Code::TEMPLATE_SYNTAX,
            TemplateErrorKind::Undefined => Code::UNDEFINED,
            TemplateErrorKind::UnknownFilter => Code::UNKNOWN_FILTER,
            TemplateErrorKind::Foreign => Code::FOREIGN,
            TemplateErrorKind::NotBoolean => Code::NOT_BOOLEAN,
            TemplateErrorKind::Recursion => Code::RECURSION,
            TemplateErrorKind::Failed => Code::TEMPLATE_FAILED,
        };
        let mut diagnostic = Diagnostic::error(code, self.message.clone());
        if let Some(span) = &self.span {
            diagnostic = diagnostic.at(span, "");
        }
        for (name, span) in &self.chain {
            if let Some(span) = span {
                diagnostic = diagnostic.also(span, format!("while expanding `{name}`"));
            }
        }
        if let Some(help) = &self.help {
            diagnostic = diagnostic.help(help.clone());
        }
        diagnostic
    }
}

impl TemplateError {
    pub(super) fn new(
        kind: TemplateErrorKind,
        message: impl Into<String>,
        span: Option<Span>,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            span,
            chain: Vec::new(),
            help: None,
        }
    }

    /// The same error, told better when it is about something that only Ansible can run.
    #[must_use]
    pub(super) fn or_foreign(self, sort: Sort, name: &str, dirs: &[PathBuf]) -> Self {
        match foreign::look(sort, name, dirs) {
            Some(found) => {
                Self::new(TemplateErrorKind::Foreign, found.what, self.span).help(found.help)
            }
            None => self,
        }
    }

    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
