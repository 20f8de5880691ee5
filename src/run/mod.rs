//! In: playbooks, an inventory and real adapters. Out: one ordered stream of events, and an exit code.
//!
//! ```text
//! play       batches, sections, handlers, gates         walk     blocks: which hosts go where
//! unit       one host, one task: loop, when, retries    attempt  arguments, connection, the module
//! builtin    actions that need the language             nested   modules in YAML
//! jobs       async tasks                               steps    --start-at-task, --step
//! prompts    vars_prompt
//! pause      the person at the terminal                roles    roles, once a host
//! reach      how a host is reached, with whose rights
//! bus        everything leaves through here             result   what playbooks read
//! handlers   what was notified                      include  files of tasks
//! lookup     what templates look up             argument_spec  are arguments as a role wants them
//! gate       what a stage may apply                  facts    gathered before the first task
//! ```

mod argument_spec;
mod attempt;
mod builtin;
mod bus;
mod facts;
mod gate;
mod handlers;
mod include;
mod jobs;
mod lookup;
mod nested;
mod pause;
mod play;
mod prompts;
mod reach;
mod result;
mod roles;
mod steps;
mod unit;
mod used;
mod walk;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use indexmap::IndexMap;
use layerplay_modules::ModuleError;
use layerplay_modules::core::facts::Subset;
use layerplay_modules::platform::{Platform, ProgressSink};
use layerplay_modules::secret::Secrets;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::event::{self, EventKind};
use crate::playbook::{Catalogue, Playbook};
use crate::template::Lazy;
use crate::vars::{HostState, World};

pub use bus::Bus;
pub use lookup::{lookup_names, lookups};

/// Whose rights a command has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Become {
    pub method: String,
    pub user: String,
    pub flags: Option<String>,
    pub password: Option<String>,
}

/// What a task needs of the world.
pub struct Wanted {
    pub host: String,
    /// `local`, `ssh`, `cluster`.
    pub connection: String,
    /// Variables of the host that say how it is reached (`ansible_host`, `kubeconfig`, `context`, ...).
    pub variables: IndexMap<String, Value>,
    pub privilege: Option<Become>,
    pub environment: IndexMap<String, String>,
    pub check: bool,
    pub diff: bool,
    pub base_dir: PathBuf,
    pub progress: Arc<dyn ProgressSink>,
    pub cancel: CancellationToken,
}

/// Makes the platform of a task: the real adapters are behind this.
#[async_trait]
pub trait Connect: Send + Sync {
    async fn platform(&self, wanted: Wanted) -> Result<Platform, ModuleError>;
    /// Ends the host's connection, so that the next task makes a new one.
    async fn reset(&self, wanted: Wanted) -> Result<(), ModuleError>;
    /// How many requests each API server got, by its address.
    async fn api_requests(&self) -> BTreeMap<String, u64>;
    /// Ends connections that tasks share.
    async fn close(&self);
}

/// The person who may be asked: `pause` and its like.
pub trait Ask: Send + Sync {
    fn is_interactive(&self) -> bool;
    /// Waits for one line; a question that was printed before. Blocks.
    fn ask(&self, hidden: bool) -> std::io::Result<String>;
}

/// Everything that a run needs and shares.
pub struct Run {
    pub world: Arc<World>,
    pub catalogue: Arc<Catalogue>,
    pub connect: Arc<dyn Connect>,
    pub person: Arc<dyn Ask>,
    pub bus: Bus,
    pub secrets: Arc<Secrets>,
    pub cancel: CancellationToken,
    /// A further pattern that every play's hosts must match.
    pub limit: Option<String>,
    pub simulation: Option<String>,
    /// Hosts that failed or were unreachable: out of all later plays.
    lost: Mutex<HashSet<Arc<str>>>,
    unreachable: Mutex<BTreeSet<Arc<str>>>,
    tasks: AtomicU64,
    jobs: jobs::Jobs,
    /// `--start-at-task`: whether that task was reached; `--step`: whether nobody is asked any more.
    started: AtomicBool,
    goes_on: AtomicBool,
    /// What plays gather unless they say it themselves; `None` is everything.
    needed: Option<Vec<Subset>>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Ok,
    HostFailed,
    Unreachable,
    /// A file that was opened on the way has a mistake.
    Mistake,
    HeldAtGate,
    Interrupted,
    Error,
}

impl Ended {
    /// Ansible's exit codes, and layerplay's own from 10 up.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::HostFailed => 2,
            Self::Unreachable | Self::Mistake => 4,
            Self::HeldAtGate => 10,
            Self::Interrupted => 99,
        }
    }
}

impl Run {
    #[allow(
        clippy::too_many_arguments,
        reason = "made in one place, from the command line"
    )]
    pub fn new(
        world: Arc<World>,
        catalogue: Arc<Catalogue>,
        connect: Arc<dyn Connect>,
        person: Arc<dyn Ask>,
        sinks: Vec<Box<dyn event::Sink>>,
        secrets: Arc<Secrets>,
        cancel: CancellationToken,
        limit: Option<String>,
        simulation: Option<String>,
    ) -> Self {
        Self {
            world,
            catalogue,
            connect,
            person,
            bus: Bus::new(sinks),
            secrets,
            cancel,
            limit,
            simulation,
            lost: Mutex::default(),
            unreachable: Mutex::default(),
            tasks: AtomicU64::new(0),
            jobs: jobs::Jobs::default(),
            started: AtomicBool::new(false),
            goes_on: AtomicBool::new(false),
            needed: None,
        }
    }

    /// One line from the person at the terminal; an interrupt ends the wait.
    async fn answer(&self, hidden: bool) -> Result<String, String> {
        let person = Arc::clone(&self.person);
        let asked = tokio::task::spawn_blocking(move || person.ask(hidden));
        tokio::select! {
            answer = asked => match answer {
                Ok(Ok(line)) => Ok(line),
                Ok(Err(problem)) => Err(format!("nobody answered: {problem}")),
                Err(problem) => Err(problem.to_string()),
            },
            () = self.cancel.cancelled() => Err("the run was interrupted while it waited for an answer".to_owned()),
        }
    }

    /// Sets facts. That they cannot be kept for later runs is no failure of this one.
    fn keep_facts(&self, host: &HostState, facts: impl IntoIterator<Item = (Arc<str>, Lazy)>) {
        if let Err(problem) = host.add_facts(facts) {
            self.bus.emit(EventKind::Warning {
                message: format!("the facts of {} cannot be kept: {problem}", host.name),
            });
        }
    }

    fn next_task(&self) -> u64 {
        self.tasks.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn is_lost(&self, host: &Arc<str>) -> bool {
        self.lost.lock().is_ok_and(|lost| lost.contains(host))
    }

    fn lose(&self, host: &Arc<str>, is_unreachable: bool) {
        if let Ok(mut lost) = self.lost.lock() {
            lost.insert(Arc::clone(host));
        }
        if is_unreachable && let Ok(mut unreachable) = self.unreachable.lock() {
            unreachable.insert(Arc::clone(host));
        }
    }

    /// Hosts that failed or were unreachable, by name.
    pub fn lost_hosts(&self) -> Vec<Arc<str>> {
        let lost = self.lost.lock();
        let mut hosts: Vec<Arc<str>> = lost
            .map(|lost| lost.iter().cloned().collect())
            .unwrap_or_default();
        hosts.sort();
        hosts
    }

    /// `meta: clear_host_errors`.
    fn forgive(&self) {
        if let Ok(mut lost) = self.lost.lock() {
            lost.clear();
        }
        if let Ok(mut unreachable) = self.unreachable.lock() {
            unreachable.clear();
        }
    }
}

/// Runs playbooks one after another. Problems that are no host's failure are returned for the caller to draw.
pub async fn execute(run: &Arc<Run>, playbooks: &[Playbook]) -> (Ended, Diagnostics) {
    let begun = Instant::now();
    run.bus.emit(EventKind::RunStarted {
        version: event::VERSION,
        layerplay: env!("CARGO_PKG_VERSION").to_owned(),
        playbooks: playbooks
            .iter()
            .map(|playbook| playbook.file.path.display().to_string())
            .collect(),
        inventory: run.world.inventory_sources(),
        check: run.world.settings.check,
        simulation: run.simulation.clone(),
    });
    let (mut ended, mut problems) = play::all(run, playbooks).await;
    let left = run.jobs.left();
    if left > 0 && !run.cancel.is_cancelled() {
        run.bus.emit(EventKind::Warning {
            message: format!("waiting for {left} asynchronous task(s) that nobody waited for"),
        });
        run.jobs.finish().await;
    }
    if let Some(name) = &run.world.settings.start_at
        && ended == Ended::Ok
        && !run.started.load(Ordering::Relaxed)
    {
        ended = Ended::Error;
        problems.push(
            Diagnostic::error(
                Code::COMMAND_LINE,
                format!("no task matches `{name}`, at which the run was to start"),
            )
            .help("`--list-tasks` shows the names; tasks of dynamic includes are not found"),
        );
    }
    run.bus.emit(EventKind::RunFinished {
        exit_code: ended.code(),
        seconds: begun.elapsed().as_secs_f64(),
        stats: run.bus.stats(),
        proofs: run.bus.proofs(),
        used: used::now(run.connect.api_requests().await),
    });
    run.connect.close().await;
    (ended, problems)
}
