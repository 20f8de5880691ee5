//! The lab's API as plain `kubectl` uses it: tables, selectors, every kind of patch, apply, conflicts, watches, exec.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use layerplay::lab::Lab;
use layerplay::lab::scenario::Scenario;

use crate::support::control_plane::kubectl;

struct Cluster {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
}

impl Cluster {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        command
    }

    /// Runs it with some input: its output, or what it said when it failed.
    fn try_run(&self, args: &[&str], input: &str) -> Result<String, String> {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stdout) + &text(&output.stderr))
        }
    }

    fn run(&self, args: &[&str]) -> String {
        self.try_run(args, "")
            .unwrap_or_else(|said| panic!("kubectl {args:?}: {said}"))
    }
}

const CONFIG: &str = "
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 99-args, labels: {machineconfiguration.openshift.io/role: worker}}
spec: {kernelArguments: [quiet]}
";

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_reads_writes_watches_and_execs() {
    let lab = Lab::start(&Scenario::default()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    lab.write(dir.path()).unwrap();
    let kubeconfig = dir.path().join("kubeconfig-stage-a");
    tokio::task::spawn_blocking(move || story(&kubeconfig))
        .await
        .unwrap();
}

fn story(kubeconfig: &Path) {
    let cluster = Cluster {
        kubectl: kubectl(),
        kubeconfig: kubeconfig.to_owned(),
    };
    let run = |args: &[&str]| cluster.run(args);

    let names = run(&[
        "get",
        "nodes",
        "-l",
        "node-role.kubernetes.io/canary",
        "-o",
        "name",
    ]);
    assert_eq!(names.trim(), "node/canary-0");
    let pods = run(&[
        "get",
        "pods",
        "-A",
        "--field-selector",
        "spec.nodeName=worker-1",
        "-o",
        "name",
    ]);
    assert_eq!(pods.lines().count(), 2, "{pods}");
    let wide = run(&["get", "mcp", "worker", "-o", "wide"]);
    assert!(
        wide.contains("rendered-worker-") && wide.contains("DEGRADED"),
        "{wide}"
    );
    assert!(run(&["api-resources"]).contains("machineconfigpools"));
    assert!(
        run(&[
            "get",
            "clusterversion",
            "version",
            "-o",
            "jsonpath={.status.desired.version}"
        ])
        .starts_with("4.")
    );
    assert!(run(&["describe", "mcp", "worker"]).contains("Machine Config Selector"));

    // Four kinds of patches, and labels.
    run(&[
        "patch",
        "mcp",
        "worker",
        "--type",
        "merge",
        "-p",
        r#"{"spec":{"maxUnavailable":2}}"#,
    ]);
    run(&[
        "patch",
        "mcp",
        "worker",
        "--type",
        "json",
        "-p",
        r#"[{"op":"test","path":"/spec/maxUnavailable","value":2},{"op":"replace","path":"/spec/maxUnavailable","value":"50%"}]"#,
    ]);
    assert_eq!(
        run(&[
            "get",
            "mcp",
            "worker",
            "-o",
            "jsonpath={.spec.maxUnavailable}"
        ]),
        "50%"
    );
    run(&[
        "patch",
        "node",
        "worker-0",
        "--type",
        "strategic",
        "-p",
        r#"{"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}}"#,
    ]);
    run(&["label", "node", "worker-0", "tier=gold"]);
    assert_eq!(
        run(&["get", "nodes", "-l", "tier in (gold)", "-o", "name"]).trim(),
        "node/worker-0"
    );
    run(&["cordon", "worker-0"]);
    assert!(run(&["get", "node", "worker-0"]).contains("SchedulingDisabled"));
    run(&["uncordon", "worker-0"]);

    // Apply of both kinds; another manager's field is a conflict, unless it is taken over.
    let apply =
        |args: &[&str], text: &str| cluster.try_run(&[&["apply", "-f", "-"], args].concat(), text);
    assert!(
        apply(&["--server-side", "--field-manager", "one"], CONFIG)
            .unwrap()
            .contains("serverside-applied")
    );
    let other = CONFIG.replace("quiet", "debug");
    let conflict = apply(&["--server-side", "--field-manager", "two"], &other).unwrap_err();
    assert!(
        conflict.contains("conflict") && conflict.contains("one"),
        "{conflict}"
    );
    apply(
        &[
            "--server-side",
            "--field-manager",
            "two",
            "--force-conflicts",
        ],
        &other,
    )
    .unwrap();
    assert_eq!(
        run(&[
            "get",
            "mc",
            "99-args",
            "-o",
            "jsonpath={.spec.kernelArguments[0]}"
        ]),
        "debug"
    );
    let fresh = CONFIG.replace("99-args", "99-more");
    assert!(apply(&[], &fresh).unwrap().contains("created"));
    assert!(apply(&[], &fresh).unwrap().contains("unchanged"));
    let stale = cluster
        .try_run(
            &["replace", "-f", "-"],
            &run(&["get", "mc", "99-more", "-o", "yaml"])
                .replace("quiet", "a")
                .replace("resourceVersion: \"", "resourceVersion: \"1"),
        )
        .unwrap_err();
    assert!(
        stale.contains("Conflict") || stale.contains("modified"),
        "{stale}"
    );
    let missing = cluster.try_run(&["get", "mc", "none"], "").unwrap_err();
    assert!(missing.contains("NotFound"), "{missing}");
    assert!(
        cluster
            .try_run(&["create", "-f", "-"], &fresh)
            .unwrap_err()
            .contains("AlreadyExists")
    );

    // A watch sees what happens after it; waiting for a condition ends when it holds.
    let mut watch = cluster
        .command(&["get", "mc", "--watch-only", "-o", "name"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let (send, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .try_for_each(|line| send.send(line))
    });
    // A watch begins at some moment: written again and again until it has seen it.
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut at = 0;
    let line = loop {
        at += 1;
        run(&[
            "annotate",
            "mc",
            "99-more",
            "--overwrite",
            &format!("at={at}"),
        ]);
        if let Ok(line) = seen.try_recv() {
            break line;
        }
        assert!(Instant::now() < deadline, "the watch sees nothing");
    };
    assert!(line.contains("99-more"), "{line}");
    watch.kill().unwrap();
    watch.wait().unwrap();
    run(&["delete", "mc", "99-more", "99-args"]);
    run(&[
        "wait",
        "mcp/worker",
        "--for=condition=Updated",
        "--timeout=60s",
    ]);

    let exec = |command: &[&str]| {
        let pod = [
            "-n",
            "openshift-machine-config-operator",
            "exec",
            "machine-config-daemon-worker-0",
            "-c",
            "machine-config-daemon",
            "--",
        ];
        cluster.try_run(&[pod.as_slice(), command].concat(), "")
    };
    assert!(
        exec(&["chroot", "/rootfs", "rpm-ostree", "status", "--json"])
            .unwrap()
            .contains("rhel-coreos@sha256:")
    );
    let failed = exec(&["no-such-command"]).unwrap_err();
    assert!(failed.contains("exit code 127"), "{failed}");
}
