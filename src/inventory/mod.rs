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
mod ranges;
mod script;
mod yaml;

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use crate::template::Lazy;

pub use literal::read as literal;
pub use load::{Loaded, load};
pub use pattern::PatternError;

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
}

impl Default for Inventory {
    fn default() -> Self {
        let groups = ["all", "ungrouped"].map(|name| (Arc::from(name), Group::default()));
        let mut inventory = Self {
            hosts: IndexMap::new(),
            groups: IndexMap::from(groups),
            sources: Vec::new(),
            dirs: Vec::new(),
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
        self.add_group(&group);
        if let Some(known) = self.groups.get_mut(&group) {
            known.hosts.insert(Arc::clone(&host));
        }
        // All hosts are in `all`; for those that are written there it is only a place in the order.
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

    /// A group and everything below it.
    fn descendants(&self, name: &str) -> IndexSet<Arc<str>> {
        let mut found = IndexSet::new();
        let mut open = vec![Arc::<str>::from(name)];
        while let Some(next) = open.pop() {
            if found.insert(Arc::clone(&next))
                && let Some(group) = self.groups.get(&next)
            {
                open.extend(group.children.iter().cloned());
            }
        }
        found
    }

    /// The hosts of a group and of all groups below it, in Ansible's order: its own, then those of its children, then
    /// those of their children.
    pub fn members(&self, group: &str) -> Vec<Arc<str>> {
        let mut groups: IndexSet<Arc<str>> = IndexSet::from([Arc::from(group)]);
        let mut at = 0;
        while let Some(name) = groups.get_index(at).cloned() {
            let known = self.groups.get(&name);
            groups.extend(
                known
                    .into_iter()
                    .flat_map(|group| group.children.iter().cloned()),
            );
            at += 1;
        }
        let mut members: IndexSet<Arc<str>> = IndexSet::new();
        for group in groups.iter().filter_map(|name| self.groups.get(name)) {
            members.extend(group.hosts.iter().cloned());
        }
        if group == "all" {
            members.extend(self.hosts.keys().cloned());
        }
        members.into_iter().collect()
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
        let mut ordered: Vec<(usize, i64, Arc<str>)> = found
            .into_iter()
            .map(|name| (self.depth(&name), self.priority(&name), name))
            .collect();
        ordered.sort();
        ordered.into_iter().map(|(_, _, name)| name).collect()
    }

    /// The longest way from `all`.
    fn depth(&self, name: &str) -> usize {
        // Cycles are refused when they are made, so the walk ends.
        self.groups.get(name).map_or(0, |group| {
            group
                .parents
                .iter()
                .map(|parent| self.depth(parent) + 1)
                .max()
                .unwrap_or(0)
        })
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
