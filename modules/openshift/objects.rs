//! In: kinds by name. Out: untyped access to them, and the parts of objects that rollouts are about. Everything is
//! optional on read: what an older or newer cluster lacks is absent, never an error.

use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::Value;

use super::connection::Cluster;
use crate::error::{ErrorKind, ModuleError};

/// The prefix of the machine-config operator's annotations and labels.
pub const PREFIX: &str = "machineconfiguration.openshift.io/";
pub const MCO_NAMESPACE: &str = "openshift-machine-config-operator";

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

pub fn machine_config() -> ApiResource {
    resource(
        "machineconfiguration.openshift.io",
        "v1",
        "MachineConfig",
        "machineconfigs",
    )
}

pub fn machine_config_pool() -> ApiResource {
    resource(
        "machineconfiguration.openshift.io",
        "v1",
        "MachineConfigPool",
        "machineconfigpools",
    )
}

pub fn controller_config() -> ApiResource {
    resource(
        "machineconfiguration.openshift.io",
        "v1",
        "ControllerConfig",
        "controllerconfigs",
    )
}

pub fn machine_os_config() -> ApiResource {
    resource(
        "machineconfiguration.openshift.io",
        "v1",
        "MachineOSConfig",
        "machineosconfigs",
    )
}

pub fn machine_config_node() -> ApiResource {
    resource(
        "machineconfiguration.openshift.io",
        "v1",
        "MachineConfigNode",
        "machineconfignodes",
    )
}

pub fn pod_disruption_budget() -> ApiResource {
    resource(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
    )
}

pub fn cluster_version() -> ApiResource {
    resource(
        "config.openshift.io",
        "v1",
        "ClusterVersion",
        "clusterversions",
    )
}

pub fn image_stream_tag() -> ApiResource {
    resource(
        "image.openshift.io",
        "v1",
        "ImageStreamTag",
        "imagestreamtags",
    )
}

pub fn image_digest_mirror_set() -> ApiResource {
    resource(
        "config.openshift.io",
        "v1",
        "ImageDigestMirrorSet",
        "imagedigestmirrorsets",
    )
}

/// What came before it.
pub fn image_content_source_policy() -> ApiResource {
    resource(
        "operator.openshift.io",
        "v1alpha1",
        "ImageContentSourcePolicy",
        "imagecontentsourcepolicies",
    )
}

pub fn node() -> ApiResource {
    resource("", "v1", "Node", "nodes")
}

pub fn pod() -> ApiResource {
    resource("", "v1", "Pod", "pods")
}

pub fn namespace() -> ApiResource {
    resource("", "v1", "Namespace", "namespaces")
}

pub fn secret() -> ApiResource {
    resource("", "v1", "Secret", "secrets")
}

pub fn config_map() -> ApiResource {
    resource("", "v1", "ConfigMap", "configmaps")
}

/// Objects of a kind, cluster-wide.
pub fn api(cluster: &Cluster, kind: &ApiResource) -> Api<DynamicObject> {
    Api::all_with(cluster.client.clone(), kind)
}

/// Objects of a kind in a namespace.
pub fn api_in(cluster: &Cluster, kind: &ApiResource, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client.clone(), namespace, kind)
}

/// One object as JSON.
pub async fn get(cluster: &Cluster, kind: &ApiResource, name: &str) -> Result<Value, ModuleError> {
    let what = format!("read {} `{name}`", kind.kind);
    let object = api(cluster, kind)
        .get(name)
        .await
        .map_err(|problem| cluster.told(&what, &problem))?;
    json(&object)
}

/// One object, or `None` when there is none (or no such kind).
pub async fn find(
    cluster: &Cluster,
    kind: &ApiResource,
    name: &str,
) -> Result<Option<Value>, ModuleError> {
    match get(cluster, kind, name).await {
        Ok(object) => Ok(Some(object)),
        Err(problem) if problem.kind == ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// All objects of a kind; none when the cluster does not know it.
pub async fn list(cluster: &Cluster, kind: &ApiResource) -> Result<Vec<Value>, ModuleError> {
    let what = format!("list {}", kind.plural);
    match api(cluster, kind).list(&ListParams::default()).await {
        Ok(list) => list.items.iter().map(json).collect(),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(problem) => Err(cluster.told(&what, &problem)),
    }
}

pub fn json(object: &DynamicObject) -> Result<Value, ModuleError> {
    serde_json::to_value(object)
        .map_err(|problem| ModuleError::failed(format!("an object cannot be read: {problem}")))
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// An annotation of the machine-config operator's, by its short name.
pub fn annotation<'v>(object: &'v Value, short: &str) -> &'v str {
    object["metadata"]["annotations"][format!("{PREFIX}{short}")]
        .as_str()
        .unwrap_or_default()
}

/// A condition of a pool or node: its status, reason and message.
pub fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
}

pub fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == "True")
}
