//! A project's own modules: executables that speak JSON, and modules in YAML, also in the place of layerplay's own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Keeps a line in a file: `inspect` says what would change, `apply` does it.
const LINE: &str = r#"#!/bin/sh
request=$(cat)
field() { printf '%s' "$request" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
path=$(field path) line=$(field line)
[ -n "$path" ] || { echo '{"msg": "path is missing"}'; exit 3; }
if grep -qxF "$line" "$path" 2>/dev/null; then echo '{"changed": false, "path": "'"$path"'"}'; exit; fi
case $request in
*'"mode":"inspect"'*) echo '{"changed": true, "change": {"line": "'"$line"'"}, "changes": [{"field": "'"$path"'", "before": null, "after": "'"$line"'"}]}' ;;
*) printf '%s\n' "$line" >>"$path" && echo '{"changed": true, "path": "'"$path"'"}' ;;
esac
"#;

const YAML: &str = "
name: verify_layer
summary: Says what it was asked, and looks at nothing
options:
  pool: {type: str, required: true, description: The pool's name.}
  image: {type: str, description: The image.}
tasks:
  - debug: {msg: \"our own verify_layer for {{ pool }}\"}
returns: {seen: \"{{ pool }}\"}
";

fn play(dir: &Path, playbook: &str, args: &[&str]) -> (Option<i32>, String) {
    std::fs::write(dir.join("playbook.yml"), playbook).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_layerplay"))
        .args([
            "run",
            "--format",
            "ansible",
            "-i",
            "localhost,",
            "-e",
            "ansible_connection=local",
        ])
        .args(args)
        .arg("playbook.yml")
        .current_dir(dir)
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code(), text)
}

#[test]
fn executables_and_yaml_beside_a_playbook_are_modules() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("modules/verify_layer")).unwrap();
    let script = dir.path().join("modules/keep_line.sh");
    std::fs::write(&script, LINE).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(dir.path().join("modules/verify_layer/module.yml"), YAML).unwrap();
    let file = dir.path().join("file");
    let playbook = format!(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - keep_line: {{path: {}, line: hello}}\n      register: kept\n    - assert: {{that: \"kept.path is defined or ansible_check_mode\"}}\n",
        file.display()
    );
    let (code, said) = play(dir.path(), &playbook, &["--check"]);
    assert!(code == Some(0) && said.contains("changed=1"), "{said}");
    assert!(!file.exists(), "check mode changes nothing");
    let (code, said) = play(dir.path(), &playbook, &[]);
    assert!(code == Some(0) && said.contains("changed=1"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "hello\n");
    let (code, said) = play(dir.path(), &playbook, &[]);
    assert!(code == Some(0) && said.contains("changed=0"), "{said}");

    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = play(dir.path(), &playbook, &[]);
    assert!(code == Some(4) && said.contains("chmod +x"), "{said}");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();

    let wrong =
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - keep_line: {line: hello}\n";
    let (code, said) = play(dir.path(), wrong, &[]);
    assert!(
        code == Some(2) && said.contains("path is missing"),
        "{said}"
    );

    let own = "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - verify_layer: {pool: worker}\n      register: seen\n    - assert: {that: seen.seen == 'worker'}\n    - verify_layer: {pol: worker}\n";
    let (code, said) = play(dir.path(), own, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("Unsupported parameters for"), "{said}");
}

/// What is said at the calling task holds for the steps inside.
#[test]
fn steps_of_a_module_in_yaml_are_where_and_how_its_task_says() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("modules/mark")).unwrap();
    let module = "name: mark\noptions:\n  path: {type: path, required: yes}\n  times: {type: int, default: 1, choices: [1, 2]}\n\
        tasks:\n  - copy: {content: \"{{ inventory_hostname }}\", dest: \"{{ path }}\"}\n    register: written\n  - command: printenv WORD\n    register: said\n    changed_when: false\n    when: not ansible_check_mode\n\
        returns: {word: \"{{ said.stdout | default('') }}\"}\n";
    std::fs::write(dir.path().join("modules/mark/module.yml"), module).unwrap();
    let file = dir.path().join("file");
    let playbook = format!(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - mark: {{path: {path}, times: 1}}\n      environment: {{WORD: handed-on}}\n      check_mode: true\n      register: looked\n    - stat: {{path: {path}}}\n      register: there\n    - assert: {{that: [looked is changed, not there.stat.exists]}}\n    - mark: {{path: {path}, times: 1}}\n      environment: {{WORD: handed-on}}\n      delegate_to: elsewhere\n      vars: {{ansible_connection: local}}\n      register: done\n    - assert: {{that: done.word == 'handed-on'}}\n",
        path = file.display()
    );
    let (code, said) = play(dir.path(), &playbook, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("changed: [localhost -> elsewhere]"), "{said}");

    let wrong = "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - mark: {path: /tmp/x, times: 3}\n";
    let (code, said) = play(dir.path(), wrong, &[]);
    assert!(
        code == Some(2) && said.contains("`times` cannot be `3`"),
        "{said}"
    );

    let module =
        "options: {}\ntasks:\n  - meta: end_play\n  - command: \"true\"\n    notify: somebody\n";
    std::fs::write(dir.path().join("modules/mark/module.yml"), module).unwrap();
    let (code, said) = play(dir.path(), wrong, &[]);
    assert_ne!(code, Some(0), "{said}");
    for words in ["needs a `name`", "cannot use `meta`", "cannot use `notify`"] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
}
