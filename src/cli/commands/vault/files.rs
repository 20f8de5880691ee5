//! Files that are encrypted. In: paths, `-` for standard input and output. Out: their bytes, and files that are replaced
//! in one go, with the mode and owner that they had, and no plain text left of what was there before.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::STANDARD;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};

/// The mode of a new file: for nobody else's eyes.
const NEW: u32 = 0o600;

/// Whether what the file held before is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wipe {
    Yes,
    No,
}

fn told(path: &Path, problem: &std::io::Error) -> Diagnostics {
    Diagnostic::error(Code::UNREADABLE, format!("`{}`: {problem}", path.display())).into()
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Diagnostics> {
    let mut bytes = Vec::new();
    let done = if path.as_os_str() == STANDARD {
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
    } else {
        fs::read(path).map(|read| bytes = read)
    };
    done.map_err(|problem| told(path, &problem))?;
    Ok(bytes)
}

/// The folder of a file that is to be made.
pub(super) fn make_folder(path: &Path) -> Result<(), Diagnostics> {
    match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        Some(dir) => fs::create_dir_all(dir).map_err(|problem| told(dir, &problem)),
        None => Ok(()),
    }
}

pub(super) fn write(path: &Path, bytes: &[u8], wipe: Wipe) -> Result<(), Diagnostics> {
    let done = if path.as_os_str() == STANDARD {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush())
    } else {
        replace(path, bytes, wipe)
    };
    done.map_err(|problem| told(path, &problem))
}

fn replace(path: &Path, bytes: &[u8], wipe: Wipe) -> std::io::Result<()> {
    // A link stays a link.
    let path: PathBuf = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let before = fs::metadata(&path).ok();
    let mut file = tempfile::Builder::new()
        .prefix(".vault-")
        .tempfile_in(dir)?;
    file.write_all(bytes)?;
    if let Some(before) = &before {
        let own = file.as_file().metadata()?;
        if (own.uid(), own.gid()) != (before.uid(), before.gid()) {
            chown(file.path(), Some(before.uid()), Some(before.gid()))?;
        }
    }
    let mode = before.as_ref().map_or(NEW, |before| before.mode() & 0o7777);
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    let old = match &before {
        // Another name of the same file would be lost with it.
        Some(before) if wipe == Wipe::Yes && before.nlink() == 1 => Some((
            fs::OpenOptions::new().write(true).open(&path)?,
            before.len(),
        )),
        _ => None,
    };
    file.persist(&path).map_err(|problem| problem.error)?;
    match old {
        Some((old, size)) => overwrite(old, size),
        None => Ok(()),
    }
}

/// Zeros in place of what an open file holds.
pub(super) fn overwrite(mut file: File, size: u64) -> std::io::Result<()> {
    std::io::copy(&mut std::io::repeat(0).take(size), &mut file)?;
    file.sync_all()
}
