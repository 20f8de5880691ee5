//! In: a path of a host. Out: the file's content, or why there is none.

use std::io::ErrorKind;

use super::script;
use crate::error::ModuleError;
use crate::platform::Platform;

/// What reading a path gives.
pub(in crate::core) enum Content {
    File(Vec<u8>),
    Missing,
    Folder,
    /// It may not be read.
    Closed,
    /// What the host says.
    Other(String),
}

/// Reads it, or says with its status why it cannot.
const READ: &str = r#"[ -d "$1" ] && exit 45
[ -e "$1" ] || exit 44
[ -r "$1" ] || exit 46
exec cat < "$1""#;

/// Reads a file whole.
pub(in crate::core) async fn read(platform: &Platform, path: &str) -> Result<Content, ModuleError> {
    if platform.shell()?.is_local() {
        return Ok(match tokio::fs::read(path).await {
            Ok(bytes) => Content::File(bytes),
            Err(problem) => match problem.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Content::Missing,
                ErrorKind::IsADirectory => Content::Folder,
                ErrorKind::PermissionDenied => Content::Closed,
                _ => Content::Other(problem.to_string()),
            },
        });
    }
    let output = script::run(platform, READ, &[path.to_owned()], None).await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(match output.rc {
        0 => Content::File(output.stdout),
        44 => Content::Missing,
        45 => Content::Folder,
        46 => Content::Closed,
        _ => Content::Other(said),
    })
}
