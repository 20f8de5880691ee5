//! The domain's whole story on one cluster, told twice: on the lab's API, and on a real API server with RBAC, where the
//! same controllers and nodes play against it and exec goes through its proxy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use layerplay::lab::cluster::{Access, Machines, Pace, Plan, seed, start_controllers, start_nodes};
use layerplay::lab::registry::{self, release};
use layerplay::lab::{FromRegistry, Lab, nodes};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::control_plane::{ControlPlane, ExecAnswer, ExecRequest};

/// What a run said: its exit code and its events.
struct Said {
    code: Option<i32>,
    events: Vec<Value>,
    text: String,
}

impl Said {
    fn changed(&self) -> u64 {
        let finished = self
            .events
            .iter()
            .find(|event| event["event"] == "run_finished");
        let stats = finished.and_then(|event| event["stats"].as_array());
        stats
            .into_iter()
            .flatten()
            .filter_map(|host| host[1]["changed"].as_u64())
            .sum()
    }

    /// `pool: nodes` of everything that was proven.
    fn proven(&self) -> Vec<String> {
        let proofs = self
            .events
            .iter()
            .filter(|event| event["event"] == "proven");
        proofs
            .map(|event| {
                format!(
                    "{}: {}",
                    event["proof"]["pool"].as_str().unwrap(),
                    event["proof"]["nodes"].as_array().unwrap().len()
                )
            })
            .collect()
    }
}

/// A cluster as a user reaches it.
struct Reached {
    dir: tempfile::TempDir,
    inventory: PathBuf,
}

impl Reached {
    async fn run(&self, playbook: &str, args: &[&str]) -> Said {
        let path = self.dir.path().join("playbook.yml");
        std::fs::write(&path, playbook).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_layerplay"));
        command
            .args(["run", "--format", "json", "-i"])
            .arg(&self.inventory)
            .args(args)
            .arg(&path);
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let events = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        Said {
            code: output.status.code(),
            events,
            text,
        }
    }
}

const LAYER: &str = "
- hosts: staging
  tasks:
    - release_info:
      register: release
    - layered_image:
        name: \"{{ registry }}/motd\"
        tag: \"1\"
        content: |
          FROM {{ release.os_image }}
          LABEL org.opencontainers.image.title=motd
        base: \"{{ release.os_image }}\"
      register: built
    - apply_layer: {pool: canary, image: \"{{ built.image }}\"}
    - apply_layer: {pool: worker, image: \"{{ built.image }}\"}
";

async fn story(reached: &Reached) {
    let dry = reached.run(LAYER, &["--check"]).await;
    assert_eq!((dry.code, dry.changed()), (Some(0), 3), "{}", dry.text);
    let first = reached.run(LAYER, &[]).await;
    assert_eq!(
        (first.code, first.changed()),
        (Some(0), 3),
        "{}",
        first.text
    );
    assert_eq!(first.proven(), ["canary: 1", "worker: 3"]);

    let second = reached.run(LAYER, &[]).await;
    assert_eq!(
        (second.code, second.changed()),
        (Some(0), 0),
        "{}",
        second.text
    );
    assert_eq!(
        second.proven(),
        ["canary: 1", "worker: 3"],
        "what runs is proven again"
    );

    let debug = reached
        .run(
            "
- hosts: staging
  tasks:
    - image_info: {image: \"{{ registry }}/motd:1\"}
      register: layer
    - verify_layer: {pool: worker, image: \"{{ layer.image }}\", proof: debug}
      register: seen
    - assert: {that: \"seen.nodes | map(attribute='proof') | unique | list == ['debug']\"}
",
            &[],
        )
        .await;
    assert_eq!(debug.code, Some(0), "{}", debug.text);

    let absent = format!("sha256:{}", "0".repeat(64));
    let missing = reached
        .run(
            &format!(
                "
- hosts: staging
  tasks:
    - apply_layer: {{pool: worker, name: 99-other, image: \"{{{{ registry }}}}/motd@{absent}\"}}
"
            ),
            &[],
        )
        .await;
    assert_eq!(missing.code, Some(2), "{}", missing.text);
    assert!(
        missing.text.contains("nothing was changed"),
        "{}",
        missing.text
    );

    let tag = reached
        .run(
            "
- hosts: staging
  tasks:
    - machine_config: {name: 99-tag, pool: worker, os_image: \"{{ registry }}/motd:1\"}
",
            &[],
        )
        .await;
    assert_eq!(tag.code, Some(2), "{}", tag.text);
    let nobody = reached
        .run(
            "
- hosts: staging
  tasks:
    - apply_layer: {pool: wroker, image: \"{{ registry }}/motd:1\"}
",
            &[],
        )
        .await;
    assert_eq!(nobody.code, Some(2), "{}", nobody.text);

    let back = reached
        .run(
            "
- hosts: staging
  tasks:
    - remove_layer: {pool: worker}
    - remove_layer: {pool: canary}
    - verify_layer: {pool: worker, base: true}
",
            &[],
        )
        .await;
    assert_eq!((back.code, back.changed()), (Some(0), 2), "{}", back.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_labs_api() {
    let lab = Lab::start(Pace::fast()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let inventory = lab.write(dir.path()).unwrap();
    story(&Reached { dir, inventory }).await;
    drop(lab);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_api_server() {
    let registry = Arc::new(registry::start(registry::Options::default()).await.unwrap());
    let spec = release::ReleaseSpec {
        version: "4.18.9".to_owned(),
        architecture: "amd64".to_owned(),
    };
    let published = release::publish(&registry, &spec).unwrap();
    let plan = Plan {
        name: "real".to_owned(),
        version: spec.version.clone(),
        release_image: published.release_image.clone(),
        os_image: published.os_image.clone(),
        nodes: nodes(1, 3),
    };
    let pulls = Box::new(FromRegistry(Arc::clone(&registry)));
    let machines = Arc::new(Machines::new(
        "real",
        &plan.node_names(),
        &plan.os_image,
        pulls,
    ));
    let seen = Arc::clone(&machines);
    let names = plan.node_names();
    let control_plane = ControlPlane::start(move |request| answer(&seen, &names, &request)).await;
    control_plane.grant().await;
    let access = Access::new(control_plane.admin().await);
    seed(&access, &plan, &machines).await.unwrap();
    let port = json!({"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": control_plane.kubelet_port()}}}});
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> =
        kube::Api::all(control_plane.admin().await);
    for name in plan.node_names() {
        nodes
            .patch_status(
                &name,
                &kube::api::PatchParams::default(),
                &kube::api::Patch::Merge(&port),
            )
            .await
            .unwrap();
    }
    let stop = CancellationToken::new();
    start_controllers(&access, Pace::fast(), &stop);
    start_nodes(&access, &machines, Pace::fast(), &stop);
    let dir = tempfile::tempdir().unwrap();
    let inventory = dir.path().join("inventory.yml");
    std::fs::write(
        &inventory,
        inventory_text(control_plane.layerplay_kubeconfig(), &registry.address()),
    )
    .unwrap();
    story(&Reached { dir, inventory }).await;
    stop.cancel();
}

fn inventory_text(kubeconfig: &Path, registry: &str) -> String {
    json!({"staging": {"hosts": {"real": {"kubeconfig": kubeconfig}}}, "all": {"vars": {"ansible_connection": "cluster", "registry": format!("{registry}/os-layers")}}}).to_string()
}

/// What a container on a node says: daemon pods and debug pods are named after their node.
fn answer(machines: &Machines, nodes: &[String], request: &ExecRequest) -> ExecAnswer {
    let pod = request
        .pod
        .strip_prefix("machine-config-daemon-")
        .or(request.pod.strip_suffix("-debug"))
        .unwrap_or(&request.pod);
    let node = nodes.iter().find(|node| *node == pod);
    match node.map(|node| machines.run(node, &request.command)) {
        Some(Ok((stdout, stderr, code))) => ExecAnswer {
            stdout,
            stderr,
            code,
        },
        Some(Err(problem)) => ExecAnswer {
            stdout: String::new(),
            stderr: problem,
            code: 1,
        },
        None => ExecAnswer {
            stdout: String::new(),
            stderr: format!("no node of pod {}", request.pod),
            code: 1,
        },
    }
}
