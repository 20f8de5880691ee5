//! `layer_preflight`: every check before the first write. In: a pool and an image; out: the nodes that would reboot, in
//! the pool's terms, or what stands in the way. Nothing is changed.

use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::blockers::{Blocker, blockers};
use super::connection::Cluster;
use super::look::{PoolView, base_image};
use super::objects::{self, annotation, cluster_version, machine_config, machine_os_config, name};
use super::pool_state::{Verdict, verdict};
use super::pools::{
    build_of, image_setters, is_available, is_failing, max_unavailable, members, role_label,
    selects, sort_by_turn, upgrades_to,
};
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
    const TOUCHES: Touches = Touches::NOTHING;

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
        let own = configs.iter().find(|config| name(config) == args.name);
        let is_there = match &args.image {
            Some(image) => own.is_some_and(|own| own["spec"]["osImageURL"] == image.as_str()),
            None => own.is_none(),
        };
        let mut refusals = Vec::new();
        if !is_there {
            upgrade(&cluster, &mut refusals).await?;
            paused(&view, &mut refusals);
            // To take a layer back is the remedy for a pool that it has degraded.
            if args.image.is_some() {
                pool(&view, &mut refusals);
                layering(&cluster, &view, &mut refusals).await?;
            }
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
        let plan = Plan::make(args, &cluster, &view, &configs).await?;
        if let (false, Some(text)) = (is_there, plan.text(args)) {
            platform.note(text);
        }
        let mut outcome = Outcome::unchanged(json!({"plan": plan.json(args)}));
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

/// What the MachineConfig will do.
struct Plan {
    /// Every node of the pool, in the order in which the operator takes them.
    nodes: Vec<String>,
    /// Those that run another image now, and reboot.
    reboots: Vec<String>,
    at_once: usize,
    /// Pods that would not let their nodes be drained now.
    blockers: Vec<Blocker>,
    /// Some run the same digest under another name, and reboot all the same.
    same_digest: bool,
    /// Custom pools that take the image over, with their nodes: they select worker's MachineConfigs and set no image
    /// of their own.
    inherited: Vec<(String, Vec<String>)>,
}

/// As many nodes as are named in one line.
const NAMED: usize = 12;

impl Plan {
    async fn make(
        args: &Args,
        cluster: &Cluster,
        view: &PoolView,
        configs: &[Value],
    ) -> Result<Self, ModuleError> {
        let wanted = match &args.image {
            Some(image) => image.clone(),
            None => base_image(cluster).await?,
        };
        let image_of = |node: &Value| {
            configs
                .iter()
                .find(|config| name(config) == annotation(node, "currentConfig"))
                .and_then(|config| config["spec"]["osImageURL"].as_str())
        };
        let mut nodes: Vec<&Value> = view.nodes.iter().collect();
        sort_by_turn(&mut nodes);
        let owned = |nodes: &[&Value]| nodes.iter().map(|node| name(node).to_owned()).collect();
        let reboots: Vec<&Value> = nodes
            .iter()
            .copied()
            .filter(|node| image_of(node) != Some(&wanted))
            .collect();
        let role = role_label(&view.pool);
        let takes_over = |pool: &&Value| {
            let selects_it = role.as_ref().is_some_and(|(key, value)| {
                selects(
                    &pool["spec"]["machineConfigSelector"],
                    &json!({key.as_str(): value}),
                )
            });
            let has_own = image_setters(pool, configs).iter().any(|config| {
                role_label(pool).is_some_and(|(key, value)| {
                    config["metadata"]["labels"][key.as_str()] == value.as_str()
                })
            });
            name(pool) != args.pool && selects_it && !has_own
        };
        let all = objects::list(cluster, &objects::node()).await?;
        let inherited = view
            .pools
            .iter()
            .filter(takes_over)
            .map(|pool| {
                (
                    name(pool).to_owned(),
                    owned(&members(name(pool), &view.pools, &all)),
                )
            })
            .filter(|(_, nodes): &(String, Vec<String>)| !nodes.is_empty())
            .collect();
        let digest = |image: &str| image.split_once('@').map(|(_, digest)| digest.to_owned());
        Ok(Self {
            blockers: blockers(cluster, &reboots).await,
            // The operator compares names as they are written (MCO: pkg/daemon/rpm-ostree.go).
            same_digest: reboots.iter().any(|node| {
                let own = image_of(node).and_then(digest);
                own.is_some() && own == digest(&wanted)
            }),
            at_once: max_unavailable(&view.pool, nodes.len()),
            reboots: owned(&reboots),
            nodes: owned(&nodes),
            inherited,
        })
    }

    fn json(&self, args: &Args) -> Value {
        let inherited: Vec<Value> = self
            .inherited
            .iter()
            .map(|(pool, nodes)| json!({"pool": pool, "nodes": nodes}))
            .collect();
        json!({"pool": args.pool, "nodes": self.nodes, "reboots": self.reboots.len(), "reboot": self.reboots,
            "at_once": self.at_once, "inherited": inherited, "blockers": self.blockers, "same_digest": self.same_digest})
    }

    /// For people; nothing when no node would reboot.
    fn text(&self, args: &Args) -> Option<String> {
        if self.reboots.is_empty() {
            return None;
        }
        let count = self.reboots.len();
        let mut text = format!(
            "{}MachineConfig {} will reboot {count} {} of pool {}, {} at a time: {}",
            if args.image.is_some() {
                ""
            } else {
                "removing "
            },
            args.name,
            if count == 1 { "node" } else { "nodes" },
            args.pool,
            self.at_once,
            self.reboots[..count.min(NAMED)].join(", ")
        );
        if count > NAMED {
            text.push_str(&format!(" and {} more", count - NAMED));
        }
        if self.same_digest {
            text.push_str("; they run the same digest under another name, and reboot all the same");
        }
        if !self.blockers.is_empty() {
            let named: Vec<String> = self
                .blockers
                .iter()
                .take(NAMED)
                .map(ToString::to_string)
                .collect();
            text.push_str(&format!(
                "; {} would not let their nodes be drained now: {}",
                self.blockers.len(),
                named.join(", ")
            ));
        }
        for (pool, nodes) in &self.inherited {
            text.push_str(&format!(
                "; pool {pool} follows, too ({} {})",
                nodes.len(),
                if nodes.len() == 1 { "node" } else { "nodes" }
            ));
        }
        Some(text)
    }
}

async fn upgrade(cluster: &Cluster, refusals: &mut Vec<Refusal>) -> Result<(), ModuleError> {
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

fn paused(view: &PoolView, refusals: &mut Vec<Refusal>) {
    let own = name(&view.pool);
    if view.pool["spec"]["paused"] == true {
        refusals.push(refusal(
            "paused",
            format!("pool `{own}` is paused: its nodes would not take the image"),
            format!("oc patch mcp {own} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'"),
        ));
    }
}

fn pool(view: &PoolView, refusals: &mut Vec<Refusal>) {
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

async fn layering(
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
fn others(args: &Args, view: &PoolView, configs: &[Value], refusals: &mut Vec<Refusal>) {
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
