//! `rollout`: waits until every node of a pool runs an image, and proves it on each of them. Never changes anything.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use kube::runtime::watcher;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::Cluster;
use super::look::{PoolView, base_image, booted, entry};
use super::objects::{api, machine_config_pool, name, node};
use super::observe::{Phase, Snapshot, diagnose, observe};
use super::proof::{self, Booted, Method};
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::{Platform, Progress};
use crate::registry::ImageRef;

pub struct Rollout;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The pool's name.
    pool: String,
    /// The image that every node must run, by digest.
    image: Option<String>,
    /// Instead of `image`: the cluster's own base image.
    #[serde(default)]
    base: bool,
    /// How nodes are asked: `auto` (daemon, else debug), `daemon`, `debug`, `ssh`.
    #[serde(default)]
    proof: Method,
    /// Seconds that may pass without any change before it fails.
    #[serde(default = "timeout")]
    timeout: u64,
    /// Seconds without any change after which the reason is told.
    #[serde(default = "stall")]
    stall: u64,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

fn timeout() -> u64 {
    3600
}

fn stall() -> u64 {
    600
}

/// What is waited for.
pub struct Work {
    image: String,
    digest: String,
    /// Boot ids at the start, by node.
    before: BTreeMap<String, String>,
}

impl Args {
    async fn cluster(&self, platform: &Platform) -> Result<Cluster, ModuleError> {
        platform
            .clusters
            .get(
                &platform
                    .cluster
                    .or_arguments(self.kubeconfig.as_ref(), self.context.as_ref()),
            )
            .await
    }

    /// The wanted image and its digest.
    async fn wanted(&self, cluster: &Cluster) -> Result<(String, String), ModuleError> {
        match (&self.image, self.base) {
            (Some(image), false) => ImageRef::pinned("image", image)
                .map(|(_, digest)| (image.clone(), digest.to_string())),
            (None, true) => {
                let image = base_image(cluster).await?;
                let digest = image.split_once('@').map(|(_, digest)| digest.to_owned());
                let digest = digest.ok_or_else(|| {
                    ModuleError::failed(format!("the cluster's base image `{image}` has no digest"))
                })?;
                Ok((image, digest))
            }
            _ => Err(ModuleError::argument(
                "image",
                "give `image`, or `base: true`, and not both",
            )),
        }
    }
}

fn result(args: &Args, rendered: &str, work: &Work, nodes: &[Value]) -> Value {
    json!({"pool": args.pool, "image": work.image, "digest": work.digest, "rendered": rendered, "nodes": nodes})
}

/// What a running wait has learned.
struct Waiting<'w> {
    args: &'w Args,
    work: &'w Work,
    platform: &'w Platform,
    cluster: Cluster,
    proven: BTreeMap<String, Value>,
    /// What was last shown, and when it changed.
    last: String,
    changed: jiff::Timestamp,
    started: BTreeMap<String, jiff::Timestamp>,
    stalled: Option<jiff::Timestamp>,
    rendered: Option<Value>,
}

enum Step {
    Done(Value),
    Wait,
}

#[async_trait]
impl Module for Rollout {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "rollout";
    const SUMMARY: &'static str =
        "Waits until every node of a pool runs an image, and proves it on each node";
    const EXAMPLES: &'static str = "- rollout:\n    pool: worker\n    image: registry.example.com/os-layers/hello@sha256:...\n- rollout: {pool: worker, base: true}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = Touches {
        machine: false,
        registry: false,
        cluster: true,
        nodes: true,
        reboot: false,
    };

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let cluster = args.cluster(platform).await?;
        let (image, digest) = args.wanted(&cluster).await?;
        let view = PoolView::read(&cluster, &args.pool).await?;
        if view.nodes.is_empty() {
            return Err(ModuleError::failed(format!(
                "pool `{}` has no nodes: there is nothing to prove",
                args.pool
            ))
            .hint("label nodes for the pool, or take the pool out of the playbook"));
        }
        let before = view
            .nodes
            .iter()
            .map(|node| {
                (
                    name(node).to_owned(),
                    node["status"]["nodeInfo"]["bootID"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                )
            })
            .collect();
        let work = Work {
            image,
            digest,
            before,
        };
        let rendered = view.rendered(&cluster).await?;
        let snapshot = Snapshot {
            pool: &view.pool,
            rendered: rendered.as_ref(),
            nodes: view.nodes.iter().collect(),
        };
        let progress = observe(&snapshot, &work.image);
        if progress.is_settled() {
            let answers = booted(platform, &cluster, &view.nodes, args.proof).await;
            let proven: Option<Vec<Value>> = answers
                .iter()
                .map(|(node, answer)| {
                    let booted = answer
                        .as_ref()
                        .ok()
                        .filter(|booted| booted.is(&work.digest) && !booted.staged)?;
                    Some(entry(
                        node,
                        booted,
                        work.before.get(name(node)).map_or("", String::as_str),
                        None,
                    ))
                })
                .collect();
            if let Some(nodes) = proven {
                return Ok(Change::None(Outcome::unchanged(result(
                    args,
                    &progress.rendered,
                    &work,
                    &nodes,
                ))));
            }
        }
        let names: Vec<&str> = view.nodes.iter().map(name).collect();
        let preview = Outcome::unchanged(json!({
            "pool": args.pool, "image": work.image, "digest": work.digest, "waits_for": names,
            "msg": format!("would wait until {} nodes of pool `{}` run `{}`: {}", names.len(), args.pool, work.image, names.join(", ")),
        }));
        Ok(Change::Some {
            fields: Vec::new(),
            diff: Vec::new(),
            preview,
            work,
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let cluster = args.cluster(platform).await?;
        let mut waiting = Waiting {
            args,
            work: &work,
            platform,
            cluster: cluster.clone(),
            proven: BTreeMap::new(),
            last: String::new(),
            changed: platform.clock.now(),
            started: BTreeMap::new(),
            stalled: None,
            rendered: None,
        };
        // Any event of these only wakes the loop: what counts is the whole state, read anew.
        let pools = watcher(
            api(&cluster, &machine_config_pool()),
            watcher::Config::default(),
        )
        .map(|event| event.map(|_| ()));
        let nodes = watcher(api(&cluster, &node()), watcher::Config::default())
            .map(|event| event.map(|_| ()));
        let mut events = pin!(futures_util::stream::select(pools, nodes));
        loop {
            match waiting.step().await {
                Ok(Step::Done(result)) => return Ok(Outcome::unchanged(result)),
                Ok(Step::Wait) => {}
                // An API server that is away for a while (single-node clusters reboot it) is no failure of the rollout.
                Err(problem) if problem.kind == ErrorKind::Unreachable => {
                    waiting.idle(Some(&problem), None)?;
                    platform.status(format!("pool {}: {problem}; trying again", args.pool));
                }
                Err(problem) => return Err(problem),
            }
            let tick = platform
                .clock
                .sleep(Duration::from_secs(5.min(args.stall.max(1))));
            tokio::select! {
                event = events.next() => {
                    if let Some(Err(problem)) = event {
                        // The watcher starts anew by itself; the pause keeps a dead server from being hammered.
                        platform.status(format!("pool {}: watch interrupted: {problem}", args.pool));
                        platform.clock.sleep(Duration::from_secs(1)).await;
                    }
                }
                () = tick => {}
                () = platform.cancel.cancelled() => {
                    return Err(ModuleError::new(ErrorKind::Cancelled, format!("waiting for pool `{}` was interrupted; the cluster goes on with what was written", args.pool))
                        .hint("run the same playbook again: it goes on where the cluster is"));
                }
            }
        }
    }
}

impl Waiting<'_> {
    async fn step(&mut self) -> Result<Step, ModuleError> {
        let view = PoolView::read(&self.cluster, &self.args.pool).await?;
        let target = view.pool["spec"]["configuration"]["name"]
            .as_str()
            .unwrap_or_default();
        if self
            .rendered
            .as_ref()
            .is_none_or(|known| name(known) != target)
        {
            self.rendered = view.rendered(&self.cluster).await?;
        }
        let rendered = self.rendered.clone();
        let snapshot = Snapshot {
            pool: &view.pool,
            rendered: rendered.as_ref(),
            nodes: view.nodes.iter().collect(),
        };
        let progress = observe(&snapshot, &self.work.image);
        let now = self.platform.clock.now();
        for node in &progress.nodes {
            if !matches!(node.phase, Phase::Waiting | Phase::Settled) {
                self.started.entry(node.name.clone()).or_insert(now);
            }
        }
        let line = progress.line();
        if line != self.last {
            self.last.clone_from(&line);
            self.changed = now;
            self.stalled = None;
            self.platform.status(line);
            if let Ok(value) = serde_json::to_value(&progress) {
                self.platform.progress.send(Progress::Rollout(value));
            }
        }
        if progress.noticed {
            for node in &view.nodes {
                let is_settled = progress
                    .nodes
                    .iter()
                    .any(|state| state.name == name(node) && state.phase == Phase::Settled);
                if is_settled && !self.proven.contains_key(name(node)) {
                    self.prove(node, now).await?;
                }
            }
        }
        // A node that was proven and then left its image again is proven no more.
        self.proven.retain(|proven, _| {
            progress
                .nodes
                .iter()
                .any(|state| state.name == *proven && state.phase == Phase::Settled)
        });
        if progress.is_settled()
            && view
                .nodes
                .iter()
                .all(|node| self.proven.contains_key(name(node)))
        {
            let nodes: Vec<Value> = view
                .nodes
                .iter()
                .filter_map(|node| self.proven.get(name(node)).cloned())
                .collect();
            return Ok(Step::Done(result(
                self.args,
                &progress.rendered,
                self.work,
                &nodes,
            )));
        }
        self.idle(None, Some((&snapshot, &progress)))?;
        Ok(Step::Wait)
    }

    async fn prove(&mut self, node: &Value, now: jiff::Timestamp) -> Result<(), ModuleError> {
        let booted: Booted =
            match proof::read(self.platform, &self.cluster, node, self.args.proof).await {
                Ok(booted) => booted,
                // The daemon's pod comes up a little after the node: looked at again with the next event.
                Err(problem)
                    if matches!(problem.kind, ErrorKind::Unreachable | ErrorKind::NotFound) =>
                {
                    self.platform
                        .status(format!("node {}: {problem}", name(node)));
                    return Ok(());
                }
                Err(problem) => return Err(problem),
            };
        if !booted.is(&self.work.digest) {
            return Err(ModuleError::failed(format!(
                "node `{}` says it is done and has booted `{}`, not `{}`",
                name(node),
                booted.image(),
                self.work.image
            ))
            .hint("somebody may have rebased the node by hand; look with `rpm-ostree status` on it")
            .with(
                "wrong",
                json!([{"name": name(node), "booted": booted.image()}]),
            ));
        }
        let before = self
            .work
            .before
            .get(name(node))
            .cloned()
            .unwrap_or_default();
        let seconds = self
            .started
            .get(name(node))
            .map(|begun| now.duration_since(*begun).as_secs_f64());
        self.proven.insert(
            name(node).to_owned(),
            entry(node, &booted, &before, seconds),
        );
        self.changed = now;
        self.stalled = None;
        Ok(())
    }

    /// Without change: the reason after `stall`, a failure after `timeout`; a degraded node fails after `stall`.
    fn idle(
        &mut self,
        problem: Option<&ModuleError>,
        seen: Option<(&Snapshot<'_>, &super::observe::Progress)>,
    ) -> Result<(), ModuleError> {
        let now = self.platform.clock.now();
        let idle = now.duration_since(self.changed).as_secs();
        let limit = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        if idle < limit(self.args.stall) && idle < limit(self.args.timeout) {
            return Ok(());
        }
        let diagnosis = seen.map(|(snapshot, progress)| diagnose(snapshot, progress));
        let is_degraded = seen.is_some_and(|(_, progress)| {
            progress
                .nodes
                .iter()
                .any(|node| node.phase == Phase::Degraded)
        });
        if idle >= limit(self.args.timeout) || is_degraded {
            let cause = match (&diagnosis, problem) {
                (Some(diagnosis), _) => diagnosis.cause.clone(),
                (None, Some(problem)) => problem.message.clone(),
                (None, None) => String::new(),
            };
            let mut error = ModuleError::new(
                ErrorKind::Timeout,
                format!("pool `{}`: no change for {idle} s: {cause}", self.args.pool),
            );
            if let Some(diagnosis) = &diagnosis {
                error = error
                    .hint(format!(
                        "{}: `{}` (seen in {})",
                        diagnosis.remedy, diagnosis.command, diagnosis.evidence
                    ))
                    .with("diagnosis", json!(diagnosis));
            }
            let proven: Vec<&Value> = self.proven.values().collect();
            return Err(error.with("nodes_proven", json!(proven)));
        }
        if self.stalled.is_none() {
            self.stalled = Some(now);
            if let Some(diagnosis) = diagnosis {
                let mut value = json!(diagnosis);
                value["since"] = json!(self.changed.to_string());
                value["pool"] = json!(self.args.pool);
                self.platform.progress.send(Progress::Stall(value));
            }
        }
        Ok(())
    }
}
