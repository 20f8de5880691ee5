//! In: the steps of [`super::steps`]. Out: the same done on this machine, without a child process.

use std::fs::{FileTimes, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Group, User};

use super::hash::Algorithm;
use super::look;
use super::script::io_kind;
use super::steps::{Expected, Origin, Step, When, Write, moved};
use crate::error::ModuleError;

/// Takes the steps in order; the first that fails ends it.
pub(super) fn take(steps: &[Step]) -> Result<(), ModuleError> {
    for step in steps {
        if let Step::Expect { path, state } = step {
            let sum = matches!(state, Expected::Content(_)).then_some(Algorithm::Sha1);
            let looks = look::local(std::slice::from_ref(path), sum)?;
            if Expected::from(looks.at(path)?) != *state {
                return Err(moved(path));
            }
            continue;
        }
        one(step).map_err(|problem| {
            let text = format!("cannot {}: {problem}", step.what());
            ModuleError::new(io_kind(&problem), text)
        })?;
    }
    Ok(())
}

fn one(step: &Step) -> std::io::Result<()> {
    match step {
        Step::Expect { .. } => Ok(()),
        Step::Folder { path } if Path::new(path).is_dir() => Ok(()),
        Step::Folder { path } => std::fs::create_dir(path),
        Step::Write(write) => replace(write),
        Step::Link { text, path } => over(path, |temporary| symlink(text, temporary)),
        Step::Hard { from, path } => over(path, |temporary| std::fs::hard_link(from, temporary)),
        Step::Backup { path, to } => backup(path, to),
        Step::Owner { path, owner } => lchown(path, Some(user(owner)?), None),
        Step::Group { path, group } => lchown(path, None, Some(group_id(group)?)),
        Step::Mode { path, mode } => std::fs::set_permissions(path, Permissions::from_mode(*mode)),
        Step::Remove { path } => match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
            Ok(_) => std::fs::remove_file(path),
            Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(problem) => Err(problem),
        },
        Step::RemoveEmpty { path } => std::fs::remove_dir(path),
        Step::Create { path } => std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map(|_| ()),
        Step::Times {
            path,
            accessed,
            modified,
        } => {
            let moment = |when: &Option<When>| match when {
                None => TimeSpec::UTIME_OMIT,
                Some(When::Now) => TimeSpec::UTIME_NOW,
                Some(When::At(seconds)) => TimeSpec::new(*seconds, 0),
            };
            // By name: opening a pipe would wait for its other end.
            let follow = UtimensatFlags::FollowSymlink;
            utimensat(
                AT_FDCWD,
                path.as_str(),
                &moment(accessed),
                &moment(modified),
                follow,
            )
            .map_err(std::io::Error::from)
        }
    }
}

fn no_such(kind: &str, name: &str) -> std::io::Error {
    std::io::Error::other(format!("there is no {kind} `{name}`"))
}

/// A name, or else a number.
fn user(name: &str) -> std::io::Result<u32> {
    match User::from_name(name)? {
        Some(user) => Ok(user.uid.as_raw()),
        None => name.parse().map_err(|_| no_such("user", name)),
    }
}

fn group_id(name: &str) -> std::io::Result<u32> {
    match Group::from_name(name)? {
        Some(group) => Ok(group.gid.as_raw()),
        None => name.parse().map_err(|_| no_such("group", name)),
    }
}

fn replace(write: &Write) -> std::io::Result<()> {
    // Nobody else may read it before it has its rights.
    let first = if write.mode.is_some() { 0o600 } else { 0o666 };
    let mut file = match &write.origin {
        Origin::Taken(path) => {
            let file = std::fs::File::open(path)?;
            tempfile::NamedTempFile::from_parts(file, tempfile::TempPath::try_from_path(path)?)
        }
        _ => tempfile::Builder::new()
            .prefix(".layerplay-")
            .permissions(Permissions::from_mode(first))
            .tempfile_in(super::parent(&write.path))?,
    };
    let mut times = None;
    match &write.origin {
        Origin::Bytes(bytes) => file.write_all(bytes)?,
        Origin::Taken(_) => {
            // It was made for its owner alone.
            let mode = write.mode.unwrap_or(0o666 & !look::umask());
            file.as_file()
                .set_permissions(Permissions::from_mode(mode))?;
        }
        Origin::Controller(path) | Origin::Host(path) => {
            let mut source = std::fs::File::open(path)?;
            std::io::copy(&mut source, &mut file)?;
            if write.keeps_times {
                let meta = source.metadata()?;
                times = Some(
                    FileTimes::new()
                        .set_accessed(meta.accessed()?)
                        .set_modified(meta.modified()?),
                );
            }
        }
    }
    if let Some((uid, gid)) = write.keep {
        // As far as the user may: the content is what was asked for.
        let _ = chown(file.path(), Some(uid), Some(gid))
            .or_else(|_| chown(file.path(), None, Some(gid)));
    }
    let owner = write.owner.as_deref().map(user).transpose()?;
    let group = write.group.as_deref().map(group_id).transpose()?;
    if owner.is_some() || group.is_some() {
        chown(file.path(), owner, group)?;
    }
    if let Some(mode) = write.mode {
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
    }
    if let Some(times) = times {
        file.as_file().set_times(times)?;
    }
    file.persist(&write.path).map_err(|problem| problem.error)?;
    Ok(())
}

/// Makes something under a temporary name, then renames it.
fn over(path: &str, make: impl Fn(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let made = tempfile::Builder::new()
        .prefix(".layerplay-")
        .make_in(super::parent(path), |temporary| make(temporary))?;
    // Two names of one file: a rename would do nothing and leave the temporary one, which the drop removes.
    made.persist(path).map_err(|problem| problem.error)?;
    Ok(())
}

fn backup(path: &str, to: &str) -> std::io::Result<()> {
    std::fs::copy(path, to)?;
    let meta = std::fs::metadata(path)?;
    // As far as the user may, as `cp -p` does.
    let _ = chown(to, Some(meta.uid()), Some(meta.gid()));
    std::fs::set_permissions(to, meta.permissions())?;
    let times = FileTimes::new()
        .set_accessed(meta.accessed()?)
        .set_modified(meta.modified()?);
    std::fs::File::open(to)?.set_times(times)
}
