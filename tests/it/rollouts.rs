//! The domain's whole story on one cluster, told three times: on the lab's API; on a real API server with RBAC, where the
//! same controllers and nodes play against it and exec goes through its proxy; and there with the operator's own
//! controllers.

use std::path::{Path, PathBuf};
use std::process::Command;

use layerplay::lab::Lab;
use layerplay::lab::scenario::Scenario;
use serde_json::{Value, json};

use crate::support::command::output;
use crate::support::played::BUILT;
use crate::support::real_cluster::{Decides, RealCluster};

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
        let path = path.display().to_string();
        self.call(&[&["run", &path], args].concat()).await
    }

    async fn call(&self, args: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_layerplay"));
        command
            .args(args)
            .args(["--format", "json", "-i"])
            .arg(&self.inventory);
        let (output, text) = output(command).await;
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

fn layer() -> String {
    format!(
        "
- hosts: staging
  tasks:
{BUILT}    - apply_layer: {{pool: canary, image: \"{{{{ built.image }}}}\"}}
    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\"}}
"
    )
}

/// An image that no node can boot (the release payload, which some take for the OS image): what is in the way is named, and the pool gets back what it had.
async fn failure(reached: &Reached) {
    let layer = format!("\n- hosts: staging\n  tasks:\n{BUILT}");
    // The pool had no layer: back to the base image.
    let first = format!(
        "{layer}    - apply_layer: {{pool: worker, image: \"{{{{ release.image }}}}\", force: [bootable, base], on_failure: rollback, stall: 1, degraded: 2}}
      ignore_errors: true
      register: tried
    - assert:
        that:
          - tried is failed
          - tried.diagnosis.failure == 'not_bootable'
          - tried.diagnosis.node is match('worker-')
    - verify_layer: {{pool: worker, base: true}}
"
    );
    let run = reached.run(&first, &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.text);
    let stalls = run.events.iter().filter(|event| event["event"] == "stall");
    assert!(stalls.count() > 0, "{}", run.text);
    // It had one: back to that.
    let second = format!(
        "{layer}    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\"}}
    - apply_layer: {{pool: worker, image: \"{{{{ release.image }}}}\", force: [bootable, base], on_failure: rollback, stall: 1, degraded: 2}}
      ignore_errors: true
    - verify_layer: {{pool: worker, image: \"{{{{ built.image }}}}\"}}
    - machine_config_pool_info: {{name: worker}}
      register: seen
    - assert: {{that: [\"not seen.pools[0].paused\", \"seen.pools[0].verdict == 'updated'\"]}}
    - remove_layer: {{pool: worker}}
"
    );
    let run = reached.run(&second, &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.text);
    // Somebody deletes a bad MachineConfig and walks away: nothing frees the node until it is repaired.
    let third = format!(
        "{layer}    - machine_config: {{name: 99-bad, pool: worker, os_image: \"{{{{ release.image }}}}\"}}
    - rollout: {{pool: worker, image: \"{{{{ release.image }}}}\", stall: 1, degraded: 2}}
      ignore_errors: true
    - machine_config: {{name: 99-bad, state: absent}}
    - rollout: {{pool: worker, base: true, stall: 1, degraded: 2}}
      ignore_errors: true
      register: trapped
    - assert: {{that: trapped.diagnosis.failure == 'stuck'}}
"
    );
    let run = reached.run(&third, &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.text);
    let seen = reached.call(&["diagnose", "worker", "-l", "staging"]).await;
    assert_eq!((seen.code, seen.changed()), (Some(0), 0), "{}", seen.text);
    assert!(
        seen.text.contains("layerplay repair worker"),
        "{}",
        seen.text
    );
    for (args, changed) in [
        (
            ["repair", "worker", "-l", "staging", "--check"].as_slice(),
            1,
        ),
        (&["repair", "worker", "-l", "staging"], 1),
        (&["repair", "worker", "-l", "staging"], 0),
    ] {
        let run = reached.call(args).await;
        assert_eq!(
            (run.code, run.changed()),
            (Some(0), changed),
            "{}",
            run.text
        );
    }
    let last = "
- hosts: staging
  tasks:
    - diagnose_pool: {pool: worker}
      register: seen
      until: seen.settled
      delay: 1
      retries: 60
    - assert: {that: \"seen.failures == []\"}
    - verify_layer: {pool: worker, base: true}
";
    let run = reached.run(last, &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.text);
}

async fn story(reached: &Reached) {
    let dry = reached.run(&layer(), &["--check"]).await;
    assert_eq!((dry.code, dry.changed()), (Some(0), 3), "{}", dry.text);
    let first = reached.run(&layer(), &[]).await;
    assert_eq!(
        (first.code, first.changed()),
        (Some(0), 3),
        "{}",
        first.text
    );
    assert_eq!(first.proven(), ["canary: 1", "worker: 3"]);

    let second = reached.run(&layer(), &[]).await;
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
    let lab = Lab::start(&Scenario::default()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let inventory = lab.write(dir.path()).unwrap();
    let reached = Reached { dir, inventory };
    story(&reached).await;
    failure(&reached).await;
    drop(lab);
}

async fn on_a_real_cluster(decides: Decides) {
    let cluster = RealCluster::start(decides).await;
    let dir = tempfile::tempdir().unwrap();
    let inventory = dir.path().join("inventory.yml");
    std::fs::write(
        &inventory,
        inventory_text(
            cluster.control_plane.layerplay_kubeconfig(),
            &cluster.registry.address(),
        ),
    )
    .unwrap();
    let reached = Reached { dir, inventory };
    story(&reached).await;
    failure(&reached).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_api_server() {
    on_a_real_cluster(Decides::Lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_operators_controllers() {
    on_a_real_cluster(Decides::Operator).await;
}

fn inventory_text(kubeconfig: &Path, registry: &str) -> String {
    json!({"staging": {"hosts": {"real": {"kubeconfig": kubeconfig}}}, "all": {"vars": {"ansible_connection": "cluster", "registry": format!("{registry}/os-layers")}}}).to_string()
}
