//! What `lineinfile`, `blockinfile` and `replace` share. In: the file of the host as bytes; out: the edited bytes in its
//! place, with its rights.

use serde_json::{Map, Value};

use super::host::{self, Content, Rights, UnsupportedRights};
use super::place::{self, Edit, Source, Wish, Work};
use crate::contract::{Change, Outcome};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;
use crate::python_regex::{Pattern, Problem};

/// A new content, and what is said of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edited {
    pub(super) bytes: Vec<u8>,
    pub(super) msg: String,
}

/// What of the arguments is not the edit itself.
pub(super) struct Around<'a> {
    pub(super) path: &'a str,
    pub(super) rights: Rights,
    pub(super) unsupported: UnsupportedRights<'a>,
    pub(super) backup: bool,
    pub(super) backup_key: &'static str,
    pub(super) validate: Option<&'a str>,
    /// Behind the path, in a difference.
    pub(super) header: &'static str,
}

/// Reads the file; None when there is none.
pub(super) async fn read(platform: &Platform, path: &str) -> Result<Option<Vec<u8>>, ModuleError> {
    match host::read(platform, path).await? {
        Content::File(bytes) => Ok(Some(bytes)),
        Content::Missing => Ok(None),
        Content::Folder => {
            Err(ModuleError::failed(format!("Path {path} is a directory !")).with("rc", 256))
        }
        Content::Closed => Err(ModuleError::new(
            ErrorKind::Forbidden,
            format!("`{path}` may not be read"),
        )
        .hint("`become: true` reads it as root")),
        Content::Other(said) => Err(ModuleError::failed(format!(
            "`{path}` cannot be read: {said}"
        ))),
    }
}

/// A file that must be there, or be made with `create`.
pub(super) fn missing(message: String, takes_create: bool) -> ModuleError {
    let error = ModuleError::new(ErrorKind::NotFound, message).with("rc", 257);
    if takes_create {
        error.hint("`create: true` makes it")
    } else {
        error.hint("make it first with `copy` or `template`")
    }
}

/// A regular expression of an argument.
pub(super) fn pattern(argument: &str, text: &str) -> Result<Pattern, ModuleError> {
    Pattern::bytes(text).map_err(|problem| wrong(argument, text, &problem))
}

pub(super) fn wrong(argument: &str, text: &str, problem: &Problem) -> ModuleError {
    ModuleError::argument(
        argument,
        format!("`{argument}: {text}` cannot be used: {problem}"),
    )
    .hint("it is read as Python reads regular expressions")
}

/// What the new content changes.
pub(super) async fn inspect(
    around: Around<'_>,
    before: Option<Vec<u8>>,
    edited: Edited,
    result: Map<String, Value>,
    platform: &Platform,
) -> Result<Change<Work>, ModuleError> {
    let wish = Wish {
        source: Source::Bytes {
            bytes: edited.bytes,
            path: None,
        },
        name: None,
        dest: around.path,
        rights: around.rights,
        unsupported: around.unsupported,
        directory_mode: None,
        backup: around.backup,
        force: true,
        follow: true,
        validate: around.validate,
        checksum: None,
        edit: Some(Edit {
            before,
            msg: Some(edited.msg),
            result,
            backup_key: around.backup_key,
            header: format!("{}{}", around.path, around.header),
        }),
    };
    place::inspect(wish, platform).await
}

/// Writes it. What a `validate` says is in the message, as in Ansible.
pub(super) async fn apply(work: Work, platform: &Platform) -> Result<Outcome, ModuleError> {
    place::apply(work, platform).await.map_err(|mut problem| {
        if let (Some(rc), Some(said)) = (
            problem.result.get("exit_status").cloned(),
            problem.result.get("stderr").and_then(Value::as_str),
        ) {
            problem.message = format!("failed to validate: rc:{rc} error:{said}");
        }
        problem
    })
}

#[cfg(test)]
mod tests;
