//! In: the release binary and a real ansible-core 2.19 (`ANSIBLE_PLAYBOOK`, or `ansible-playbook` of the path). Out: the
//! same playbooks by both, side by side in one run, and by layerplay at 1x, 4x, 16x: what grows faster than its work
//! shows there. It prints and never fails: machines differ.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is a program of its own that prints"
)]

mod machines;
mod work;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use machines::Machines;
use work::{Scale, WORKS, Work};

/// Time and memory of one run.
#[derive(Clone, Copy)]
struct Cost {
    time: Duration,
    kib: u64,
}

/// The most memory that a process has had so far.
fn peak(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn run(mut command: Command, dir: &Path, what: &str) -> Cost {
    let log = dir.join("log");
    let output = std::fs::File::create(&log).unwrap();
    let begun = Instant::now();
    let mut child = command
        .current_dir(dir)
        .env("ANSIBLE_CONFIG", dir.join("ansible.cfg"))
        .env_remove("LAYERPLAY_INVENTORY")
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let id = child.id();
    // The peak is read until the process is gone; the wait below has its end to the microsecond.
    let watcher = std::thread::spawn(move || {
        let mut most = 0;
        while let Some(kib) = peak(id) {
            most = most.max(kib);
            std::thread::sleep(Duration::from_millis(2));
        }
        most
    });
    let status = child.wait().unwrap();
    let time = begun.elapsed();
    let kib = watcher.join().unwrap();
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(status.success(), "{what} ended with {status}:\n{said}");
    Cost { time, kib }
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.time);
    costs[costs.len() / 2]
}

fn playbook(program: &Path, dir: &Path, forks: usize) -> Cost {
    let mut command = Command::new(program);
    if program.ends_with("layerplay") {
        command.arg("run");
    }
    command
        .args(["-i", "inventory", "-f", &forks.to_string()])
        .arg("playbook.yml");
    run(command, dir, &program.display().to_string())
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn ours(work: &Work, scale: Scale, machines: &Machines, runs: usize) -> Cost {
    let dir = tempfile::tempdir().unwrap();
    (work.write)(dir.path(), scale, machines);
    let program = Path::new(env!("CARGO_BIN_EXE_layerplay"));
    median(
        (0..runs)
            .map(|_| playbook(program, dir.path(), work.forks))
            .collect(),
    )
}

fn theirs(work: &Work, ansible: &Path, machines: &Machines) -> Cost {
    let dir = tempfile::tempdir().unwrap();
    (work.write)(dir.path(), Scale(1), machines);
    playbook(ansible, dir.path(), work.forks)
}

fn main() {
    let ansible =
        std::env::var("ANSIBLE_PLAYBOOK").unwrap_or_else(|_| "ansible-playbook".to_owned());
    let ansible = Path::new(&ansible);
    let only: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let machines = Machines::start(50);
    println!(
        "{:<38} {:>11} {:>11} {:>8} {:>7} {:>9}   {:>10} {:>10} {:>7}",
        "what", "ansible", "layerplay", "faster", "wanted", "memory", "4x", "16x", "growth"
    );
    for work in WORKS {
        if !only.is_empty() && !only.iter().any(|name| work.what.contains(name.as_str())) {
            continue;
        }
        let their = work.wanted.map(|_| theirs(work, ansible, &machines));
        let one = ours(work, Scale(1), &machines, 7);
        let faster = their.map(|their| their.time.as_secs_f64() / one.time.as_secs_f64());
        let (four, sixteen) = if work.scales {
            (
                Some(ours(work, Scale(4), &machines, 3)),
                Some(ours(work, Scale(16), &machines, 3)),
            )
        } else {
            (None, None)
        };
        // 16 is linear; less is what starting costs; much more would be quadratic.
        let growth = sixteen.map(|many| many.time.as_secs_f64() / one.time.as_secs_f64());
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        println!(
            "{:<38} {:>11} {:>11} {:>8} {:>7} {:>6} MB   {:>10} {:>10} {:>7} {}",
            work.what,
            or_dash(their.map(|cost| millis(cost.time))),
            millis(one.time),
            or_dash(faster.map(|times| format!("{times:.0}x"))),
            or_dash(work.wanted.map(|times| format!("{times}x"))),
            one.kib / 1024,
            or_dash(four.map(|cost| millis(cost.time))),
            or_dash(sixteen.map(|cost| millis(cost.time))),
            or_dash(growth.map(|times| format!("{times:.1}"))),
            match (faster, work.wanted) {
                (Some(faster), Some(wanted)) if faster < f64::from(wanted) => "too slow",
                _ => "",
            }
        );
    }
    if only.is_empty() || only.iter().any(|name| name == "ssh") {
        let floor = median((0..3).map(|_| machines.plain_ssh()).collect());
        println!(
            "{:<38} {:>11} {:>11}",
            "the same by plain ssh, ControlMaster",
            "",
            millis(floor.time)
        );
    }
}
