//! With whose rights a command runs: variables say it before keywords, and these before the command line. A stand-in for
//! `sudo` says how it was called.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// What a run with these host variables, play keywords and options asks `sudo` for; `None` when it does not ask.
fn asked(variables: &str, keywords: &str, options: &[&str]) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("bin")).unwrap();
    let sudo = at("bin/sudo");
    std::fs::write(
        &sudo,
        format!(
            "#!/bin/sh\nline=\"$*\"\nif [ \"$1\" = -S ]; then read -r secret; line=\"$line [$secret]\"; fi\necho \"$line\" >> {}\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n",
            at("log").display()
        ),
    )
    .unwrap();
    std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(at("hosts"), format!("machine {variables}\n")).unwrap();
    std::fs::write(at("secret"), "pass-of-file\n").unwrap();
    std::fs::write(
        at("play.yml"),
        format!("- hosts: all\n  gather_facts: false\n{keywords}  tasks:\n    - command: 'true'\n"),
    )
    .unwrap();
    let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_layerplay"))
        .current_dir(dir.path())
        .args(["run", "-i", "hosts", "play.yml", "-c", "local"])
        .args(options)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let log = std::fs::read_to_string(at("log")).ok()?;
    let (line, _) = log.lines().next()?.split_once(" --")?;
    let secret = log
        .lines()
        .next()?
        .split_once(" [")
        .map_or("", |(_, secret)| secret.trim_end_matches(']'));
    Some(format!("{line} {secret}").trim().to_owned())
}

#[test]
fn variables_come_before_keywords_and_these_before_options() {
    let keyword = "  become: true\n  become_user: of_keyword\n";
    let option = ["-b", "--become-user", "of_option"];
    let user = |name: &str| Some(format!("-n -u {name}"));
    assert_eq!(asked("", "", &[]), None);
    assert_eq!(asked("", "", &option), user("of_option"));
    assert_eq!(asked("", keyword, &option), user("of_keyword"));
    assert_eq!(
        asked("ansible_become_user=of_variable", keyword, &option),
        user("of_variable")
    );
    assert_eq!(asked("ansible_become=no", keyword, &option), None);
    assert_eq!(asked("", "  become: false\n", &option), None);
    assert_eq!(
        asked("ansible_become=yes ansible_become_user=other", "", &[]),
        user("other")
    );
    assert_eq!(
        asked(
            "ansible_become_method=ansible.builtin.sudo ansible_become_flags=-H ansible_become_user=other",
            "  become: true\n  become_method: other\n",
            &["--become-method", "su"]
        ),
        Some("-n -H -u other".to_owned())
    );
}

#[test]
fn a_password_goes_by_either_name() {
    let sudo = |secret: &str| Some(format!("-S -p  -u other {secret}"));
    let file = [
        "-b",
        "--become-user",
        "other",
        "--become-password-file",
        "secret",
    ];
    assert_eq!(asked("", "", &file), sudo("pass-of-file"));
    for name in ["ansible_become_pass", "ansible_become_password"] {
        assert_eq!(
            asked(&format!("{name}=of-variable"), "", &file),
            sudo("of-variable")
        );
    }
    // Where both are set, Ansible takes the short one.
    assert_eq!(
        asked(
            "ansible_become_pass=short ansible_become_password=long",
            "",
            &file
        ),
        sudo("short")
    );
}
