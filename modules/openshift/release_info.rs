//! `release_info`: the cluster's release, and the OS image that it ships, as `oc adm release info --image-for` finds it.

use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::connection::Cluster;
use super::look::pull_secret;
use super::objects::{self, cluster_version, node};
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::image::release::resolve;
use crate::platform::Platform;
use crate::registry::ImageRef;

pub struct ReleaseInfo;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Pull specification of a release image; the cluster's own by default.
    release: Option<String>,
    /// The component to find.
    #[serde(default = "component")]
    component: String,
    /// `amd64`, `arm64`, `ppc64le`, `s390x`; that of the cluster's nodes by default.
    architecture: Option<String>,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

fn component() -> String {
    "rhel-coreos".to_owned()
}

#[async_trait]
impl Module for ReleaseInfo {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "release_info";
    const SUMMARY: &'static str =
        "Finds the cluster's release and the digest of the OS image that it ships";
    const EXAMPLES: &'static str =
        "- release_info:\n  register: release\n- debug: {var: release.os_image}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = Touches::NOTHING;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        let cluster = platform
            .open_cluster(args.kubeconfig.as_ref(), args.context.as_ref())
            .await?;
        let (image, found_by) = match &args.release {
            Some(text) => (text.clone(), "argument"),
            None => (
                own_release(&cluster).await?,
                "ClusterVersion version: status.desired.image",
            ),
        };
        let image: ImageRef = image.parse().map_err(|problem: ModuleError| ModuleError {
            argument: Some("release".to_owned()),
            ..problem
        })?;
        let architecture = match &args.architecture {
            Some(name) => name.clone(),
            None => architecture(&cluster).await?,
        };
        let registries = match pull_secret(&cluster).await {
            Some(text) => platform.registries.with_pull_secret(&text),
            None => platform.registries.with_pull_secret("{}"),
        };
        platform.status(format!("reading release image {image}"));
        let release = resolve(&registries, &image, &architecture).await?;
        let os_image = release.component(&args.component)?;
        Ok(Change::None(Outcome::unchanged(json!({
            "version": release.version, "image": release.image.to_string(), "os_image": os_image.to_string(),
            "os_version": release.os_version, "architecture": release.architecture, "found_by": found_by,
            "component": args.component,
        }))))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}

/// Desired, not last completed: during an upgrade it already names the new release (oc: release/info.go).
async fn own_release(cluster: &Cluster) -> Result<String, ModuleError> {
    let version = objects::get(cluster, &cluster_version(), "version").await?;
    version["status"]["desired"]["image"]
        .as_str()
        .or(version["spec"]["desiredUpdate"]["image"].as_str())
        .map(ToOwned::to_owned)
        .ok_or_else(|| {
            ModuleError::failed("ClusterVersion `version` names no release image")
                .hint("give `release:`")
        })
}

async fn architecture(cluster: &Cluster) -> Result<String, ModuleError> {
    let nodes = objects::list(cluster, &node()).await?;
    let mut all: Vec<&str> = nodes
        .iter()
        .filter_map(|node| node["status"]["nodeInfo"]["architecture"].as_str())
        .collect();
    all.sort_unstable();
    all.dedup();
    match all.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(
            ModuleError::failed("no node of the cluster says its architecture")
                .hint("give `architecture:`"),
        ),
        several => Err(ModuleError::argument(
            "architecture",
            format!(
                "the cluster's nodes have several architectures: {}",
                several.join(", ")
            ),
        )
        .hint("give `architecture:`; each needs a layer of its own")),
    }
}
