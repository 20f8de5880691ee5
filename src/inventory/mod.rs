//! In: inventory sources (YAML, INI, folders, executables, comma lists). Out: hosts and groups with their variables as
//! written, and the hosts that a pattern means.
//!
//! ```text
//! load     sources -> files -> the right reader     yaml, ini, script   one reader each
//! ranges   `w[01:03]` -> names                      literal             INI values as Python reads them
//! constructed  groups and variables that are made of variables
//! pattern  `web:&staging:!db[0]` -> hosts
//! ```

mod constructed;
mod ini;
mod literal;
mod load;
mod pattern;
#[cfg(test)]
mod properties;
mod ranges;
mod script;
mod yaml;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use crate::template::Lazy;

pub use literal::read as literal;
pub use load::{Loaded, load};
pub use pattern::{PatternError, split as split_pattern};

/// Variables as written: a name and its unexpanded value.
pub type Vars = IndexMap<Arc<str>, Lazy>;

/// A host, and the groups that name it directly.
#[derive(Debug, Clone, Default)]
pub struct Host {
    pub vars: Vars,
    pub groups: IndexSet<Arc<str>>,
}

/// A group, its direct children and its direct hosts.
#[derive(Debug, Clone, Default)]
pub struct Group {
    pub vars: Vars,
    pub children: IndexSet<Arc<str>>,
    pub parents: IndexSet<Arc<str>>,
    pub hosts: IndexSet<Arc<str>>,
}

/// Everything the sources said. `all` and `ungrouped` always exist.
#[derive(Debug, Clone)]
pub struct Inventory {
    pub hosts: IndexMap<Arc<str>, Host>,
    pub groups: IndexMap<Arc<str>, Group>,
    /// The sources as given, for `ansible_inventory_sources`.
    pub sources: Vec<String>,
    /// The folders beside which `group_vars` and `host_vars` are looked for, later ones stronger.
    pub dirs: Vec<PathBuf>,
    /// Names that ranges have made, of all lines together.
    expanded: usize,
}

impl Default for Inventory {
    fn default() -> Self {
        let groups = ["all", "ungrouped"].map(|name| (Arc::from(name), Group::default()));
        let mut inventory = Self {
            hosts: IndexMap::new(),
            groups: IndexMap::from(groups),
            sources: Vec::new(),
            dirs: Vec::new(),
            expanded: 0,
        };
        inventory.add_child("all", "ungrouped");
        inventory
    }
}

/// A group that would contain itself.
#[derive(Debug, thiserror::Error)]
#[error("group `{child}` cannot be a child of `{parent}`: `{parent}` is already below `{child}`")]
pub struct Cycle {
    pub parent: String,
    pub child: String,
}

impl Inventory {
    /// The names that a host as written means.
    fn expand(&mut self, text: &str) -> Result<Vec<String>, String> {
        /// A few lines with ranges would cost all memory.
        const MOST: usize = 1_000_000;
        let names = ranges::expand(text)?;
        self.expanded += names.len();
        if self.expanded > MOST {
            return Err(format!("the inventory names more than {MOST} hosts"));
        }
        Ok(names)
    }

    pub fn add_group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(Arc::from(name)).or_default()
    }

    pub fn add_host(&mut self, name: &str) -> &mut Host {
        self.hosts.entry(Arc::from(name)).or_default()
    }

    /// Puts a host into a group; both are made when they are new.
    pub fn add_member(&mut self, group: &str, host: &str) {
        let (group, host): (Arc<str>, Arc<str>) = (Arc::from(group), Arc::from(host));
        self.add_host(&host);
        self.add_group(&group).hosts.insert(Arc::clone(&host));
        // Every host is in `all`, whether that is said or not: there it only has a place in the order.
        if &*group == "all" {
            return;
        }
        if let Some(known) = self.hosts.get_mut(&host) {
            known.groups.insert(group);
        }
    }

    /// Puts a group below another, unless the other is below it.
    pub fn try_add_child(&mut self, parent: &str, child: &str) -> Result<(), Cycle> {
        if parent == child || self.descendants(child).contains(parent) {
            return Err(Cycle {
                parent: parent.to_owned(),
                child: child.to_owned(),
            });
        }
        self.add_child(parent, child);
        Ok(())
    }

    fn add_child(&mut self, parent: &str, child: &str) {
        self.add_group(parent).children.insert(Arc::from(child));
        self.add_group(child).parents.insert(Arc::from(parent));
    }

    /// What every reader leaves to be done: groups without parents hang below `all`, hosts without groups are `ungrouped`.
    pub fn settle(&mut self) {
        let orphans: Vec<Arc<str>> = self
            .groups
            .iter()
            .filter(|(name, group)| &***name != "all" && group.parents.is_empty())
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in orphans {
            self.add_child("all", &name);
        }
        let names: Vec<Arc<str>> = self.hosts.keys().cloned().collect();
        for name in names {
            let groups = &self.hosts[&name].groups;
            let is_grouped = groups.iter().any(|group| &**group != "ungrouped");
            let is_ungrouped = groups.contains("ungrouped");
            if !is_grouped && !is_ungrouped {
                self.add_member("ungrouped", &name);
            } else if is_grouped && is_ungrouped {
                if let Some(host) = self.hosts.get_mut(&name) {
                    host.groups.shift_remove("ungrouped");
                }
                if let Some(group) = self.groups.get_mut("ungrouped") {
                    group.hosts.shift_remove(&name);
                }
            }
        }
    }

    /// A group and everything below it: level by level, each in the order of its lines.
    fn descendants(&self, name: &str) -> IndexSet<Arc<str>> {
        let mut found = IndexSet::from([Arc::<str>::from(name)]);
        let mut at = 0;
        while let Some(next) = found.get_index(at) {
            let children = self.groups.get(next).map(|group| group.children.clone());
            found.extend(children.into_iter().flatten());
            at += 1;
        }
        found
    }

    /// The hosts of a group, then those of its children, then of theirs: Ansible's order of a group, which `serial` and
    /// `groups.NAME[0]` see.
    pub fn members(&self, group: &str) -> Vec<Arc<str>> {
        let mut hosts: IndexSet<Arc<str>> = IndexSet::new();
        for name in self.descendants(group) {
            if let Some(group) = self.groups.get(&name) {
                hosts.extend(group.hosts.iter().cloned());
            }
        }
        hosts.into_iter().collect()
    }

    /// The groups of a host with all their parents, weakest first: by depth, priority, name (`all` is the first).
    pub fn groups_of(&self, host: &str) -> Vec<Arc<str>> {
        let mut found: IndexSet<Arc<str>> = IndexSet::from([Arc::from("all")]);
        let mut open: Vec<Arc<str>> = self
            .hosts
            .get(host)
            .map(|host| host.groups.iter().cloned().collect())
            .unwrap_or_default();
        while let Some(name) = open.pop() {
            if found.insert(Arc::clone(&name))
                && let Some(group) = self.groups.get(&name)
            {
                open.extend(group.parents.iter().cloned());
            }
        }
        let depths = self.depths(&found);
        let mut ordered: Vec<(usize, i64, Arc<str>)> = found
            .into_iter()
            .map(|name| {
                let depth = depths.get(&name).copied().unwrap_or(0);
                (depth, self.priority(&name), name)
            })
            .collect();
        ordered.sort();
        ordered.into_iter().map(|(_, _, name)| name).collect()
    }

    /// The longest way from the top to each of these groups, of which all parents are among them. Each way is walked
    /// once, however many lead to a group.
    fn depths(&self, names: &IndexSet<Arc<str>>) -> HashMap<Arc<str>, usize> {
        let mut depths: HashMap<Arc<str>, usize> = HashMap::new();
        let mut below: HashMap<&Arc<str>, Vec<&Arc<str>>> = HashMap::new();
        let mut waits_for: HashMap<&Arc<str>, usize> = HashMap::new();
        let mut open = Vec::new();
        for name in names {
            let parents = self.groups.get(name).map(|group| &group.parents);
            let count = parents.map_or(0, IndexSet::len);
            waits_for.insert(name, count);
            if count == 0 {
                open.push(name);
            }
            for parent in parents.into_iter().flatten() {
                below.entry(parent).or_default().push(name);
            }
        }
        // Cycles are refused when they are made, so every group has its turn.
        while let Some(name) = open.pop() {
            let depth = *depths.entry(Arc::clone(name)).or_default();
            for child in below.get(name).into_iter().flatten() {
                let known = depths.entry(Arc::clone(child)).or_default();
                *known = (*known).max(depth + 1);
                if let Some(count) = waits_for.get_mut(child) {
                    *count -= 1;
                    if *count == 0 {
                        open.push(child);
                    }
                }
            }
        }
        depths
    }

    fn priority(&self, name: &str) -> i64 {
        self.groups
            .get(name)
            .and_then(|group| group.vars.get("ansible_group_priority"))
            .and_then(|value| match value {
                Lazy::Data(value) => i64::try_from(value.clone())
                    .ok()
                    .or_else(|| value.as_str()?.parse().ok()),
                _ => None,
            })
            .unwrap_or(1)
    }
}
