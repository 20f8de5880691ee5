//! `wait_for`: waits until a port, a file or a text in it is there, or is gone. In: what is waited for and how long;
//! out: how long it took, and what a pattern matched. It looks from the host; the clock is the controller's.

use std::time::Duration;

use async_trait::async_trait;
use fancy_regex::{Captures, Regex};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::host;
use super::probe;
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Waits for a port or a file.
pub struct WaitFor;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The port takes connections, or the file is there.
    #[default]
    Started,
    /// The same.
    Present,
    /// The port takes no connections.
    Stopped,
    /// The file is not there, or the port takes no connections.
    Absent,
    /// The port has no active connections.
    Drained,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Present => "present",
            Self::Stopped => "stopped",
            Self::Absent => "absent",
            Self::Drained => "drained",
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The address, as the host sees it.
    #[serde(default = "localhost")]
    pub(super) host: String,
    /// The TCP port to wait for.
    pub(super) port: Option<u16>,
    /// The file on the host to wait for.
    path: Option<String>,
    /// Wait for this pattern in the file, or in what the port sends.
    search_regex: Option<String>,
    /// What is waited for.
    #[serde(default)]
    state: State,
    /// Give up after so many seconds. Without a port and a path, the time to wait.
    #[serde(default = "timeout")]
    timeout: u64,
    /// Seconds to wait before the first look.
    #[serde(default)]
    delay: u64,
    /// Seconds between two looks.
    #[serde(default = "one")]
    sleep: u64,
    /// Seconds that one connection may take.
    #[serde(default = "five")]
    connect_timeout: u64,
    /// The message when time runs out.
    msg: Option<String>,
    /// For `drained`: connections of these addresses do not count.
    exclude_hosts: Option<Vec<String>>,
    /// For `drained`: connections in these states count.
    #[serde(default = "states")]
    active_connection_states: Vec<String>,
}

fn localhost() -> String {
    "127.0.0.1".to_owned()
}

fn timeout() -> u64 {
    300
}

fn one() -> u64 {
    1
}

fn five() -> u64 {
    5
}

fn states() -> Vec<String> {
    [
        "ESTABLISHED",
        "FIN_WAIT1",
        "FIN_WAIT2",
        "SYN_RECV",
        "SYN_SENT",
        "TIME_WAIT",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// What was checked before the wait.
pub struct Work {
    pattern: Option<Regex>,
    path: Option<String>,
}

/// What a pattern matched.
#[derive(Default)]
struct Matched {
    groups: Vec<Value>,
    named: Map<String, Value>,
}

impl Matched {
    fn new(pattern: &Regex, captures: &Captures<'_, str>) -> Self {
        let text = |at: usize| {
            captures
                .get(at)
                .map_or(Value::Null, |found| json!(found.as_str()))
        };
        let mut matched = Self::default();
        for (at, name) in pattern.capture_names().enumerate().skip(1) {
            matched.groups.push(text(at));
            if let Some(name) = name {
                matched.named.insert(name.to_owned(), text(at));
            }
        }
        matched
    }

    /// None when the pattern is not in the text.
    fn find(pattern: &Regex, text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let captures = pattern.captures(&*text).ok().flatten()?;
        Some(Self::new(pattern, &captures))
    }
}

impl Args {
    fn check(&self) -> Result<Option<Regex>, ModuleError> {
        let wrong = |argument: &str, text: &str| {
            Err(ModuleError::argument(argument, text).with("elapsed", 0))
        };
        if self.port.is_some() && self.path.is_some() {
            return wrong(
                "path",
                "port and path parameter can not both be passed to wait_for",
            );
        }
        if self.path.is_some() && matches!(self.state, State::Stopped | State::Drained) {
            let name = self.state.name();
            return wrong(
                "state",
                &format!(
                    "state={name} should only be used for checking a port in the wait_for module"
                ),
            );
        }
        if self.state == State::Drained && self.port.is_none() {
            return wrong("port", "state=drained needs a port");
        }
        if self.exclude_hosts.is_some() && self.state != State::Drained {
            return wrong(
                "exclude_hosts",
                "exclude_hosts should only be with state=drained",
            );
        }
        for state in &self.active_connection_states {
            if probe::state_code(state).is_none() {
                return wrong(
                    "active_connection_states",
                    &format!("unknown active_connection_state (`{state}`) defined"),
                );
            }
        }
        let Some(pattern) = &self.search_regex else {
            return Ok(None);
        };
        Regex::new(&format!("(?m){pattern}"))
            .map(Some)
            .map_err(|problem| {
                ModuleError::argument(
                    "search_regex",
                    format!("invalid regular expression: {problem}"),
                )
            })
    }

    fn what(&self) -> String {
        match (&self.path, self.port) {
            (Some(path), _) => path.clone(),
            (None, Some(port)) => format!("{}:{port}", self.host),
            (None, None) => "the time".to_owned(),
        }
    }

    /// Ansible's words when time ran out.
    fn timed_out(&self) -> String {
        if let Some(text) = &self.msg {
            return text.clone();
        }
        let what = self.what();
        match (self.state, &self.search_regex) {
            (State::Absent | State::Stopped, _) if self.port.is_some() => {
                format!("Timeout when waiting for {what} to stop.")
            }
            (State::Absent | State::Stopped, _) => {
                format!("Timeout when waiting for {what} to be absent.")
            }
            (State::Drained, _) => format!("Timeout when waiting for {what} to drain"),
            (_, Some(pattern)) => {
                format!("Timeout when waiting for search string {pattern} in {what}")
            }
            _ if self.path.is_some() => format!("Timeout when waiting for file {what}"),
            _ => format!("Timeout when waiting for {what}"),
        }
    }

    /// One look: Some when the wait is over.
    async fn look(
        &self,
        work: &Work,
        left: Duration,
        platform: &Platform,
    ) -> Result<Option<Matched>, ModuleError> {
        let over = |is: bool| is.then(Matched::default);
        let gone = matches!(self.state, State::Absent | State::Stopped);
        if let Some(path) = &work.path {
            let pattern = work.pattern.as_ref().filter(|_| !gone);
            let Some(pattern) = pattern else {
                let looks = host::look(platform, std::slice::from_ref(path), None).await?;
                let is_there = looks.at(path)?.behind().is_some();
                return Ok(over(is_there != gone));
            };
            return match platform.shell()?.read(path).await {
                Ok(text) => Ok(Matched::find(pattern, &text)),
                Err(problem) if problem.kind == ErrorKind::Unreachable => Err(problem),
                // Not there yet, or not readable yet.
                Err(_) => Ok(None),
            };
        }
        let Some(port) = self.port else {
            return Ok(None);
        };
        if self.state == State::Drained {
            let excluded = self.exclude_hosts.as_deref().unwrap_or_default();
            let active = probe::active(
                platform,
                &self.host,
                port,
                excluded,
                &self.active_connection_states,
            );
            return Ok(over(active.await? == 0));
        }
        let within = Duration::from_secs(self.connect_timeout.max(1)).min(left);
        match work.pattern.as_ref().filter(|_| !gone) {
            None => Ok(over(
                probe::connects(platform, &self.host, port, within).await? != gone,
            )),
            Some(pattern) => {
                let enough = |text: &[u8]| Matched::find(pattern, text).is_some();
                let text = probe::hears(platform, &self.host, port, left, enough).await?;
                Ok(Matched::find(pattern, &text))
            }
        }
    }
}

#[async_trait]
impl Module for WaitFor {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "wait_for";
    const SUMMARY: &'static str = "Waits for a port, a file or a text in it, as the host sees them";
    const EXAMPLES: &'static str = "- wait_for: {port: 8080, delay: 2, timeout: 60}\n- wait_for: {path: /run/app.ready}\n- wait_for:\n    path: /var/log/app.log\n    search_regex: \"listening on port (\\\\d+)\"\n  register: app\n- wait_for: {host: \"{{ inventory_hostname }}\", port: 22}\n  delegate_to: localhost\n";
    const SUPPORTS: Supports = Supports {
        check: false,
        diff: false,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let pattern = args.check()?;
        let path = match &args.path {
            Some(path) => Some(host::expand(platform, path).await?),
            None => None,
        };
        platform.shell()?;
        Ok(Change::Unknown {
            message: format!("would wait for {}", args.what()),
            work: Work { pattern, path },
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let start = platform.clock.now();
        let elapsed = || {
            let seconds = platform.clock.now().duration_since(start);
            Duration::try_from(seconds).unwrap_or_default()
        };
        let timeout = Duration::from_secs(args.timeout);
        let pause = async |time: Duration| {
            tokio::select! {
                () = platform.clock.sleep(time) => Ok(()),
                () = platform.cancel.cancelled() => Err(ModuleError::new(
                    ErrorKind::Cancelled,
                    format!("the wait for {} was left: the run was interrupted", args.what()),
                )),
            }
        };
        if args.delay > 0 {
            pause(Duration::from_secs(args.delay)).await?;
        }
        let matched = if args.port.is_none() && work.path.is_none() {
            pause(timeout).await?;
            Matched::default()
        } else {
            platform.status(format!(
                "waiting until {} is {}",
                args.what(),
                args.state.name()
            ));
            loop {
                let left = timeout.saturating_sub(elapsed());
                if left.is_zero() {
                    return Err(ModuleError::new(ErrorKind::Timeout, args.timed_out())
                        .with("elapsed", elapsed().as_secs()));
                }
                if let Some(matched) = args.look(&work, left, platform).await? {
                    break matched;
                }
                pause(Duration::from_secs(args.sleep).min(left)).await?;
            }
        };
        Ok(Outcome::unchanged(json!({
            // Of a path what it is.
            "state": if work.path.is_some() && matches!(args.state, State::Present | State::Started) {
                "file"
            } else {
                args.state.name()
            },
            "port": args.port,
            "path": work.path,
            "search_regex": args.search_regex,
            "match_groups": matched.groups,
            "match_groupdict": matched.named,
            "elapsed": elapsed().as_secs(),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::testing::ways;
    use super::*;

    async fn wait(platform: &Platform, args: Value) -> Result<Outcome, ModuleError> {
        let schema = schemars::schema_for!(Args).to_value();
        let args = super::super::arguments::parse("wait_for", &schema, args.as_object().unwrap())?;
        match WaitFor.inspect(&args, platform).await? {
            Change::Unknown { work, .. } => WaitFor.apply(&args, work, platform).await,
            _ => panic!("only waiting can tell"),
        }
    }

    #[tokio::test]
    async fn files_and_what_is_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a log");
        std::fs::write(&log, "one\nready on 8080\n").unwrap();
        for platform in ways() {
            let there = wait(&platform, json!({"path": log})).await.unwrap();
            assert_eq!(there.result["state"], "file");
            let pattern = r"^ready on (?P<port>\d+)$";
            let args = json!({"path": log, "search_regex": pattern});
            let found = wait(&platform, args).await.unwrap();
            assert_eq!(found.result["match_groups"], json!(["8080"]));
            assert_eq!(found.result["match_groupdict"], json!({"port": "8080"}));
            let gone = json!({"path": dir.path().join("x"), "state": "absent"});
            assert!(!wait(&platform, gone).await.unwrap().changed);
            let never = json!({"path": log, "state": "absent", "timeout": 0, "msg": "still there"});
            let problem = wait(&platform, never).await.unwrap_err();
            assert_eq!(
                (problem.kind, problem.message.as_str()),
                (ErrorKind::Timeout, "still there")
            );
        }
    }

    #[tokio::test]
    async fn ports_are_tried_from_the_host() {
        use tokio::io::AsyncWriteExt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.write_all(b"220 hello there\r\n").await;
                    let mut rest = Vec::new();
                    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
                });
            }
        });
        for platform in ways() {
            wait(&platform, json!({"port": port})).await.unwrap();
            let args = json!({"port": port, "search_regex": "220 (\\w+)", "timeout": 5});
            let heard = wait(&platform, args).await.unwrap();
            assert_eq!(heard.result["match_groups"], json!(["hello"]));
            // Nothing listens on port 1.
            wait(&platform, json!({"port": 1, "state": "stopped"}))
                .await
                .unwrap();
            let args = json!({"port": 1, "state": "drained"});
            wait(&platform, args).await.unwrap();
        }
        server.abort();
    }

    #[tokio::test]
    async fn what_cannot_be_waited_for_is_told_before() {
        for (args, argument) in [
            (json!({"port": 1, "path": "/x"}), "path"),
            (json!({"path": "/x", "state": "stopped"}), "state"),
            (json!({"path": "/x", "search_regex": "("}), "search_regex"),
            (json!({"port": 1, "exclude_hosts": "a"}), "exclude_hosts"),
            (
                json!({"port": 1, "active_connection_states": "CLOSED"}),
                "active_connection_states",
            ),
        ] {
            let [platform, ..] = ways();
            let problem = wait(&platform, args.clone()).await.unwrap_err();
            assert_eq!(problem.argument.as_deref(), Some(argument), "{args}");
        }
    }
}
