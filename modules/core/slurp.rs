//! `slurp`: a file of the host. In: its path; out: its content in base64.

use async_trait::async_trait;
use base64::Engine;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::host;
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Reads a file of the host.
pub struct Slurp;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The file, on the host.
    #[schemars(extend("x-aliases" = ["path"]))]
    src: String,
}

/// Reads it, or says with its status why it cannot.
const READ: &str = r#"[ -d "$1" ] && exit 45
[ -e "$1" ] || exit 44
[ -r "$1" ] || exit 46
exec cat < "$1""#;

#[async_trait]
impl Module for Slurp {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "slurp";
    const SUMMARY: &'static str = "Reads a file of the host; `content` has it in base64";
    const EXAMPLES: &'static str = "- slurp: {src: /etc/os-release}\n  register: release\n- debug:\n    msg: \"{{ release.content | b64decode }}\"\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        let path = host::expand(platform, &args.src).await?;
        let content = if platform.shell()?.is_local() {
            tokio::fs::read(&path)
                .await
                .map_err(|problem| problem_of(&path, problem.kind(), &problem.to_string()))?
        } else {
            let words = [path.clone()];
            let output = host::script(platform, READ, &words, None).await?;
            let said = String::from_utf8_lossy(&output.stderr);
            match output.rc {
                0 => output.stdout,
                44 => return Err(problem_of(&path, std::io::ErrorKind::NotFound, "")),
                45 => return Err(problem_of(&path, std::io::ErrorKind::IsADirectory, "")),
                46 => return Err(problem_of(&path, std::io::ErrorKind::PermissionDenied, "")),
                _ => return Err(problem_of(&path, std::io::ErrorKind::Other, said.trim())),
            }
        };
        let content = base64::engine::general_purpose::STANDARD.encode(content);
        Ok(Change::None(Outcome::unchanged(
            json!({"content": content, "source": path, "encoding": "base64"}),
        )))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}

fn problem_of(path: &str, kind: std::io::ErrorKind, said: &str) -> ModuleError {
    match kind {
        std::io::ErrorKind::NotFound => {
            ModuleError::new(ErrorKind::NotFound, format!("File not found: {path}"))
        }
        std::io::ErrorKind::PermissionDenied => ModuleError::new(
            ErrorKind::Forbidden,
            format!("File is not readable: {path}"),
        ),
        std::io::ErrorKind::IsADirectory => {
            ModuleError::failed(format!("Source is a directory and must be a file: {path}"))
        }
        _ => ModuleError::failed(format!("Unable to slurp file: {path}: {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::testing::ways;
    use super::*;

    #[tokio::test]
    async fn a_file_comes_whole_and_what_is_none_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a b");
        std::fs::write(&file, b"\x00\xff\n\n").unwrap();
        for platform in ways() {
            let read = async |path: &std::path::Path| {
                let src = path.display().to_string();
                Slurp.inspect(&Args { src }, &platform).await
            };
            let Change::None(outcome) = read(&file).await.unwrap() else {
                panic!("reading changes nothing")
            };
            assert_eq!(outcome.result["content"], "AP8KCg==");
            assert_eq!(outcome.result["encoding"], "base64");
            let missing = read(&dir.path().join("c")).await.unwrap_err();
            assert_eq!(missing.kind, ErrorKind::NotFound);
            let folder = read(dir.path()).await.unwrap_err();
            assert!(folder.message.contains("directory"), "{folder}");
        }
    }
}
