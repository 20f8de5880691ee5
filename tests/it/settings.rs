//! `ansible.cfg`, `layerplay.toml` and `ANSIBLE_*` as a run obeys them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

struct Project(tempfile::TempDir);

impl Project {
    fn with(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
        let output = layerplay(self.0.path(), args, environment);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code(), text)
    }
}

fn layerplay(dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_layerplay"))
        .args(args)
        .current_dir(dir)
        .env_remove("ANSIBLE_CONFIG")
        .env("HOME", dir)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

const HOSTS: &str = "[web]\nw1\nw2\n[all:vars]\nansible_connection=local\n";

#[test]
fn a_configured_inventory_keeps_the_lab_away_and_roles_are_found() {
    let project = Project::with(&[
        (
            "ansible.cfg",
            "[defaults]\ninventory = inv/hosts.ini\nroles_path = elsewhere\nforks = 3\ncallback_result_format = yaml\n[tags]\nskip = never_here\n",
        ),
        ("inv/hosts.ini", HOSTS),
        (
            "elsewhere/greet/tasks/main.yml",
            "- debug: {msg: {forks: \"{{ ansible_forks }}\", config: \"{{ ansible_config_file | basename }}\"}}\n- debug: {msg: not this}\n  tags: never_here\n",
        ),
        ("site.yml", "- hosts: w1\n  roles: [greet]\n"),
    ]);
    let (code, said) = project.run(&["run", "site.yml"], &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("ok: [w1] => \n    msg:\n      config: ansible.cfg\n      forks: 3\n"),
        "{said}"
    );
    assert!(
        !said.contains("not this") && !said.contains("simulat"),
        "{said}"
    );
    assert!(said.contains("w1                         : ok=2"), "{said}");

    let (code, said) = project.run(&["config", "--only-changed"], &[("ANSIBLE_TIMEOUT", "7")]);
    assert_eq!(code, Some(0), "{said}");
    for part in ["forks", "ansible.cfg:4:1", "ANSIBLE_TIMEOUT"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains("default\n"), "{said}");

    let (code, said) = project.run(&["inventory", "--graph"], &[]);
    assert!(code == Some(0) && said.contains("|--w2"), "{said}");
}

#[test]
fn a_mistake_in_settings_ends_a_run_before_it_begins() {
    let project = Project::with(&[
        (
            "ansible.cfg",
            "[defaults]\nforks = lots\nhost_key_cheking = no\n",
        ),
        ("site.yml", "- hosts: localhost\n  tasks: [{debug: }]\n"),
    ]);
    let (code, said) = project.run(&["run", "-i", "localhost,", "site.yml"], &[]);
    assert_ne!(code, Some(0));
    assert!(
        said.contains("`forks` has to be a whole number") && said.contains("ansible.cfg:2:1"),
        "{said}"
    );
    assert!(said.contains("did you mean `host_key_checking`?"), "{said}");
    assert!(!said.contains("PLAY"), "{said}");
}

#[test]
fn facts_are_kept_between_runs_and_forgotten_when_asked() {
    let project = Project::with(&[
        (
            "layerplay.toml",
            "[defaults]\ninventory = \"hosts\"\ngathering = \"smart\"\nfact_caching = \"jsonfile\"\nfact_caching_connection = \"facts\"\nfact_caching_prefix = \"p_\"\n",
        ),
        ("hosts", HOSTS),
        (
            "first.yml",
            "- hosts: w1\n  tasks:\n    - set_fact: {color: red, cacheable: true}\n    - set_fact: {taste: sweet}\n    - debug: {msg: \"{{ ansible_facts.kernel }}\"}\n",
        ),
        (
            "second.yml",
            "- hosts: all\n  tasks:\n    - debug: {msg: \"{{ color | default('none') }} {{ ansible_facts.color | default('none') }} {{ taste | default('none') }} {{ ansible_kernel }}\"}\n",
        ),
    ]);
    let (code, said) = project.run(&["run", "first.yml"], &[]);
    assert_eq!(code, Some(0), "{said}");
    let kept = fs::read_to_string(project.at("facts/p_w1")).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept["color"], "red");
    assert!(kept["ansible_kernel"].is_string() && kept["taste"].is_null());

    // Only the host that has no facts yet is asked.
    let (code, said) = project.run(&["run", "second.yml"], &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("ok: [w2]\n") && !said.contains("ok: [w1]\n"),
        "{said}"
    );
    assert!(said.contains("red red none"), "{said}");

    let (code, said) = project.run(&["run", "--flush-cache", "second.yml"], &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("ok: [w1]\n") && !said.contains("red red"),
        "{said}"
    );

    // Facts that are too old are none.
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100_000);
    let file = fs::File::options()
        .write(true)
        .open(project.at("facts/p_w1"))
        .unwrap();
    file.set_modified(old).unwrap();
    let (_, said) = project.run(
        &["run", "second.yml"],
        &[("ANSIBLE_CACHE_PLUGIN_TIMEOUT", "50000")],
    );
    assert!(
        said.contains("ok: [w1]\n") && !said.contains("ok: [w2]\n"),
        "{said}"
    );
}

#[test]
fn what_plays_leave_unsaid_is_said_by_settings() {
    let project = Project::with(&[
        ("hosts", HOSTS),
        (
            "site.yml",
            "
- hosts: all
  tasks:
    - command: /bin/true
      notify: after
    - command: /bin/false
      when: inventory_hostname == 'w1'
    - debug: {msg: all went on}
  handlers:
    - name: after
      debug: {msg: handled}
",
        ),
    ]);
    let run = |environment: &[(&str, &str)], more: &[&str]| {
        let mut args = vec!["run", "-i", "hosts", "site.yml"];
        args.extend(more);
        project.run(&args, environment)
    };
    let explicit = ("ANSIBLE_GATHERING", "explicit");
    let (code, said) = run(&[explicit], &[]);
    assert_eq!(code, Some(2));
    assert!(!said.contains("Gathering Facts"), "{said}");
    assert!(
        said.contains("all went on") && said.matches("\"handled\"").count() == 1,
        "{said}"
    );

    let (_, said) = run(&[explicit, ("ANSIBLE_ANY_ERRORS_FATAL", "1")], &[]);
    assert!(!said.contains("all went on"), "{said}");

    for (environment, more) in [
        (&[explicit, ("ANSIBLE_FORCE_HANDLERS", "true")][..], &[][..]),
        (&[explicit][..], &["--force-handlers"][..]),
    ] {
        let (_, said) = run(environment, more);
        assert_eq!(said.matches("\"handled\"").count(), 2, "{said}");
    }

    let (_, said) = run(&[explicit, ("ANSIBLE_NO_LOG", "yes")], &[]);
    assert!(
        !said.contains("all went on") && said.contains("censored"),
        "{said}"
    );

    let (_, said) = run(&[explicit, ("ANSIBLE_DISPLAY_SKIPPED_HOSTS", "no")], &[]);
    assert!(
        !said.contains("skipping:") && said.contains("skipped=1"),
        "{said}"
    );

    // The log is plain, and the hosts that failed can be tried again.
    let log = project.at("run.log");
    let (_, said) = run(
        &[
            explicit,
            ("ANSIBLE_LOG_PATH", log.to_str().unwrap()),
            ("ANSIBLE_RETRY_FILES_ENABLED", "true"),
        ],
        &[],
    );
    assert!(said.contains("--limit @site.retry"), "{said}");
    assert_eq!(
        fs::read_to_string(project.at("site.retry")).unwrap(),
        "w1\n"
    );
    let log = fs::read_to_string(log).unwrap();
    assert!(
        log.contains("n=layerplay | changed: [w2]") && !log.contains('\u{1b}'),
        "{log}"
    );
}

#[test]
fn settings_of_the_language() {
    let project = Project::with(&[
        ("hosts", HOSTS),
        (
            "site.yml",
            "
- hosts: w1
  gather_facts: false
  vars: {name: one, name: two}
  tasks:
    - debug: {msg: truthy}
      when: name
    - command: /bin/true
      notify: nobody
",
        ),
    ]);
    let run = |environment: &[(&str, &str)]| {
        project.run(&["run", "-i", "hosts", "site.yml"], environment)
    };
    let (code, said) = run(&[]);
    assert!(code == Some(2) && said.contains("stands twice"), "{said}");
    let broken = ("ANSIBLE_ALLOW_BROKEN_CONDITIONALS", "true");
    let (code, said) = run(&[broken, ("ANSIBLE_DUPLICATE_YAML_DICT_KEY", "ignore")]);
    assert!(
        code == Some(1) && !said.contains("stands twice") && said.contains("truthy"),
        "{said}"
    );
    let (code, said) = run(&[broken, ("ANSIBLE_ERROR_ON_MISSING_HANDLER", "false")]);
    assert!(
        code == Some(0) && said.contains("no handler is called `nobody`"),
        "{said}"
    );
    let (code, said) = run(&[("ANSIBLE_DUPLICATE_YAML_DICT_KEY", "error")]);
    assert!(code == Some(4) && !said.contains("PLAY"), "{said}");
}
