//! Projects that were written for Ansible: what layerplay cannot run is told before the first task, with its file.

use std::path::Path;
use std::process::Command;

/// What came of a playbook: exit code, standard output, standard error.
fn layerplay(dir: &Path, command: &str, tasks: &str) -> (Option<i32>, String, String) {
    let playbook = format!(
        "- hosts: localhost\n  gather_facts: false\n  vars: {{unused: \"{{{{ 1 | shout }}}}\"}}\n  tasks:\n    - debug: {{msg: reached}}\n{tasks}"
    );
    std::fs::write(dir.join("site.yml"), playbook).unwrap();
    std::fs::write(
        dir.join("inventory"),
        "localhost ansible_connection=local\n",
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_layerplay"))
        .args([command, "-i", "inventory", "site.yml"])
        .current_dir(dir)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("library/mine.py", "#!/usr/bin/python\n"),
        ("library/copy.py", "#!/usr/bin/python\n"),
        ("action_plugins/acts.py", ""),
        ("filter_plugins/words.py", "return {'shout': shout}\n"),
        ("test_plugins/words.py", "return {'loud': loud}\n"),
        ("lookup_plugins/safe.py", ""),
        ("callback_plugins/shown.py", ""),
        ("roles/r/library/of_role.py", ""),
        (
            "roles/r/filter_plugins/more.py",
            "return {\"whisper\": whisper}\n",
        ),
        (
            "roles/r/tasks/main.yml",
            "- debug: {msg: \"{{ 'a' | whisper }}\"}\n",
        ),
        ("roles/s/tasks/main.yml", "- debug: {msg: fine}\n"),
        ("roles/t/library/of_role.py", ""),
        ("roles/t/tasks/main.yml", "- of_role: {}\n"),
        ("templates/file.j2", "{{ 'a' | shout }}\n"),
        ("more.yml", "- mine: {}\n"),
    ] {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

#[test]
fn what_only_ansible_can_run_is_told_before_the_first_task() {
    let dir = project();
    for (tasks, words) in [
        (
            "    - mine: {a: 1}\n",
            &[
                "`mine` is a Python module of Ansible's",
                "library/mine.py`",
                "modules/mine/module.yml",
                "site.yml:6",
            ] as &[&str],
        ),
        ("    - ansible.legacy.mine: {}\n", &["library/mine.py`"]),
        ("    - acts:\n", &["action_plugins/acts.py`"]),
        (
            "    - community.general.ini_file: {path: /x}\n",
            &[
                "of the collection `community.general`",
                "layerplay has no collections",
            ],
        ),
        (
            "    - community.general.copy: {path: /x}\n",
            &["layerplay has a module `copy`"],
        ),
        (
            "    - debug: {msg: \"{{ 'a' | shout }}\"}\n",
            &[
                "`shout` comes from a Python plugin of Ansible's",
                "filter_plugins/words.py`",
                "site.yml:6",
            ],
        ),
        (
            "    - debug: {msg: a}\n      when: \"'a' is loud\"\n",
            &["test_plugins/words.py`"],
        ),
        (
            "    - debug: {msg: \"{{ lookup('safe', 'x') }}\"}\n",
            &["lookup_plugins/safe.py`"],
        ),
        (
            "    - debug: {msg: \"{{ item }}\"}\n      with_safe: [a]\n",
            &["lookup_plugins/safe.py`"],
        ),
        (
            "    - debug: {msg: \"{{ [1] | community.general.json_query('a') }}\"}\n",
            &["the filter `community.general.json_query`"],
        ),
        (
            "    - debug: {msg: \"{{ q('community.hashi_vault.hashi_vault', 'x') }}\"}\n",
            &["the lookup `community.hashi_vault.hashi_vault`"],
        ),
        (
            "    - template: {src: file.j2, dest: /nowhere/at/all}\n",
            &["filter_plugins/words.py`", "file.j2:1"],
        ),
        (
            "    - include_tasks: more.yml\n",
            &["library/mine.py`", "more.yml:1"],
        ),
        (
            "    - import_role: {name: r}\n",
            &[
                "roles/r/filter_plugins/more.py`",
                "roles/r/tasks/main.yml:1",
            ],
        ),
        (
            "    - import_role: {name: t}\n",
            &["roles/t/library/of_role.py`"],
        ),
        (
            "    - nobodys_module: {}\n      collections: [community.general]\n",
            &["it may be of `collections` (community.general)"],
        ),
    ] {
        for command in ["run", "check"] {
            let (code, out, err) = layerplay(dir.path(), command, tasks);
            assert_eq!(code, Some(4), "{tasks}{out}{err}");
            for word in words {
                assert!(
                    err.contains(word),
                    "{command}: no {word:?} for {tasks}{err}"
                );
            }
            assert!(!out.contains("reached"), "{tasks}{out}");
        }
    }
}

#[test]
fn what_is_not_used_is_no_error() {
    let dir = project();
    let (code, out, err) = layerplay(
        dir.path(),
        "run",
        "    - import_role: {name: s}\n    - debug: {msg: \"{{ lookup('env', 'HOME') }} (lookup('safe') is text)\"}\n",
    );
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("fine"), "{out}");
    // Of two modules with one name layerplay's own runs, and says so.
    let (code, out, err) = layerplay(
        dir.path(),
        "run",
        "    - copy: {content: a, dest: \"{{ playbook_dir }}/made\"}\n",
    );
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        err.contains("layerplay's own `copy` runs, and not yours")
            && err.contains("library/copy.py`"),
        "{err}"
    );
}

#[test]
fn what_is_met_at_run_time_names_its_file_too() {
    let dir = project();
    // A mistake in a file of tasks ends the run, as in Ansible.
    for (tasks, file, wanted) in [
        (
            "    - debug: {msg: \"{{ unused }}\"}\n",
            "filter_plugins/words.py`",
            2,
        ),
        (
            "    - include_role: {name: \"{{ 'r' }}\"}\n",
            "roles/r/filter_plugins/more.py`",
            2,
        ),
        (
            "    - include_tasks: \"{{ 'more.yml' }}\"\n",
            "library/mine.py`",
            4,
        ),
        (
            "    - debug: {msg: \"{{ lookup('sa' + 'fe') }}\"}\n",
            "lookup_plugins/safe.py`",
            2,
        ),
    ] {
        let (code, out, err) = layerplay(dir.path(), "run", tasks);
        assert_eq!(code, Some(wanted), "{tasks}{out}{err}");
        assert!(
            out.contains("reached") && (out.contains(file) || err.contains(file)),
            "{tasks}{out}{err}"
        );
    }
}
