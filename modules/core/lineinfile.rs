//! `lineinfile`: one line of a file of the host. In: the line, and where it belongs; out: the file with it, or without.

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
use crate::python_regex::{bytes_of, latin};

/// Keeps a line in a file.
pub struct Lineinfile;

/// Whether the line should be there.
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
    /// Whether the line should be there.
    #[serde(default)]
    state: State,
    /// A regular expression, as Python reads them, for the line to replace: the last that matches. With `state: absent`
    /// all lines that match go.
    #[schemars(extend("x-aliases" = ["regex"]))]
    regexp: Option<String>,
    /// Text that the line to replace has in it, in place of `regexp`.
    search_string: Option<String>,
    /// The line.
    #[schemars(extend("x-aliases" = ["value"]))]
    line: Option<String>,
    /// Where a new line goes: behind the last line that this regular expression matches, else at the end. `BOF` is the
    /// beginning, `EOF` the end.
    insertafter: Option<String>,
    /// Where a new line goes: before the last line that this regular expression matches, else at the end. `BOF` is the
    /// beginning.
    insertbefore: Option<String>,
    /// `\1`, `\g<name>` in `line` stand for groups of `regexp`. Then nothing happens when it does not match.
    #[serde(default)]
    backrefs: bool,
    /// Make a file that is not there, and its folders.
    #[serde(default)]
    create: bool,
    /// Take the first line that matches, not the last.
    #[serde(default)]
    firstmatch: bool,
    /// Keep a copy of the file beside it; `backup` says where.
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

/// The lines of a file, each with its end.
fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

/// A line without its end.
fn bare(line: &[u8]) -> &[u8] {
    let ends = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    let length = line.len() - line.iter().rev().take_while(ends).count();
    line.get(..length).unwrap_or_default()
}

fn contains(line: &[u8], text: &[u8]) -> bool {
    text.is_empty() || line.windows(text.len()).any(|window| window == text)
}

/// What replaces a line, when it is found, and which line that is.
type Matched = Option<(usize, Vec<u8>)>;

impl Args {
    fn check(&self) -> Result<(), ModuleError> {
        let set = [
            ("regexp", self.regexp.is_some()),
            ("search_string", self.search_string.is_some()),
            ("backrefs", self.backrefs),
            ("insertafter", self.insertafter.is_some()),
            ("insertbefore", self.insertbefore.is_some()),
        ];
        let is_set = |name: &str| set.iter().any(|(known, is_set)| *known == name && *is_set);
        for (one, other) in [
            ("insertbefore", "insertafter"),
            ("regexp", "search_string"),
            ("backrefs", "search_string"),
        ] {
            if is_set(one) && is_set(other) {
                let message = format!("parameters are mutually exclusive: {one}|{other}");
                return Err(ModuleError::argument(other, message));
            }
        }
        match (self.state, &self.line) {
            (State::Present, _) if self.backrefs && self.regexp.is_none() => Err(
                ModuleError::argument("regexp", "regexp is required with backrefs=true"),
            ),
            (State::Present, None) => Err(ModuleError::argument(
                "line",
                "line is required with state=present",
            )),
            (State::Absent, None) if self.regexp.is_none() && self.search_string.is_none() => {
                Err(ModuleError::argument(
                    "line",
                    "one of line, search_string, or regexp is required with state=absent",
                ))
            }
            _ => Ok(()),
        }
    }

    /// The line that `regexp` or `search_string` finds.
    fn matched(&self, lines: &[Vec<u8>], line: &[u8]) -> Result<Matched, ModuleError> {
        let mut matched = None;
        if let Some(regexp) = &self.regexp {
            let wrong = |problem| edit::wrong("regexp", regexp, &problem);
            let pattern = edit::pattern("regexp", regexp)?;
            for (at, current) in lines.iter().enumerate() {
                let text = latin(current);
                let Some(found) = pattern.search(&text).map_err(wrong)? else {
                    continue;
                };
                let new = if self.backrefs {
                    let expanded = pattern.expand(&latin(line), &found);
                    bytes_of(&expanded.map_err(|problem| {
                        edit::wrong("line", self.line.as_deref().unwrap_or_default(), &problem)
                    })?)
                } else {
                    line.to_vec()
                };
                matched = Some((at, new));
                if self.firstmatch {
                    break;
                }
            }
        }
        if let Some(text) = &self.search_string {
            let mut found = lines
                .iter()
                .enumerate()
                .filter(|(_, current)| contains(current, text.as_bytes()))
                .map(|(at, _)| at);
            let at = if self.firstmatch {
                found.next()
            } else {
                found.next_back()
            };
            matched = at.map(|at| (at, line.to_vec()));
        }
        Ok(matched)
    }

    /// Where the line is already, and else the place that `insertafter` or `insertbefore` finds for it.
    fn place(
        &self,
        lines: &[Vec<u8>],
        line: &[u8],
    ) -> Result<(Option<usize>, Option<usize>), ModuleError> {
        let (name, wanted, shift) = match (&self.insertafter, &self.insertbefore) {
            (Some(text), _) => ("insertafter", Some(text), 1),
            (None, text) => ("insertbefore", text.as_ref(), 0),
        };
        let is_word = |text: &str| text == "BOF" || (text == "EOF" && name == "insertafter");
        let wanted = wanted.filter(|text| !text.is_empty() && !is_word(text));
        let pattern = wanted.map(|text| Ok((text, edit::pattern(name, text)?)));
        let pattern = pattern.transpose()?;
        let (mut is_at, mut goes_to) = (None, None);
        for (at, current) in lines.iter().enumerate() {
            if bare(current) == line {
                is_at = Some(at);
            } else if let Some((text, pattern)) = &pattern {
                let found = pattern
                    .is_match(&latin(current))
                    .map_err(|problem| edit::wrong(name, text, &problem))?;
                if found {
                    goes_to = Some(at + shift);
                    if self.firstmatch {
                        break;
                    }
                }
            }
        }
        Ok((is_at, goes_to))
    }

    fn present(&self, before: &[u8]) -> Result<Edited, ModuleError> {
        let line = self.line.as_deref().unwrap_or_default().as_bytes();
        let ended = [line, b"\n"].concat();
        let mut lines = lines(before);
        let matched = self.matched(&lines, line)?;
        let (is_at, goes_to) = match matched {
            Some(_) => (None, None),
            None => self.place(&lines, line)?,
        };
        let is = |argument: &Option<String>, word: &str| argument.as_deref() == Some(word);
        let mut msg = "line added";
        if let Some((at, mut new)) = matched.or_else(|| is_at.map(|at| (at, line.to_vec()))) {
            if !new.ends_with(b"\n") {
                new.push(b'\n');
            }
            msg = "";
            if let Some(current) = lines.get_mut(at).filter(|current| **current != new) {
                *current = new;
                msg = "line replaced";
            }
        } else if self.backrefs {
            // Without a match there is nothing that the groups could stand for.
            msg = "";
        } else if is(&self.insertafter, "BOF") || is(&self.insertbefore, "BOF") {
            lines.insert(0, ended);
        } else if let Some(at) = goes_to {
            let neighbour = lines.get(at).or_else(|| lines.last());
            let is_there = neighbour.is_some_and(|current| bare(current) == line);
            if self.insertafter.is_some() && is_there {
                msg = "";
            } else {
                // A last line without an end stays a line of its own.
                let above = at.checked_sub(1).and_then(|above| lines.get_mut(above));
                if let Some(line) = above.filter(|line| !line.ends_with(b"\n")) {
                    line.push(b'\n');
                }
                lines.insert(at, ended);
            }
        } else {
            if lines
                .last()
                .is_some_and(|last| !last.ends_with(b"\n") && !last.ends_with(b"\r"))
            {
                lines.push(b"\n".to_vec());
            }
            lines.push(ended);
        }
        Ok(Edited {
            bytes: lines.concat(),
            msg: msg.to_owned(),
        })
    }

    /// The content without the lines, and how many these are.
    fn absent(&self, before: &[u8]) -> Result<(Edited, usize), ModuleError> {
        let pattern = match &self.regexp {
            Some(text) => Some((text, edit::pattern("regexp", text)?)),
            None => None,
        };
        let mut found = 0;
        let mut bytes = Vec::new();
        for line in lines(before) {
            let goes = match (&pattern, &self.search_string, &self.line) {
                (Some((text, pattern)), ..) => pattern
                    .is_match(&latin(&line))
                    .map_err(|problem| edit::wrong("regexp", text, &problem))?,
                (None, Some(text), _) => contains(&line, text.as_bytes()),
                (None, None, text) => bare(&line) == text.as_deref().unwrap_or_default().as_bytes(),
            };
            if goes {
                found += 1;
            } else {
                bytes.extend(line);
            }
        }
        let msg = match found {
            0 => String::new(),
            found => format!("{found} line(s) removed"),
        };
        Ok((Edited { bytes, msg }, found))
    }

    fn around<'a>(&'a self, path: &'a str) -> Around<'a> {
        Around {
            path,
            rights: self.rights(),
            unsupported: self.unsupported(),
            backup: self.backup,
            backup_key: "backup",
            validate: self.validate.as_deref(),
            header: " (content)",
        }
    }

    fn warn(&self, platform: &Platform) {
        for (word, text, advice) in [
            (
                "regular expression",
                &self.regexp,
                " If this is desired, use '^' to match every line in the file and avoid this warning.",
            ),
            ("search string", &self.search_string, ""),
        ] {
            if text.as_deref() == Some("") {
                platform.warn(format!("The {word} is an empty string, which will match every line in the file. This may have unintended consequences, such as replacing the last line in the file rather than appending.{advice}"));
            }
        }
    }
}

#[async_trait]
impl Module for Lineinfile {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "lineinfile";
    const SUMMARY: &'static str = "Keeps a line in a file of the host, or keeps it out";
    const EXAMPLES: &'static str = "- lineinfile:\n    path: /etc/selinux/config\n    regexp: ^SELINUX=\n    line: SELINUX=enforcing\n- lineinfile:\n    path: /etc/hosts\n    line: 10.0.0.7 registry\n    insertafter: localhost\n    backup: true\n- lineinfile: {path: /etc/sudoers, state: absent, regexp: ^%wheel, validate: visudo -cf %s}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        args.check()?;
        args.warn(platform);
        let path = host::expand(platform, &args.path).await?;
        let before = edit::read(platform, &path).await?;
        let mut result = Map::from_iter([("backup".to_owned(), json!(""))]);
        let edited = match (args.state, &before) {
            (State::Absent, None) => {
                return Ok(Change::None(Outcome::unchanged(
                    json!({"msg": "file not present"}),
                )));
            }
            (State::Absent, Some(bytes)) => {
                let (edited, found) = args.absent(bytes)?;
                result.insert("found".to_owned(), json!(found));
                edited
            }
            (State::Present, None) if !args.create => {
                let message = format!("Destination {path} does not exist !");
                return Err(edit::missing(message, true));
            }
            (State::Present, bytes) => args.present(bytes.as_deref().unwrap_or_default())?,
        };
        if before.is_none() && edited.msg.is_empty() {
            result.insert("msg".to_owned(), json!(""));
            return Ok(Change::None(Outcome::unchanged(Value::Object(result))));
        }
        edit::inspect(args.around(&path), before, edited, result, platform).await
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
