//! In: what a person wrote in a playbook, and a scope of variables. Out: values, in Ansible's dialect of Jinja:
//! native types, lazy nested templates, undefined names that fail, data that is never a template.
//!
//! ```text
//! lazy      what a variable holds before it is used; Scope, where names are looked up
//! split     text -> pieces          rewrite   an expression -> the engine's form, and its chains of names
//! dialect   the engine, set up      expand    variables as the engine sees them: expanded when they are used
//! templar   evaluates values, judges conditions, renders files
//! operators `%` and comparisons by Python's rules         outputs   one value alone keeps its type
//! percent   `%s`, `%03d`
//! clock     `now`, `to_datetime`
//! methods   of text, lists and mappings
//! lookup    lookups, answered from outside            file      how a template file is written, and its includes
//! about     what a template file knows of itself           explain   errors of the engine in words of the user's text
//! lint      what is wrong whatever the variables are, and which names are used; facts: those of the host
//! ```

mod about;
mod clock;
mod dialect;
mod embedded;
mod errors;
mod expand;
mod explain;
mod facts;
mod file;
mod filters;
mod lazy;
mod lint;
mod lookup;
mod methods;
mod operators;
mod outputs;
mod percent;
#[cfg(test)]
mod properties;
mod rewrite;
mod split;
mod templar;
#[cfg(test)]
mod tests;

pub use about::{TEMPLATE_NAMES, about};
pub use errors::{TemplateError, TemplateErrorKind};
pub use expand::absent;
pub use explain::python_type;
pub use facts::FactNames;
pub use file::Form;
pub use filters::{PasswordHash, bytes_of, expand_path, salt};
pub use lazy::{Condition, Lazy, Scope, TemplateText, is_template};
pub use lint::Lint;
pub use lookup::{LookupCall, LookupError, Lookups};
pub use minijinja::Value;
pub use percent::format as percent_format;
pub use templar::Templar;
