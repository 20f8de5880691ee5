//! `fetch`: a file of the host to this machine. In: its path, and a folder here; out: where it is now.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::host::{self, Algorithm, Content};
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::{Platform, at_home};

/// Brings a file of the host here.
pub struct Fetch;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The file, on the host.
    src: String,
    /// A folder of this machine, seen from the playbook's: the file becomes `DEST/HOST/SRC` in it. With `flat` the file
    /// itself, or with `/` at its end the folder that it goes to.
    dest: String,
    /// No folders for the host and the path.
    #[serde(default)]
    flat: bool,
    /// Fail when there is no such file, or when it may not be read.
    #[serde(default = "yes")]
    fail_on_missing: bool,
    /// Fail when what arrives is not what the host has.
    #[serde(default = "yes")]
    validate_checksum: bool,
}

fn yes() -> bool {
    true
}

/// What is brought: from where, to where, and what both were when they were looked at.
#[derive(Debug)]
pub struct Work {
    src: String,
    dest: PathBuf,
    sum: String,
    before: Option<String>,
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut all = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                all.pop();
            }
            Component::CurDir => {}
            part => all.push(part),
        }
    }
    all
}

/// A path of this machine as a playbook writes it.
fn here(platform: &Platform, path: &str) -> PathBuf {
    platform.base_dir.join(at_home(path))
}

/// The SHA-1 of a file of this machine; None when there is none.
fn sum_of(path: &Path) -> Result<Option<String>, ModuleError> {
    match host::digest(path, Algorithm::Sha1) {
        Ok(sum) => Ok(Some(sum)),
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(super::copy::unreadable(
            &path.display().to_string(),
            &problem,
        )),
    }
}

/// Writes it in one step, with the mode of the file that is replaced.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir)?;
    let mode = std::fs::metadata(path).map_or(0o666, |meta| meta.permissions().mode());
    let permissions = std::fs::Permissions::from_mode(mode);
    let mut file = tempfile::Builder::new()
        .permissions(permissions)
        .tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|problem| problem.error)?;
    Ok(())
}

impl Args {
    fn dest(&self, src: &str, platform: &Platform) -> Result<PathBuf, ModuleError> {
        let wrong = |message: String| ModuleError::argument("dest", message);
        let dest = here(platform, &self.dest);
        if !self.flat {
            let root = plain(&dest.join(&platform.host));
            let path = plain(&root.join(src.trim_start_matches('/')));
            if !path.starts_with(&root) || path == root {
                return Err(wrong(format!(
                    "Detected directory traversal, expected to be contained in '{}' but got '{}'",
                    root.display(),
                    path.display()
                )));
            }
            return Ok(path);
        }
        let is_folder = self.dest.ends_with('/');
        if dest.is_dir() && !is_folder {
            return Err(wrong("dest is an existing directory, use a trailing slash if you want to fetch src into that directory".to_owned()));
        }
        if !is_folder {
            return Ok(plain(&dest));
        }
        let path = plain(&dest.join(host::name(src)));
        if path.is_dir() {
            return Err(wrong(format!(
                "calculated dest '{}' is an existing directory, use another path that does not point to an existing directory",
                path.display()
            )));
        }
        Ok(path)
    }

    /// No file to bring: an error, or with `fail_on_missing: false` a word of it.
    fn nothing(
        &self,
        src: &str,
        error: ModuleError,
        more: &str,
    ) -> Result<Change<Work>, ModuleError> {
        if self.fail_on_missing {
            return Err(error
                .with("file", src)
                .hint("`fail_on_missing: false` goes on without it"));
        }
        let msg = format!("{}{more}", error.message);
        Ok(Change::None(Outcome::unchanged(
            json!({"file": src, "msg": msg}),
        )))
    }
}

fn unreadable(src: &str) -> ModuleError {
    ModuleError::new(ErrorKind::Forbidden, format!("File is not readable: {src}"))
}

#[async_trait]
impl Module for Fetch {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "fetch";
    const SUMMARY: &'static str = "Brings a file of the host to this machine";
    const EXAMPLES: &'static str = "- fetch: {src: /etc/machine-id, dest: fetched}\n- fetch:\n    src: /var/log/app.log\n    dest: \"logs/{{ inventory_hostname }}.log\"\n    flat: true\n    fail_on_missing: false\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let src = host::expand(platform, &args.src).await?;
        let looks = host::look(platform, std::slice::from_ref(&src), Some(Algorithm::Sha1)).await?;
        let look = looks.at(&src)?;
        if look.behind().is_none() {
            let error = ModuleError::new(
                ErrorKind::NotFound,
                "the remote file does not exist, not transferring, ignored",
            );
            return args.nothing(&src, error, "");
        }
        if look.is_folder() {
            let message = "remote file is a directory, fetch cannot work on directories";
            let error = ModuleError::failed(message);
            return args.nothing(&src, error, ", not transferring, ignored");
        }
        let Some(sum) = look.checksum() else {
            return args.nothing(&src, unreadable(&src), "");
        };
        let dest = args.dest(&src, platform)?;
        let before = sum_of(&dest)?;
        if before.as_deref() == Some(sum) {
            let md5 = host::digest(&dest, Algorithm::Md5).ok();
            return Ok(Change::None(Outcome::unchanged(
                json!({"file": src, "dest": dest, "checksum": sum, "md5sum": md5}),
            )));
        }
        Ok(Change::Some {
            fields: vec![FieldChange {
                field: "checksum".to_owned(),
                before: json!(before),
                after: json!(sum),
            }],
            diff: Vec::new(),
            preview: Outcome::changed(
                json!({"dest": dest, "checksum": sum, "remote_checksum": sum}),
            ),
            work: Work {
                sum: sum.to_owned(),
                src,
                dest,
                before,
            },
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let bytes = match host::read(platform, &work.src).await? {
            Content::File(bytes) => bytes,
            Content::Closed => return Err(unreadable(&work.src)),
            Content::Other(said) => {
                return Err(ModuleError::failed(format!(
                    "`{}` cannot be read: {said}",
                    work.src
                )));
            }
            Content::Missing | Content::Folder => return Err(host::moved(&work.src)),
        };
        let sum = host::sha1(&bytes);
        if args.validate_checksum && sum != work.sum {
            return Err(ModuleError::new(ErrorKind::Conflict, "checksum mismatch")
                .hint("something else writes the file: run the task again, or set `validate_checksum: false`")
                .with("file", work.src)
                .with("checksum", sum)
                .with("remote_checksum", work.sum));
        }
        let shown = work.dest.display().to_string();
        if sum_of(&work.dest)? != work.before {
            return Err(host::moved(&shown));
        }
        let md5 = host::md5(&bytes);
        let dest = work.dest.clone();
        tokio::task::spawn_blocking(move || write(&dest, &bytes))
            .await
            .map_err(|problem| ModuleError::failed(format!("writing stopped: {problem}")))?
            .map_err(|problem| {
                ModuleError::failed(format!("`{shown}` cannot be written here: {problem}"))
            })?;
        Ok(Outcome::changed(json!({
            "dest": work.dest,
            "checksum": sum,
            "md5sum": md5,
            "remote_checksum": work.sum,
            "remote_md5sum": Value::Null,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::testing::ways;
    use super::*;

    #[tokio::test]
    async fn a_file_comes_from_every_host_and_not_when_it_moved() {
        for mut platform in ways() {
            let dir = tempfile::tempdir().unwrap();
            dir.path().clone_into(&mut platform.base_dir);
            let at = |name: &str| dir.path().join(name);
            std::fs::write(at("a b"), b"\x00\xff\n\n").unwrap();
            let src = at("a b").display().to_string();
            let args = |dest: &str, flat: bool| Args {
                src: src.clone(),
                dest: dest.to_owned(),
                flat,
                fail_on_missing: true,
                validate_checksum: true,
            };
            let deep = at("got")
                .join("localhost")
                .join(src.trim_start_matches('/'));
            for (args, path) in [
                (args("got", false), deep),
                (args("flat/", true), at("flat/a b")),
                (args("one", true), at("one")),
            ] {
                let work = async || match Fetch.inspect(&args, &platform).await.unwrap() {
                    Change::Some { work, .. } => Some(work),
                    _ => None,
                };
                let found = work().await.unwrap();
                std::fs::write(at("a b"), "moved").unwrap();
                let problem = Fetch.apply(&args, found, &platform).await.unwrap_err();
                assert_eq!(problem.kind, ErrorKind::Conflict, "{problem}");
                assert!(!path.exists());
                std::fs::write(at("a b"), b"\x00\xff\n\n").unwrap();
                let found = work().await.unwrap();
                Fetch.apply(&args, found, &platform).await.unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), b"\x00\xff\n\n");
                assert!(work().await.is_none());
            }
            let folder = Fetch.inspect(&args(".", true), &platform).await;
            assert!(folder.unwrap_err().message.contains("trailing slash"));
            let outside = Args {
                src: format!("{}/../../../../../../../../..{src}", dir.path().display()),
                ..args("got", false)
            };
            let outside = Fetch.inspect(&outside, &platform).await.unwrap_err();
            assert!(outside.message.contains("traversal"), "{outside}");
        }
    }
}
