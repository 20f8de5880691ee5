//! Units of systemd, with a `systemctl` on the path that keeps state in files and records what it is told to do.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

/// Each unit is a folder of files: `active`, `enabled`, `load`. What is asked is not recorded, what is done is.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")/units" || exit 1
for last; do :; done
said=
for word; do case $word in
--) break;;
-*) said="$said$word ";;
show|is-enabled|start|stop|restart|reload|enable|disable|mask|unmask|daemon-reload) verb=$word; said="$said$word ";;
esac; done
get() { cat "$last/$1" 2>/dev/null || echo "$2"; }
case $verb in
show) case $said in *-p*) ;; *) echo "Id=$last";; esac; echo "LoadState=$(get load not-found)"; echo "ActiveState=$(get active inactive)"; echo "UnitFileState=$(get enabled '')"; exit 0;;
is-enabled) get enabled ''; [ "$(get enabled '')" = enabled ]; exit;;
daemon-reload) echo "$said" >> ../calls; [ -d ../new ] && mv ../new new; exit 0;;
esac
echo "$said$last" >> ../calls
case $verb in
start|restart|reload) [ -e "$last/broken" ] && { echo "Job for $last failed." >&2; exit 1; }; echo active > "$last/active";;
stop) echo inactive > "$last/active";;
enable) echo enabled > "$last/enabled";;
disable) echo disabled > "$last/enabled";;
mask) echo masked > "$last/load"; echo masked > "$last/enabled";;
unmask) echo loaded > "$last/load"; echo disabled > "$last/enabled";;
esac
"#;

struct Host(tempfile::TempDir);

struct Said {
    code: Option<i32>,
    text: String,
    results: Value,
}

impl Host {
    fn new(units: &[&str]) -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        let program = host.0.path().join("systemctl");
        std::fs::write(&program, SYSTEMCTL).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(host.0.path().join("units")).unwrap();
        for unit in units {
            host.unit(&format!("units/{unit}"));
        }
        host
    }

    fn unit(&self, folder: &str) {
        let folder = self.0.path().join(folder);
        std::fs::create_dir(&folder).unwrap();
        for (file, text) in [
            ("load", "loaded"),
            ("active", "inactive"),
            ("enabled", "disabled"),
        ] {
            std::fs::write(folder.join(file), text).unwrap();
        }
    }

    /// What systemctl was told to do since the last time.
    fn calls(&self) -> Vec<String> {
        let path = self.0.path().join("calls");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    fn run(&self, task: &str, options: &[&str]) -> Said {
        let saved = self.0.path().join("result.json");
        let _ = std::fs::remove_file(&saved);
        let play = format!(
            "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - {task}\n      register: done\n    - copy: {{dest: {}, content: \"{{{{ done }}}}\"}}\n      check_mode: false\n",
            saved.display()
        );
        let playbook = self.0.path().join("play.yml");
        std::fs::write(&playbook, play).unwrap();
        let path = std::env::var("PATH").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_layerplay"))
            .args(["run", "--format", "ansible", "-i", "localhost,"])
            .args(options)
            .arg(&playbook)
            .env("PATH", format!("{}:{path}", self.0.path().display()))
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        Said {
            code: output.status.code(),
            text: String::from_utf8_lossy(&text).into_owned(),
            results: std::fs::read(saved)
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok())
                .unwrap_or_default(),
        }
    }

    /// Check mode tells the change and does nothing; a run does these; a second run does nothing.
    fn converges(&self, task: &str, calls: &[&str]) {
        let check = self.run(task, &["--check"]);
        assert_eq!(check.code, Some(0), "{}", check.text);
        assert_eq!(check.results["changed"], true, "{}", check.text);
        assert!(self.calls().is_empty(), "check mode did something");
        let first = self.run(task, &[]);
        assert_eq!(first.results["changed"], true, "{}", first.text);
        assert_eq!(self.calls(), calls, "{}", first.text);
        let second = self.run(task, &[]);
        assert_eq!(second.results["changed"], false, "{}", second.text);
        assert!(self.calls().is_empty(), "a second run did something");
    }
}

#[test]
fn units_get_the_state_they_should_have_and_no_more() {
    let host = Host::new(&["web"]);
    host.converges(
        "systemd: {name: web, state: started, enabled: true}",
        &["enable web", "start web"],
    );
    host.converges(
        "ansible.builtin.service: {name: web, state: stopped}",
        &["stop web"],
    );
    host.converges(
        "systemd_service: {unit: web, enabled: false, scope: user}",
        &["--user disable web"],
    );
    host.converges("systemd: {name: web, masked: true}", &["mask web"]);
    host.converges("systemd: {name: web, masked: false}", &["unmask web"]);
}

#[test]
fn restarts_happen_each_time_and_start_what_does_not_run() {
    let host = Host::new(&["web"]);
    let task = "systemd: {name: web, state: restarted, no_block: true}";
    for verb in ["start", "restart", "restart"] {
        let said = host.run(task, &[]);
        assert_eq!(said.results["changed"], true, "{}", said.text);
        assert_eq!(said.results["state"], "started");
        assert_eq!(host.calls(), [format!("{verb} --no-block web")]);
    }
    host.run("service: {name: web, state: reloaded}", &[]);
    assert_eq!(host.calls(), ["reload web"]);
}

#[test]
fn files_are_read_again_first_and_that_alone_is_no_change() {
    let host = Host::new(&[]);
    let said = host.run("systemd: {daemon_reload: true}", &[]);
    assert_eq!(said.results["changed"], false, "{}", said.text);
    assert_eq!(host.calls(), ["daemon-reload"]);
    let missing = host.run("systemd: {name: new, state: started}", &[]);
    assert_eq!(missing.code, Some(2));
    assert!(
        missing
            .text
            .contains("could not find the requested service"),
        "{}",
        missing.text
    );
    host.unit("new");
    let said = host.run(
        "systemd: {name: new, state: started, daemon_reload: true}",
        &[],
    );
    assert_eq!(said.results["changed"], true, "{}", said.text);
    assert_eq!(host.calls(), ["daemon-reload", "start new"]);
}

#[test]
fn a_unit_that_does_not_start_says_what_systemd_said() {
    let host = Host::new(&["web"]);
    std::fs::write(host.0.path().join("units/web/broken"), "").unwrap();
    let said = host.run("systemd: {name: web, state: started}", &[]);
    assert_eq!(said.code, Some(2));
    assert!(said.text.contains("Job for web failed."), "{}", said.text);
}
