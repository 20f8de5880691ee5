//! Filters that read YAML as Ansible does: version 1.1, keys with their types.

use minijinja::value::Value;
use minijinja::{Environment, Error};

use super::fail;
use crate::source::SourceFile;
use crate::yaml::{Node, NodeKind, ScalarValue, parse_documents};

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("from_yaml", |value: &Value| from_yaml(value));
    env.add_filter("from_yaml_all", |value: &Value| {
        documents(value).map(Value::from)
    });
}

/// What is no text is data already.
fn from_yaml(value: &Value) -> Result<Value, Error> {
    if value.as_str().is_none() {
        return Ok(value.clone());
    }
    let mut documents = documents(value)?;
    match documents.len() {
        0 | 1 => Ok(documents.pop().unwrap_or_else(|| Value::from(()))),
        _ => Err(fail(
            "the text holds more than one YAML document: `from_yaml_all` reads them all",
        )),
    }
}

fn documents(value: &Value) -> Result<Vec<Value>, Error> {
    let file = SourceFile::from_text("from_yaml", value.to_string());
    let (nodes, diagnostics) = parse_documents(&file);
    if diagnostics.has_errors() {
        return Err(fail(format!(
            "not YAML: {}",
            diagnostics
                .0
                .iter()
                .map(|problem| problem.message.as_str())
                .collect::<Vec<_>>()
                .join("; ")
        )));
    }
    Ok(nodes.iter().map(value_of).collect())
}

fn value_of(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Sequence(items) => items.iter().map(value_of).collect(),
        NodeKind::Mapping(mapping) => Value::from_pairs(
            mapping
                .iter()
                .map(|(key, value)| (value_of(key), value_of(value))),
        ),
        NodeKind::Scalar(scalar) => match &scalar.value {
            ScalarValue::Null => Value::from(()),
            ScalarValue::Bool(value) => Value::from(*value),
            ScalarValue::Int(value) => Value::from(*value),
            ScalarValue::BigInt(digits) => digits
                .parse::<i128>()
                .map_or_else(|_| Value::from(digits.as_str()), Value::from),
            ScalarValue::Float(value) => Value::from(*value),
            ScalarValue::Text => Value::from(std::sync::Arc::clone(&scalar.text)),
        },
    }
}
