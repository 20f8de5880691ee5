//! In: values as written and a scope. Out: values, truths, rendered files. One for a run, shared by all hosts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, RwLock};

use minijinja::{ErrorKind, Expression, Value};

use super::dialect::environment;
use super::embedded::{Where, inline};
use super::errors::{TemplateError, TemplateErrorKind};
use super::expand::{Place, nowhere, settle};
use super::explain::{explain, plain};
use super::file::Form;
use super::lazy::{Condition, Lazy, Scope, TemplateText};
use super::lookup::Lookups;
use super::outputs;
use super::rewrite::{Chain, Plugin, rewrite, rewrite_value};
use super::split::{Piece, Unclosed, split, split_by};
use crate::source::Reader;

/// Renders templates and judges conditions. Cheap to clone: what is compiled is shared.
#[derive(Clone, Default)]
pub struct Templar {
    compiled: Arc<RwLock<HashMap<Arc<str>, Arc<Compiled>>>>,
    reader: Reader,
    lookups: Option<Arc<dyn Lookups>>,
    any_condition: bool,
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
            lookups: None,
            any_condition: false,
        }
    }

    /// Conditions may be anything that Python takes for true or false, as before ansible-core 2.19.
    #[must_use]
    pub fn with_any_condition(mut self, any: bool) -> Self {
        self.any_condition = any;
        self
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// With someone who answers lookups.
    #[must_use]
    pub fn with_lookups(mut self, lookups: Arc<dyn Lookups>) -> Self {
        self.lookups = Some(lookups);
        self
    }

    pub(super) fn lookups(&self) -> Option<&Arc<dyn Lookups>> {
        self.lookups.as_ref()
    }

    /// The 2.19 rule: a condition is a boolean, nothing else.
    fn truth(&self, value: &Value, text: &TemplateText) -> Result<bool, TemplateError> {
        if value.kind() == minijinja::value::ValueKind::Bool || self.any_condition {
            return Ok(value.is_true());
        }
        let (kind, help) = match value.kind() {
            minijinja::value::ValueKind::String => (
                "str",
                "write `... | bool` for yes and no in text, or `... | length > 0` for not empty",
            ),
            minijinja::value::ValueKind::Number if value.is_integer() => {
                ("int", "compare it: `... > 0`")
            }
            minijinja::value::ValueKind::Number => ("float", "compare it: `... > 0`"),
            minijinja::value::ValueKind::None => ("NoneType", "write `... is not none`"),
            minijinja::value::ValueKind::Map => ("dict", "write `... | length > 0` for not empty"),
            _ => ("list", "write `... | length > 0` for not empty"),
        };
        let (line, column) = text.span.line_column();
        let message = format!(
            "Conditional result ({}) was derived from value of type '{kind}' at '{}:{line}:{column}'. Conditionals must have a boolean result.",
            if value.is_true() { "True" } else { "False" },
            text.span.path().display(),
        );
        Err(TemplateError::new(
            TemplateErrorKind::NotBoolean,
            message,
            Some(text.span.clone()),
        )
        .help(help))
    }

    /// The items of a `with_NAME` loop.
    pub fn loop_items(
        &self,
        name: &str,
        terms: Vec<Value>,
        scope: &Arc<dyn Scope>,
    ) -> Result<Vec<Value>, TemplateError> {
        let place = Place::new(self, scope);
        super::lookup::find(&place, name, terms, indexmap::IndexMap::new(), true)
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
        self.one(text, 0..text.text.len(), &Place::new(self, scope), false)
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
                if *what == "empty" {
                    "Empty conditional expressions are not allowed.".to_owned()
                } else {
                    "Conditional expressions must be strings.".to_owned()
                },
                Some(span.clone()),
            )),
            Condition::Expression(text) => {
                let place = Place::new(self, scope);
                let whole = text.text.trim();
                let value = if whole.starts_with("{{") || whole.starts_with("{%") {
                    self.template(text, &place)?
                } else if let Cow::Owned(meant) = inline(&text.text, Where::Everywhere) {
                    let meant = TemplateText {
                        text: Arc::from(meant),
                        span: text.span.clone(),
                        offset: None,
                    };
                    self.one(&meant, 0..meant.text.len(), &place, false)?
                } else {
                    self.one(text, 0..text.text.len(), &place, false)?
                };
                // A name alone may hold an expression that a person wrote; a result never does.
                let name = whole
                    .strip_prefix("{{")
                    .and_then(|whole| whole.strip_suffix("}}"))
                    .map(str::trim);
                if let (Some(inner), Some(name)) = (value.as_str(), name)
                    && place.scope.is_written(name)
                    && !inner.trim().is_empty()
                {
                    let inner = TemplateText {
                        text: Arc::from(inner),
                        span: text.span.clone(),
                        offset: None,
                    };
                    let value = self.one(&inner, 0..inner.text.len(), &place, false)?;
                    return self.truth(&value, text);
                }
                self.truth(&value, text)
            }
        }
    }

    /// A template file: text in, text out. As many newlines end it as ended the source.
    pub fn render_file(
        &self,
        text: &TemplateText,
        scope: &Arc<dyn Scope>,
        form: &Form,
    ) -> Result<String, TemplateError> {
        let fail = |message: String| {
            TemplateError::new(TemplateErrorKind::Syntax, message, Some(text.span.clone()))
        };
        let place = Place::new(self, scope);
        let mut form = form.clone();
        let body = form.header(&text.text).map_err(fail)?;
        let text = &TemplateText {
            text: Arc::from(body),
            span: text.span.clone(),
            offset: text
                .offset
                .map(|offset| offset + text.text.len() - body.len()),
        };
        let pieces =
            split_by(&text.text, &form.markers()).map_err(|problem| unclosed(&problem, text))?;
        let env = form
            .environment()
            .map_err(|problem| syntax(&problem, text, &(0..text.text.len())))?;
        let rendered = render(&env, text, &Whole::new(text, &pieces, false), &place)?;
        Ok(ended_as(&text.text, rendered))
    }

    /// A template in a value: native when it is one expression, text otherwise.
    pub(super) fn template(
        &self,
        text: &TemplateText,
        place: &Place,
    ) -> Result<Value, TemplateError> {
        let pieces = split(&text.text).map_err(|problem| unclosed(&problem, text))?;
        if let [Piece::Output { inner, .. }] = pieces.as_slice() {
            self.one(text, inner.clone(), place, true)
        } else {
            Self::mixed(text, &pieces, place)
        }
    }

    /// One expression of a text.
    fn one(
        &self,
        text: &TemplateText,
        range: Range<usize>,
        place: &Place,
        is_value: bool,
    ) -> Result<Value, TemplateError> {
        let source = &text.text[range.clone()];
        nowhere(None);
        let compiled = self
            .compile(source, is_value)
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

    fn compile(&self, source: &str, is_value: bool) -> Result<Arc<Compiled>, minijinja::Error> {
        // Only a backslash makes a difference between an expression of a value and one of a condition.
        let is_value = is_value && source.contains('\\');
        let key = if is_value {
            Cow::Owned(format!("{source}\0"))
        } else {
            Cow::Borrowed(source)
        };
        if let Some(compiled) = self
            .compiled
            .read()
            .ok()
            .and_then(|compiled| compiled.get(&*key).cloned())
        {
            return Ok(compiled);
        }
        let rewritten = if is_value {
            rewrite_value(source)
        } else {
            rewrite(source)
        };
        let expression = environment().compile_expression_owned(rewritten.text)?;
        let compiled = Arc::new(Compiled {
            expression,
            chains: rewritten.chains,
        });
        if let Ok(mut all) = self.compiled.write() {
            all.insert(Arc::from(&*key), Arc::clone(&compiled));
        }
        Ok(compiled)
    }

    /// Text with templates in it, as the engine renders it whole.
    fn mixed(text: &TemplateText, pieces: &[Piece], place: &Place) -> Result<Value, TemplateError> {
        let whole = Whole::new(text, pieces, true);
        let (rendered, shown) = outputs::watch(|| render(environment(), text, &whole, place));
        let rendered = rendered?;
        // Statements that print nothing do not spoil the type of the one value that is printed.
        let alone = match shown.as_slice() {
            [value] if value.to_string() == rendered => Some(value),
            [value, rest @ ..]
                if rendered.is_empty() && value.is_none() && rest.iter().all(Value::is_none) =>
            {
                Some(value)
            }
            _ => None,
        };
        if let Some(value) = alone.filter(|value| value.as_str().is_none()) {
            return settle(value).map_err(|problem| plain(&problem, &place.scope));
        }
        Ok(Value::from(ended_as(&text.text, rendered)))
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

/// A whole text through the engine.
fn render(
    env: &minijinja::Environment,
    text: &TemplateText,
    whole: &Whole,
    place: &Place,
) -> Result<String, TemplateError> {
    let range = 0..text.text.len();
    let template = env
        .template_from_str(&whole.source)
        .map_err(|problem| syntax(&problem, text, &range))?;
    template
        .render(place.context())
        .map_err(|problem| explain(&problem, Some((text, range)), &whole.chains, &place.scope))
}

/// A text with templates in the engine's form, and the names in it with their places in the text.
pub(super) struct Whole {
    pub(super) source: String,
    /// Without the names that the template itself binds.
    pub(super) chains: Vec<Chain>,
    pub(super) plugins: Vec<Plugin>,
}

impl Whole {
    /// In values a backslash inside of an output is a backslash; in files it escapes.
    pub(super) fn new(text: &TemplateText, pieces: &[Piece], is_value: bool) -> Self {
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
                    let rewritten = if is_value && matches!(piece, Piece::Output { .. }) {
                        rewrite_value(&body[skip..])
                    } else {
                        rewrite(&body[skip..])
                    };
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
        format!("Syntax error in template: {detail}"),
        Some(place),
    )
}

/// Text with at least as many newlines at its end as its source has, as ansible-core 2.19 does for files and values: the
/// engine, as Jinja2, has taken one, and a block at the end another.
fn ended_as(source: &str, mut rendered: String) -> String {
    let newlines = |text: &str| text.len() - text.trim_end_matches('\n').len();
    for _ in newlines(&rendered)..newlines(source) {
        rendered.push('\n');
    }
    rendered
}
