//! What a variable holds before it is used. Text that a person wrote may be a template and stays unexpanded until the
//! place of use; results of modules are data for ever.

use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::Value;

use crate::source::Span;
use crate::yaml::{Node, NodeKind, ScalarValue, Tag};

/// Text that may be a template, with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateText {
    pub text: Arc<str>,
    pub span: Span,
    /// The value is a plain or quoted scalar without escapes, so that an offset in `text` (plus `offset`) is an offset in the span.
    pub offset: Option<usize>,
}

/// A value as written. Subtrees without templates are `Data` already.
#[derive(Debug, Clone)]
pub enum Lazy {
    Data(Value),
    Template(Arc<TemplateText>),
    List(Arc<[Lazy]>),
    Map(Arc<IndexMap<Arc<str>, Lazy>>),
    /// A `!vault` text: opened when it is used.
    Vault(Arc<TemplateText>),
}

/// Where names are looked up. Answers are unexpanded; the templar expands them in the same scope.
pub trait Scope: Send + Sync {
    fn lookup(&self, name: &str) -> Option<Lazy>;
    /// All names, for `vars`, `varnames` and "did you mean".
    fn names(&self) -> Vec<Arc<str>>;
    /// The file whose task is running, for relative lookups: folders to search, nearest first.
    fn search_path(&self) -> Vec<std::path::PathBuf> {
        Vec::new()
    }
    /// True when a person wrote what a name holds, so that its text may be an expression: `when: "{{ condition }}"`.
    fn is_written(&self, _name: &str) -> bool {
        false
    }
    /// The hosts that a pattern names.
    fn hosts(&self, pattern: &str) -> Result<Vec<Arc<str>>, String> {
        Err(format!("there is no inventory to look for `{pattern}` in"))
    }
}

impl Lazy {
    /// From a parsed node. Text with `{{`, `{%` or `{#` becomes a template unless it, or something around it, is `!unsafe`.
    pub fn from_node(node: &Node) -> Self {
        Self::build(node, false)
    }

    fn build(node: &Node, is_unsafe: bool) -> Self {
        let is_unsafe = is_unsafe || node.tag == Some(Tag::Unsafe);
        match &node.kind {
            NodeKind::Scalar(scalar) if node.tag == Some(Tag::Vault) => {
                Self::Vault(Arc::new(TemplateText {
                    text: Arc::clone(&scalar.text),
                    span: node.span.clone(),
                    offset: None,
                }))
            }
            NodeKind::Scalar(scalar) => match &scalar.value {
                ScalarValue::Null => Self::Data(Value::from(())),
                ScalarValue::Bool(value) => Self::Data(Value::from(*value)),
                ScalarValue::Int(value) => Self::Data(Value::from(*value)),
                ScalarValue::BigInt(digits) => Self::Data(
                    digits
                        .parse::<i128>()
                        .map_or_else(|_| Value::from(digits.as_str()), Value::from),
                ),
                ScalarValue::Float(value) => Self::Data(Value::from(*value)),
                ScalarValue::Text if !is_unsafe && is_template(&scalar.text) => {
                    Self::Template(Arc::new(TemplateText::from_scalar(node, &scalar.text)))
                }
                ScalarValue::Text => Self::Data(Value::from(Arc::clone(&scalar.text))),
            },
            NodeKind::Sequence(items) => {
                let items: Vec<Self> = items
                    .iter()
                    .map(|item| Self::build(item, is_unsafe))
                    .collect();
                Self::list(items)
            }
            NodeKind::Mapping(mapping) => Self::map(
                mapping
                    .iter()
                    .map(|(key, value)| {
                        (
                            Arc::from(key.as_str().unwrap_or_default()),
                            Self::build(value, is_unsafe),
                        )
                    })
                    .collect(),
            ),
        }
    }

    /// A list, folded to data when no item is a template.
    pub fn list(items: Vec<Self>) -> Self {
        if items.iter().all(|item| matches!(item, Self::Data(_))) {
            Self::Data(
                items
                    .into_iter()
                    .filter_map(Self::into_data)
                    .collect::<Vec<Value>>()
                    .into(),
            )
        } else {
            Self::List(items.into())
        }
    }

    /// A mapping, folded to data when no value is a template.
    pub fn map(entries: IndexMap<Arc<str>, Self>) -> Self {
        if entries.values().all(|value| matches!(value, Self::Data(_))) {
            Self::Data(Value::from_pairs(entries.into_iter().filter_map(
                |(key, value)| Some((Value::from(key), value.into_data()?)),
            )))
        } else {
            Self::Map(Arc::new(entries))
        }
    }

    fn into_data(self) -> Option<Value> {
        match self {
            Self::Data(value) => Some(value),
            _ => None,
        }
    }
}

/// Whether text holds a template at all.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// `when`, `until`, `changed_when`, ...: an expression, or a list of which all must hold.
#[derive(Debug, Clone)]
pub enum Condition {
    Bool(bool),
    Expression(Arc<TemplateText>),
    All(Vec<Condition>),
    /// Something that can never be a condition; judged false with an error at run time, as Ansible does.
    Wrong {
        what: &'static str,
        span: Span,
    },
}

impl Condition {
    pub fn from_node(node: &Node) -> Self {
        match &node.kind {
            NodeKind::Sequence(items) => Self::All(items.iter().map(Self::from_node).collect()),
            NodeKind::Scalar(scalar) => match scalar.value {
                ScalarValue::Bool(value) => Self::Bool(value),
                ScalarValue::Text if !scalar.text.trim().is_empty() => {
                    Self::Expression(Arc::new(TemplateText::from_scalar(node, &scalar.text)))
                }
                ScalarValue::Text => Self::Wrong {
                    what: "empty",
                    span: node.span.clone(),
                },
                _ => Self::Wrong {
                    what: node.describe(),
                    span: node.span.clone(),
                },
            },
            NodeKind::Mapping(_) => Self::Wrong {
                what: "a mapping",
                span: node.span.clone(),
            },
        }
    }
}

impl TemplateText {
    /// From a scalar node. The offset is known when the text stands in the file as it is.
    pub fn from_scalar(node: &Node, text: &Arc<str>) -> Self {
        Self {
            text: Arc::clone(text),
            span: node.span.clone(),
            offset: node.span.text().find(&**text),
        }
    }

    /// Text from no file: a result that is evaluated, the text of a test.
    pub fn from_text(name: &str, text: &str) -> Self {
        let file = crate::source::SourceFile::from_text(name, text);
        Self {
            text: Arc::from(text),
            span: Span::new(&file, 0, text.len()),
            offset: Some(0),
        }
    }

    /// The place of some bytes of the text in the file, as near as can be told.
    pub fn place(&self, start: usize, end: usize) -> Span {
        self.offset.map_or_else(
            || self.span.clone(),
            |offset| self.span.inside(offset + start, offset + end),
        )
    }
}
