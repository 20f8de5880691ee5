//! `slurp`: a file of the host. In: its path; out: its content in base64.

use async_trait::async_trait;
use base64::Engine;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::host::{self, Content};
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
        let content = match host::read(platform, &path).await? {
            Content::File(bytes) => bytes,
            problem => return Err(problem_of(&path, &problem)),
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

fn problem_of(path: &str, problem: &Content) -> ModuleError {
    match problem {
        Content::Missing => {
            ModuleError::new(ErrorKind::NotFound, format!("File not found: {path}"))
        }
        Content::Closed => ModuleError::new(
            ErrorKind::Forbidden,
            format!("File is not readable: {path}"),
        ),
        Content::Folder => {
            ModuleError::failed(format!("Source is a directory and must be a file: {path}"))
        }
        Content::Other(said) => {
            ModuleError::failed(format!("Unable to slurp file: {path}: {said}"))
        }
        Content::File(_) => ModuleError::failed(format!("Unable to slurp file: {path}")),
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
