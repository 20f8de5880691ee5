//! Facts of this machine, as a playbook gathers and reads them.

use std::process::Command;

#[test]
fn facts_become_variables_and_gathering_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("site.fact"), "[web]\nport=80\n").unwrap();
    let play = format!(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - setup: {{fact_path: {}}}\n    - assert:\n        that:\n          - ansible_system == 'Linux'\n          - ansible_facts.memtotal_mb > 0\n          - ansible_facts.ansible_local.site.web.port == '80'\n          - ansible_processor_vcpus > 0\n    - setup: {{gather_subset: ['!all', '!min', network], filter: 'all_ipv*'}}\n      register: some\n    - assert:\n        that: some.ansible_facts | dict2items | map(attribute='key') | select('match', 'ansible_') | sort == ['ansible_all_ipv4_addresses', 'ansible_all_ipv6_addresses']\n",
        dir.path().display()
    );
    let playbook = dir.path().join("play.yml");
    std::fs::write(&playbook, play).unwrap();
    for options in [&["--check"][..], &[], &[]] {
        let output = Command::new(env!("CARGO_BIN_EXE_layerplay"))
            .args(["run", "--format", "ansible", "-i", "localhost,"])
            .args(options)
            .arg(&playbook)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains("changed=0"), "{text}");
    }
}

/// The output and the exit code of a play on a machine and a cluster that nobody can reach.
fn play_on_both(play: &str) -> (String, Option<i32>) {
    let dir = tempfile::tempdir().unwrap();
    let inventory = dir.path().join("hosts");
    let text =
        "here ansible_connection=local\nprod ansible_connection=cluster kubeconfig=/nowhere\n";
    std::fs::write(&inventory, text).unwrap();
    let playbook = dir.path().join("play.yml");
    std::fs::write(&playbook, play).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_layerplay"))
        .args(["run", "--format", "ansible", "-i"])
        .args([&inventory, &playbook])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text, output.status.code())
}

#[test]
fn clusters_have_no_facts_and_are_asked_for_none() {
    let tasks = "  tasks:\n    - debug:\n        msg: \"{{ inventory_hostname }}={{ ansible_system | default('none') }}\"\n";
    let (text, code) = play_on_both(&format!("- hosts: all\n{tasks}"));
    assert_eq!(code, Some(0), "{text}");
    for part in ["TASK [Gathering Facts]", "here=Linux", "prod=none"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("ok=2") && text.contains("ok=1"), "{text}");

    let (text, code) = play_on_both(&format!("- hosts: prod\n{tasks}"));
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("Gathering Facts"), "{text}");

    let (text, code) = play_on_both(&format!("- hosts: all\n  gather_facts: true\n{tasks}"));
    assert_eq!(code, Some(2), "{text}");
    let said = "`prod` is a cluster: clusters have no facts";
    assert!(text.contains(said) && text.contains("here=Linux"), "{text}");
}
