//! In: events; out: the default report. On a terminal a live line for each host at work; elsewhere one line a change
//! of state and a line a minute without any. Quiet about skips; failures are gathered at the end with their cause.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::ansible::unified;
use super::live::{Key, Live};
use super::{Output, Shown, recap, stall};
use crate::event::{Event, EventKind, Sink, Status, TaskRef, TaskResult};

/// Without a terminal, a wait that changes nothing still says so once in this time.
const SIGN_OF_LIFE: Duration = Duration::from_mins(1);

/// `--format pretty`.
pub struct Pretty {
    output: Output,
    live: Option<Live>,
    /// The last status of each host, and when it was printed.
    statuses: BTreeMap<Key, (String, Instant)>,
    shown: Shown,
    banner: Option<u64>,
    failures: Vec<String>,
}

impl Pretty {
    /// `live` when standard error is a terminal.
    pub fn new(output: Output, live: bool, shown: Shown) -> Self {
        Self {
            output,
            live: live.then(Live::default),
            statuses: BTreeMap::new(),
            shown,
            banner: None,
            failures: Vec::new(),
        }
    }

    fn line(&mut self, text: &str) {
        match &self.live {
            Some(live) => live.above(|| self.output.line(text)),
            None => self.output.line(text),
        }
    }

    fn banner(&mut self, task: &TaskRef) {
        if self.banner != Some(task.id) {
            self.banner = Some(task.id);
            let handler = if task.handler { "handler: " } else { "" };
            self.line(&format!("  {handler}{}", task.name));
        }
    }

    fn status(&mut self, task: &TaskRef, host: &str, text: &str) {
        let key = (task.id, host.to_owned());
        match &mut self.live {
            Some(live) => live.status(key, text),
            None => self.state(task, key, text),
        }
    }

    fn rollout(&mut self, task: &TaskRef, host: &str, progress: &Value) {
        let key = (task.id, host.to_owned());
        match &mut self.live {
            Some(live) => live.rollout(key, progress),
            None => self.state(task, key, progress["text"].as_str().unwrap_or_default()),
        }
    }

    /// Without a terminal: a line when the state has changed.
    fn state(&mut self, task: &TaskRef, key: Key, text: &str) {
        let now = Instant::now();
        let due = self
            .statuses
            .get(&key)
            .is_none_or(|(last, at)| last != text || now.duration_since(*at) >= SIGN_OF_LIFE);
        if due {
            self.banner(task);
            self.line(&format!("      {}: {text}", key.1));
            self.statuses.insert(key, (text.to_owned(), now));
        }
    }

    fn settle(&mut self, task: &TaskRef, host: &str) {
        let key = (task.id, host.to_owned());
        self.statuses.remove(&key);
        if let Some(live) = &mut self.live {
            live.clear(&key);
        }
    }

    fn result(&mut self, task: &TaskRef, result: &TaskResult) {
        if result.status == Status::Skipped && self.shown.verbosity == 0 {
            return;
        }
        self.banner(task);
        let word = match result.status {
            Status::Ok => "ok",
            Status::Changed => "changed",
            Status::Skipped => "skipped",
            Status::Failed => "failed",
            Status::Unreachable => "unreachable",
        };
        let host = super::host_of(result);
        let item = result
            .item
            .as_ref()
            .map(|item| format!(" ({item})"))
            .unwrap_or_default();
        let mut line = format!("    {word:<8} {host}{item}");
        if result.seconds >= 1.0 {
            line.push_str(&format!("  {:.1} s", result.seconds));
        }
        if result.ignored {
            line.push_str("  ignored");
        }
        if result.rescued {
            line.push_str("  rescued");
        }
        self.line(&line);
        for warning in &result.warnings {
            self.line(&format!("      warning: {warning}"));
        }
        if result.verbose_always
            && let Some(message) = result
                .result
                .get("msg")
                .or_else(|| own_value(&result.result))
        {
            self.line(&indent(&plain(message), 6));
        } else if self.shown.verbosity > 0
            && (!super::is_gathering(&task.action) || result.status == Status::Failed)
        {
            self.line(&indent(&plain(&Value::Object(result.result.clone())), 6));
        }
        if self.shown.diff {
            let context = self.shown.diff_context;
            let texts = result.diff.iter().filter_map(|diff| unified(diff, context));
            for text in texts {
                self.line(&indent(&text, 6));
            }
            for change in &result.changes {
                self.line(&format!(
                    "      {}: {} -> {}",
                    change.field,
                    plain(&change.before),
                    plain(&change.after)
                ));
            }
        }
        if matches!(result.status, Status::Failed | Status::Unreachable) {
            let message = result.result.get("msg").map(plain).unwrap_or_default();
            self.line(&format!("      {message}"));
            if !result.ignored && !result.rescued {
                let place = task
                    .place
                    .as_ref()
                    .map(|p| format!("{}:{}:{}\n", p.file, p.line, p.column))
                    .unwrap_or_default();
                let cause = result.diagnostic.clone().unwrap_or(message);
                let help = result
                    .help
                    .as_ref()
                    .map(|help| format!("\nhelp: {help}"))
                    .unwrap_or_default();
                self.failures.push(format!(
                    "{word}: {host}{item}: {}\n{}",
                    task.name,
                    indent(&format!("{place}{cause}{help}"), 2)
                ));
            }
        }
    }
}

/// The value of `debug`'s `var`: what the result has besides what every result has.
fn own_value(result: &Map<String, Value>) -> Option<&Value> {
    result
        .iter()
        .find(|(key, _)| !matches!(key.as_str(), "changed" | "failed" | "skipped"))
        .map(|(_, value)| value)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "nothing".to_owned(),
        Value::Object(_) | Value::Array(_) => {
            serde_json::to_string_pretty(value).unwrap_or_default()
        }
        other => other.to_string(),
    }
}

fn indent(text: &str, by: usize) -> String {
    let pad = " ".repeat(by);
    text.trim_end()
        .lines()
        .map(|line| format!("{pad}{line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

impl Sink for Pretty {
    fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted {
                simulation: Some(text),
                ..
            } => self.line(text),
            EventKind::Warning { message } => self.line(&format!("warning: {message}")),
            EventKind::PlayStarted {
                name,
                hosts,
                stage,
                batch,
                batches,
                ..
            } => {
                self.banner = None;
                let stage = stage
                    .as_ref()
                    .map(|stage| format!("  [stage {stage}]"))
                    .unwrap_or_default();
                let batch = if *batches > 1 {
                    format!("  [batch {batch} of {batches}]")
                } else {
                    String::new()
                };
                self.line(&format!(
                    "\n{name}{stage}{batch}\n  on {}",
                    hosts.join(", ")
                ));
            }
            EventKind::NoHosts { play } => self.line(&format!("\n{play}\n  no hosts matched")),
            EventKind::NoMoreHosts { .. } => self.line("\nno more hosts left"),
            EventKind::GateOpened {
                stage,
                after,
                digest,
                proofs,
            } => {
                let nodes: usize = proofs.iter().map(|proof| proof.nodes.len()).sum();
                self.line(&format!("  gate open: `{after}` proved {digest} on {nodes} nodes, so `{stage}` may start"));
            }
            EventKind::GateHeld {
                stage,
                reason,
                help,
                ..
            } => {
                let help = help
                    .as_ref()
                    .map(|help| format!("\n  help: {help}"))
                    .unwrap_or_default();
                self.line(&format!(
                    "  gate held: `{stage}` does not start: {reason}{help}"
                ));
            }
            EventKind::TaskStarted { task } if self.live.is_some() => self.banner(task),
            EventKind::Status { task, host, text } => self.status(task, host, text),
            EventKind::Rollout {
                task,
                host,
                progress,
            } => self.rollout(task, host, progress),
            EventKind::Prompt { task, text, .. } => {
                self.banner(task);
                self.line(&indent(text, 6));
            }
            EventKind::Note { task, host, text } => {
                self.banner(task);
                self.line(&format!("      {host}: {text}"));
            }
            EventKind::Stall {
                task,
                host,
                diagnosis,
            } => {
                self.banner(task);
                self.line(&indent(&stall(host, diagnosis), 6));
            }
            EventKind::Retry {
                task,
                host,
                retries_left,
                delay_seconds,
                ..
            } => {
                self.banner(task);
                self.line(&format!(
                    "    retrying {host} in {delay_seconds} s, {retries_left} left"
                ));
            }
            EventKind::ItemDone { task, result } => self.result(task, result),
            EventKind::TaskDone {
                task,
                result,
                items,
            } => {
                self.settle(task, &result.host);
                if items.is_none() || matches!(result.status, Status::Failed | Status::Unreachable)
                {
                    self.result(task, result);
                }
            }
            EventKind::Included {
                task, file, hosts, ..
            } if self.shown.verbosity > 0 => {
                self.banner(task);
                self.line(&format!("    included {file} for {}", hosts.join(", ")));
            }
            EventKind::Interrupted { again: false } => {
                self.line("interrupted: finishing what has begun, starting nothing new");
            }
            EventKind::Interrupted { again: true } => {
                self.line("interrupted again: leaving at once");
            }
            EventKind::RunFinished {
                stats,
                proofs,
                seconds,
                used,
                ..
            } => {
                for failure in std::mem::take(&mut self.failures) {
                    self.line(&format!("\n{failure}"));
                }
                let stars = "*".repeat(69);
                self.line(&format!("\nPLAY RECAP {stars}"));
                for row in recap::rows(stats) {
                    self.line(&row);
                }
                if let Some(table) = recap::proofs(proofs) {
                    self.line(&format!("\n{table}"));
                }
                self.line(&format!("\n{seconds:.1} s{}", recap::used(used)));
            }
            _ => {}
        }
    }
}
