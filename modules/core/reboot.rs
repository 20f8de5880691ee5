//! `reboot`. In: how long it may take; out: the host after its reboot, proven by another boot id. The connection goes down
//! with the host, which is no error, and is made anew.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::{CommandOutput, CommandSpec, Platform};

/// Reboots a machine.
pub struct Reboot;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Seconds until the host must have booted; as many again until `test_command` must succeed.
    #[serde(default = "reboot_timeout")]
    #[schemars(extend("x-aliases" = ["reboot_timeout_sec"]))]
    reboot_timeout: u64,
    /// Seconds that `shutdown` waits; it counts whole minutes.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["pre_reboot_delay_sec"]))]
    pre_reboot_delay: i64,
    /// Seconds to wait before the host is tried for the first time.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["post_reboot_delay_sec"]))]
    post_reboot_delay: i64,
    /// Seconds that one try to connect may take; 10 when it is not said.
    #[schemars(extend("x-aliases" = ["connect_timeout_sec"]))]
    connect_timeout: Option<u64>,
    /// What must succeed when the host is up again.
    #[serde(default = "test_command")]
    test_command: String,
    /// What prints something that another boot changes.
    #[serde(default = "boot_time_command")]
    boot_time_command: String,
    /// What reboots the host, in place of `shutdown -r`.
    reboot_command: Option<String>,
    /// What users of the host are told.
    #[serde(default = "msg")]
    msg: String,
    /// Folders where the command is looked for when it is no path.
    #[serde(default = "search_paths")]
    search_paths: Vec<String>,
}

fn reboot_timeout() -> u64 {
    600
}

fn test_command() -> String {
    "whoami".to_owned()
}

fn boot_time_command() -> String {
    "cat /proc/sys/kernel/random/boot_id".to_owned()
}

fn msg() -> String {
    "Reboot initiated by Ansible".to_owned()
}

fn search_paths() -> Vec<String> {
    ["/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin"]
        .map(str::to_owned)
        .to_vec()
}

/// The longest time between two tries, as in Ansible.
const LONGEST_PAUSE: Duration = Duration::from_secs(12);

/// Words: folders, then the program. Prints where it is.
const FIND: &str = r#"p=$1; shift; for d; do if [ -x "$d/$p" ]; then printf %s "$d/$p"; exit 0; fi; done; exit 44"#;

impl Args {
    /// The program, and what follows it on its line.
    fn command(&self) -> (String, String) {
        if let Some(text) = &self.reboot_command {
            let (program, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
            return (program.to_owned(), rest.to_owned());
        }
        let minutes = self.pre_reboot_delay.max(0) / 60;
        let msg = shlex::try_quote(&self.msg).unwrap_or_default();
        ("shutdown".to_owned(), format!("-r {minutes} {msg}"))
    }

    fn connect_timeout(&self) -> Duration {
        Duration::from_secs(
            self.connect_timeout
                .filter(|seconds| *seconds > 0)
                .unwrap_or(10),
        )
    }
}

fn cancelled() -> ModuleError {
    ModuleError::new(
        ErrorKind::Cancelled,
        "the wait for the reboot was left: the run was interrupted",
    )
}

/// What the task runs with.
struct Host<'a> {
    args: &'a Args,
    platform: &'a Platform,
}

impl Host<'_> {
    async fn shell(&self, line: &str) -> Result<CommandOutput, ModuleError> {
        let argv = ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
        let spec = CommandSpec {
            argv,
            ..CommandSpec::default()
        };
        self.platform.shell()?.run(spec).await
    }

    async fn boot(&self) -> Result<String, ModuleError> {
        let output = self.shell(&self.args.boot_time_command).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        if output.rc != 0 || stdout.is_empty() {
            return Err(ModuleError::failed(format!(
                "reboot: failed to get host boot time info, rc: {}, stdout: {stdout}, stderr: {stderr}",
                output.rc
            ))
            .hint("`boot_time_command` must print something that another boot changes"));
        }
        Ok(stdout)
    }

    /// The line that reboots.
    async fn line(&self) -> Result<String, ModuleError> {
        let (program, rest) = self.args.command();
        if program.starts_with('/') {
            return Ok(format!("{program} {rest}"));
        }
        let mut words = vec![program.clone()];
        words.extend(self.args.search_paths.iter().cloned());
        let output = super::host::script(self.platform, FIND, &words, None).await?;
        if output.rc == 0 {
            let path = String::from_utf8_lossy(&output.stdout).into_owned();
            return Ok(format!("{path} {rest}"));
        }
        Err(ModuleError::new(
            ErrorKind::MissingProgram,
            format!(
                "Unable to find command \"{program}\" in search paths: {}",
                self.args.search_paths.join(", ")
            ),
        )
        .hint("say with `reboot_command` what reboots this host"))
    }

    async fn pause(&self, time: Duration) -> Result<(), ModuleError> {
        tokio::select! {
            () = self.platform.clock.sleep(time) => Ok(()),
            () = self.platform.cancel.cancelled() => Err(cancelled()),
        }
    }

    /// Whether the host has booted again; an error says why that is not known.
    async fn has_booted(&self, before: &str) -> Result<bool, ModuleError> {
        self.platform
            .shell()?
            .reconnect(self.args.connect_timeout())
            .await?;
        Ok(self.boot().await? != before)
    }

    async fn is_well(&self) -> Result<bool, ModuleError> {
        let output = match self.shell(&self.args.test_command).await {
            Err(problem) if problem.kind == ErrorKind::Unreachable => {
                // It may have rebooted once more.
                self.platform
                    .shell()?
                    .reconnect(self.args.connect_timeout())
                    .await?;
                self.shell(&self.args.test_command).await?
            }
            other => other?,
        };
        if output.rc == 0 {
            return Ok(true);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Err(ModuleError::failed(format!(
            "Test command failed: {} {}",
            text(&output.stderr),
            text(&output.stdout)
        )))
    }

    /// Tries again and again, with longer and longer pauses.
    async fn until<F: Future<Output = Result<bool, ModuleError>>>(
        &self,
        what: &str,
        step: impl Fn() -> F,
    ) -> Result<(), ModuleError> {
        let clock = &self.platform.clock;
        let limit = Duration::from_secs(self.args.reboot_timeout);
        let end = clock.now() + limit;
        let mut pause = Duration::from_secs(1);
        let mut last = String::new();
        while clock.now() < end {
            // A host that goes down may leave a command without an answer for ever.
            let patience = self.args.connect_timeout() * 2;
            let tried = tokio::select! {
                tried = step() => tried,
                () = clock.sleep(patience) => Err(ModuleError::failed("no answer")),
                () = self.platform.cancel.cancelled() => return Err(cancelled()),
            };
            match tried {
                Ok(true) => return Ok(()),
                Ok(false) => "it has not gone down yet".clone_into(&mut last),
                Err(problem) if problem.kind == ErrorKind::Cancelled => return Err(problem),
                Err(problem) => last = problem.message,
            }
            self.pause(pause).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(ModuleError::new(
            ErrorKind::Timeout,
            format!(
                "Timed out waiting for {what} (timeout={}): {last}",
                self.args.reboot_timeout
            ),
        )
        .hint("`reboot_timeout` gives it more time; the host's console says what it is doing")
        .with("rebooted", true))
    }
}

#[async_trait]
impl Module for Reboot {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "reboot";
    const SUMMARY: &'static str = "Reboots a machine and waits until it is up again";
    const EXAMPLES: &'static str = "- reboot:\n- reboot: {reboot_timeout: 1800, post_reboot_delay: 60, msg: new kernel}\n- reboot: {reboot_command: systemctl reboot, test_command: systemctl is-system-running}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = Touches {
        reboot: true,
        ..super::MACHINE
    };
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        if !platform.shell()?.reconnects() {
            return Err(ModuleError::new(
                ErrorKind::Preflight,
                "Running reboot with local connection would reboot the control node.",
            )
            .hint("name the machine as a host that is reached by `ansible_connection: ssh`")
            .with("rebooted", false)
            .with("elapsed", 0));
        }
        let host = Host { args, platform };
        let boot = host.boot().await?;
        host.line().await?;
        Ok(Change::Some {
            fields: vec![FieldChange {
                field: "boot".to_owned(),
                before: json!(boot),
                after: json!("another"),
            }],
            diff: Vec::new(),
            preview: Outcome::changed(json!({"rebooted": true, "elapsed": 0})),
            work: (),
        })
    }

    async fn apply(
        &self,
        args: &Args,
        (): (),
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let host = Host { args, platform };
        let before = host.boot().await?;
        let line = host.line().await?;
        platform.status("rebooting");
        let start = platform.clock.now();
        let elapsed = || platform.clock.now().duration_since(start).as_secs();
        match host.shell(&line).await {
            // The host was quicker than its answer.
            Err(problem) if problem.kind == ErrorKind::Unreachable => {}
            Err(problem) => return Err(problem.with("rebooted", false)),
            // 128 and more: a signal ended the shell, as it does when the host goes down.
            Ok(output) if output.rc != 0 && output.rc < 128 => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
                let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
                let error = ModuleError::failed(format!(
                    "Reboot command failed. Error was: '{stdout}, {stderr}'"
                ));
                return Err(error
                    .hint("a reboot needs root: `become: true`")
                    .with("rebooted", false)
                    .with("elapsed", elapsed()));
            }
            Ok(_) => {}
        }
        host.pause(Duration::from_secs(
            args.post_reboot_delay.max(0).unsigned_abs(),
        ))
        .await?;
        platform.status("waiting until it has booted");
        let waited = async {
            host.until("last boot time check", || host.has_booted(&before))
                .await?;
            platform.status("waiting until it is well");
            host.until("post-reboot test command", || host.is_well())
                .await
        };
        waited
            .await
            .map_err(|problem| problem.with("elapsed", elapsed()))?;
        Ok(Outcome::changed(
            json!({"rebooted": true, "elapsed": elapsed()}),
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::host::testing::ways;
    use super::*;

    fn parse(args: &Value) -> Args {
        let schema = schemars::schema_for!(Args).to_value();
        super::super::arguments::parse("reboot", &schema, args.as_object().unwrap()).unwrap()
    }

    #[test]
    fn the_command_is_shutdown_unless_another_is_said() {
        let words = |program: &str, rest: &str| (program.to_owned(), rest.to_owned());
        for (args, command) in [
            (
                json!({}),
                words("shutdown", "-r 0 'Reboot initiated by Ansible'"),
            ),
            (
                json!({"pre_reboot_delay": 125, "msg": "it's $(id)"}),
                words("shutdown", "-r 2 \"it's \"'$(id)'"),
            ),
            (
                json!({"pre_reboot_delay": -5, "msg": "x"}),
                words("shutdown", "-r 0 x"),
            ),
            (
                json!({"reboot_command": "systemctl reboot now"}),
                words("systemctl", "reboot now"),
            ),
            (
                json!({"reboot_command": "/sbin/again"}),
                words("/sbin/again", ""),
            ),
        ] {
            assert_eq!(parse(&args).command(), command, "{args}");
        }
    }

    #[tokio::test]
    async fn this_machine_is_never_rebooted() {
        for platform in ways() {
            let problem = Reboot
                .inspect(&parse(&json!({})), &platform)
                .await
                .unwrap_err();
            assert_eq!(problem.kind, ErrorKind::Preflight);
            assert_eq!(problem.result["rebooted"], false);
        }
    }
}
