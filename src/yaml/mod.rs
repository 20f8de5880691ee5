//! In: a [`SourceFile`](crate::source::SourceFile). Out: a [`Node`] that keeps the span, tag and style of everything,
//! with scalars resolved as PyYAML does (YAML 1.1), because that is what Ansible's files mean.

mod compose;
mod node;
#[cfg(test)]
mod properties;
mod scalar;

pub use compose::{parse, parse_documents};
pub use node::{Mapping, Node, NodeKind, Scalar, ScalarValue, Style, Tag};

#[cfg(test)]
mod tests;
