//! In: a kind, a place and JSON. Out: the API's verbs on objects of any kind, with nothing of an object lost on the
//! way. Reads speak in the server's words; writes hand back the client's error, since callers decide by its code.

use kube::api::{
    Api, DeleteParams, DynamicObject, GetParams, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::Request;
use serde_json::Value;

use super::connection::Cluster;
use super::kinds::Kind;
use crate::error::{ErrorKind, ModuleError};

/// Objects of one page of a list.
const PAGE: u32 = 500;

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    pub kind: Kind,
    /// Empty in cluster scope.
    pub namespace: String,
    /// Empty when the server is to make one (`generateName`).
    pub name: String,
}

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Create,
    Replace,
    /// JSON merge patch.
    Merge,
    /// Strategic merge patch: lists of built-in kinds merge by key.
    Strategic,
    /// Server-side apply; `true` takes over fields of other managers.
    Apply(bool),
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.kind.show(&self.namespace, &self.name))
    }
}

fn build(problem: kube::core::request::Error) -> kube::Error {
    kube::Error::BuildRequest(problem)
}

impl At {
    fn request(&self) -> Request {
        Request::new(self.kind.path(&self.namespace))
    }

    pub async fn get(&self, cluster: &Cluster) -> Result<Option<Value>, ModuleError> {
        let answer = match self.request().get(&self.name, &GetParams::default()) {
            Ok(request) => cluster.client.request::<Value>(request).await,
            Err(problem) => Err(build(problem)),
        };
        match answer {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => Ok(None),
            Err(problem) => Err(told(cluster, &format!("read {self}"), &problem)),
        }
    }

    /// Writes `body`; `dry` has the server do everything but keep it.
    pub async fn write(
        &self,
        cluster: &Cluster,
        verb: Verb,
        body: &Value,
        manager: &str,
        dry: bool,
    ) -> Result<Value, kube::Error> {
        let post = PostParams {
            dry_run: dry,
            field_manager: Some(manager.to_owned()),
        };
        let bytes = || serde_json::to_vec(body).map_err(kube::Error::SerdeError);
        let mut patch = match verb {
            Verb::Apply(_) => PatchParams::apply(manager),
            _ => PatchParams {
                field_manager: Some(manager.to_owned()),
                ..PatchParams::default()
            },
        };
        patch.dry_run = dry;
        patch.force = verb == Verb::Apply(true);
        let request = self.request();
        let request = match verb {
            Verb::Create => request.create(&post, bytes()?),
            Verb::Replace => request.replace(&self.name, &post, bytes()?),
            Verb::Merge => request.patch(&self.name, &patch, &Patch::Merge(body)),
            Verb::Strategic => request.patch(&self.name, &patch, &Patch::Strategic(body)),
            Verb::Apply(_) => request.patch(&self.name, &patch, &Patch::Apply(body)),
        };
        cluster.client.request(request.map_err(build)?).await
    }

    /// Deletes it. `None` when it was gone already.
    pub async fn delete(
        &self,
        cluster: &Cluster,
        parameters: &DeleteParams,
    ) -> Result<Option<Value>, kube::Error> {
        let request = self
            .request()
            .delete(&self.name, parameters)
            .map_err(build)?;
        match cluster.client.request::<Value>(request).await {
            Ok(answer) => Ok(Some(answer)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(problem) => Err(problem),
        }
    }
}

/// Objects of a kind, for watches; an empty namespace means all.
pub fn api(cluster: &Cluster, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
    if namespace.is_empty() || !kind.namespaced {
        Api::all_with(cluster.client.clone(), &kind.resource())
    } else {
        Api::namespaced_with(cluster.client.clone(), namespace, &kind.resource())
    }
}

/// All objects that the selectors select, page by page.
pub async fn list(
    cluster: &Cluster,
    kind: &Kind,
    namespace: &str,
    labels: &[String],
    fields: &[String],
) -> Result<Vec<Value>, ModuleError> {
    let mut wanted = ListParams::default().limit(PAGE);
    if !labels.is_empty() {
        wanted = wanted.labels(&labels.join(","));
    }
    if !fields.is_empty() {
        wanted = wanted.fields(&fields.join(","));
    }
    let request = Request::new(kind.path(namespace));
    let mut found = Vec::new();
    loop {
        let answer = match request.list(&wanted) {
            Ok(request) => cluster.client.request::<Value>(request).await,
            Err(problem) => Err(build(problem)),
        };
        let mut page =
            answer.map_err(|problem| told(cluster, &format!("list {}", kind.plural), &problem))?;
        if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
            found.extend(items.into_iter().map(|item| named(kind, item)));
        }
        match page["metadata"]["continue"].as_str() {
            Some(token) if !token.is_empty() => wanted = wanted.continue_token(token),
            _ => return Ok(found),
        }
    }
}

/// Items of a list come without their kind.
pub fn named(kind: &Kind, mut item: Value) -> Value {
    if let Some(map) = item.as_object_mut() {
        let mut whole = serde_json::Map::new();
        whole.insert("apiVersion".to_owned(), kind.api_version.clone().into());
        whole.insert("kind".to_owned(), kind.kind.clone().into());
        for (key, value) in std::mem::take(map) {
            whole.insert(key, value);
        }
        *map = whole;
    }
    item
}

/// Fields that other managers own, as the server names them in a refused apply.
pub fn field_conflicts(problem: &kube::Error) -> Vec<String> {
    let kube::Error::Api(status) = problem else {
        return Vec::new();
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect()
}

/// A client's error as a module's. A refused apply is settled by people, so it is never tried again.
pub fn told(cluster: &Cluster, what: &str, problem: &kube::Error) -> ModuleError {
    let conflicts = field_conflicts(problem);
    if !conflicts.is_empty() {
        let message = match problem {
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        };
        return ModuleError::new(ErrorKind::Conflict, format!("cannot {what}: {message}"))
            .hint("another manager owns the field: settle it there, or take it over with `force_conflicts: true`")
            .with("conflicts", conflicts);
    }
    if let kube::Error::BuildRequest(problem) = problem {
        return ModuleError::new(ErrorKind::Argument, format!("cannot {what}: {problem}"));
    }
    cluster.told(what, problem)
}
