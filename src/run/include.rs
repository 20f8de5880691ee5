//! `include_tasks`, `include_role`. In: the hosts that asked for a file or a role with the same parameters. Out: its tasks, run on them below the
//! include's keywords.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::attempt::Unit;
use super::play::PlayRun;
use super::result::Done;
use super::unit::Ended;
use super::walk::{Here, Walked, keep_well};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::event::{EventKind, Status, TaskRef};
use crate::playbook::{Item, Keywords, RoleWish, Task, lower_included, lower_role};
use crate::template::Lazy;
use crate::vars::{Layers, Vars};

/// An include whose file was read.
pub(super) struct Opened {
    include: Included,
    items: Vec<Item>,
    hosts: Vec<Arc<str>>,
}

/// Hosts that asked for the same file with the same parameters.
pub(super) struct Included {
    pub(super) file: PathBuf,
    pub(super) role: Option<Box<RoleWish>>,
    pub(super) parameters: Layers,
    pub(super) item: Option<String>,
    pub(super) apply: Option<Map<String, Value>>,
    pub(super) hosts: Vec<Arc<str>>,
}

impl PlayRun {
    /// Reads what the hosts asked for. A file or role that is not there is their failure; one with a mistake in it ends
    /// the run.
    pub(super) fn open_include(
        self: &Arc<Self>,
        task: &Arc<Task>,
        task_ref: &TaskRef,
        include: Included,
        here: &Here,
        walked: &mut Walked,
    ) -> Option<Opened> {
        let well: HashSet<&Arc<str>> = walked.ok.iter().collect();
        let hosts = include.hosts.iter().filter(|host| well.contains(host));
        let hosts: Vec<Arc<str>> = hosts.cloned().collect();
        if hosts.is_empty() {
            return None;
        }
        let mut parent = task.around.as_deref().cloned().unwrap_or_default();
        apply(&mut parent, include.apply.as_ref());
        let items = match self.open(task, &include, &parent) {
            Ok(items) => items,
            Err(problems) if !is_hosts_failure(&problems) => {
                self.stop(super::Ended::Mistake, problems);
                return None;
            }
            Err(problems) => {
                let text: Vec<String> = problems
                    .0
                    .iter()
                    .map(|problem| crate::diagnostic::draw(problem, false))
                    .collect();
                let mut done = Done::failed(
                    problems
                        .0
                        .first()
                        .map(|problem| problem.message.clone())
                        .unwrap_or_default(),
                );
                done.diagnostic = Some(text.join("\n"));
                for host in &hosts {
                    let unit = Unit {
                        run: Arc::clone(&self.run),
                        task: Arc::clone(task),
                        task_ref: task_ref.clone(),
                        scope: self.scope(host, task, here),
                        outer: None,
                        caller: None,
                        delegated_to: None,
                        check: false,
                        diff: false,
                    };
                    let ended = Ended {
                        done: done.clone(),
                        ignored: false,
                        no_log: false,
                        notify: Vec::new(),
                        items: None,
                        seconds: 0.0,
                    };
                    self.finish(&unit, &ended, here, false);
                }
                keep_well(&mut walked.ok, &hosts, &[]);
                if !here.rescuable {
                    self.mark_failed(&hosts);
                }
                walked.failed.extend(hosts);
                return None;
            }
        };
        self.run.bus.emit(EventKind::Included {
            task: task_ref.clone(),
            file: include.file.display().to_string(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            item: include.item.clone(),
        });
        for host in &hosts {
            self.run.bus.count(host, Status::Ok, false, false);
        }
        Some(Opened {
            include,
            items,
            hosts,
        })
    }

    /// Runs what an include brought.
    pub(super) async fn include(
        self: &Arc<Self>,
        opened: Opened,
        here: &Here,
        walked: &mut Walked,
    ) {
        let Opened {
            include,
            items,
            mut hosts,
        } = opened;
        let well: HashSet<&Arc<str>> = walked.ok.iter().collect();
        hosts.retain(|host| well.contains(host));
        if hosts.is_empty() || self.is_over() {
            return;
        }
        let mut search_path: Vec<PathBuf> = match &include.role {
            Some(_) => Vec::new(),
            None => vec![include.file.parent().map(PathBuf::from).unwrap_or_default()],
        };
        search_path.extend(here.search_path.iter().cloned());
        let inner = Here {
            rescuable: here.rescuable,
            parameters: include.parameters,
            search_path,
        };
        let after = self.items(&items, hosts.clone(), inner).await;
        keep_well(&mut walked.ok, &hosts, &after.ok);
        walked.failed.extend(after.failed);
        walked.left.extend(after.left);
    }
}

/// Whether an include fails for its hosts only: what it names is not there, or holds no tasks.
fn is_hosts_failure(problems: &Diagnostics) -> bool {
    problems.0.first().is_some_and(|first| {
        first.code == Code::UNREADABLE
            || first.message.starts_with("the role '")
            || first.message.starts_with("expected a list of tasks")
    })
}

impl PlayRun {
    /// The tasks that an include brings; of a role also its handlers, and its variables when it is public.
    fn open(
        &self,
        task: &Task,
        include: &Included,
        parent: &Keywords,
    ) -> Result<Vec<Item>, Diagnostics> {
        let (base, around) = (&self.context.dir, task.role.as_ref());
        let catalogue = &self.run.catalogue;
        let (items, problems) = if let Some(wish) = &include.role {
            let (role, problems) = lower_role(wish, catalogue, base, around, parent, &task.span);
            if !problems.has_errors() {
                self.take_in(role.handlers, role.public);
            }
            (role.items, problems)
        } else {
            let file = catalogue.reader.read(&include.file).map_err(|_| {
                let path = include.file.display();
                Diagnostic::error(
                    Code::UNREADABLE,
                    format!("Could not find or access '{path}' on the Ansible Controller."),
                )
            })?;
            lower_included(&file, catalogue, parent, task.is_handler, base, around)
        };
        if problems.has_errors() {
            Err(problems)
        } else {
            Ok(items)
        }
    }
}

/// `apply:` of an include: keywords for every task of the file.
fn apply(parent: &mut Keywords, apply: Option<&Map<String, Value>>) {
    for (key, value) in apply.into_iter().flatten() {
        let lazy = Lazy::Data(super::result::from_json(&value));
        match key.as_str() {
            "tags" => parent.tags.extend(match value {
                Value::Array(tags) => tags
                    .iter()
                    .filter_map(|tag| tag.as_str().map(ToOwned::to_owned))
                    .collect(),
                Value::String(text) => text
                    .split(',')
                    .map(|tag| tag.trim().to_owned())
                    .collect::<Vec<_>>(),
                _ => Vec::new(),
            }),
            "become" => parent.become_ = Some(lazy),
            "become_user" => parent.become_user = Some(lazy),
            "ignore_errors" => parent.ignore_errors = Some(lazy),
            "no_log" => parent.no_log = Some(lazy),
            "delegate_to" => parent.delegate_to = Some(lazy),
            "check_mode" => parent.check_mode = Some(lazy),
            "environment" => parent.environment.push(lazy),
            "when" => parent.when.extend(match value {
                Value::Array(items) => items
                    .iter()
                    .filter_map(|item| Some(super::unit::condition(item.as_str()?)))
                    .collect(),
                Value::String(text) => vec![super::unit::condition(text)],
                Value::Bool(value) => vec![crate::template::Condition::Bool(*value)],
                _ => Vec::new(),
            }),
            "vars" => {
                if let Some(vars) = value.as_object() {
                    let vars: Vars = vars
                        .iter()
                        .map(|(name, value)| {
                            (
                                Arc::from(name.as_str()),
                                Lazy::Data(super::result::from_json(&value)),
                            )
                        })
                        .collect();
                    parent.vars.push(Arc::new(vars));
                }
            }
            _ => {}
        }
    }
}
