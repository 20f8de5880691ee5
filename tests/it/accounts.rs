//! `user` and `group`, by the real tools of shadow-utils on a copy of the databases: each is called by a script that adds
//! `--prefix` or `--root`, and takes that root off the paths of homes. This machine's own users stay as they are.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::files::Project;

/// A project whose host has users of its own below `{{ base }}/root`.
fn host() -> Project {
    let project = Project::new();
    let root = project.out("root");
    for folder in ["etc/default", "home", "var/mail"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    for (file, text) in [
        (
            "passwd",
            "root:x:0:0:root:/root:/bin/sh\nbob:x:1500:100:Bob:/home/bob:/bin/sh\n",
        ),
        (
            "shadow",
            "root:*:19000:0:99999:7:::\nbob:$6$old$x:19000:0:99999:7:::\n",
        ),
        (
            "group",
            "root:x:0:\nusers:x:100:\nweb:x:600:bob\ndb:x:601:\n",
        ),
        ("gshadow", "root:*::\nusers:!::\nweb:!::bob\ndb:!::\n"),
        (
            "login.defs",
            "UID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\nSYS_UID_MIN 100\nSYS_UID_MAX 999\nUSERGROUPS_ENAB yes\n",
        ),
    ] {
        std::fs::write(root.join("etc").join(file), text).unwrap();
    }
    std::fs::create_dir(project.out("skel")).unwrap();
    std::fs::write(project.out("skel/.profile"), "# from skel\n").unwrap();
    std::fs::create_dir(root.join("home/bob")).unwrap();
    std::fs::write(root.join("home/bob/notes"), "mine\n").unwrap();
    let root = root.display();
    for (tool, option) in [
        ("useradd", "--prefix"),
        ("usermod", "--prefix"),
        ("userdel", "--prefix"),
        ("groupadd", "--prefix"),
        ("groupmod", "--prefix"),
        ("groupdel", "--prefix"),
        ("chpasswd", "--root"),
        ("chage", "--root"),
    ] {
        let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(|dir| format!("{dir}/{tool}"));
        let real = found
            .iter()
            .find(|path| std::path::Path::new(path).exists())
            .unwrap_or_else(|| panic!("`{tool}` must be installed: `make deps` does it"));
        project.program(
            tool,
            &format!(
                "#!/bin/sh\nn=$#\nwhile [ $n -gt 0 ]; do set -- \"$@\" \"${{1#{root}}}\"; shift; n=$((n-1)); done\necho \"{tool} $*\" >> {root}/calls\nexec {real} {option} {root} \"$@\"\n"
            ),
        );
    }
    project.program(
        "getent",
        &format!(
            "#!/bin/sh\nexec awk -F: -v OFS=: -v d=\"$1\" -v k=\"$2\" 'k == \"\" || $1 == k || (d != \"shadow\" && $3 == k) {{ if (d == \"passwd\") $6 = \"{root}\" $6; print }}' {root}/etc/\"$1\"\n"
        ),
    );
    project
}

/// The line of an account.
fn line(project: &Project, file: &str, name: &str) -> String {
    let text = project.read(&format!("root/etc/{file}"));
    let start = format!("{name}:");
    text.lines()
        .find(|line| line.starts_with(&start))
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn groups_are_made_changed_and_removed() {
    let project = host();
    let tasks = r"
- group: {name: deploy, gid: 700}
  register: deploy
- group: {name: metrics, system: true}
- ansible.builtin.group: {name: db, gid: 602}
- group: {name: web, gid: 602, non_unique: true}
- group: {name: users, state: absent}
  ignore_errors: true
  register: users
- group: {name: nope, state: absent}
";
    let first = project.run(tasks, &[]);
    assert_eq!(first.count("changed"), 4, "{}", first.said);
    assert_eq!(line(&project, "group", "deploy"), "deploy:x:700:");
    let metrics = line(&project, "group", "metrics");
    let gid = metrics
        .split(':')
        .nth(2)
        .and_then(|gid| gid.parse::<u32>().ok());
    assert!(gid.is_some_and(|gid| gid < 1000), "{metrics}");
    assert_eq!(line(&project, "group", "web"), "web:x:602:bob");
    assert_eq!(first.results["deploy"]["gid"], 700);
    assert_eq!(first.results["deploy"]["system"], false);
    // It is the first group of a user: the tool's own words are the message.
    assert_eq!(first.results["users"]["failed"], true);
    assert!(
        first.results["users"]["msg"]
            .as_str()
            .unwrap()
            .contains("primary group"),
        "{}",
        first.said
    );
    let again = project.run(tasks, &[]);
    assert_eq!(again.count("changed"), 0, "{}", again.said);
    let taken = project.run("- group: {name: other, gid: 700}", &[]);
    assert!(
        taken
            .said
            .contains("GID '700' already exists with group 'deploy'"),
        "{}",
        taken.said
    );
    project.converges("- group: {name: deploy, state: absent}", 1);
}

#[test]
fn users_are_made_with_their_homes() {
    let project = host();
    let hash = format!("$6$salt${}", "x".repeat(86));
    let tasks = format!(
        r#"
- user:
    name: eve
    uid: 1600
    groups: [web, db]
    comment: Eve E
    shell: /bin/bash
    home: "{{{{ base }}}}/root/home/new/eve"
    password: {hash}
    skeleton: "{{{{ base }}}}/skel"
    expires: 1767225600
    password_expire_max: 90
  register: eve
- user: {{name: daemon-a, system: true, create_home: false, group: db}}
  register: daemon
"#
    );
    let run = project.converges(&tasks, 2);
    let eve = &run.results["eve"];
    assert_eq!(
        line(&project, "passwd", "eve"),
        "eve:x:1600:1600:Eve E:/home/new/eve:/bin/bash"
    );
    assert_eq!(line(&project, "group", "db"), "db:x:601:eve");
    let shadow = line(&project, "shadow", "eve");
    let parts: Vec<&str> = shadow.split(':').collect();
    assert_eq!(
        (parts[1], parts[4], parts[7]),
        (hash.as_str(), "90", "20454")
    );
    assert_eq!(project.read("root/home/new/eve/.profile"), "# from skel\n");
    let home = std::fs::metadata(project.out("root/home/new/eve")).unwrap();
    assert_eq!((home.uid(), home.gid()), (1600, 1600));
    assert_eq!((&eve["uid"], &eve["group"]), (&1600.into(), &1600.into()));
    assert_eq!(eve["groups"], "web,db");
    assert_eq!(eve["create_home"], true);
    assert_eq!(eve["password"], "NOT_LOGGING_PASSWORD");
    assert!(!run.said.contains(&hash), "the hash is shown: {}", run.said);
    // Words of a command can be read by everyone: the hash was in none.
    assert!(!project.read("root/calls").contains("$6$"));
    assert_eq!(run.results["daemon"]["group"], 601);
    assert!(run.results["daemon"]["uid"].as_u64().unwrap() < 1000);
}

#[test]
fn users_are_changed_where_they_differ_and_removed() {
    let project = host();
    let hash = format!("$6$salt${}", "y".repeat(86));
    let tasks = format!(
        r#"
- user: {{name: bob, groups: db, append: true, shell: /bin/zsh, comment: Bob B}}
  register: bob
- user: {{name: bob, home: "{{{{ base }}}}/root/srv/bob", move_home: true}}
- user: {{name: bob, password: {hash}, password_lock: true, password_expire_min: 1}}
- user: {{name: bob, password: $6$other$z, update_password: on_create}}
  register: kept
"#
    );
    std::fs::create_dir(project.out("root/srv")).unwrap();
    let run = project.converges(&tasks, 3);
    assert_eq!(
        line(&project, "passwd", "bob"),
        "bob:x:1500:100:Bob B:/srv/bob:/bin/zsh"
    );
    assert_eq!(line(&project, "group", "db"), "db:x:601:bob");
    assert_eq!(line(&project, "group", "web"), "web:x:600:bob");
    assert!(line(&project, "shadow", "bob").starts_with(&format!("bob:!{hash}:")));
    assert_eq!(project.read("root/srv/bob/notes"), "mine\n");
    assert!(!project.out("root/home/bob").exists());
    assert_eq!(run.results["bob"]["append"], true);
    assert_eq!(run.results["bob"]["move_home"], false);
    assert_eq!(run.results["kept"]["changed"], false);
    let missing = project.run("- user: {name: bob, groups: nope}", &[]);
    assert!(
        missing.said.contains("Group nope does not exist"),
        "{}",
        missing.said
    );
    let gone = project.converges("- user: {name: bob, state: absent}\n  register: gone", 1);
    assert_eq!(gone.results["gone"]["remove"], false);
    assert_eq!(line(&project, "passwd", "bob"), "");
    assert!(project.out("root/srv/bob").exists());
}

#[test]
fn a_key_is_made_once_and_closed_with_its_passphrase() {
    let project = host();
    let task = "- user: {name: bob, generate_ssh_key: true, ssh_key_type: ed25519, ssh_key_comment: of bob, ssh_key_passphrase: 'open; $(it)'}\n  register: bob";
    let run = project.converges(task, 1);
    let bob = &run.results["bob"];
    let file = project.out("root/home/bob/.ssh/id_ed25519");
    assert_eq!(bob["ssh_key_file"], file.to_str().unwrap());
    let public = bob["ssh_public_key"].as_str().unwrap();
    assert!(
        public.starts_with("ssh-ed25519 ") && public.ends_with(" of bob"),
        "{public}"
    );
    assert!(bob["ssh_fingerprint"].as_str().unwrap().contains("SHA256:"));
    assert_eq!(project.mode("root/home/bob/.ssh/id_ed25519"), 0o600);
    assert_eq!(std::fs::metadata(&file).unwrap().uid(), 1500);
    let opened = |phrase: &str| {
        let words = ["-y", "-P", phrase, "-f"];
        Command::new("ssh-keygen")
            .args(words)
            .arg(&file)
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(opened("open; $(it)") && !opened(""));
    assert!(!run.said.contains("open; $(it)"), "{}", run.said);
}
