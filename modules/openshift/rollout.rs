//! `rollout`: waits until every node of a pool runs an image, and proves it on each of them. Never changes anything.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::Cluster;
use super::look::{PoolView, base_image, booted, entry};
use super::objects::{self, annotation, machine_config, name};
use super::observe::{Snapshot, observe};
use super::proof::Method;
use super::waiting;
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::Platform;
use crate::registry::ImageRef;

pub struct Rollout;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The pool's name.
    pub(super) pool: String,
    /// The image that every node must run, by digest.
    image: Option<String>,
    /// Instead of `image`: the cluster's own base image.
    #[serde(default)]
    base: bool,
    /// How nodes are asked: `auto` (daemon, else debug), `daemon`, `debug`, `ssh`.
    #[serde(default)]
    pub(super) proof: Method,
    /// Seconds that may pass without any change of the pool, or of a node at work, before it fails.
    #[serde(default = "timeout")]
    pub(super) timeout: u64,
    /// Seconds without any change of the pool, or of a node at work, after which the reason is told.
    #[serde(default = "stall")]
    pub(super) stall: u64,
    /// Seconds after which a degraded node fails it: some mend themselves, such as those whose registry was away.
    #[serde(default = "degraded")]
    pub(super) degraded: u64,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

fn timeout() -> u64 {
    3600
}

fn stall() -> u64 {
    60
}

fn degraded() -> u64 {
    600
}

/// What a node was before the wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Before {
    pub(super) boot_id: String,
    /// It ran a config with another image and had not rebooted: it can only get to the wanted one by a boot.
    pub(super) must_boot: bool,
}

/// What is waited for.
pub struct Work {
    pub(super) image: String,
    pub(super) digest: String,
    pub(super) before: BTreeMap<String, Before>,
}

impl Args {
    async fn cluster(&self, platform: &Platform) -> Result<Cluster, ModuleError> {
        platform
            .open_cluster(self.kubeconfig.as_ref(), self.context.as_ref())
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

/// The module's result.
pub(super) fn result(args: &Args, rendered: &str, work: &Work, nodes: &[Value]) -> Value {
    json!({"pool": args.pool, "image": work.image, "digest": work.digest, "rendered": rendered, "nodes": nodes})
}

/// Which nodes can only get to the image by a boot, and the boots that they are in now.
async fn before(
    cluster: &Cluster,
    view: &PoolView,
    rendered: Option<&Value>,
    image: &str,
) -> Result<BTreeMap<String, Before>, ModuleError> {
    let progress = observe(&Snapshot::new(&view.pool, rendered, &view.nodes), image);
    let mut images: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for (node, state) in view.nodes.iter().zip(&progress.nodes) {
        let current = annotation(node, "currentConfig");
        if !images.contains_key(current) {
            let config = objects::find(cluster, &machine_config(), current).await?;
            let url = config
                .and_then(|config| config["spec"]["osImageURL"].as_str().map(ToOwned::to_owned));
            images.insert(current.to_owned(), url);
        }
        let runs_another = images
            .get(current)
            .and_then(Option::as_deref)
            .is_some_and(|url| url != image);
        all.insert(
            name(node).to_owned(),
            Before {
                boot_id: node["status"]["nodeInfo"]["bootID"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                must_boot: runs_another && state.phase.is_before_reboot(),
            },
        );
    }
    Ok(all)
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
        cluster: true,
        nodes: true,
        ..Touches::NOTHING
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
        let rendered = view.rendered(&cluster).await?;
        let work = Work {
            before: before(&cluster, &view, rendered.as_ref(), &image).await?,
            image,
            digest,
        };
        let snapshot = Snapshot::new(&view.pool, rendered.as_ref(), &view.nodes);
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
                        work.before
                            .get(name(node))
                            .map_or("", |before| before.boot_id.as_str()),
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
        waiting::wait(args, &work, platform, cluster)
            .await
            .map(Outcome::unchanged)
    }
}
