//! In: a play. Out: the facts of its machines, gathered before its first task, and the hosts that could be reached.

use std::collections::BTreeSet;
use std::sync::Arc;

use layerplay_modules::contract::erase;
use layerplay_modules::core::facts::{Subset, of_fact};
use layerplay_modules::core::setup::{GatherFacts, Setup};

use super::Run;
use super::attempt::Unit;
use super::play::PlayRun;
use super::walk::Here;
use crate::event::TaskRef;
use crate::playbook::{Arguments, Item, Kind, Task};
use crate::template::{FactNames, Lazy};
use crate::vars::{Gathering, magic_names};

/// Names that are no facts: they say how hosts are reached, or where a run is.
const NO_FACTS: &[&str] = &[
    "ansible_become",
    "ansible_check",
    "ansible_config",
    "ansible_connection",
    "ansible_delegated",
    "ansible_diff",
    "ansible_failed",
    "ansible_host",
    "ansible_index_var",
    "ansible_loop",
    "ansible_managed",
    "ansible_parent",
    "ansible_password",
    "ansible_port",
    "ansible_python_interpreter",
    "ansible_role",
    "ansible_shell",
    "ansible_ssh",
    "ansible_sudo",
    "ansible_user",
    "ansible_winrm",
];
/// Facts that begin like one of those.
const YET_FACTS: &[&str] = &[
    "ansible_hostname",
    "ansible_hostnqn",
    "ansible_ssh_host_key_",
    "ansible_user_",
];

/// The subsets that have these facts; `None` when all are needed.
fn needed(facts: &FactNames) -> Option<Vec<Subset>> {
    let is_all = |name: &str| {
        let name = name.strip_prefix("ansible_").unwrap_or(name);
        matches!(name, "gather_subset" | "module_setup")
    };
    if facts.is_open || facts.names.iter().any(|name| is_all(name)) {
        return None;
    }
    let magic: BTreeSet<&str> = magic_names().collect();
    let is_fact = |name: &str| {
        let starts = |list: &[&str]| list.iter().any(|start| name.starts_with(start));
        !magic.contains(name) && (!starts(NO_FACTS) || starts(YET_FACTS))
    };
    // A name that nobody knows may be that of an interface.
    let subsets: BTreeSet<Subset> = facts
        .names
        .iter()
        .filter(|name| is_fact(name))
        .map(|name| of_fact(name).unwrap_or(Subset::Network))
        .collect();
    Some(subsets.into_iter().collect())
}

impl Run {
    /// Plays gather no facts but these, unless they say what to gather.
    #[must_use]
    pub fn reading(mut self, facts: &FactNames) -> Self {
        // What is kept for other runs has to be all.
        self.needed = needed(facts).filter(|_| !self.world.keeps_facts());
        self
    }
}

impl PlayRun {
    /// `Gathering Facts`. Clusters have none: they are left alone unless the play asks for it by name.
    pub(super) async fn gather(self: &Arc<Self>, hosts: Vec<Arc<str>>) -> Vec<Arc<str>> {
        if self.gather_facts == Some(false) {
            return hosts;
        }
        let (known, hosts) = match self.run.world.settings.gathering {
            // What is known already is not asked again.
            Gathering::Smart => hosts
                .into_iter()
                .partition(|host| self.run.world.host(host).is_gathered()),
            _ => (Vec::new(), hosts),
        };
        let task = Arc::new(self.gathering());
        let is_asked = self.gather_facts == Some(true);
        let (machines, mut others): (Vec<_>, Vec<_>) = hosts
            .into_iter()
            .partition(|host| is_asked || !self.is_cluster(host, &task));
        others.extend(known);
        if machines.is_empty() {
            return self.in_order(others.iter());
        }
        let tasks = [Item::Task(task)];
        let walked = self.items(&tasks, machines, Here::default()).await;
        if self.is_fatal() {
            self.mark_failed(&others);
            return Vec::new();
        }
        self.in_order(walked.ok.iter().chain(&others))
    }

    fn is_cluster(&self, host: &Arc<str>, task: &Arc<Task>) -> bool {
        let unit = Unit {
            run: Arc::clone(&self.run),
            task: Arc::clone(task),
            // It is shown nowhere.
            task_ref: TaskRef {
                id: 0,
                name: String::new(),
                action: task.action.clone(),
                place: None,
                handler: false,
            },
            scope: self.scope(host, task, &Here::default()),
            outer: None,
            caller: None,
            delegated_to: None,
            check: false,
            diff: false,
        };
        // What is wrong about its variables is told by the task.
        unit.wanted().is_ok_and(|wanted| {
            wanted.connection.trim_start_matches("ansible.builtin.") == "cluster"
        })
    }

    fn gathering(&self) -> Task {
        let play = &self.play;
        let mut keywords = play.keywords.clone();
        keywords.run_once = None;
        if keywords.tags.is_empty() {
            keywords.tags.push("always".to_owned());
        }
        let is_said = play.gather_options.contains_key("gather_subset");
        // What a playbook says of `setup` holds for this too.
        let module = if !keywords.module_defaults.is_empty() {
            erase(Setup)
        } else if is_said {
            erase(GatherFacts { needed: None })
        } else {
            erase(GatherFacts {
                needed: self.run.needed.clone(),
            })
        };
        let args = Arguments {
            named: play.gather_options.clone(),
            ..Arguments::default()
        };
        let task = Task::of_engine(
            Lazy::Data("Gathering Facts".into()),
            "gather_facts",
            Kind::Native(module),
            args,
            keywords,
            &play.span,
        );
        Task {
            dir: play.dir.clone(),
            action_span: play.hosts_span.clone(),
            ..task
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Option<Vec<Subset>> {
        needed(&FactNames {
            names: names.iter().map(ToString::to_string).collect(),
            is_open: false,
        })
    }

    #[test]
    fn only_subsets_of_named_facts_are_needed() {
        assert_eq!(of(&[]), Some(Vec::new()));
        assert_eq!(
            of(&[
                "ansible_host",
                "ansible_user",
                "ansible_loop_var",
                "ansible_play_hosts",
                "ansible_python_interpreter",
                "ansible_ssh_private_key_file",
            ]),
            Some(Vec::new())
        );
        assert_eq!(
            of(&["ansible_hostname", "kernel", "ansible_user_id"]),
            Some(vec![Subset::Platform, Subset::User])
        );
        assert_eq!(of(&["ansible_eth0"]), Some(vec![Subset::Network]));
        assert_eq!(of(&["ansible_python"]), Some(vec![Subset::Python]));
        assert_eq!(
            of(&["ansible_ssh_host_key_rsa_public"]),
            Some(vec![Subset::SshPubKeys])
        );
        assert_eq!(of(&["gather_subset"]), None);
        let open = FactNames {
            is_open: true,
            ..FactNames::default()
        };
        assert_eq!(needed(&open), None);
    }
}
