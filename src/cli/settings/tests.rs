//! Settings from files and the environment, without touching those of the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn load(
        &self,
        environment: fn(&str) -> Option<String>,
    ) -> Result<(Settings, Diagnostics), Diagnostics> {
        let home = self.path().join("home");
        let (files, problems) = files::find(self.path(), Some(&home), &environment);
        settle(
            &Given {
                files,
                environment,
                here: self.path().to_owned(),
            },
            problems,
        )
    }
}

fn nothing(_: &str) -> Option<String> {
    None
}

fn messages(problems: &Diagnostics) -> Vec<String> {
    problems
        .0
        .iter()
        .map(|problem| format!("{} {}", problem.message, problem.help.join(" ")))
        .collect()
}

const CFG: &str = "\
# of the team
[defaults]
inventory = hosts.ini, more
roles_path: ~/roles:shared/roles ; both
forks=20
remote_user = 'core'
host_key_checking = False
timeout = 30
stdout_callback = default
vault_identity_list = dev@dev.txt,
    prod@prod.txt

[ssh_connection]
ssh_args = -o ControlPersist=60s
    -o ServerAliveInterval=5
[privilege_escalation]
become = yes
[galaxy]
anything = 1
";

#[test]
fn an_ansible_cfg_is_read_with_ansible_s_rules() {
    let folder = Folder::with(&[("ansible.cfg", CFG), ("more", "")]);
    let (settings, problems) = folder.load(nothing).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    let here = |name: &str| folder.path().join(name);
    assert_eq!(
        settings.inventory.0,
        [here("hosts.ini"), here("more")].map(|path| path.display().to_string())
    );
    let home = PathBuf::from(std::env::var("HOME").unwrap());
    assert_eq!(
        settings.roles_path.0,
        [home.join("roles"), here("shared/roles")]
    );
    assert_eq!(settings.forks.value, 20);
    assert_eq!(settings.remote_user.value.as_deref(), Some("core"));
    assert!(!settings.host_key_checking.value);
    assert_eq!(
        settings.vault_identity_list.value,
        ["dev@dev.txt", "prod@prod.txt"]
    );
    assert_eq!(
        settings.ssh_args.value.as_deref(),
        Some("-o ControlPersist=60s\n-o ServerAliveInterval=5")
    );
    assert!(settings.r#become.value);
    let Origin::File(span) = &settings.forks.origin else {
        panic!("{:?}", settings.forks.origin);
    };
    assert_eq!((span.line_column(), span.text()), ((5, 1), "forks=20"));
    assert_eq!(settings.diff_context.origin, Origin::Default);
}

#[test]
fn the_environment_beats_toml_and_toml_beats_ansible_cfg() {
    fn environment(name: &str) -> Option<String> {
        match name {
            "ANSIBLE_FORKS" => Some("7".to_owned()),
            // Not set at all, as far as anybody means it.
            "ANSIBLE_REMOTE_USER" => Some(String::new()),
            "NO_COLOR" => Some("1.5".to_owned()),
            _ => None,
        }
    }
    let folder = Folder::with(&[
        ("ansible.cfg", CFG),
        (
            "layerplay.toml",
            "[defaults]\nforks = 8\nremote_user = \"admin\"\ninventory = [\"clusters.yml\"]\nhost_key_checking = true\n",
        ),
    ]);
    let (settings, _) = folder.load(environment).unwrap();
    assert_eq!(settings.forks.value, 7);
    assert_eq!(settings.forks.origin, Origin::Environment("ANSIBLE_FORKS"));
    assert_eq!(settings.remote_user.value.as_deref(), Some("admin"));
    assert_eq!(
        settings.inventory.0,
        [folder.path().join("clusters.yml").display().to_string()]
    );
    assert!(settings.host_key_checking.value);
    assert_eq!(settings.timeout.value, 30);
    assert!(settings.nocolor.value);
    assert_eq!(settings.files.len(), 2);
}

#[test]
fn a_list_of_names_that_are_no_files_is_a_list_of_hosts() {
    fn environment(name: &str) -> Option<String> {
        (name == "ANSIBLE_INVENTORY").then(|| "web1,web2".to_owned())
    }
    let (settings, _) = Folder::with(&[]).load(environment).unwrap();
    assert_eq!(settings.inventory.0, ["web1,web2"]);
}

#[test]
fn every_mistake_is_told_at_once_and_with_its_place() {
    fn environment(name: &str) -> Option<String> {
        (name == "ANSIBLE_TIMEOUT").then(|| "soon".to_owned())
    }
    let folder = Folder::with(&[(
        "ansible.cfg",
        "stray = 1\n[defaults]\nforks = many\nhash_behaviour = merge\ngathering = sometimes\nno sense\n[broken\n",
    )]);
    let problems = folder.load(environment).unwrap_err();
    let told = messages(&problems).join("\n");
    for part in [
        "before the first section",
        "`forks` has to be a whole number",
        "`ANSIBLE_TIMEOUT=soon`",
        "`hash_behaviour: merge` is not supported",
        "`gathering` has to be `implicit` or `explicit` or `smart`",
        "neither a section nor a setting",
        "opened and never closed",
    ] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
}

#[test]
fn slips_are_warned_of_and_plugins_settings_let_be() {
    let folder = Folder::with(&[(
        "ansible.cfg",
        "[defaults]\nhost_key_cheking = no\nbecome = yes\nnocows = 1\nmy_plugin_url = x\n[ssh_conection]\npipelining = true\n[my_plugin]\nx = 1\n",
    )]);
    let (_, problems) = folder.load(nothing).unwrap();
    let told = messages(&problems);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("`host_key_cheking`") && told[0].contains("`host_key_checking`"));
    assert!(told[1].contains("belongs into `[privilege_escalation]`"));
    assert!(told[2].contains("did you mean `[ssh_connection]`?"));
}

#[test]
fn a_file_where_everybody_may_write_is_not_read() {
    let folder = Folder::with(&[("ansible.cfg", "[defaults]\nforks = 9\n")]);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (settings, problems) = folder.load(nothing).unwrap();
    assert_eq!(settings.forks.value, 5);
    assert!(messages(&problems)[0].contains("everybody may write"));
}

#[test]
fn toml_that_is_none_and_values_that_are_none() {
    let folder = Folder::with(&[(
        "layerplay.toml",
        "forks = 9\n[defaults]\ntimeout = {a = 1}\n",
    )]);
    let told = messages(&folder.load(nothing).unwrap_err());
    assert!(told[0].contains("before the first section"), "{told:?}");
    assert!(told[1].contains("`timeout` is neither"), "{told:?}");
    let folder = Folder::with(&[("layerplay.toml", "[defaults\n")]);
    let problems = folder.load(nothing).unwrap_err();
    assert!(messages(&problems)[0].contains("not TOML"));
    assert!(problems.0[0].primary.is_some());
}

#[test]
fn the_home_s_file_counts_only_without_one_in_the_folder() {
    let folder = Folder::with(&[]);
    fs::create_dir(folder.path().join("home")).unwrap();
    fs::write(
        folder.path().join("home/.ansible.cfg"),
        "[defaults]\nforks = 3\n",
    )
    .unwrap();
    assert_eq!(folder.load(nothing).unwrap().0.forks.value, 3);
    fs::write(
        folder.path().join("ansible.cfg"),
        "[defaults]\ntimeout = 4\n",
    )
    .unwrap();
    let (settings, _) = folder.load(nothing).unwrap();
    assert_eq!((settings.forks.value, settings.timeout.value), (5, 4));
}
