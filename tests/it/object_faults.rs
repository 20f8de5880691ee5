//! What `k8s` and `k8s_info` do when the API server, or somebody else on it, does not do as hoped. On the lab's API server
//! alone: only there can an answer be made to go wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use layerplay::lab::api::resources::find;
use layerplay::lab::api::{
    ApiError, ApiServer, Fault, FaultQueue, Handle, Options, RequestInfo, Resource,
};
use serde_json::json;

use crate::objects::Reached;

struct Faulty {
    faults: Arc<FaultQueue>,
    handle: Handle,
    reached: Reached,
}

fn maps() -> &'static Resource {
    find("", "v1", "configmaps").unwrap()
}

impl Faulty {
    async fn start() -> Self {
        let faults = Arc::new(FaultQueue::default());
        let handle = ApiServer::start(Options {
            faults: Arc::clone(&faults) as _,
            ..Options::default()
        })
        .await
        .unwrap();
        let reached = Reached::at(handle.client(), &handle.kubeconfig("faulty"));
        Self {
            faults,
            handle,
            reached,
        }
    }

    /// The `nth` request of this verb on config maps from now on, counted from 1, goes wrong.
    fn fail(&self, verb: &'static str, nth: usize, problem: ApiError) {
        let seen = AtomicUsize::new(0);
        self.faults.push(
            1,
            move |request: &RequestInfo| {
                request.resource == "configmaps"
                    && request.verb == verb
                    && seen.fetch_add(1, Ordering::SeqCst) + 1 == nth
            },
            Fault::Error(problem),
        );
    }

    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.handle.client(), "default")
    }

    fn is_used_up(&self) {
        assert!(self.faults.is_used_up(), "a fault never happened");
    }
}

const ONE: &str =
    "    - k8s: {kind: ConfigMap, name: a, namespace: default, definition: {data: {k: VALUE}}}\n";
const TWO: &str = "    - k8s: {namespace: default, definition: [{kind: ConfigMap, metadata: {name: a}}, {kind: ConfigMap, metadata: {name: b}}]}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_with_the_same_content_is_written_over() {
    let faulty = Faulty::start().await;
    let reached = &faulty.reached;
    reached.run(&ONE.replace("VALUE", "v"), &[]).await.ok(1);
    // The first patch is the dry run.
    faulty.fail("patch", 2, ApiError::modified(maps(), "a"));
    reached.run(&ONE.replace("VALUE", "w"), &[]).await.ok(1);
    faulty.is_used_up();
    assert_eq!(faulty.api().get("a").await.unwrap().data.unwrap()["k"], "w");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_takes_no_dry_run_does_not_stop_a_write() {
    let faulty = Faulty::start().await;
    let refusal = "admission webhook \"w.example.com\" does not support dry run";
    faulty.fail("create", 1, ApiError::bad_request(refusal));
    let task = ONE.replace("VALUE", "v");
    faulty.reached.run(&task, &[]).await.ok(1);
    faulty.is_used_up();
    faulty.reached.run(&task, &[]).await.ok(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_object_of_several_stops_all_before_the_first_write() {
    let faulty = Faulty::start().await;
    let wrong = TWO.replace("name: b", "name: B_");
    faulty.reached.run(&wrong, &[]).await.failed(&["RFC 1123"]);
    assert!(faulty.api().get_opt("a").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_after_others_says_what_was_written() {
    let faulty = Faulty::start().await;
    // Two dry runs, then the first write.
    faulty.fail("create", 4, ApiError::internal("etcd is away"));
    let said = faulty.reached.run(TWO, &[]).await;
    assert_eq!(said.code, Some(4), "{}", said.text);
    for words in ["etcd is away", "\"results\":[{\"changed\":true"] {
        assert!(said.text.contains(words), "{}", said.text);
    }
    faulty.is_used_up();
    assert!(!said.text.contains("trying again"), "{}", said.text);
    faulty.reached.run(TWO, &[]).await.ok(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_outlives_a_watch_and_stops_at_a_missing_right() {
    let faulty = Faulty::start().await;
    let reached = &faulty.reached;
    let task = "    - k8s_info: {kind: ConfigMap, name: a, namespace: default, wait: true}\n";
    reached.run(&ONE.replace("VALUE", "v"), &[]).await.ok(1);
    faulty.fail("list", 1, ApiError::internal("etcd is away"));
    reached.run(task, &[]).await.ok(0);
    faulty.is_used_up();
    let refusal = ApiError::forbidden(maps(), "", "User \"u\" cannot list resource \"configmaps\"");
    faulty.fail("list", 1, refusal);
    reached.run(task, &[]).await.failed(&[
        "cannot watch configmaps",
        "User \\\"u\\\" cannot list",
        "lacks this right",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_addresses_that_are_wrong_are_told_apart() {
    let faulty = Faulty::start().await;
    let kubeconfig = faulty.handle.kubeconfig("faulty");
    let task = ONE.replace("VALUE", "v");
    let token = faulty.handle.token();
    let stranger = Reached::at(
        faulty.handle.client(),
        &kubeconfig.replace(token, "not-the-token"),
    );
    let said = stranger.run(&task, &[]).await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    assert!(
        said.text.contains("does not accept the credentials"),
        "{}",
        said.text
    );
    // A port that was ours a moment ago, and is nobody's now.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nowhere = Reached::at(
        faulty.handle.client(),
        &kubeconfig.replace(&faulty.handle.url(), &format!("https://{port}")),
    );
    let said = nowhere.run(&task, &[]).await;
    assert_eq!(said.code, Some(4), "{}", said.text);
    assert!(said.text.contains("cannot be reached"), "{}", said.text);
    assert_eq!(json!(faulty.api().get_opt("a").await.unwrap()), json!(null));
}
