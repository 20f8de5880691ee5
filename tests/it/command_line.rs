//! The binary as a shell sees it: exact output, exact exit codes.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn layerplay(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_layerplay"))
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn version_is_one_line() {
    let output = layerplay(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        concat!("layerplay ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert!(output.stderr.is_empty());
}

#[test]
fn an_unknown_option_leaves_with_2_as_ansible_playbook_does() {
    let output = layerplay(&["doc", "--nonsense"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--nonsense"));
}

#[test]
fn init_writes_a_project_once_and_never_over_one() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("project");
    let first = layerplay(&["init", project.to_str().unwrap()]);
    assert_eq!(
        first.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    let written = std::fs::read_to_string(project.join("playbooks/promote.yml")).unwrap();
    let (head, rest) = written.split_once('\n').unwrap();
    assert_eq!(
        head,
        "# yaml-language-server: $schema=../playbook.schema.json"
    );
    assert_eq!(rest, include_str!("../../playbooks/promote.yml"));
    let schema = std::fs::read_to_string(project.join("playbook.schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for playbook in ["promote.yml", "remove.yml", "verify.yml"] {
        let text = std::fs::read_to_string(project.join("playbooks").join(playbook)).unwrap();
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let problems: Vec<String> = validator
            .iter_errors(&value)
            .map(|problem| problem.to_string())
            .collect();
        assert!(problems.is_empty(), "{playbook}: {problems:?}");
    }
    // Other names of arguments are arguments; what only the engine fills in is none.
    let other: serde_json::Value =
        serde_yaml::from_str("[{hosts: all, tasks: [{copy: {src: a, dest: b, thirsty: true}}]}]")
            .unwrap();
    assert!(validator.is_valid(&other));
    for wrong in [
        "[{hosts: all, tasks: [{copy: {src: a, dest: b, opened: x}}]}]",
        "[{hosts: all, taks: []}]",
        "[{hosts: all, tasks: [{aply_layer: {pool: worker}}]}]",
        "[{hosts: all, tasks: [{apply_layer: {pol: worker}}]}]",
        "[{hosts: all, stage: {nam: x}}]",
    ] {
        let value: serde_json::Value = serde_yaml::from_str(wrong).unwrap();
        assert!(!validator.is_valid(&value), "{wrong}");
    }
    let checked = Command::new(env!("CARGO_BIN_EXE_layerplay"))
        .args([
            "check",
            "-i",
            "inventory/clusters.yml",
            "promote.yml",
            "remove.yml",
            "verify.yml",
        ])
        .current_dir(&project)
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );

    std::fs::write(project.join("playbooks/promote.yml"), "mine").unwrap();
    let second = layerplay(&["init", project.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("nothing was written"));
    assert_eq!(
        std::fs::read_to_string(project.join("playbooks/promote.yml")).unwrap(),
        "mine"
    );
}

#[test]
fn an_unknown_module_has_no_page() {
    let output = layerplay(&["doc", "no_such_module"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`no_such_module`"));
}

#[test]
fn a_pause_waits_for_the_person_at_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let play = "[{hosts: localhost, gather_facts: false, tasks: [{pause: {prompt: 'really?'}, register: answer}, {debug: {msg: 'said {{ answer.user_input }}'}}]}]";
    std::fs::write(dir.path().join("ask.yml"), play).unwrap();
    let run = format!(
        "{} run -i localhost, ask.yml",
        env!("CARGO_BIN_EXE_layerplay")
    );
    // `script` gives it a terminal, and types what it reads.
    let mut child = Command::new("script")
        .args(["-qec", &run, "/dev/null"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"yes\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("really?:") && said.contains("said yes"),
        "{said}"
    );
}
