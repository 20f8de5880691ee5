//! Any text as a YAML file, a file of variables, and a playbook: read whole or refused with a place that is in the file.
#![no_main]

use std::sync::LazyLock;

use layerplay::playbook::{Catalogue, lower};
use layerplay::source::{SourceFile, Span};
use layerplay::template::Lazy;
use layerplay::yaml::{Node, NodeKind, parse_documents};
use libfuzzer_sys::fuzz_target;

static CATALOGUE: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::new().expect("the modules that come along can be read"));

fn cuts(span: &Span, text: &str) {
    assert!(text.get(span.start..span.end).is_some(), "{span:?}");
}

fn walk(node: &Node, text: &str) {
    cuts(&node.span, text);
    match &node.kind {
        NodeKind::Scalar(_) => {}
        NodeKind::Sequence(items) => items.iter().for_each(|item| walk(item, text)),
        NodeKind::Mapping(mapping) => {
            for (key, value) in mapping.iter() {
                walk(key, text);
                walk(value, text);
            }
        }
    }
}

fuzz_target!(|text: &str| {
    let file = SourceFile::from_text("fuzz.yml", text);
    let (nodes, problems) = parse_documents(&file);
    for node in &nodes {
        walk(node, text);
        let _ = Lazy::from_node(node);
    }
    for problem in &problems.0 {
        if let Some((span, _)) = &problem.primary {
            cuts(span, text);
        }
    }
    // Imports read files beside the playbook: those of a text that comes from nowhere are not there.
    let (_, problems) = lower(&file, &CATALOGUE);
    for problem in &problems.0 {
        if let Some((span, _)) = &problem.primary
            && span.file.path == file.path
        {
            cuts(span, text);
        }
    }
});
