//! The ports: what a module may ask of the world. In: requests; out: answers. The engine fills a [`Platform`] for each
//! task and host with real adapters; tests and the lab replace only what speaks a protocol (an API server, a registry,
//! a clock), never the code above it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use indexmap::IndexMap;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::error::ModuleError;
use crate::openshift::connection::{Cluster, ClusterRef, Clusters};
use crate::registry::Registries;
use crate::secret::Secrets;

/// What to run, and how. `argv` is run without a shell; modules that want a shell say `["/bin/sh", "-c", text]`.
#[derive(Debug, Clone, Default)]
pub struct CommandSpec {
    pub argv: Vec<String>,
    pub stdin: Option<Vec<u8>>,
    pub chdir: Option<String>,
    pub environment: IndexMap<String, String>,
}

#[derive(Debug, Clone, Default)]
pub struct CommandOutput {
    /// Exit status; 128 + n when a signal ended it.
    pub rc: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Where a task's commands run: this machine, a machine over SSH, a node through a pod. Everything that the core
/// modules do on a host goes through here, so they need a POSIX shell there and nothing else.
#[async_trait]
pub trait Shell: Send + Sync {
    /// Where it is, for messages: `localhost`, `ssh core@10.0.0.7`.
    fn place(&self) -> String;

    /// Runs to the end. A command that ends with a status not 0 is `Ok`; `Err` means that it could not be run:
    /// kind `Unreachable` when the link is the reason, `MissingProgram` when the program is.
    async fn run(&self, command: CommandSpec) -> Result<CommandOutput, ModuleError>;

    /// Reads a whole file. Kind `NotFound` when there is none.
    async fn read(&self, path: &str) -> Result<Vec<u8>, ModuleError>;

    /// Writes a file in one step (a temporary file in the same folder, then a rename), with this mode.
    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), ModuleError>;

    /// True when the machine is behind a connection, so that it may go away and come back.
    fn reconnects(&self) -> bool {
        false
    }

    /// Leaves the connection, whatever became of it, and makes a new one, of which all later commands are.
    async fn reconnect(&self, _within: Duration) -> Result<(), ModuleError> {
        Ok(())
    }

    /// True when this shell is the machine that layerplay runs on, so that files may be used in place.
    fn is_local(&self) -> bool {
        false
    }
}

/// What a task is about to be done to.
#[derive(Clone)]
pub enum Target {
    /// A machine (or a node) that runs commands.
    Machine(Arc<dyn Shell>),
    /// A cluster: it has an API and no shell.
    Cluster,
}

/// Time, so that tests own it.
#[async_trait]
pub trait Clock: Send + Sync {
    fn now(&self) -> jiff::Timestamp;
    async fn sleep(&self, duration: Duration);
}

/// The real clock (which `tokio::time::pause` stops in tests).
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// What a long task says while it works. The engine turns each into an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// What is being waited for or done, in one line: replaces the line before it.
    Status(String),
    /// A fact worth a line of its own that stays.
    Note(String),
    Warning(String),
    /// A rollout's state changed; the value is `openshift::observe::Progress` as JSON.
    Rollout(Value),
    /// A wait without progress: cause, since when, evidence, remedy, command.
    Stall(Value),
}

pub trait ProgressSink: Send + Sync {
    fn send(&self, progress: Progress);
}

/// Drops everything; for tests that do not look.
pub struct Silent;

impl ProgressSink for Silent {
    fn send(&self, _: Progress) {}
}

/// All that a module gets besides its arguments.
#[derive(Clone)]
pub struct Platform {
    /// `inventory_hostname`.
    pub host: String,
    pub target: Target,
    /// The cluster that the host's variables name (`kubeconfig`, `context`); module arguments of these names win.
    pub cluster: ClusterRef,
    /// One client for each cluster and run.
    pub clusters: Arc<Clusters>,
    /// Registry access with credentials, CAs and plain-HTTP rules.
    pub registries: Arc<Registries>,
    pub secrets: Arc<Secrets>,
    pub clock: Arc<dyn Clock>,
    pub progress: Arc<dyn ProgressSink>,
    pub cancel: CancellationToken,
    /// The folder of the playbook, for relative paths that no search found.
    pub base_dir: PathBuf,
    /// The task's `environment`, for child processes on the controller (builders); `Shell` adds it by itself.
    pub environment: IndexMap<String, String>,
    pub check: bool,
    pub diff: bool,
    /// Connection variables of the host, for proofs by SSH: `ansible_user`, `ansible_port`, `ansible_ssh_private_key_file`, ...
    pub connection: IndexMap<String, Value>,
    /// Opens a shell on another machine (a node by its address) with the host's SSH settings.
    pub opener: Arc<dyn ShellOpener>,
}

/// Makes shells for machines that the inventory does not list.
#[async_trait]
pub trait ShellOpener: Send + Sync {
    async fn ssh(
        &self,
        address: &str,
        connection: &IndexMap<String, Value>,
    ) -> Result<Arc<dyn Shell>, ModuleError>;
}

impl Platform {
    /// The machine of this task, or an error that names the ways out.
    pub fn shell(&self) -> Result<&Arc<dyn Shell>, ModuleError> {
        match &self.target {
            Target::Machine(shell) => Ok(shell),
            Target::Cluster => Err(ModuleError::failed(format!(
                "`{}` is a cluster: it has an API and no shell to run commands in",
                self.host
            ))
            .hint("run it on this machine with `delegate_to: localhost`, or name its nodes as hosts of their own with `ansible_connection: ssh`")),
        }
    }

    /// The cluster that a task's own arguments name, else the host's.
    pub async fn open_cluster(
        &self,
        kubeconfig: Option<&PathBuf>,
        context: Option<&String>,
    ) -> Result<Cluster, ModuleError> {
        let which = self.cluster.or_arguments(kubeconfig, context);
        self.clusters.get(&which).await
    }

    pub fn note(&self, text: impl Into<String>) {
        self.progress.send(Progress::Note(text.into()));
    }

    pub fn status(&self, text: impl Into<String>) {
        self.progress.send(Progress::Status(text.into()));
    }

    pub fn warn(&self, text: impl Into<String>) {
        self.progress.send(Progress::Warning(text.into()));
    }
}

/// A path of this machine as a person writes it: `~/` is the home of who runs layerplay.
pub fn at_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}
