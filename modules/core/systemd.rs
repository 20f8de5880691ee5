//! `systemd`, `systemd_service` and `service`: units of systemd. In: the state that a unit should have; out: what was
//! done. One question looks, one script acts, and acts only while the unit is as it was when that was decided. Other init
//! systems are refused by name.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::host;
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Units of systemd.
pub struct Systemd;
/// Services, as every init system has them; here those of systemd.
pub struct Service;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Started,
    Stopped,
    /// Restarted each time, started when it does not run.
    Restarted,
    /// Reloaded each time, started when it does not run.
    Reloaded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    #[default]
    System,
    /// The units of the user that the task runs as.
    User,
    /// The units that all users have.
    Global,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The unit; without a suffix it is a service.
    #[schemars(extend("x-aliases" = ["service", "unit"]))]
    name: Option<String>,
    /// Whether it runs.
    state: Option<State>,
    /// Whether it starts at boot.
    enabled: Option<bool>,
    /// Whether it is made impossible to start.
    masked: Option<bool>,
    /// Let systemd read its files again, before anything else.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["daemon-reload"]))]
    daemon_reload: bool,
    /// Let systemd start itself again, before anything else.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["daemon-reexec"]))]
    daemon_reexec: bool,
    /// Whose units.
    #[serde(default)]
    scope: Scope,
    /// Do not wait until it is done.
    #[serde(default)]
    no_block: bool,
    /// Replace links that are in the way.
    #[serde(default)]
    force: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceArgs {
    /// The service.
    name: String,
    /// Whether it runs.
    state: Option<State>,
    /// Whether it starts at boot.
    enabled: Option<bool>,
}

impl ServiceArgs {
    fn as_unit(&self) -> Args {
        Args {
            name: Some(self.name.clone()),
            state: self.state,
            enabled: self.enabled,
            ..Args::default()
        }
    }
}

/// Words: the unit, then options of systemctl. Two sources, apart by a line with the byte 1.
const LOOK: &str = r#"LC_ALL=C; export LC_ALL
command -v systemctl >/dev/null 2>&1 || exit 90
n=$1; shift
systemctl "$@" show -- "$n" 2>&1 || exit 91
printf '\001\n'; systemctl "$@" is-enabled -- "$n" 2>/dev/null; exit 0"#;

/// Words: the unit, its state as decided by, number of options, options, then the actions.
const ACT: &str = r#"LC_ALL=C; export LC_ALL
n=$1 seen=$2 options=$3; shift 3
o=; while [ "$options" -gt 0 ]; do o="$o $1"; shift; options=$((options - 1)); done
if [ -n "$seen" ]; then
now=$(systemctl $o show -p LoadState -p ActiveState -p UnitFileState -- "$n" | grep -v '=$' | sort | tr '\n' ' ')
[ "$now" = "$seen" ] || { printf '%s' "$now"; exit 92; }
fi
for a in "$@"; do case $a in
daemon-*) systemctl $o "$a" || exit;;
*) systemctl $o $a -- "$n" || exit;;
esac; done"#;

/// A unit as systemd shows it.
#[derive(Debug, Default)]
struct Unit {
    properties: BTreeMap<String, String>,
    enabled: String,
}

impl Unit {
    fn parse(text: &str) -> Self {
        let (shown, enabled) = text.split_once("\u{1}\n").unwrap_or((text, ""));
        let pairs = shown.lines().filter_map(|line| line.split_once('='));
        Self {
            properties: pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            enabled: enabled.lines().last().unwrap_or_default().trim().to_owned(),
        }
    }

    fn get(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }

    fn is_masked(&self) -> bool {
        self.get("LoadState") == "masked" || self.enabled.starts_with("masked")
    }

    fn is_running(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "activating")
    }

    /// As the status of `systemctl is-enabled` says it, without those that another unit's name enables.
    fn is_enabled(&self) -> bool {
        matches!(
            self.enabled.as_str(),
            "enabled" | "enabled-runtime" | "static" | "generated" | "transient"
        )
    }

    /// As the script that acts compares it: without what is empty, which systemd shows only when asked by name.
    fn seen(&self) -> String {
        let mut seen = String::new();
        for name in ["ActiveState", "LoadState", "UnitFileState"] {
            let value = self.get(name);
            if !value.is_empty() {
                seen.extend([name, "=", value, " "]);
            }
        }
        seen
    }
}

/// What has to be done, in order, and what differs by it.
#[derive(Debug, Default)]
pub struct Work {
    name: String,
    seen: String,
    actions: Vec<String>,
    fields: Vec<FieldChange>,
    result: Map<String, Value>,
}

fn plan(args: &Args, name: &str, unit: &Unit) -> Result<Work, ModuleError> {
    let mut work = Work {
        name: name.to_owned(),
        seen: unit.seen(),
        ..Work::default()
    };
    let missing = unit.get("LoadState") == "not-found" && unit.enabled.is_empty();
    let wants_it = args.state.is_some() || args.enabled.is_some() || args.masked == Some(false);
    if missing && wants_it {
        return Err(ModuleError::new(
            ErrorKind::NotFound,
            format!("could not find the requested service `{name}`"),
        )
        .hint("is its package installed? `systemctl list-unit-files` on the host lists units; `daemon_reload: true` reads new files first"));
    }
    let force = if args.force { " --force" } else { "" };
    let was_masked = unit.is_masked();
    if let Some(masked) = args.masked.filter(|masked| *masked != was_masked) {
        let action = if masked { "mask" } else { "unmask" };
        work.actions.push(format!("{action}{force}"));
        work.fields
            .push(FieldChange::new("masked", was_masked, masked));
    }
    if let Some(enabled) = args.enabled {
        // The state of a masked unit shows what it was only after unmasking; enabling it again does no harm.
        if enabled != unit.is_enabled() {
            let action = if enabled { "enable" } else { "disable" };
            work.actions.push(format!("{action}{force}"));
            work.fields
                .push(FieldChange::new("enabled", unit.is_enabled(), enabled));
        }
        work.result.insert("enabled".to_owned(), json!(enabled));
    }
    if let Some(state) = args.state {
        let running = unit.is_running();
        let action = match state {
            State::Started if running => None,
            State::Stopped if !running && unit.get("ActiveState") != "deactivating" => None,
            State::Stopped => Some("stop"),
            State::Restarted if running => Some("restart"),
            State::Reloaded if running => Some("reload"),
            _ => Some("start"),
        };
        let after = if state == State::Stopped {
            "stopped"
        } else {
            "started"
        };
        if let Some(action) = action {
            let block = if args.no_block { " --no-block" } else { "" };
            work.actions.push(format!("{action}{block}"));
            let before = unit.get("ActiveState").to_owned();
            work.fields.push(FieldChange::new("state", before, action));
        }
        work.result.insert("state".to_owned(), json!(after));
    }
    let shown = unit.properties.iter();
    let status: Map<String, Value> = shown
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    work.result.insert("name".to_owned(), json!(name));
    work.result
        .insert("status".to_owned(), Value::Object(status));
    Ok(work)
}

fn options(args: &Args) -> Vec<String> {
    match args.scope {
        Scope::System => Vec::new(),
        Scope::User => vec!["--user".to_owned()],
        Scope::Global => vec!["--global".to_owned()],
    }
}

async fn look(args: &Args, name: &str, platform: &Platform) -> Result<Unit, ModuleError> {
    let mut words = vec![name.to_owned()];
    words.extend(options(args));
    let output = host::script(platform, LOOK, &words, None).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    match output.rc {
        0 => Ok(Unit::parse(&text)),
        90 => Err(ModuleError::lacks(&platform.shell()?.place(), "systemctl")
        .hint("this host has another init system; use `command` with its own tool")),
        rc => Err(ModuleError::failed(format!(
            "`systemctl show {name}` failed with status {rc}: {}",
            text.trim()
        ))
        .hint("is systemd the init system that runs there? With `scope: user`, is the user logged in or lingering?")),
    }
}

async fn act(
    args: &Args,
    name: &str,
    seen: &str,
    actions: &[String],
    platform: &Platform,
) -> Result<(), ModuleError> {
    let options = options(args);
    let mut words = vec![name.to_owned(), seen.to_owned(), options.len().to_string()];
    words.extend(options);
    words.extend_from_slice(actions);
    let output = host::script(platform, ACT, &words, None).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.rc {
        0 => Ok(()),
        92 => Err(ModuleError::new(
            ErrorKind::Conflict,
            format!(
                "`{name}` changed since it was looked at: now {}",
                String::from_utf8_lossy(&output.stdout).trim()
            ),
        )
        .hint("run the task again; nothing was changed")),
        rc => Err(ModuleError::failed(format!(
            "systemctl could not do {} for `{name}`: {}",
            actions.join(", "),
            said.trim()
        ))
        .hint(format!("`journalctl -xeu {name}` on the host says why"))
        .with("rc", rc)
        .with("stderr", said.trim())),
    }
}

/// What is done before a unit is looked at.
fn first(args: &Args) -> Vec<String> {
    [
        (args.daemon_reload, "daemon-reload"),
        (args.daemon_reexec, "daemon-reexec"),
    ]
    .into_iter()
    .filter(|(wanted, _)| *wanted)
    .map(|(_, action)| action.to_owned())
    .collect()
}

async fn inspect(args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
    let work = match &args.name {
        Some(name) => {
            let unit = look(args, name, platform).await?;
            match plan(args, name, &unit) {
                // Its file may be new: only reading the files again can tell.
                Err(problem) if problem.kind == ErrorKind::NotFound && args.daemon_reload => {
                    return Ok(Change::Unknown {
                        message: format!(
                            "`{name}` is not known before systemd has read its files again"
                        ),
                        work: Work::default(),
                    });
                }
                planned => planned?,
            }
        }
        None if args.state.is_some() || args.enabled.is_some() || args.masked.is_some() => {
            return Err(ModuleError::argument(
                "name",
                "`state`, `enabled` and `masked` need `name`",
            )
            .hint("say which unit with `name`"));
        }
        None => Work::default(),
    };
    let result = Value::Object(work.result.clone());
    if work.actions.is_empty() && first(args).is_empty() {
        return Ok(Change::None(Outcome::unchanged(result)));
    }
    // Reading files again is no change of the host by itself, as in Ansible.
    let preview = if work.actions.is_empty() {
        Outcome::unchanged(result)
    } else {
        Outcome::changed(result)
    };
    Ok(Change::Some {
        fields: work.fields.clone(),
        diff: Vec::new(),
        preview,
        work,
    })
}

async fn apply(args: &Args, work: Work, platform: &Platform) -> Result<Outcome, ModuleError> {
    let first = first(args);
    let mut work = work;
    if !first.is_empty() {
        act(args, "", "", &first, platform).await?;
        if let Some(name) = &args.name {
            // The files that were read may say other things of the unit.
            work = plan(args, name, &look(args, name, platform).await?)?;
        }
    }
    let result = Value::Object(work.result);
    if work.actions.is_empty() {
        return Ok(Outcome::unchanged(result));
    }
    act(args, &work.name, &work.seen, &work.actions, platform).await?;
    Ok(Outcome::changed(result))
}

const SUPPORTS: Supports = Supports {
    check: true,
    diff: false,
};

#[async_trait]
impl Module for Systemd {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "systemd_service";
    const SUMMARY: &'static str = "Starts, stops, enables and masks units of systemd";
    const EXAMPLES: &'static str = "- systemd_service: {name: chronyd, state: started, enabled: true}\n- systemd_service: {daemon_reload: true}\n";
    const SUPPORTS: Supports = SUPPORTS;
    const TOUCHES: Touches = super::MACHINE;
    const ALIASES: &'static [&'static str] = &[
        "systemd",
        "ansible.builtin.systemd",
        "ansible.legacy.systemd",
    ];
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        inspect(args, platform).await
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
impl Module for Service {
    type Args = ServiceArgs;
    type Work = Work;
    const NAME: &'static str = "service";
    const SUMMARY: &'static str = "Starts, stops and enables services of systemd";
    const EXAMPLES: &'static str = "- service: {name: chronyd, state: restarted}\n";
    const SUPPORTS: Supports = SUPPORTS;
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(
        &self,
        args: &ServiceArgs,
        platform: &Platform,
    ) -> Result<Change<Work>, ModuleError> {
        inspect(&args.as_unit(), platform).await
    }

    async fn apply(
        &self,
        args: &ServiceArgs,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        apply(&args.as_unit(), work, platform).await
    }
}
