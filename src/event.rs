//! The one ordered stream that leaves execution. In: what happened; out: to reporters, and to a record. Versioned:
//! fields are added, never renamed; a reader ignores what it does not know.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Of the stream as a whole; raised when a reader of the old form would misread the new one.
pub const VERSION: u32 = 1;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Counts from 1 within a run, without gaps.
    pub seq: u64,
    /// RFC 3339, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: jiff::Timestamp,
    #[serde(flatten)]
    pub kind: EventKind,
}

/// A place in the user's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

/// The task that an event belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRef {
    /// The same number for all hosts of one banner.
    pub id: u64,
    /// As shown: `role : name`, templated.
    pub name: String,
    /// The module as written.
    pub action: String,
    pub place: Option<Place>,
    pub handler: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    Changed,
    Skipped,
    Failed,
    Unreachable,
}

/// How a host's task, or one item of its loop, ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskResult {
    pub host: String,
    /// The other host it ran on.
    pub delegated_to: Option<String>,
    /// Where that host is reached, when it is not by its name.
    pub delegated_address: Option<String>,
    pub status: Status,
    /// `failed` or `unreachable`, and forgiven by `ignore_errors` / `ignore_unreachable`.
    pub ignored: bool,
    /// Failed in a block that has a rescue section.
    pub rescued: bool,
    /// The label of the item, for results of items.
    pub item: Option<String>,
    /// As playbooks read it; secrets masked, or only `censored` under `no_log`.
    pub result: Map<String, Value>,
    /// What inspect found different, for `--diff` and `--check`.
    pub changes: Vec<layerplay_modules::FieldChange>,
    pub diff: Vec<layerplay_modules::contract::TextDiff>,
    pub warnings: Vec<String>,
    /// A failure drawn with its place, ready to show.
    pub diagnostic: Option<String>,
    pub help: Option<String>,
    pub seconds: f64,
    /// Results that are always shown whole (`debug`, `assert`).
    pub verbose_always: bool,
}

/// Counters of one host, as in Ansible's recap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostStats {
    pub ok: u64,
    pub changed: u64,
    pub unreachable: u64,
    pub failed: u64,
    pub skipped: u64,
    pub rescued: u64,
    pub ignored: u64,
}

/// What was proven on the nodes of a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    pub stage: Option<String>,
    pub cluster: String,
    pub pool: String,
    /// `name@digest`.
    pub image: String,
    pub digest: String,
    pub nodes: Vec<String>,
    pub seconds: f64,
}

/// What a run took of this machine and of clusters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Used {
    /// The most memory that the process had at a time.
    pub memory_bytes: u64,
    /// Of the process, in user and kernel mode; not of programs that it started.
    pub cpu_seconds: f64,
    /// Requests to each API server, by its address; a watch is one.
    pub api_requests: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(
    clippy::large_enum_variant,
    reason = "events are handed on one at a time, never kept in large numbers"
)]
pub enum EventKind {
    RunStarted {
        version: u32,
        layerplay: String,
        playbooks: Vec<String>,
        inventory: Vec<String>,
        check: bool,
        simulation: Option<String>,
    },
    /// A message of the engine's own: deprecations, reserved names, settings.
    Warning {
        message: String,
    },
    PlaybookStarted {
        file: String,
    },
    PlayStarted {
        name: String,
        hosts: Vec<String>,
        stage: Option<String>,
        batch: usize,
        batches: usize,
        place: Option<Place>,
    },
    /// No host matched the play's pattern.
    NoHosts {
        play: String,
    },
    /// All hosts failed, or `max_fail_percentage` was passed (`over_limit`).
    NoMoreHosts {
        over_limit: bool,
    },
    /// A stage may start: what was asked of the stage before it, and who proved it.
    GateOpened {
        stage: String,
        after: String,
        digest: String,
        proofs: Vec<Proof>,
    },
    GateHeld {
        stage: String,
        after: String,
        reason: String,
        help: Option<String>,
    },
    TaskStarted {
        task: TaskRef,
    },
    /// A host starts on a task; `loop_items` is known for loops.
    HostStarted {
        task: TaskRef,
        host: String,
    },
    /// A long task says what it does.
    Status {
        task: TaskRef,
        host: String,
        text: String,
    },
    /// A person is asked; the run waits for the answer.
    Prompt {
        task: TaskRef,
        host: String,
        text: String,
    },
    Note {
        task: TaskRef,
        host: String,
        text: String,
    },
    Rollout {
        task: TaskRef,
        host: String,
        /// The whole state of the pool.
        #[schemars(with = "Map<String, Value>")]
        progress: Value,
    },
    Stall {
        task: TaskRef,
        host: String,
        /// Cause, evidence, remedy, command.
        #[schemars(with = "Map<String, Value>")]
        diagnosis: Value,
    },
    Retry {
        task: TaskRef,
        host: String,
        retries_left: u64,
        delay_seconds: f64,
        result: Map<String, Value>,
    },
    ItemDone {
        task: TaskRef,
        result: TaskResult,
    },
    TaskDone {
        task: TaskRef,
        result: TaskResult,
        items: Option<usize>,
    },
    Included {
        task: TaskRef,
        file: String,
        hosts: Vec<String>,
        item: Option<String>,
    },
    Proven {
        proof: Proof,
    },
    Interrupted {
        again: bool,
    },
    RunFinished {
        exit_code: u8,
        seconds: f64,
        stats: Vec<(String, HostStats)>,
        proofs: Vec<Proof>,
        used: Used,
    },
}

/// The JSON schema (draft 2020-12) of one event as it is written: of one line of `--format json`.
pub fn schema() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    settings
        .into_generator()
        .into_root_schema_for::<Event>()
        .to_value()
}

/// Where events go. Called in order, from one place.
pub trait Sink: Send {
    fn event(&mut self, event: &Event);
}
