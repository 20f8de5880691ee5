//! In: kinds and JSON. Out: the few API verbs that controllers use, with conflicts tried again.

use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Client, Error};
use serde_json::Value;

/// What the operator calls its own version: the word of one that was built without a release's stamp. It reads only what
/// it wrote itself (MCO: pkg/version, `render_controller.go` `generateRenderedMachineConfig`).
pub(super) const VERSION: &str = "v0.0.0-was-not-built-properly";

/// The same of its commit, which it leaves on the MachineConfigs that it makes.
pub(super) const COMMIT: &str = "was-not-built-properly";

/// The prefix of the operator's annotations and labels.
pub(in crate::lab) const P: &str = "machineconfiguration.openshift.io/";

/// A client that knows the kinds by name.
#[derive(Clone)]
pub struct Access {
    client: Client,
}

/// Group, version, kind, plural.
pub(in crate::lab) type Kind = (&'static str, &'static str, &'static str, &'static str);

pub(in crate::lab) const NODES: Kind = ("", "v1", "Node", "nodes");
pub(in crate::lab) const PODS: Kind = ("", "v1", "Pod", "pods");
pub(in crate::lab) const NAMESPACES: Kind = ("", "v1", "Namespace", "namespaces");
pub(in crate::lab) const BUDGETS: Kind = (
    "policy",
    "v1",
    "PodDisruptionBudget",
    "poddisruptionbudgets",
);
pub(in crate::lab) const CONFIG_MAPS: Kind = ("", "v1", "ConfigMap", "configmaps");
pub(in crate::lab) const CONFIGS: Kind = (
    "machineconfiguration.openshift.io",
    "v1",
    "MachineConfig",
    "machineconfigs",
);
pub(in crate::lab) const POOLS: Kind = (
    "machineconfiguration.openshift.io",
    "v1",
    "MachineConfigPool",
    "machineconfigpools",
);
pub(in crate::lab) const CONTROLLER: Kind = (
    "machineconfiguration.openshift.io",
    "v1",
    "ControllerConfig",
    "controllerconfigs",
);
pub(in crate::lab) const VERSIONS: Kind = (
    "config.openshift.io",
    "v1",
    "ClusterVersion",
    "clusterversions",
);
pub(in crate::lab) const INFRASTRUCTURES: Kind = (
    "config.openshift.io",
    "v1",
    "Infrastructure",
    "infrastructures",
);

impl Access {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// All objects of a kind, for a watch.
    pub(super) fn objects(&self, kind: Kind) -> Api<DynamicObject> {
        self.api(kind, None)
    }

    fn api(&self, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        let (group, version, kind, plural) = kind;
        let api_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    pub(in crate::lab) async fn list(
        &self,
        kind: Kind,
        fields: Option<&str>,
    ) -> Result<Vec<Value>, Error> {
        let mut wanted = ListParams::default();
        if let Some(fields) = fields {
            wanted = wanted.fields(fields);
        }
        let list = self.api(kind, None).list(&wanted).await?;
        Ok(list
            .items
            .iter()
            .filter_map(|item| serde_json::to_value(item).ok())
            .collect())
    }

    pub(in crate::lab) async fn get(&self, kind: Kind, name: &str) -> Result<Option<Value>, Error> {
        let found = self.api(kind, None).get_opt(name).await?;
        Ok(found.and_then(|object| serde_json::to_value(object).ok()))
    }

    /// Creates unless it is there; then writes the status, if there is one, through its own door.
    pub(in crate::lab) async fn create(&self, kind: Kind, object: &Value) -> Result<(), Error> {
        let namespace = object["metadata"]["namespace"].as_str();
        let api = self.api(kind, namespace);
        let typed: DynamicObject =
            serde_json::from_value(object.clone()).map_err(Error::SerdeError)?;
        // As the real operator is booked: it owns the first values of what it makes.
        let parameters = PostParams {
            field_manager: Some("machine-config-operator".to_owned()),
            ..PostParams::default()
        };
        let created = match api.create(&parameters, &typed).await {
            Ok(created) => created,
            Err(Error::Api(status)) if status.code == 409 => return Ok(()),
            Err(problem) => return Err(problem),
        };
        if !object["status"].is_object() {
            return Ok(());
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let mut whole = created;
        loop {
            // Replaced, not patched: a merge patch cannot say `null`, and some statuses must.
            whole.data["status"] = object["status"].clone();
            let written = api
                .replace_status(name, &PostParams::default(), &whole)
                .await;
            match written {
                Ok(_) => return Ok(()),
                // A controller that saw the new object was faster.
                Err(Error::Api(status)) if status.code == 409 => whole = api.get(name).await?,
                Err(problem) => return Err(problem),
            }
        }
    }

    pub(in crate::lab) async fn merge(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
        patch: &Value,
    ) -> Result<(), Error> {
        self.api(kind, namespace)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(|_| ())
    }

    pub(in crate::lab) async fn merge_status(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
        patch: &Value,
    ) -> Result<(), Error> {
        self.api(kind, namespace)
            .patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(|_| ())
    }

    pub(in crate::lab) async fn delete_now(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<(), Error> {
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        match self.api(kind, namespace).delete(name, &now).await {
            Ok(_) => Ok(()),
            Err(Error::Api(status)) if status.code == 404 => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    /// Asks for a pod's eviction. A `PodDisruptionBudget` that does not allow it now is no error.
    pub(in crate::lab) async fn evict(&self, namespace: &str, name: &str) -> Result<(), Error> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.client.clone(), namespace);
        match pods.evict(name, &kube::api::EvictParams::default()).await {
            Ok(_) => Ok(()),
            Err(Error::Api(status)) if matches!(status.code, 404 | 429) => Ok(()),
            Err(problem) => Err(problem),
        }
    }
}

/// `metadata.name`.
pub(in crate::lab) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// One of the operator's annotations.
pub(in crate::lab) fn annotation<'v>(object: &'v Value, short: &str) -> &'v str {
    object["metadata"]["annotations"][format!("{P}{short}")]
        .as_str()
        .unwrap_or_default()
}
