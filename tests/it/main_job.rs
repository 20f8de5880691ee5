//! The first command of the README, as a newcomer types it; and a lab that stays up, looked at with kubectl.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::control_plane::kubectl;

struct LabUp {
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for LabUp {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn layerplay(lab: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_layerplay"))
        .args(args)
        .env("LAYERPLAY_LAB_DIR", lab)
        .env_remove("LAYERPLAY_INVENTORY")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

impl LabUp {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_layerplay"))
            .args(["lab", "up", "--dir"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lab = Self { child, dir };
        let deadline = Instant::now() + Duration::from_mins(1);
        while !layerplay(lab.dir.path(), &["lab", "status"])
            .status
            .success()
        {
            assert!(Instant::now() < deadline, "the lab does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        lab
    }
}

#[test]
fn the_first_command_of_the_readme_builds_proves_and_promotes() {
    let nowhere = tempfile::tempdir().unwrap();
    let output = layerplay(nowhere.path(), &["run", "playbooks/promote.yml"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.starts_with("simulation: ") && said.lines().next().unwrap().contains("-i"),
        "{said}"
    );
    assert!(
        said.contains("stage `production` may start: `non-production` proved sha256:"),
        "{said}"
    );
    assert!(said.contains("on 4 nodes"), "{said}");
    let proven: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(" sha256:") && !line.contains("gate"))
        .collect();
    assert_eq!(proven.len(), 3, "{said}");
}

#[test]
fn a_scenario_that_cannot_be_played_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.yml");
    std::fs::write(&file, "faults:\n  - {fault: cordoned, node: worker-77}\n").unwrap();
    let file = file.display().to_string();
    let output = layerplay(dir.path(), &["lab", "up", "--scenario", &file]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("bad.yml: faults[0]: no node is called `worker-77`"),
        "{said}"
    );
}

#[test]
fn a_lab_that_stays_up_is_promoted_once_looked_at_and_taken_back() {
    let lab = LabUp::start();
    let run = |playbook: &str| layerplay(lab.dir.path(), &["run", "--format", "ansible", playbook]);
    let first = run("promote.yml");
    assert_eq!(first.status.code(), Some(0), "{}", text(&first));
    let second = run("promote.yml");
    let said = text(&second);
    assert_eq!(second.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("changed=0 ").count(), 2, "{said}");
    assert_eq!(run("verify.yml").status.code(), Some(0));

    let look = |args: &[&str]| {
        let output = Command::new(kubectl())
            .arg("--kubeconfig")
            .arg(lab.dir.path().join("kubeconfig-stage-a"))
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "kubectl {args:?}: {}",
            text(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let table = look(&["get", "mcp,mc,nodes"]);
    assert!(
        table.contains("99-layer-canary") && table.contains("node/worker-2"),
        "{table}"
    );
    let status = look(&[
        "-n",
        "openshift-machine-config-operator",
        "exec",
        "machine-config-daemon-worker-0",
        "--",
        "chroot",
        "/rootfs",
        "rpm-ostree",
        "status",
        "--json",
    ]);
    assert!(status.contains("os-layers/hello@sha256:"), "{status}");

    let back = run("remove.yml");
    assert_eq!(back.status.code(), Some(0), "{}", text(&back));
    let wrong = run("verify.yml");
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong));
    assert!(text(&wrong).contains("do not run"), "{}", text(&wrong));
    let down = layerplay(lab.dir.path(), &["lab", "down"]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(
        !layerplay(lab.dir.path(), &["lab", "status"])
            .status
            .success()
    );
}

#[test]
fn production_is_held_without_proof() {
    let nowhere = tempfile::tempdir().unwrap();
    let output = layerplay(
        nowhere.path(),
        &["run", "--limit", "prod", "playbooks/promote.yml"],
    );
    assert_ne!(output.status.code(), Some(0), "{}", text(&output));
    assert!(!text(&output).contains("may start"), "{}", text(&output));
}
