//! In: a pool whose rollout does not move. Out: what is around it, for a diagnosis. What the cluster does not serve, or does
//! not let this user read, is left out: a diagnosis by less is better than none.

use kube::api::ListParams;
use serde_json::Value;

use super::connection::Cluster;
use super::diagnose::Around;
use super::objects::{self, api, json, name};
use super::observe::{Phase, Progress, Snapshot};

/// Reads it all, once; pods and budgets only where nodes are drained.
pub(super) async fn around(
    cluster: &Cluster,
    snapshot: &Snapshot<'_>,
    progress: &Progress,
) -> Around {
    let states = snapshot.nodes.iter().zip(&progress.nodes);
    let draining: Vec<&Value> = states
        .filter(|(_, state)| state.phase == Phase::Draining)
        .map(|(node, _)| *node)
        .collect();
    let list = async |kind| objects::list(cluster, &kind).await.unwrap_or_default();
    let find = async |kind, name: &str| objects::find(cluster, &kind, name).await.ok().flatten();
    let (pools, nodes, machine_configs, machine_config_nodes, builds) = tokio::join!(
        list(objects::machine_config_pool()),
        list(objects::node()),
        list(objects::machine_config()),
        list(objects::machine_config_node()),
        list(objects::machine_os_config()),
    );
    let (version, controller) = tokio::join!(
        find(objects::cluster_version(), "version"),
        find(objects::controller_config(), "machine-config-controller"),
    );
    let mut pods = Vec::new();
    for node in &draining {
        pods.extend(pods_on(cluster, name(node)).await);
    }
    let budgets = if draining.is_empty() {
        Vec::new()
    } else {
        list(objects::pod_disruption_budget()).await
    };
    Around {
        pools,
        nodes,
        machine_configs,
        machine_config_nodes,
        pods,
        budgets,
        version,
        controller,
        builds,
    }
}

/// The pods of a node; none when they may not be read.
async fn pods_on(cluster: &Cluster, node: &str) -> Vec<Value> {
    let here = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let found = api(cluster, &objects::pod()).list(&here).await;
    let items = found.map(|found| found.items).unwrap_or_default();
    items.iter().filter_map(|pod| json(pod).ok()).collect()
}
