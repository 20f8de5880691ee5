//! Ansible's filters and tests. In: values; out: values, or yes and no. Grouped by what they work on; each group adds itself to the engine.

mod attributes;
mod chance;
mod collections;
mod combining;
mod disk;
mod encodings;
mod layout;
mod markup;
mod numbers;
mod passwords;
mod paths;
#[cfg(test)]
mod properties;
mod regexes;
mod results;
#[cfg(test)]
mod tests;
mod text;
mod to_yaml;
pub(super) mod vaults;
mod yaml_text;

pub use disk::expand_path;
pub use numbers::bytes_of;

use minijinja::{Environment, Error, ErrorKind};

pub use passwords::{PasswordHash, salt};

pub(super) fn add_to(env: &mut Environment<'static>) {
    attributes::add_to(env);
    chance::add_to(env);
    disk::add_to(env);
    layout::add_to(env);
    collections::add_to(env);
    combining::add_to(env);
    encodings::add_to(env);
    numbers::add_to(env);
    passwords::add_to(env);
    paths::add_to(env);
    regexes::add_to(env);
    results::add_to(env);
    text::add_to(env);
    markup::add_to(env);
    vaults::add_to(env);
    to_yaml::add_to(env);
    yaml_text::add_to(env);
}

/// A width, a depth of indent, a number of repeats: more is a mistake, and would cost all memory.
fn bounded(what: &str, number: usize) -> Result<usize, Error> {
    const MOST: usize = 100_000;
    if number > MOST {
        return Err(fail(format!("`{what}` is at most {MOST}, not {number}")));
    }
    Ok(number)
}

/// A filter's own failure, in its own words.
fn fail(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}
