//! In: a list of tasks and blocks, and hosts. Out: which hosts came through, which failed. All hosts finish a task
//! before any starts on the next (the `linear` strategy).

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::task::JoinSet;

use super::Ended;
use super::attempt::Unit;
use super::include::Included;
use super::play::PlayRun;
use super::result::{Done, Request};
use super::unit::Ended as TaskEnd;
use crate::diagnostic::{Code, Diagnostic};
use crate::event::{EventKind, Place, Proof, Status, TaskRef};
use crate::playbook::{Builtin, Item, Kind, Task};
use crate::template::Lazy;
use crate::vars::{Layers, TaskScope, Vars};

/// Where a walk is.
#[derive(Clone, Default)]
pub(super) struct Here {
    /// Some block around has a rescue section that would catch a failure.
    pub(super) rescuable: bool,
    /// Parameters of the includes around.
    pub(super) parameters: Layers,
    /// Folders of the includes around, nearest first.
    pub(super) search_path: Vec<PathBuf>,
}

/// Hosts after some tasks. Unreachable and ended hosts are in neither list.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) ok: Vec<Arc<str>>,
    pub(super) failed: Vec<Arc<str>>,
    /// Done with the role around, but not with what follows it.
    pub(super) left: Vec<Arc<str>>,
}

/// Of some hosts that did something, only those stay that came out of it well.
pub(super) fn keep_well(hosts: &mut Vec<Arc<str>>, of: &[Arc<str>], well: &[Arc<str>]) {
    let of: HashSet<&Arc<str>> = of.iter().collect();
    let well: HashSet<&Arc<str>> = well.iter().collect();
    hosts.retain(|host| !of.contains(host) || well.contains(host));
}

/// How one host's end concerns the others.
#[derive(Clone, Copy)]
struct Rules {
    /// `run_once`: all have what the one got.
    once: bool,
    /// `any_errors_fatal`: one failure is everybody's.
    fatal: bool,
}

impl PlayRun {
    pub(super) fn items<'w>(
        self: &'w Arc<Self>,
        items: &'w [Item],
        hosts: Vec<Arc<str>>,
        here: Here,
    ) -> BoxFuture<'w, Walked> {
        Box::pin(async move {
            let mut walked = Walked {
                ok: hosts,
                ..Walked::default()
            };
            for item in items {
                if walked.ok.is_empty() || self.is_over() {
                    break;
                }
                let ok = std::mem::take(&mut walked.ok);
                let after = match item {
                    Item::Task(task) => self.task(task, ok, &here).await,
                    Item::Role(used) => self.role(used, ok, here.clone()).await,
                    Item::Block(block) => {
                        let inner = Here {
                            rescuable: here.rescuable || !block.rescue.is_empty(),
                            ..here.clone()
                        };
                        let mut after = self.items(&block.block, ok, inner).await;
                        if !block.rescue.is_empty() && !after.failed.is_empty() {
                            let failed = std::mem::take(&mut after.failed);
                            let rescued = self.items(&block.rescue, failed, here.clone()).await;
                            after.ok.extend(rescued.ok);
                            after.failed = rescued.failed;
                            after.left.extend(rescued.left);
                        }
                        if !block.always.is_empty() {
                            let hosts = self.in_order(after.ok.iter().chain(&after.failed));
                            let always = self.items(&block.always, hosts, here.clone()).await;
                            let failed_before = std::mem::take(&mut after.failed);
                            after.left.extend(always.left);
                            after.ok = always
                                .ok
                                .into_iter()
                                .filter(|host| !failed_before.contains(host))
                                .collect();
                            after.failed = failed_before;
                            for host in always.failed {
                                if !after.failed.contains(&host) {
                                    after.failed.push(host);
                                }
                            }
                        }
                        after.ok = self.in_order(after.ok.iter());
                        after
                    }
                };
                walked.ok = after.ok;
                walked.failed.extend(after.failed);
                walked.left.extend(after.left);
            }
            walked
        })
    }

    /// Runs a task on all hosts.
    pub(super) async fn task(
        self: &Arc<Self>,
        task: &Arc<Task>,
        hosts: Vec<Arc<str>>,
        here: &Here,
    ) -> Walked {
        if !task.is_handler && !self.selection.selects(&task.keywords.tags) {
            return Walked {
                ok: hosts,
                ..Walked::default()
            };
        }
        if self.run.cancel.is_cancelled() {
            return Walked {
                ok: hosts,
                ..Walked::default()
            };
        }
        let Some(first) = hosts.first().cloned() else {
            return Walked::default();
        };
        let scope = self.scope(&first, task, here);
        let task_ref = self.task_ref(task, &scope);
        let is_meta = matches!(task.kind, Kind::Builtin(Builtin::Meta));
        if !task.is_handler && !self.is_reached(&task_ref)
            || !is_meta && !self.is_wanted(&task_ref, &first).await
        {
            return Walked {
                ok: hosts,
                ..Walked::default()
            };
        }
        self.run.bus.emit(EventKind::TaskStarted {
            task: task_ref.clone(),
        });
        let unit = |host: &Arc<str>| Unit {
            run: Arc::clone(&self.run),
            task: Arc::clone(task),
            task_ref: task_ref.clone(),
            scope: self.scope(host, task, here),
            outer: None,
            caller: None,
            delegated_to: None,
            check: self.run.world.settings.check,
            diff: self.run.world.settings.diff,
        };
        let once = unit(&first)
            .flag(task.keywords.run_once.as_ref())
            .unwrap_or(None)
            .unwrap_or(false)
            || matches!(task.kind, Kind::Builtin(Builtin::AddHost | Builtin::Pause));
        let throttle = unit(&first)
            .text(task.keywords.throttle.as_ref())
            .ok()
            .flatten()
            .and_then(|text| text.parse::<usize>().ok())
            .filter(|limit| *limit > 0);
        // Groups get their hosts in the order of the hosts.
        let throttle = if matches!(task.kind, Kind::Builtin(Builtin::GroupBy)) {
            Some(1)
        } else {
            throttle
        };
        let forks = self
            .run
            .world
            .settings
            .forks
            .max(1)
            .min(throttle.unwrap_or(usize::MAX));
        let fatal = super::play::flag_of(&unit(&first), task.keywords.any_errors_fatal.as_ref());
        let chosen: Vec<Arc<str>> = if once { vec![first] } else { hosts.clone() };
        let mut waiting = chosen.into_iter();
        let mut running = JoinSet::new();
        let mut ends: HashMap<Arc<str>, TaskEnd> = HashMap::new();
        loop {
            while running.len() < forks {
                let Some(host) = waiting.next() else { break };
                let mut unit = unit(&host);
                if !is_meta {
                    self.run.bus.emit(EventKind::HostStarted {
                        task: task_ref.clone(),
                        host: host.to_string(),
                    });
                }
                let rescuable = here.rescuable;
                running.spawn(async move {
                    let ended = unit.run(rescuable).await;
                    (host, unit, ended)
                });
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            match ended {
                Ok((host, unit, ended)) => {
                    self.finish(&unit, &ended, here, is_meta);
                    ends.insert(host, ended);
                }
                // A panic in a module is a bug; the host is treated as failed and the others go on.
                Err(problem) => self.run.bus.emit(EventKind::Warning {
                    message: format!("a bug in layerplay: {problem}"),
                }),
            }
        }
        self.settle(task, &task_ref, hosts, ends, Rules { once, fatal }, here)
            .await
    }

    /// The folders of a task: its own file's, the includes' around, the playbook's.
    pub(super) fn scope(&self, host: &Arc<str>, task: &Task, here: &Here) -> TaskScope {
        let mut scope = TaskScope::new(
            &self.run.world,
            Some(Arc::clone(&self.context)),
            &self.run.world.host(host),
        );
        scope.play_vars = self.play_vars(host);
        self.with_roles(&mut scope, task.role.as_ref());
        scope.task_vars.clone_from(&task.keywords.vars);
        scope.parameters.extend(here.parameters.iter().cloned());
        if !scope.search_path.contains(&task.dir) {
            scope.search_path.push(task.dir.clone());
        }
        for dir in here.search_path.iter().chain([&self.context.dir]) {
            if !scope.search_path.contains(dir) {
                scope.search_path.push(dir.clone());
            }
        }
        scope
    }

    pub(super) fn task_ref(&self, task: &Task, scope: &TaskScope) -> TaskRef {
        let templar = &self.run.world.templar;
        let name = match &task.name {
            // As ansible-playbook calls it.
            None if matches!(task.kind, Kind::Builtin(Builtin::IncludeRole)) => {
                let role = ["name", "role"]
                    .iter()
                    .find_map(|name| task.args.named.get(*name));
                let role = role.and_then(|lazy| templar.evaluate(lazy, &scope.share()).ok());
                let role = role.map(|role| role.to_string()).unwrap_or_default();
                format!("{} : {role}", task.action)
            }
            None => task.action.clone(),
            Some(lazy) => {
                let of_handler = task.is_handler.then(|| self.handler_name(task)).flatten();
                of_handler.unwrap_or_else(|| {
                    templar.evaluate(lazy, &scope.share()).map_or_else(
                        |_| task.plain_name().unwrap_or_default(),
                        |value| value.to_string(),
                    )
                })
            }
        };
        let is_include =
            task.name.is_none() && matches!(task.kind, Kind::Builtin(Builtin::IncludeRole));
        let name = match &task.role {
            Some(role) if !is_include => format!("{} : {name}", role.name),
            _ => name,
        };
        let (line, column) = task.span.line_column();
        TaskRef {
            id: self.run.next_task(),
            name,
            action: task.action.clone(),
            place: Some(Place {
                file: task.span.path().display().to_string(),
                line,
                column,
            }),
            handler: task.is_handler,
        }
    }

    /// What follows from one host's end at once: counters, events, registered names, notifications.
    pub(super) fn finish(&self, unit: &Unit, ended: &TaskEnd, here: &Here, is_meta: bool) {
        let done = &ended.done;
        let host = &unit.scope.host;
        let status = done.status();
        let is_bad = matches!(status, Status::Failed | Status::Unreachable);
        let rescued = status == Status::Failed && here.rescuable && !ended.ignored;
        if let Some(name) = unit.task.register.as_ref().filter(|_| !is_meta) {
            let value: Vars = Vars::from([(Arc::clone(name), Lazy::Data(done.value()))]);
            if super::play::flag_of(unit, unit.task.keywords.run_once.as_ref()) {
                for other in self.batch() {
                    self.run.world.host(&other).add_set(value.clone());
                }
            } else {
                host.add_set(value);
            }
        }
        if is_meta && !is_bad {
            // Said, and not counted.
            if status == Status::Skipped {
                self.run.bus.emit(EventKind::TaskDone {
                    task: unit.task_ref.clone(),
                    result: unit.shown(done, None, ended.no_log, false, false, ended.seconds),
                    items: ended.items,
                });
            }
            return;
        }
        if let (Some(role), false) = (&unit.task.role, status == Status::Skipped) {
            self.role_ran(role, &host.name);
        }
        let includes = done
            .requests
            .iter()
            .any(|request| matches!(request, Request::Include { .. }));
        if !includes {
            self.run
                .bus
                .count(&host.name, status, ended.ignored, rescued);
            if is_bad && ended.ignored && done.changed {
                self.run.bus.count_changed(&host.name);
            }
            self.run.bus.emit(EventKind::TaskDone {
                task: unit.task_ref.clone(),
                result: unit.shown(
                    done,
                    None,
                    ended.no_log,
                    ended.ignored,
                    rescued,
                    ended.seconds,
                ),
                items: ended.items,
            });
        }
        if rescued {
            let task = unit.failed_task();
            host.add_set([
                (Arc::from("ansible_failed_result"), Lazy::Data(done.value())),
                (
                    Arc::from("ansible_failed_task"),
                    Lazy::Data(super::result::from_json(&task)),
                ),
            ]);
        }
        self.notify(&host.name, &ended.notify);
        if !is_bad && !unit.check {
            self.prove(unit, done, ended.seconds);
        }
    }

    /// A result that says what was read from every node of a pool is a proof.
    fn prove(&self, unit: &Unit, done: &Done, seconds: f64) {
        let text = |key: &str| done.result.get(key).and_then(Value::as_str);
        let (Some(pool), Some(image)) = (text("pool"), text("image")) else {
            return;
        };
        let Some(nodes) = done
            .result
            .get("nodes")
            .and_then(Value::as_array)
            .filter(|nodes| !nodes.is_empty())
        else {
            return;
        };
        let Some((_, digest)) = image.split_once('@') else {
            return;
        };
        let is_proven = |node: &Value| {
            let booted = node["booted"].as_str().unwrap_or_default();
            node["proof"]
                .as_str()
                .is_some_and(|proof| !proof.is_empty())
                && (booted == digest || booted.ends_with(&format!("@{digest}")))
        };
        if !nodes.iter().all(is_proven) {
            return;
        }
        let cluster = unit
            .delegated_to
            .clone()
            .unwrap_or_else(|| unit.scope.host.name.to_string());
        self.run.bus.emit(EventKind::Proven {
            proof: Proof {
                stage: self.context.stage.clone(),
                cluster,
                pool: pool.to_owned(),
                image: image.to_owned(),
                digest: digest.to_owned(),
                nodes: nodes
                    .iter()
                    .filter_map(|node| Some(node["name"].as_str()?.to_owned()))
                    .collect(),
                seconds,
            },
        });
    }

    /// `meta: refresh_inventory`: the sources are read again; hosts that only this run knew are gone. Once for all hosts.
    fn refresh_inventory(&self) {
        let world = &self.run.world;
        let loaded = crate::inventory::load(&world.inventory_sources(), world.templar.reader());
        if loaded.problems.has_errors() {
            for problem in &loaded.problems.0 {
                self.run.bus.emit(EventKind::Warning {
                    message: format!("the inventory stays as it was: {}", problem.message),
                });
            }
        } else {
            world.change_inventory(|inventory| *inventory = loaded.inventory);
        }
    }

    /// What follows once all hosts are done with the task: who goes on, includes, meta.
    async fn settle(
        self: &Arc<Self>,
        task: &Arc<Task>,
        task_ref: &TaskRef,
        hosts: Vec<Arc<str>>,
        ends: HashMap<Arc<str>, TaskEnd>,
        rules: Rules,
        here: &Here,
    ) -> Walked {
        let mut walked = Walked::default();
        let mut includes: Vec<Included> = Vec::new();
        let (mut any_failed, mut any_lost) = (false, false);
        let (mut flush, mut refresh, mut ended_hosts) = (Vec::new(), false, Vec::new());
        let once_failed = rules.once
            && ends
                .values()
                .any(|ended| ended.done.failed && !ended.ignored);
        for host in hosts {
            let Some(ended) = ends.get(&host) else {
                if once_failed {
                    walked.failed.push(host);
                } else {
                    walked.ok.push(host);
                }
                continue;
            };
            for request in &ended.done.requests {
                match request {
                    Request::Include {
                        file,
                        role,
                        parameters,
                        item,
                        apply,
                    } => {
                        let own = |known: &&mut Included| {
                            known.file == *file
                                && known.role == *role
                                && known.item == *item
                                && !known.hosts.contains(&host)
                                && super::play::same(&known.parameters, parameters)
                        };
                        match includes.iter_mut().find(own) {
                            Some(known) => known.hosts.push(Arc::clone(&host)),
                            None => includes.push(Included {
                                file: file.clone(),
                                role: role.clone(),
                                parameters: parameters.clone(),
                                item: item.clone(),
                                apply: apply.clone(),
                                hosts: vec![Arc::clone(&host)],
                            }),
                        }
                    }
                    Request::FlushHandlers => flush.push(Arc::clone(&host)),
                    Request::RefreshInventory => refresh = true,
                    Request::ClearHostErrors => self.run.forgive(),
                    Request::EndPlay => self.end(false),
                    Request::EndBatch => self.end(true),
                    Request::EndHost => ended_hosts.push(Arc::clone(&host)),
                    Request::EndRole if task.role.is_some() => {
                        walked.left.push(Arc::clone(&host));
                    }
                    Request::EndRole => self.stop(
                        Ended::Error,
                        Diagnostic::error(
                            Code::WRONG_SHAPE,
                            "cannot execute 'end_role' from outside of a role",
                        )
                        .at(&task.span, ""),
                    ),
                    Request::Stop(why) => self.stop(
                        Ended::Error,
                        Diagnostic::error(Code::WRONG_SHAPE, why.clone()).at(&task.span, ""),
                    ),
                }
            }
            if ended.done.unreachable && !ended.ignored {
                any_lost = true;
                self.drop_host(&host, true);
            } else if ended.done.failed && !ended.ignored {
                any_failed = true;
                walked.failed.push(host);
            } else if ended_hosts.contains(&host) {
                self.drop_host(&host, false);
            } else if !walked.left.contains(&host) {
                walked.ok.push(host);
            }
        }
        if once_failed {
            walked.failed.append(&mut walked.ok);
        }
        if (any_failed || any_lost) && rules.fatal {
            walked.failed.append(&mut walked.ok);
            self.make_fatal();
        }
        if !here.rescuable {
            self.mark_failed(&walked.failed);
            if any_failed && self.too_many_failed() {
                self.mark_failed(&walked.ok);
                walked.failed.append(&mut walked.ok);
            }
        }
        if refresh {
            self.refresh_inventory();
        }
        let well: HashSet<&Arc<str>> = walked.ok.iter().collect();
        flush.retain(|host| well.contains(host));
        if !flush.is_empty() {
            let after = Box::pin(self.flush_handlers(flush.clone(), here.rescuable)).await;
            keep_well(&mut walked.ok, &flush, &after.ok);
            walked.failed.extend(after.failed);
        }
        // All files are opened before the tasks of the first run.
        let opened: Vec<_> = includes
            .into_iter()
            .filter_map(|include| self.open_include(task, task_ref, include, here, &mut walked))
            .collect();
        for include in opened {
            self.include(include, here, &mut walked).await;
        }
        walked
    }
}
