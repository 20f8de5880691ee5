//! Vaults: files that ansible-vault has encrypted are opened everywhere, nothing of them is shown, and what
//! `layerplay vault` writes has the form that ansible-vault reads.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What ansible-vault has encrypted as `plain.yml`, with the password in `password` or, labelled, in `password-dev`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vault")
        .join(name)
}

fn password() -> String {
    fixture("password").display().to_string()
}

fn dev() -> String {
    format!("dev@{}", fixture("password-dev").display())
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn script(&self, name: &str, text: &str) {
        self.file(name, text);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.path(name), mode).unwrap();
    }

    fn copy(&self, from: &str, to: &str) {
        self.file(to, &std::fs::read_to_string(fixture(from)).unwrap());
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        let meta = std::fs::metadata(self.path(name)).unwrap();
        meta.permissions().mode() & 0o7777
    }

    fn call(&self, args: &[&str], environment: &[(&str, &str)], input: &str) -> Said {
        let mut child = Command::new(env!("CARGO_BIN_EXE_layerplay"))
            .current_dir(self.dir.path())
            .args(args)
            .env_remove("XDG_RUNTIME_DIR")
            .env("TMPDIR", self.dir.path().join("tmp"))
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that does not read closes its end.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        Said {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a playbook on this machine.
    fn run(&self, options: &[&str], environment: &[(&str, &str)]) -> Said {
        let mut args = vec!["run", "--format", "ansible", "play.yml"];
        if !options.contains(&"-i") {
            args.extend(["-i", "localhost,"]);
        }
        args.extend(options);
        self.call(&args, environment, "")
    }

    fn vault(&self, args: &[&str]) -> Said {
        self.call(&[&["vault"], args].concat(), &[], "")
    }
}

fn plain() -> String {
    std::fs::read_to_string(fixture("plain.yml")).unwrap()
}

/// Writes what it got to a file, which no mask reaches.
const SAVE: &str = "    - copy: {content: \"{{ token }}\", dest: \"{{ playbook_dir }}/saved\"}\n    - debug: {var: token}\n";

#[test]
fn files_of_variables_are_opened_and_masked_everywhere() {
    for place in [
        "vars.yml",
        "group_vars/all.yml",
        "host_vars/localhost",
        "included.yml",
    ] {
        let project = Project::new();
        project.copy("v1.1.yml", place);
        let (play, task) = match place {
            "vars.yml" => ("  vars_files: [vars.yml]\n", ""),
            "included.yml" => ("", "    - include_vars: included.yml\n"),
            _ => ("", ""),
        };
        project.file(
            "play.yml",
            &format!("- hosts: localhost\n  gather_facts: false\n{play}  tasks:\n{task}{SAVE}"),
        );
        let closed = project.run(&[], &[]);
        assert_ne!(closed.code, Some(0), "{place}");
        let told = format!("{}{}", closed.out, closed.err);
        assert!(told.contains("no vault password was given"), "{told}");
        for format in ["ansible", "json", "pretty"] {
            let password = password();
            let open = project.call(
                &[
                    "run",
                    "-i",
                    "localhost,",
                    "play.yml",
                    "-vvv",
                    "-D",
                    "--vault-password-file",
                    &password,
                    "--format",
                    format,
                ],
                &[],
                "",
            );
            assert_eq!(open.code, Some(0), "{place}: {}{}", open.out, open.err);
            assert_eq!(project.read("saved"), "s3cr3t-value");
            let told = format!("{}{}", open.out, open.err);
            assert!(!told.contains("s3cr3t"), "{place} {format}: {told}");
            assert!(told.contains("********"), "{told}");
            std::fs::remove_file(project.path("saved")).unwrap();
        }
    }
}

#[test]
fn playbooks_task_files_sources_and_inventories_may_be_vaults() {
    let project = Project::new();
    let seal = |name: &str| {
        let sealed = project.vault(&["encrypt", "--vault-id", &dev(), name]);
        assert_eq!(sealed.code, Some(0), "{}", sealed.err);
        assert!(
            project
                .read(name)
                .starts_with("$ANSIBLE_VAULT;1.2;AES256;dev\n")
        );
    };
    project.file("included.yml", SAVE);
    project.file(
        "imported.yml",
        "- import_tasks: more.yml\n- copy: {src: whole, dest: '{{ playbook_dir }}/copied'}\n- template: {src: page, dest: '{{ playbook_dir }}/page.out'}\n",
    );
    project.file("more.yml", "- debug: {msg: seen}\n");
    project.file("whole", "a secret line\n");
    project.file("page", "for {{ token }} only\n");
    project.file(
        "hosts.yml",
        "all:\n  hosts:\n    localhost: {token: from-inventory, ansible_connection: local}\n",
    );
    project.file(
        "play.yml",
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - include_tasks: included.yml\n    - import_tasks: imported.yml\n",
    );
    project.file("included.yml", &SAVE.replace("    - ", "- "));
    for name in [
        "included.yml",
        "imported.yml",
        "more.yml",
        "whole",
        "page",
        "hosts.yml",
        "play.yml",
    ] {
        seal(name);
    }
    let closed = project.run(&[], &[]);
    assert_eq!(closed.code, Some(1));
    assert!(
        closed.err.contains("vault id `dev`") && closed.err.contains("play.yml"),
        "{}",
        closed.err
    );
    let dev = dev();
    let run = project.run(&["-i", "hosts.yml", "--vault-id", &dev, "-vD"], &[]);
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
    assert_eq!(project.read("saved"), "from-inventory");
    assert_eq!(project.read("copied"), "a secret line\n");
    assert_eq!(project.read("page.out"), "for from-inventory only\n");
    for secret in ["from-inventory", "a secret line"] {
        assert!(!run.out.contains(secret), "{}", run.out);
    }
    let shown = project.call(
        &["inventory", "--list", "-i", "hosts.yml", "--vault-id", &dev],
        &[],
        "",
    );
    assert!(shown.out.contains("********"), "{}{}", shown.out, shown.err);
    assert!(!shown.out.contains("from-inventory"));
    let check = project.call(
        &["check", "-i", "hosts.yml", "--vault-id", &dev, "play.yml"],
        &[],
        "",
    );
    assert_eq!(check.code, Some(0), "{}", check.err);
}

#[test]
fn a_problem_in_a_vault_is_told_without_its_text() {
    let project = Project::new();
    project.file(
        "play.yml",
        "- hosts: localhost\n  wrong_word: hidden-thing\n  tasks: []\n",
    );
    let dev = dev();
    project.vault(&["encrypt", "--vault-id", &dev, "play.yml"]);
    let run = project.run(&["--vault-id", &dev], &[]);
    assert_eq!(run.code, Some(4), "{}", run.err);
    assert!(run.err.contains("wrong_word"), "{}", run.err);
    assert!(run.err.contains("which is encrypted"), "{}", run.err);
    assert!(!run.err.contains("hidden-thing"), "{}", run.err);
}

#[test]
fn a_value_is_opened_only_when_it_is_used() {
    let project = Project::new();
    let block = std::fs::read_to_string(fixture("block.vault")).unwrap();
    let block = block.trim().replace('\n', "\n      ");
    let play = |tasks: &str| {
        project.file(
            "play.yml",
            &format!("- hosts: localhost\n  gather_facts: false\n  vars:\n    token: !vault |\n      {block}\n  tasks:\n{tasks}"),
        );
    };
    play("    - debug: {msg: unused}\n");
    assert_eq!(project.run(&[], &[]).code, Some(0));
    play(&format!(
        "{SAVE}    - assert: {{that: [token is string, \"token | length > 4\", token is vault_encrypted, playbook_dir is not vault_encrypted]}}\n"
    ));
    let closed = project.run(&[], &[]);
    assert_eq!(closed.code, Some(2));
    assert!(closed.out.contains("play.yml:5"), "{}", closed.out);
    let other = fixture("password-dev").display().to_string();
    let wrong = project.run(&["--vault-password-file", &other], &[]);
    assert!(
        wrong.out.contains("no password that was given opens it"),
        "{}",
        wrong.out
    );
    let open = project.run(&["--vault-password-file", &password()], &[]);
    assert_eq!(open.code, Some(0), "{}", open.out);
    assert_eq!(
        project.read("saved"),
        std::fs::read_to_string(fixture("plain-block.txt")).unwrap()
    );
    assert!(open.out.contains("\"token\": \"********\""), "{}", open.out);
}

#[test]
fn passwords_come_from_files_programs_the_settings_and_the_person() {
    let project = Project::new();
    project.copy("v1.2-dev.yml", "dev.yml");
    project.script("pw.sh", "#!/bin/sh\necho other-horse\n");
    project.script(
        "pw-client.sh",
        "#!/bin/sh\ntest \"$2\" = dev || exit 2\necho other-horse\n",
    );
    let view = |args: &[&str], environment: &[(&str, &str)], input: &str| {
        let all = [&["vault", "view", "dev.yml"], args].concat();
        project.call(&all, environment, input)
    };
    let dev = dev();
    let others = format!("x@{}", password());
    let file = dev.strip_prefix("dev@").unwrap();
    let list = format!("{others}, {dev}");
    for (args, environment, input) in [
        (vec!["--vault-id", &dev], vec![], ""),
        (vec!["--vault-id", &others, "--vault-id", &dev], vec![], ""),
        (vec!["--vault-id", "any@pw.sh"], vec![], ""),
        (vec!["--vault-password-file", "pw.sh"], vec![], ""),
        (vec!["--vault-id", "dev@pw-client.sh"], vec![], ""),
        (vec![], vec![("ANSIBLE_VAULT_PASSWORD_FILE", file)], ""),
        (vec![], vec![("ANSIBLE_VAULT_IDENTITY_LIST", &list)], ""),
        (vec!["--vault-id", "dev@prompt"], vec![], "other-horse\n"),
        (vec!["-J"], vec![], "other-horse\n"),
        (vec![], vec![], "other-horse\n"),
        (
            vec!["--vault-id", "no@gone", "--vault-id", &dev],
            vec![],
            "",
        ),
    ] {
        let said = view(&args, &environment, input);
        assert_eq!(said.out, plain(), "{args:?}: {}", said.err);
    }
    let unknown = view(&["--vault-id", "prod@pw-client.sh"], &[], "");
    assert!(unknown.err.contains("vault id `prod`"), "{}", unknown.err);
    let strict = view(
        &["--vault-id", "prod@pw.sh"],
        &[("ANSIBLE_VAULT_ID_MATCH", "true")],
        "",
    );
    assert!(strict.err.contains("(there are: prod)"), "{}", strict.err);
    for (name, why) in [
        ("gone", "cannot be read"),
        (".", "is a folder"),
        ("empty", "empty password"),
    ] {
        project.file("empty", "\n");
        let said = view(&["--vault-password-file", name], &[], "");
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains(why), "{}", said.err);
    }
}

#[test]
fn files_are_encrypted_in_place_and_keep_their_mode() {
    let project = Project::new();
    project.copy("plain.yml", "a.yml");
    std::os::unix::fs::symlink("a.yml", project.path("link")).unwrap();
    std::fs::set_permissions(
        project.path("a.yml"),
        std::fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    let (file, dev) = (password(), dev());
    let ok = |args: &[&str]| {
        let said = project.vault(args);
        assert_eq!(said.code, Some(0), "{args:?}: {}", said.err);
        said.out
    };
    ok(&["encrypt", "--vault-password-file", &file, "link"]);
    assert!(project.path("link").is_symlink());
    assert!(
        project
            .read("a.yml")
            .starts_with("$ANSIBLE_VAULT;1.1;AES256\n")
    );
    assert_eq!(project.mode("a.yml"), 0o640);
    let again = project.vault(&["encrypt", "--vault-password-file", &file, "a.yml"]);
    assert!(again.err.contains("encrypted with a vault already"));
    let rekeyed = [
        "rekey",
        "--vault-password-file",
        &file,
        "--new-vault-id",
        &dev,
        "a.yml",
    ];
    ok(&rekeyed);
    assert!(project.read("a.yml").contains(";1.2;AES256;dev\n"));
    ok(&["decrypt", "--vault-id", &dev, "--output", "b.yml", "a.yml"]);
    assert_eq!(project.read("b.yml"), plain());
    assert_eq!(project.mode("b.yml"), 0o600);
    assert_eq!(
        ok(&["decrypt", "--vault-id", &dev, "--output", "-", "a.yml"]),
        plain()
    );
    ok(&["decrypt", "--vault-id", &dev, "a.yml"]);
    assert_eq!(project.read("a.yml"), plain());
    assert_eq!(project.mode("a.yml"), 0o640);
    let both = [
        "encrypt",
        "--vault-password-file",
        &file,
        "--vault-id",
        &dev,
    ];
    let which = project.vault(&[&both[..], &["a.yml"]].concat());
    assert!(which.err.contains("--encrypt-vault-id"), "{}", which.err);
    ok(&[&both[..], &["--encrypt-vault-id", "dev", "a.yml"]].concat());
    assert!(project.read("a.yml").contains(";dev\n"));
}

#[test]
fn an_editor_sees_plain_text_that_nobody_else_finds() {
    let project = Project::new();
    std::fs::create_dir(project.path("tmp")).unwrap();
    project.copy("v1.2-dev.yml", "a.yml");
    project.script(
        "editor",
        "#!/bin/sh\nstat -c '%a' \"$1\" >> seen; echo \"$1\" >> seen\ncp \"$1\" \"$1~\"\necho added: 1 >> \"$1\"\n",
    );
    let dev = dev();
    let call = |args: &[&str], editor: &str| {
        let args = [&["vault"], args, &["--vault-id", &dev]].concat();
        project.call(&args, &[("EDITOR", editor)], "")
    };
    let kept = project.read("a.yml");
    assert_eq!(call(&["edit", "a.yml"], "true").code, Some(0));
    let failed = call(&["edit", "a.yml"], "false");
    assert!(failed.err.contains("nothing was written"), "{}", failed.err);
    assert_eq!(project.read("a.yml"), kept);
    let edited = call(&["edit", "a.yml"], "./editor");
    assert_eq!(edited.code, Some(0), "{}", edited.err);
    assert!(project.read("a.yml").contains(";1.2;AES256;dev\n"));
    assert_eq!(
        call(&["view", "a.yml"], "").out,
        format!("{}added: 1\n", plain())
    );
    assert_eq!(call(&["create", "new/b.yml"], "./editor").code, Some(1));
    let made = call(&["create", "--skip-tty-check", "new/b.yml"], "./editor");
    assert_eq!(made.code, Some(0), "{}", made.err);
    assert_eq!(call(&["view", "new/b.yml"], "").out, "added: 1\n");
    assert_eq!(project.mode("new/b.yml"), 0o600);
    assert!(
        call(&["create", "--skip-tty-check", "a.yml"], "")
            .err
            .contains("exists")
    );
    let seen = project.read("seen");
    let seen: Vec<&str> = seen.lines().collect();
    assert_eq!((seen[0], seen[2]), ("600", "600"));
    assert!(seen[1].ends_with("/text.yml"));
    let left = std::fs::read_dir(project.path("tmp")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn strings_become_yaml_that_a_run_reads() {
    let project = Project::new();
    let file = password();
    let encrypt = |args: &[&str], input: &str| {
        let all = [
            &["vault", "encrypt-string", "--vault-password-file", &file],
            args,
        ]
        .concat();
        let said = project.call(&all, &[], input);
        assert_eq!(said.code, Some(0), "{}", said.err);
        said
    };
    let named = encrypt(&["--name", "token", "s3cr3t-value", "more"], "");
    assert!(
        named
            .out
            .starts_with("token: !vault |\n          $ANSIBLE_VAULT;1.1;AES256\n"),
        "{}",
        named.out
    );
    assert!(named.err.contains("string #2"), "{}", named.err);
    let given = encrypt(&["--stdin-name", "token"], "from input");
    project.file("vars.yml", &given.out);
    project.file(
        "play.yml",
        &format!(
            "- hosts: localhost\n  gather_facts: false\n  vars_files: vars.yml\n  tasks:\n{SAVE}"
        ),
    );
    let run = project.run(&["--vault-password-file", &file], &[]);
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
    assert_eq!(project.read("saved"), "from input");
    let asked = encrypt(&["--prompt"], "token\nanswered\n");
    assert!(asked.out.starts_with("token: !vault |\n"));
}
