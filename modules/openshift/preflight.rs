//! `layer_preflight`: every check before the first write. In: a pool and an image; out: the nodes that would reboot, in
//! the pool's terms, or what stands in the way. Nothing is changed.

use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::Cluster;
use super::look::PoolView;
use super::objects::{
    self, annotation, cluster_version, condition, is_true, machine_config, machine_os_config, name,
};
use super::pools::{image_setters, max_unavailable};
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;
use crate::registry::ImageRef;

pub struct LayerPreflight;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The pool's name.
    pool: String,
    /// The image that its nodes are to boot, by digest; without one (a layer is taken back) the image is not looked at.
    image: Option<String>,
    /// Name of the MachineConfig that will set it.
    name: String,
    /// Checks that may fail, by name: `upgrade`, `paused`, `degraded`, `cordoned`, `other_image`, `on_cluster_layering`, `stream`, `bootable`.
    #[serde(default)]
    force: Vec<String>,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

/// All checks that can be forced.
const CHECKS: &[&str] = &[
    "upgrade",
    "paused",
    "degraded",
    "cordoned",
    "other_image",
    "on_cluster_layering",
    "stream",
    "bootable",
];

/// A check that failed.
struct Refusal {
    check: &'static str,
    message: String,
    hint: String,
}

fn refusal(check: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Refusal {
    Refusal {
        check,
        message: message.into(),
        hint: hint.into(),
    }
}

#[async_trait]
impl Module for LayerPreflight {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "layer_preflight";
    const SUMMARY: &'static str =
        "Checks everything that could block a layer's rollout, before anything is written";
    const EXAMPLES: &'static str =
        "- layer_preflight: {pool: worker, name: 99-layer-worker, image: \"{{ image }}\"}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = Touches {
        machine: false,
        registry: false,
        cluster: false,
        nodes: false,
        reboot: false,
    };

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        if let Some(wrong) = args
            .force
            .iter()
            .find(|name| !CHECKS.contains(&name.as_str()))
        {
            return Err(
                ModuleError::argument("force", format!("no check is called `{wrong}`"))
                    .hint(format!("the checks are: {}", CHECKS.join(", "))),
            );
        }
        let image = args
            .image
            .as_deref()
            .map(|image| ImageRef::pinned("image", image))
            .transpose()?;
        let cluster = platform
            .clusters
            .get(
                &platform
                    .cluster
                    .or_arguments(args.kubeconfig.as_ref(), args.context.as_ref()),
            )
            .await?;
        platform.status(format!("checking pool {}", args.pool));
        let view = PoolView::read(&cluster, &args.pool).await?;
        if view.nodes.is_empty() {
            return Err(ModuleError::new(
                ErrorKind::Preflight,
                format!("pool `{}` has no nodes", args.pool),
            )
            .hint("label nodes for the pool first: a layer that no node runs proves nothing"));
        }
        let configs = objects::list(&cluster, &machine_config()).await?;
        // A second run on what is already there must not be stopped by what the first has caused.
        let is_there = configs.iter().any(|config| {
            name(config) == args.name
                && config["spec"]["osImageURL"].as_str() == args.image.as_deref()
        });
        let mut refusals = Vec::new();
        if !is_there {
            upgrade(&cluster, &mut refusals).await?;
            pool(&view, &mut refusals);
            layering(&cluster, &view, &mut refusals).await?;
        }
        others(args, &view, &configs, &mut refusals);
        if let Some((image, _)) = &image {
            registry(platform, image, &view, &mut refusals).await?;
        }
        let (forced, refused): (Vec<Refusal>, Vec<Refusal>) = refusals
            .into_iter()
            .partition(|refusal| args.force.iter().any(|name| name == refusal.check));
        if let Some(first) = refused.first() {
            let all: Vec<Value> = refused.iter().map(|refusal| json!({"check": refusal.check, "message": refusal.message, "help": refusal.hint})).collect();
            let more = if refused.len() > 1 {
                format!(" (and {} more)", refused.len() - 1)
            } else {
                String::new()
            };
            return Err(ModuleError::new(
                ErrorKind::Preflight,
                format!(
                    "check `{}`: {}{more}; nothing was changed",
                    first.check, first.message
                ),
            )
            .hint(first.hint.clone())
            .with("refused", json!(all)));
        }
        let nodes: Vec<&str> = view.nodes.iter().map(name).collect();
        let mut outcome = Outcome::unchanged(json!({
            "plan": {"pool": args.pool, "nodes": nodes, "reboots": nodes.len(), "at_once": max_unavailable(&view.pool, nodes.len())},
        }));
        outcome.warnings = forced
            .iter()
            .map(|refusal| format!("forced past `{}`: {}", refusal.check, refusal.message))
            .collect();
        Ok(Change::None(outcome))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}

async fn upgrade(cluster: &Cluster, refusals: &mut Vec<Refusal>) -> Result<(), ModuleError> {
    let Some(version) = objects::find(cluster, &cluster_version(), "version").await? else {
        return Ok(());
    };
    let history = &version["status"]["history"][0];
    if history["state"] == "Partial" || is_true(&version, "Progressing") {
        let target = version["status"]["desired"]["version"]
            .as_str()
            .unwrap_or("another version");
        refusals.push(refusal(
            "upgrade",
            format!("the cluster is being upgraded to {target}"),
            "wait until `oc get clusterversion` shows it as completed",
        ));
    }
    Ok(())
}

fn pool(view: &PoolView, refusals: &mut Vec<Refusal>) {
    let own = name(&view.pool);
    if view.pool["spec"]["paused"] == true {
        refusals.push(refusal(
            "paused",
            format!("pool `{own}` is paused: its nodes would not take the image"),
            format!("oc patch mcp {own} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'"),
        ));
    }
    if let Some(degraded) =
        condition(&view.pool, "Degraded").filter(|condition| condition["status"] == "True")
    {
        let message = degraded["message"].as_str().unwrap_or_default();
        refusals.push(refusal(
            "degraded",
            format!("pool `{own}` is degraded: {message}"),
            format!("mend it first: `oc describe mcp {own}`"),
        ));
    }
    let degraded: Vec<&str> = view
        .nodes
        .iter()
        .filter(|node| annotation(node, "state") == "Degraded")
        .map(name)
        .collect();
    if !degraded.is_empty() && !is_true(&view.pool, "Degraded") {
        refusals.push(refusal(
            "degraded",
            format!(
                "nodes of pool `{own}` are degraded: {}",
                degraded.join(", ")
            ),
            "read their annotation `machineconfiguration.openshift.io/reason`",
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
        .filter(|node| node["spec"]["unschedulable"] == true || !is_true(node, "Ready"))
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

async fn layering(
    cluster: &Cluster,
    view: &PoolView,
    refusals: &mut Vec<Refusal>,
) -> Result<(), ModuleError> {
    let own = name(&view.pool);
    let builds = objects::list(cluster, &machine_os_config()).await?;
    if let Some(build) = builds
        .iter()
        .find(|build| build["spec"]["machineConfigPool"]["name"] == own)
    {
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
fn others(args: &Args, view: &PoolView, configs: &[Value], refusals: &mut Vec<Refusal>) {
    let own_role = super::pools::role_label(&view.pool);
    for other in image_setters(&view.pool, configs)
        .into_iter()
        .filter(|config| name(config) != args.name)
    {
        let is_own_role = own_role
            .as_ref()
            .is_some_and(|(key, value)| other["metadata"]["labels"][key] == value.as_str());
        // What is for worker is overruled by a custom pool's own: that is how a canary is made.
        if is_own_role {
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

async fn registry(
    platform: &Platform,
    image: &ImageRef,
    view: &PoolView,
    refusals: &mut Vec<Refusal>,
) -> Result<(), ModuleError> {
    let info = match platform.registries.inspect(image).await {
        Ok(info) => info,
        // A dry run of the whole playbook: the build before this task pushed nothing.
        Err(problem) if problem.kind == ErrorKind::NotFound && platform.check => {
            platform.note(format!(
                "`{image}` is not in the registry yet; a real run pushes it first"
            ));
            return Ok(());
        }
        Err(problem) if problem.kind == ErrorKind::NotFound => {
            return Err(ModuleError {
                message: format!(
                    "the image cannot be rolled out: {}; nothing was changed",
                    problem.message
                ),
                argument: Some("image".to_owned()),
                ..problem
            });
        }
        Err(problem) => return Err(problem),
    };
    for node in &view.nodes {
        let Some(architecture) = node["status"]["nodeInfo"]["architecture"].as_str() else {
            continue;
        };
        let wanted = format!("linux/{architecture}");
        if !info.platforms.contains(&wanted) {
            return Err(ModuleError::new(
                ErrorKind::Preflight,
                format!(
                    "`{image}` is for {}, and node `{}` is {wanted}; nothing was changed",
                    info.platforms.join(", "),
                    name(node)
                ),
            )
            .hint("build the layer on the base image of the nodes' architecture"));
        }
    }
    let is_bootable = ["ostree.bootable", "containers.bootc"]
        .iter()
        .any(|label| info.labels.contains_key(*label));
    if !is_bootable {
        refusals.push(refusal("bootable", format!("`{image}` is no bootable OS image: it has neither the label `ostree.bootable` nor `containers.bootc`"), "build it `FROM` the cluster's OS image (`release_info`)"));
    }
    Ok(())
}
