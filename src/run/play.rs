//! In: plays. Out: their batches run, section by section, with handlers and gates.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use futures_util::stream::{self, StreamExt};
use indexmap::{IndexMap, IndexSet};

use super::attempt::Unit;
use super::handlers::Names;
use super::result::to_json;
use super::roles::Roles;
use super::walk::Here;
use super::{Ended, Run};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::event::{EventKind, Place};
use crate::inventory::split_pattern;
use crate::plan::{BatchSize, Selection, batches};
use crate::playbook::{Item, Play, Playbook, Strategy, Task, yes_or_no};
use crate::promote::StageRecord;
use crate::template::{Lazy, TemplateErrorKind};
use crate::vars::{Gathering, Layers, PlayContext, TaskScope, Vars, load_path};

/// One play on one batch.
pub(super) struct PlayRun {
    pub(super) run: Arc<Run>,
    pub(super) play: Arc<Play>,
    pub(super) context: Arc<PlayContext>,
    pub(super) selection: Selection,
    pub(super) order: Vec<Arc<str>>,
    /// `None` when the play does not say it.
    pub(super) gather_facts: Option<bool>,
    /// What the person at the terminal said.
    answers: Arc<Vars>,
    vars: HashMap<Arc<str>, Layers>,
    pub(super) notified: Mutex<HashMap<Arc<str>, IndexSet<usize>>>,
    failed: Mutex<HashSet<Arc<str>>>,
    max_fail: Option<f64>,
    over: AtomicBool,
    play_over: AtomicBool,
    fatal: AtomicBool,
    over_limit: AtomicBool,
    /// Why the run cannot go on.
    stopped: Mutex<Option<(Ended, Diagnostics)>>,
    pub(super) handler_names: Names,
    /// Those of the play, then those of roles that were included.
    pub(super) handlers: RwLock<Vec<Arc<Task>>>,
    pub(super) roles: Roles,
}

/// All plays of all playbooks.
pub(super) async fn all(run: &Arc<Run>, playbooks: &[Playbook]) -> (Ended, Diagnostics) {
    let mut stages: IndexMap<String, StageRecord> = IndexMap::new();
    for playbook in playbooks {
        run.bus.emit(EventKind::PlaybookStarted {
            file: playbook.file.path.display().to_string(),
        });
        for play in &playbook.plays {
            if run.cancel.is_cancelled() {
                return (Ended::Interrupted, Diagnostics::default());
            }
            match one(run, &Arc::new(play.clone()), &mut stages).await {
                Ok(true) => {}
                Ok(false) => return (verdict(run), Diagnostics::default()),
                Err(Stop::Problems(ended, problems)) => return (ended, problems),
                Err(Stop::Held) => return (Ended::HeldAtGate, Diagnostics::default()),
            }
        }
    }
    (verdict(run), Diagnostics::default())
}

pub(super) enum Stop {
    Problems(Ended, Diagnostics),
    Held,
}

impl From<Diagnostic> for Stop {
    fn from(problem: Diagnostic) -> Self {
        Self::Problems(Ended::Error, problem.into())
    }
}

fn verdict(run: &Run) -> Ended {
    let is_empty =
        |lock: &Mutex<HashSet<Arc<str>>>| lock.lock().is_ok_and(|hosts| hosts.is_empty());
    if run.cancel.is_cancelled() {
        Ended::Interrupted
    } else if run.unreachable.lock().is_ok_and(|hosts| !hosts.is_empty()) {
        Ended::Unreachable
    } else if is_empty(&run.lost) {
        Ended::Ok
    } else {
        Ended::HostFailed
    }
}

/// `false` when no later play may run.
async fn one(
    run: &Arc<Run>,
    play: &Arc<Play>,
    stages: &mut IndexMap<String, StageRecord>,
) -> Result<bool, Stop> {
    run.world
        .prepare(&play.dir)
        .map_err(|problems| Stop::Problems(Ended::Error, problems))?;
    let nobody = run.world.host("localhost");
    let mut context = PlayContext {
        dir: play.dir.clone(),
        roles: role_names(play),
        dependencies: dependencies(play),
        stage: play.stage.as_ref().map(|stage| stage.name.clone()),
        ..PlayContext::default()
    };
    let mut scope = TaskScope::new(
        &run.world,
        Some(Arc::new(PlayContext {
            dir: play.dir.clone(),
            ..PlayContext::default()
        })),
        &nobody,
    );
    scope.play_vars = vec![Arc::clone(&play.vars)];
    let templar = &run.world.templar;
    let evaluate = |lazy: &Lazy| {
        templar
            .evaluate(lazy, &scope.share())
            .map_err(|problem| Stop::from(problem.to_diagnostic()))
    };
    let pattern = match to_json(&evaluate(&play.hosts)?) {
        serde_json::Value::Array(patterns) => patterns
            .iter()
            .flat_map(|pattern| split_pattern(pattern.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(","),
        other => other
            .as_str()
            .map_or_else(|| other.to_string(), ToOwned::to_owned),
    };
    context.name = match &play.name {
        Some(name) => templar
            .evaluate(name, &scope.share())
            .map_or_else(|_| pattern.clone(), |name| name.to_string()),
        None => pattern.clone(),
    };
    let bad_pattern = |problem: crate::inventory::PatternError| {
        Stop::from(Diagnostic::error(Code::UNKNOWN_HOST, problem.message).at(&play.hosts_span, ""))
    };
    let (mut hosts, unmatched) = run.world.select(&pattern).map_err(bad_pattern)?;
    for name in unmatched
        .iter()
        .filter(|_| !run.world.host_names().is_empty())
    {
        let near = run
            .world
            .inventory(|inventory| inventory.nearest_name(name).map(ToOwned::to_owned));
        let hint = near
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        run.bus.emit(EventKind::Warning {
            message: format!("Could not match supplied host pattern, ignoring: {name}{hint}"),
        });
    }
    // All hosts of a stage count at the next gate, also those that `--limit` or an earlier failure keeps out of it.
    if let Some(stage) = &play.stage {
        let record = stages
            .entry(stage.name.clone())
            .or_insert_with(|| StageRecord {
                name: stage.name.clone(),
                ..StageRecord::default()
            });
        for host in &hosts {
            if !record.hosts.iter().any(|known| **known == **host) {
                record.hosts.push(host.to_string());
            }
        }
    }
    if let Some(limit) = &run.limit {
        let (allowed, _) = run.world.select(limit).map_err(bad_pattern)?;
        hosts.retain(|host| allowed.contains(host));
    }
    if hosts.is_empty() {
        run.bus.emit(EventKind::NoHosts { play: context.name });
        return Ok(true);
    }
    context.all_hosts.clone_from(&hosts);
    hosts.retain(|host| !run.is_lost(host));
    if hosts.is_empty() {
        return Ok(false);
    }
    order(&mut hosts, play.order.as_deref());
    let sizes = match &play.serial {
        None => Vec::new(),
        Some(lazy) => {
            let items = match to_json(&evaluate(lazy)?) {
                serde_json::Value::Array(items) => items,
                one => vec![one],
            };
            let parse =
                |item: &serde_json::Value| BatchSize::parse(item.to_string().trim_matches('"'));
            items
                .iter()
                .map(|item| {
                    parse(item).ok_or_else(|| {
                        Stop::from(
                            Diagnostic::error(
                                Code::WRONG_SHAPE,
                                format!("`serial: {item}` is no number of hosts"),
                            )
                            .at(&play.span, "")
                            .help("write `2`, `\"30%\"`, or a list of these"),
                        )
                    })
                })
                .collect::<Result<_, _>>()?
        }
    };
    let max_fail = match &play.max_fail_percentage {
        None => None,
        Some(lazy) => {
            let value = evaluate(lazy)?.to_string();
            let percent = value.trim_end_matches('%').trim().parse::<f64>();
            Some(percent.map_err(|_| {
                let message = format!("`max_fail_percentage: {value}` is no number");
                Stop::from(Diagnostic::error(Code::WRONG_SHAPE, message).at(&play.span, ""))
            })?)
        }
    };
    let gather_facts = match &play.gather_facts {
        None if run.world.settings.gathering == Gathering::Explicit => Some(false),
        None => None,
        Some(lazy) => {
            let text = evaluate(lazy)?.to_string();
            let message = || format!("`gather_facts` is yes or no, not `{text}`");
            Some(yes_or_no(&text).ok_or_else(|| {
                Stop::from(Diagnostic::error(Code::WRONG_SHAPE, message()).at(&play.span, ""))
            })?)
        }
    };
    let groups = batches(&hosts, &sizes);
    let count = groups.len();
    let mut opened = IndexSet::new();
    let answers = Arc::new(super::prompts::ask(run, play).await?);
    for (index, batch) in groups.into_iter().enumerate() {
        if run.cancel.is_cancelled() {
            return Ok(false);
        }
        let mut shared = PlayContext {
            name: context.name.clone(),
            dir: context.dir.clone(),
            roles: context.roles.clone(),
            dependencies: context.dependencies.clone(),
            stage: context.stage.clone(),
            all_hosts: context.all_hosts.clone(),
            ..PlayContext::default()
        };
        // What playbooks read is in the inventory's order, whatever `order` says.
        let known = |wanted: &[Arc<str>]| {
            let wanted: HashSet<&Arc<str>> = wanted.iter().collect();
            let all = context.all_hosts.iter();
            all.filter(|host| wanted.contains(host) && !run.is_lost(host))
                .cloned()
                .collect()
        };
        shared.alive = RwLock::new(known(&hosts));
        shared.batch = RwLock::new(known(&batch));
        let (line, column) = play.span.line_column();
        run.bus.emit(EventKind::PlayStarted {
            name: shared.name.clone(),
            hosts: batch.iter().map(ToString::to_string).collect(),
            stage: shared.stage.clone(),
            batch: index + 1,
            batches: count,
            place: Some(Place {
                file: play.span.path().display().to_string(),
                line,
                column,
            }),
        });
        let mut playing = PlayRun {
            run: Arc::clone(run),
            play: Arc::clone(play),
            context: Arc::new(shared),
            selection: Selection {
                tags: run.world.settings.tags.clone(),
                skip: run.world.settings.skip_tags.clone(),
            },
            order: batch.clone(),
            gather_facts,
            answers: Arc::clone(&answers),
            vars: HashMap::new(),
            notified: Mutex::default(),
            failed: Mutex::default(),
            max_fail,
            over: AtomicBool::new(false),
            play_over: AtomicBool::new(false),
            fatal: AtomicBool::new(false),
            over_limit: AtomicBool::new(false),
            stopped: Mutex::default(),
            handler_names: Names::default(),
            handlers: RwLock::new(play.handlers.clone()),
            roles: Roles::of(play),
        };
        playing.load_vars_files()?;
        playing.gate(stages, &mut opened)?;
        let playing = Arc::new(playing);
        playing.sections(batch.clone()).await;
        let failed = playing.failed_hosts();
        if let (Some(stage), false) = (&play.stage, failed.is_empty())
            && let Some(record) = stages.get_mut(&stage.name)
        {
            record.failed.extend(failed.iter().map(ToString::to_string));
        }
        if let Some((ended, problems)) = playing.stopped.lock().ok().and_then(|mut why| why.take())
        {
            return Err(Stop::Problems(ended, problems));
        }
        let all_failed = !batch.is_empty() && batch.iter().all(|host| run.is_lost(host));
        if all_failed || playing.fatal.load(Ordering::Relaxed) {
            run.bus.emit(EventKind::NoMoreHosts {
                over_limit: playing.over_limit.load(Ordering::Relaxed),
            });
            return Ok(false);
        }
        if playing.play_over.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(true)
}

/// The roles of the list, and those that tasks import.
fn role_names(play: &Play) -> Vec<String> {
    let public = play.public_roles.iter();
    let direct = public.filter(|role| role.parents.is_empty());
    let names: IndexSet<String> = direct.map(|role| role.name.clone()).collect();
    names.into_iter().collect()
}

/// The roles that those depend on.
fn dependencies(play: &Play) -> Vec<String> {
    let public = play.public_roles.iter();
    let below = public.filter(|role| !role.parents.is_empty());
    let names: IndexSet<String> = below.map(|role| role.name.clone()).collect();
    names.into_iter().collect()
}

fn order(hosts: &mut Vec<Arc<str>>, order: Option<&str>) {
    match order {
        Some("sorted") => hosts.sort(),
        Some("reverse_sorted") => {
            hosts.sort();
            hosts.reverse();
        }
        Some("reverse_inventory") => hosts.reverse(),
        // A random order that needs no randomness of ours: that of a randomly seeded map.
        Some("shuffle") => {
            *hosts = hosts
                .drain(..)
                .collect::<HashSet<_>>()
                .into_iter()
                .collect();
        }
        _ => {}
    }
}

impl PlayRun {
    async fn sections(self: &Arc<Self>, hosts: Vec<Arc<str>>) {
        match self.play.strategy {
            Strategy::Linear => self.through(hosts).await,
            // Each host by itself, as many at once as there are forks.
            Strategy::Free => {
                let forks = self.run.world.settings.forks.max(1);
                stream::iter(hosts)
                    .for_each_concurrent(forks, |host| self.through(vec![host]))
                    .await;
            }
        }
    }

    /// All sections, one after another.
    async fn through(self: &Arc<Self>, hosts: Vec<Arc<str>>) {
        let mut alive = self.gather(hosts).await;
        let sections: [&[&[Item]]; 3] = [
            &[&self.play.pre_tasks],
            &[&self.play.roles, &self.play.tasks],
            &[&self.play.post_tasks],
        ];
        for section in sections {
            for items in section.iter().filter(|items| !items.is_empty()) {
                alive = self.items(items, alive, Here::default()).await.ok;
            }
            alive = self.flush_handlers(alive, false).await.ok;
        }
    }

    /// Each host's `vars_files`; of a list of names the first that exists is taken.
    fn load_vars_files(&mut self) -> Result<(), Stop> {
        if self.play.vars_files.is_empty() {
            return Ok(());
        }
        for host in self.order.clone() {
            let mut layers = Layers::new();
            for lazy in &self.play.vars_files {
                let mut scope = TaskScope::new(
                    &self.run.world,
                    Some(Arc::clone(&self.context)),
                    &self.run.world.host(&host),
                );
                scope.play_vars = std::iter::once(Arc::clone(&self.play.vars))
                    .chain(layers.iter().cloned())
                    .collect();
                let value = match self.run.world.templar.evaluate(lazy, &scope.share()) {
                    Ok(value) => value,
                    Err(problem) if problem.kind == TemplateErrorKind::Undefined => {
                        let why = &problem.message;
                        self.run.bus.emit(EventKind::Warning {
                            message: format!(
                                "skipping vars_files item due to an undefined variable: {why}"
                            ),
                        });
                        continue;
                    }
                    Err(problem) => return Err(Stop::from(problem.to_diagnostic())),
                };
                let names = match to_json(&value) {
                    serde_json::Value::Array(names) => names
                        .iter()
                        .filter_map(|name| name.as_str().map(ToOwned::to_owned))
                        .collect(),
                    one => vec![one.as_str().unwrap_or_default().to_owned()],
                };
                let found = names
                    .iter()
                    .flat_map(|name| {
                        [
                            self.play.dir.join(name),
                            self.play.dir.join("vars").join(name),
                        ]
                    })
                    .find(|path| path.exists());
                // As ansible-core 2.19, which passes over them in silence.
                let Some(path) = found else {
                    let names = names.join(" or ");
                    self.run.bus.emit(EventKind::Warning {
                        message: format!("vars file {names} was not found for {host}"),
                    });
                    continue;
                };
                layers.push(Arc::new(
                    load_path(&path, self.run.world.templar.reader())
                        .map_err(|problems| Stop::Problems(Ended::Error, problems))?,
                ));
            }
            self.vars.insert(host, layers);
        }
        Ok(())
    }

    pub(super) fn play_vars(&self, host: &Arc<str>) -> Layers {
        let files = self.vars.get(host).into_iter().flatten().cloned();
        [&self.play.vars, &self.answers]
            .into_iter()
            .cloned()
            .chain(files)
            .collect()
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.run.cancel.is_cancelled()
    }

    /// Nothing more is run; the first reason counts.
    pub(super) fn stop(&self, ended: Ended, problems: impl Into<Diagnostics>) {
        if let Ok(mut stopped) = self.stopped.lock() {
            stopped.get_or_insert_with(|| (ended, problems.into()));
        }
        self.end(false);
    }

    /// `meta: end_batch`, `end_play`.
    pub(super) fn end(&self, only_batch: bool) {
        self.over.store(true, Ordering::Relaxed);
        if !only_batch {
            self.play_over.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn make_fatal(&self) {
        self.fatal.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_fatal(&self) -> bool {
        self.fatal.load(Ordering::Relaxed)
    }

    pub(super) fn in_order<'h>(&self, hosts: impl Iterator<Item = &'h Arc<str>>) -> Vec<Arc<str>> {
        let wanted: HashSet<&Arc<str>> = hosts.collect();
        self.order
            .iter()
            .filter(|host| wanted.contains(host))
            .cloned()
            .collect()
    }

    pub(super) fn batch(&self) -> Vec<Arc<str>> {
        self.context
            .batch
            .read()
            .map(|batch| batch.clone())
            .unwrap_or_default()
    }

    pub(super) fn failed_hosts(&self) -> Vec<Arc<str>> {
        let failed = self
            .failed
            .lock()
            .map(|failed| failed.clone())
            .unwrap_or_default();
        self.in_order(failed.iter())
    }

    /// Out of the batch: unreachable for the whole run, or ended without a failure.
    pub(super) fn drop_host(&self, host: &Arc<str>, is_unreachable: bool) {
        self.leave(host);
        if is_unreachable {
            self.run.lose(host, true);
            if let Ok(mut failed) = self.failed.lock() {
                failed.insert(Arc::clone(host));
            }
        }
    }

    fn leave(&self, host: &Arc<str>) {
        for list in [&self.context.batch, &self.context.alive] {
            if let Ok(mut hosts) = list.write() {
                hosts.retain(|known| known != host);
            }
        }
    }

    pub(super) fn mark_failed(&self, hosts: &[Arc<str>]) {
        for host in hosts {
            self.leave(host);
            self.run.lose(host, false);
            if let Ok(mut failed) = self.failed.lock() {
                failed.insert(Arc::clone(host));
            }
        }
    }

    /// `max_fail_percentage` must be passed, not reached.
    pub(super) fn too_many_failed(&self) -> bool {
        let failed = self.failed.lock().map_or(0, |failed| failed.len());
        #[allow(clippy::cast_precision_loss, reason = "numbers of hosts")]
        let percent = failed as f64 * 100.0 / self.order.len().max(1) as f64;
        let passed = self.max_fail.is_some_and(|most| percent > most);
        if passed {
            self.over_limit.store(true, Ordering::Relaxed);
            self.make_fatal();
        }
        passed
    }
}

pub(super) fn flag_of(unit: &Unit, lazy: Option<&Lazy>) -> bool {
    unit.flag(lazy).unwrap_or(None).unwrap_or(false)
}

/// The same parameters: the same layers, or the same data in them.
pub(super) fn same(one: &Layers, other: &Layers) -> bool {
    let equal = |a: &Lazy, b: &Lazy| match (a, b) {
        (Lazy::Data(a), Lazy::Data(b)) => a == b,
        (Lazy::Template(a), Lazy::Template(b)) => Arc::ptr_eq(a, b),
        _ => false,
    };
    one.len() == other.len()
        && one.iter().zip(other).all(|(a, b)| {
            Arc::ptr_eq(a, b)
                || (a.len() == b.len()
                    && a.iter()
                        .all(|(name, value)| b.get(name).is_some_and(|other| equal(value, other))))
        })
}
