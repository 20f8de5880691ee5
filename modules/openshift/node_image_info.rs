//! `node_image_info`: what nodes have booted, read from the nodes. In: nodes or a pool; out: image and boot of each.

use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::look::{PoolView, base_image, booted, entry};
use super::objects::{self, name};
use super::proof::Method;
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;
use crate::registry::ImageRef;

pub struct NodeImageInfo;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Names of nodes.
    nodes: Option<Vec<String>>,
    /// All nodes of this pool.
    pool: Option<String>,
    /// Compare with this image, by digest: nodes that run anything else are returned as `wrong`.
    image: Option<String>,
    /// Compare with the cluster's own base image.
    #[serde(default)]
    base: bool,
    /// How nodes are asked: `auto` (daemon, else debug), `daemon`, `debug`, `ssh`.
    #[serde(default)]
    proof: Method,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

#[async_trait]
impl Module for NodeImageInfo {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "node_image_info";
    const SUMMARY: &'static str = "Reads from nodes which image they have booted";
    const EXAMPLES: &'static str = "- node_image_info: {pool: worker}\n  register: running\n- node_image_info: {nodes: [worker-0], proof: ssh}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = Touches::NOTHING;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        let cluster = platform
            .open_cluster(args.kubeconfig.as_ref(), args.context.as_ref())
            .await?;
        let wanted = match (&args.image, args.base) {
            (Some(image), false) => {
                ImageRef::pinned("image", image)?;
                Some(image.clone())
            }
            (None, true) => Some(base_image(&cluster).await?),
            (None, false) => None,
            (Some(_), true) => {
                return Err(ModuleError::argument(
                    "image",
                    "give `image` or `base: true`, not both",
                ));
            }
        };
        let (nodes, mut rendered) = (self.nodes(args, &cluster).await?, Value::Null);
        if let Some(pool) = &args.pool {
            rendered =
                PoolView::read(&cluster, pool).await?.pool["spec"]["configuration"]["name"].clone();
        }
        let digest = wanted
            .as_deref()
            .and_then(|image| image.split_once('@'))
            .map(|(_, digest)| digest.to_owned());
        let (mut seen, mut wrong, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (node, answer) in booted(platform, &cluster, &nodes, args.proof).await {
            match answer {
                Ok(booted) => {
                    let shown = entry(&node, &booted, &booted.boot_id, None);
                    if digest
                        .as_deref()
                        .is_some_and(|digest| !booted.is(digest) || booted.staged)
                    {
                        wrong.push(shown.clone());
                    }
                    seen.push(shown);
                }
                Err(problem) => failed.push((name(&node).to_owned(), problem)),
            }
        }
        // Not to have looked is not to have seen: every node must answer.
        if let Some((node, problem)) = failed.first() {
            let all: Vec<&str> = failed.iter().map(|(node, _)| node.as_str()).collect();
            let kind = problem.kind;
            let message = format!(
                "could not look at {} of {} nodes ({}): {node}: {problem}",
                failed.len(),
                nodes.len(),
                all.join(", ")
            );
            let mut error = ModuleError::new(
                if kind == ErrorKind::Unreachable {
                    ErrorKind::Failed
                } else {
                    kind
                },
                message,
            );
            error.hint.clone_from(&problem.hint);
            return Err(error.with("nodes", json!(seen)));
        }
        Ok(Change::None(Outcome::unchanged(json!({
            "nodes": seen, "wrong": wrong, "pool": args.pool, "image": wanted, "digest": digest, "rendered": rendered,
        }))))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}

impl NodeImageInfo {
    async fn nodes(
        &self,
        args: &Args,
        cluster: &super::connection::Cluster,
    ) -> Result<Vec<Value>, ModuleError> {
        match (&args.nodes, &args.pool) {
            (None, Some(pool)) => {
                let nodes = PoolView::read(cluster, pool).await?.nodes;
                if nodes.is_empty() {
                    return Err(ModuleError::failed(format!(
                        "pool `{pool}` has no nodes: there is nothing to look at"
                    )));
                }
                Ok(nodes)
            }
            (Some(names), None) => {
                let mut nodes = Vec::new();
                for wanted in names {
                    nodes.push(objects::get(cluster, &objects::node(), wanted).await?);
                }
                Ok(nodes)
            }
            _ => Err(ModuleError::argument(
                "pool",
                "give `pool` or `nodes`, not both",
            )),
        }
    }
}
