//! `machine_config_pool_info`: pools as they are. In: a name, or none for all; out: counts, images, members, a verdict.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::Cluster;
use super::look::PoolView;
use super::objects::{self, name};
use super::{pool_state, pools};
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::Platform;

pub struct MachineConfigPoolInfo;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Name of the pool; all pools without it.
    name: Option<String>,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

/// The OS image of the pool's rendered MachineConfig.
pub(super) async fn os_image(
    cluster: &Cluster,
    pool: &Value,
) -> Result<Option<String>, ModuleError> {
    let rendered = pool["spec"]["configuration"]["name"]
        .as_str()
        .unwrap_or_default();
    if rendered.is_empty() {
        return Ok(None);
    }
    let config = objects::find(cluster, &objects::machine_config(), rendered).await?;
    Ok(config.and_then(|config| {
        let image = config["spec"]["osImageURL"].as_str()?;
        (!image.is_empty()).then(|| image.to_owned())
    }))
}

#[async_trait]
impl Module for MachineConfigPoolInfo {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "machine_config_pool_info";
    const SUMMARY: &'static str =
        "Reads pools: what they go to, which nodes they have, whether they are there";
    const EXAMPLES: &'static str = "- machine_config_pool_info:\n  register: all\n- machine_config_pool_info: {name: worker}\n  register: worker\n  failed_when: worker.pools[0].verdict == 'degraded'\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = Touches::NOTHING;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        let cluster = platform
            .open_cluster(args.kubeconfig.as_ref(), args.context.as_ref())
            .await?;
        let all = match &args.name {
            // Says which pools there are when this one is not.
            Some(name) => PoolView::read(&cluster, name).await?.pools,
            None => objects::list(&cluster, &objects::machine_config_pool()).await?,
        };
        let nodes = objects::list(&cluster, &objects::node()).await?;
        let mut images: BTreeMap<String, Option<String>> = BTreeMap::new();
        let mut found = Vec::new();
        for pool in all.iter().filter(|pool| {
            args.name
                .as_deref()
                .is_none_or(|wanted| name(pool) == wanted)
        }) {
            let rendered = pool["spec"]["configuration"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let image = match images.get(&rendered) {
                Some(known) => known.clone(),
                None => os_image(&cluster, pool).await?,
            };
            images.insert(rendered, image.clone());
            let members = pools::members(name(pool), &all, &nodes);
            found.push(pool_state::summary(pool, &members, image.as_deref()));
        }
        Ok(Change::None(Outcome::unchanged(json!({"pools": found}))))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}
