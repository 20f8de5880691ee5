//! `file`: what a path of the host is. In: the path and its wanted state and rights; out: what it is then.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::host::{self, Expected, Kind, Look, Looks, Meta, Rights, Step, UnsupportedRights, When};
use super::place::{ancestors, folders};
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, TextDiff, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Makes, links, removes, and sets rights.
pub struct File;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing is there; a folder goes with all that is in it.
    Absent,
    /// A folder is there; missing parents are made.
    Directory,
    /// A file is there already; only its rights are set.
    File,
    /// It is another name of the file `src`.
    Hard,
    /// It is a link to `src`.
    Link,
    /// A file is there, made empty when missing, with its times set to now.
    Touch,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The path, on the host.
    #[schemars(extend("x-aliases" = ["dest", "name"]))]
    path: String,
    /// What it should be. Without it, what it is now; a `file` when nothing is there.
    state: Option<State>,
    /// What a link leads to: for `link` and `hard`.
    src: Option<String>,
    /// Owner, by name or number.
    owner: Option<String>,
    /// Group, by name or number.
    group: Option<String>,
    /// Mode: `"0644"`, or symbolic (`u=rw,go=r`).
    mode: Option<Value>,
    /// Set the rights of all that is in a `directory` as well.
    #[serde(default)]
    recurse: bool,
    /// Make a `link` to what is not there, and replace what stands in its way.
    #[serde(default)]
    force: bool,
    /// Set the rights of what a link leads to, not of the link.
    #[serde(default = "yes")]
    follow: bool,
    /// `preserve`, `now`, or a time in `modification_time_format` (in this machine's time zone).
    modification_time: Option<String>,
    /// How `modification_time` is written.
    #[serde(default = "format")]
    modification_time_format: String,
    /// `preserve`, `now`, or a time in `access_time_format` (in this machine's time zone).
    access_time: Option<String>,
    /// How `access_time` is written.
    #[serde(default = "format")]
    access_time_format: String,
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

fn format() -> String {
    "%Y%m%d%H%M.%S".to_owned()
}

/// A task while it is decided.
struct Plan<'a> {
    args: &'a Args,
    check: bool,
    looks: &'a Looks,
    rights: Rights,
    steps: Vec<Step>,
    fields: Vec<FieldChange>,
    warnings: Vec<String>,
    result: Map<String, Value>,
    /// What the result describes in the end.
    path: String,
}

/// The steps, and what the result says.
pub struct Work {
    steps: Vec<Step>,
    path: String,
    result: Map<String, Value>,
    warnings: Vec<String>,
}

/// A time argument: None leaves it as it is.
fn moment(
    name: &'static str,
    value: Option<&str>,
    format: &str,
    is_touch: bool,
) -> Result<Option<When>, ModuleError> {
    match value {
        None if is_touch => Ok(Some(When::Now)),
        None | Some("preserve") => Ok(None),
        Some("now") => Ok(Some(When::Now)),
        Some(text) => DateTime::strptime(format, text)
            .and_then(|time| time.to_zoned(TimeZone::system()))
            .map(|time| Some(When::At(time.timestamp().as_second())))
            .map_err(|problem| {
                ModuleError::argument(name, format!("`{name}: {text}` is no time: {problem}"))
                    .hint(format!("it is `preserve`, `now`, or written as `{format}`"))
            }),
    }
}

impl Plan<'_> {
    fn fail(&self, message: String) -> ModuleError {
        ModuleError::failed(message).with("path", self.path.clone())
    }

    fn changes(&mut self, before: &str, after: &str) {
        self.fields.push(FieldChange {
            field: "state".to_owned(),
            before: json!(before),
            after: json!(after),
        });
    }

    fn expect(&mut self, look: &Look) {
        self.steps.push(Step::Expect {
            path: look.path.clone(),
            state: Expected::from(look),
        });
    }

    /// Rights of something that is there.
    fn rights(&mut self, path: &str, meta: &Meta) -> Result<(), ModuleError> {
        let (steps, fields) = self.rights.missing(path, meta, self.looks.umask)?;
        self.steps.extend(steps);
        self.fields.extend(fields);
        Ok(())
    }

    /// Rights of something that is made by the steps so far.
    fn rights_of_new(&mut self, path: &str, made: u32, is_folder: bool) -> Result<(), ModuleError> {
        let path = path.to_owned();
        if let Some(owner) = self.rights.owner.clone() {
            let path = path.clone();
            self.steps.push(Step::Owner { path, owner });
        }
        if let Some(group) = self.rights.group.clone() {
            let path = path.clone();
            self.steps.push(Step::Group { path, group });
        }
        if let Some(mode) = self.rights.mode(made, is_folder, self.looks.umask)? {
            self.steps.push(Step::Mode { path, mode });
        }
        Ok(())
    }

    fn times(
        &mut self,
        path: &str,
        meta: Option<&Meta>,
        is_touch: bool,
    ) -> Result<(), ModuleError> {
        let args = self.args;
        let wanted = |when: Option<When>, now: Option<f64>| {
            #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 are exact")]
            when.filter(|when| match when {
                When::Now => true,
                When::At(seconds) => now != Some(*seconds as f64),
            })
        };
        let accessed = moment(
            "access_time",
            args.access_time.as_deref(),
            &args.access_time_format,
            is_touch,
        )?;
        let modified = moment(
            "modification_time",
            args.modification_time.as_deref(),
            &args.modification_time_format,
            is_touch,
        )?;
        let accessed = wanted(accessed, meta.map(|meta| meta.accessed));
        let modified = wanted(modified, meta.map(|meta| meta.modified));
        for (field, when, before) in [
            ("atime", accessed, meta.map(|meta| meta.accessed)),
            ("mtime", modified, meta.map(|meta| meta.modified)),
        ] {
            if let Some(when) = when {
                self.fields.push(FieldChange {
                    field: field.to_owned(),
                    before: json!(before),
                    after: match when {
                        When::Now => json!("now"),
                        When::At(seconds) => json!(seconds),
                    },
                });
            }
        }
        if accessed.is_some() || modified.is_some() {
            self.steps.push(Step::Times {
                path: path.to_owned(),
                accessed,
                modified,
            });
        }
        Ok(())
    }

    fn absent(&mut self, look: &Look) -> Result<(), ModuleError> {
        self.result.insert("path".to_owned(), json!(look.path));
        self.result.insert("state".to_owned(), json!("absent"));
        if look.found.is_none() {
            return Ok(());
        }
        if look.path.chars().all(|c| matches!(c, '/' | '.')) {
            return Err(ModuleError::argument(
                "path",
                format!(
                    "`{}` is not removed: a whole system or working folder",
                    look.path
                ),
            ));
        }
        self.changes(look.state(), "absent");
        self.expect(look);
        self.steps.push(Step::Remove {
            path: look.path.clone(),
        });
        Ok(())
    }

    fn file(&mut self, look: &Look) -> Result<(), ModuleError> {
        let target = if self.args.follow {
            look.follow()
        } else {
            look.clone()
        };
        self.path.clone_from(&target.path);
        self.result.insert("path".to_owned(), json!(target.path));
        let is_file = matches!(target.state(), "file" | "hard");
        let Some(meta) = target.own().filter(|_| is_file) else {
            let state = target.state();
            let text = format!("file ({}) is {state}, cannot continue", target.path);
            return Err(self
                .fail(text)
                .with("state", state)
                .hint("`state: touch` makes an empty file, `copy` one with content"));
        };
        self.rights(&target.path, meta)?;
        self.times(&target.path, Some(meta), false)
    }

    fn directory(&mut self, look: &Look) -> Result<(), ModuleError> {
        let target = if self.args.follow {
            look.follow()
        } else {
            look.clone()
        };
        self.path.clone_from(&target.path);
        self.result.insert("path".to_owned(), json!(target.path));
        match target.own() {
            Some(meta) if meta.kind() == Kind::Folder => {
                self.rights(&target.path, meta)?;
                self.times(&target.path, Some(meta), false)
            }
            Some(_) => Err(self.fail(format!(
                "{} already exists as a {}",
                target.path,
                target.state()
            ))),
            None => {
                self.changes("absent", "directory");
                let mut missing = Vec::new();
                for path in ancestors(&target.path) {
                    let seen = self.looks.all.iter().find(|look| look.path == path);
                    match seen.map(|look| (look.found.is_some(), look.behind())) {
                        Some((_, Some(meta))) if meta.kind() != Kind::Folder => {
                            return Err(self.fail(format!(
                                "There was an issue creating {} as requested: `{path}` is no folder",
                                target.path
                            )));
                        }
                        Some((_, Some(_))) => {}
                        _ => missing.push(path),
                    }
                }
                missing.push(target.path.trim_end_matches('/').to_owned());
                let mode = self.rights.mode.clone();
                let steps = folders(&missing, &self.rights, mode.as_ref(), self.looks.umask)?;
                self.steps.extend(steps);
                self.times(&target.path, None, false)
            }
        }
    }

    fn touch(&mut self, look: &Look) -> Result<(), ModuleError> {
        self.result.insert("dest".to_owned(), json!(look.path));
        let target = if self.args.follow {
            look.follow()
        } else {
            look.clone()
        };
        let Some(meta) = target.own() else {
            let above = self.looks.at(&host::parent(&look.path))?;
            // In check mode a task before this one may make it, and has not.
            let may_come = self.check && above.found.is_none();
            if look.found.is_none() && !above.is_folder() && !may_come {
                return Err(ModuleError::new(
                    ErrorKind::NotFound,
                    format!(
                        "could not touch target: `{}` is no folder",
                        host::parent(&look.path)
                    ),
                ));
            }
            self.changes("absent", "touch");
            self.steps.push(Step::Create {
                path: look.path.clone(),
            });
            self.rights_of_new(&target.path, 0o666 & !self.looks.umask, false)?;
            // It has just been made: only a given time is left to be set.
            let given =
                |time: &Option<String>| !matches!(time.as_deref(), None | Some("now" | "preserve"));
            if given(&self.args.access_time) || given(&self.args.modification_time) {
                self.times(&target.path, None, false)?;
            }
            return Ok(());
        };
        self.rights(&target.path, meta)?;
        self.times(&target.path, Some(meta), true)
    }

    async fn link(&mut self, look: &Look, platform: &Platform) -> Result<(), ModuleError> {
        let args = self.args;
        let state = look.state();
        let src = match (&args.src, look.link()) {
            (Some(src), _) => Some(host::expand(platform, src).await?),
            (None, Some(link)) if args.follow && link.meta.is_some() => Some(link.text.clone()),
            (None, _) => None,
        };
        self.result.insert("dest".to_owned(), json!(look.path));
        self.result.insert("src".to_owned(), json!(src));
        let Some(src) = src else {
            if look.link().is_none() {
                return Err(ModuleError::argument(
                    "src",
                    "src is required for creating new symlinks",
                ));
            }
            return match look.own() {
                Some(meta) if !args.follow => self.rights(&look.path, &meta.clone()),
                _ => Ok(()),
            };
        };
        let target = self.looks.at(&link_target(look, &src))?.follow();
        if !args.force && target.behind().is_none() {
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!(
                    "src file does not exist, use 'force=yes' if you really want to create the link: {}",
                    link_target(look, &src)
                ),
            )
            .with("path", look.path.clone())
            .with("src", src));
        }
        let refuse = || {
            self.fail(format!(
                "refusing to convert from {state} to symlink for {}",
                look.path
            ))
            .hint("`force: true` replaces a file, or a folder that is empty")
        };
        match state {
            "link" | "absent" => {}
            _ if !args.force => return Err(refuse()),
            "directory" => {
                let inside = host::list(platform, &look.path, false).await?;
                if !inside.is_empty() {
                    return Err(self.fail(format!(
                        "the directory {} is not empty, refusing to convert it",
                        look.path
                    )));
                }
            }
            _ => {}
        }
        if look.link().is_none_or(|link| link.text != src) {
            self.changes(
                &look
                    .link()
                    .map_or_else(|| state.to_owned(), |link| format!("link to {}", link.text)),
                &format!("link to {src}"),
            );
            self.expect(look);
            if state == "directory" {
                self.steps.push(Step::RemoveEmpty {
                    path: look.path.clone(),
                });
            }
            self.steps.push(Step::Link {
                text: src,
                path: look.path.clone(),
            });
            if !args.follow {
                let Rights { owner, group, .. } = self.rights.clone();
                self.rights.mode = None;
                self.rights = Rights {
                    owner,
                    group,
                    mode: None,
                };
                return self.rights_of_new(&look.path, 0, false);
            }
        }
        let has_rights = self.rights != Rights::default();
        match (args.follow, target.own()) {
            (true, Some(meta)) => {
                let meta = meta.clone();
                self.rights(&target.path, &meta)?;
                self.times(&target.path, Some(&meta), false)
            }
            (true, None) => {
                if has_rights {
                    self.warnings.push("Cannot set fs attributes on a non-existent symlink target. follow should be set to False to avoid this.".to_owned());
                }
                Ok(())
            }
            (false, _) => match look.own() {
                Some(meta) => self.rights(&look.path, meta),
                None => Ok(()),
            },
        }
    }

    async fn hard(&mut self, look: &Look, platform: &Platform) -> Result<(), ModuleError> {
        let args = self.args;
        let state = look.state();
        let src = match &args.src {
            Some(src) => Some(host::expand(platform, src).await?),
            None => None,
        };
        self.result.insert("dest".to_owned(), json!(look.path));
        self.result.insert("src".to_owned(), json!(src));
        let Some(src) = src else {
            return match look.own() {
                Some(meta) if state == "hard" => {
                    self.rights(&look.path, meta)?;
                    self.times(&look.path, Some(meta), false)
                }
                _ => Err(ModuleError::argument(
                    "src",
                    "src is required for creating new hardlinks",
                )),
            };
        };
        let source = self.looks.at(&src)?.follow();
        let Some(meta) = source.own() else {
            return Err(ModuleError::new(ErrorKind::NotFound, "src does not exist")
                .with("dest", look.path.clone())
                .with("src", src));
        };
        let is_same = look
            .own()
            .is_some_and(|own| own.inode == meta.inode && own.device == meta.device);
        let refuse = |what: &str| {
            Err(
                ModuleError::failed(format!("Cannot link, {what} exists at destination"))
                    .hint("`force: true` replaces it")
                    .with("dest", look.path.clone())
                    .with("src", src.clone()),
            )
        };
        if !is_same {
            match state {
                "hard" if !args.force => return refuse("different hard link"),
                "file" if !args.force => return refuse("file"),
                "directory" => return refuse("a directory"),
                _ => {}
            }
            self.changes(state, "hard");
            self.expect(look);
            self.steps.push(Step::Hard {
                from: source.path.clone(),
                path: look.path.clone(),
            });
        }
        // Both names have the same rights.
        self.rights(&look.path, meta)?;
        self.times(&look.path, Some(meta), false)
    }

    /// Rights of all that is in a folder.
    async fn inside(&mut self, path: &str, platform: &Platform) -> Result<(), ModuleError> {
        let names = host::list(platform, path, self.args.follow).await?;
        let paths: Vec<String> = names.iter().map(|name| host::join(path, name)).collect();
        let looks = host::look(platform, &paths, None).await?;
        for look in &looks.all {
            let mut all = vec![look.clone()];
            if self.args.follow && look.link().is_some() {
                all.push(look.follow());
            }
            for look in all {
                let Some(meta) = look.own() else { continue };
                let (steps, fields) = self.rights.missing(&look.path, meta, looks.umask)?;
                self.steps.extend(steps);
                self.fields
                    .extend(fields.into_iter().map(|field| FieldChange {
                        field: format!("{}: {}", look.path, field.field),
                        ..field
                    }));
                if look.link().is_none() {
                    self.times(&look.path, Some(meta), false)?;
                }
            }
        }
        Ok(())
    }
}

/// Where a link at `look` that says `src` leads.
fn link_target(look: &Look, src: &str) -> String {
    let is_folder = look.own().is_some_and(|meta| meta.kind() == Kind::Folder);
    let base = if is_folder {
        look.path.clone()
    } else {
        host::parent(&look.path)
    };
    host::join(&base, src)
}

#[async_trait]
impl Module for File {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "file";
    const SUMMARY: &'static str = "Makes folders, links and empty files, removes, and sets rights";
    const EXAMPLES: &'static str = "- file: {path: /srv/data, state: directory, owner: core, mode: \"0750\"}\n- file: {path: /etc/localtime, state: link, src: /usr/share/zoneinfo/UTC}\n- file: {path: /tmp/build, state: absent}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let mut path = host::expand(platform, &args.path).await?;
        if path.len() > 1 {
            path.truncate(path.trim_end_matches('/').len().max(1));
        }
        let src = match &args.src {
            Some(src) => Some(host::expand(platform, src).await?),
            None => None,
        };
        let inside = src.as_ref().map(|src| host::join(&path, host::name(src)));
        let mut paths = ancestors(&path);
        paths.extend([path.clone(), host::parent(&path)]);
        if let (Some(src), Some(inside)) = (&src, &inside) {
            paths.extend([
                src.clone(),
                inside.clone(),
                host::join(&path, src),
                host::join(&host::parent(&path), src),
            ]);
        }
        let looks = host::look(platform, &paths, None).await?;
        let mut look = looks.at(&path)?;
        let is_moved = !matches!(args.state, Some(State::Link | State::Absent));
        if let Some(inside) = inside.filter(|_| is_moved && look.is_folder()) {
            look = looks.at(&inside)?;
        }
        let state = args.state.unwrap_or(match look.state() {
            "link" => State::Link,
            "directory" => State::Directory,
            "absent" if args.recurse => State::Directory,
            _ => State::File,
        });
        if args.recurse && state != State::Directory {
            return Err(ModuleError::argument(
                "recurse",
                "recurse option requires state to be 'directory'",
            ));
        }
        if args.src.is_some() && !matches!(state, State::Link | State::Hard) {
            return Err(ModuleError::argument(
                "src",
                "src option requires state to be 'link' or 'hard'",
            ));
        }
        if state != State::Absent {
            UnsupportedRights {
                selinux: [
                    ("seuser", &args.seuser),
                    ("serole", &args.serole),
                    ("setype", &args.setype),
                    ("selevel", &args.selevel),
                ],
                attributes: &args.attributes,
            }
            .check(looks.selinux)?;
        }
        let mut plan = Plan {
            args,
            check: platform.check,
            looks: &looks,
            rights: Rights {
                owner: args.owner.clone(),
                group: args.group.clone(),
                mode: args.mode.clone(),
            },
            steps: Vec::new(),
            fields: Vec::new(),
            warnings: Vec::new(),
            result: Map::new(),
            path: look.path.clone(),
        };
        match state {
            State::Absent => plan.absent(look)?,
            State::File => plan.file(look)?,
            State::Directory => plan.directory(look)?,
            State::Touch => plan.touch(look)?,
            State::Link => plan.link(look, platform).await?,
            State::Hard => plan.hard(look, platform).await?,
        }
        if args.recurse && look.is_folder() {
            let path = plan.path.clone();
            plan.inside(&path, platform).await?;
        }
        let seen = if plan.path == look.path {
            look.clone()
        } else {
            look.follow()
        };
        Ok(plan.finish(&seen, state, platform.diff))
    }

    async fn apply(
        &self,
        _: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let looks = host::take(platform, work.steps, &[work.path]).await?;
        let mut result = work.result;
        if let Some(look) = looks.all.first() {
            result.extend(host::facts(look));
        }
        Ok(Outcome {
            warnings: work.warnings,
            ..Outcome::changed(Value::Object(result))
        })
    }
}

impl Plan<'_> {
    /// The differing fields before and after, as Ansible shows them.
    fn difference(&self) -> TextDiff {
        let text = |value: fn(&FieldChange) -> &Value| {
            let mut lines: BTreeMap<&str, String> = self
                .fields
                .iter()
                .map(|field| (field.field.as_str(), value(field).to_string()))
                .collect();
            lines.insert("path", json!(self.path).to_string());
            let lines: Vec<String> = lines
                .iter()
                .map(|(name, value)| format!("    {}: {value}", json!(name)))
                .collect();
            format!("{{\n{}\n}}\n", lines.join(",\n"))
        };
        TextDiff {
            before_header: String::new(),
            after_header: String::new(),
            before: text(|field| &field.before),
            after: text(|field| &field.after),
        }
    }

    fn finish(self, seen: &Look, state: State, shows_diff: bool) -> Change<Work> {
        let mut preview = self.result.clone();
        if state != State::Absent {
            preview.extend(host::facts(seen));
        }
        if self.steps.is_empty() {
            return Change::None(Outcome {
                warnings: self.warnings,
                ..Outcome::unchanged(Value::Object(preview))
            });
        }
        for field in &self.fields {
            if matches!(field.field.as_str(), "mode" | "owner" | "group") {
                preview.insert(field.field.clone(), field.after.clone());
            }
        }
        let diff = if shows_diff {
            vec![self.difference()]
        } else {
            Vec::new()
        };
        Change::Some {
            fields: self.fields,
            diff,
            preview: Outcome {
                warnings: self.warnings.clone(),
                ..Outcome::changed(Value::Object(preview))
            },
            work: Work {
                steps: self.steps,
                path: self.path,
                result: self.result,
                warnings: self.warnings,
            },
        }
    }
}
