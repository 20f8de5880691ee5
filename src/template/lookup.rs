//! In: `lookup('file', ...)` in a template, or a `with_NAME` loop. Out: what the one who answers lookups found. The
//! answers come from outside, through [`Lookups`]: files, commands and inventories are none of the engine's business.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::value::{Kwargs, Object, Rest, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};

use super::errors::{TemplateError, TemplateErrorKind};
use super::expand::{Place, settle};
use super::lazy::{Lazy, Scope, TemplateText};
use crate::foreign::Sort;

/// Answers lookups.
pub trait Lookups: Send + Sync {
    /// Every name that [`Lookups::find`] knows.
    fn names(&self) -> &'static [&'static str];
    /// What is found: always a list.
    fn find(&self, call: &LookupCall) -> Result<Vec<Value>, LookupError>;
}

/// Why a lookup has no answer.
#[derive(Debug)]
pub enum LookupError {
    Text(String),
    Template(Box<TemplateError>),
}

impl From<String> for LookupError {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for LookupError {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<TemplateError> for LookupError {
    fn from(problem: TemplateError) -> Self {
        Self::Template(Box::new(problem))
    }
}

/// One lookup.
pub struct LookupCall<'c> {
    pub name: &'c str,
    pub terms: Vec<Value>,
    pub options: IndexMap<String, Value>,
    /// Called as `with_NAME`.
    pub is_loop: bool,
    place: &'c Place,
}

impl LookupCall<'_> {
    /// Reads files with the passwords of the run.
    pub fn reader(&self) -> &crate::source::Reader {
        self.place.templar.reader()
    }

    /// The folders in which files are looked for, nearest first.
    pub fn search_path(&self) -> Vec<std::path::PathBuf> {
        self.place.scope.search_path()
    }

    /// The names of all variables.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.place.scope.names()
    }

    /// A variable, expanded; `None` when there is none of this name.
    pub fn variable(&self, name: &str) -> Option<Result<Value, TemplateError>> {
        let lazy = self.place.scope.lookup(name)?;
        let value = self.place.value(&lazy);
        Some(value.and_then(|value| {
            settle(&value).map_err(|problem| super::explain::plain(&problem, &self.place.scope))
        }))
    }

    /// The hosts that a pattern names.
    pub fn hosts(&self, pattern: &str) -> Result<Vec<Arc<str>>, String> {
        self.place.scope.hosts(pattern)
    }

    /// A template file, with some variables of its own.
    pub fn render(
        &self,
        text: &TemplateText,
        own: IndexMap<Arc<str>, Value>,
        form: &super::file::Form,
    ) -> Result<String, TemplateError> {
        let scope: Arc<dyn Scope> = Arc::new(Overlay {
            below: Arc::clone(&self.place.scope),
            own,
        });
        self.place.templar.render_file(text, &scope, form)
    }
}

/// Some names on top of a scope.
pub(super) struct Overlay {
    pub(super) below: Arc<dyn Scope>,
    pub(super) own: IndexMap<Arc<str>, Value>,
}

impl Scope for Overlay {
    fn lookup(&self, name: &str) -> Option<Lazy> {
        match self.own.get(name) {
            Some(value) => Some(Lazy::Data(value.clone())),
            None => self.below.lookup(name),
        }
    }

    fn names(&self) -> Vec<Arc<str>> {
        let mut names = self.below.names();
        names.extend(self.own.keys().cloned());
        names
    }

    fn search_path(&self) -> Vec<std::path::PathBuf> {
        self.below.search_path()
    }

    fn is_written(&self, name: &str) -> bool {
        !self.own.contains_key(name) && self.below.is_written(name)
    }

    fn hosts(&self, pattern: &str) -> Result<Vec<Arc<str>>, String> {
        self.below.hosts(pattern)
    }
}

/// `lookup`, `query` and `q`, as a value that macros can take along.
pub(super) struct Function {
    place: Place,
    is_list: bool,
}

/// The names under which lookups are called.
pub(super) const FUNCTIONS: &[&str] = &["lookup", "query", "q"];

impl Function {
    pub(super) fn named(name: &str, place: &Place) -> Option<Value> {
        FUNCTIONS.contains(&name).then(|| {
            Value::from_object(Self {
                place: place.clone(),
                is_list: name != "lookup",
            })
        })
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_list { "query" } else { "lookup" })
    }
}

impl Object for Function {
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (name, Rest(terms), kwargs): (String, Rest<Value>, Kwargs) = from_args(args)?;
        let mut options = IndexMap::new();
        for key in kwargs.args() {
            options.insert(key.to_owned(), kwargs.get::<Value>(key)?);
        }
        let is_list = options
            .shift_remove("wantlist")
            .map_or(self.is_list, |value| value.is_true());
        let errors = options
            .shift_remove("errors")
            .map_or_else(|| "strict".to_owned(), |value| value.to_string());
        if !matches!(errors.as_str(), "strict" | "warn" | "ignore") {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("`errors` is `strict`, `warn` or `ignore`, not `{errors}`"),
            ));
        }
        let mut settled = Vec::new();
        for term in &terms {
            if term.is_undefined() {
                return Err(Error::from(ErrorKind::UndefinedError));
            }
            settled.push(settle(term)?);
        }
        for value in options.values_mut() {
            if value.is_undefined() {
                return Err(Error::from(ErrorKind::UndefinedError));
            }
            *value = settle(value)?;
        }
        let found = match find(&self.place, &name, settled, options, false) {
            Ok(found) => found,
            Err(problem) if problem.kind == TemplateErrorKind::Undefined || errors == "strict" => {
                return Err(
                    Error::new(ErrorKind::InvalidOperation, problem.message.clone())
                        .with_source(problem),
                );
            }
            Err(problem) => {
                if errors == "warn" {
                    tracing::warn!("{}", problem.message);
                }
                return Ok(if is_list {
                    Value::from(Vec::<Value>::new())
                } else {
                    Value::from(())
                });
            }
        };
        if is_list {
            return Ok(Value::from(found));
        }
        Ok(match found.as_slice() {
            [one] => one.clone(),
            [] => Value::from(found),
            many if many.iter().all(|item| item.kind() == ValueKind::String) => {
                let texts: Vec<_> = many.iter().map(ToString::to_string).collect();
                Value::from(texts.join(","))
            }
            _ => Value::from(found),
        })
    }
}

/// Asks for one lookup.
pub(super) fn find(
    place: &Place,
    name: &str,
    terms: Vec<Value>,
    options: IndexMap<String, Value>,
    is_loop: bool,
) -> Result<Vec<Value>, TemplateError> {
    let known = place.templar.lookups();
    let name = ["ansible.builtin.", "ansible.legacy."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    let names = known.map_or(&[][..], |lookups| lookups.names());
    let Some(lookups) = known.filter(|_| names.contains(&name)) else {
        let problem = TemplateError::new(
            TemplateErrorKind::UnknownFilter,
            format!("The lookup plugin '{name}' was not found."),
            None,
        )
        .or_foreign(Sort::Lookup, name, &place.scope.search_path());
        if problem.kind == TemplateErrorKind::Foreign {
            return Err(problem);
        }
        let near = crate::diagnostic::nearest::nearest(name, names.iter().copied());
        return Err(match near {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem,
        });
    };
    let call = LookupCall {
        name,
        terms,
        options,
        is_loop,
        place,
    };
    lookups.find(&call).map_err(|problem| match problem {
        LookupError::Template(problem) => *problem,
        LookupError::Text(text) => TemplateError::new(
            TemplateErrorKind::Failed,
            format!("The lookup plugin '{name}' failed: {text}"),
            None,
        ),
    })
}
