//! `group`. In: the group as it should be; out: what `groupadd`, `groupmod` or `groupdel` did.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::commands::{self, Seen};
use super::database::{self, Group as Entry};
use super::{State, check_name, word};
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Groups.
pub struct Group;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The group.
    name: String,
    /// Whether it should be there.
    #[serde(default)]
    state: State,
    /// Its number.
    gid: Option<u32>,
    /// Make it one of the system: only the range of its number differs.
    #[serde(default)]
    system: bool,
    /// Let it have the number of another group.
    #[serde(default)]
    non_unique: bool,
    /// Look at `/etc/group` alone and use `lgroupadd` and its like, of libuser, on a host that has its users elsewhere.
    #[serde(default)]
    local: bool,
    /// Remove it also when it is the first group of a user.
    #[serde(default)]
    force: bool,
    /// The least number that the host may choose.
    gid_min: Option<u32>,
    /// The greatest number that the host may choose.
    gid_max: Option<u32>,
}

impl Args {
    fn check(&self) -> Result<(), ModuleError> {
        check_name("name", &self.name)?;
        if self.non_unique && self.gid.is_none() {
            let message = "non_unique is True but all of the following are missing: gid";
            return Err(ModuleError::argument("gid", message));
        }
        let with_local = [
            ("gid_min", self.gid_min.is_some()),
            ("gid_max", self.gid_max.is_some()),
            ("force", self.force),
        ];
        match with_local.iter().find(|(_, is_set)| *is_set && self.local) {
            Some((name, _)) => Err(ModuleError::argument(
                *name,
                format!("'{name}' can not be used with 'local'"),
            )),
            None => Ok(()),
        }
    }

    /// The commands, and what differs by them.
    fn plan(
        &self,
        group: Option<&Entry>,
        all: &[Entry],
    ) -> Result<(Vec<Vec<String>>, Vec<FieldChange>), ModuleError> {
        let tool = |name: &str| word(if self.local { "l" } else { "" }) + name;
        let mut command = Vec::new();
        let mut fields = Vec::new();
        let taken = self
            .gid
            .filter(|gid| !self.non_unique && group.map(|group| group.gid) != Some(*gid))
            .and_then(|gid| {
                all.iter()
                    .find(|other| other.gid == gid && other.name != self.name)
            });
        if let (State::Present, Some(other)) = (self.state, taken) {
            return Err(ModuleError::new(
                ErrorKind::Preflight,
                format!(
                    "GID '{}' already exists with group '{}'",
                    other.gid, other.name
                ),
            )
            .with("name", self.name.as_str())
            .hint("choose another `gid`, or say `non_unique: true`"));
        }
        let numbered = |command: &mut Vec<String>, gid: u32| {
            command.extend([word("-g"), gid.to_string()]);
            if self.non_unique {
                command.push(word("-o"));
            }
        };
        match (self.state, group) {
            (State::Absent, None) => {}
            (State::Absent, Some(_)) => {
                command.push(tool("groupdel"));
                if self.force {
                    command.push(word("-f"));
                }
                fields.push(FieldChange::new("state", "present", "absent"));
            }
            (State::Present, None) => {
                command.push(tool("groupadd"));
                if let Some(gid) = self.gid {
                    numbered(&mut command, gid);
                }
                if self.system {
                    command.push(word("-r"));
                }
                for (name, value) in [("GID_MIN", self.gid_min), ("GID_MAX", self.gid_max)] {
                    if let Some(value) = value {
                        command.extend([word("-K"), format!("{name}={value}")]);
                    }
                }
                fields.push(FieldChange::new("state", "absent", "present"));
            }
            (State::Present, Some(group)) => {
                if let Some(gid) = self.gid.filter(|gid| *gid != group.gid) {
                    command.push(tool("groupmod"));
                    numbered(&mut command, gid);
                    fields.push(FieldChange::new("gid", group.gid, gid));
                }
            }
        }
        if command.is_empty() {
            return Ok((Vec::new(), fields));
        }
        command.push(self.name.clone());
        Ok((vec![command], fields))
    }

    fn result(&self, gid: Option<u32>) -> Map<String, Value> {
        let mut result = Map::from_iter([
            ("name".to_owned(), json!(self.name)),
            ("state".to_owned(), json!(self.state)),
        ]);
        if let Some(gid) = gid {
            result.insert("system".to_owned(), json!(self.system));
            result.insert("gid".to_owned(), json!(gid));
        }
        result
    }
}

/// The group, and all groups.
async fn look(
    args: &Args,
    platform: &Platform,
) -> Result<(Option<Entry>, Vec<Entry>), ModuleError> {
    let gid = args.gid.map(|gid| gid.to_string()).unwrap_or_default();
    let mut questions = vec![("group", args.name.as_str()), ("group", "")];
    if !gid.is_empty() {
        questions.push(("group", &gid));
    }
    let answers = database::ask(platform, args.local, &questions).await?;
    let all = Entry::all(&answers.concat());
    let own = all.iter().find(|group| group.name == args.name).cloned();
    Ok((own, all))
}

/// What `inspect` saw and chose.
pub struct Work {
    seen: String,
    commands: Vec<Vec<String>>,
}

#[async_trait]
impl Module for Group {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "group";
    const SUMMARY: &'static str = "Makes, changes and removes groups of the host";
    const EXAMPLES: &'static str = "- group: {name: deploy, gid: 5000}\n- group: {name: metrics, system: true}\n- group: {name: old, state: absent}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        args.check()?;
        let (group, all) = look(args, platform).await?;
        let (commands, fields) = args.plan(group.as_ref(), &all)?;
        let gid = group.as_ref().map(|group| group.gid);
        if commands.is_empty() {
            let result = args.result(gid.filter(|_| args.state == State::Present));
            return Ok(Change::None(Outcome::unchanged(Value::Object(result))));
        }
        let after = args.gid.or(gid).filter(|_| args.state == State::Present);
        Ok(Change::Some {
            fields,
            diff: Vec::new(),
            preview: Outcome::changed(Value::Object(args.result(after))),
            work: Work {
                seen: group.map(|group| group.line).unwrap_or_default(),
                commands,
            },
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let seen = Seen {
            database: "group",
            name: &args.name,
            line: work.seen,
            local: args.local,
        };
        let said = commands::run(platform, &seen, &work.commands, None).await?;
        let mut result = args.result(None);
        if args.state == State::Present {
            let (group, _) = look(args, platform).await?;
            result = args.result(group.map(|group| group.gid));
        }
        super::tell(&mut result, &said);
        Ok(Outcome::changed(Value::Object(result)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(args: Value) -> Result<String, ModuleError> {
        let args: Args = serde_json::from_value(args).unwrap();
        args.check()?;
        let all = Entry::all("web:x:5:a\ndb:x:6:\n");
        let own = all.iter().find(|group| group.name == args.name);
        let (commands, fields) = args.plan(own, &all)?;
        assert_eq!(commands.is_empty(), fields.is_empty());
        Ok(commands
            .first()
            .map(|command| command.join(" "))
            .unwrap_or_default())
    }

    #[test]
    fn only_what_differs_is_done() {
        for (args, command) in [
            (json!({"name": "web"}), ""),
            (json!({"name": "web", "gid": 5}), ""),
            (json!({"name": "web", "gid": 7}), "groupmod -g 7 web"),
            (
                json!({"name": "web", "gid": 6, "non_unique": true}),
                "groupmod -g 6 -o web",
            ),
            (json!({"name": "new", "system": true}), "groupadd -r new"),
            (
                json!({"name": "new", "gid": 9, "gid_min": 8}),
                "groupadd -g 9 -K GID_MIN=8 new",
            ),
            (json!({"name": "new", "local": true}), "lgroupadd new"),
            (
                json!({"name": "web", "state": "absent", "force": true}),
                "groupdel -f web",
            ),
            (json!({"name": "new", "state": "absent"}), ""),
        ] {
            assert_eq!(plan(args.clone()).unwrap(), command, "{args}");
        }
    }

    #[test]
    fn what_cannot_be_is_told_before() {
        let taken = plan(json!({"name": "new", "gid": 5})).unwrap_err();
        assert_eq!(taken.message, "GID '5' already exists with group 'web'");
        for (args, argument) in [
            (json!({"name": "-x"}), "name"),
            (json!({"name": "x", "non_unique": true}), "gid"),
            (json!({"name": "x", "local": true, "gid_min": 5}), "gid_min"),
            (json!({"name": "x", "local": true, "force": true}), "force"),
        ] {
            assert_eq!(plan(args).unwrap_err().argument.as_deref(), Some(argument));
        }
    }
}
