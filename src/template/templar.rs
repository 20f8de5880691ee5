//! In: values as written and a scope. Out: values, truths, rendered files. One for a run, shared by all hosts.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, RwLock};

use minijinja::{ErrorKind, Expression, Value};

use super::dialect::environment;
use super::errors::{TemplateError, TemplateErrorKind};
use super::expand::{Place, settle};
use super::lazy::{Condition, Lazy, Scope, TemplateText};
use super::rewrite::{Chain, Plugin, rewrite};
use super::split::{Piece, Unclosed, split};
use crate::source::Reader;

/// Renders templates and judges conditions. Cheap to clone: what is compiled is shared.
#[derive(Clone, Default)]
pub struct Templar {
    compiled: Arc<RwLock<HashMap<Arc<str>, Arc<Compiled>>>>,
    reader: Reader,
}

/// An expression, ready to be evaluated, and the names in it.
struct Compiled {
    expression: Expression<'static, 'static>,
    chains: Vec<Chain>,
}

impl Templar {
    /// With the reader of a run, which opens vaulted values.
    pub fn new(reader: Reader) -> Self {
        Self {
            compiled: Arc::default(),
            reader,
        }
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Expands a value as written: natively typed, to any depth; `omit` entries are dropped. The result is `omit`
    /// itself ([`Templar::is_omit`]) when that is all there is.
    pub fn evaluate(&self, lazy: &Lazy, scope: &Arc<dyn Scope>) -> Result<Value, TemplateError> {
        let value = Place::new(self, scope).value(lazy)?;
        settle(&value).map_err(|problem| explain(&problem, None, &[], scope))
    }

    /// True for the value that stands for "not given".
    pub fn is_omit(value: &Value) -> bool {
        super::expand::is_omit(value)
    }

    /// One expression without braces: `var:` of debug.
    pub fn expression(
        &self,
        text: &TemplateText,
        scope: &Arc<dyn Scope>,
    ) -> Result<Value, TemplateError> {
        self.one(text, 0..text.text.len(), &Place::new(self, scope))
    }

    /// `when`, `until`, `changed_when`, ...: must yield a boolean.
    pub fn condition(
        &self,
        condition: &Condition,
        scope: &Arc<dyn Scope>,
    ) -> Result<bool, TemplateError> {
        match condition {
            Condition::Bool(value) => Ok(*value),
            Condition::All(conditions) => {
                for condition in conditions {
                    if !self.condition(condition, scope)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Wrong { what, span } => Err(TemplateError::new(
                TemplateErrorKind::NotBoolean,
                format!("a condition cannot be {what}"),
                Some(span.clone()),
            )),
            Condition::Expression(text) => {
                let place = Place::new(self, scope);
                let whole = text.text.trim();
                let value = if whole.starts_with("{{") || whole.starts_with("{%") {
                    self.template(text, &place)?
                } else {
                    self.one(text, 0..text.text.len(), &place)?
                };
                truth(&value, text)
            }
        }
    }

    /// A template file: text in, text out. As many newlines end it as ended the source.
    pub fn render_file(
        &self,
        text: &TemplateText,
        scope: &Arc<dyn Scope>,
    ) -> Result<String, TemplateError> {
        let place = Place::new(self, scope);
        let pieces = split(&text.text).map_err(|problem| unclosed(&problem, text))?;
        Ok(ended_as(&text.text, Self::mixed(text, &pieces, &place)?))
    }

    /// A template in a value: native when it is one expression, text otherwise.
    pub(super) fn template(
        &self,
        text: &TemplateText,
        place: &Place,
    ) -> Result<Value, TemplateError> {
        let pieces = split(&text.text).map_err(|problem| unclosed(&problem, text))?;
        if let [Piece::Output { inner, .. }] = pieces.as_slice() {
            self.one(text, inner.clone(), place)
        } else {
            let rendered = Self::mixed(text, &pieces, place)?;
            Ok(Value::from(ended_as(&text.text, rendered)))
        }
    }

    /// One expression of a text.
    fn one(
        &self,
        text: &TemplateText,
        range: Range<usize>,
        place: &Place,
    ) -> Result<Value, TemplateError> {
        let source = &text.text[range.clone()];
        let compiled = self
            .compile(source)
            .map_err(|problem| syntax(&problem, text, &range))?;
        let value = compiled
            .expression
            .eval(place.context())
            .and_then(|value| settle(&value));
        let fail = |problem: &minijinja::Error| {
            explain(
                problem,
                Some((text, range.clone())),
                &compiled.chains,
                &place.scope,
            )
        };
        let value = value.map_err(|problem| fail(&problem))?;
        if value.is_undefined() {
            return Err(fail(&minijinja::Error::from(ErrorKind::UndefinedError)));
        }
        Ok(value)
    }

    fn compile(&self, source: &str) -> Result<Arc<Compiled>, minijinja::Error> {
        if let Some(compiled) = self
            .compiled
            .read()
            .ok()
            .and_then(|compiled| compiled.get(source).cloned())
        {
            return Ok(compiled);
        }
        let rewritten = rewrite(source);
        let expression = environment().compile_expression_owned(rewritten.text)?;
        let compiled = Arc::new(Compiled {
            expression,
            chains: rewritten.chains,
        });
        if let Ok(mut all) = self.compiled.write() {
            all.insert(Arc::from(source), Arc::clone(&compiled));
        }
        Ok(compiled)
    }

    /// Text with templates in it, as the engine renders it whole.
    fn mixed(
        text: &TemplateText,
        pieces: &[Piece],
        place: &Place,
    ) -> Result<String, TemplateError> {
        let Whole { source, chains, .. } = Whole::new(text, pieces);
        let whole = 0..text.text.len();
        let template = environment()
            .template_from_str(&source)
            .map_err(|problem| syntax(&problem, text, &whole))?;
        template
            .render(place.context())
            .map_err(|problem| explain(&problem, Some((text, whole)), &chains, &place.scope))
    }

    /// The text of a vault.
    pub fn open_vault(&self, text: &TemplateText) -> Result<Value, TemplateError> {
        let opened = self.reader.open(&text.text).map_err(|problem| {
            TemplateError::new(
                TemplateErrorKind::Failed,
                problem.to_string(),
                Some(text.span.clone()),
            )
        })?;
        Ok(Value::from(opened))
    }
}

/// A text with templates in the engine's form, and the names in it with their places in the text.
pub(super) struct Whole {
    pub(super) source: String,
    /// Without the names that the template itself binds.
    pub(super) chains: Vec<Chain>,
    pub(super) plugins: Vec<Plugin>,
}

impl Whole {
    pub(super) fn new(text: &TemplateText, pieces: &[Piece]) -> Self {
        let mut source = String::with_capacity(text.text.len() * 2);
        let (mut chains, mut plugins, mut bound) = (Vec::new(), Vec::new(), Vec::new());
        for piece in pieces {
            match piece {
                Piece::Text(range) | Piece::Comment(range) => {
                    source.push_str(&text.text[range.clone()]);
                }
                Piece::Output { all, inner } | Piece::Statement { all, inner } => {
                    let body = &text.text[inner.clone()];
                    let skip = if matches!(piece, Piece::Statement { .. }) {
                        head(body, &mut bound)
                    } else {
                        0
                    };
                    let rewritten = rewrite(&body[skip..]);
                    source.push_str(&text.text[all.start..inner.start]);
                    source.push_str(&body[..skip]);
                    source.push_str(&rewritten.text);
                    source.push_str(&text.text[inner.end..all.end]);
                    let moved = |at: Range<usize>| {
                        at.start + inner.start + skip..at.end + inner.start + skip
                    };
                    chains.extend(rewritten.chains.into_iter().map(|chain| Chain {
                        at: moved(chain.at),
                        ..chain
                    }));
                    plugins.extend(rewritten.plugins.into_iter().map(|plugin| Plugin {
                        at: moved(plugin.at),
                        ..plugin
                    }));
                }
            }
        }
        chains.retain(|chain: &Chain| !bound.contains(&chain.root));
        plugins.retain(|plugin: &Plugin| !bound.contains(&plugin.name));
        Self {
            source,
            chains,
            plugins,
        }
    }
}

/// The part of a statement that names things and looks nothing up: its tag, the targets of `for`, `set` and `macro`.
/// The names are added to those that the template itself binds.
fn head(body: &str, bound: &mut Vec<String>) -> usize {
    let tag = body
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(body.len());
    let rest = &body[tag..];
    let end = match &body[..tag] {
        "for" => tag + rest.find(" in ").map_or(0, |at| at + 4),
        "set" => tag + rest.find('=').unwrap_or(rest.len()),
        "macro" | "call" | "block" | "import" | "from" | "include" | "extends" => body.len(),
        _ => return tag,
    };
    let names = body[tag..end]
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|name| !name.is_empty() && *name != "in");
    bound.extend(names.map(ToOwned::to_owned));
    bound.push("loop".to_owned());
    end
}

/// The 2.19 rule: a condition is a boolean, nothing else.
fn truth(value: &Value, text: &TemplateText) -> Result<bool, TemplateError> {
    if value.kind() == minijinja::value::ValueKind::Bool {
        return Ok(value.is_true());
    }
    let (kind, help) = match value.kind() {
        minijinja::value::ValueKind::String => (
            "text",
            "write `... | bool` for yes and no in text, or `... | length > 0` for not empty",
        ),
        minijinja::value::ValueKind::Number => ("a number", "compare it: `... > 0`"),
        minijinja::value::ValueKind::None => ("nothing", "write `... is not none`"),
        minijinja::value::ValueKind::Map => ("a mapping", "write `... | length > 0` for not empty"),
        _ => ("a list", "write `... | length > 0` for not empty"),
    };
    let message = format!("the condition gave {kind}; conditionals must have a boolean result");
    Err(TemplateError::new(
        TemplateErrorKind::NotBoolean,
        message,
        Some(text.span.clone()),
    )
    .help(help))
}

pub(super) fn unclosed(problem: &Unclosed, text: &TemplateText) -> TemplateError {
    let place = text.place(problem.at.start, problem.at.end);
    TemplateError::new(
        TemplateErrorKind::Syntax,
        format!(
            "a template is opened and never closed by `{}`",
            problem.wanted
        ),
        Some(place),
    )
}

pub(super) fn syntax(
    problem: &minijinja::Error,
    text: &TemplateText,
    range: &Range<usize>,
) -> TemplateError {
    let place = text.place(range.start, range.end);
    let detail = problem
        .detail()
        .map_or_else(|| problem.kind().to_string(), ToOwned::to_owned);
    TemplateError::new(
        TemplateErrorKind::Syntax,
        format!("template error: {detail}"),
        Some(place),
    )
}

/// Text with at least as many newlines at its end as its source has, as ansible-core 2.19 does for files and values: a
/// block at the end has taken one.
fn ended_as(source: &str, mut rendered: String) -> String {
    let newlines = |text: &str| text.len() - text.trim_end_matches('\n').len();
    for _ in newlines(&rendered)..newlines(source) {
        rendered.push('\n');
    }
    rendered
}

/// What the engine's error means in the user's text.
fn explain(
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
            return inner.clone();
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
        if let Some((chain, what)) = chains
            .iter()
            .filter(|chain| !chain.is_guarded)
            .find_map(|chain| Some((chain, missing(chain, scope)?)))
        {
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
            .map_or_else(|| "a value is undefined".to_owned(), ToOwned::to_owned);
        return TemplateError::new(TemplateErrorKind::Undefined, message, place);
    }
    let kind = match root.kind() {
        ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction => {
            TemplateErrorKind::UnknownFilter
        }
        _ => TemplateErrorKind::Failed,
    };
    let message = root.detail().map_or_else(
        || root.kind().to_string(),
        |detail| format!("{}: {detail}", root.kind()),
    );
    TemplateError::new(kind, message, place)
}

/// What of a chain is not there, in Ansible's words; `None` when the chain is whole.
fn missing(chain: &Chain, scope: &Arc<dyn Scope>) -> Option<String> {
    let Some(lazy) = scope.lookup(&chain.root) else {
        return (!environment_has(&chain.root)).then(|| format!("'{}' is undefined", chain.root));
    };
    let mut value = Place::new(&Templar::default(), scope).value(&lazy).ok()?;
    for name in &chain.path {
        let next = value.get_item(&Value::from(name.as_str())).ok()?;
        if next.is_undefined() {
            let kind = match value.kind() {
                minijinja::value::ValueKind::Map => "dict",
                minijinja::value::ValueKind::Seq => "list",
                minijinja::value::ValueKind::String => "str",
                minijinja::value::ValueKind::Number => "int",
                minijinja::value::ValueKind::Bool => "bool",
                _ => "object",
            };
            return Some(format!("object of type '{kind}' has no attribute '{name}'"));
        }
        value = next;
    }
    None
}

pub(super) fn environment_has(name: &str) -> bool {
    environment().globals().any(|(known, _)| known == name)
}
