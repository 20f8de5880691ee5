//! In: a lookup that a template or a loop asks for. Out: its list. Everything is found on this machine, in the search
//! path of the task.
//!
//! ```text
//! files    file, fileglob, first_found, template, unvault, and where files are looked for
//! lists    items, dict, nested, together, sequence, subelements, ...
//! tables   ini, csvfile
//! outside  env, pipe, lines, password, random_choice
//! web      url
//! ```

mod files;
mod lists;
mod outside;
mod tables;
#[cfg(test)]
mod tests;
mod web;

use std::sync::Arc;

use indexmap::IndexMap;
use layerplay_modules::python_regex::{Flags, Pattern};

use super::Connect;
use crate::template::{LookupCall, LookupError, Lookups, Value};

pub(super) use files::{find_in, form_for, whole};

/// The lookups that layerplay has.
struct Known {
    connect: Arc<dyn Connect>,
    settings: IndexMap<String, serde_json::Value>,
}

/// Whoever evaluates templates asks these. `connect` reaches this machine; `settings` by the names that
/// `lookup('config', NAME)` has for them.
pub fn lookups(
    connect: Arc<dyn Connect>,
    settings: IndexMap<String, serde_json::Value>,
) -> Arc<dyn Lookups> {
    Arc::new(Known { connect, settings })
}

/// The names of all lookups.
pub fn lookup_names() -> &'static [&'static str] {
    NAMES
}

/// What a lookup answers.
type Found = Result<Vec<Value>, LookupError>;

const NAMES: &[&str] = &[
    "cartesian",
    "config",
    "csvfile",
    "dict",
    "env",
    "file",
    "fileglob",
    "first_found",
    "flattened",
    "indexed_items",
    "ini",
    "inventory_hostnames",
    "items",
    "lines",
    "list",
    "nested",
    "password",
    "pipe",
    "random_choice",
    "sequence",
    "subelements",
    "template",
    "together",
    "unvault",
    "url",
    "varnames",
    "vars",
];

impl Lookups for Known {
    fn names(&self) -> &'static [&'static str] {
        NAMES
    }

    fn find(&self, call: &LookupCall) -> Found {
        match call.name {
            "items" => Ok(lists::flat(&call.terms)),
            "list" => lists::list(call),
            "flattened" => Ok(lists::flattened(&call.terms)),
            "indexed_items" => Ok(lists::indexed(&call.terms)),
            "dict" => lists::dict(call),
            "nested" | "cartesian" => lists::nested(call),
            "together" => lists::together(call),
            "sequence" => lists::sequence(call),
            "subelements" => lists::subelements(call),
            "file" => files::file(call),
            "unvault" => files::unvault(call),
            "fileglob" => files::fileglob(call),
            "first_found" => files::first_found(call),
            "template" => files::template(call),
            "ini" => tables::ini(call),
            "csvfile" => tables::csvfile(call),
            "env" => outside::env(call),
            "pipe" => outside::pipe(call, false),
            "lines" => outside::pipe(call, true),
            "password" => outside::password(call),
            "random_choice" => outside::random_choice(call),
            "vars" => vars(call),
            "varnames" => varnames(call),
            "inventory_hostnames" => hosts(call),
            "config" => config(call, &self.settings),
            "url" => web::url(call, &self.connect),
            other => Err(format!("no lookup is called `{other}`").into()),
        }
    }
}

/// The options of a call, each with its default. What is not known is an error.
struct Options<'c>(&'c IndexMap<String, Value>);

impl<'c> Options<'c> {
    fn of(call: &'c LookupCall, known: &[&str]) -> Result<Self, LookupError> {
        match call
            .options
            .keys()
            .find(|name| !known.contains(&name.as_str()))
        {
            Some(wrong) => Err(format!(
                "`{wrong}` is no option of `{}`; it takes {}",
                call.name,
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    format!("`{}`", known.join("`, `"))
                }
            )
            .into()),
            None => Ok(Self(&call.options)),
        }
    }

    fn get(&self, name: &str) -> Option<&'c Value> {
        self.0.get(name).filter(|value| !value.is_none())
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.get(name)
            .map_or_else(|| default.to_owned(), ToString::to_string)
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, |value| {
            matches!(
                value.to_string().to_lowercase().as_str(),
                "true" | "yes" | "on" | "1"
            )
        })
    }

    fn number(&self, name: &str) -> Result<Option<i64>, LookupError> {
        self.get(name)
            .map(|value| {
                value
                    .as_i64()
                    .or_else(|| value.to_string().trim().parse().ok())
                    .ok_or_else(|| format!("`{name}` is no whole number: {value}").into())
            })
            .transpose()
    }
}

/// Each term as text.
fn texts(call: &LookupCall) -> Result<Vec<String>, LookupError> {
    call.terms
        .iter()
        .map(|term| {
            term.as_str()
                .map(ToOwned::to_owned)
                .ok_or_else(|| LookupError::Text(format!("`{}` takes text, not {term}", call.name)))
        })
        .collect()
}

/// A regular expression.
fn pattern(text: &str) -> Result<Pattern, LookupError> {
    Pattern::text(text, Flags::default())
        .map_err(|problem| format!("`{text}` is no regular expression: {problem}").into())
}

/// Variables by their names.
fn vars(call: &LookupCall) -> Found {
    let options = Options::of(call, &["default"])?;
    texts(call)?
        .iter()
        .map(
            |name| match (call.variable(name), options.0.get("default")) {
                (Some(value), _) => Ok(value?),
                (None, Some(default)) => Ok(default.clone()),
                (None, None) => Err(format!("No variable named '{name}' was found.").into()),
            },
        )
        .collect()
}

/// Names of variables that match.
fn varnames(call: &LookupCall) -> Found {
    Options::of(call, &[])?;
    let names = call.names();
    let mut found = Vec::new();
    for text in texts(call)? {
        let regex = pattern(&text)?;
        for name in &names {
            if regex
                .is_match(name)
                .map_err(|problem| problem.to_string())?
            {
                found.push(Value::from(Arc::clone(name)));
            }
        }
    }
    Ok(found)
}

/// Hosts by patterns.
fn hosts(call: &LookupCall) -> Found {
    Options::of(call, &[])?;
    let pattern = texts(call)?.join(",");
    let hosts = call.hosts(&pattern)?;
    Ok(hosts.into_iter().map(Value::from).collect())
}

/// Settings by their names.
fn config(call: &LookupCall, settings: &IndexMap<String, serde_json::Value>) -> Found {
    let options = Options::of(
        call,
        &["on_missing", "plugin_type", "plugin_name", "show_origin"],
    )?;
    if let Some(name) = ["plugin_type", "plugin_name", "show_origin"]
        .into_iter()
        .find(|name| options.get(name).is_some_and(Value::is_true))
    {
        return Err(format!("`{name}` is not supported: layerplay has no plugins; `layerplay config` shows where a setting comes from").into());
    }
    let on_missing = options.text("on_missing", "error");
    if !matches!(on_missing.as_str(), "error" | "warn" | "skip") {
        return Err(
            format!("`on_missing` is `error`, `warn` or `skip`, not `{on_missing}`").into(),
        );
    }
    let mut found = Vec::new();
    for name in texts(call)? {
        match settings.get(&name) {
            Some(value) => found.push(super::result::from_json(value)),
            None if on_missing == "error" => {
                let known = settings.keys().map(String::as_str);
                let near = crate::diagnostic::nearest::nearest(&name, known);
                return Err(format!(
                    "no setting that layerplay has is called `{name}`{}",
                    near.map(|near| format!("; did you mean `{near}`?"))
                        .unwrap_or_default()
                )
                .into());
            }
            None => {}
        }
    }
    Ok(found)
}
