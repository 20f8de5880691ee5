//! `copy`: files to the host. In: a file, a folder or text of the controller, or files of the host; out: where they are,
//! and their rights.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::host::{self, Rights};
use super::place::{self, Source, Wish, Work};
use super::tree::{self, OnHost};
use crate::contract::{Change, FileArgument, Module, Outcome, Part, Render, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Copies files to a host.
pub struct Copy;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// A file or folder of this machine: found beside the task, then beside the playbook, in `files/` first. A folder
    /// with `/` at its end means what is inside of it.
    pub(super) src: Option<String>,
    /// Text to write, in place of `src`. A mapping or list is written as JSON.
    content: Option<Value>,
    /// The file, on the host. A folder gets a file called as `src` is; with `/` at its end it is made when missing.
    pub(super) dest: String,
    /// `src` is on the host.
    #[serde(default)]
    pub(super) remote_src: bool,
    /// Owner, by name or number.
    owner: Option<String>,
    /// Group, by name or number.
    group: Option<String>,
    /// Mode: `"0644"`, symbolic (`u=rw,go=r`), or `preserve` for that of `src`. Without it a file keeps its mode, and a
    /// new one gets what the umask leaves.
    mode: Option<Value>,
    /// Mode of folders, for a `src` that is a folder and a `dest` that ends in `/`.
    pub(super) directory_mode: Option<Value>,
    /// Keep a copy of the file that is replaced, beside it; `backup_file` says where.
    #[serde(default)]
    pub(super) backup: bool,
    /// Replace a file that is there. With `false`, it is written only when nothing is there.
    #[serde(default = "yes")]
    #[schemars(extend("x-aliases" = ["thirsty"]))]
    pub(super) force: bool,
    /// Write to what `dest` leads to when it is a link; else the link is replaced.
    #[serde(default)]
    follow: bool,
    /// Copy what links in a `src` folder lead to; with `false`, the links.
    #[serde(default = "yes")]
    pub(super) local_follow: bool,
    /// A command that must accept the new file before it takes its place; `%s` stands for it.
    pub(super) validate: Option<String>,
    /// The SHA-1 that the source must have.
    checksum: Option<String>,
    /// Open a `src` file that is encrypted with a vault; with `false` it is copied as it is.
    #[serde(default = "yes")]
    decrypt: bool,
    /// The text of a `src` that is a vault; the engine fills it in.
    #[schemars(extend("x-filled-in" = true))]
    #[serde(default)]
    opened: Option<String>,
    /// Not supported; an error, with the command to use instead.
    #[schemars(extend("x-aliases" = ["attr"]))]
    attributes: Option<String>,
    /// Ignored on a host without SELinux, an error on one with it.
    seuser: Option<String>,
    /// Ignored on a host without SELinux, an error on one with it.
    serole: Option<String>,
    /// Ignored on a host without SELinux, an error on one with it.
    setype: Option<String>,
    /// Ignored on a host without SELinux, an error on one with it.
    selevel: Option<String>,
    /// Accepted and without effect: files are always written in one step.
    #[serde(default)]
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    unsafe_writes: bool,
}

fn yes() -> bool {
    true
}

/// The mode of a file of this machine.
pub(super) fn controller_mode(path: &str) -> Result<u32, ModuleError> {
    std::fs::metadata(path)
        .map(|meta| meta.permissions().mode() & 0o7777)
        .map_err(|problem| unreadable(path, &problem))
}

pub(super) fn unreadable(path: &str, problem: &std::io::Error) -> ModuleError {
    let kind = match problem.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Forbidden,
        _ => ErrorKind::Failed,
    };
    ModuleError::new(
        kind,
        format!("`{path}` cannot be read on this machine: {problem}"),
    )
}

/// `content` as bytes: text as it is, structures as Python's `json.dumps` writes them, other values as Python's `str`.
fn text_of(content: &Value) -> Vec<u8> {
    match content {
        Value::String(text) => text.clone().into_bytes(),
        Value::Bool(flag) => if *flag { "True" } else { "False" }.as_bytes().to_vec(),
        Value::Null => Vec::new(),
        Value::Number(number) => number.to_string().into_bytes(),
        structure => python_json(structure).into_bytes(),
    }
}

/// `json.dumps`: a space after `,` and `:`, and nothing but ASCII.
pub(super) fn python_json(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(python_json).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| {
                    format!("{}: {}", ascii(&json!(key).to_string()), python_json(value))
                })
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => ascii(&other.to_string()),
    }
}

fn ascii(text: &str) -> String {
    let mut all = String::new();
    for c in text.chars() {
        if c.is_ascii() {
            all.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                all.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    all
}

host::rights_arguments!(Args);

impl Args {
    fn wish(&self, source: Source, name: Option<String>, rights: Rights) -> Wish<'_> {
        Wish {
            source,
            name,
            dest: &self.dest,
            rights,
            unsupported: self.unsupported(),
            directory_mode: self.directory_mode.clone(),
            backup: self.backup,
            force: self.force,
            follow: self.follow,
            validate: self.validate.as_deref(),
            checksum: self.checksum.as_deref(),
            edit: None,
        }
    }

    async fn inspect_here(
        &self,
        path: &str,
        platform: &Platform,
    ) -> Result<Change<Work>, ModuleError> {
        if Path::new(path).is_dir() {
            return tree::inspect(self, path, platform).await;
        }
        let bytes = match &self.opened {
            Some(text) => text.clone().into_bytes(),
            None => tokio::fs::read(path)
                .await
                .map_err(|problem| unreadable(path, &problem))?,
        };
        if self.decrypt && self.opened.is_none() && bytes.starts_with(b"$ANSIBLE_VAULT;") {
            return Err(ModuleError::argument(
                "src",
                format!("`{path}` is encrypted with a vault and was not opened"),
            )
            .hint("`decrypt: false` copies it as it is"));
        }
        let mut rights = self.rights();
        if rights.mode == Some(json!("preserve")) {
            rights.mode = Some(json!(controller_mode(path)?));
        }
        let source = Source::Bytes {
            bytes,
            path: Some(path.to_owned()),
        };
        let wish = self.wish(source, Some(host::name(path).to_owned()), rights);
        place::inspect(wish, platform).await
    }
}

#[async_trait]
impl Module for Copy {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "copy";
    const SUMMARY: &'static str = "Copies files, folders or text to the host";
    const EXAMPLES: &'static str = "- copy: {src: motd, dest: /etc/motd, owner: root, group: root, mode: \"0644\"}\n- copy:\n    content: \"{{ settings | to_nice_json }}\"\n    dest: /etc/app/settings.json\n    backup: true\n- copy: {src: units/, dest: /etc/systemd/system/}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;
    const FILES: &'static [FileArgument] = &[FileArgument {
        argument: "src",
        folder: "files",
        render: Render::Never,
        content: Some("opened"),
        part: Part::Whole,
    }];

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let content = args.content.as_ref().filter(|content| !content.is_null());
        match (args.src.as_deref().filter(|src| !src.is_empty()), content) {
            (Some(_), Some(_)) => Err(ModuleError::argument(
                "content",
                "src and content are mutually exclusive",
            )),
            (None, None) => Err(ModuleError::argument("src", "src (or content) is required")),
            (None, Some(content)) => {
                let mut rights = args.rights();
                if rights.mode == Some(json!("preserve")) {
                    // Ansible takes that of its private temporary file.
                    rights.mode = Some(json!("0600"));
                }
                let bytes = text_of(content);
                let wish = args.wish(Source::Bytes { bytes, path: None }, None, rights);
                place::inspect(wish, platform).await
            }
            (Some(src), None) if args.remote_src => {
                let src = host::expand(platform, src).await?;
                let md5 = match tree::inspect_on_host(args, &src, platform).await? {
                    OnHost::Folder(change) => return Ok(*change),
                    OnHost::File { md5 } => md5,
                };
                let name = host::name(&src).to_owned();
                let source = Source::Host { path: src, md5 };
                let wish = args.wish(source, Some(name), args.rights());
                place::inspect(wish, platform).await
            }
            (Some(src), None) => args.inspect_here(src, platform).await,
        }
    }

    async fn apply(
        &self,
        _: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        place::apply(work, platform).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_written_as_ansible_writes_it() {
        let content = json!({"a": [1, "é", true, null], "b": {"c": 1.5}});
        let written = r#"{"a": [1, "\u00e9", true, null], "b": {"c": 1.5}}"#;
        assert_eq!(text_of(&content), written.as_bytes());
        assert_eq!(text_of(&json!("text\n")), b"text\n");
        assert_eq!(text_of(&json!(true)), b"True");
        assert_eq!(text_of(&json!(42)), b"42");
    }

    async fn inspected(platform: &Platform, args: &Value) -> (Args, Work) {
        let schema = schemars::schema_for!(Args).to_value();
        let args =
            super::super::arguments::parse::<Args>("copy", &schema, args.as_object().unwrap());
        let args = args.unwrap();
        match Copy.inspect(&args, platform).await.unwrap() {
            Change::Some { work, .. } => (args, work),
            _ => panic!("there is something to do"),
        }
    }

    #[tokio::test]
    async fn what_moved_between_look_and_write_is_left_as_it_is() {
        for platform in super::super::host::testing::ways() {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            std::fs::create_dir(at("tree")).unwrap();
            std::fs::write(at("tree/file"), "mine").unwrap();
            for (name, wish) in [
                ("one", json!({"content": "mine", "dest": at("one")})),
                (
                    "d/file",
                    json!({"src": format!("{}/", at("tree").display()), "dest": at("d")}),
                ),
                (
                    "two",
                    json!({"src": at("tree/file"), "dest": at("two"), "remote_src": true}),
                ),
            ] {
                let (args, work) = inspected(&platform, &wish).await;
                std::fs::create_dir_all(at("d")).unwrap();
                std::fs::write(at(name), "theirs").unwrap();
                let problem = Copy.apply(&args, work, &platform).await.unwrap_err();
                assert_eq!(problem.kind, ErrorKind::Conflict, "{problem}");
                assert_eq!(std::fs::read(at(name)).unwrap(), b"theirs");
                let (args, work) = inspected(&platform, &wish).await;
                Copy.apply(&args, work, &platform).await.unwrap();
                assert_eq!(std::fs::read(at(name)).unwrap(), b"mine");
            }
            // The source on the host moves as well.
            let wish = json!({"src": at("tree/file"), "dest": at("three"), "remote_src": true});
            let (args, work) = inspected(&platform, &wish).await;
            std::fs::write(at("tree/file"), "other").unwrap();
            let problem = Copy.apply(&args, work, &platform).await.unwrap_err();
            assert_eq!(problem.kind, ErrorKind::Conflict, "{problem}");
        }
    }
}
