//! In: the run, the play and the host. Out: the variables that layerplay itself sets and nobody can override.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, RwLock};

use minijinja::Value;

use super::scope::{HostVars, Values};
use super::{TaskScope, World};
use crate::template::Lazy;

/// What the command line said, as far as playbooks can read it.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub check: bool,
    pub diff: bool,
    pub verbosity: u8,
    pub forks: usize,
    pub tags: Vec<String>,
    pub skip_tags: Vec<String>,
    pub limit: Option<String>,
    /// `--start-at-task`: a name or pattern.
    pub start_at: Option<String>,
    /// `--step`: each task is asked for.
    pub step: bool,
    pub gathering: Gathering,
    /// A notified handler that does not exist is a warning, and no error.
    pub allows_missing_handlers: bool,
    /// Facts are `ansible_facts.NAME` alone, and not variables `ansible_NAME`, too.
    pub hides_facts: bool,
    /// The `ansible.cfg` or `layerplay.toml` that was read.
    pub config_file: Option<PathBuf>,
    pub reach: Reach,
}

/// When plays that do not say it gather facts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gathering {
    /// Always.
    #[default]
    Implicit,
    /// Never.
    Explicit,
    /// Of hosts that have none yet.
    Smart,
}

/// How hosts are reached where neither a keyword nor a variable says it: the options of the command line and settings.
#[derive(Clone, Default)]
pub struct Reach {
    pub becomes: bool,
    pub become_user: Option<String>,
    pub become_method: Option<String>,
    pub become_flags: Option<String>,
    pub become_password: Option<String>,
    pub connection: Option<String>,
    /// Names of variables, and what they are where no variable and no keyword says it.
    pub variables: Vec<(&'static str, String)>,
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reach")
    }
}

/// What the tasks of one play share.
#[derive(Debug, Default)]
pub struct PlayContext {
    pub name: String,
    /// The folder of the playbook.
    pub dir: PathBuf,
    pub stage: Option<String>,
    /// Names of the roles that the play lists.
    pub roles: Vec<String>,
    /// Names of the roles that those depend on.
    pub dependencies: Vec<String>,
    /// All hosts of the play, of all batches.
    pub all_hosts: Vec<Arc<str>>,
    /// Hosts of the play that are still in it.
    pub alive: RwLock<Vec<Arc<str>>>,
    /// Hosts of the batch that are still in it.
    pub batch: RwLock<Vec<Arc<str>>>,
    /// Digests that the gate of the stage has let through; not set where there is no gate.
    pub allowed: OnceLock<Vec<String>>,
}

/// Every name that [`value`] answers.
const NAMES: &[&str] = &[
    "inventory_hostname",
    "inventory_hostname_short",
    "groups",
    "group_names",
    "hostvars",
    "vars",
    "playbook_dir",
    "inventory_dir",
    "inventory_file",
    "ansible_play_name",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_role_names",
    "ansible_dependent_role_names",
    "ansible_role_names",
    "role_names",
    "ansible_play_batch",
    "play_hosts",
    "ansible_check_mode",
    "ansible_diff_mode",
    "ansible_verbosity",
    "ansible_forks",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_limit",
    "ansible_version",
    "ansible_config_file",
    "ansible_inventory_sources",
    "ansible_facts",
    "ansible_search_path",
];

/// True for names that a playbook cannot set.
pub fn is_reserved(name: &str) -> bool {
    NAMES.contains(&name) || matches!(name, "omit" | "environment" | "lookup" | "query" | "q")
}

/// The names of magic variables.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().copied()
}

/// The value of a magic variable; `None` for every other name.
pub(super) fn value(name: &str, scope: &TaskScope) -> Option<Lazy> {
    // Nearly all names are others: one look at the first letter settles most.
    if !name.starts_with(['i', 'g', 'h', 'v', 'p', 'a', 'r']) {
        return None;
    }
    let world = &scope.world;
    let settings = &world.settings;
    let play = scope.play.as_ref();
    let value = match name {
        "inventory_hostname" => Value::from(Arc::clone(&scope.host.name)),
        "inventory_hostname_short" => {
            Value::from(scope.host.name.split('.').next().unwrap_or_default())
        }
        "groups" => world.groups(),
        "group_names" => list(world.group_names(&scope.host.name)),
        "hostvars" => Value::from_object(HostVars {
            world: Arc::clone(world),
            play: scope.play.clone(),
        }),
        "vars" => Value::from_object(Values::new(Arc::new(scope.clone()), &world.templar)),
        "playbook_dir" => text(&play?.dir.display()),
        "inventory_dir" => text(&world.inventory_dirs().last()?.display()),
        "inventory_file" => text(world.inventory_sources().last()?),
        "ansible_play_name" => text(&play?.name),
        "ansible_play_hosts" => alive(&play?.alive),
        "ansible_play_hosts_all" => list(play?.all_hosts.clone()),
        "ansible_play_role_names" => Value::from(play?.roles.clone()),
        "ansible_dependent_role_names" => Value::from(play?.dependencies.clone()),
        "ansible_role_names" | "role_names" => {
            let play = play?;
            let all = play.roles.iter().chain(&play.dependencies);
            Value::from(all.cloned().collect::<Vec<_>>())
        }
        "ansible_play_batch" | "play_hosts" => alive(&play?.batch),
        "ansible_check_mode" => Value::from(settings.check),
        "ansible_diff_mode" => Value::from(settings.diff),
        "ansible_verbosity" => Value::from(settings.verbosity),
        "ansible_config_file" => text(&settings.config_file.as_ref()?.display()),
        "ansible_forks" => Value::from(settings.forks),
        "ansible_run_tags" if settings.tags.is_empty() => Value::from(vec!["all"]),
        "ansible_run_tags" => Value::from(settings.tags.clone()),
        "ansible_skip_tags" => Value::from(settings.skip_tags.clone()),
        "ansible_limit" => Value::from(settings.limit.clone()?),
        "ansible_version" => version(),
        "ansible_inventory_sources" => Value::from(world.inventory_sources()),
        "ansible_facts" => facts(scope),
        "ansible_search_path" => Value::from(
            scope
                .search_path
                .iter()
                .map(|dir| dir.display().to_string())
                .collect::<Vec<_>>(),
        ),
        _ => return None,
    };
    Some(Lazy::Data(value))
}

fn text(text: &impl ToString) -> Value {
    Value::from(text.to_string())
}

fn list(names: Vec<Arc<str>>) -> Value {
    Value::from(names.into_iter().map(Value::from).collect::<Vec<_>>())
}

fn alive(hosts: &RwLock<Vec<Arc<str>>>) -> Value {
    list(hosts.read().map(|hosts| hosts.clone()).unwrap_or_default())
}

/// The language that playbooks may count on.
fn version() -> Value {
    Value::from_pairs([
        ("full", Value::from("2.19.0")),
        ("major", Value::from(2)),
        ("minor", Value::from(19)),
        ("revision", Value::from(0)),
        ("string", Value::from("2.19.0")),
    ])
}

/// Facts without the prefix that they have as variables; `ansible_local` keeps it (ansible-core: `vars/clean.py`).
fn facts(scope: &TaskScope) -> Value {
    Value::from_pairs(scope.host.facts().iter().filter_map(|(name, value)| {
        let Lazy::Data(value) = value else {
            return None;
        };
        let short = name
            .strip_prefix("ansible_")
            .filter(|short| *short != "local");
        Some((Value::from(short.unwrap_or(name)), value.clone()))
    }))
}

/// The scope in which `hostvars[host]` is read: no play, block or task variables.
pub(super) fn host_scope(
    world: &Arc<World>,
    play: Option<&Arc<PlayContext>>,
    host: &str,
) -> TaskScope {
    TaskScope::new(world, play.cloned(), &world.host(host))
}
