//! `cron`: entries of crontabs. In: a command and its times; out: the crontab of a user, or a file of `/etc/cron.d`, with that
//! entry or without.

mod table;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::host::{self, Rights, Step};
use super::place;
use super::{accounts, edit, text};
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, TextDiff, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;
use table::Table;

/// Entries of crontabs.
pub struct Cron;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Absent,
}

/// A time with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpecialTime {
    Reboot,
    Yearly,
    Annually,
    Monthly,
    Weekly,
    Daily,
    Hourly,
}

impl SpecialTime {
    fn word(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Yearly => "yearly",
            Self::Annually => "annually",
            Self::Monthly => "monthly",
            Self::Weekly => "weekly",
            Self::Daily => "daily",
            Self::Hourly => "hourly",
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// What the entry is called, in the comment above it; with `env` the variable.
    name: String,
    /// The command; with `env` the value.
    #[schemars(extend("x-aliases" = ["value"]))]
    job: Option<String>,
    /// Whether it should be there.
    #[serde(default)]
    state: State,
    /// Whose crontab; without it that of the user that the task runs as. With `cron_file`, who runs the command.
    user: Option<String>,
    /// A file, in `/etc/cron.d` when it does not begin with `/`, in place of a user's crontab.
    cron_file: Option<String>,
    /// Keep a copy of the crontab as it was; `backup_file` says where.
    #[serde(default)]
    backup: bool,
    /// Minute: `0` to `59`, `*`, `*/5`, ...
    #[serde(default = "any")]
    minute: String,
    /// Hour: `0` to `23`.
    #[serde(default = "any")]
    hour: String,
    /// Day of the month: `1` to `31`.
    #[serde(default = "any")]
    #[schemars(extend("x-aliases" = ["dom"]))]
    day: String,
    /// Month: `1` to `12`.
    #[serde(default = "any")]
    month: String,
    /// Day of the week: `0` to `6`, Sunday is 0.
    #[serde(default = "any")]
    #[schemars(extend("x-aliases" = ["dow"]))]
    weekday: String,
    /// A time with a name, in place of the five.
    special_time: Option<SpecialTime>,
    /// Leave the entry there, as a comment.
    #[serde(default)]
    disabled: bool,
    /// It is a variable of the crontab.
    #[serde(default)]
    env: bool,
    /// Put a new variable behind this one.
    insertafter: Option<String>,
    /// Put a new variable before this one.
    insertbefore: Option<String>,
}

fn any() -> String {
    "*".to_owned()
}

impl Args {
    fn check(&self) -> Result<(), ModuleError> {
        let wrong = |argument: &str, message: &str| Err(ModuleError::argument(argument, message));
        let times = [
            &self.minute,
            &self.hour,
            &self.day,
            &self.month,
            &self.weekday,
        ];
        if self.insertafter.is_some() && self.insertbefore.is_some() {
            return wrong(
                "insertbefore",
                "parameters are mutually exclusive: insertafter|insertbefore",
            );
        }
        if self.cron_file.as_deref() == Some("/etc/crontab") {
            return wrong(
                "cron_file",
                "Will not manage /etc/crontab via cron_file, see documentation.",
            );
        }
        if self.special_time.is_some() && times.iter().any(|time| time.as_str() != "*") {
            return wrong(
                "special_time",
                "You cannot combine special_time with any of the time or day/date parameters.",
            );
        }
        if self.env && self.name.contains(' ') {
            return wrong("name", "Invalid name for environment variable");
        }
        // A line of its own would be an entry of its own.
        let texts = [("name", &self.name)];
        let named = ["minute", "hour", "day", "month", "weekday"]
            .into_iter()
            .zip(times);
        for (name, text) in texts.into_iter().chain(named) {
            if text.contains(['\n', '\r']) {
                return Err(ModuleError::argument(
                    name,
                    format!("`{name}` has more than one line"),
                ));
            }
        }
        if let Some(user) = &self.user {
            accounts::check_name("user", user)?;
        }
        if self.state == State::Absent {
            return Ok(());
        }
        if self.cron_file.is_some() && self.user.is_none() {
            return wrong(
                "user",
                "To use cron_file=... parameter you must specify user=... as well",
            );
        }
        let Some(job) = &self.job else {
            return wrong(
                "job",
                "You must specify 'job' to install a new cron job or variable",
            );
        };
        if job.trim_matches(['\r', '\n']).contains(['\r', '\n']) {
            return Err(
                ModuleError::argument("job", "Job should not contain line breaks").hint(
                    "each line of a crontab is an entry: put the lines into a script with `copy`",
                ),
            );
        }
        if (self.insertafter.is_some() || self.insertbefore.is_some()) && !self.env {
            return wrong(
                "insertafter",
                "Insertafter and insertbefore parameters are valid only with env=yes",
            );
        }
        Ok(())
    }

    /// The line of the entry.
    fn line(&self) -> String {
        let job = self
            .job
            .as_deref()
            .unwrap_or_default()
            .trim_matches(['\r', '\n']);
        let time = match self.special_time {
            Some(time) => format!("@{}", time.word()),
            None => [
                &self.minute,
                &self.hour,
                &self.day,
                &self.month,
                &self.weekday,
            ]
            .map(String::as_str)
            .join(" "),
        };
        let user = match (&self.cron_file, &self.user) {
            (Some(_), Some(user)) => format!("{user} "),
            _ => String::new(),
        };
        let off = if self.disabled { "#" } else { "" };
        format!("{off}{time} {user}{job}")
    }

    fn edit(&self, table: &mut Table) -> Result<(), ModuleError> {
        match (self.env, self.state) {
            (true, State::Absent) => table.remove_variable(&self.name),
            (false, State::Absent) => table.remove(&self.name),
            (false, State::Present) => table.set(&self.name, &self.line()),
            (true, State::Present) => {
                let value = self.job.as_deref().unwrap_or_default();
                let line = format!("{}=\"{value}\"", self.name);
                let after = self.insertafter.as_deref().map(|name| (name, true));
                let beside = after.or(self.insertbefore.as_deref().map(|name| (name, false)));
                let other = beside.map_or("", |(name, _)| name);
                table
                    .set_variable(&self.name, &line, beside)
                    .map_err(|()| {
                        ModuleError::new(
                            ErrorKind::NotFound,
                            format!("Variable named '{other}' not found."),
                        )
                    })?;
            }
        }
        Ok(())
    }

    fn file(&self) -> Option<String> {
        let file = self.cron_file.as_deref()?;
        Some(host::join("/etc/cron.d", file))
    }

    fn result(&self, table: &Table) -> Map<String, Value> {
        let mut result = Map::from_iter([
            ("jobs".to_owned(), json!(table.jobs())),
            ("envs".to_owned(), json!(table.variables())),
        ]);
        if let Some(file) = &self.cron_file {
            result.insert("cron_file".to_owned(), json!(file));
        }
        result
    }
}

/// `crontab` of a user; another user's only where it is another, since that needs to be root.
const LIB: &str = r#"LC_ALL=C; export LC_ALL
command -v crontab >/dev/null 2>&1 || exit 90
u=$1; [ "$u" = "$(id -un)" ] && u=
tab() { crontab ${u:+-u "$u"} "$@"; }
"#;

const READ: &str = "tab -l";

/// Words: user, the text as seen, `backup` or nothing. Standard input has the new text.
const WRITE: &str = r#"
[ "$(tab -l 2>/dev/null)" = "$2" ] || exit 92
if [ -n "$3" ]; then b=$(mktemp "${TMPDIR:-/tmp}/crontabXXXXXX") && tab -l > "$b" 2>/dev/null; printf %s "$b"; fi
tab -"#;

/// What `inspect` saw and chose.
pub enum Work {
    /// The new text of a user's crontab, and the old.
    Table {
        before: String,
        after: String,
        result: Map<String, Value>,
    },
    File(place::Work),
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn failed(
    rc: i32,
    message: &str,
    text: &str,
    platform: &Platform,
) -> Result<ModuleError, ModuleError> {
    let place = platform.shell()?.place();
    Ok(match rc {
        90 => ModuleError::lacks(&place, "crontab")
            .hint("install cron there, write a `cron_file`, or use a timer of systemd"),
        92 => ModuleError::new(
            ErrorKind::Conflict,
            "the crontab has changed since it was looked at; it was left as it is",
        )
        .hint("something else writes it: run the task again"),
        _ => ModuleError::failed(format!("{message}: {}", text.trim()))
            .with("rc", rc)
            .with("stderr", text.trim())
            .hint("another user's crontab needs `become: true`"),
    })
}

async fn of_user(args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
    let user = args.user.clone().unwrap_or_default();
    let script = format!("{LIB}{READ}");
    let output = host::script(platform, &script, std::slice::from_ref(&user), None).await?;
    let (raw, wrong) = (said(&output.stdout), said(&output.stderr));
    // Status 1 is also that there is none yet.
    if !matches!(output.rc, 0 | 1)
        || (output.rc == 1 && !wrong.is_empty() && !wrong.contains("no crontab"))
    {
        return Err(failed(
            output.rc,
            "Unable to read crontab",
            &wrong,
            platform,
        )?);
    }
    let raw = if output.rc == 0 { raw } else { String::new() };
    let mut table = Table::without_header(&raw);
    let before = table.clone();
    args.edit(&mut table)?;
    let result = args.result(&table);
    let is_ended = raw.is_empty() || raw.ends_with(['\n', '\r']);
    if table == before && is_ended {
        return Ok(Change::None(Outcome::unchanged(Value::Object(result))));
    }
    let header = args.user.as_ref().map_or_else(
        || "crontab".to_owned(),
        |user| format!("crontab for user \"{user}\""),
    );
    let after = table.text();
    Ok(Change::Some {
        fields: vec![FieldChange {
            field: "jobs".to_owned(),
            before: json!(before.jobs()),
            after: json!(table.jobs()),
        }],
        diff: vec![TextDiff {
            before_header: header.clone(),
            after_header: header,
            before: before.whole(),
            after: after.clone(),
        }],
        preview: Outcome::changed(Value::Object(result.clone())),
        work: Work::Table {
            before: raw,
            after,
            result,
        },
    })
}

async fn of_file(
    args: &Args,
    file: &str,
    platform: &Platform,
) -> Result<Change<Work>, ModuleError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let name = host::name(file);
    if !name.chars().all(is_plain) {
        platform.warn(format!("Filename portion of cron_file (\"{name}\") should consist solely of upper- and lower-case letters, digits, underscores, and hyphens"));
    }
    let bytes = edit::read(platform, file).await?;
    let raw = said(bytes.as_deref().unwrap_or_default());
    let mut table = Table::parse(&raw);
    let before = table.clone();
    args.edit(&mut table)?;
    let is_ended = raw.is_empty() || raw.ends_with(['\n', '\r']);
    if table == before && is_ended {
        return Ok(Change::None(Outcome::unchanged(Value::Object(
            args.result(&table),
        ))));
    }
    if args.state == State::Absent && !args.env && table.is_empty() && bytes.is_some() {
        return remove(args, file, raw, platform).await;
    }
    let is_new = bytes.is_none();
    let mut text = text::Text::new(file, bytes, table.text().into_bytes());
    text.backup = args.backup;
    text.result = args.result(&table);
    if is_new {
        // cron refuses files that others may write.
        text.rights = Rights {
            mode: Some(json!("0644")),
            ..Rights::default()
        };
    }
    Ok(text::inspect(text, platform).await?.map(Work::File))
}

/// A file without entries is removed.
async fn remove(
    args: &Args,
    file: &str,
    raw: String,
    platform: &Platform,
) -> Result<Change<Work>, ModuleError> {
    let looks = host::look(platform, &[file.to_owned()], Some(host::Algorithm::Sha1)).await?;
    let state = host::Expected::from(looks.at(file)?);
    let mut result = Map::from_iter([
        ("cron_file".to_owned(), json!(args.cron_file)),
        ("state".to_owned(), json!(args.state)),
    ]);
    let path = file.to_owned();
    let mut steps = vec![Step::Expect {
        path: path.clone(),
        state,
    }];
    if args.backup {
        let to = place::backup_name(file, platform);
        result.insert("backup_file".to_owned(), json!(to));
        steps.push(Step::Backup {
            path: path.clone(),
            to,
        });
    }
    steps.push(Step::Remove { path });
    Ok(Change::Some {
        fields: vec![FieldChange {
            field: "state".to_owned(),
            before: json!("file"),
            after: json!("absent"),
        }],
        diff: vec![TextDiff {
            before_header: file.to_owned(),
            after_header: "/dev/null".to_owned(),
            before: raw,
            after: String::new(),
        }],
        preview: Outcome::changed(Value::Object(result.clone())),
        work: Work::File(place::Work {
            steps,
            path: None,
            result,
        }),
    })
}

#[async_trait]
impl Module for Cron {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "cron";
    const SUMMARY: &'static str = "Keeps entries in crontabs of the host, or keeps them out";
    const EXAMPLES: &'static str = "- cron: {name: backup, hour: \"3\", minute: \"30\", job: /usr/local/bin/backup}\n- cron:\n    name: report\n    special_time: daily\n    user: root\n    cron_file: report\n    job: /usr/local/bin/report\n- cron: {name: MAILTO, env: true, job: ops@example.com}\n- cron: {name: backup, state: absent}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        args.check()?;
        match args.file() {
            Some(file) => {
                let file = host::expand(platform, &file).await?;
                of_file(args, &file, platform).await
            }
            None => of_user(args, platform).await,
        }
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let (before, after, mut result) = match work {
            Work::File(work) => return place::apply(work, platform).await,
            Work::Table {
                before,
                after,
                result,
            } => (before, after, result),
        };
        let words = [
            args.user.clone().unwrap_or_default(),
            // As `$(...)` gives it: without the ends of its last lines.
            before.trim_end_matches('\n').to_owned(),
            if args.backup { "backup" } else { "" }.to_owned(),
        ];
        let script = format!("{LIB}{WRITE}");
        let output = host::script(platform, &script, &words, Some(after.into_bytes())).await?;
        if output.rc != 0 {
            let text = said(&output.stderr);
            return Err(failed(
                output.rc,
                "Failed to install new cronfile",
                &text,
                platform,
            )?);
        }
        if args.backup {
            result.insert("backup_file".to_owned(), json!(said(&output.stdout)));
        }
        Ok(Outcome::changed(Value::Object(result)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &Value) -> Args {
        let schema = schemars::schema_for!(Args).to_value();
        super::super::arguments::parse("cron", &schema, args.as_object().unwrap()).unwrap()
    }

    #[test]
    fn lines_are_written_as_ansible_writes_them() {
        for (args, line) in [
            (json!({"job": "a"}), "* * * * * a"),
            (
                json!({"job": "a\n", "minute": 5, "hour": "5,2", "dow": "1"}),
                "5 5,2 * * 1 a",
            ),
            (
                json!({"job": "a", "special_time": "daily", "disabled": true}),
                "#@daily a",
            ),
            (
                json!({"job": "a", "cron_file": "f", "user": "root", "dom": 1, "month": 2}),
                "* * 1 2 * root a",
            ),
            (
                json!({"value": "a", "cron_file": "f", "user": "root", "special_time": "reboot"}),
                "@reboot root a",
            ),
        ] {
            let mut asked = args.clone();
            asked["name"] = json!("n");
            let parsed = parse(&asked);
            parsed.check().unwrap();
            assert_eq!(parsed.line(), line, "{args}");
        }
    }

    #[test]
    fn what_cannot_be_is_told_before() {
        for (args, argument) in [
            (json!({"name": "n"}), "job"),
            (json!({"name": "n", "job": "a", "cron_file": "f"}), "user"),
            (
                json!({"name": "n", "job": "a", "cron_file": "/etc/crontab", "user": "root"}),
                "cron_file",
            ),
            (
                json!({"name": "n", "job": "a", "special_time": "daily", "hour": "1"}),
                "special_time",
            ),
            (json!({"name": "n\n* * * * * x", "job": "a"}), "name"),
            (json!({"name": "n", "job": "a\nb"}), "job"),
            (json!({"name": "n", "job": "a", "hour": "1\n"}), "hour"),
            (json!({"name": "a b", "job": "a", "env": true}), "name"),
            (
                json!({"name": "n", "job": "a", "insertafter": "b"}),
                "insertafter",
            ),
            (json!({"name": "n", "job": "a", "user": "-r"}), "user"),
        ] {
            let problem = parse(&args).check().unwrap_err();
            assert_eq!(problem.argument.as_deref(), Some(argument), "{args}");
        }
    }
}
