//! In: events; out: lines that a reader of ansible-playbook recognises (ansible-core's default callback).

use serde_json::{Map, Value};

use super::{Output, ResultFormat, Shown, recap};
use crate::event::{Event, EventKind, Sink, Status, TaskRef, TaskResult};

/// `--format ansible`.
pub struct Ansible {
    output: Output,
    shown: Shown,
    /// What follows each banner in check mode.
    marker: &'static str,
    /// The banner on screen, so that it is printed once, before the first line that belongs to it.
    banner: Option<u64>,
}

impl Ansible {
    pub fn new(output: Output, shown: Shown) -> Self {
        Self {
            output,
            shown,
            marker: "",
            banner: None,
        }
    }

    /// `TASK [name] ****` padded to 80 columns with at least three stars.
    fn headline(&mut self, text: &str) {
        let stars = 80usize.saturating_sub(text.chars().count() + 1).max(3);
        self.output.line(&format!("\n{text} {}", "*".repeat(stars)));
    }

    fn task_banner(&mut self, task: &TaskRef) {
        if self.banner != Some(task.id) {
            self.banner = Some(task.id);
            let word = if task.handler {
                "RUNNING HANDLER"
            } else {
                "TASK"
            };
            self.headline(&format!("{word} [{}]{}", task.name, self.marker));
            if let (true, Some(place)) = (self.shown.verbosity > 1, &task.place) {
                self.output
                    .line(&format!("task path: {}:{}", place.file, place.line));
            }
        }
    }

    fn result_line(&mut self, task: &TaskRef, result: &TaskResult, of_loop: bool) {
        let is_hidden = match result.status {
            Status::Skipped => !self.shown.skipped,
            Status::Ok => !self.shown.ok,
            _ => false,
        };
        if is_hidden {
            return;
        }
        self.task_banner(task);
        if self.shown.diff {
            for diff in &result.diff {
                if let Some(text) = unified(diff, self.shown.diff_context) {
                    self.output.line(&text);
                }
            }
        }
        for warning in &result.warnings {
            self.output.line(&format!("[WARNING]: {warning}"));
        }
        if let Some(diagnostic) = &result.diagnostic {
            self.output.line(diagnostic);
        }
        let host = super::host_of(result);
        let item = result
            .item
            .as_ref()
            .map(|item| format!(" => (item={item})"))
            .unwrap_or_default();
        let shown = (result.verbose_always || self.shown.verbosity > 0)
            && !of_loop
            && !super::is_gathering(&task.action);
        let (format, verbosity) = (self.shown.results, self.shown.verbosity);
        let body = |separator: &str| {
            let form = if result.verbose_always {
                Form::Read
            } else if verbosity > 2 {
                Form::Indented
            } else {
                Form::Line
            };
            format!("{separator}{}", dump(&result.result, form, task, format))
        };
        let line = match result.status {
            Status::Ok if shown => format!("ok: [{host}]{item}{}", body(" => ")),
            Status::Ok => format!("ok: [{host}]{item}"),
            Status::Changed if shown => format!("changed: [{host}]{item}{}", body(" => ")),
            Status::Changed => format!("changed: [{host}]{item}"),
            Status::Skipped => {
                let blank = if result.item.is_some() { " " } else { "" };
                let body = if shown { body(" => ") } else { String::new() };
                format!("skipping: [{host}]{item}{blank}{body}")
            }
            Status::Failed if result.item.is_some() => {
                let item = result.item.as_deref().unwrap_or_default();
                format!("failed: [{host}] (item={item}){}", body(" => "))
            }
            Status::Failed => format!("fatal: [{host}]: FAILED!{}", body(" => ")),
            Status::Unreachable => format!("fatal: [{host}]: UNREACHABLE!{}", body(" => ")),
        };
        self.output.line(&line);
        // Of a loop it is said once, behind its items.
        if result.ignored && result.item.is_none() {
            self.output.line("...ignoring");
        }
    }
}

/// What is left out of the results of `debug`.
const DEBUG_HIDES: &[&str] = &["attempts", "changed", "failed", "skipped", "skip_reason"];

/// How a result is printed.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// One line of JSON.
    Line,
    /// Indented by four.
    Indented,
    /// The same without how the task went: the result exists to be read (`debug`, `assert`).
    Read,
}

/// Keys are in alphabetical order, to any depth.
fn dump(result: &Map<String, Value>, form: Form, task: &TaskRef, format: ResultFormat) -> String {
    let mut result = result.clone();
    if task.action.ends_with("debug") {
        // What was asked for, and nothing of how it was found.
        result.retain(|key, _| !DEBUG_HIDES.contains(&key.as_str()));
    }
    result.sort_keys();
    result.values_mut().for_each(Value::sort_all_objects);
    if form == Form::Read {
        result.retain(|key, _| {
            !matches!(key.as_str(), "failed" | "skipped" | "failed_when_result")
                && !key.starts_with('_')
        });
    } else {
        result.shift_remove("failed");
    }
    if form != Form::Line {
        if format == ResultFormat::Yaml {
            return yaml(result);
        }
        let mut buffer = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut buffer, formatter);
        if serde::Serialize::serialize(&result, &mut serializer).is_ok() {
            return String::from_utf8(buffer).unwrap_or_default();
        }
    }
    if format == ResultFormat::Yaml {
        return yaml(result);
    }
    let text = serde_json::to_string(&result).unwrap_or_default();
    spaced(&text)
}

/// A block of YAML below the line, with the lists of lines left out that only repeat the text.
fn yaml(mut result: Map<String, Value>) -> String {
    for stream in ["stdout", "stderr"] {
        let lines = format!("{stream}_lines");
        if result.contains_key(stream) && result.contains_key(&lines) {
            result.insert(lines, Value::from("<omitted>"));
        }
    }
    let text = serde_yaml::to_string(&result).unwrap_or_default();
    format!("\n    {}", text.trim_end().replace('\n', "\n    "))
}

/// Python's `json.dumps` puts a space after `,` and `:`; readers grep for that form.
fn spaced(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 8);
    let (mut quoted, mut escaped) = (false, false);
    for c in json.chars() {
        out.push(c);
        if quoted {
            (quoted, escaped) = if escaped {
                (true, false)
            } else {
                (c != '"', c == '\\')
            };
        } else if c == '"' {
            quoted = true;
        } else if c == ',' || c == ':' {
            out.push(' ');
        }
    }
    out
}

/// A unified diff, headed as ansible-playbook does.
pub(super) fn unified(
    diff: &layerplay_modules::contract::TextDiff,
    context: usize,
) -> Option<String> {
    if diff.before == diff.after {
        return None;
    }
    let text = similar::TextDiff::from_lines(&diff.before, &diff.after);
    let headed = |word: &str, header: &str| {
        if header.is_empty() {
            word.to_owned()
        } else {
            format!("{word}: {header}")
        }
    };
    let header = (
        headed("before", &diff.before_header),
        headed("after", &diff.after_header),
    );
    Some(
        text.unified_diff()
            .context_radius(context)
            .header(&header.0, &header.1)
            .to_string(),
    )
}

impl Sink for Ansible {
    fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted {
                simulation, check, ..
            } => {
                if *check && self.shown.check_markers {
                    self.marker = " [CHECK MODE]";
                    self.headline("DRY RUN");
                }
                if let Some(text) = simulation {
                    self.output.line(text);
                }
            }
            EventKind::Prompt { text, .. } => self.output.line(text),
            EventKind::Warning { message } => self.output.line(&format!("[WARNING]: {message}")),
            EventKind::PlayStarted { name, .. } => {
                self.banner = None;
                self.headline(&format!("PLAY [{name}]{}", self.marker));
            }
            EventKind::NoHosts { play } => {
                self.headline(&format!("PLAY [{play}]"));
                self.output.line("skipping: no hosts matched");
            }
            EventKind::NoMoreHosts { over_limit: true } => self.headline("NO MORE HOSTS LEFT"),
            // Where results may be hidden, a banner waits for the first that is not.
            EventKind::TaskStarted { task } if self.shown.ok && self.shown.skipped => {
                self.task_banner(task);
            }
            EventKind::GateOpened {
                stage,
                after,
                digest,
                proofs,
            } => {
                let nodes: usize = proofs.iter().map(|proof| proof.nodes.len()).sum();
                self.output.line(&format!(
                    "gate: stage `{stage}` may start: `{after}` proved {digest} on {nodes} nodes"
                ));
            }
            EventKind::GateHeld {
                stage,
                reason,
                help,
                ..
            } => {
                self.output
                    .line(&format!("gate: stage `{stage}` is held: {reason}"));
                if let Some(help) = help {
                    self.output.line(&format!("help: {help}"));
                }
            }
            EventKind::Note { task, host, text } => {
                self.task_banner(task);
                self.output.line(&format!("note: [{host}] {text}"));
            }
            EventKind::Rollout {
                task,
                host,
                progress,
            } => {
                self.task_banner(task);
                let text = progress["text"].as_str().unwrap_or_default();
                self.output.line(&format!("rollout: [{host}] {text}"));
            }
            EventKind::Stall {
                task,
                host,
                diagnosis,
            } => {
                self.task_banner(task);
                self.output.line(&super::stall(host, diagnosis));
            }
            EventKind::Retry {
                task,
                host,
                retries_left,
                ..
            } => {
                self.task_banner(task);
                self.output.line(&format!(
                    "FAILED - RETRYING: [{host}]: {} ({retries_left} retries left).",
                    task.name
                ));
            }
            EventKind::ItemDone { task, result } => self.result_line(task, result, false),
            EventKind::TaskDone {
                task,
                result,
                items,
            } => {
                // The items of a loop have been shown; only a loop skipped as a whole, or an empty one, gets its own line.
                if items.is_none() || result.status == Status::Skipped {
                    self.result_line(task, result, items.is_some());
                } else {
                    // Of `debug` Ansible says besides that its loop failed.
                    if result.status == Status::Failed && task.action.ends_with("debug") {
                        let whole = serde_json::json!({"msg": result.result.get("msg")});
                        let text = dump(
                            whole.as_object().unwrap_or(&result.result),
                            Form::Read,
                            task,
                            self.shown.results,
                        );
                        let host = super::host_of(result);
                        self.output
                            .line(&format!("fatal: [{host}]: FAILED! => {text}"));
                    }
                    if result.ignored {
                        self.output.line("...ignoring");
                    }
                }
            }
            EventKind::Included {
                task,
                file,
                hosts,
                item,
            } => {
                self.task_banner(task);
                let item = item
                    .as_ref()
                    .map(|item| format!(" => (item={item})"))
                    .unwrap_or_default();
                self.output
                    .line(&format!("included: {file} for {}{item}", hosts.join(", ")));
            }
            EventKind::Interrupted { again: false } => self
                .output
                .line("interrupted: finishing what has begun, starting nothing new"),
            EventKind::Interrupted { again: true } => {
                self.output.line("interrupted again: leaving at once");
            }
            EventKind::RunFinished { stats, proofs, .. } => {
                self.headline("PLAY RECAP");
                for row in recap::rows(stats) {
                    self.output.line(&row);
                }
                if let Some(table) = recap::proofs(proofs) {
                    self.output.line(&format!("\n{table}"));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::spaced;

    #[test]
    fn json_is_spaced_outside_of_text_only() {
        assert_eq!(
            spaced(r#"{"a":"x,y:z\"q,","b":[1,2]}"#),
            r#"{"a": "x,y:z\"q,", "b": [1, 2]}"#
        );
    }
}
