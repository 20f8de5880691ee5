//! In: a kind as a user names it (`ConfigMap`, `configmaps`, `cm`) and its `apiVersion`. Out: the API's own names of
//! it, asked from discovery once a cluster and run.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::api::ApiResource;
use tokio::sync::Mutex;

use super::connection::Cluster;
use crate::error::{ErrorKind, ModuleError};

/// The resources of each `apiVersion` that was asked for.
#[derive(Default)]
pub struct Discovered(Mutex<HashMap<String, Arc<Vec<APIResource>>>>);

/// A kind that the cluster serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// `v1` or `group/version`.
    pub api_version: String,
    pub kind: String,
    pub plural: String,
    pub namespaced: bool,
}

impl Kind {
    /// The group, empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// Whether it is one of Kubernetes' own kinds, whose lists merge by key.
    pub fn is_built_in(&self) -> bool {
        let group = self.group();
        !group.contains('.') || group.ends_with(".k8s.io")
    }

    pub fn resource(&self) -> ApiResource {
        let version = self
            .api_version
            .split_once('/')
            .map_or(self.api_version.as_str(), |(_, version)| version);
        ApiResource {
            group: self.group().to_owned(),
            version: version.to_owned(),
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }

    /// The path of its collection; an empty namespace means cluster scope, or all namespaces.
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.group().is_empty() {
            "/api"
        } else {
            "/apis"
        };
        if namespace.is_empty() || !self.namespaced {
            format!("{root}/{}/{}", self.api_version, self.plural)
        } else {
            format!(
                "{root}/{}/namespaces/{namespace}/{}",
                self.api_version, self.plural
            )
        }
    }

    /// How it is named in messages: ``ConfigMap `space/name` ``.
    pub fn show(&self, namespace: &str, name: &str) -> String {
        if namespace.is_empty() {
            format!("{} `{name}`", self.kind)
        } else {
            format!("{} `{namespace}/{name}`", self.kind)
        }
    }
}

/// The resource that `wanted` names: by kind, then plural, singular, short name, as kubernetes.core looks.
fn choose<'r>(resources: &'r [APIResource], wanted: &str) -> Option<&'r APIResource> {
    let whole = || {
        resources
            .iter()
            .filter(|resource| !resource.name.contains('/'))
    };
    whole()
        .find(|resource| resource.kind == wanted)
        .or_else(|| whole().find(|resource| resource.name == wanted))
        .or_else(|| whole().find(|resource| resource.singular_name == wanted))
        .or_else(|| {
            whole().find(|resource| {
                resource
                    .short_names
                    .iter()
                    .flatten()
                    .any(|short| short == wanted)
            })
        })
}

async fn resources(
    cluster: &Cluster,
    api_version: &str,
    fresh: bool,
) -> Result<Arc<Vec<APIResource>>, ModuleError> {
    let mut known = cluster.discovered.0.lock().await;
    if let Some(resources) = known.get(api_version).filter(|_| !fresh) {
        return Ok(Arc::clone(resources));
    }
    let answer = if api_version.contains('/') {
        cluster.client.list_api_group_resources(api_version).await
    } else {
        cluster.client.list_core_api_resources(api_version).await
    };
    let resources = match answer {
        Ok(list) => Arc::new(list.resources),
        Err(kube::Error::Api(status)) if status.code == 404 => Arc::default(),
        Err(problem) => {
            return Err(cluster.told(&format!("ask for the kinds of `{api_version}`"), &problem));
        }
    };
    known.insert(api_version.to_owned(), Arc::clone(&resources));
    Ok(resources)
}

/// The kind that the cluster serves under this name, or `None`. What an earlier answer lacks is asked for again: a
/// task before may have installed it.
pub async fn find(
    cluster: &Cluster,
    api_version: &str,
    kind: &str,
) -> Result<Option<Kind>, ModuleError> {
    for fresh in [false, true] {
        let resources = resources(cluster, api_version, fresh).await?;
        if let Some(found) = choose(&resources, kind) {
            return Ok(Some(Kind {
                api_version: api_version.to_owned(),
                kind: found.kind.clone(),
                plural: found.name.clone(),
                namespaced: found.namespaced,
            }));
        }
    }
    Ok(None)
}

/// Whether the cluster serves anything under this `apiVersion`.
pub async fn is_served(cluster: &Cluster, api_version: &str) -> Result<bool, ModuleError> {
    Ok(!resources(cluster, api_version, false).await?.is_empty())
}

/// The error for a kind that is not served, with the nearest one that is.
pub async fn missing(cluster: &Cluster, api_version: &str, kind: &str) -> ModuleError {
    let error = ModuleError::new(
        ErrorKind::NotFound,
        format!("the cluster has no kind `{kind}` in `{api_version}`"),
    );
    let resources = resources(cluster, api_version, false)
        .await
        .unwrap_or_default();
    if resources.is_empty() {
        return error.hint(format!(
            "it does not serve `{api_version}`; `kubectl api-versions` lists what it does"
        ));
    }
    let near = resources
        .iter()
        .map(|resource| {
            (
                strsim::damerau_levenshtein(&resource.kind, kind),
                &resource.kind,
            )
        })
        .filter(|(distance, _)| *distance <= 2)
        .min();
    match near {
        Some((_, near)) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`kubectl api-resources` lists the kinds with their `apiVersion`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str, kind: &str, short: &[&str]) -> APIResource {
        APIResource {
            name: name.to_owned(),
            kind: kind.to_owned(),
            singular_name: kind.to_lowercase(),
            short_names: Some(short.iter().map(ToString::to_string).collect()),
            namespaced: true,
            ..APIResource::default()
        }
    }

    #[test]
    fn a_kind_is_found_under_all_its_names_and_never_as_a_subresource() {
        let all = [
            resource("pods/status", "Pod", &[]),
            resource("pods", "Pod", &["po"]),
            resource("configmaps", "ConfigMap", &["cm"]),
        ];
        for wanted in ["Pod", "pods", "pod", "po"] {
            assert_eq!(
                choose(&all, wanted).map(|found| found.name.as_str()),
                Some("pods"),
                "{wanted}"
            );
        }
        assert_eq!(choose(&all, "Deployment"), None);
    }

    #[test]
    fn paths_and_merging_follow_the_group() {
        let kind = |api_version: &str, namespaced| Kind {
            api_version: api_version.to_owned(),
            kind: "Thing".to_owned(),
            plural: "things".to_owned(),
            namespaced,
        };
        assert_eq!(kind("v1", true).path("a"), "/api/v1/namespaces/a/things");
        assert_eq!(kind("v1", true).path(""), "/api/v1/things");
        assert_eq!(kind("x.io/v1", false).path("a"), "/apis/x.io/v1/things");
        assert!(
            kind("apps/v1", true).is_built_in()
                && kind("rbac.authorization.k8s.io/v1", true).is_built_in()
        );
        assert!(!kind("config.openshift.io/v1", false).is_built_in());
    }
}
