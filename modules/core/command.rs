//! `command` and `shell`: run a program on the host. In: a command; out: its status and output.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::{CommandSpec, Platform};

/// Runs a program without a shell.
pub struct Command;
/// Runs a line through a shell.
pub struct Shell;
/// Runs a line through a shell, and nothing besides.
pub struct Raw;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The command as one text.
    #[serde(alias = "_raw_params")]
    cmd: Option<String>,
    /// The command as a list of words.
    argv: Option<Vec<String>>,
    /// Run in this folder.
    chdir: Option<String>,
    /// Skip when this file (or glob) exists.
    creates: Option<String>,
    /// Skip when this file (or glob) does not exist.
    removes: Option<String>,
    /// The shell to use.
    executable: Option<String>,
    /// Text for the command's standard input.
    stdin: Option<String>,
    /// End the input with a newline.
    #[serde(default = "yes")]
    stdin_add_newline: bool,
    /// Strip newlines at the end of the output.
    #[serde(default = "yes")]
    strip_empty_ends: bool,
    /// Expand `$NAME` in words of the command.
    #[serde(default = "yes")]
    expand_argument_vars: bool,
}

fn yes() -> bool {
    true
}

/// A command that is ready to run, and how results show it.
pub struct Work {
    pub(super) spec: CommandSpec,
    pub(super) shown: Value,
}

const SUPPORTS: Supports = Supports {
    check: true,
    diff: false,
};

impl Args {
    fn words(&self, name: &str) -> Result<Vec<String>, ModuleError> {
        let words = match (&self.argv, &self.cmd) {
            (Some(argv), None) => argv.clone(),
            (None, Some(text)) => shlex::split(text).ok_or_else(|| {
                ModuleError::argument(
                    "cmd",
                    format!("`{text}`: a quote is opened and never closed"),
                )
            })?,
            (Some(_), Some(_)) => {
                return Err(ModuleError::argument(
                    "argv",
                    "only command or argv can be given, not both",
                ));
            }
            (None, None) => Vec::new(),
        };
        if words.iter().all(String::is_empty) {
            return Err(ModuleError::argument("cmd", NO_COMMAND)
                .hint(format!("write `{name}: PROGRAM ...`")));
        }
        Ok(words)
    }

    fn input(&self) -> Option<Vec<u8>> {
        let mut text = self.stdin.clone()?;
        if self.stdin_add_newline {
            text.push('\n');
        }
        Some(text.into_bytes())
    }
}

/// Ansible's words for a task without a command.
const NO_COMMAND: &str = "one of the following is required: _raw_params, cmd, argv";

/// Whether a path, or one that a glob finds, is there.
pub(super) async fn exists(
    platform: &Platform,
    glob: &str,
    chdir: Option<&str>,
) -> Result<bool, ModuleError> {
    // The shell expands the glob; an unmatched one stays as it is and does not exist. Without separators a path with
    // spaces stays one path.
    let script = "IFS=; for f in $1; do [ -e \"$f\" ] || [ -L \"$f\" ] && exit 0; done; exit 1";
    let argv = ["/bin/sh", "-c", script, "sh", glob]
        .map(str::to_owned)
        .to_vec();
    let output = platform
        .shell()?
        .run(CommandSpec {
            argv,
            chdir: chdir.map(ToOwned::to_owned),
            ..CommandSpec::default()
        })
        .await?;
    Ok(output.rc == 0)
}

async fn inspect(
    args: &Args,
    work: Work,
    platform: &Platform,
) -> Result<Change<Work>, ModuleError> {
    platform.shell()?;
    // Every key that playbooks may read is there although nothing ran, as in Ansible.
    let not_run = |stdout: String, message: &str| {
        let lines: Vec<&str> = stdout.lines().collect();
        json!({
            "cmd": work.shown, "rc": 0, "stdout": stdout, "stdout_lines": lines, "stderr": "", "stderr_lines": [],
            "start": null, "end": null, "delta": null, "msg": message,
        })
    };
    let verb = if platform.check { "Would" } else { "Did" };
    let kept = |file: &str, why: &str| {
        let result = not_run(
            format!("skipped, since {file} {why}"),
            &format!("{verb} not run command since '{file}' {why}"),
        );
        Change::None(Outcome::unchanged(result))
    };
    let chdir = args.chdir.as_deref();
    if let Some(file) = &args.creates
        && exists(platform, file, chdir).await?
    {
        return Ok(kept(file, "exists"));
    }
    if let Some(file) = &args.removes
        && !exists(platform, file, chdir).await?
    {
        return Ok(kept(file, "does not exist"));
    }
    if args.creates.is_some() || args.removes.is_some() {
        // What decides is known, so check mode can tell.
        let preview = Outcome::changed(not_run(String::new(), WOULD_RUN));
        return Ok(Change::Some {
            fields: Vec::new(),
            diff: Vec::new(),
            preview,
            work,
        });
    }
    if platform.check {
        return Ok(Change::None(Outcome {
            skipped: true,
            ..Outcome::unchanged(not_run(String::new(), WOULD_RUN))
        }));
    }
    Ok(Change::Unknown {
        message: WOULD_RUN.to_owned(),
        work,
    })
}

const WOULD_RUN: &str = "Command would have run if not in check mode";

/// Python's `str(datetime)`: the machine's time, with a fraction only when there is one.
fn moment(time: &jiff::Zoned) -> String {
    let whole = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    match time.subsec_nanosecond() / 1000 {
        0 => whole,
        micros => format!("{whole}.{micros:06}"),
    }
}

/// Python's `str(timedelta)`: days only from one on, a fraction only when there is one.
fn length(took: std::time::Duration) -> String {
    let seconds = took.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        more => format!("{more} days, "),
    };
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    let fraction = match took.subsec_micros() {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    };
    format!("{days}{hours}:{minutes:02}:{seconds:02}{fraction}")
}

async fn apply(args: &Args, work: Work, platform: &Platform) -> Result<Outcome, ModuleError> {
    finish(work, args.strip_empty_ends, platform).await
}

/// Runs it; the result has all keys of `command`.
pub(super) async fn finish(
    work: Work,
    strips: bool,
    platform: &Platform,
) -> Result<Outcome, ModuleError> {
    let start = platform.clock.now();
    let ran = platform.shell()?.run(work.spec).await;
    let end = platform.clock.now();
    let mut result = Map::new();
    result.insert("cmd".to_owned(), work.shown);
    let output = match ran {
        Ok(output) => output,
        Err(problem) if problem.kind == ErrorKind::MissingProgram => {
            let mut problem = problem;
            problem.result.extend(result);
            problem.message = format!("Error executing command: {problem}");
            for name in ["stdout", "stderr"] {
                problem = problem
                    .with(name, "")
                    .with(format!("{name}_lines"), json!([]));
            }
            return Err(problem.with("rc", 2));
        }
        Err(problem) if problem.kind == ErrorKind::NotFound => {
            let mut problem = problem;
            problem.result.extend(result);
            problem.message = format!("Unable to change directory before execution: {problem}");
            return Err(problem);
        }
        Err(problem) => return Err(problem),
    };
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        if strips {
            text.truncate(text.trim_end_matches(['\n', '\r']).len());
        }
        let lines: Vec<&str> = text.lines().collect();
        result.insert(format!("{name}_lines"), json!(lines));
        result.insert(name.to_owned(), json!(text));
    }
    result.insert("rc".to_owned(), json!(output.rc));
    let local = |time: jiff::Timestamp| moment(&time.to_zoned(jiff::tz::TimeZone::system()));
    // Of the moments as they are shown, so that the three agree.
    let micros = end.as_microsecond() - start.as_microsecond();
    let took = std::time::Duration::from_micros(micros.try_into().unwrap_or_default());
    result.insert("start".to_owned(), json!(local(start)));
    result.insert("end".to_owned(), json!(local(end)));
    result.insert("delta".to_owned(), json!(length(took)));
    result.insert(
        "msg".to_owned(),
        json!(if output.rc == 0 {
            ""
        } else {
            "non-zero return code"
        }),
    );
    Ok(Outcome {
        changed: true,
        result,
        ..Outcome::default()
    })
}

#[async_trait]
impl Module for Command {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "command";
    const SUMMARY: &'static str = "Runs a program on the host, without a shell";
    const EXAMPLES: &'static str = "- command: rpm-ostree status --json\n  register: status\n  changed_when: false\n- command:\n    argv: [mkdir, /srv/data]\n    creates: /srv/data\n";
    const SUPPORTS: Supports = SUPPORTS;
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;
    const FREE_FORM: Option<&'static str> = Some("cmd");

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let argv = args.words(Self::NAME)?;
        let shown = json!(argv);
        let expand = args.expand_argument_vars && argv.iter().any(|word| word.contains('$'));
        let argv = if expand {
            // Only names are expanded, no commands and no globs: the words are data of the script, not part of it.
            let quoted: Vec<String> = argv.iter().map(|word| expandable(word)).collect();
            vec![
                "/bin/sh".to_owned(),
                "-c".to_owned(),
                format!("exec {}", quoted.join(" ")),
            ]
        } else {
            argv
        };
        let spec = CommandSpec {
            argv,
            stdin: args.input(),
            chdir: args.chdir.clone(),
            ..CommandSpec::default()
        };
        inspect(args, Work { spec, shown }, platform).await
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        apply(args, work, platform).await
    }
}

/// A word in double quotes in which nothing but `$NAME` and `${NAME}` means anything.
fn expandable(word: &str) -> String {
    let mut quoted = String::from("\"");
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        let names = c == '$'
            && chars
                .peek()
                .is_some_and(|next| next.is_ascii_alphabetic() || matches!(next, '_' | '{'));
        if matches!(c, '"' | '\\' | '`') || (c == '$' && !names) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

fn line(args: &Args, name: &str) -> Result<Work, ModuleError> {
    let text = match (&args.cmd, &args.argv) {
        (Some(text), None) if !text.trim().is_empty() => text.clone(),
        (None, Some(argv)) => argv.join(" "),
        _ => {
            return Err(
                ModuleError::argument("cmd", NO_COMMAND).hint(format!("write `{name}: LINE`"))
            );
        }
    };
    let shell = args
        .executable
        .clone()
        .unwrap_or_else(|| "/bin/sh".to_owned());
    Ok(Work {
        shown: json!(text),
        spec: CommandSpec {
            argv: vec![shell, "-c".to_owned(), text],
            stdin: args.input(),
            chdir: args.chdir.clone(),
            ..CommandSpec::default()
        },
    })
}

#[async_trait]
impl Module for Shell {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "shell";
    const SUMMARY: &'static str = "Runs a line through a shell on the host";
    const EXAMPLES: &'static str =
        "- shell: journalctl -b | grep -c error\n  register: errors\n  changed_when: false\n";
    const SUPPORTS: Supports = SUPPORTS;
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;
    const FREE_FORM: Option<&'static str> = Some("cmd");

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        inspect(args, line(args, Self::NAME)?, platform).await
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        apply(args, work, platform).await
    }
}

#[async_trait]
impl Module for Raw {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "raw";
    const SUMMARY: &'static str =
        "Runs a line through a shell on the host; the same as `shell`, since no module needs more";
    const EXAMPLES: &'static str = "- raw: uname -r\n";
    const SUPPORTS: Supports = SUPPORTS;
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;
    const FREE_FORM: Option<&'static str> = Some("cmd");

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        inspect(args, line(args, Self::NAME)?, platform).await
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        apply(args, work, platform).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::host::testing::ways;
    use super::*;

    #[test]
    fn times_are_written_as_python_writes_them() {
        for (seconds, micros, text) in [
            (0, 0, "0:00:00"),
            (0, 4321, "0:00:00.004321"),
            (75, 0, "0:01:15"),
            (3600 + 61, 500_000, "1:01:01.500000"),
            (86_400, 1, "1 day, 0:00:00.000001"),
            (2 * 86_400 + 36_000, 0, "2 days, 10:00:00"),
        ] {
            let took = Duration::from_secs(seconds) + Duration::from_micros(micros);
            assert_eq!(length(took), text);
        }
        let at = |text: &str| {
            let time: jiff::Timestamp = text.parse().unwrap();
            moment(&time.to_zoned(jiff::tz::TimeZone::UTC))
        };
        assert_eq!(
            at("2026-01-01T10:00:00.123456789Z"),
            "2026-01-01 10:00:00.123456"
        );
        assert_eq!(at("2026-01-01T10:00:00Z"), "2026-01-01 10:00:00");
    }

    #[tokio::test]
    async fn check_mode_skips_what_only_a_run_can_tell_and_has_all_keys() {
        for mut platform in ways() {
            platform.check = true;
            let args = |creates: Option<&str>| Args {
                cmd: Some("echo a".to_owned()),
                creates: creates.map(ToOwned::to_owned),
                ..Args::default()
            };
            let Change::None(skipped) = Command.inspect(&args(None), &platform).await.unwrap()
            else {
                panic!("nothing is run in check mode")
            };
            assert!(skipped.skipped && !skipped.changed);
            assert_eq!(
                Value::Object(skipped.result),
                json!({
                    "cmd": ["echo", "a"], "rc": 0, "stdout": "", "stdout_lines": [], "stderr": "",
                    "stderr_lines": [], "start": null, "end": null, "delta": null, "msg": WOULD_RUN,
                })
            );
            let made = args(Some("/no/such/file"));
            let Change::Some { preview, .. } = Command.inspect(&made, &platform).await.unwrap()
            else {
                panic!("it would run")
            };
            assert!(preview.changed && !preview.skipped);
            assert_eq!(preview.result["rc"], 0);
            let there = args(Some("/"));
            let Change::None(kept) = Command.inspect(&there, &platform).await.unwrap() else {
                panic!("the file is there")
            };
            assert!(!kept.skipped && !kept.changed);
            assert_eq!(kept.result["msg"], "Would not run command since '/' exists");
            assert_eq!(kept.result["stdout"], "skipped, since / exists");
        }
    }
}
