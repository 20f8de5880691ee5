//! What is refused before the first write: an image that the cluster's nodes would not get, an image of another release,
//! a user without rights. And a cluster that says nothing, beside one that does.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, PostParams};
use layerplay::lab::registry;
use layerplay_modules::registry::{ImageRef, Registries, RegistryOptions};
use serde_json::json;

use crate::support::command::output;
use crate::support::control_plane::{ControlPlane, ExecAnswer};
use crate::support::played::{BUILT, MCO, Played};

const APPLY: &str = "    - apply_layer: {pool: worker, image: \"{{ built.image }}\"}\n";

/// An `ImageDigestMirrorSet` of the lab's registry, as tasks.
fn mirror(policy: &str) -> String {
    format!(
        "    - k8s:
        apply: true
        definition:
          apiVersion: config.openshift.io/v1
          kind: ImageDigestMirrorSet
          metadata: {{name: layers}}
          spec:
            imageDigestMirrors:
              - source: \"{{{{ registry }}}}\"
                mirrors: [\"{{{{ registry }}}}-mirror\"]
                mirrorSourcePolicy: {policy}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_57_a_mirror_that_lacks_the_image_is_named() {
    let played = Played::start("pools").await;
    let said = played
        .run(&format!("{}{APPLY}", mirror("NeverContactSource")))
        .await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    for words in [
        "check `mirrors`: nodes could not pull",
        "os-layers-mirror/motd` (ImageDigestMirrorSet layers) does not have the digest",
    ] {
        assert!(said.text.contains(words), "{words}\n{}", said.text);
    }
    assert!(
        !said.text.contains("os-layers/motd` does not"),
        "{}",
        said.text
    );
    assert!(!played.has_layer());
    // Nodes that may ask the source find it there.
    played
        .holds(&format!("{}{APPLY}", mirror("AllowContactingSource")))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_56_the_clusters_own_logins_are_tried_before_anything_is_written() {
    let played = Played::start("pools").await;
    let options = registry::Options {
        login: Some(("puller".to_owned(), "pass-word-2".to_owned())),
        ..registry::Options::default()
    };
    let closed = registry::start(options).await.unwrap();
    let address = closed.address();
    let login = STANDARD.encode("puller:pass-word-2");
    let auth = played.dir().join("auth.json");
    let logins = |place: &str, login: &str| json!({"auths": {place: {"auth": login}}}).to_string();
    std::fs::write(&auth, logins(&address, &login)).unwrap();
    // The node's own look is passed over: the lab's nodes know one registry.
    let look = |secret: &str| {
        let secret = STANDARD.encode(secret);
        format!(
            "    - layered_image:
        name: {address}/team/motd
        tag: \"1\"
        content: |
          FROM {{{{ release.os_image }}}}
          LABEL org.opencontainers.image.title=motd
        base: \"{{{{ release.os_image }}}}\"
      register: elsewhere
    - k8s:
        apply: true
        definition:
          apiVersion: v1
          kind: Secret
          type: kubernetes.io/dockerconfigjson
          metadata: {{name: pull-secret, namespace: openshift-config}}
          data: {{.dockerconfigjson: \"{secret}\"}}
    - layer_preflight: {{pool: worker, name: 99-layer-worker, image: \"{{{{ elsewhere.image }}}}\", force: [node_pull]}}
"
        )
    };
    let run = async |secret: String| {
        let tasks = look(&secret);
        let vars = format!("  vars: {{registry_auth_file: {}}}\n", auth.display());
        played.run_with(&vars, &tasks).await
    };
    let none = run(logins("registry.example.com", "eDp5")).await;
    assert_eq!(none.code, Some(2), "{}", none.text);
    assert!(
        none.text
            .contains("wants a login, and the cluster's pull secret has none for it"),
        "{}",
        none.text
    );
    // The longest path counts, and it is wrong.
    let wrong = json!({"auths": {
        &address: {"auth": login}, format!("{address}/team"): {"auth": STANDARD.encode("puller:old")},
    }});
    let wrong = run(wrong.to_string()).await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.text);
    assert!(
        wrong.text.contains("does not accept the login"),
        "{}",
        wrong.text
    );
    let right = run(logins(&format!("{address}/team"), &login)).await;
    assert_eq!(right.code, Some(0), "{}", right.text);
    for said in [&none, &wrong, &right] {
        assert!(!said.text.contains("pass-word-2"), "{}", said.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_another_release_is_refused_unless_it_is_meant() {
    let played = Played::start("two_releases").await;
    let promote = |force: &str| {
        format!(
            "
- hosts: staging
  tasks:
{BUILT}- hosts: prod
  tasks:
    - apply_layer: {{pool: worker, image: \"{{{{ hostvars[groups.staging[0]].built.image }}}}\", force: [{force}]}}
      register: applied
"
        )
    };
    let refused = played.play(&promote("")).await;
    assert_eq!(refused.code, Some(2), "{}", refused.text);
    assert!(refused.text.contains("check `base`"), "{}", refused.text);
    let forced = played.play(&promote("base")).await;
    assert_eq!(forced.code, Some(0), "{}", forced.text);
    // It is there: a second run is told that it is behind, and not refused.
    let again = played.play(&promote("")).await;
    assert_eq!(again.code, Some(0), "{}", again.text);
    assert!(
        again.text.contains("rebuild the layer on it"),
        "{}",
        again.text
    );
}

/// The lab's base image with one step more in its history, as a builder leaves it.
async fn baked(played: &Played, step: &str) -> String {
    let controller = played.object(MCO, "controllerconfigs", "", "machine-config-controller");
    let base = controller["spec"]["baseOSContainerImage"].as_str().unwrap();
    let base: ImageRef = base.parse().unwrap();
    let target: ImageRef = format!("{}/os-layers/baked:1", base.registry)
        .parse()
        .unwrap();
    let registries = Registries::new(RegistryOptions::default(), Arc::default());
    let manifest = registries.manifest(&base).await.unwrap();
    let mut config = registries.config(&base, &manifest).await.unwrap();
    config["history"] = json!([{"created_by": step}]);
    let config = registries
        .push_blob(&target, config.to_string().into_bytes())
        .await
        .unwrap();
    for layer in manifest.layers() {
        registries
            .copy_blob(&base, &target, &layer.digest)
            .await
            .unwrap();
    }
    let mut json = manifest.json.clone();
    json["config"]["digest"] = json!(config.as_str());
    let bytes = json.to_string().into_bytes();
    let digest = registries
        .push_manifest(&target, bytes, &manifest.media_type)
        .await
        .unwrap();
    target.at(digest).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_36_a_package_that_is_an_extension_too_is_refused() {
    let played = Played::start("pools").await;
    let image = baked(&played, "/bin/sh -c rpm-ostree install usbguard").await;
    let tasks = |force: &str| {
        format!(
            "    - machine_config: {{name: 50-guard, pool: worker, extensions: [usbguard]}}
    - k8s_info: {{kind: MachineConfigPool, api_version: machineconfiguration.openshift.io/v1, name: worker}}
      register: pool
      until: \"'50-guard' in pool.resources[0].spec.configuration.source | map(attribute='name')\"
      retries: 100
      delay: 0.1
    - rollout: {{pool: worker, base: true}}
    - layer_preflight: {{pool: worker, name: 99-layer-worker, image: \"{image}\", force: [{force}]}}
"
        )
    };
    let refused = played.run(&tasks("")).await;
    assert_eq!(refused.code, Some(2), "{}", refused.text);
    for words in [
        "check `extensions`",
        "installs usbguard",
        "the extension `usbguard`",
    ] {
        assert!(refused.text.contains(words), "{words}\n{}", refused.text);
    }
    let forced = played.run(&tasks("extensions")).await;
    assert_eq!(forced.code, Some(0), "{}", forced.text);
    assert!(
        forced.text.contains("give `extensions_image`"),
        "{}",
        forced.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_52_and_53_other_ways_to_an_os_image_are_refused() {
    for (check, object) in [
        (
            "stream",
            "{kind: MachineConfigPool, metadata: {name: worker}, spec: {osImageStream: {name: rhel-10}}}",
        ),
        (
            "on_cluster_layering",
            "{kind: MachineOSConfig, metadata: {name: layered}, spec: {machineConfigPool: {name: worker}}}",
        ),
    ] {
        let played = Played::start("pools").await;
        let said = played
            .run(&format!(
                "    - k8s: {{api_version: machineconfiguration.openshift.io/v1, definition: {object}}}\n{APPLY}"
            ))
            .await;
        assert_eq!(said.code, Some(2), "{}", said.text);
        let words = format!("check `{check}`");
        assert!(said.text.contains(&words), "{}", said.text);
        assert!(!played.has_layer());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_34_and_35_an_upgrade_leaves_the_layer_and_makes_it_old() {
    let played = Played::start("two_releases").await;
    // The cluster gets what the other one has: its base image, and new templates, which reboot its nodes.
    let said = played
        .play(&format!(
            "
- hosts: prod
  tasks:
    - release_info:
      register: release
- hosts: staging
  tasks:
{BUILT}    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\"}}
      register: first
    - k8s:
        definition:
          apiVersion: machineconfiguration.openshift.io/v1
          kind: ControllerConfig
          metadata: {{name: machine-config-controller}}
          spec: {{baseOSContainerImage: \"{{{{ hostvars['prod-a'].release.os_image }}}}\"}}
    - k8s:
        definition:
          apiVersion: machineconfiguration.openshift.io/v1
          kind: MachineConfig
          metadata: {{name: 00-worker}}
          spec: {{kernelArguments: [templates.of=the-next-release]}}
    - k8s_info: {{kind: MachineConfigPool, api_version: machineconfiguration.openshift.io/v1, name: worker}}
      register: pool
      until: pool.resources[0].spec.configuration.name != first.rendered
      retries: 100
      delay: 0.1
    - rollout: {{pool: worker, image: \"{{{{ built.image }}}}\"}}
      register: rolled
    - verify_layer: {{pool: worker, image: \"{{{{ built.image }}}}\"}}
    - assert:
        that:
          - rolled.rendered != first.rendered
          - rolled.nodes[0].booted == built.image
          - rolled.nodes[0].boot_id != first.nodes[0].boot_id
    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\"}}
      register: again
    - assert: {{that: again is not changed}}
"
        ))
        .await;
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert!(
        said.text.contains("rebuild the layer on it"),
        "{}",
        said.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_says_nothing_holds_no_other_up() {
    let played = Played::start("api_hangs").await;
    let said = played
        .play(&format!(
            "
- hosts: stage-a
  tasks:
{BUILT}- hosts: staging
  tasks:
    - apply_layer: {{pool: worker, image: \"{{{{ hostvars['stage-a'].built.image }}}}\"}}
"
        ))
        .await;
    assert_eq!(said.code, Some(4), "{}", said.text);
    assert!(
        said.text.contains("no usable answer within 60 s"),
        "{}",
        said.text
    );
    let at = |words: &str| {
        let found = said.text.lines().position(|line| line.contains(words));
        found.unwrap_or_else(|| panic!("{words}\n{}", said.text))
    };
    let proven = at("\"event\":\"proven\"");
    let gone = at("\"status\":\"unreachable\"");
    assert!(proven < gone, "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_rights_that_are_missing_are_told_at_once() {
    let control_plane = ControlPlane::start(|_| ExecAnswer {
        stdout: String::new(),
        stderr: String::new(),
        code: 1,
    })
    .await;
    let admin = control_plane.admin().await;
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    let bindings: Api<ClusterRoleBinding> = Api::all(admin);
    let role = json!({"metadata": {"name": "reader"}, "rules": [
        {"apiGroups": ["machineconfiguration.openshift.io"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]},
    ]});
    let binding = json!({"metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "layerplay"}]});
    let post = PostParams::default();
    let role = serde_json::from_value(role).unwrap();
    roles.create(&post, &role).await.unwrap();
    let binding = serde_json::from_value(binding).unwrap();
    bindings.create(&post, &binding).await.unwrap();
    control_plane.knows_its_roles().await;
    let dir = tempfile::tempdir().unwrap();
    let playbook = dir.path().join("playbook.yml");
    let image = format!("registry.example.com/x@sha256:{}", "0".repeat(64));
    std::fs::write(
        &playbook,
        format!(
            "- hosts: all\n  tasks:\n    - apply_layer: {{pool: worker, image: \"{image}\", kubeconfig: {}}}\n",
            control_plane.layerplay_kubeconfig().display()
        ),
    )
    .unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_layerplay"));
    command
        .args([
            "run",
            "--format",
            "json",
            "-i",
            "real,",
            "-e",
            "ansible_connection=cluster",
        ])
        .arg(&playbook);
    let (output, text) = output(command).await;
    assert_eq!(output.status.code(), Some(2), "{text}");
    for words in [
        "may not watch nodes, get clusterversions.config.openshift.io, create machineconfigs.machineconfiguration.openshift.io, patch machineconfigs.machineconfiguration.openshift.io; nothing was changed",
        "docs/rights.yml",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}
