//! In: what a person wrote in a playbook, and a scope of variables. Out: values, in Ansible's dialect of Jinja:
//! native types, lazy nested templates, undefined names that fail, data that is never a template.

mod lazy;
mod rewrite;
mod split;
mod templar;

pub use lazy::{Lazy, Scope, TemplateText};
pub use minijinja::Value;
pub use templar::{Templar, TemplateError, TemplateErrorKind};
