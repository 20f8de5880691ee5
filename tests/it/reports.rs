//! What tools read of a run: JUnit XML, and the events with their schema.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const PLAYBOOK: &str = r#"
- name: first & <last>
  hosts: all
  gather_facts: false
  serial: 1
  tasks:
    - name: says "hello"
      debug: {msg: "a < b & c"}
    - name: changes
      command: "true"
    - name: is left out
      command: "true"
      when: inventory_hostname == 'nobody'
    - name: is forgiven
      command: "false"
      ignore_errors: true
    - name: EXPECTED FAILURE here
      fail: {msg: as it should}
      ignore_errors: true
    - name: odd signs
      command: printf '\001\033[31m%s' 'correct-<horse>-battery'
      environment: {}
    - include_tasks: more.yml
- name: second
  hosts: one
  gather_facts: false
  vars: {api_token: "correct-<horse>-battery"}
  tasks:
    - name: uses it
      validate_argument_spec:
        argument_spec: {api_token: {no_log: true}}
    - name: hidden
      fail: {msg: "never with correct-<horse>-battery"}
      no_log: true
      ignore_errors: true
    - name: fails
      fail: {msg: "no way:\n\"correct-<horse>-battery\" <&>"}
"#;

const INVENTORY: &str = "[all]\none ansible_connection=local\ntwo ansible_connection=local\n\n[other]\naway ansible_host=127.0.0.1 ansible_port=1\n";

/// Runs it on the hosts that answer, or on those of `-l`.
fn run(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    std::fs::write(dir.join("site.yml"), PLAYBOOK).unwrap();
    std::fs::write(dir.join("more.yml"), "- name: of the file\n  debug:\n").unwrap();
    std::fs::write(dir.join("inventory"), INVENTORY).unwrap();
    Command::new(env!("CARGO_BIN_EXE_layerplay"))
        .args(["run", "-i", "inventory", "site.yml"])
        .args(if args.contains(&"-l") {
            &[][..]
        } else {
            &["-l", "one,two"]
        })
        .args(args)
        .envs(env.iter().copied())
        .current_dir(dir)
        .output()
        .unwrap()
}

/// Every test case: its name, and how it ended with its message.
fn cases(xml: &str) -> BTreeMap<String, String> {
    let document =
        roxmltree::Document::parse(xml).unwrap_or_else(|problem| panic!("{problem}: {xml}"));
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "testsuites");
    let mut found = BTreeMap::new();
    for suite in root.children().filter(roxmltree::Node::is_element) {
        assert_eq!(suite.tag_name().name(), "testsuite");
        let of_suite = |name: &str| {
            suite
                .children()
                .filter(|case| case.children().any(|end| end.has_tag_name(name)))
                .count()
        };
        let count = suite
            .children()
            .filter(|node| node.has_tag_name("testcase"))
            .count();
        for (counter, number) in [
            ("tests", count),
            ("failures", of_suite("failure")),
            ("errors", of_suite("error")),
            ("skipped", of_suite("skipped")),
        ] {
            assert_eq!(
                suite.attribute(counter),
                Some(number.to_string().as_str()),
                "{counter}: {xml}"
            );
        }
        for case in suite
            .children()
            .filter(|node| node.has_tag_name("testcase"))
        {
            let end = case
                .children()
                .find(|node| node.is_element() && !node.has_tag_name("system-out"));
            let end = end.map_or_else(String::new, |end| {
                format!(
                    "{}: {}",
                    end.tag_name().name(),
                    end.attribute("message").unwrap_or_default()
                )
            });
            assert!(case.attribute("time").unwrap().parse::<f64>().is_ok());
            let old = found.insert(case.attribute("name").unwrap().to_owned(), end);
            assert_eq!(old, None, "two cases have one name: {xml}");
        }
    }
    found
}

#[test]
fn junit_has_a_case_for_each_task_and_host() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["--format", "junit"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let xml = String::from_utf8(output.stdout).unwrap();
    assert!(!xml.contains("horse"), "{xml}");
    let found = cases(&xml);
    let of = |name: &str| {
        found
            .get(name)
            .map_or_else(|| panic!("no {name:?} in {found:#?}"), String::as_str)
    };
    for host in ["one", "two"] {
        let case = |name: &str| of(&format!("[{host}] first & <last>: {name}")).to_owned();
        assert_eq!(case("says \"hello\""), "");
        assert_eq!(case("changes"), "");
        assert_eq!(case("is left out"), "skipped: Conditional result was False");
        assert_eq!(case("is forgiven"), "");
        assert_eq!(case("EXPECTED FAILURE here"), "");
        assert_eq!(case("odd signs"), "");
        assert_eq!(case("of the file"), "");
    }
    assert_eq!(
        of("[one] second: fails"),
        "failure: no way:\n\"********\" <&>"
    );
    assert_eq!(of("[one] second: hidden"), "");
    assert!(!xml.contains("never with"), "{xml}");
    let document = roxmltree::Document::parse(&xml).unwrap();
    let case = document
        .descendants()
        .find(|node| node.attribute("name") == Some("[two] first & <last>: says \"hello\""))
        .unwrap();
    assert!(
        case.attribute("classname")
            .unwrap()
            .ends_with("/site.yml:7"),
        "{xml}"
    );
    assert!(
        case.children().any(|node| node
            .text()
            .is_some_and(|text| text.contains("\"msg\": \"a < b & c\""))),
        "{xml}"
    );
    let suites: Vec<&str> = document
        .root_element()
        .children()
        .filter_map(|node| node.attribute("name"))
        .collect();
    assert_eq!(suites, ["first & <last>", "second"]);
}

#[test]
fn a_file_is_written_besides_what_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let reports = dir.path().join("some/reports");
    let env = [
        ("JUNIT_OUTPUT_DIR", reports.to_str().unwrap()),
        ("JUNIT_FAIL_ON_CHANGE", "true"),
        ("JUNIT_FAIL_ON_IGNORE", "yes"),
        ("JUNIT_TASK_CLASS", "true"),
        ("JUNIT_TASK_RELATIVE_PATH", "."),
    ];
    let output = run(dir.path(), &["--format", "ansible"], &env);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("PLAY RECAP"));
    let files: Vec<_> = std::fs::read_dir(&reports)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1);
    assert!(
        files[0]
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("site-")
    );
    let xml = std::fs::read_to_string(&files[0]).unwrap();
    let found = cases(&xml);
    assert_eq!(
        found["[one] first & <last>: changes"],
        "failure: the task changed something"
    );
    assert!(
        found["[one] first & <last>: is forgiven"].starts_with("failure: "),
        "{found:#?}"
    );
    assert_eq!(found["[one] first & <last>: EXPECTED FAILURE here"], "");
    assert!(xml.contains("classname=\"site\""), "{xml}");

    // Nothing runs when the report could not be kept.
    let blocked = dir.path().join("inventory/reports");
    let output = run(
        dir.path(),
        &[],
        &[("JUNIT_OUTPUT_DIR", blocked.to_str().unwrap())],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("JUNIT_OUTPUT_DIR"));
}

#[test]
fn a_host_that_is_away_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["--format", "junit", "-l", "away"], &[]);
    let xml = String::from_utf8(output.stdout).unwrap();
    let found = cases(&xml);
    assert_eq!(output.status.code(), Some(4), "{xml}");
    assert_eq!(found.len(), 2, "{xml}");
    let end = &found["[away] first & <last>: changes"];
    assert!(
        end.starts_with("error: ") && end.contains("via ssh"),
        "{found:?}"
    );
}

/// The schema in `docs` is the one of the code. After a change of the events: `UPDATE_SCHEMA=1 cargo test --test it reports`.
#[test]
fn the_schema_of_events_is_written_down() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.schema.json");
    let now = format!("{:#}\n", layerplay::event::schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == now,
        "`docs/events.schema.json` is not what the events are: run the tests once with `UPDATE_SCHEMA=1`"
    );
}

#[test]
fn real_events_are_as_the_schema_says() {
    let schema = layerplay::event::schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let promote = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks/promote.yml");
    let lab = Command::new(env!("CARGO_BIN_EXE_layerplay"))
        .args(["run", "--format", "json", "--diff"])
        .arg(&promote)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        lab.status.success(),
        "{}",
        String::from_utf8_lossy(&lab.stderr)
    );
    let own = run(dir.path(), &["--format", "json", "--diff"], &[]);
    let mut kinds: Vec<String> = Vec::new();
    for output in [lab, own] {
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let problems: Vec<String> = validator
                .iter_errors(&event)
                .map(|problem| problem.to_string())
                .collect();
            assert!(problems.is_empty(), "{line}: {problems:?}");
            kinds.push(event["event"].as_str().unwrap_or_default().to_owned());
            // The schema would say so: no field may be left out, and none may be of another type.
            let mut less = event.clone();
            less.as_object_mut().unwrap().shift_remove("time");
            assert!(!validator.is_valid(&less), "{line}");
            let mut other = event;
            other["event"] = Value::from("nothing");
            assert!(!validator.is_valid(&other), "{line}");
        }
    }
    for kind in [
        "run_started",
        "play_started",
        "task_started",
        "host_started",
        "task_done",
        "included",
        "rollout",
        "gate_opened",
        "proven",
        "run_finished",
    ] {
        assert!(
            kinds.iter().any(|known| known == kind),
            "no {kind} in {kinds:?}"
        );
    }
}
