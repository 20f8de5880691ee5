//! In: an error of the template engine, the expression it is of, the scope. Out: what it means in the user's text, in
//! Ansible's words: the name that is undefined, with its place, or what a variable further in says.

use std::ops::Range;
use std::sync::Arc;

use minijinja::{ErrorKind, Value};

use super::dialect::{MANDATORY, environment};
use super::errors::{TemplateError, TemplateErrorKind};
use super::expand::{Place, last_step, reason};
use super::lazy::{Scope, TemplateText};
use super::lookup::FUNCTIONS;
use super::rewrite::Chain;
use super::templar::Templar;
use crate::foreign::Sort;

/// An engine's error without a place.
pub(super) fn plain(problem: &minijinja::Error, scope: &Arc<dyn Scope>) -> TemplateError {
    explain(problem, None, &[], scope)
}

/// What the engine's error means in the user's text.
pub(super) fn explain(
    problem: &minijinja::Error,
    at: Option<(&TemplateText, Range<usize>)>,
    chains: &[Chain],
    scope: &Arc<dyn Scope>,
) -> TemplateError {
    // An error from a variable further in is the better one.
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(problem);
    let mut root = problem;
    while let Some(error) = source {
        if let Some(inner) = error.downcast_ref::<TemplateError>() {
            let mut inner = inner.clone();
            if inner.span.is_none() {
                inner.span = at.map(|(text, range)| text.place(range.start, range.end));
            }
            return inner;
        }
        if let Some(engine) = error.downcast_ref::<minijinja::Error>() {
            root = engine;
        }
        source = error.source();
    }
    let place = at
        .as_ref()
        .map(|(text, range)| text.place(range.start, range.end));
    if root.kind() == ErrorKind::UndefinedError {
        if let Some((chain, missing)) = chains
            .iter()
            .filter(|chain| !chain.is_guarded)
            .find_map(|chain| Some((chain, missing(chain, scope)?)))
        {
            let what = match missing {
                Missing::Name(what) => what,
                Missing::Inside(problem) => return problem,
            };
            let start = at.as_ref().map_or(0, |(text, range)| {
                if range.end == text.text.len() && range.start == 0 {
                    0
                } else {
                    range.start
                }
            });
            let place = at
                .map(|(text, _)| text.place(start + chain.at.start, start + chain.at.end))
                .or(place);
            let mut error = TemplateError::new(TemplateErrorKind::Undefined, what, place);
            let names = scope.names();
            if scope.lookup(&chain.root).is_none()
                && let Some(near) = crate::diagnostic::nearest::nearest(
                    &chain.root,
                    names.iter().map(AsRef::as_ref),
                )
            {
                error = error.help(format!("did you mean `{near}`?"));
            }
            return error;
        }
        let message = root
            .detail()
            .map(ToOwned::to_owned)
            .or_else(last_step)
            .unwrap_or_else(|| "a value is undefined".to_owned());
        return TemplateError::new(TemplateErrorKind::Undefined, message, place);
    }
    let (kind, sort) = match root.kind() {
        ErrorKind::UnknownFilter => (TemplateErrorKind::UnknownFilter, Some(Sort::Filter)),
        ErrorKind::UnknownTest => (TemplateErrorKind::UnknownFilter, Some(Sort::Test)),
        ErrorKind::UnknownFunction => (TemplateErrorKind::UnknownFilter, None),
        _ => (TemplateErrorKind::Failed, None),
    };
    let message = match (root.kind(), root.detail()) {
        (_, Some(MANDATORY)) => {
            let name = chains.iter().find(|chain| missing(chain, scope).is_some());
            name.map_or_else(
                || MANDATORY.to_owned(),
                |chain| format!("Mandatory variable '{}' not defined.", chain.root),
            )
        }
        (ErrorKind::UnknownFilter, Some(detail)) => {
            format!(
                "Syntax error in template: No filter named '{}'.",
                plugin(detail)
            )
        }
        (ErrorKind::UnknownTest, Some(detail)) => {
            format!(
                "Syntax error in template: No test named '{}'.",
                plugin(detail)
            )
        }
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    let error = TemplateError::new(kind, message, place);
    match (sort, root.detail().map(plugin)) {
        (Some(sort), Some(name)) => error.or_foreign(sort, name, &scope.search_path()),
        _ => error,
    }
}

/// The name in `filter NAME is unknown`: the engine says it nowhere else.
fn plugin(detail: &str) -> &str {
    detail.split(' ').nth(1).unwrap_or(detail)
}

/// What is undefined.
enum Missing {
    /// A name or an attribute, in Ansible's words.
    Name(String),
    /// Something in the template that a variable holds.
    Inside(TemplateError),
}

/// What of a chain is not there; `None` when the chain is whole.
fn missing(chain: &Chain, scope: &Arc<dyn Scope>) -> Option<Missing> {
    let Some(lazy) = scope.lookup(&chain.root) else {
        return (!environment_has(&chain.root))
            .then(|| Missing::Name(format!("'{}' is undefined", chain.root)));
    };
    let mut value = match Place::new(&Templar::default(), scope).value(&lazy) {
        Ok(value) => value,
        Err(problem) if problem.kind == TemplateErrorKind::Undefined => {
            return Some(Missing::Inside(reason(&chain.root).unwrap_or(problem)));
        }
        // Lookups are not answered here.
        Err(_) => return reason(&chain.root).map(Missing::Inside),
    };
    for name in &chain.path {
        let next = value.get_item(&Value::from(name.as_str())).ok()?;
        if next.is_undefined() {
            let has_key = value.kind() == minijinja::value::ValueKind::Map
                && value
                    .try_iter()
                    .is_ok_and(|mut keys| keys.any(|key| key.as_str() == Some(name)));
            if let Some(problem) = reason(name).filter(|_| has_key) {
                return Some(Missing::Inside(problem));
            }
            let kind = python_type(&value);
            return Some(Missing::Name(format!(
                "object of type '{kind}' has no attribute '{name}'"
            )));
        }
        value = next;
    }
    None
}

/// The name of a value's type, as messages have it.
pub fn python_type(value: &Value) -> &'static str {
    use minijinja::value::ValueKind;
    match value.kind() {
        ValueKind::Map => "dict",
        ValueKind::Seq => "list",
        ValueKind::String => "str",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::Bool => "bool",
        ValueKind::None => "NoneType",
        _ => "object",
    }
}

pub(super) fn environment_has(name: &str) -> bool {
    FUNCTIONS.contains(&name) || environment().globals().any(|(known, _)| known == name)
}
