//! In: events; out: JUnit XML, as CI systems read it: a test suite for each play, a test case for each task and host.
//! Written when the run is over, in one piece.
//!
//! Names, and what counts as a failure, are those of ansible-core's `junit` callback; arguments of tasks are not told.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::Value;

use super::Output;
use crate::event::{Event, EventKind, Place, Sink, Status, TaskRef, TaskResult};

/// What the callback's variables `JUNIT_*` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JunitOptions {
    /// A task that changed something is a failure.
    pub fail_on_change: bool,
    /// So is one whose failure is ignored.
    pub fail_on_ignore: bool,
    /// Gathering facts is no test case.
    pub leaves_out_setup: bool,
    /// A class for each file, not for each task.
    pub is_class_of_file: bool,
    /// Places are told relative to this folder.
    pub relative_to: Option<PathBuf>,
}

/// `--format junit`, and the file of `JUNIT_OUTPUT_DIR`.
pub struct Junit {
    output: Output,
    options: JunitOptions,
    suites: Vec<Suite>,
    /// Warnings of the engine itself.
    said: Vec<String>,
}

/// Stands for the hosts of an include.
const INCLUDE: &str = "include";

/// A play.
struct Suite {
    name: String,
    time: String,
    cases: Vec<Case>,
}

/// A task on a host.
struct Case {
    name: String,
    class: String,
    seconds: f64,
    end: End,
    /// What stands behind it.
    text: String,
}

enum End {
    Passed,
    Skipped(String),
    Failed(String),
    /// It could not be tried.
    Error(String),
}

impl End {
    /// The element and its message.
    fn element(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Passed => None,
            Self::Skipped(message) => Some(("skipped", message)),
            Self::Failed(message) => Some(("failure", message)),
            Self::Error(message) => Some(("error", message)),
        }
    }
}

impl Junit {
    pub fn new(output: Output, options: JunitOptions) -> Self {
        Self {
            output,
            options,
            suites: Vec::new(),
            said: Vec::new(),
        }
    }

    /// The play that runs; one without a name where none has begun.
    fn suite(&mut self) -> Option<&mut Suite> {
        if self.suites.is_empty() {
            self.suites.push(Suite {
                name: String::new(),
                time: String::new(),
                cases: Vec::new(),
            });
        }
        self.suites.last_mut()
    }

    fn add(&mut self, host: &str, name: &str, place: Option<&Place>, case: Case) {
        let class = self.class(place);
        let Some(suite) = self.suite() else { return };
        let name = format!("[{host}] {}: {name}", suite.name);
        // An include is one case, whichever hosts and items it was for.
        let known = suite
            .cases
            .iter_mut()
            .find(|known| host == INCLUDE && known.name == name && known.class == class);
        match known {
            Some(known) => {
                known.text.push('\n');
                known.text.push_str(&case.text);
            }
            None => suite.cases.push(Case {
                name,
                class,
                ..case
            }),
        }
    }

    fn class(&self, place: Option<&Place>) -> String {
        let Some(place) = place else {
            return String::new();
        };
        let base = self.options.relative_to.as_deref();
        let file = base
            .and_then(|base| {
                PathBuf::from(&place.file)
                    .strip_prefix(base)
                    .ok()
                    .map(ToOwned::to_owned)
            })
            .map_or_else(|| place.file.clone(), |path| path.display().to_string());
        if self.options.is_class_of_file {
            file.trim_end_matches(".yml").to_owned()
        } else {
            format!("{file}:{}", place.line)
        }
    }

    fn task(&mut self, task: &TaskRef, result: &TaskResult) {
        if self.options.leaves_out_setup && super::is_gathering(&task.action) {
            return;
        }
        let text = |key: &str| match result.result.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        let why = || {
            text("msg").unwrap_or_else(|| format!("rc={}", text("rc").as_deref().unwrap_or("0")))
        };
        let forgiven = result.ignored && !self.options.fail_on_ignore;
        let is_changed = result.result.get("changed") == Some(&Value::Bool(true));
        let is_expected = task.name.contains("EXPECTED FAILURE");
        let is_toggled = task.name.contains("TOGGLE RESULT");
        let end = match result.status {
            Status::Failed | Status::Unreachable if forgiven => End::Passed,
            Status::Unreachable => End::Error(why()),
            Status::Failed if is_expected || is_toggled => End::Passed,
            Status::Failed => End::Failed(why()),
            Status::Skipped => {
                let reason = text("skip_reason").or_else(|| text("skipped_reason"));
                End::Skipped(reason.unwrap_or_else(|| "skipped".to_owned()))
            }
            Status::Ok | Status::Changed if is_toggled => End::Failed(why()),
            Status::Ok | Status::Changed
                if self.options.fail_on_change && is_changed && !is_expected =>
            {
                End::Failed("the task changed something".to_owned())
            }
            Status::Ok | Status::Changed => End::Passed,
        };
        let mut said = String::new();
        if let Some(diagnostic) = &result.diagnostic {
            said.push_str(diagnostic);
            said.push('\n');
        }
        let shown = serde_json::to_string_pretty(&result.result);
        said.push_str(&shown.unwrap_or_default());
        let case = Case {
            name: String::new(),
            class: String::new(),
            seconds: result.seconds,
            end,
            text: said,
        };
        self.add(&result.host, &task.name, task.place.as_ref(), case);
    }

    /// Everything, with secrets masked before anything is escaped.
    fn document(&self) -> String {
        let show = |text: &str| escaped(&self.output.masked(text));
        let all = || self.suites.iter().flat_map(|suite| &suite.cases);
        let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
        let _ = writeln!(xml, "<testsuites {}>", counters(all()));
        for (at, suite) in self.suites.iter().enumerate() {
            let _ = writeln!(
                xml,
                "  <testsuite name=\"{}\" timestamp=\"{}\" {}>",
                show(&suite.name),
                suite.time,
                counters(suite.cases.iter())
            );
            for case in &suite.cases {
                let _ = write!(
                    xml,
                    "    <testcase name=\"{}\" classname=\"{}\" time=\"{:.3}\">",
                    show(&case.name),
                    show(&case.class),
                    case.seconds
                );
                let text = show(&case.text).replace("&#10;", "\n");
                let _ = match case.end.element() {
                    None => write!(xml, "<system-out>{text}</system-out>"),
                    Some((name @ "skipped", message)) => {
                        write!(xml, "<{name} message=\"{}\"/>", show(message))
                    }
                    Some((name, message)) => write!(
                        xml,
                        "<{name} message=\"{}\" type=\"{name}\">{text}</{name}>",
                        show(message)
                    ),
                };
                xml.push_str("</testcase>\n");
            }
            if at + 1 == self.suites.len() && !self.said.is_empty() {
                let said = show(&self.said.join("\n")).replace("&#10;", "\n");
                let _ = writeln!(xml, "    <system-err>{said}</system-err>");
            }
            xml.push_str("  </testsuite>\n");
        }
        xml.push_str("</testsuites>");
        xml
    }
}

impl Sink for Junit {
    fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::PlayStarted { name, batch, .. } => {
                // Batches are one play.
                let goes_on = *batch > 1 && self.suites.last().is_some_and(|s| s.name == *name);
                if !goes_on {
                    self.suites.push(Suite {
                        name: name.clone(),
                        time: event.time.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
                        cases: Vec::new(),
                    });
                }
            }
            EventKind::Warning { message } => self.said.push(message.clone()),
            EventKind::TaskDone { task, result, .. } => self.task(task, result),
            EventKind::Included {
                task, file, hosts, ..
            } => {
                let case = Case {
                    name: String::new(),
                    class: String::new(),
                    seconds: 0.0,
                    end: End::Passed,
                    text: format!("{file}: {}", hosts.join(", ")),
                };
                self.add(INCLUDE, &task.name, task.place.as_ref(), case);
            }
            EventKind::GateHeld {
                stage,
                reason,
                help,
                ..
            } => {
                let case = Case {
                    name: String::new(),
                    class: String::new(),
                    seconds: 0.0,
                    end: End::Failed(reason.clone()),
                    text: help.clone().unwrap_or_default(),
                };
                self.add("gate", &format!("stage {stage}"), None, case);
            }
            EventKind::Interrupted { .. } => self.said.push("the run was interrupted".to_owned()),
            EventKind::RunFinished { .. } => {
                if !self.said.is_empty() {
                    self.suite();
                }
                let document = self.document();
                self.output.document(&document);
            }
            _ => {}
        }
    }
}

/// The attributes that a suite has in common with all of them.
fn counters<'c>(cases: impl Iterator<Item = &'c Case>) -> String {
    let (mut tests, mut failures, mut errors, mut skipped, mut seconds) = (0, 0, 0, 0, 0.0);
    for case in cases {
        tests += 1;
        seconds += case.seconds;
        match case.end {
            End::Passed => {}
            End::Skipped(_) => skipped += 1,
            End::Failed(_) => failures += 1,
            End::Error(_) => errors += 1,
        }
    }
    format!(
        "tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{seconds:.3}\""
    )
}

/// Text in an element or in an attribute. What XML 1.0 cannot hold at all becomes the sign for that.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // In an attribute they would become spaces.
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
