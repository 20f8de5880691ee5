//! In: what a rollout waits for, and the watches of pools and nodes. Out: every node proven, or why not. All state is
//! in the cluster: a wait that is begun again goes on where the cluster is.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::around::around;
use super::asking::{Answer, Asking};
use super::clocks::Clocks;
use super::connection::Cluster;
use super::diagnose::{Diagnosis, diagnose};
use super::known::Known;
use super::look::entry;
use super::mirror::Mirror;
use super::objects::{self, annotation, machine_config, machine_config_pool, name, node};
use super::observe::{self, Phase, Snapshot, Verdict, observe};
use super::proof::Booted;
use super::rollout::{Args, Work, result};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::{Platform, Progress};

/// How often time limits are looked at while nothing changes.
const TICK: Duration = Duration::from_secs(5);
/// A node that could not be asked is asked again after this: its daemon's pod comes up a little after the node.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Between tries to reach an API server that is away.
const BREATH: Duration = Duration::from_secs(1);
/// Of a cluster with so many nodes something changes all the time: what changes within a while is looked at once. The
/// longer a look takes the longer is the while, so that a core is never busy with it.
const MANY: usize = 100;
const GATHER: Duration = Duration::from_millis(150);
/// Once all nodes are done, and only have to say what they booted.
const GATHER_AT_LAST: Duration = Duration::from_millis(30);
/// How much longer than the look the while is.
const LOOKS: u32 = 4;
/// A wait without any change still says so once in this time.
const SIGN_OF_LIFE: i64 = 60;

struct Waiting<'w> {
    args: &'w Args,
    work: &'w Work,
    platform: &'w Platform,
    cluster: Cluster,
    proven: BTreeMap<String, Value>,
    last: Option<observe::Progress>,
    changed: jiff::Timestamp,
    said: jiff::Timestamp,
    started: BTreeMap<String, jiff::Timestamp>,
    stalled: bool,
    clocks: Clocks,
    rendered: Option<Value>,
    known: Known,
    asking: Asking<'w>,
    /// Settled nodes that gave no usable answer.
    unasked: BTreeMap<String, Unasked>,
}

/// Why a node could not be asked, and when.
struct Unasked {
    why: String,
    at: jiff::Timestamp,
}

/// Waits until every node of the pool is proven; the module's result.
pub(super) async fn wait(
    args: &Args,
    work: &Work,
    platform: &Platform,
    cluster: Cluster,
) -> Result<Value, ModuleError> {
    let now = platform.clock.now();
    let mut pools = Mirror::start(&cluster, &machine_config_pool());
    let mut nodes = Mirror::start(&cluster, &node());
    let mut waiting = Waiting {
        args,
        work,
        platform,
        asking: Asking::new(platform, cluster.clone(), args.proof),
        cluster,
        proven: BTreeMap::new(),
        last: None,
        changed: now,
        said: now,
        started: BTreeMap::new(),
        stalled: false,
        clocks: Clocks::default(),
        rendered: None,
        known: Known::new(&args.pool),
        unasked: BTreeMap::new(),
    };
    loop {
        let begun = platform.clock.now();
        let mut step = Ok(None);
        if pools.is_complete() && nodes.is_complete() {
            step = waiting.step(pools.objects(), nodes.objects()).await;
        }
        if let Ok(None) = step {
            let taken = platform.clock.now().duration_since(begun);
            let pause = waiting.pause();
            step = tokio::select! {
                changed = pools.next() => changed,
                changed = nodes.next() => changed,
                answer = waiting.asking.next() => waiting.take(answer, nodes.objects()).await,
                () = platform.clock.sleep(pause) => Ok(()),
                () = platform.cancel.cancelled() => return Err(interrupted(args)),
            }
            .map(|()| None);
            if let (true, Some(most)) = (step.is_ok(), waiting.gathers(nodes.objects().len())) {
                let while_ = Duration::try_from(taken).unwrap_or_default() * LOOKS;
                let while_ = while_.clamp(most / 3, most);
                platform.clock.sleep(while_).await;
                step = pools.gather().and_then(|()| nodes.gather()).map(|()| None);
                while let (true, Some(answer)) = (step.is_ok(), waiting.asking.come()) {
                    step = waiting.take(answer, nodes.objects()).await.map(|()| None);
                }
            }
        }
        match step {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => {}
            // An API server that is away for a while (single-node clusters reboot it) is no failure of the rollout.
            Err(problem) if problem.kind == ErrorKind::Unreachable => {
                waiting.idle(Some(&problem), None).await?;
                platform.status(format!("pool {}: {problem}; trying again", args.pool));
                tokio::select! {
                    () = platform.clock.sleep(BREATH) => {}
                    () = platform.cancel.cancelled() => return Err(interrupted(args)),
                }
            }
            Err(problem) => return Err(problem),
        }
    }
}

/// What says that a node is done, and in which boot.
fn standing(node: &Value) -> [&str; 4] {
    let boot = node["status"]["nodeInfo"]["bootID"].as_str();
    [
        annotation(node, "currentConfig"),
        annotation(node, "desiredConfig"),
        annotation(node, "state"),
        boot.unwrap_or_default(),
    ]
}

fn interrupted(args: &Args) -> ModuleError {
    ModuleError::new(
        ErrorKind::Cancelled,
        format!(
            "waiting for pool `{}` was interrupted; the cluster goes on with what was written",
            args.pool
        ),
    )
    .hint("run the same playbook again: it goes on where the cluster is")
}

impl Waiting<'_> {
    /// One look at everything; the result once all is proven.
    async fn step(
        &mut self,
        pools: &BTreeMap<String, Value>,
        nodes: &BTreeMap<String, Value>,
    ) -> Result<Option<Value>, ModuleError> {
        let pools: Vec<Value> = pools.values().cloned().collect();
        let Some(pool) = pools.iter().find(|pool| name(pool) == self.args.pool) else {
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!("pool `{}` is gone: somebody has deleted it", self.args.pool),
            )
            .hint("its nodes go back to the worker pool"));
        };
        let nodes = self.known.members(&pools, nodes);
        let target = pool["spec"]["configuration"]["name"]
            .as_str()
            .unwrap_or_default();
        if self
            .rendered
            .as_ref()
            .is_none_or(|known| name(known) != target)
        {
            self.rendered = objects::find(&self.cluster, &machine_config(), target).await?;
        }
        let rendered = self.rendered.clone();
        let mut snapshot = Snapshot::read(pool, rendered.as_ref(), nodes);
        snapshot.proven = self.boots();
        let progress = observe(&snapshot, &self.work.image);
        let now = self.platform.clock.now();
        self.clocks.take(&progress.nodes, now);
        self.tell(&progress);
        if progress.noticed {
            self.ask(&snapshot, &progress);
        }
        let done = progress.verdict == Verdict::Done;
        if done && self.is_unmoved(pool).await? {
            let proven: Vec<Value> = self.proven.values().cloned().collect();
            return Ok(Some(result(
                self.args,
                &progress.rendered,
                self.work,
                &proven,
            )));
        }
        self.idle(None, Some((&snapshot, &progress))).await?;
        self.last = Some(progress);
        Ok(None)
    }

    /// The boots in which nodes said that they run the image.
    fn boots(&self) -> BTreeMap<String, String> {
        let boot = |entry: &Value| entry["boot_id"].as_str().unwrap_or_default().to_owned();
        let proven = self.proven.iter();
        proven
            .map(|(name, entry)| (name.clone(), boot(entry)))
            .collect()
    }

    /// The pool as the server has it now is still the one that was judged: nothing was written while nodes were asked.
    async fn is_unmoved(&self, pool: &Value) -> Result<bool, ModuleError> {
        let now = objects::get(&self.cluster, &machine_config_pool(), &self.args.pool).await?;
        Ok(
            now["metadata"]["generation"] == pool["metadata"]["generation"]
                && now["spec"]["configuration"]["name"] == pool["spec"]["configuration"]["name"],
        )
    }

    /// Says what is new; a line a minute when nothing is.
    fn tell(&mut self, progress: &observe::Progress) {
        let now = self.platform.clock.now();
        for node in &progress.nodes {
            if !node.phase.is_waiting() && !node.is_settled() {
                self.started.entry(node.name.clone()).or_insert(now);
            }
        }
        let is_new = self.last.as_ref() != Some(progress);
        if is_new {
            self.changed = now;
            self.stalled = false;
        }
        if !is_new && now.duration_since(self.said).as_secs() < SIGN_OF_LIFE {
            return;
        }
        self.said = now;
        let mut value = progress.told(self.last.as_ref(), &self.started);
        if !is_new && let Some(text) = value["text"].as_str() {
            let idle = now.duration_since(self.changed).as_secs();
            value["text"] = json!(format!("{text}, no change for {} min", idle / 60));
        }
        self.platform.progress.send(Progress::Rollout(value));
    }

    /// How long changes are gathered at most before the next look at a cluster with so many nodes.
    fn gathers(&self, nodes: usize) -> Option<Duration> {
        let last = self.last.as_ref().filter(|last| last.noticed);
        let are_done = last.is_some_and(|last| last.settled == last.nodes.len());
        match (nodes >= MANY, are_done) {
            (false, _) => None,
            (true, false) => Some(GATHER),
            (true, true) => Some(GATHER_AT_LAST),
        }
    }

    /// How long nothing may change until the next look.
    fn pause(&self) -> Duration {
        let pause = if self.unasked.is_empty() {
            TICK
        } else {
            ASK_AGAIN
        };
        pause.min(Duration::from_secs(self.args.stall.max(1)))
    }

    /// Asks every node that is settled and not proven yet.
    fn ask(&mut self, snapshot: &Snapshot<'_>, progress: &observe::Progress) {
        let now = self.platform.clock.now();
        let settled = |phase: Phase| -> BTreeMap<&str, &Value> {
            let states = snapshot.nodes.iter().zip(&progress.nodes);
            states
                .filter(|(_, state)| state.is_settled() && state.phase == phase)
                .map(|(node, state)| (state.name.as_str(), *node))
                .collect()
        };
        // A node that was proven and then left its image, or booted again, is proven no more.
        let verified = settled(Phase::Verified);
        self.proven
            .retain(|name, _| verified.contains_key(name.as_str()));
        let unproven = settled(Phase::Booted);
        self.unasked
            .retain(|name, _| unproven.contains_key(name.as_str()));
        for (name, node) in unproven {
            let waits = self
                .unasked
                .get(name)
                .is_some_and(|unasked| now.duration_since(unasked.at).unsigned_abs() < ASK_AGAIN);
            if !waits {
                self.asking.ask(node);
            }
        }
    }

    /// What a node said, held against the node as it is now.
    async fn take(
        &mut self,
        Answer { node, said }: Answer,
        nodes: &BTreeMap<String, Value>,
    ) -> Result<(), ModuleError> {
        let is_as_asked = |seen: &Value| standing(seen) == standing(&node);
        // What it said meanwhile is of no use: it is asked again when it is done again.
        let Some(seen) = nodes.get(name(&node)).filter(|seen| is_as_asked(seen)) else {
            return Ok(());
        };
        match said {
            Ok(booted) => match self.judge(seen, &booted) {
                // The watch may be behind.
                Err(_)
                    if objects::find(&self.cluster, &objects::node(), name(&node))
                        .await?
                        .is_none_or(|now| !is_as_asked(&now)) =>
                {
                    Ok(())
                }
                judged => judged,
            },
            // The daemon's pod comes up a little after the node.
            Err(problem)
                if matches!(problem.kind, ErrorKind::Unreachable | ErrorKind::NotFound) =>
            {
                let node = name(&node);
                self.platform.status(format!("node {node}: {problem}"));
                self.could_not_ask(node, problem.to_string());
                Ok(())
            }
            Err(problem) => Err(problem),
        }
    }

    fn could_not_ask(&mut self, node: &str, why: String) {
        let at = self.platform.clock.now();
        self.unasked.insert(node.to_owned(), Unasked { why, at });
    }

    fn judge(&mut self, node: &Value, booted: &Booted) -> Result<(), ModuleError> {
        let node_name = name(node);
        let wrong = |message: String| {
            ModuleError::failed(message).with(
                "wrong",
                json!([{"name": node_name, "booted": booted.image(), "boot_id": booted.boot_id}]),
            )
        };
        if !booted.is(&self.work.digest) {
            return Err(wrong(format!(
                "node `{node_name}` says it is done and has booted `{}`, not `{}`",
                booted.image(),
                self.work.image
            ))
            .hint(
                "somebody may have rebased the node by hand; look with `rpm-ostree status` on it",
            ));
        }
        // The kubelet has not told the API of the node's last boot yet: what the API says of it is older.
        let told = node["status"]["nodeInfo"]["bootID"].as_str();
        if booted.staged || told.is_some_and(|told| told != booted.boot_id) {
            self.could_not_ask(node_name, "has not settled in its last boot yet".to_owned());
            return Ok(());
        }
        let before = self.work.before.get(node_name).cloned().unwrap_or_default();
        if before.must_boot && before.boot_id == booted.boot_id {
            return Err(wrong(format!(
                "node `{node_name}` says it is done, and has not rebooted: its boot id is still `{}`",
                booted.boot_id
            ))
            .hint("look at the log of its machine-config daemon"));
        }
        let now = self.platform.clock.now();
        let seconds = self
            .started
            .get(node_name)
            .map(|begun| now.duration_since(*begun).as_secs_f64());
        self.proven.insert(
            node_name.to_owned(),
            entry(node, booted, &before.boot_id, seconds),
        );
        self.changed = now;
        self.stalled = false;
        Ok(())
    }

    /// Without change of the pool, or of a node at work: the reason after `stall`, a failure after `timeout`; with a
    /// degraded node after `degraded`.
    async fn idle(
        &mut self,
        problem: Option<&ModuleError>,
        seen: Option<(&Snapshot<'_>, &observe::Progress)>,
    ) -> Result<(), ModuleError> {
        let now = self.platform.clock.now();
        let idle = now.duration_since(self.changed).as_secs();
        let limit = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        let (stall, timeout) = (limit(self.args.stall), limit(self.args.timeout));
        // What is not seen at the moment is not judged.
        let over = |(node, stood): (&str, i64), most: i64| {
            (seen.is_some() && stood >= most).then(|| (node.to_owned(), stood))
        };
        let failing = self.clocks.failing(now);
        let failing = failing.and_then(|node| over(node, limit(self.args.degraded)));
        let late = self
            .clocks
            .longest(now)
            .and_then(|node| over(node, timeout));
        let late = failing.or(late);
        let standing = match seen {
            Some(_) => self.clocks.news(stall.max(1), now),
            None => Vec::new(),
        };
        let is_over = idle >= timeout || late.is_some();
        let is_stalled = idle >= stall && !self.stalled;
        if !is_over && !is_stalled && standing.is_empty() {
            return Ok(());
        }
        let found = self.diagnosed(seen).await;
        if is_over {
            return Err(self.over(idle, late, &found, problem));
        }
        for diagnosis in &found {
            // While others go on, only what is said of those that stand.
            let is_news = |node: &String| is_stalled || standing.contains(node);
            if !diagnosis.node.as_ref().map_or(is_stalled, is_news) {
                continue;
            }
            let mut value = json!(diagnosis);
            if value["since"].is_null() {
                value["since"] = json!(self.changed.to_string());
            }
            value["pool"] = json!(self.args.pool);
            self.platform.progress.send(Progress::Stall(value));
        }
        self.stalled |= is_stalled;
        Ok(())
    }

    /// The end of a wait that took too long, because of a node or of the whole pool.
    fn over(
        &self,
        idle: i64,
        late: Option<(String, i64)>,
        found: &[Diagnosis],
        problem: Option<&ModuleError>,
    ) -> ModuleError {
        let of_node = late.as_ref().and_then(|(node, _)| {
            let mut of_it = found.iter();
            of_it.find(|diagnosis| diagnosis.node.as_ref() == Some(node))
        });
        let diagnosis = of_node.or(found.first());
        let cause = match (diagnosis, problem) {
            (Some(diagnosis), _) => diagnosis.cause.clone(),
            (None, Some(problem)) => problem.message.clone(),
            (None, None) => "the first lists have not come".to_owned(),
        };
        let pool = &self.args.pool;
        let text = match late.filter(|(_, stood)| *stood > idle) {
            Some((node, stood)) => {
                format!("pool `{pool}`: node `{node}` has not moved for {stood} s: {cause}")
            }
            None => format!("pool `{pool}`: no change for {idle} s: {cause}"),
        };
        let mut error = ModuleError::new(ErrorKind::Timeout, text);
        if let Some(diagnosis) = diagnosis {
            error = error
                .hint(format!(
                    "{}: `{}` (seen in {})",
                    diagnosis.remedy, diagnosis.command, diagnosis.evidence
                ))
                .with("diagnosis", json!(diagnosis))
                .with("diagnoses", json!(found));
        }
        let proven: Vec<&Value> = self.proven.values().collect();
        error.with("nodes_proven", json!(proven))
    }

    /// Why nothing moves: what is around the pool is read for this, and only for this.
    async fn diagnosed(&self, seen: Option<(&Snapshot<'_>, &observe::Progress)>) -> Vec<Diagnosis> {
        let Some((snapshot, progress)) = seen else {
            return Vec::new();
        };
        if let (Some((node, unasked)), true) =
            (self.unasked.first_key_value(), progress.is_settled())
        {
            return vec![Diagnosis::unasked(&format!("node {node}: {}", unasked.why))];
        }
        let around = around(&self.cluster, snapshot, progress).await;
        diagnose(snapshot, progress, &around, &self.work.image)
    }
}
