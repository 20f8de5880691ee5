//! The playbook language, case by case: each folder of `tests/language` is a playbook (with an inventory, roles, whatever
//! it needs) and what a run of it must show, taken from runs of ansible-core 2.19.
//!
//! `expect.json`: `exit`; `args` and `env` of the run; `stdout_contains`, `stdout_not_contains`, `stdout_order` (one after
//! another), `output_contains` (stdout or stderr); `recap` (host -> counters, compared exactly; those left out are 0).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use serde::Deserialize;

#[derive(Deserialize)]
struct Expect {
    exit: Option<i32>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    stdout_contains: Vec<String>,
    #[serde(default)]
    stdout_not_contains: Vec<String>,
    #[serde(default)]
    stdout_order: Vec<String>,
    #[serde(default)]
    output_contains: Vec<String>,
    recap: Option<BTreeMap<String, BTreeMap<String, u64>>>,
}

const COUNTERS: &[&str] = &[
    "ok",
    "changed",
    "unreachable",
    "failed",
    "skipped",
    "rescued",
    "ignored",
];

/// The rows after `PLAY RECAP`.
fn recap(stdout: &str) -> BTreeMap<String, BTreeMap<String, u64>> {
    let rows = stdout
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("PLAY RECAP"));
    rows.skip(1)
        .filter_map(|row| {
            let (host, counters) = row.split_once(" : ")?;
            let counters: BTreeMap<String, u64> = counters
                .split_whitespace()
                .filter_map(|pair| pair.split_once('='))
                .filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?)))
                .collect();
            Some((host.trim().to_owned(), counters))
        })
        .collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else if entry.file_name() != "expect.json" {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// What is wrong about a case.
fn problems(case: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(case.join("expect.json")).unwrap();
    let expect: Expect = serde_json::from_str(&text).unwrap();
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().canonicalize().unwrap();
    copy(case, &dir);
    let inventory = ["inventory", "inventory.yml", "inventory.ini", "hosts"]
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| {
            let path = dir.join("_default_inventory");
            std::fs::write(&path, "localhost ansible_connection=local\n").unwrap();
            path
        });
    let own = |text: &String| text.replace("{dir}", &dir.display().to_string());
    let output = Command::new(env!("CARGO_BIN_EXE_layerplay"))
        .args(["run", "-i"])
        .arg(&inventory)
        .arg(dir.join("playbook.yml"))
        .args(expect.args.iter().map(own))
        .envs(expect.env.iter().map(|(name, value)| (name, own(value))))
        .env("COLUMNS", "200")
        .current_dir(&dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut wrong = Vec::new();
    if let Some(exit) = expect.exit
        && output.status.code() != Some(exit)
    {
        wrong.push(format!("exit {:?}, not {exit}", output.status.code()));
    }
    for text in &expect.stdout_contains {
        if !stdout.contains(text) {
            wrong.push(format!("stdout lacks {text:?}"));
        }
    }
    for text in &expect.stdout_not_contains {
        if stdout.contains(text) {
            wrong.push(format!("stdout has {text:?}"));
        }
    }
    for text in &expect.output_contains {
        if !stdout.contains(text) && !stderr.contains(text) {
            wrong.push(format!("output lacks {text:?}"));
        }
    }
    let mut rest = stdout.as_str();
    for text in &expect.stdout_order {
        let Some(at) = rest.find(text) else {
            wrong.push(format!("{text:?} is missing or out of order"));
            break;
        };
        rest = &rest[at + text.len()..];
    }
    if let Some(mut wanted) = expect.recap {
        for counters in wanted.values_mut() {
            for name in COUNTERS {
                counters.entry((*name).to_owned()).or_default();
            }
        }
        let got = recap(&stdout);
        if got != wanted {
            wrong.push(format!("recap {got:?}, not {wanted:?}"));
        }
    }
    if !wrong.is_empty() {
        wrong.push(format!("stdout:\n{stdout}\nstderr:\n{stderr}"));
    }
    wrong
}

#[test]
fn every_case_runs_as_ansible_core_runs_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/language");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("expect.json").is_file())
        .collect();
    cases.sort();
    assert!(cases.len() > 30, "only {} cases", cases.len());
    let half = cases.len().div_ceil(2);
    let failures: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = cases
            .chunks(half)
            .map(|cases| {
                scope.spawn(|| {
                    let told = cases.iter().map(|case| (case, problems(case)));
                    told.filter(|(_, wrong)| !wrong.is_empty())
                        .map(|(case, wrong)| format!("{}: {}", case.display(), wrong.join("\n  ")))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let ended = workers.into_iter().map(|worker| worker.join().unwrap());
        ended.flatten().collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
