//! The table of resources in, the documents of discovery out: `/api`, `/apis`, aggregated discovery, `/version`, `/openapi/v3`.

use super::resources::{RESOURCES, Resource, groups};
use serde_json::{Value, json};

/// Media type of aggregated discovery, which kubectl and kube ask for first.
const AGGREGATED: &str = "as=APIGroupDiscoveryList";

/// The document at `path`, with its content type. `None` when the path is no discovery path.
pub fn document(path: &str, accept: &str, version: &str) -> Option<(Value, String)> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let plain = |value: Value| Some((value, "application/json".to_owned()));
    match parts.as_slice() {
        ["api"] if accept.contains(AGGREGATED) => Some(aggregated(accept, true)),
        ["apis"] if accept.contains(AGGREGATED) => Some(aggregated(accept, false)),
        ["api"] => plain(
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ),
        ["apis"] => plain(json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": groups().iter().filter(|(group, _)| !group.is_empty()).map(|(g, v)| api_group(g, v)).collect::<Vec<_>>(),
        })),
        ["apis", group] => {
            let (group, version) = groups().into_iter().find(|(name, _)| name == group)?;
            let mut found = api_group(group, version);
            if let Some(map) = found.as_object_mut() {
                map.insert("kind".into(), json!("APIGroup"));
                map.insert("apiVersion".into(), json!("v1"));
            }
            plain(found)
        }
        ["api", version] => plain(resource_list("", version)?),
        ["apis", group, version] => plain(resource_list(group, version)?),
        ["version"] => plain(self::version(version)),
        ["openapi", "v3"] => plain(openapi_index()),
        ["openapi", "v3", "api", version] => plain(openapi("", version)?),
        ["openapi", "v3", "apis", group, version] => plain(openapi(group, version)?),
        _ => None,
    }
}

fn version(version: &str) -> Value {
    let mut parts = version.trim_start_matches('v').split('.');
    json!({
        "major": parts.next().unwrap_or_default(), "minor": parts.next().unwrap_or_default(), "gitVersion": version,
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "gc", "platform": "linux/amd64",
    })
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn api_group(group: &str, version: &str) -> Value {
    let entry = json!({"groupVersion": group_version(group, version), "version": version});
    json!({"name": group, "versions": [entry], "preferredVersion": entry})
}

fn of_group<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Resource> + 'a {
    RESOURCES
        .iter()
        .filter(move |r| r.group == group && r.version == version)
}

/// Subresource, group and version and kind of its body where they are not the parent's, verbs.
type Subresource = (
    &'static str,
    Option<(&'static str, &'static str, &'static str)>,
    &'static [&'static str],
);

fn subresources(resource: &Resource) -> Vec<Subresource> {
    let mut found: Vec<Subresource> = Vec::new();
    if resource.status_subresource {
        found.push(("status", None, &["get", "patch", "update"]));
    }
    if resource.kind == "Pod" {
        found.push(("eviction", Some(("policy", "v1", "Eviction")), &["create"]));
        found.push((
            "exec",
            Some(("", "v1", "PodExecOptions")),
            &["create", "get"],
        ));
    }
    found
}

/// Reviews: created, never stored.
const REVIEWS: &[(&str, &str, bool)] = &[
    (
        "localsubjectaccessreviews",
        "LocalSubjectAccessReview",
        true,
    ),
    ("selfsubjectaccessreviews", "SelfSubjectAccessReview", false),
    ("selfsubjectrulesreviews", "SelfSubjectRulesReview", false),
    ("subjectaccessreviews", "SubjectAccessReview", false),
];

fn resource_list(group: &str, version: &str) -> Option<Value> {
    groups()
        .into_iter()
        .find(|found| *found == (group, version))?;
    let mut list = Vec::new();
    for resource in of_group(group, version) {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": Resource::VERBS,
        });
        if let (false, Some(map)) = (resource.short_names.is_empty(), entry.as_object_mut()) {
            map.insert("shortNames".into(), json!(resource.short_names));
        }
        list.push(entry);
        for (name, other, verbs) in subresources(resource) {
            let mut entry = json!({
                "name": format!("{}/{name}", resource.plural), "singularName": "", "namespaced": resource.namespaced,
                "kind": other.map_or(resource.kind, |(_, _, kind)| kind), "verbs": verbs,
            });
            if let (Some((group, version, _)), Some(map)) =
                (other.filter(|(g, ..)| !g.is_empty()), entry.as_object_mut())
            {
                map.insert("group".into(), json!(group));
                map.insert("version".into(), json!(version));
            }
            list.push(entry);
        }
    }
    if group == "authorization.k8s.io" {
        list.extend(REVIEWS.iter().map(|(name, kind, namespaced)| {
            json!({"name": name, "singularName": kind.to_ascii_lowercase(), "namespaced": namespaced, "kind": kind, "verbs": ["create"]})
        }));
    }
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version(group, version), "resources": list}),
    )
}

fn aggregated(accept: &str, core: bool) -> (Value, String) {
    let version =
        if accept.contains("v=v2;") || accept.contains("v=v2,") || accept.ends_with("v=v2") {
            "v2"
        } else {
            "v2beta1"
        };
    let items: Vec<Value> = groups()
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, group_version)| {
            let mut resources: Vec<Value> = of_group(group, group_version).map(aggregated_resource).collect();
            if group == "authorization.k8s.io" {
                resources.extend(REVIEWS.iter().map(|(name, kind, namespaced)| json!({
                    "resource": name, "responseKind": {"group": "", "version": "", "kind": kind},
                    "scope": if *namespaced { "Namespaced" } else { "Cluster" },
                    "singularResource": kind.to_ascii_lowercase(), "verbs": ["create"],
                })));
            }
            let metadata = if group.is_empty() { json!({"creationTimestamp": null}) } else { json!({"name": group, "creationTimestamp": null}) };
            json!({"metadata": metadata, "versions": [{"version": group_version, "freshness": "Current", "resources": resources}]})
        })
        .collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items,
    });
    (
        body,
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"),
    )
}

fn aggregated_resource(resource: &'static Resource) -> Value {
    let subresources: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|(name, other, verbs)| {
            let (group, version, kind) = other.unwrap_or(("", "", resource.kind));
            json!({"subresource": name, "responseKind": {"group": group, "version": version, "kind": kind}, "verbs": verbs})
        })
        .collect();
    json!({
        "resource": resource.plural, "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": Resource::VERBS, "shortNames": resource.short_names,
        "categories": resource.categories, "subresources": subresources,
    })
}

fn group_path(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

fn openapi_index() -> Value {
    let paths: serde_json::Map<String, Value> = groups()
        .into_iter()
        .map(|(group, version)| {
            let path = group_path(group, version);
            let url = json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash=1")});
            (path, url)
        })
        .collect();
    json!({"paths": paths})
}

/// Paths and parameters without field schemas: enough for kubectl to find out that the server validates fields itself.
fn openapi(group: &str, version: &str) -> Option<Value> {
    groups()
        .into_iter()
        .find(|found| *found == (group, version))?;
    let (mut paths, mut schemas) = (serde_json::Map::new(), serde_json::Map::new());
    for resource in of_group(group, version) {
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
        let parameters = ["dryRun", "fieldManager", "fieldValidation"].map(parameter);
        let operation = |action: &str, parameters: &[Value]| {
            json!({
                "parameters": parameters, "responses": {"200": {"description": "OK"}},
                "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind,
            })
        };
        let scope = if resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let base = format!("/{}{scope}/{}", group_path(group, version), resource.plural);
        paths.insert(
            base.clone(),
            json!({"get": operation("list", &[]), "post": operation("post", &parameters)}),
        );
        paths.insert(
            format!("{base}/{{name}}"),
            json!({
                "get": operation("get", &[]), "put": operation("put", &parameters),
                "patch": operation("patch", &parameters), "delete": operation("delete", &[]),
            }),
        );
        let reverse: Vec<&str> = group
            .split('.')
            .rev()
            .filter(|part| !part.is_empty())
            .collect();
        let name = if reverse.is_empty() {
            "io.k8s.api.core".to_owned()
        } else {
            reverse.join(".")
        };
        schemas.insert(
            format!("{name}.{version}.{}", resource.kind),
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-group-version-kind": [kind]}),
        );
    }
    Some(json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": version}, "paths": paths, "components": {"schemas": schemas},
    }))
}
