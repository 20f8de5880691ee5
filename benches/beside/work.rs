//! The playbooks that both run.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::machines::{COMMANDS, Machines};

/// How many times as much work.
#[derive(Clone, Copy)]
pub struct Scale(pub usize);

pub struct Work {
    pub what: &'static str,
    /// How many times faster than Ansible it has to be; `None` where only the growth is looked at.
    pub wanted: Option<u32>,
    pub scales: bool,
    pub forks: usize,
    pub write: fn(&Path, Scale, &Machines),
}

pub const WORKS: &[Work] = &[
    local("one debug", Some(50), false, |dir, _, _| {
        play(dir, "    - debug: {msg: hello}\n");
    }),
    local(
        "set_fact in a loop of 1,000",
        Some(100),
        true,
        |dir, scale, _| {
            let count = 1000 * scale.0;
            play(
                dir,
                &format!(
                    "    - set_fact: {{total: '{{{{ item }}}}'}}\n      loop: '{{{{ range(0, {count}) | list }}}}'\n"
                ),
            );
        },
    ),
    local("50 commands", Some(100), true, |dir, scale, _| {
        let count = 50 * scale.0;
        play(
            dir,
            &format!(
                "    - command: 'echo {{{{ item }}}}'\n      loop: '{{{{ range(0, {count}) | list }}}}'\n"
            ),
        );
    }),
    local("50 copies", Some(100), true, |dir, scale, _| {
        let count = 50 * scale.0;
        fs::create_dir_all(dir.join("to")).unwrap();
        play(
            dir,
            &format!(
                "    - copy: {{content: 'number {{{{ item }}}}', dest: '{{{{ playbook_dir }}}}/to/{{{{ item }}}}'}}\n      loop: '{{{{ range(0, {count}) | list }}}}'\n"
            ),
        );
    }),
    local(
        "include_tasks in a loop of 500",
        Some(100),
        true,
        |dir, scale, _| {
            let count = 500 * scale.0;
            fs::write(dir.join("more.yml"), "- debug: {msg: '{{ item }}'}\n").unwrap();
            play(
                dir,
                &format!(
                    "    - include_tasks: more.yml\n      loop: '{{{{ range(0, {count}) | list }}}}'\n"
                ),
            );
        },
    ),
    hosts(
        "1,000 hosts x 20 skipped tasks",
        Some(200),
        |dir, scale, _| {
            inventory(dir, 1000 * scale.0);
            let task = "    - debug: {msg: never}\n      when: false\n";
            plays(dir, &task.repeat(20));
        },
    ),
    local("100 tasks", None, true, |dir, scale, _| {
        let mut tasks = String::new();
        for n in 0..100 * scale.0 {
            let _ = writeln!(tasks, "    - set_fact: {{name{n}: '{{{{ {n} + 1 }}}}'}}");
        }
        play(dir, &tasks);
    }),
    hosts(
        "100 hosts x 100 variables, all read",
        None,
        |dir, scale, _| {
            inventory(dir, 100);
            fs::create_dir_all(dir.join("group_vars")).unwrap();
            let mut vars = String::from("name0: '1'\n");
            let mut sum = String::new();
            for n in 1..100 * scale.0 {
                let _ = writeln!(vars, "name{n}: '{{{{ name0 }}}}{n}'");
                let _ = write!(sum, "name{n}, ");
            }
            fs::write(dir.join("group_vars/all.yml"), vars).unwrap();
            plays(
                dir,
                &format!("    - assert: {{that: '[{sum} 1] | length > 1', quiet: true}}\n"),
            );
        },
    ),
    Work {
        what: "ssh: 50 hosts x 5 tasks",
        wanted: Some(3),
        scales: false,
        forks: 50,
        write: |dir, _, machines| {
            settings(dir);
            fs::write(dir.join("inventory"), machines.inventory()).unwrap();
            let mut tasks = String::new();
            for command in COMMANDS {
                let _ = writeln!(tasks, "    - command: '{command}'");
            }
            plays(dir, &tasks);
        },
    },
];

type Write = fn(&Path, Scale, &Machines);

const fn local(what: &'static str, wanted: Option<u32>, scales: bool, write: Write) -> Work {
    Work {
        what,
        wanted,
        scales,
        forks: 5,
        write,
    }
}

const fn hosts(what: &'static str, wanted: Option<u32>, write: Write) -> Work {
    local(what, wanted, true, write)
}

/// Both run with the same settings; pipelining is what makes Ansible fast over SSH.
fn settings(dir: &Path) {
    let text = "[defaults]\ntimeout = 60\nhost_key_checking = False\nstdout_callback = default\n[ssh_connection]\npipelining = True\n";
    fs::write(dir.join("ansible.cfg"), text).unwrap();
}

fn inventory(dir: &Path, count: usize) {
    let mut text = String::new();
    for n in 0..count {
        let _ = writeln!(text, "host{n} ansible_connection=local");
    }
    fs::write(dir.join("inventory"), text).unwrap();
}

/// A play on this machine.
fn play(dir: &Path, tasks: &str) {
    let here = "localhost ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n";
    fs::write(dir.join("inventory"), here).unwrap();
    plays(dir, tasks);
}

/// A play on all hosts of the inventory.
fn plays(dir: &Path, tasks: &str) {
    settings(dir);
    fs::write(
        dir.join("playbook.yml"),
        format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"),
    )
    .unwrap();
}
