//! In: the release binary, and labs in processes of their own. Out: how soon after the last node's report a rollout is
//! judged, and what large rollouts take: time, memory, CPU, requests. It prints and never fails: machines differ.
//! `cargo bench --bench rollouts verdict` runs only the rows whose names have that word.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is a program of its own that prints"
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};
use serde_json::Value;

/// A lab, and how its pool may be rolled out.
struct Case {
    what: &'static str,
    clusters: usize,
    workers: usize,
    at_once: &'static str,
    runs: usize,
}

const CASES: &[Case] = &[
    Case {
        what: "verdict: 1 cluster x 20 nodes",
        clusters: 1,
        workers: 20,
        at_once: "25%",
        runs: 5,
    },
    Case {
        what: "verdict: 1 cluster x 600 nodes",
        clusters: 1,
        workers: 600,
        at_once: "10%",
        runs: 1,
    },
    Case {
        what: "fleet: 200 clusters x 20 nodes",
        clusters: 200,
        workers: 20,
        at_once: "25%",
        runs: 1,
    },
    Case {
        what: "large: 1 cluster x 5,000 nodes",
        clusters: 1,
        workers: 5_000,
        at_once: "10%",
        runs: 1,
    },
];

/// A lab in a process of its own; ended with this.
struct Lab {
    process: Child,
    dir: tempfile::TempDir,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn layerplay(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerplay"));
    command
        .current_dir(dir)
        .env("LAYERPLAY_LAB_DIR", dir.join("lab"))
        .env_remove("LAYERPLAY_INVENTORY")
        .env("ANSIBLE_CONFIG", "/dev/null")
        .stdin(Stdio::null());
    command
}

impl Lab {
    fn start(case: &Case) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clusters: Vec<Value> = (0..case.clusters)
            .map(|number| {
                serde_json::json!({
                    "name": format!("site-{number:03}"), "group": "sites", "control_plane": 3,
                    "pools": {"worker": case.workers},
                })
            })
            .collect();
        let scenario = serde_json::json!({"clusters": clusters});
        std::fs::write(dir.path().join("scenario.yml"), scenario.to_string()).unwrap();
        let playbook = include_str!("rollouts.yml").replace("AT_ONCE", case.at_once);
        std::fs::write(dir.path().join("playbook.yml"), playbook).unwrap();
        let log = std::fs::File::create(dir.path().join("lab.log")).unwrap();
        let process = layerplay(dir.path())
            .args(["lab", "up", "--scenario", "scenario.yml"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let lab = Self { process, dir };
        while !lab.is_up() {
            std::thread::sleep(Duration::from_millis(100));
        }
        lab
    }

    fn is_up(&self) -> bool {
        let status = layerplay(self.dir.path())
            .args(["lab", "status"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.unwrap().success()
    }

    /// When a node of the first cluster last told that it runs another configuration than at the beginning; kept up to
    /// date by a watch of its own.
    async fn last_report(&self) -> Arc<Mutex<Option<jiff::Timestamp>>> {
        let path = self.dir.path().join("lab/kubeconfig-site-000");
        let file = Kubeconfig::read_from(path).unwrap();
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .unwrap();
        let nodes: Api<DynamicObject> = Api::all_with(
            kube::Client::try_from(config).unwrap(),
            &ApiResource::erase::<k8s_openapi::api::core::v1::Node>(&()),
        );
        let last = Arc::new(Mutex::new(None));
        let told = Arc::clone(&last);
        tokio::spawn(async move {
            let mut events = watcher(nodes, Config::default()).applied_objects().boxed();
            let mut known = std::collections::HashMap::new();
            while let Some(event) = events.next().await {
                let Ok(node) = event else { continue };
                let say = |key: &str| {
                    let annotations = node.metadata.annotations.as_ref();
                    annotations
                        .and_then(|all| {
                            all.get(&format!("machineconfiguration.openshift.io/{key}"))
                        })
                        .cloned()
                };
                let config = say("currentConfig");
                let before = known.insert(node.metadata.name.clone(), config.clone());
                if before.is_some_and(|before| before != config) {
                    *told.lock().unwrap() = Some(jiff::Timestamp::now());
                }
            }
        });
        last
    }
}

/// What one run was like.
struct Seen {
    seconds: f64,
    verdict: Option<Duration>,
    used: Value,
    nodes: usize,
}

async fn play(case: &Case) -> Seen {
    let lab = Lab::start(case);
    let last = lab.last_report().await;
    let output = tokio::process::Command::from(layerplay(lab.dir.path()))
        .args(["run", "--format", "json", "--forks", "250", "playbook.yml"])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{}\n{said}",
        text.lines().last().unwrap_or_default()
    );
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &'static str| events.iter().filter(move |event| event["event"] == kind);
    let end = of("run_finished").next().unwrap();
    let proven = of("proven").next().unwrap()["time"].as_str().unwrap();
    let proven: jiff::Timestamp = proven.parse().unwrap();
    let last = *last.lock().unwrap();
    Seen {
        seconds: end["seconds"].as_f64().unwrap(),
        // With several clusters nobody can say of which it was.
        verdict: last
            .filter(|_| case.clusters == 1)
            .map(|last| Duration::try_from(proven.duration_since(last)).unwrap_or_default()),
        used: end["used"].clone(),
        nodes: of("proven")
            .map(|event| event["proof"]["nodes"].as_array().map_or(0, Vec::len))
            .sum(),
    }
}

#[tokio::main]
async fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let only = std::env::args()
        .nth(1)
        .filter(|word| !word.starts_with('-'));
    println!(
        "{:<34} {:>8} {:>10} {:>8} {:>8} {:>9} {:>14}",
        "what", "nodes", "time", "verdict", "memory", "CPU", "requests/node"
    );
    for case in CASES {
        if only.as_ref().is_some_and(|word| !case.what.contains(word)) {
            continue;
        }
        for _ in 0..case.runs {
            let seen = play(case).await;
            let requests = seen.used["api_requests"].as_object().unwrap();
            let requests: u64 = requests.values().filter_map(Value::as_u64).sum();
            #[allow(clippy::cast_precision_loss, reason = "counts of a few thousands")]
            let each = requests as f64 / seen.nodes as f64;
            println!(
                "{:<34} {:>8} {:>8.1} s {:>8} {:>5} MB {:>7.1} s {each:>14.2}",
                case.what,
                seen.nodes,
                seen.seconds,
                seen.verdict
                    .map_or(String::new(), |time| format!("{} ms", time.as_millis())),
                seen.used["memory_bytes"].as_u64().unwrap() / 1_000_000,
                seen.used["cpu_seconds"].as_f64().unwrap(),
            );
        }
    }
}
