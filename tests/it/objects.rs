//! Objects of any kind and pools, written and read by playbooks: one story, told twice, on the lab's API server and on a
//! real one with RBAC.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Client;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use layerplay::lab::Lab;
use layerplay::lab::scenario::Scenario;
use serde_json::{Value, json};

use crate::support::command::output;
use crate::support::real_cluster::{Decides, RealCluster};

/// What a run said: its exit code and its events.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    changed: u64,
    pub(crate) text: String,
}

impl Said {
    pub(crate) fn ok(self, changed: u64) -> Self {
        assert_eq!(
            (self.code, self.changed),
            (Some(0), changed),
            "{}",
            self.text
        );
        self
    }

    pub(crate) fn failed(self, with: &[&str]) -> Self {
        assert_eq!((self.code, self.changed), (Some(2), 0), "{}", self.text);
        for words in with {
            assert!(self.text.contains(words), "no {words:?} in {}", self.text);
        }
        self
    }
}

/// A cluster as a user reaches it, and as somebody else does.
pub(crate) struct Reached {
    dir: tempfile::TempDir,
    inventory: PathBuf,
    pub(crate) other: Client,
}

impl Reached {
    /// A cluster whose kubeconfig is this text.
    pub(crate) fn at(other: Client, kubeconfig: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        std::fs::write(&path, kubeconfig).unwrap();
        let inventory = dir.path().join("inventory.yml");
        std::fs::write(&inventory, inventory_text(&path)).unwrap();
        Self {
            dir,
            inventory,
            other,
        }
    }

    pub(crate) async fn run(&self, tasks: &str, args: &[&str]) -> Said {
        let path = self.dir.path().join("playbook.yml");
        std::fs::write(&path, format!("- hosts: staging\n  tasks:\n{tasks}")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_layerplay"));
        command
            .args(["run", "--format", "json", "--diff", "-i"])
            .arg(&self.inventory)
            .args(args)
            .arg(&path);
        let (output, text) = output(command).await;
        let events: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let stats = events
            .iter()
            .find(|event| event["event"] == "run_finished")
            .and_then(|event| event["stats"].as_array());
        let changed = stats
            .into_iter()
            .flatten()
            .filter_map(|host| host[1]["changed"].as_u64())
            .sum();
        Said {
            code: output.status.code(),
            changed,
            text,
        }
    }

    /// The first cluster of the lab.
    pub(crate) fn in_lab(lab: &Lab) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let inventory = lab.write(dir.path()).unwrap();
        let other = lab.clusters[0].api.client();
        Self {
            dir,
            inventory,
            other,
        }
    }

    /// In check mode, for real, and once more: what a module promises, does, and then finds done.
    pub(crate) async fn thrice(&self, tasks: &str, changed: u64) {
        self.run(tasks, &["--check"]).await.ok(changed);
        self.run(tasks, &[]).await.ok(changed);
        self.run(tasks, &[]).await.ok(0);
        self.run(tasks, &["--check"]).await.ok(0);
    }

    fn pools(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(
            "machineconfiguration.openshift.io",
            "v1",
            "MachineConfigPool",
        );
        Api::all_with(self.other.clone(), &ApiResource::from_gvk(&kind))
    }
}

const OBJECTS: &str = r#"
    - k8s:
        definition:
          - {apiVersion: v1, kind: Namespace, metadata: {name: web}}
          - {apiVersion: v1, kind: ConfigMap, metadata: {name: plain, namespace: web, labels: {app: web}}, data: {colour: blue}}
    - kubernetes.core.k8s:
        src: more.yml.j2
        namespace: web
      vars: {size: 3}
    - k8s:
        apply: true
        server_side_apply: {field_manager: web-team}
        definition: {apiVersion: v1, kind: ConfigMap, metadata: {name: served, namespace: web}, data: {a: "1", b: "2"}}
    - k8s:
        apply: true
        resource_definition: {apiVersion: v1, kind: ConfigMap, metadata: {name: applied, namespace: web}, data: {a: "1", b: "2"}}
    - k8s:
        kind: Secret
        name: login
        namespace: web
        definition: {stringData: {password: correct-horse-battery}}
"#;

const MORE: &str = "---\nkind: ConfigMap\nmetadata: {name: one, labels: {app: web}}\ndata: {size: \"{{ size }}\"}\n---\nkind: ConfigMap\nmetadata: {name: two, labels: {app: web}}\n";

async fn objects(reached: &Reached) {
    std::fs::write(reached.dir.path().join("more.yml.j2"), MORE).unwrap();
    std::fs::create_dir(reached.dir.path().join("templates")).unwrap();
    std::fs::write(reached.dir.path().join("templates/same"), MORE).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(reached.other.clone(), "web");
    reached.run(OBJECTS, &["--check"]).await.ok(5);
    assert!(
        maps.list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty(),
        "check mode writes nothing"
    );
    let first = reached.run(OBJECTS, &[]).await.ok(5);
    for secret in ["correct-horse-battery", "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"] {
        assert!(!first.text.contains(secret), "{}", first.text);
    }
    reached.run(OBJECTS, &[]).await.ok(0);
    reached.run(OBJECTS, &["--check"]).await.ok(0);

    let template = "    - k8s: {template: same, namespace: web}\n      vars: {size: 3}\n";
    reached.run(template, &[]).await.ok(0);

    // What was declared and is named no more goes, by both ways of applying.
    let fewer = &OBJECTS.replace(", b: \"2\"", "");
    reached.thrice(fewer, 2).await;
    for name in ["served", "applied"] {
        let data = maps.get(name).await.unwrap().data.unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["a"], "{name}");
    }

    let seen = r#"
    - k8s_info: {kind: cm, namespace: web, label_selectors: ["app in (web)", "!old"]}
      register: maps
    - k8s_info: {kind: Secret, namespace: web, name: login}
      register: login
    - k8s_info: {kind: Nonsense, api_version: example.com/v1}
      register: nothing
    - k8s_info: {kind: ConfigMap, namespace: web, name: plain, wait: true}
      register: waited
    - assert:
        that:
          - maps.resources | map(attribute='metadata.name') | list == ['one', 'plain', 'two']
          - maps.resources[0].kind == 'ConfigMap' and maps.resources[0].data.size == '3'
          - login.resources[0].data.password | b64decode == 'correct-horse-battery'
          - not nothing.api_found and nothing.resources == []
          - waited.resources | length == 1
"#;
    let told = reached.run(seen, &[]).await.ok(0);
    assert!(
        !told.text.contains("Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"),
        "{}",
        told.text
    );

    // A new value of a secret is a change without a value.
    let rotated = &OBJECTS.replace("correct-horse", "wrong-horse");
    let rotated = reached.run(rotated, &["--check"]).await.ok(3);
    assert!(
        rotated.text.contains("data.password") && !rotated.text.contains("wrong-horse"),
        "{}",
        rotated.text
    );
}

async fn ways_to_write(reached: &Reached) {
    let patched = r#"
    - k8s: {state: patched, kind: ConfigMap, name: nobody, namespace: web, definition: {data: {a: b}}}
      register: nobody
    - assert: {that: "not nobody.changed"}
    - k8s: {state: patched, kind: ConfigMap, name: plain, namespace: web, definition: {data: {shape: round}}}
    - k8s:
        force: true
        definition: {apiVersion: v1, kind: ConfigMap, metadata: {name: two, namespace: web, labels: {app: web}}, data: {only: this}}
    - k8s: {state: patched, api_version: machineconfiguration.openshift.io/v1, kind: mcp, name: canary, definition: {spec: {maxUnavailable: 2}}, wait: true, wait_condition: {type: Updated, status: true}}
"#;
    reached.thrice(patched, 3).await;
    let maps: Api<ConfigMap> = Api::namespaced(reached.other.clone(), "web");
    let plain = maps.get("plain").await.unwrap().data.unwrap();
    assert_eq!(
        (plain["colour"].as_str(), plain["shape"].as_str()),
        ("blue", "round")
    );

    // Somebody else takes a field: the refusal names them, and force is asked for by name.
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "served"}, "data": {"a": "theirs"}});
    maps.patch(
        "served",
        &PatchParams::apply("other-team").force(),
        &Patch::Apply(&theirs),
    )
    .await
    .unwrap();
    let apply = |force: bool| {
        format!(
            "    - k8s:\n        apply: true\n        server_side_apply: {{field_manager: web-team, force_conflicts: {force}}}\n        definition: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: served, namespace: web}}, data: {{a: ours}}}}\n"
        )
    };
    reached
        .run(&apply(false), &[])
        .await
        .failed(&["other-team", ".data.a", "force_conflicts"]);
    assert_eq!(
        maps.get("served").await.unwrap().data.unwrap()["a"],
        "theirs"
    );
    reached.thrice(&apply(true), 1).await;

    for (tasks, words) in [
        (
            "{kind: ConfgMap, name: a, namespace: web}",
            &["no kind `ConfgMap`", "did you mean `ConfigMap`?"] as &[&str],
        ),
        ("{kind: ConfigMap, name: a}", &["is namespaced"]),
        (
            "{kind: ConfigMap, name: a, namespace: nowhere}",
            &["namespaces", "nowhere"],
        ),
        (
            "{kind: ConfigMap, name: A_B, namespace: web}",
            &["RFC 1123"],
        ),
        (
            "{kind: ConfigMap, namespace: web, state: absent}",
            &["which ConfigMap"],
        ),
    ] {
        reached
            .run(&format!("    - k8s: {tasks}\n"), &[])
            .await
            .failed(words);
    }

    let typo = "    - k8s: {kind: ConfgMap, name: a, namespace: web, state: absent}\n";
    reached.run(typo, &[]).await.failed(&["did you mean"]);
    let uninstalled = "    - k8s: {kind: Thing, api_version: example.com/v1, name: a, namespace: web, state: absent}\n";
    let said = reached.run(uninstalled, &[]).await.ok(0);
    assert!(
        said.text.contains("does not serve `example.com/v1`"),
        "{}",
        said.text
    );

    let gone = r"
    - k8s: {kind: ConfigMap, namespace: web, state: absent, label_selectors: [app=web], wait: true}
    - k8s: {kind: Secret, namespace: web, name: login, state: absent, delete_options: {propagationPolicy: Background, gracePeriodSeconds: 0}, wait: true}
";
    reached.thrice(gone, 2).await;
}

async fn pools(reached: &Reached) {
    let made = r"
    - machine_config_pool: {name: infra, nodes: [worker-2], max_unavailable: 1}
";
    reached.run(made, &["--check"]).await.ok(1);
    assert!(
        reached.pools().get_opt("infra").await.unwrap().is_none(),
        "check mode writes nothing"
    );
    reached.run(made, &[]).await.ok(1);
    reached.run(made, &[]).await.ok(0);
    let look = r"
    - k8s_info:
        kind: MachineConfigPool
        api_version: machineconfiguration.openshift.io/v1
        name: infra
        field_selectors: []
        wait: true
        wait_condition: {type: Updated}
    - machine_config_pool_info: {name: infra}
      register: infra
      until: infra.pools[0].verdict == 'updated'
      retries: 200
      delay: 0.1
    - machine_config_pool_info:
      register: all
    - assert:
        that:
          - infra.pools | length == 1 and infra.pools[0].members == ['worker-2']
          - infra.pools[0].max_unavailable == 1 and not infra.pools[0].paused
          - infra.pools[0].rendered.spec == infra.pools[0].rendered.status
          - infra.pools[0].os_image is search('@sha256:')
          - all.pools | map(attribute='name') | sort == ['canary', 'infra', 'master', 'worker']
";
    reached.run(look, &[]).await.ok(0);

    // A pause that is over is ended by the next task that does not ask for one.
    reached
        .run(
            "    - machine_config_pool: {name: infra, paused: true, pause_for: 1}
      register: begun
    - machine_config_pool: {name: infra}
      register: ended
      until: not ended.pool.paused
      retries: 100
      delay: 0.1
    - assert: {that: [begun.pool.paused_until is string, ended.pool.paused_until is none]}
",
            &[],
        )
        .await
        .ok(2);

    // One switch at a time; what is not said stays.
    for (switch, changed) in [
        ("name: infra, paused: true, pause_for: 4h", 1),
        ("name: infra, max_unavailable: \"50%\"", 1),
        ("name: infra, paused: false", 1),
        (
            "name: worker, paused: true, max_unavailable: 2, allow_raise: true",
            1,
        ),
        ("name: worker, max_unavailable: 1", 1),
        ("name: worker, paused: false", 1),
        ("name: infra, nodes: [worker-2]", 0),
    ] {
        let task = format!("    - machine_config_pool: {{{switch}}}\n");
        reached.thrice(&task, changed).await;
    }
    let infra = reached.pools().get("infra").await.unwrap();
    assert_eq!(infra.data["spec"]["maxUnavailable"], "50%");
    assert_eq!(infra.data["spec"]["paused"], false);
    assert_eq!(
        infra.data["spec"]["nodeSelector"]["matchLabels"],
        json!({"node-role.kubernetes.io/infra": ""})
    );

    // Somebody paused it by hand: that is theirs until force says otherwise.
    let theirs = PatchParams {
        field_manager: Some("kubectl-patch".to_owned()),
        ..PatchParams::default()
    };
    reached
        .pools()
        .patch(
            "infra",
            &theirs,
            &Patch::Merge(json!({"spec": {"paused": true}})),
        )
        .await
        .unwrap();
    let ours = "    - machine_config_pool: {name: infra, paused: false}\n";
    reached
        .run(ours, &[])
        .await
        .failed(&["kubectl-patch", ".spec.paused", "force_conflicts"]);
    reached
        .thrice(
            "    - machine_config_pool: {name: infra, paused: false, force_conflicts: true}\n",
            1,
        )
        .await;

    for (tasks, words) in [
        (
            "{name: worker, state: absent}",
            &["cannot be deleted"] as &[&str],
        ),
        ("{name: arbiter, paused: true}", &["no pool `arbiter`"]),
        (
            "{name: infra, nodes: [canary-0]}",
            &["in pool `canary` already"],
        ),
        ("{name: infra, nodes: [master-0]}", &["control plane"]),
        (
            "{name: infra, nodes: [worker-9]}",
            &["no node `worker-9`", "did you mean"],
        ),
        ("{name: infra, max_unavailable: 0}", &["max_unavailable"]),
        (
            "{name: worker, max_unavailable: 2}",
            &["2 of 2 nodes", "now it is 1", "allow_raise: true"],
        ),
        ("{name: infra, pause_for: 4h}", &["needs `paused: true`"]),
    ] {
        reached
            .run(&format!("    - machine_config_pool: {tasks}\n"), &[])
            .await
            .failed(words);
    }

    // The pool goes when its node has left its configuration, and not before.
    let gone = "    - machine_config_pool: {name: infra, state: absent}\n";
    let said = reached.run(gone, &["--check"]).await.ok(1);
    assert!(said.text.contains("taken off worker-2"), "{}", said.text);
    assert!(reached.pools().get_opt("infra").await.unwrap().is_some());
    reached.run(gone, &[]).await.ok(1);
    reached.run(gone, &[]).await.ok(0);
    assert!(reached.pools().get_opt("infra").await.unwrap().is_none());
    let back = r"
    - machine_config_pool_info: {name: worker}
      register: worker
    - k8s_info: {kind: Node, name: worker-2}
      register: node
    - assert:
        that:
          - worker.pools[0].members | sort == ['worker-0', 'worker-1', 'worker-2']
          - node.resources[0].metadata.annotations['machineconfiguration.openshift.io/currentConfig'] is search('^rendered-worker-')
";
    reached.run(back, &[]).await.ok(0);
}

async fn story(reached: &Reached) {
    objects(reached).await;
    ways_to_write(reached).await;
    pools(reached).await;
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
    let control_plane = &cluster.control_plane;
    let other = control_plane.admin().await;
    allow(&other, &control_plane.layerplay().await).await;
    let kubeconfig = std::fs::read_to_string(control_plane.layerplay_kubeconfig()).unwrap();
    let reached = Reached::at(other, &kubeconfig);
    story(&reached).await;

    // What RBAC does not allow is told in the server's words, before anything is written.
    for task in [
        "k8s: {kind: ServiceAccount, name: robot, namespace: web}",
        "k8s_info: {kind: ServiceAccount, namespace: web}",
        "k8s: {kind: ServiceAccount, name: robot, namespace: web, state: absent}",
    ] {
        reached.run(&format!("    - {task}\n"), &[]).await.failed(&[
            "forbidden",
            "serviceaccounts",
            "lacks this right",
        ]);
    }
    // The server knows the schema: a wrong value is refused in check mode as well.
    let wrong = "    - k8s: {state: patched, api_version: machineconfiguration.openshift.io/v1, kind: MachineConfigPool, name: canary, definition: {spec: {paused: perhaps}}}\n";
    reached
        .run(wrong, &["--check"])
        .await
        .failed(&["spec.paused"]);
    // What it does not keep is most often spelled wrong.
    let dropped = wrong.replace("paused: perhaps", "pausd: true");
    let said = reached.run(&dropped, &[]).await.ok(0);
    assert!(
        said.text.contains("does not keep `spec.pausd`"),
        "{}",
        said.text
    );
}

/// The rights on what this story writes besides pools and nodes, and no others.
async fn allow(admin: &Client, layerplay: &Client) {
    let role: ClusterRole = serde_json::from_value(json!({
        "metadata": {"name": "layerplay-objects"},
        "rules": [
            {"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get", "list", "watch", "create", "patch", "update", "delete"]},
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "create", "patch"]},
        ],
    }))
    .unwrap();
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "layerplay-objects"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "layerplay-objects"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "layerplay"}],
    }))
    .unwrap();
    Api::all(admin.clone())
        .create(&PostParams::default(), &role)
        .await
        .unwrap();
    Api::all(admin.clone())
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
    // The server learns of its own roles by a watch, a moment later.
    let maps: Api<ConfigMap> = Api::all(layerplay.clone());
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(problem) = maps.list(&ListParams::default()).await {
        assert!(Instant::now() < deadline, "{problem}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn inventory_text(kubeconfig: &Path) -> String {
    json!({"staging": {"hosts": {"real": {"kubeconfig": kubeconfig}}}, "all": {"vars": {"ansible_connection": "cluster"}}}).to_string()
}
