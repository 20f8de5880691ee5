//! Nodes drained and commands run in pods: one story, told twice, on the lab's API server and on a real one with RBAC.

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use layerplay::lab::Lab;
use layerplay::lab::scenario::Scenario;
use serde_json::{Value, json};

use crate::objects::Reached;
use crate::support::real_cluster::{Decides, RealCluster};

/// What a kubelet would say of a pod that runs.
fn running() -> Patch<Value> {
    Patch::Merge(
        json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
    )
}

async fn make_pod(pods: &Api<Pod>, name: &str, change: impl FnOnce(&mut Value)) {
    let mut pod = json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"nodeName": "worker-0", "terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "hello"}]},
    });
    change(&mut pod);
    let pod: Pod = serde_json::from_value(pod).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let patch = PatchParams::default();
    pods.patch_status(name, &patch, &running()).await.unwrap();
}

/// A budget for some pods, as the disruption controller would have it.
async fn allow(budgets: &Api<PodDisruptionBudget>, name: &str, disruptions: u32) {
    if budgets.get_opt(name).await.unwrap().is_none() {
        let budget = json!({"metadata": {"name": name}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "held"}}}});
        let budget = serde_json::from_value(budget).unwrap();
        budgets
            .create(&PostParams::default(), &budget)
            .await
            .unwrap();
    }
    let status = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": disruptions, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
    }});
    let patch = PatchParams::default();
    budgets
        .patch_status(name, &patch, &Patch::Merge(status))
        .await
        .unwrap();
}

async fn is_cordoned(reached: &Reached) -> bool {
    let nodes: Api<Node> = Api::all(reached.other.clone());
    let spec = nodes.get("worker-0").await.unwrap().spec.unwrap();
    spec.unschedulable == Some(true)
}

async fn there_are(pods: &Api<Pod>, names: &[&str]) {
    for name in names {
        assert!(pods.get_opt(name).await.unwrap().is_some(), "no {name}");
    }
}

async fn drains(reached: &Reached) {
    let pods: Api<Pod> = Api::namespaced(reached.other.clone(), "default");
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(reached.other.clone(), "default");

    // Cordoned and uncordoned; nothing else happens to the node.
    reached
        .thrice("    - k8s_drain: {name: worker-0, state: cordon}\n", 1)
        .await;
    assert!(is_cordoned(reached).await);
    there_are(&pods, &["app-worker-0"]).await;
    reached
        .thrice(
            "    - kubernetes.core.k8s_drain: {name: worker-0, state: uncordon}\n",
            1,
        )
        .await;
    assert!(!is_cordoned(reached).await);

    // What would be lost is named before the node is touched.
    make_pod(&pods, "data", |pod| {
        pod["spec"]["volumes"] = json!([{"name": "cache", "emptyDir": {}}]);
    })
    .await;
    make_pod(&pods, "mirror", |pod| {
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "abc"});
    })
    .await;
    make_pod(&pods, "held", |_| {}).await;
    reached
        .run("    - k8s_drain: {name: worker-0}\n", &[])
        .await
        .failed(&[
            "default/app-worker-0",
            "{force: true}",
            "openshift-machine-config-operator/machine-config-daemon-worker-0",
            "{ignore_daemonsets: true}",
        ]);
    let bold = "force: true, ignore_daemonsets: true, wait_sleep: 1";
    reached
        .run(
            &format!("    - k8s_drain: {{name: worker-0, delete_options: {{{bold}}}}}\n"),
            &[],
        )
        .await
        .failed(&["default/data", "{delete_emptydir_data: true}"]);
    assert!(!is_cordoned(reached).await);

    // Only some pods.
    let one = format!(
        "    - k8s_drain: {{name: worker-0, pod_selectors: [app=hello], delete_options: {{{bold}, wait_timeout: 30}}}}\n"
    );
    let said = reached.run(&one, &["--check"]).await.ok(1);
    assert!(
        said.text.contains("default/app-worker-0") && !said.text.contains("default/data"),
        "{}",
        said.text
    );
    assert!(!is_cordoned(reached).await, "check mode writes nothing");
    there_are(&pods, &["app-worker-0"]).await;
    reached.run(&one, &[]).await.ok(1);
    reached.run(&one, &[]).await.ok(0);
    assert!(is_cordoned(reached).await);
    assert!(pods.get_opt("app-worker-0").await.unwrap().is_none());

    // A budget refuses: at once, and after some time. Its words are told, and the node stays cordoned.
    allow(&budgets, "web-budget", 0).await;
    // It is told before anything is written that makes the operator drain the node; nothing is evicted for that.
    reached
        .run(
            "    - release_info:\n      register: release\n    - layer_preflight: {pool: worker, name: 99-x, image: \"{{ release.image }}\", force: [bootable, base, cordoned]}\n      register: seen\n    - assert:\n        that:\n          - seen.plan.blockers | map(attribute='pod') == ['held']\n          - seen.plan.blockers[0].message is search('disruption budget')\n          - not seen.plan.same_digest\n",
            &[],
        )
        .await
        .ok(0);
    there_are(&pods, &["held"]).await;
    let all = |more: &str| {
        format!(
            "    - k8s_drain: {{name: worker-0, delete_options: {{{bold}, delete_emptydir_data: true{more}}}}}\n"
        )
    };
    for more in ["", ", wait_timeout: 1"] {
        reached.run(&all(more), &[]).await.failed(&[
            "default/held",
            "web-budget",
            "is cordoned",
            "wait_timeout",
        ]);
        there_are(&pods, &["held", "mirror"]).await;
    }
    assert!(pods.get_opt("data").await.unwrap().is_none(), "others went");

    // It waits for the budget. The kubelet's own pod stays, and so does the node's daemon.
    let waits = all(", wait_timeout: 0, terminate_grace_period: 0");
    let (said, ()) = tokio::join!(reached.run(&waits, &[]), async {
        allow(&budgets, "web-budget", 1).await;
        let gone = await_condition(pods.clone(), "held", |pod: Option<&Pod>| pod.is_none());
        gone.await.unwrap();
    });
    said.ok(1);
    there_are(&pods, &["mirror"]).await;
    reached.thrice(&waits, 0).await;

    // Without asking budgets.
    make_pod(&pods, "held", |_| {}).await;
    allow(&budgets, "web-budget", 0).await;
    reached
        .thrice(&all(", disable_eviction: true, wait_timeout: 30"), 1)
        .await;
    there_are(&pods, &["mirror"]).await;
    assert!(is_cordoned(reached).await);
    reached
        .run("    - k8s_drain: {name: worker-0, state: uncordon}\n", &[])
        .await
        .ok(1);

    for (args, words) in [
        ("{name: worker-9}", &["no node `worker-9`"] as &[&str]),
        ("{name: worker-0, state: drained}", &["state"]),
        (
            "{name: worker-0, delete_options: {terminate_grace_period: -1}}",
            &["terminate_grace_period"],
        ),
    ] {
        reached
            .run(&format!("    - k8s_drain: {args}\n"), &[])
            .await
            .failed(words);
    }
}

async fn commands(reached: &Reached) {
    let tasks = r#"
    - k8s_exec:
        namespace: openshift-machine-config-operator
        pod: machine-config-daemon-worker-1
        command: chroot /rootfs sh -c 'hostname && uname -r'
      register: said
    - kubernetes.core.k8s_exec:
        namespace: openshift-machine-config-operator
        pod: machine-config-daemon-worker-1
        container: machine-config-daemon
        command: sh -c "hostname; no-such-command --now"
      register: wrong
      failed_when: wrong.rc != 127
    - assert:
        that:
          - said.stdout_lines[0] == 'worker-1' and said.stdout is search('el9')
          - said.rc == 0 and said.return_code == 0 and said.stderr == ''
          - said.container == 'machine-config-daemon'
          - wrong.stdout == "worker-1\n" and wrong.stderr is search('no-such-command')
"#;
    reached.run(tasks, &[]).await.ok(2);
    let skipped = tasks.split("    - kubernetes").next().unwrap();
    reached.run(skipped, &["--check"]).await.ok(0);
    let task = |more: &str| {
        format!(
            "    - k8s_exec: {{namespace: openshift-machine-config-operator, pod: machine-config-daemon-worker-1, {more}}}\n"
        )
    };
    for (task, words) in [
        (
            task("command: no-such-command"),
            &["status 127", "no-such-command: command not found"] as &[&str],
        ),
        (
            task("command: hostname, container: other"),
            &["no container `other`", "it has machine-config-daemon"],
        ),
        (task("command: \"sh -c 'open\""), &["a quote is opened"]),
        (task("command: \" \""), &["`command` is empty"]),
        (
            task("command: hostname").replace("worker-1", "worker-9"),
            &["machine-config-daemon-worker-9", "not found"],
        ),
    ] {
        reached.run(&task, &[]).await.failed(words);
    }
}

async fn story(reached: &Reached) {
    commands(reached).await;
    drains(reached).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_labs_api() {
    let lab = Lab::start(&Scenario::default()).await.unwrap();
    story(&Reached::in_lab(&lab)).await;
    drop(lab);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_api_server() {
    let cluster = RealCluster::start(Decides::Lab).await;
    let kubeconfig = std::fs::read_to_string(cluster.control_plane.layerplay_kubeconfig()).unwrap();
    let admin = cluster.control_plane.admin().await;
    story(&Reached::at(admin, &kubeconfig)).await;
}
