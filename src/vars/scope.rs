//! In: a host and a task. Out: the lookup that its templates use.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexSet;
use minijinja::value::{Enumerator, Object, Value};

use super::magic::{self, PlayContext};
use super::{HostState, Vars, World};
use crate::template::{Lazy, Scope, Templar, absent};

/// Layers of one level of precedence, weakest first. Shared by all hosts.
pub type Layers = Vec<Arc<Vars>>;

/// All that a task's templates can see.
#[derive(Clone)]
pub struct TaskScope {
    pub world: Arc<World>,
    pub play: Option<Arc<PlayContext>>,
    pub host: Arc<HostState>,
    /// `role_name` and its like, of the role that the task is in.
    pub role_names: Option<Arc<Vars>>,
    /// Defaults of roles: below everything.
    pub defaults: Layers,
    /// Variables of roles: above those of the play.
    pub role_vars: Layers,
    /// Below facts: inventory, `group_vars`, `host_vars`.
    base: Arc<[Arc<Vars>]>,
    /// Play variables, then the host's `vars_files`.
    pub play_vars: Layers,
    /// Variables of blocks, outermost first, then of the task.
    pub task_vars: Layers,
    /// Parameters of includes and of modules in YAML: above `set_fact`.
    pub parameters: Layers,
    /// The loop's own names, and the result that a running task has just registered. Beats everything but magic.
    pub local: Layers,
    /// Folders in which files are looked for, nearest first.
    pub search_path: Vec<PathBuf>,
}

impl fmt::Debug for TaskScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskScope({})", self.host.name)
    }
}

impl TaskScope {
    /// What a host sees outside of any task.
    pub fn new(world: &Arc<World>, play: Option<Arc<PlayContext>>, host: &Arc<HostState>) -> Self {
        let dir = play
            .as_ref()
            .map(|play| play.dir.clone())
            .unwrap_or_default();
        Self {
            base: world.base(&host.name, &dir),
            world: Arc::clone(world),
            play,
            host: Arc::clone(host),
            role_names: None,
            defaults: Layers::new(),
            role_vars: Layers::new(),
            play_vars: Layers::new(),
            task_vars: Layers::new(),
            parameters: Layers::new(),
            local: Layers::new(),
            search_path: Vec::new(),
        }
    }

    /// Without what the inventory says.
    #[must_use]
    pub fn without_inventory(mut self) -> Self {
        self.base = Arc::default();
        self
    }

    /// The scope as the templar takes it.
    pub fn share(&self) -> Arc<dyn Scope> {
        Arc::new(self.clone())
    }

    /// A fact as a variable.
    fn fact(&self, name: &str) -> Option<Lazy> {
        let is_hidden = self.world.settings.hides_facts && name.starts_with("ansible_");
        (!is_hidden)
            .then(|| self.host.facts().get(name).cloned())
            .flatten()
    }

    /// `localhost` that no inventory has.
    fn is_implicit_localhost(&self) -> bool {
        matches!(&*self.host.name, "localhost" | "127.0.0.1" | "::1")
            && !self.world.has_host(&self.host.name)
    }

    /// With names of the task's own on top.
    #[must_use]
    pub fn with_local(mut self, vars: Vars) -> Self {
        self.local.push(Arc::new(vars));
        self
    }
}

fn find(layers: &[Arc<Vars>], name: &str) -> Option<Lazy> {
    layers
        .iter()
        .rev()
        .find_map(|layer| layer.get(name).cloned())
}

impl Scope for TaskScope {
    fn lookup(&self, name: &str) -> Option<Lazy> {
        if let Some(value) = magic::value(name, self) {
            return Some(value);
        }
        if let Some(value) = self.role_names.as_ref().and_then(|names| names.get(name)) {
            return Some(value.clone());
        }
        find(&self.local, name)
            .or_else(|| self.world.extra.get(name).cloned())
            .or_else(|| find(&self.parameters, name))
            .or_else(|| self.host.set().get(name).cloned())
            .or_else(|| self.host.included().get(name).cloned())
            .or_else(|| find(&self.task_vars, name))
            .or_else(|| find(&self.role_vars, name))
            .or_else(|| find(&self.play_vars, name))
            .or_else(|| self.fact(name))
            .or_else(|| find(&self.base, name))
            .or_else(|| find(&self.defaults, name))
            .or_else(|| match name {
                // Where nothing says it, a host is reached by its name, and `localhost` without a connection.
                "ansible_host" => Some(Lazy::Data(Value::from(Arc::clone(&self.host.name)))),
                "ansible_connection" if self.is_implicit_localhost() => {
                    Some(Lazy::Data(Value::from("local")))
                }
                _ => None,
            })
    }

    fn names(&self) -> Vec<Arc<str>> {
        let mut names: IndexSet<Arc<str>> = IndexSet::new();
        let (facts, included, set) = (self.host.facts(), self.host.included(), self.host.set());
        let layers = self
            .defaults
            .iter()
            .chain(self.base.iter())
            .chain(&self.play_vars)
            .chain(&self.role_vars)
            .chain(&self.task_vars)
            .chain([&facts, &included, &set])
            .chain(&self.parameters)
            .chain([&self.world.extra])
            .chain(&self.local)
            .chain(&self.role_names);
        for layer in layers {
            names.extend(layer.keys().cloned());
        }
        names.extend(magic::names().map(Arc::from));
        names.into_iter().collect()
    }

    fn search_path(&self) -> Vec<PathBuf> {
        self.search_path.clone()
    }

    fn is_written(&self, name: &str) -> bool {
        if magic::value(name, self).is_some() || find(&self.local, name).is_some() {
            return false;
        }
        if self.world.extra.contains_key(name) || find(&self.parameters, name).is_some() {
            return true;
        }
        if self.host.set().contains_key(name) {
            return false;
        }
        self.host.included().contains_key(name)
            || find(&self.task_vars, name).is_some()
            || find(&self.role_vars, name).is_some()
            || find(&self.play_vars, name).is_some()
            || find(&self.defaults, name).is_some()
            || (!self.host.facts().contains_key(name) && find(&self.base, name).is_some())
    }

    fn hosts(&self, pattern: &str) -> Result<Vec<Arc<str>>, String> {
        match self.world.select(pattern) {
            Ok((hosts, _)) => Ok(hosts),
            Err(problem) => Err(problem.to_string()),
        }
    }
}

/// `hostvars`: every host, each in its own scope, expanded when it is used.
#[derive(Clone)]
pub(super) struct HostVars {
    pub(super) world: Arc<World>,
    pub(super) play: Option<Arc<PlayContext>>,
}

impl fmt::Debug for HostVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hostvars")
    }
}

impl Object for HostVars {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        if !self.world.has_host(name) && name != "localhost" {
            return None;
        }
        let scope = magic::host_scope(&self.world, self.play.as_ref(), name);
        Some(Value::from_object(Values::new(
            Arc::new(scope),
            &self.world.templar,
        )))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(
            self.world
                .host_names()
                .into_iter()
                .map(Value::from)
                .collect(),
        )
    }
}

/// All variables of a scope as a mapping.
pub(super) struct Values {
    scope: Arc<dyn Scope>,
    templar: Templar,
}

impl Values {
    pub(super) fn new(scope: Arc<dyn Scope>, templar: &Templar) -> Self {
        Self {
            scope,
            templar: templar.clone(),
        }
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("variables")
    }
}

impl Object for Values {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let lazy = self.scope.lookup(key.as_str()?)?;
        let value = self.templar.evaluate(&lazy, &self.scope);
        // What cannot be made fails when it is used, with the place where it went wrong.
        Some(value.unwrap_or_else(|problem| absent(key.as_str().unwrap_or_default(), problem)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        // These two hold everything again, and themselves.
        let names = self.scope.names();
        Enumerator::Values(
            names
                .into_iter()
                .filter(|name| !matches!(&**name, "hostvars" | "vars"))
                .map(Value::from)
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Inventory;
    use crate::vars::Settings;

    fn data(entries: &[(&str, &str)]) -> Vars {
        entries
            .iter()
            .map(|(name, value)| (Arc::from(*name), Lazy::Data(Value::from(*value))))
            .collect()
    }

    #[test]
    fn a_higher_layer_hides_a_lower_one_and_hostvars_sees_no_play_vars() {
        let mut inventory = Inventory::default();
        inventory.add_member("web", "w1");
        inventory.settle();
        inventory.add_group("all").vars = data(&[("x", "all"), ("only_all", "1")]);
        inventory.add_group("web").vars = data(&[("x", "web")]);
        inventory.add_host("w1").vars = data(&[("x", "host")]);
        let world = Arc::new(World::new(
            inventory,
            Templar::default(),
            data(&[("e", "extra")]),
            Settings::default(),
        ));
        let state = world.host("w1");
        let mut scope = TaskScope::new(&world, None, &state);
        let show = |scope: &TaskScope, text: &str| {
            let lazy = Lazy::Template(Arc::new(crate::template::TemplateText::from_text(
                "t", text,
            )));
            let value = world.templar.evaluate(&lazy, &scope.share());
            value.map_or_else(|problem| problem.message, |value| value.to_string())
        };
        assert_eq!(show(&scope, "{{ x }} {{ only_all }}"), "host 1");
        scope
            .play_vars
            .push(Arc::new(data(&[("x", "play"), ("p", "play")])));
        assert_eq!(show(&scope, "{{ x }}"), "play");
        scope.task_vars.push(Arc::new(data(&[("x", "task")])));
        assert_eq!(show(&scope, "{{ x }}"), "task");
        state.add_set(data(&[("x", "set"), ("e", "set")]));
        assert_eq!(show(&scope, "{{ x }} {{ e }}"), "set extra");
        assert_eq!(
            show(
                &scope,
                "{{ hostvars['w1'].x }} {{ hostvars.w1.group_names }}"
            ),
            "set ['web']"
        );
        assert_eq!(show(&scope, "{{ hostvars.w1.p is defined }}"), "False");
        assert_eq!(show(&scope, "{{ groups.web[0] }}"), "w1");
        assert_eq!(
            show(&scope, "{{ hostvars.nobody.x }}"),
            "object of type 'dict' has no attribute 'nobody'"
        );
    }
}
