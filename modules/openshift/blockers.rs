//! In: nodes that are going to be drained. Out: their pods that would not let them be, as the server says in a dry run of
//! their eviction. Nothing is evicted.
//!
//! Only pods that a budget without room covers are asked about, so that it costs a request for each such pod and not one
//! for each pod of the cluster. A budget may get room before a node's turn comes: this is a warning, never a refusal.

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, EvictParams, ListParams, PostParams};
use serde::Serialize;
use serde_json::Value;

use super::connection::Cluster;
use super::diagnose::{has_room, held};
use super::objects::{self, api_in, json, name};

/// As many evictions as are tried at once.
const AT_ONCE: usize = 8;

/// A pod that stays.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Blocker {
    node: String,
    namespace: String,
    pod: String,
    budget: String,
    /// The server's words, or that it could not be asked.
    message: String,
}

impl std::fmt::Display for Blocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            node,
            namespace,
            pod,
            budget,
            ..
        } = self;
        write!(
            f,
            "{namespace}/{pod} on {node} (PodDisruptionBudget {budget})"
        )
    }
}

/// Budgets that may not be read block nothing that could be told.
pub(super) async fn blockers(cluster: &Cluster, nodes: &[&Value]) -> Vec<Blocker> {
    let budgets = objects::list(cluster, &objects::pod_disruption_budget())
        .await
        .unwrap_or_default();
    let mut found = Vec::new();
    for budget in budgets.iter().filter(|budget| !has_room(budget)) {
        let namespace = budget["metadata"]["namespace"].as_str().unwrap_or_default();
        let pods = api_in(cluster, &objects::pod(), namespace)
            .list(&ListParams::default())
            .await;
        let Ok(pods) = pods else { continue };
        let pods: Vec<Value> = pods
            .items
            .iter()
            .filter_map(|pod| json(pod).ok())
            .filter(|pod| {
                nodes
                    .iter()
                    .any(|node| pod["spec"]["nodeName"] == name(node))
            })
            .collect();
        found.extend(held(budget, &pods).into_iter().map(|pod| {
            Blocker {
                node: pod["spec"]["nodeName"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                namespace: namespace.to_owned(),
                pod: name(pod).to_owned(),
                budget: name(budget).to_owned(),
                message: String::new(),
            }
        }));
    }
    let asked: Vec<Option<Blocker>> = futures_util::stream::iter(found)
        .map(|blocker| asked(cluster, blocker))
        .buffered(AT_ONCE)
        .collect()
        .await;
    asked.into_iter().flatten().collect()
}

/// What the server says of one; nothing when it would let it go.
async fn asked(cluster: &Cluster, mut blocker: Blocker) -> Option<Blocker> {
    let dry = EvictParams {
        post_options: PostParams {
            dry_run: true,
            ..PostParams::default()
        },
        ..EvictParams::default()
    };
    // A budget's refusal is a 429, which the usual client would try again for minutes.
    let Ok(client) = cluster.once().await else {
        return Some(blocker);
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &blocker.namespace);
    match pods.evict(&blocker.pod, &dry).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(kube::Error::Api(status)) if status.code == 429 => {
            blocker.message = status.message;
            Some(blocker)
        }
        Err(problem) => {
            blocker.message = format!("its eviction could not be tried: {problem}");
            Some(blocker)
        }
    }
}
