//! What a path is and what it should be. In: the arguments and what was seen; out: the steps between them, and the result
//! that tells of them.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::super::host::{self, Expected, Kind, Look, Looks, Meta, Rights, Step, When};
use super::super::place::{ancestors, folders};
use super::{Args, State};
use crate::contract::{Change, FieldChange, Outcome, TextDiff};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// A task while it is decided.
pub(super) struct Plan<'a> {
    pub(super) args: &'a Args,
    pub(super) check: bool,
    pub(super) looks: &'a Looks,
    pub(super) rights: Rights,
    pub(super) steps: Vec<Step>,
    pub(super) fields: Vec<FieldChange>,
    pub(super) warnings: Vec<String>,
    pub(super) result: Map<String, Value>,
    /// What the result describes in the end.
    pub(super) path: String,
}

/// The steps, and what the result says.
pub struct Work {
    pub(super) steps: Vec<Step>,
    pub(super) path: String,
    pub(super) result: Map<String, Value>,
    pub(super) warnings: Vec<String>,
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
    pub(super) fn fail(&self, message: String) -> ModuleError {
        ModuleError::failed(message).with("path", self.path.clone())
    }

    pub(super) fn changes(&mut self, before: &str, after: &str) {
        self.fields.push(FieldChange {
            field: "state".to_owned(),
            before: json!(before),
            after: json!(after),
        });
    }

    pub(super) fn expect(&mut self, look: &Look) {
        self.steps.push(Step::Expect {
            path: look.path.clone(),
            state: Expected::from(look),
        });
    }

    /// Rights of something that is there.
    pub(super) fn rights(&mut self, path: &str, meta: &Meta) -> Result<(), ModuleError> {
        let (steps, fields) = self.rights.missing(path, meta, self.looks.umask)?;
        self.steps.extend(steps);
        self.fields.extend(fields);
        Ok(())
    }

    /// Rights of something that is made by the steps so far.
    pub(super) fn rights_of_new(
        &mut self,
        path: &str,
        made: u32,
        is_folder: bool,
    ) -> Result<(), ModuleError> {
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

    pub(super) fn times(
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

    pub(super) fn absent(&mut self, look: &Look) -> Result<(), ModuleError> {
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

    pub(super) fn file(&mut self, look: &Look) -> Result<(), ModuleError> {
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

    pub(super) fn directory(&mut self, look: &Look) -> Result<(), ModuleError> {
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

    pub(super) fn touch(&mut self, look: &Look) -> Result<(), ModuleError> {
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
    /// Rights of all that is in a folder.
    pub(super) async fn inside(
        &mut self,
        path: &str,
        platform: &Platform,
    ) -> Result<(), ModuleError> {
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

impl Plan<'_> {
    /// The differing fields before and after, as Ansible shows them.
    pub(super) fn difference(&self) -> TextDiff {
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

    pub(super) fn finish(self, seen: &Look, state: State, shows_diff: bool) -> Change<Work> {
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
