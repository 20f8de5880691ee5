//! In: text; out: nodes, with every problem of the text.

use std::sync::Arc;

use super::Node;
use crate::diagnostic::Diagnostics;
use crate::source::SourceFile;

/// Parses a file of one document. `Ok(None)` for an empty one. Warnings (duplicate keys) come along.
pub fn parse(file: &Arc<SourceFile>) -> (Option<Node>, Diagnostics) {
    let (mut documents, diagnostics) = parse_documents(file);
    (documents.pop(), diagnostics)
}

/// Parses a file of any number of documents.
pub fn parse_documents(file: &Arc<SourceFile>) -> (Vec<Node>, Diagnostics) {
    let _ = file;
    (Vec::new(), Diagnostics::default())
}
