//! In: a cluster and a pool's name. Out: everything about the pool at one moment, and what its nodes booted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::connection::Cluster;
use super::objects::{self, MCO_NAMESPACE, annotation, name};
use super::pools;
use super::proof::{self, Booted, Method};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Nodes that are asked at the same time.
pub(super) const AT_ONCE: usize = 32;

/// A pool with what belongs to it.
#[derive(Debug, Clone)]
pub struct PoolView {
    pub pool: Value,
    pub pools: Vec<Value>,
    pub nodes: Vec<Value>,
}

impl PoolView {
    pub async fn read(cluster: &Cluster, pool: &str) -> Result<Self, ModuleError> {
        let pools = objects::list(cluster, &objects::machine_config_pool()).await?;
        let Some(own) = pools.iter().find(|known| name(known) == pool).cloned() else {
            let known: Vec<&str> = pools.iter().map(name).collect();
            let hint = if known.is_empty() {
                "the cluster has no MachineConfigPools: is it an OpenShift cluster?".to_owned()
            } else {
                format!("it has: {}", known.join(", "))
            };
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!("the cluster has no pool `{pool}`"),
            )
            .hint(hint));
        };
        let nodes = objects::list(cluster, &objects::node()).await?;
        let nodes = pools::members(pool, &pools, &nodes)
            .into_iter()
            .cloned()
            .collect();
        Ok(Self {
            pool: own,
            pools,
            nodes,
        })
    }

    /// The rendered MachineConfig that the pool goes to.
    pub async fn rendered(&self, cluster: &Cluster) -> Result<Option<Value>, ModuleError> {
        match self.pool["spec"]["configuration"]["name"].as_str() {
            Some(rendered) if !rendered.is_empty() => {
                objects::find(cluster, &objects::machine_config(), rendered).await
            }
            _ => Ok(None),
        }
    }
}

/// The image that nodes run without any layer: the controller's own, else what the operator published.
pub async fn base_image(cluster: &Cluster) -> Result<String, ModuleError> {
    if let Some(config) = objects::find(
        cluster,
        &objects::controller_config(),
        "machine-config-controller",
    )
    .await?
    {
        for field in ["baseOSContainerImage", "osImageURL"] {
            if let Some(image) = config["spec"][field]
                .as_str()
                .filter(|image| !image.is_empty())
            {
                return Ok(image.to_owned());
            }
        }
    }
    let map = objects::api_in(cluster, &objects::config_map(), MCO_NAMESPACE)
        .get("machine-config-osimageurl")
        .await
        .map_err(|problem| cluster.told("read the cluster's base OS image", &problem))?;
    map.data["data"]["baseOSContainerImage"]
        .as_str()
        .map(ToOwned::to_owned)
        .ok_or_else(|| ModuleError::failed("the cluster does not say which base OS image it has").hint("looked at ControllerConfig `machine-config-controller` and ConfigMap `machine-config-osimageurl`"))
}

/// Asks nodes, a bounded number at a time; the answers come in the order of the nodes.
pub async fn booted(
    platform: &Platform,
    cluster: &Cluster,
    nodes: &[Value],
    method: Method,
) -> Vec<(Value, Result<Booted, ModuleError>)> {
    futures_util::stream::iter(nodes.iter().cloned())
        .map(|node| async move {
            let answer = proof::read(platform, cluster, &node, method).await;
            (node, answer)
        })
        .buffered(AT_ONCE)
        .collect()
        .await
}

/// A node of a result.
pub fn entry(node: &Value, booted: &Booted, before: &str, seconds: Option<f64>) -> Value {
    json!({
        "name": name(node), "booted": booted.image(), "version": booted.version, "staged": booted.staged,
        "boot_id_before": before, "boot_id": booted.boot_id, "proof": booted.proof,
        "config": annotation(node, "currentConfig"), "seconds": seconds,
    })
}

/// The cluster's global pull secret, when it may be read: the logins of its nodes, and of its release's registry.
pub async fn pull_secret(cluster: &Cluster) -> Option<String> {
    let secrets = objects::api_in(cluster, &objects::secret(), "openshift-config");
    let secret = secrets.get("pull-secret").await.ok()?;
    let data = secret.data["data"][".dockerconfigjson"].as_str()?;
    let bytes = STANDARD.decode(data).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    serde_json::from_str::<Value>(&text).ok().map(|_| text)
}
