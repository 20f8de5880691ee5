//! In: a cluster, a pool and its MachineConfigs. Out: what of them stands in the way of a rollout.

use serde_json::Value;

use super::super::connection::Cluster;
use super::super::look::PoolView;
use super::super::objects::{self, cluster_version, machine_os_config, name};
use super::super::pool_pause;
use super::super::pool_state::{Verdict, verdict};
use super::super::pools::{
    build_of, image_setters, is_available, is_failing, max_unavailable, role_label, upgrades_to,
};
use super::{Args, Refusal, refusal};
use crate::error::ModuleError;

pub(super) async fn upgrade(
    cluster: &Cluster,
    refusals: &mut Vec<Refusal>,
) -> Result<(), ModuleError> {
    let Some(version) = objects::find(cluster, &cluster_version(), "version").await? else {
        return Ok(());
    };
    if let Some(target) = upgrades_to(&version) {
        refusals.push(refusal(
            "upgrade",
            format!("the cluster is being upgraded to {target}"),
            "wait until `oc get clusterversion` shows it as completed",
        ));
    }
    Ok(())
}

pub(super) fn paused(view: &PoolView, now: jiff::Timestamp, refusals: &mut Vec<Refusal>) {
    let own = name(&view.pool);
    if view.pool["spec"]["paused"] == true {
        refusals.push(refusal(
            "paused",
            format!(
                "pool `{own}` is paused{}: its nodes would not take the image",
                pool_pause::words(&view.pool, now)
            ),
            format!("oc patch mcp {own} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'"),
        ));
    }
}

pub(super) fn pool(view: &PoolView, refusals: &mut Vec<Refusal>) {
    let own = name(&view.pool);
    let nodes: Vec<&Value> = view.nodes.iter().collect();
    let broken: Vec<&str> = nodes
        .iter()
        .filter(|node| is_failing(node))
        .map(|node| name(node))
        .collect();
    let (verdict, reason) = verdict(&view.pool, &nodes);
    if verdict == Verdict::Degraded {
        let named = match broken.len() {
            0 | 1 => String::new(),
            more => format!(" (and {} more nodes)", more - 1),
        };
        refusals.push(refusal(
            "degraded",
            format!("pool `{own}` is degraded: {reason}{named}"),
            format!("mend it first: `layerplay diagnose {own}` says what to do"),
        ));
    }
    if !view.pool["spec"]["osImageStream"]["name"].is_null() {
        refusals.push(refusal(
            "stream",
            format!(
                "pool `{own}` follows an OS image stream, which cannot be combined with an image"
            ),
            "unset `spec.osImageStream` of the pool",
        ));
    }
    // The operator counts a cordoned node as away (MCO: node_controller.go getAllCandidateMachines).
    let away: Vec<&str> = view
        .nodes
        .iter()
        .filter(|node| !is_available(node))
        .map(name)
        .collect();
    if away.len() >= max_unavailable(&view.pool, view.nodes.len()) {
        refusals.push(refusal(
            "cordoned",
            format!(
                "nodes of pool `{own}` are cordoned or not ready ({}): the rollout could not start",
                away.join(", ")
            ),
            format!("oc adm uncordon {}", away.join(" ")),
        ));
    }
}

pub(super) async fn layering(
    cluster: &Cluster,
    view: &PoolView,
    refusals: &mut Vec<Refusal>,
) -> Result<(), ModuleError> {
    let own = name(&view.pool);
    let builds = objects::list(cluster, &machine_os_config()).await?;
    if let Some(build) = build_of(own, &builds) {
        refusals.push(refusal(
            "on_cluster_layering",
            format!(
                "MachineOSConfig `{}` builds images for pool `{own}` on the cluster",
                name(build)
            ),
            "delete it, or build this layer there",
        ));
    }
    Ok(())
}

/// Another MachineConfig that sets the pool's image: by name, the last one wins, and a custom pool's own beats worker's.
pub(super) fn others(args: &Args, view: &PoolView, configs: &[Value], refusals: &mut Vec<Refusal>) {
    let own_role = role_label(&view.pool);
    for other in image_setters(&view.pool, configs)
        .into_iter()
        .filter(|config| name(config) != args.name)
    {
        let is_own_role = own_role
            .as_ref()
            .is_some_and(|(key, value)| other["metadata"]["labels"][key] == value.as_str());
        if args.image.is_none() {
            refusals.push(refusal(
                "other_image",
                format!(
                    "without `{}`, pool `{}` would go to the image of MachineConfig `{}`, not to the base image",
                    args.name,
                    args.pool,
                    name(other)
                ),
                format!("take `{}` back first", name(other)),
            ));
        } else if is_own_role {
            // What is for worker is overruled by a custom pool's own: that is how a canary is made.
            refusals.push(refusal(
                "other_image",
                format!(
                    "MachineConfig `{}` sets an image for pool `{}`, too: {}",
                    name(other),
                    args.pool,
                    other["spec"]["osImageURL"].as_str().unwrap_or_default()
                ),
                format!("delete it, or give `name: {}` to replace it", name(other)),
            ));
        }
    }
}
