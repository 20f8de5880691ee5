//! `known_hosts` and `authorized_key`, with keys and hashes of OpenSSH's own `ssh-keygen`.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::files::Project;

/// A public key, as its file has it.
fn key(project: &Project, name: &str, kind: &str) -> String {
    let path = project.out(name);
    keygen(&["-q", "-t", kind, "-N", "", "-C", name, "-f"], &path);
    let text = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    text.trim().to_owned()
}

fn keygen(words: &[&str], path: &Path) -> String {
    let output = Command::new("ssh-keygen")
        .args(words)
        .arg(path)
        .output()
        .expect("`ssh-keygen` must be installed: `make deps` does it");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn keys_of_servers_are_kept_and_found_again() {
    let project = Project::new();
    let (one, two) = (
        key(&project, "one", "ed25519"),
        key(&project, "two", "ed25519"),
    );
    let other = key(&project, "other", "ecdsa");
    std::fs::write(
        project.out("hashed"),
        format!("a.example.com {one}\nb.example.com {two}\n"),
    )
    .unwrap();
    keygen(&["-H", "-f"], &project.out("hashed"));
    std::fs::remove_file(project.out("hashed.old")).unwrap();
    std::fs::write(
        project.out("plain"),
        format!("# by hand\nc.example.com {one}\nlast {one}"),
    )
    .unwrap();
    let tasks = format!(
        r#"
- known_hosts: {{path: "{{{{ base }}}}/new/known", name: A.example.com, key: "a.example.com {one}", hash_host: true}}
  register: new
- known_hosts: {{path: "{{{{ base }}}}/new/known", name: "[a.example.com]:2222", key: "[a.example.com]:2222 {two}"}}
- known_hosts: {{path: "{{{{ base }}}}/hashed", host: a.example.com, key: "a.example.com {one}", hash_host: true}}
  register: same
- known_hosts: {{path: "{{{{ base }}}}/hashed", name: b.example.com, state: absent}}
- known_hosts: {{path: "{{{{ base }}}}/plain", name: c.example.com, key: "c.example.com {two}\nc.example.com {other}"}}
- known_hosts: {{path: "{{{{ base }}}}/none", name: c.example.com, state: absent}}
  register: nothing
"#
    );
    let run = project.converges(&tasks, 4);
    assert_eq!(run.results["same"]["changed"], false);
    assert_eq!(run.results["nothing"]["changed"], false);
    assert_eq!(
        run.results["new"]["path"],
        project.out("new/known").to_str().unwrap()
    );
    assert_eq!(
        project.read("plain"),
        format!("# by hand\nlast {one}\nc.example.com {two}\nc.example.com {other}\n")
    );
    assert_eq!(project.mode("new"), 0o700);
    // OpenSSH finds what was written, by its own hash of the name.
    let found = |name: &str, file: &str| keygen(&["-F", name, "-f"], &project.out(file));
    assert!(found("a.example.com", "new/known").contains("found: line 1"));
    assert!(found("[a.example.com]:2222", "new/known").contains("found: line 2"));
    assert!(!project.read("new/known").contains("a.example.com ssh"));
    assert!(found("a.example.com", "hashed").contains("found"));
    assert_eq!(found("b.example.com", "hashed"), "");
}

#[test]
fn keys_that_may_log_in_have_the_rights_that_sshd_demands() {
    let project = Project::new();
    let (one, two) = (
        key(&project, "one", "ed25519"),
        key(&project, "two", "ecdsa"),
    );
    std::fs::create_dir(project.out("home")).unwrap();
    let home = project.out("home");
    project.program(
        "getent",
        &format!(
            "#!/bin/sh\n[ \"$2\" = bob ] && echo \"bob:x:4321:4322::{}:/bin/sh\"\n",
            home.display()
        ),
    );
    std::fs::write(project.out("real"), format!("no-pty {one}\n# by hand\n")).unwrap();
    symlink("real", project.out("followed")).unwrap();
    symlink("real", project.out("replaced")).unwrap();
    let tasks = format!(
        r#"
- authorized_key: {{user: bob, key: "{one}\n{two}"}}
  register: both
- ansible.posix.authorized_key: {{user: bob, key: "{two}", path: "{{{{ base }}}}/shared/bob", manage_dir: false, key_options: 'from="10.0.0.1,10.0.0.2",no-pty'}}
- authorized_key: {{user: bob, key: "{one}", path: "{{{{ base }}}}/replaced", manage_dir: false, exclusive: true}}
- authorized_key: {{user: bob, key: "{one}", path: "{{{{ base }}}}/followed", manage_dir: false, state: absent, follow: true}}
"#
    );
    let run = project.converges(&tasks, 4);
    let file = home.join(".ssh/authorized_keys");
    assert_eq!(run.results["both"]["keyfile"], file.to_str().unwrap());
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        format!("{one}\n{two}\n")
    );
    assert_eq!(
        (
            project.mode("home/.ssh"),
            project.mode("home/.ssh/authorized_keys")
        ),
        (0o700, 0o600)
    );
    for path in [&file, &home.join(".ssh")] {
        let meta = std::fs::symlink_metadata(path).unwrap();
        let ids = [
            std::os::unix::fs::MetadataExt::uid(&meta),
            std::os::unix::fs::MetadataExt::gid(&meta),
        ];
        assert_eq!(ids, [4321, 4322], "{}", path.display());
    }
    assert_eq!(
        project.read("shared/bob"),
        format!("from=\"10.0.0.1,10.0.0.2\",no-pty {two}\n")
    );
    assert_eq!(project.read("replaced"), format!("{one}\n"));
    assert!(!project.out("replaced").is_symlink());
    assert_eq!(project.read("real"), "# by hand\n");
    assert!(project.out("followed").is_symlink());
    let nobody = project.run(
        &format!("- authorized_key: {{user: eve, key: \"{one}\"}}"),
        &[],
    );
    assert_eq!(nobody.code, Some(2));
    assert!(
        nobody.said.contains("Failed to lookup user eve"),
        "{}",
        nobody.said
    );
    let fetched = project.run(
        "- authorized_key: {user: bob, key: 'https://example.com/bob.keys'}",
        &[],
    );
    assert!(
        fetched.said.contains("lookup('pipe', 'curl"),
        "{}",
        fetched.said
    );
}
