//! In: the release binary. Out: how long whole commands take, as a person at a terminal sees it: the median of several
//! runs, beside what it may be. It prints and never fails: machines differ.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is a program of its own that prints"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A command, how often it is run, and the time that it may take.
struct Case {
    what: &'static str,
    args: &'static [&'static str],
    runs: usize,
    limit: Duration,
}

const CASES: &[Case] = &[
    Case {
        what: "start (`--version`)",
        args: &["--version"],
        runs: 50,
        limit: Duration::from_millis(20),
    },
    Case {
        what: "check of promote.yml",
        args: &["check", "playbooks/promote.yml"],
        runs: 20,
        limit: Duration::from_millis(100),
    },
    Case {
        what: "main job on the lab (`run playbooks/promote.yml`)",
        args: &["run", "playbooks/promote.yml"],
        runs: 3,
        limit: Duration::from_mins(1),
    },
];

fn time(args: &[&str], lab: &Path) -> Duration {
    let begun = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_layerplay"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("LAYERPLAY_LAB_DIR", lab)
        .env_remove("LAYERPLAY_INVENTORY")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{args:?} ended with {status}");
    begun.elapsed()
}

fn main() {
    // A lab that is up on this machine must not be used.
    let nowhere = tempfile::tempdir().unwrap();
    println!(
        "{:<52} {:>10} {:>10} {:>10} {:>8}",
        "what", "median", "min", "max", "limit"
    );
    for case in CASES {
        // The first run warms the caches and is not counted.
        time(case.args, nowhere.path());
        let mut times: Vec<Duration> = (0..case.runs)
            .map(|_| time(case.args, nowhere.path()))
            .collect();
        times.sort();
        let shown = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
        let median = times[times.len() / 2];
        println!(
            "{:<52} {:>10} {:>10} {:>10} {:>8} {}",
            case.what,
            shown(median),
            shown(times[0]),
            shown(times[times.len() - 1]),
            format!("{:?}", case.limit),
            if median <= case.limit {
                ""
            } else {
                "over the limit"
            },
        );
    }
}
