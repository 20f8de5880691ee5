//! `layerplay lab up|down|status`: a simulated OpenShift that stays up; and the lab of a run that names no inventory.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::cli::args::{LabCommand, LabDir};
use crate::cli::{exit, printer};
use crate::lab::Lab;
use crate::lab::scenario::Scenario;

const STATE: &str = "lab.json";

pub(in crate::cli) fn run(command: &LabCommand) -> u8 {
    match command {
        LabCommand::Up(options) => up(&folder(&options.dir), options.scenario.as_deref()),
        LabCommand::Down(dir) => down(&folder(dir)),
        LabCommand::Status(dir) => status(&folder(dir)),
    }
}

/// Where labs write by default: the user's own folder for state (XDG base directory specification).
fn folder(given: &LabDir) -> PathBuf {
    given.dir.clone().unwrap_or_else(default_folder)
}

fn default_folder() -> PathBuf {
    if let Some(dir) = std::env::var_os("LAYERPLAY_LAB_DIR") {
        return PathBuf::from(dir);
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state
        .or_else(home)
        .unwrap_or_else(std::env::temp_dir)
        .join("layerplay/lab")
}

/// The process of the lab that is up.
fn running(dir: &Path) -> Option<(Pid, Value)> {
    let text = std::fs::read_to_string(dir.join(STATE)).ok()?;
    let state: Value = serde_json::from_str(&text).ok()?;
    let pid = Pid::from_raw(i32::try_from(state["pid"].as_i64()?).ok()?);
    // The number of a process that has ended may belong to another one now.
    let is_ours = begun(pid).is_some_and(|begun| state["begun"] == begun.as_str());
    (is_ours && kill(pid, None).is_ok()).then_some((pid, state))
}

/// When a process began, in the kernel's ticks (proc(5): field 22 of `stat`, counted behind the name's parenthesis).
fn begun(pid: Pid) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(ToOwned::to_owned)
}

fn up(dir: &Path, scenario: Option<&Path>) -> u8 {
    let scenario = match scenario.map(Scenario::read).transpose() {
        Ok(scenario) => scenario.unwrap_or_default(),
        Err(problem) => {
            printer::err(&format!("error: {problem}"));
            printer::err("help: docs/lab.md says what a scenario may say");
            return exit::ERROR;
        }
    };
    if let Some((pid, _)) = running(dir) {
        printer::err(&format!("error: a lab is up already (process {pid})"));
        printer::err("help: `layerplay lab status` tells where, `layerplay lab down` ends it");
        return exit::ERROR;
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(problem) => {
            printer::err(&format!("error: cannot start: {problem}"));
            return exit::ERROR;
        }
    };
    let ended: io::Result<()> = runtime.block_on(async {
        let lab = Lab::start(&scenario).await?;
        let inventory = lab.write(dir)?;
        let state =
            json!({"pid": std::process::id(), "begun": begun(Pid::this()), "inventory": std::path::absolute(&inventory)?});
        std::fs::write(dir.join(STATE), format!("{state:#}\n"))?;
        printer::out(&format!("lab is up: registry {}", lab.registry.address()));
        printer::out(&format!("inventory: {}", inventory.display()));
        for cluster in &lab.clusters {
            let kubeconfig = std::path::absolute(dir)?.join(format!("kubeconfig-{}", cluster.name));
            printer::out(&format!(
                "{} ({}): kubectl --kubeconfig {} get mcp,mc,nodes",
                cluster.name,
                cluster.group,
                kubeconfig.display()
            ));
        }
        printer::err("Ctrl-C or `layerplay lab down` ends it");
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = term.recv() => {}
        }
        Ok(())
    });
    clean(dir);
    match ended {
        Ok(()) => exit::OK,
        Err(problem) => {
            printer::err(&format!("error: the lab cannot be started: {problem}"));
            exit::ERROR
        }
    }
}

/// What a lab that has ended leaves: nothing that looks like one that is up.
fn clean(dir: &Path) {
    let kubeconfigs = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let own = kubeconfigs.filter(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("kubeconfig-"))
    });
    for path in own.chain([dir.join("inventory.yml"), dir.join(STATE)]) {
        // Gone already is as good.
        let _ = std::fs::remove_file(path);
    }
}

fn down(dir: &Path) -> u8 {
    let Some((pid, _)) = running(dir) else {
        printer::err("no lab is up");
        clean(dir);
        return exit::OK;
    };
    if let Err(problem) = kill(pid, Signal::SIGTERM) {
        printer::err(&format!("error: process {pid} cannot be ended: {problem}"));
        return exit::ERROR;
    }
    // The lab removes its state as the last thing it does.
    for _ in 0..100 {
        if running(dir).is_none() {
            printer::out("lab is down");
            return exit::OK;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    printer::err(&format!("error: process {pid} does not end"));
    exit::ERROR
}

fn status(dir: &Path) -> u8 {
    if let Some((pid, state)) = running(dir) {
        printer::out(&format!(
            "lab is up (process {pid}): inventory {}",
            state["inventory"].as_str().unwrap_or_default()
        ));
        exit::OK
    } else {
        printer::out("no lab is up");
        exit::ERROR
    }
}

/// The lab of a run without an inventory: one that is up, else one that ends with the run.
pub(in crate::cli) struct RunLab {
    pub(in crate::cli) inventory: PathBuf,
    /// The first line of the run.
    pub(in crate::cli) notice: String,
    _own: Option<(Lab, tempfile::TempDir)>,
}

pub(in crate::cli) async fn for_run() -> io::Result<RunLab> {
    const HOW: &str = "name your own clusters with `-i inventory.yml`";
    if let Some((_, state)) = running(&default_folder())
        && let Some(inventory) = state["inventory"].as_str()
    {
        let notice = format!(
            "simulation: no inventory is given, so this run uses the lab that is up; {HOW}"
        );
        return Ok(RunLab {
            inventory: PathBuf::from(inventory),
            notice,
            _own: None,
        });
    }
    let dir = tempfile::tempdir()?;
    let lab = Lab::start(&Scenario::default()).await?;
    let inventory = lab.write(dir.path())?;
    let notice = format!(
        "simulation: no inventory is given, so this run plays on two simulated OpenShift clusters inside this process; {HOW}"
    );
    Ok(RunLab {
        inventory,
        notice,
        _own: Some((lab, dir)),
    })
}
