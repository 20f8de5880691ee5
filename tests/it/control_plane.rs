//! The test's own API server must be the real thing before anything is proven on it: RBAC refuses, OpenShift's kinds
//! have their schemas, exec goes through the API server's proxy and brings back output and exit status.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{
    Api, ApiResource, AttachParams, DynamicObject, GroupVersionKind, ListParams, PatchParams,
    PostParams,
};
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::support::control_plane::{ControlPlane, ExecAnswer};

#[tokio::test]
async fn refuses_validates_and_execs() {
    let control_plane = ControlPlane::start(|request| ExecAnswer {
        stdout: format!(
            "{}/{}/{}: {}",
            request.namespace,
            request.pod,
            request.container,
            request.command.join(" ")
        ),
        stderr: "and a warning".to_owned(),
        code: 7,
    })
    .await;

    let nodes: Api<Node> = Api::all(control_plane.layerplay().await);
    let refused = nodes.list(&ListParams::default()).await.unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 403),
        "{refused}"
    );

    let admin = control_plane.admin().await;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "machineconfiguration.openshift.io",
        "v1",
        "MachineConfig",
    ));
    let configs: Api<DynamicObject> = Api::all_with(admin.clone(), &resource);
    let wrong: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
        "metadata": {"name": "99-layer"}, "spec": {"osImageURL": 5},
    }))
    .unwrap();
    let invalid = configs
        .create(&PostParams::default(), &wrong)
        .await
        .unwrap_err();
    assert!(
        matches!(&invalid, kube::Error::Api(status) if status.message.contains("osImageURL")),
        "{invalid}"
    );

    let nodes: Api<Node> = Api::all(admin.clone());
    let node: Node = serde_json::from_value(json!({"metadata": {"name": "worker-0"}})).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": control_plane.kubelet_port()}},
    }});
    nodes
        .patch_status(
            "worker-0",
            &PatchParams::default(),
            &kube::api::Patch::Merge(status),
        )
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(admin, "openshift-machine-config-operator");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "machine-config-daemon-0"},
        "spec": {"nodeName": "worker-0", "containers": [{"name": "machine-config-daemon", "image": "none"}]},
    }))
    .unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let running = kube::runtime::conditions::is_pod_running();
    kube::runtime::wait::await_condition(pods.clone(), "machine-config-daemon-0", running)
        .await
        .unwrap();

    let attach = AttachParams::default()
        .container("machine-config-daemon")
        .stdout(true)
        .stderr(true);
    let mut process = pods
        .exec(
            "machine-config-daemon-0",
            ["rpm-ostree", "status", "--json"],
            &attach,
        )
        .await
        .unwrap();
    let (mut stdout, mut stderr) = (String::new(), String::new());
    process
        .stdout()
        .unwrap()
        .read_to_string(&mut stdout)
        .await
        .unwrap();
    process
        .stderr()
        .unwrap()
        .read_to_string(&mut stderr)
        .await
        .unwrap();
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(
        stdout,
        "openshift-machine-config-operator/machine-config-daemon-0/machine-config-daemon: rpm-ostree status --json"
    );
    assert_eq!(stderr, "and a warning");
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
}
