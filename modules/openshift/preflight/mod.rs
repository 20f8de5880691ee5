//! `layer_preflight`: every check before the first write. In: a pool and an image; out: the nodes that would reboot, in
//! the pool's terms, or what stands in the way. Nothing is changed.
//!
//! ```text
//! rights   what the user may do                    sources     where nodes pull from, and with which login
//! pool     the cluster, the pool, its neighbours   node        a node looks for the image itself
//! image    the image as its registry has it        extensions  packages that are wanted twice
//! plan     what will happen
//! ```

mod extensions;
mod image;
mod node;
mod plan;
mod pool;
mod rights;
mod sources;

use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::Cluster;
use super::look::{PoolView, base_image};
use super::objects::{self, machine_config, name};
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;
use crate::registry::ImageRef;
use plan::Plan;

pub struct LayerPreflight;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The pool's name.
    pool: String,
    /// The image that its nodes are to boot, by digest; without one (a layer is taken back) the image is not looked at.
    image: Option<String>,
    /// The image that extensions and kernels of the pool are to come from.
    extensions_image: Option<String>,
    /// Name of the MachineConfig that will set it.
    name: String,
    /// Checks that may fail, by name: `upgrade`, `paused`, `degraded`, `cordoned`, `other_image`, `on_cluster_layering`, `stream`, `bootable`, `base`, `extensions`, `mirrors`, `pull_secret`, `node_pull`.
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
    "base",
    "extensions",
    "mirrors",
    "pull_secret",
    "node_pull",
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
            .open_cluster(args.kubeconfig.as_ref(), args.context.as_ref())
            .await?;
        platform.status(format!("checking pool {}", args.pool));
        let mut warnings = rights::check(args, &cluster, platform.check).await?;
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
            pool::upgrade(&cluster, &mut refusals).await?;
            pool::paused(&view, platform.clock.now(), &mut refusals);
            // To take a layer back is the remedy for a pool that it has degraded.
            if args.image.is_some() {
                pool::pool(&view, &mut refusals);
                pool::layering(&cluster, &view, &mut refusals).await?;
            }
        }
        pool::others(args, &view, &configs, &mut refusals);
        if let Some((image, _)) = &image {
            let look = Look {
                platform,
                cluster: &cluster,
                view: &view,
                configs: &configs,
                image,
                pins_extensions: args.extensions_image.is_some(),
                is_there,
            };
            look.at_image(&mut refusals, &mut warnings).await?;
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
        let wanted = match &args.image {
            Some(image) => image.clone(),
            None => base_image(&cluster).await?,
        };
        let plan = Plan::make(args, wanted, &cluster, &view, &configs).await?;
        if let (false, Some(text)) = (is_there, plan.text(args)) {
            platform.note(text);
        }
        let mut outcome = Outcome::unchanged(json!({"plan": plan.json(args)}));
        let forced = forced.iter();
        warnings.extend(
            forced.map(|refusal| format!("forced past `{}`: {}", refusal.check, refusal.message)),
        );
        outcome.warnings = warnings;
        Ok(Change::None(outcome))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}

/// An image on its way to a pool.
struct Look<'l> {
    platform: &'l Platform,
    cluster: &'l Cluster,
    view: &'l PoolView,
    /// All MachineConfigs, the rendered ones too.
    configs: &'l [Value],
    image: &'l ImageRef,
    /// The MachineConfig says where extensions come from.
    pins_extensions: bool,
    /// The MachineConfig has it already.
    is_there: bool,
}

impl Look<'_> {
    /// From the registry to a node.
    async fn at_image(
        &self,
        refusals: &mut Vec<Refusal>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ModuleError> {
        let Some(info) = self.registry(refusals).await? else {
            return Ok(());
        };
        self.base(&info, refusals, warnings).await?;
        self.extensions(&info, refusals, warnings);
        if !self.is_there {
            self.sources(refusals, warnings).await;
            self.node(refusals, warnings).await;
        }
        Ok(())
    }
}
