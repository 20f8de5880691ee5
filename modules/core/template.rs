//! `template`: a file rendered on the controller, put on the host. In: the template; out: the same as `copy`.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::host::{self, Rights};
use super::place::{self, Source, Wish, Work};
use crate::contract::{Change, FileArgument, Module, Outcome, Part, Render, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::Platform;

/// Renders a template to a file of the host.
pub struct Template;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The template, on this machine: found beside the task, then beside the playbook, in `templates/` first.
    src: String,
    /// The file, on the host. A folder gets a file called as the template is.
    dest: String,
    /// The rendered text; the engine fills it in.
    #[schemars(extend("x-filled-in" = true))]
    #[serde(default)]
    content: Option<String>,
    /// Owner, by name or number.
    owner: Option<String>,
    /// Group, by name or number.
    group: Option<String>,
    /// Mode: `"0644"`, symbolic (`u=rw,go=r`), or `preserve` for the template's own.
    mode: Option<Value>,
    /// Keep a copy of the file that is replaced, beside it.
    #[serde(default)]
    backup: bool,
    /// Replace a file that is there. With `false`, it is written only when nothing is there.
    #[serde(default = "yes")]
    #[schemars(extend("x-aliases" = ["thirsty"]))]
    force: bool,
    /// Write to what `dest` leads to when it is a link; else the link is replaced.
    #[serde(default)]
    follow: bool,
    /// A command that must accept the new file before it takes its place; `%s` stands for it.
    validate: Option<String>,
    /// Mode of folders that are made, for a `dest` that ends in `/`.
    directory_mode: Option<Value>,
    /// The SHA-1 that the rendered text must have.
    checksum: Option<String>,
    /// How lines end: `\n`, `\r` or `\r\n`.
    #[serde(default = "newline")]
    newline_sequence: String,
    /// Drop the newline after a block; `true` without a word.
    #[allow(dead_code, reason = "the engine renders, and reads it")]
    trim_blocks: Option<bool>,
    /// Strip spaces before a block; `false` without a word.
    #[allow(dead_code, reason = "the engine renders, and reads it")]
    lstrip_blocks: Option<bool>,
    /// What opens a statement; `{%` without a word.
    #[allow(dead_code, reason = "the engine renders, and reads it")]
    block_start_string: Option<String>,
    /// What closes a statement; `%}` without a word.
    #[allow(dead_code, reason = "the engine renders, and reads it")]
    block_end_string: Option<String>,
    /// What opens an output; `{{` without a word.
    #[allow(dead_code, reason = "the engine renders, and reads it")]
    variable_start_string: Option<String>,
    /// What closes an output; `}}` without a word.
    #[allow(dead_code, reason = "the engine renders, and reads it")]
    variable_end_string: Option<String>,
    /// What opens a comment; `{#` without a word.
    #[allow(dead_code, reason = "the engine renders, and reads it")]
    comment_start_string: Option<String>,
    /// What closes a comment; `#}` without a word.
    #[allow(dead_code, reason = "the engine renders, and reads it")]
    comment_end_string: Option<String>,
    /// Only UTF-8 is supported.
    output_encoding: Option<String>,
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

host::rights_arguments!(Args);

fn yes() -> bool {
    true
}

fn newline() -> String {
    "\n".to_owned()
}

impl Args {
    /// Encodings that are not the usual one.
    fn check(&self) -> Result<(), ModuleError> {
        let encoding = self.output_encoding.as_deref().unwrap_or("utf-8");
        if !matches!(
            encoding.to_lowercase().as_str(),
            "" | "utf-8" | "utf8" | "utf_8"
        ) {
            return Err(ModuleError::argument(
                "output_encoding",
                format!("`output_encoding: {encoding}` is not supported: only `utf-8` is"),
            ));
        }
        Ok(())
    }

    fn newline(&self) -> Result<&'static str, ModuleError> {
        match self.newline_sequence.as_str() {
            "\n" | "\\n" => Ok("\n"),
            "\r" | "\\r" => Ok("\r"),
            "\r\n" | "\\r\\n" => Ok("\r\n"),
            _ => Err(ModuleError::argument(
                "newline_sequence",
                "newline_sequence needs to be one of: \\n, \\r or \\r\\n",
            )),
        }
    }
}

#[async_trait]
impl Module for Template {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "template";
    const SUMMARY: &'static str = "Renders a template of this machine to a file of the host";
    const EXAMPLES: &'static str = "- template:\n    src: chrony.conf.j2\n    dest: /etc/chrony.conf\n    mode: \"0644\"\n    validate: chronyd -p -f %s\n  notify: restart chrony\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;
    const FILES: &'static [FileArgument] = &[FileArgument {
        argument: "src",
        folder: "templates",
        render: Render::Always,
        content: Some("content"),
        part: Part::Whole,
    }];

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        args.check()?;
        let newline = args.newline()?;
        let mut text = args
            .content
            .clone()
            .ok_or_else(|| ModuleError::argument("src", "the template was not rendered"))?;
        if newline != "\n" {
            text = text.replace("\r\n", "\n").replace('\n', newline);
        }
        let mut mode = args.mode.clone();
        if mode == Some(json!("preserve")) {
            mode = Some(json!(super::copy::controller_mode(&args.src)?));
        }
        let wish = Wish {
            source: Source::Bytes {
                bytes: text.into_bytes(),
                path: Some(args.src.clone()),
            },
            name: Some(host::name(&args.src).to_owned()),
            dest: &args.dest,
            rights: Rights {
                mode,
                ..args.rights()
            },
            unsupported: args.unsupported(),
            directory_mode: args.directory_mode.clone(),
            backup: args.backup,
            force: args.force,
            follow: args.follow,
            validate: args.validate.as_deref(),
            checksum: args.checksum.as_deref(),
            edit: None,
        };
        place::inspect(wish, platform).await
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
