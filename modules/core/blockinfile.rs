//! `blockinfile`: a block of lines between two markers in a file of the host. In: the block, and where it belongs; out:
//! the file with it, or without.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::edit::{self, Around, Edited};
use super::host;
use super::place::Work;
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::Platform;
use crate::python_regex::latin;

/// Keeps a block of lines in a file.
pub struct Blockinfile;

/// Whether the block should be there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Absent,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The file, on the host.
    #[schemars(extend("x-aliases" = ["dest", "destfile", "name"]))]
    path: String,
    /// Whether the block should be there.
    #[serde(default)]
    state: State,
    /// The lines. Without any, the block is removed as with `state: absent`.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["content"]))]
    block: String,
    /// The line before and behind the block; `{mark}` in it is `marker_begin` or `marker_end`. Each block of a file
    /// needs another.
    #[serde(default = "marker")]
    marker: String,
    /// The word for `{mark}` before the block.
    #[serde(default = "begin")]
    marker_begin: String,
    /// The word for `{mark}` behind the block.
    #[serde(default = "end")]
    marker_end: String,
    /// Where a new block goes: behind the last line that this regular expression matches, else at the end. `EOF` is the
    /// end. With `(?m)` in it, it is looked for in the whole text.
    insertafter: Option<String>,
    /// Where a new block goes: before the last line that this regular expression matches, else at the end. `BOF` is the
    /// beginning.
    insertbefore: Option<String>,
    /// Make a file that is not there, and its folders.
    #[serde(default)]
    create: bool,
    /// An empty line behind the block, unless it is at the end.
    #[serde(default)]
    append_newline: bool,
    /// An empty line before the block, unless it is at the beginning.
    #[serde(default)]
    prepend_newline: bool,
    /// Keep a copy of the file beside it; `backup_file` says where.
    #[serde(default)]
    backup: bool,
    /// A command that must accept the new file before it takes its place; `%s` stands for it.
    validate: Option<String>,
    /// Owner, by name or number.
    owner: Option<String>,
    /// Group, by name or number.
    group: Option<String>,
    /// Mode: `"0644"`, or symbolic (`u=rw,go=r`).
    mode: Option<Value>,
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

fn marker() -> String {
    "# {mark} ANSIBLE MANAGED BLOCK".to_owned()
}

fn begin() -> String {
    "BEGIN".to_owned()
}

fn end() -> String {
    "END".to_owned()
}

/// The lines of a text, each with its end: `\n`, `\r\n` or `\r`.
fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut line = Vec::new();
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        line.push(byte);
        if byte == b'\n' || (byte == b'\r' && rest.peek() != Some(&b'\n')) {
            all.push(std::mem::take(&mut line));
        }
    }
    if !line.is_empty() {
        all.push(line);
    }
    all
}

impl Args {
    fn marked(&self, word: &str) -> Vec<u8> {
        format!("{}\n", self.marker.replace("{mark}", word)).into_bytes()
    }

    /// The line before which a new block goes.
    fn place(&self, before: &[u8], lines: &[Vec<u8>]) -> Result<usize, ModuleError> {
        let (name, text, shift) = match (&self.insertafter, &self.insertbefore) {
            (Some(text), _) if text != "EOF" => ("insertafter", text, 1),
            (None, Some(text)) if text != "BOF" => ("insertbefore", text, 0),
            (None, Some(_)) => return Ok(0),
            _ => return Ok(lines.len()),
        };
        let wrong = |problem| edit::wrong(name, text, &problem);
        let pattern = edit::pattern(name, text)?;
        let mut found = None;
        if pattern.is_multiline() {
            let whole = latin(before);
            let matched = pattern.search(&whole).map_err(wrong)?;
            if let Some(all) = matched.as_ref().and_then(|matched| matched.get(0)) {
                let to = if shift == 1 { all.end() } else { all.start() };
                found = Some(whole.get(..to).unwrap_or_default().matches('\n').count());
            }
        } else {
            for (at, line) in lines.iter().enumerate() {
                if pattern.is_match(&latin(line)).map_err(wrong)? {
                    found = Some(at);
                }
            }
        }
        Ok(found.map_or(lines.len(), |at| (at + shift).min(lines.len())))
    }

    fn edited(&self, before: Option<&[u8]>) -> Result<Edited, ModuleError> {
        let is_wanted = self.state == State::Present;
        let text = before.unwrap_or_default();
        let mut lines = lines(text);
        let (first, last) = (
            self.marked(&self.marker_begin),
            self.marked(&self.marker_end),
        );
        let mut block = Vec::new();
        if is_wanted && !self.block.is_empty() {
            let mut text = self.block.clone();
            if !text.ends_with('\n') {
                text.push('\n');
            }
            block = [first.clone(), text.into_bytes(), last.clone()].to_vec();
        }
        let position = |wanted: &[u8]| lines.iter().rposition(|line| line == wanted);
        let mut at = match (position(&first), position(&last)) {
            (Some(one), Some(other)) => {
                let at = one.min(other);
                lines.drain(at..=one.max(other));
                at
            }
            _ => self.place(text, &lines)?,
        };
        let line_before = at.checked_sub(1).and_then(|above| lines.get_mut(above));
        if let Some(line) = line_before {
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            if self.prepend_newline && is_wanted && line != b"\n" {
                lines.insert(at, b"\n".to_vec());
                at += 1;
            }
        }
        let behind = at + block.len();
        let is_inserted = !block.is_empty();
        lines.splice(at..at, block);
        if self.append_newline && is_wanted && lines.get(behind).is_some_and(|line| line != b"\n") {
            lines.insert(behind, b"\n".to_vec());
        }
        let bytes = lines.concat();
        let msg = match before {
            None => "File created",
            Some(before) if before == bytes => "",
            Some(_) if is_inserted => "Block inserted",
            Some(_) => "Block removed",
        };
        Ok(Edited {
            bytes,
            msg: msg.to_owned(),
        })
    }

    fn around<'a>(&'a self, path: &'a str) -> Around<'a> {
        Around {
            path,
            rights: self.rights(),
            unsupported: self.unsupported(),
            backup: self.backup,
            backup_key: "backup_file",
            validate: self.validate.as_deref(),
            header: " (content)",
        }
    }
}

#[async_trait]
impl Module for Blockinfile {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "blockinfile";
    const SUMMARY: &'static str =
        "Keeps a block of lines between markers in a file of the host, or keeps it out";
    const EXAMPLES: &'static str = "- blockinfile:\n    path: /etc/ssh/sshd_config\n    block: |\n      Match User backup\n      PasswordAuthentication no\n    validate: sshd -t -f %s\n- blockinfile:\n    path: /etc/hosts\n    marker: \"# {mark} registries\"\n    block: 10.0.0.7 registry\n    create: true\n    mode: \"0644\"\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        if args.insertafter.is_some() && args.insertbefore.is_some() {
            return Err(ModuleError::argument(
                "insertafter",
                "parameters are mutually exclusive: insertbefore|insertafter",
            ));
        }
        let path = host::expand(platform, &args.path).await?;
        let before = edit::read(platform, &path).await?;
        if before.is_none() && !args.create {
            return Err(edit::missing(format!("Path {path} does not exist !"), true));
        }
        if before.is_none() && args.state == State::Absent {
            let msg = format!("File {path} not present");
            return Ok(Change::None(Outcome::unchanged(json!({"msg": msg}))));
        }
        let edited = args.edited(before.as_deref())?;
        edit::inspect(args.around(&path), before, edited, Map::new(), platform).await
    }

    async fn apply(
        &self,
        _: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        edit::apply(work, platform).await
    }
}
