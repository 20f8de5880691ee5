//! The API server as its real clients see it: the `kube` crate, and `kubectl` where it is installed in the tests' image.

use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use serde_json::json;

use super::{ApiServer, Options};

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(
        json!({"metadata": {"name": name, "labels": {"app": name}}, "data": {"k": value}}),
    )
    .unwrap()
}

#[tokio::test]
async fn objects_live_and_change_as_in_kubernetes() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    let made = maps
        .create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());

    let twice = maps
        .create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap_err();
    assert!(
        matches!(&twice, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists"),
        "{twice}"
    );

    let mut newer = made.clone();
    newer
        .data
        .get_or_insert_default()
        .insert("k".to_owned(), "2".to_owned());
    let newer = maps
        .replace("a", &PostParams::default(), &newer)
        .await
        .unwrap();
    let stale = maps
        .replace("a", &PostParams::default(), &made)
        .await
        .unwrap_err();
    assert!(
        matches!(&stale, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"),
        "{stale}"
    );

    let patched = maps
        .patch(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"data": {"k": null, "l": "3"}})),
        )
        .await
        .unwrap();
    assert_eq!(
        patched.data.unwrap().into_iter().collect::<Vec<_>>(),
        [("l".to_owned(), "3".to_owned())]
    );
    assert_ne!(
        patched.metadata.resource_version,
        newer.metadata.resource_version
    );

    maps.create(&PostParams::default(), &config_map("b", "1"))
        .await
        .unwrap();
    let selected = maps
        .list(&ListParams::default().labels("app in (b,c)"))
        .await
        .unwrap();
    assert_eq!(selected.items.len(), 1);

    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let gone = maps.get("a").await.unwrap_err();
    assert!(
        matches!(&gone, kube::Error::Api(status) if status.code == 404),
        "{gone}"
    );
    server.shutdown();
}

#[tokio::test]
async fn a_watch_tells_every_change_after_its_version_in_order() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    let start = maps
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    maps.create(&PostParams::default(), &config_map("w", "1"))
        .await
        .unwrap();
    maps.patch(
        "w",
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"k": "2"}})),
    )
    .await
    .unwrap();
    maps.delete("w", &DeleteParams::default()).await.unwrap();

    let mut watch = Box::pin(maps.watch(&WatchParams::default(), &start).await.unwrap());
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match watch.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(map) => seen.push(format!("added {}", map.data.unwrap()["k"])),
            WatchEvent::Modified(map) => seen.push(format!("modified {}", map.data.unwrap()["k"])),
            WatchEvent::Deleted(map) => {
                seen.push(format!("deleted {}", map.metadata.name.unwrap()));
            }
            _ => {}
        }
    }
    assert_eq!(seen, ["added 1", "modified 2", "deleted w"]);
    server.shutdown();
}

#[tokio::test]
async fn server_side_apply_keeps_what_others_own() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    let apply = |data: serde_json::Value| {
        Patch::Apply(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": data}),
        )
    };
    maps.patch("s", &PatchParams::apply("one"), &apply(json!({"a": "1"})))
        .await
        .unwrap();
    let both = maps
        .patch("s", &PatchParams::apply("two"), &apply(json!({"b": "2"})))
        .await
        .unwrap();
    assert_eq!(both.data.unwrap().len(), 2);
    let conflict = maps
        .patch(
            "s",
            &PatchParams::apply("two"),
            &apply(json!({"a": "9", "b": "2"})),
        )
        .await
        .unwrap_err();
    assert!(
        matches!(&conflict, kube::Error::Api(status) if status.code == 409),
        "{conflict}"
    );
    let taken_back = maps
        .patch("s", &PatchParams::apply("two"), &apply(json!({})))
        .await
        .unwrap();
    assert_eq!(
        taken_back.data.unwrap().into_keys().collect::<Vec<_>>(),
        ["a"]
    );
    server.shutdown();
}

#[tokio::test]
async fn a_generation_counts_the_spec_and_status_is_apart() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let resource = kube::api::ApiResource::from_gvk(&kube::api::GroupVersionKind::gvk(
        "machineconfiguration.openshift.io",
        "v1",
        "MachineConfigPool",
    ));
    let pools: Api<kube::api::DynamicObject> = Api::all_with(server.client(), &resource);
    let pool = serde_json::from_value(json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool",
        "metadata": {"name": "worker"}, "spec": {"paused": false}, "status": {"machineCount": 3},
    }))
    .unwrap();
    let made = pools.create(&PostParams::default(), &pool).await.unwrap();
    assert_eq!(made.metadata.generation, Some(1));
    let paused = pools
        .patch(
            "worker",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"paused": true}})),
        )
        .await
        .unwrap();
    assert_eq!(paused.metadata.generation, Some(2));
    let status = json!({"spec": {"paused": false}, "status": {"machineCount": 5}});
    let counted = pools
        .patch_status("worker", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    assert_eq!(counted.metadata.generation, Some(2));
    assert_eq!(
        (
            &counted.data["spec"]["paused"],
            &counted.data["status"]["machineCount"]
        ),
        (&json!(true), &json!(5))
    );
    server.shutdown();
}

#[tokio::test]
async fn nodes_are_cordoned_by_a_strategic_merge() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let nodes: Api<Node> = Api::all(server.client());
    nodes
        .create(
            &PostParams::default(),
            &serde_json::from_value(json!({"metadata": {"name": "worker-0"}})).unwrap(),
        )
        .await
        .unwrap();
    nodes.cordon("worker-0").await.unwrap();
    assert_eq!(
        nodes
            .get("worker-0")
            .await
            .unwrap()
            .spec
            .unwrap()
            .unschedulable,
        Some(true)
    );
    server.shutdown();
}
