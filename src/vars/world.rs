//! In: an inventory, the folders of variables, what tasks set. Out: the state of every host, shared by all of a run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use minijinja::Value;

use super::files::Folders;
use super::{FactCache, Settings, Vars};
use crate::diagnostic::Diagnostics;
use crate::inventory::{Inventory, PatternError};
use crate::template::{Lazy, Templar};

/// What tasks have set for a host; kept to the end of the run.
#[derive(Debug, Default)]
pub struct HostState {
    pub name: Arc<str>,
    cache: Option<Arc<FactCache>>,
    facts: RwLock<Arc<Vars>>,
    included: RwLock<Arc<Vars>>,
    set: RwLock<Arc<Vars>>,
}

fn read(lock: &RwLock<Arc<Vars>>) -> Arc<Vars> {
    lock.read()
        .map(|vars| Arc::clone(&vars))
        .unwrap_or_default()
}

fn merge(lock: &RwLock<Arc<Vars>>, vars: impl IntoIterator<Item = (Arc<str>, Lazy)>) {
    if let Ok(mut known) = lock.write() {
        // Copies only while a task still holds the old layer.
        Arc::make_mut(&mut known).extend(vars);
    }
}

impl HostState {
    pub fn facts(&self) -> Arc<Vars> {
        read(&self.facts)
    }

    pub fn included(&self) -> Arc<Vars> {
        read(&self.included)
    }

    pub fn set(&self) -> Arc<Vars> {
        read(&self.set)
    }

    /// Sets facts, in the cache too. An error is the cache's: they are set all the same.
    pub fn add_facts(
        &self,
        vars: impl IntoIterator<Item = (Arc<str>, Lazy)>,
    ) -> std::io::Result<()> {
        merge(&self.facts, vars);
        match &self.cache {
            Some(cache) => cache.store(&self.name, &self.facts()),
            None => Ok(()),
        }
    }

    /// True when its facts were gathered, now or in a run whose facts were kept.
    pub fn is_gathered(&self) -> bool {
        self.facts().contains_key("module_setup")
    }

    pub fn add_included(&self, vars: impl IntoIterator<Item = (Arc<str>, Lazy)>) {
        merge(&self.included, vars);
    }

    pub fn add_set(&self, vars: impl IntoIterator<Item = (Arc<str>, Lazy)>) {
        merge(&self.set, vars);
    }

    pub fn clear_facts(&self) {
        if let Ok(mut facts) = self.facts.write() {
            *facts = Arc::default();
        }
        if let Some(cache) = &self.cache {
            cache.forget(&self.name);
        }
    }
}

/// A host as seen from a playbook's folder.
type Seen = (Arc<str>, PathBuf);

struct Known {
    inventory: Inventory,
    states: HashMap<Arc<str>, Arc<HostState>>,
    /// The layers below facts, lowest first, by host and playbook folder.
    bases: HashMap<Seen, Arc<[Arc<Vars>]>>,
    groups: Option<Value>,
}

/// All hosts of a run.
pub struct World {
    pub templar: Templar,
    pub extra: Arc<Vars>,
    pub settings: Settings,
    cache: Option<Arc<FactCache>>,
    folders: Folders,
    known: RwLock<Known>,
}

impl World {
    pub fn new(inventory: Inventory, templar: Templar, extra: Vars, settings: Settings) -> Self {
        Self {
            templar,
            extra: Arc::new(extra),
            settings,
            cache: None,
            folders: Folders::default(),
            known: RwLock::new(Known {
                inventory,
                states: HashMap::new(),
                bases: HashMap::new(),
                groups: None,
            }),
        }
    }

    /// With facts that are kept between runs.
    #[must_use]
    pub fn with_cache(mut self, cache: FactCache) -> Self {
        self.cache = Some(Arc::new(cache));
        self
    }

    pub fn keeps_facts(&self) -> bool {
        self.cache.is_some()
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        match self.known.read() {
            Ok(known) => look(&known),
            // Nothing is done under the lock that could leave it half-changed.
            Err(poisoned) => look(&poisoned.into_inner()),
        }
    }

    fn write<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        match self.known.write() {
            Ok(mut known) => change(&mut known),
            Err(poisoned) => change(&mut poisoned.into_inner()),
        }
    }

    /// The state of a host, made when it is first asked for.
    pub fn host(&self, name: &str) -> Arc<HostState> {
        if let Some(state) = self.read(|known| known.states.get(name).cloned()) {
            return state;
        }
        self.write(|known| {
            let name: Arc<str> = Arc::from(name);
            let state = known.states.entry(Arc::clone(&name)).or_insert_with(|| {
                let facts = self.cache.as_ref().map(|cache| cache.load(&name));
                Arc::new(HostState {
                    name,
                    cache: self.cache.clone(),
                    facts: RwLock::new(Arc::new(facts.unwrap_or_default())),
                    ..HostState::default()
                })
            });
            Arc::clone(state)
        })
    }

    pub fn has_host(&self, name: &str) -> bool {
        self.read(|known| known.inventory.hosts.contains_key(name))
    }

    pub fn host_names(&self) -> Vec<Arc<str>> {
        self.read(|known| known.inventory.hosts.keys().cloned().collect())
    }

    pub fn group_names(&self, host: &str) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.read(|known| {
            known
                .inventory
                .groups_of(host)
                .into_iter()
                .filter(|name| &**name != "all")
                .collect()
        });
        names.sort();
        names
    }

    /// The `groups` variable.
    pub fn groups(&self) -> Value {
        if let Some(groups) = self.read(|known| known.groups.clone()) {
            return groups;
        }
        self.write(|known| {
            let value = Value::from_pairs(known.inventory.groups.keys().map(|group| {
                let members: Vec<Value> = known
                    .inventory
                    .members(group)
                    .into_iter()
                    .map(Value::from)
                    .collect();
                (Value::from(Arc::clone(group)), Value::from(members))
            }));
            known.groups = Some(value.clone());
            value
        })
    }

    pub fn inventory_dirs(&self) -> Vec<PathBuf> {
        self.read(|known| known.inventory.dirs.clone())
    }

    pub fn inventory_sources(&self) -> Vec<String> {
        self.read(|known| known.inventory.sources.clone())
    }

    /// Hosts of a pattern, and the elements that matched nothing.
    pub fn select(&self, pattern: &str) -> Result<(Vec<Arc<str>>, Vec<String>), PatternError> {
        self.read(|known| {
            let matched = known.inventory.select(pattern)?;
            Ok((matched.hosts, matched.unmatched))
        })
    }

    /// Looks at the inventory as it is now.
    pub fn inventory<T>(&self, look: impl FnOnce(&Inventory) -> T) -> T {
        self.read(|known| look(&known.inventory))
    }

    /// Changes the inventory (`add_host`, `group_by`).
    pub fn change_inventory<T>(&self, change: impl FnOnce(&mut Inventory) -> T) -> T {
        self.write(|known| {
            let done = change(&mut known.inventory);
            known.inventory.settle();
            known.groups = None;
            known.bases.clear();
            done
        })
    }

    /// Reads the variable files of all hosts and groups for plays of a folder: every problem at once, before the first task.
    pub fn prepare(&self, playbook_dir: &Path) -> Result<(), Diagnostics> {
        let mut problems = Diagnostics::default();
        let (groups, hosts) = self.read(|known| {
            (
                known.inventory.groups.keys().cloned().collect::<Vec<_>>(),
                known.inventory.hosts.keys().cloned().collect::<Vec<_>>(),
            )
        });
        let mut dirs = self.inventory_dirs();
        dirs.push(playbook_dir.to_owned());
        dirs.dedup();
        for dir in &dirs {
            let wanted = groups
                .iter()
                .map(|name| ("group_vars", name))
                .chain(hosts.iter().map(|name| ("host_vars", name)));
            for (kind, name) in wanted {
                if let Err(found) = self.folders.get(dir, kind, name, self.templar.reader()) {
                    problems.extend(found);
                }
            }
        }
        if problems.has_errors() {
            return Err(problems);
        }
        Ok(())
    }

    /// The layers below facts, lowest first. Files were read by [`World::prepare`]; one that appears later for a new
    /// group and cannot be read counts as absent.
    pub fn base(&self, host: &Arc<str>, playbook_dir: &Path) -> Arc<[Arc<Vars>]> {
        let key = (Arc::clone(host), playbook_dir.to_owned());
        if let Some(base) = self.read(|known| known.bases.get(&key).cloned()) {
            return base;
        }
        let base: Arc<[Arc<Vars>]> = self.build_base(host, playbook_dir).into();
        self.write(|known| known.bases.insert(key, Arc::clone(&base)));
        base
    }

    /// Looks at everything that some host has for plays of a folder, before anything has run.
    pub fn each(&self, playbook_dir: &Path, look: &mut dyn FnMut(&Vars)) {
        look(&self.extra);
        for host in self.host_names() {
            for layer in self.build_base(&host, playbook_dir) {
                look(&layer);
            }
        }
    }

    fn build_base(&self, host: &str, playbook_dir: &Path) -> Vec<Arc<Vars>> {
        let (groups, own, mut layers) = self.read(|known| {
            let groups = known.inventory.groups_of(host);
            let layers: Vec<Arc<Vars>> = groups
                .iter()
                .filter_map(|name| known.inventory.groups.get(name))
                .filter(|group| !group.vars.is_empty())
                .map(|group| Arc::new(group.vars.clone()))
                .collect();
            let own = known
                .inventory
                .hosts
                .get(host)
                .map(|host| host.vars.clone());
            (groups, own.unwrap_or_default(), layers)
        });
        let inventory_dirs = self.inventory_dirs();
        let of = |kind: &str, names: &[Arc<str>], dirs: &[&Path]| {
            let mut found = Vec::new();
            for dir in dirs {
                for name in names {
                    if let Ok(Some(vars)) = self.folders.get(dir, kind, name, self.templar.reader())
                    {
                        found.push(vars);
                    }
                }
            }
            found
        };
        let beside_inventory: Vec<&Path> = inventory_dirs
            .iter()
            .map(PathBuf::as_path)
            .filter(|dir| *dir != playbook_dir)
            .collect();
        let (all, others) = groups.split_at(groups.len().min(1));
        for names in [all, others] {
            layers.extend(of("group_vars", names, &beside_inventory));
            layers.extend(of("group_vars", names, &[playbook_dir]));
        }
        if !own.is_empty() {
            layers.push(Arc::new(own));
        }
        let name = [Arc::from(host)];
        layers.extend(of("host_vars", &name, &beside_inventory));
        layers.extend(of("host_vars", &name, &[playbook_dir]));
        layers
    }
}
