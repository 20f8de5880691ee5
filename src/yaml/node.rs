//! The parsed form: what the text says, before anybody knows what it means.

use std::sync::Arc;

use crate::source::{Reader, Span};

/// Shorter numbers turn up everywhere: hiding them would break all text.
const SHORTEST_NUMBER: usize = 6;

/// A YAML node with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub span: Span,
    pub tag: Option<Tag>,
    pub kind: NodeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// `!vault`: an encrypted text.
    Vault,
    /// `!unsafe`: never a template; inherited by everything below.
    Unsafe,
}

#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Mapping),
}

/// How a scalar was written. Only plain scalars are anything but text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
    Folded,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    pub value: ScalarValue,
    /// The text as it stands for, after unquoting: `yes` for a boolean that was written `yes`.
    pub text: Arc<str>,
    pub style: Style,
}

/// What a scalar is by YAML 1.1 as PyYAML reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum ScalarValue {
    Null,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, in decimal digits.
    BigInt(String),
    Float(f64),
    /// Text; dates too, which print as written.
    Text,
}

/// Keys in the order of the file. A duplicate key has replaced the value before it (with a warning at parse).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    pub entries: Vec<(Node, Node)>,
}

impl Mapping {
    /// The value of a text key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Key and value of a text key.
    pub fn entry(&self, key: &str) -> Option<&(Node, Node)> {
        self.entries
            .iter()
            .find(|(name, _)| name.as_str() == Some(key))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Node, &Node)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Node {
    /// The text of a scalar, whatever its type (`yes` for a boolean written so). None for collections and null.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar(scalar) if scalar.value != ScalarValue::Null => Some(&scalar.text),
            _ => None,
        }
    }

    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.kind {
            NodeKind::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.kind {
            NodeKind::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            NodeKind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(
            &self.kind,
            NodeKind::Scalar(Scalar {
                value: ScalarValue::Null,
                ..
            })
        )
    }

    /// Masks all values of a file that was encrypted; of other files none.
    pub fn hide(&self, reader: &Reader) {
        if !self.span.file.is_secret {
            return;
        }
        match &self.kind {
            // Opened, and masked, when it is used.
            NodeKind::Scalar(_) if self.tag == Some(Tag::Vault) => {}
            NodeKind::Scalar(scalar) => match scalar.value {
                ScalarValue::Null | ScalarValue::Bool(_) => {}
                ScalarValue::Text => reader.hide(&scalar.text),
                _ if scalar.text.len() >= SHORTEST_NUMBER => reader.hide(&scalar.text),
                _ => {}
            },
            NodeKind::Sequence(items) => items.iter().for_each(|item| item.hide(reader)),
            NodeKind::Mapping(mapping) => mapping.iter().for_each(|(_, value)| value.hide(reader)),
        }
    }

    /// As [`Node::hide`], only what stands below a key, at any depth: the variables of a playbook.
    pub fn hide_below(&self, name: &str, reader: &Reader) {
        if !self.span.file.is_secret {
            return;
        }
        match &self.kind {
            NodeKind::Scalar(_) => {}
            NodeKind::Sequence(items) => {
                for item in items {
                    item.hide_below(name, reader);
                }
            }
            NodeKind::Mapping(mapping) => {
                for (key, value) in mapping.iter() {
                    if key.as_str() == Some(name) {
                        value.hide(reader);
                    } else {
                        value.hide_below(name, reader);
                    }
                }
            }
        }
    }

    /// `a mapping`, `a list`, `text`, `a number`, ... for messages.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            NodeKind::Mapping(_) => "a mapping",
            NodeKind::Sequence(_) => "a list",
            NodeKind::Scalar(scalar) => match scalar.value {
                ScalarValue::Null => "nothing",
                ScalarValue::Bool(_) => "a boolean",
                ScalarValue::Int(_) | ScalarValue::BigInt(_) | ScalarValue::Float(_) => "a number",
                ScalarValue::Text => "text",
            },
        }
    }
}
