//! `replace`: text in a file of the host. In: a regular expression and what takes its place; out: the file with all
//! matches replaced.

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
use crate::python_regex::{Flags, Pattern, bytes_of, latin};

/// Replaces text in a file.
pub struct Replace;

/// How the file's bytes are text.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Encoding {
    #[default]
    #[serde(rename = "utf-8", alias = "utf8", alias = "UTF-8", alias = "ascii")]
    Utf8,
    #[serde(
        rename = "latin-1",
        alias = "latin1",
        alias = "iso-8859-1",
        alias = "ISO-8859-1"
    )]
    Latin1,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The file, on the host.
    #[schemars(extend("x-aliases" = ["dest", "destfile", "name"]))]
    path: String,
    /// A regular expression, as Python reads them; `^` and `$` match at each line.
    regexp: String,
    /// What takes the place of each match; `\1`, `\g<name>` stand for groups. Without it, matches are removed.
    #[serde(default)]
    replace: String,
    /// Only behind the first match of this regular expression, in which `.` matches newlines too.
    after: Option<String>,
    /// Only before a match of this regular expression: with `after` the first behind it, else the last.
    before: Option<String>,
    /// How the file's bytes are text: `utf-8` or `latin-1`.
    #[serde(default)]
    encoding: Encoding,
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

/// The place of bytes that are no UTF-8, while the text is edited: characters that no text has.
const STRAY: u32 = 0x0010_FE00;

/// Bytes as text. What is no UTF-8 comes back unharmed from [`closed`].
fn opened(bytes: &[u8], encoding: Encoding) -> String {
    if encoding == Encoding::Latin1 {
        return latin(bytes);
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let stray = chunk.invalid().iter();
        text.extend(stray.filter_map(|byte| char::from_u32(STRAY + u32::from(*byte))));
    }
    text
}

/// The bytes of an edited text; an error for what the encoding cannot write.
fn closed(text: &str, encoding: Encoding) -> Result<Vec<u8>, ModuleError> {
    if encoding == Encoding::Latin1 {
        let bytes = bytes_of(text);
        return if bytes.len() == text.chars().count() {
            Ok(bytes)
        } else {
            Err(ModuleError::argument(
                "replace",
                "`replace` has characters that `latin-1` does not have",
            )
            .hint("`encoding: utf-8` has them all"))
        };
    }
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        let stray = u32::from(c).checked_sub(STRAY);
        match stray.and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(bytes)
}

impl Args {
    /// The expression of the part that is edited; nothing when that is the whole text.
    fn section(&self) -> Option<String> {
        let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match (set(&self.after), set(&self.before)) {
            (Some(after), Some(before)) => Some(format!("{after}(?P<subsection>.*?){before}")),
            (Some(after), None) => Some(format!("{after}(?P<subsection>.*)")),
            (None, Some(before)) => Some(format!("(?P<subsection>.*){before}")),
            (None, None) => None,
        }
    }

    /// The new content; nothing when there is no such part of it.
    fn edited(&self, bytes: &[u8], section: Option<&str>) -> Result<Option<Edited>, ModuleError> {
        let wrong = |name: &str, text: &str| {
            let (name, text) = (name.to_owned(), text.to_owned());
            move |problem| edit::wrong(&name, &text, &problem)
        };
        let text = opened(bytes, self.encoding);
        let mut range = 0..text.len();
        if let Some(section) = section {
            let name = if self.after.is_some() {
                "after"
            } else {
                "before"
            };
            let pattern = Pattern::text(
                section,
                Flags {
                    dotall: true,
                    ..Flags::default()
                },
            )
            .map_err(wrong(name, section))?;
            let found = pattern.search(&text).map_err(wrong(name, section))?;
            let Some(part) = found.as_ref().and_then(|found| found.name("subsection")) else {
                return Ok(None);
            };
            range = part.start()..part.end();
        }
        let part = text.get(range.clone()).unwrap_or_default();
        let pattern = Pattern::text(
            &self.regexp,
            Flags {
                multiline: true,
                ..Flags::default()
            },
        )
        .map_err(wrong("regexp", &self.regexp))?;
        let (new, count) = pattern
            .replace_all(&self.replace, part)
            .map_err(wrong("replace", &self.replace))?;
        if count == 0 || new == part {
            return Ok(Some(Edited {
                bytes: bytes.to_vec(),
                msg: String::new(),
            }));
        }
        let mut all = text;
        all.replace_range(range, &new);
        Ok(Some(Edited {
            bytes: closed(&all, self.encoding)?,
            msg: format!("{count} replacements made"),
        }))
    }

    fn around<'a>(&'a self, path: &'a str) -> Around<'a> {
        Around {
            path,
            rights: self.rights(),
            unsupported: self.unsupported(),
            backup: self.backup,
            backup_key: "backup_file",
            validate: self.validate.as_deref(),
            header: "",
        }
    }
}

#[async_trait]
impl Module for Replace {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "replace";
    const SUMMARY: &'static str =
        "Replaces all that a regular expression matches in a file of the host";
    const EXAMPLES: &'static str = "- replace:\n    path: /etc/hosts\n    regexp: '^(10\\.0\\.0\\.7\\s).*$'\n    replace: '\\1registry'\n- replace:\n    path: /etc/app.ini\n    after: '\\[web\\]'\n    before: '\\[db\\]'\n    regexp: ^#\n    backup: true\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let path = host::expand(platform, &args.path).await?;
        let Some(before) = edit::read(platform, &path).await? else {
            let message = format!("Path {path} does not exist !");
            return Err(edit::missing(message, false));
        };
        let section = args.section();
        let Some(edited) = args.edited(&before, section.as_deref())? else {
            let section = section.unwrap_or_default();
            let msg =
                format!("Pattern for before/after params did not match the given file: {section}");
            return Ok(Change::None(Outcome::unchanged(
                json!({"rc": 0, "msg": msg}),
            )));
        };
        let result = Map::from_iter([("rc".to_owned(), json!(0))]);
        edit::inspect(args.around(&path), Some(before), edited, result, platform).await
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
