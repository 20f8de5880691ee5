//! In: a scope of unexpanded variables. Out: the context that the engine asks for names. A template inside a variable
//! is expanded when the variable is used, with the user's scope; what is never used never fails.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::dialect::{Omit, environment};
use super::errors::{TemplateError, TemplateErrorKind};
use super::filters::vaults::WAS_VAULTED;
use super::lazy::{Lazy, Scope, TemplateText};
use super::lookup::Function;
use super::templar::Templar;

/// Variables inside variables inside variables: as deep as anybody nests, and no deeper than the stack bears.
const DEPTH: usize = 64;

/// How many reasons are kept.
const REASONS: usize = 16;

thread_local! {
    /// Why a name is undefined although something defines it: its own template uses what is not there. Newest last.
    static REASONS_SEEN: RefCell<VecDeque<(String, TemplateError)>> = const { RefCell::new(VecDeque::new()) };
}

/// A value that could not be made. One whose template uses an undefined name is undefined itself, as Ansible has it
/// (`default` and `is defined` work on it); every other error is a value that fails when it is used.
pub fn absent(name: &str, problem: TemplateError) -> Value {
    if problem.kind == TemplateErrorKind::Undefined {
        REASONS_SEEN.with_borrow_mut(|reasons| {
            if reasons.len() == REASONS {
                reasons.pop_front();
            }
            reasons.push_back((name.to_owned(), problem));
        });
        return Value::UNDEFINED;
    }
    Value::from(
        Error::new(ErrorKind::BadSerialization, problem.message.clone()).with_source(problem),
    )
}

/// Why the value of a name was made undefined.
pub(super) fn reason(name: &str) -> Option<TemplateError> {
    REASONS_SEEN.with_borrow(|reasons| {
        let mut newest = reasons.iter().rev();
        newest
            .find(|(known, _)| known == name)
            .map(|(_, problem)| problem.clone())
    })
}

thread_local! {
    /// What the last step to nowhere looked for.
    static LAST_STEP: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers why a value is undefined that has no name.
pub(super) fn nowhere(why: Option<String>) {
    LAST_STEP.set(why);
}

/// What [`nowhere`] was told last.
pub(super) fn last_step() -> Option<String> {
    LAST_STEP.with_borrow(Clone::clone)
}

/// An entry of a collection that is used as a whole.
fn defined(name: &str, item: Value) -> Result<Value, Error> {
    if !item.is_undefined() {
        return Ok(item);
    }
    Err(match reason(name) {
        Some(problem) => {
            Error::new(ErrorKind::UndefinedError, problem.message.clone()).with_source(problem)
        }
        None => Error::from(ErrorKind::UndefinedError),
    })
}

/// The templates being expanded, innermost first.
struct Frame {
    text: Arc<TemplateText>,
    name: Arc<str>,
    outer: Option<Arc<Frame>>,
    depth: usize,
}

/// Where an expansion takes place.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) templar: Templar,
    pub(super) scope: Arc<dyn Scope>,
    frame: Option<Arc<Frame>>,
    name: Arc<str>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.name)
    }
}

impl Place {
    pub(super) fn new(templar: &Templar, scope: &Arc<dyn Scope>) -> Self {
        Self {
            templar: templar.clone(),
            scope: Arc::clone(scope),
            frame: None,
            name: Arc::from(""),
        }
    }

    /// The context of an expression.
    pub(super) fn context(&self) -> Value {
        Value::from_object(Context(self.clone()))
    }

    /// A variable as the engine sees it: templates expanded now, collections when their parts are asked for.
    pub(super) fn value(&self, lazy: &Lazy) -> Result<Value, TemplateError> {
        match lazy {
            Lazy::Data(value) => Ok(value.clone()),
            Lazy::List(items) => Ok(Value::from_object(List(self.clone(), Arc::clone(items)))),
            Lazy::Map(entries) => Ok(Value::from_object(Map(self.clone(), Arc::clone(entries)))),
            Lazy::Template(text) => self.inside(text)?.templar_value(text),
            Lazy::Vault(text) => self.templar.open_vault(text),
        }
    }

    fn templar_value(&self, text: &Arc<TemplateText>) -> Result<Value, TemplateError> {
        self.templar.template(text, self).map_err(|mut problem| {
            if !self.name.is_empty() {
                problem
                    .chain
                    .insert(0, (self.name.to_string(), Some(text.span.clone())));
            }
            problem
        })
    }

    /// The place inside a template, unless it is being expanded already.
    fn inside(&self, text: &Arc<TemplateText>) -> Result<Self, TemplateError> {
        let mut frame = self.frame.as_ref();
        while let Some(outer) = frame {
            if Arc::ptr_eq(&outer.text, text) {
                let message = format!(
                    "Recursive loop detected in template: `{}` refers to itself",
                    outer.name
                );
                return Err(TemplateError::new(
                    TemplateErrorKind::Recursion,
                    message,
                    Some(text.span.clone()),
                ));
            }
            frame = outer.outer.as_ref();
        }
        let depth = self.frame.as_ref().map_or(0, |frame| frame.depth) + 1;
        if depth > DEPTH {
            let message = format!("variables refer to each other more than {DEPTH} levels deep");
            return Err(TemplateError::new(
                TemplateErrorKind::Recursion,
                message,
                Some(text.span.clone()),
            ));
        }
        let frame = Frame {
            text: Arc::clone(text),
            name: Arc::clone(&self.name),
            outer: self.frame.clone(),
            depth,
        };
        Ok(Self {
            frame: Some(Arc::new(frame)),
            ..self.clone()
        })
    }

    /// For the engine.
    fn shown(&self, name: &str, lazy: &Lazy) -> Value {
        let place = Self {
            name: Arc::from(name),
            ..self.clone()
        };
        place
            .value(lazy)
            .unwrap_or_else(|problem| absent(name, problem))
    }
}

/// All variables.
#[derive(Debug)]
struct Context(Place);

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        match self.0.scope.lookup(name) {
            Some(lazy) => Some(self.0.shown(name, &lazy)),
            None if name == WAS_VAULTED => {
                let reader = self.0.templar.reader().clone();
                Some(Value::from_function(move |value: Value| {
                    value.as_str().is_some_and(|text| reader.was_vaulted(text))
                }))
            }
            None => Function::named(name, &self.0),
        }
    }
}

#[derive(Debug)]
struct Map(Place, Arc<IndexMap<Arc<str>, Lazy>>);

impl Object for Map {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        Some(self.0.shown(name, self.1.get(name)?))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(
            self.1
                .keys()
                .map(|key| Value::from(Arc::clone(key)))
                .collect(),
        )
    }
}

#[derive(Debug)]
struct List(Place, Arc<[Lazy]>);

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(
            self.0
                .shown(&format!("[{key}]"), self.1.get(key.as_usize()?)?),
        )
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.1.len())
    }
}

pub(super) fn is_omit(value: &Value) -> bool {
    value.downcast_object_ref::<Omit>().is_some()
}

/// Plain data: everything expanded, `omit` entries dropped at any depth.
pub(super) fn settle(value: &Value) -> Result<Value, Error> {
    if is_omit(value) {
        return Ok(value.clone());
    }
    match value.kind() {
        // Only the engine can take the error out of a value that holds one: it does when the value is used.
        ValueKind::Invalid => environment()
            .compile_expression("value | d")?
            .eval(Value::from_pairs([("value", value.clone())])),
        ValueKind::Seq => {
            let items = value
                .try_iter()?
                .enumerate()
                .filter(|(_, item)| !is_omit(item))
                .map(|(at, item)| settle(&defined(&format!("[{at}]"), item)?));
            Ok(Value::from(items.collect::<Result<Vec<_>, _>>()?))
        }
        ValueKind::Map => {
            let mut entries = Vec::new();
            for key in value.try_iter()? {
                let item = value.get_item(&key)?;
                if !is_omit(&item) {
                    let item = defined(&key.to_string(), item)?;
                    entries.push((key, settle(&item)?));
                }
            }
            Ok(Value::from_pairs(entries))
        }
        ValueKind::Iterable => Ok(Value::from(
            value
                .try_iter()?
                .map(|item| settle(&defined("", item)?))
                .collect::<Result<Vec<_>, _>>()?,
        )),
        _ => Ok(value.clone()),
    }
}
