//! `tempfile`: a new file or folder that nobody else has. In: where and how it is called; out: its path.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::host;
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Makes a temporary file or folder.
pub struct Tempfile;

#[derive(Debug, Default, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    File,
    Directory,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// What to make.
    #[serde(default)]
    state: State,
    /// The folder that it is made in; without one, the host's folder for such things (`TMPDIR`, or `/tmp`).
    path: Option<String>,
    /// How its name begins.
    #[serde(default = "prefix")]
    prefix: String,
    /// How its name ends.
    #[serde(default)]
    suffix: String,
}

fn prefix() -> String {
    "ansible.".to_owned()
}

/// `mktemp` of busybox has no suffix: the name is made beside it and claimed, which only one can do.
const MAKE: &str = r#"umask 077
dir=${1:-${TMPDIR:-/tmp}}; dir=${dir%/}
[ -d "${dir:-/}" ] || { printf 'no such folder: %s\n' "$dir" >&2; exit 44; }
i=0
while [ "$i" -lt 100 ]; do
name=$(mktemp -u "$dir/$2XXXXXXXX") || exit 1
if [ "$4" = directory ]; then mkdir -- "$name$3" 2>/dev/null; else (set -C; : > "$name$3") 2>/dev/null; fi && { printf %s "$name$3"; exit 0; }
i=$((i+1))
done
printf 'nothing can be made in %s\n' "$dir" >&2; exit 1"#;

#[async_trait]
impl Module for Tempfile {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "tempfile";
    const SUMMARY: &'static str = "Makes a temporary file or folder on the host; `path` is where";
    const EXAMPLES: &'static str = "- tempfile: {state: directory, suffix: build}\n  register: work\n- file: {path: \"{{ work.path }}\", state: absent}\n";
    const SUPPORTS: Supports = Supports {
        check: false,
        diff: false,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        for (name, value) in [("prefix", &args.prefix), ("suffix", &args.suffix)] {
            if value.contains('/') {
                return Err(ModuleError::argument(
                    name,
                    format!("`{name}: {value}` is no part of a file's name: it has a `/`"),
                ));
            }
        }
        platform.shell()?;
        Ok(Change::Unknown {
            message: "a temporary file would be made".to_owned(),
            work: (),
        })
    }

    async fn apply(
        &self,
        args: &Args,
        (): (),
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let dir = match &args.path {
            Some(path) => host::expand(platform, path).await?,
            None => String::new(),
        };
        let state = if args.state == State::Directory {
            "directory"
        } else {
            "file"
        };
        let words = [
            dir,
            args.prefix.clone(),
            args.suffix.clone(),
            state.to_owned(),
        ];
        let output = host::script(platform, MAKE, &words, None).await?;
        if output.rc == 0 {
            let path = String::from_utf8_lossy(&output.stdout).into_owned();
            let mode = if args.state == State::Directory {
                "0700"
            } else {
                "0600"
            };
            return Ok(Outcome::changed(
                json!({"path": path, "state": state, "mode": mode}),
            ));
        }
        let kind = if output.rc == 44 {
            ErrorKind::NotFound
        } else {
            ErrorKind::Failed
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let place = platform.shell()?.place();
        Err(ModuleError::new(
            kind,
            format!(
                "no temporary {state} can be made on {place}: {}",
                said.trim()
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::testing::ways;
    use super::*;

    #[tokio::test]
    async fn each_has_its_own_name_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mut made = std::collections::HashSet::new();
        for platform in ways() {
            for state in [State::File, State::Directory] {
                let args = Args {
                    state,
                    path: Some(dir.path().display().to_string()),
                    prefix: "a b".to_owned(),
                    suffix: "_end".to_owned(),
                };
                let outcome = Tempfile.apply(&args, (), &platform).await.unwrap();
                let path = outcome.result["path"].as_str().unwrap().to_owned();
                let meta = std::fs::metadata(&path).unwrap();
                assert_eq!(meta.is_dir(), state == State::Directory);
                assert_eq!(meta.permissions().mode() & 0o077, 0);
                assert!(path.contains("/a b") && path.ends_with("_end"), "{path}");
                assert!(made.insert(path));
            }
            let missing = Args {
                state: State::File,
                path: Some("/no/such".to_owned()),
                prefix: prefix(),
                suffix: String::new(),
            };
            let problem = Tempfile.apply(&missing, (), &platform).await.unwrap_err();
            assert_eq!(problem.kind, ErrorKind::NotFound);
        }
    }
}
