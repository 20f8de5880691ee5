//! What modules share that keep entries in a text file of the host. In: the file's content and the new one. Out: what
//! that changes, and the file in its place, with its rights.

use serde_json::{Map, Value};

use super::host::{Rights, UnsupportedRights};
use super::place::{self, Edit, Source, Wish, Work};
use crate::contract::Change;
use crate::error::ModuleError;
use crate::platform::Platform;

/// A file with its content before and after.
pub(super) struct Text<'a> {
    pub(super) path: &'a str,
    /// What was read; None when there is no file.
    pub(super) before: Option<Vec<u8>>,
    pub(super) after: Vec<u8>,
    /// What is not said stays.
    pub(super) rights: Rights,
    /// Of folders that are made.
    pub(super) directory_mode: Option<Value>,
    /// A link stays, and what it leads to is written.
    pub(super) follow: bool,
    pub(super) backup: bool,
    pub(super) result: Map<String, Value>,
}

impl<'a> Text<'a> {
    pub(super) fn new(path: &'a str, before: Option<Vec<u8>>, after: Vec<u8>) -> Self {
        Self {
            path,
            before,
            after,
            rights: Rights::default(),
            directory_mode: None,
            follow: true,
            backup: false,
            result: Map::new(),
        }
    }
}

/// What the new content changes.
pub(super) async fn inspect(
    text: Text<'_>,
    platform: &Platform,
) -> Result<Change<Work>, ModuleError> {
    static UNSAID: Option<String> = None;
    let wish = Wish {
        source: Source::Bytes {
            bytes: text.after,
            path: None,
        },
        name: None,
        dest: text.path,
        rights: text.rights,
        unsupported: UnsupportedRights {
            selinux: ["seuser", "serole", "setype", "selevel"].map(|name| (name, &UNSAID)),
            attributes: &UNSAID,
        },
        directory_mode: text.directory_mode,
        backup: text.backup,
        force: true,
        follow: text.follow,
        validate: None,
        checksum: None,
        edit: Some(Edit {
            before: text.before,
            msg: None,
            result: text.result,
            backup_key: "backup_file",
            header: text.path.to_owned(),
        }),
    };
    place::inspect(wish, platform).await
}

/// The lines of a text, each without its end.
pub(super) fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // What follows the last newline is no line.
    lines.pop_if(|last| last.is_empty());
    lines
}

/// The same back: every line ends.
pub(super) fn joined<L: AsRef<[u8]>>(lines: &[L]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend_from_slice(line.as_ref());
        bytes.push(b'\n');
    }
    bytes
}
