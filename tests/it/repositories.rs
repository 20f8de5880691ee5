//! `git` with real repositories, and `script`: what they do on this machine and on others.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::files::{Project, listing};
use super::ssh::{Sshd, play};
use super::support::web::{Told, Web};

/// A repository `r` with two commits on `main`, a branch and a tag, made in a folder.
fn repository(dir: &Path) {
    shell(
        dir,
        "git init -q -b main r; cd r
         git config user.name n; git config user.email e@x; git config commit.gpgsign false
         echo 1 > f; git add f; git commit -qm 1; git tag -am v1 v1
         git checkout -qb side; echo side > f; git commit -qam side; git checkout -q main
         echo 2 > f; git commit -qam 2",
    );
}

fn shell(dir: &Path, line: &str) -> String {
    let output = Command::new("/bin/sh")
        .args(["-ec", line])
        .current_dir(dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_tree_comes_to_its_version_and_stays_there() {
    let project = Project::new();
    let base = project.out("");
    let source = tempfile::tempdir().unwrap();
    repository(source.path());
    let commit = |name: &str| {
        shell(
            source.path(),
            &format!("git -C r rev-parse '{name}^{{commit}}'"),
        )
    };
    let (one, two, side) = (commit("v1"), commit("main"), commit("side"));
    let repo = source.path().join("r").display().to_string();
    let task = |more: &str| {
        format!(
            "- git: {{repo: '{repo}', dest: '{{{{ base }}}}/deep/t'{more}}}\n  register: done\n"
        )
    };
    let read = || project.read("deep/t/f");
    let check = project.run(&task(""), &["--check"]);
    assert_eq!(
        json!([
            check.results["done"]["changed"],
            check.results["done"]["after"]
        ]),
        json!([true, two]),
        "{}",
        check.said
    );
    assert!(!project.out("deep").exists(), "check mode wrote");
    for (more, before, after, content) in [
        ("", Value::Null, &two, "2\n"),
        (", version: v1", json!(two), &one, "1\n"),
        (", version: side", json!(one), &side, "side\n"),
        (&*format!(", version: {two}"), json!(side), &two, "2\n"),
        (", version: main, depth: 1", json!(two), &two, "2\n"),
        (", version: side, depth: 1", json!(two), &side, "side\n"),
    ] {
        let check = project.run(&task(more), &["--check"]);
        let first = project.run(&task(more), &[]);
        let done = &first.results["done"];
        assert_eq!(first.code, Some(0), "{more}: {}", first.said);
        assert_eq!(
            json!([done["before"], done["after"]]),
            json!([before, after]),
            "{more}"
        );
        assert_eq!(done["changed"], json!(before != json!(after)), "{more}");
        assert_eq!(check.results["done"]["changed"], done["changed"], "{more}");
        assert_eq!(read(), content, "{more}");
        let second = project.run(&task(more), &[]);
        assert_eq!(
            second.results["done"]["changed"], false,
            "{more}: {}",
            second.said
        );
    }
    // What is new at the repository comes, unless it may not.
    shell(
        source.path(),
        "cd r; git checkout -q side; echo new > f; git commit -qam new",
    );
    let kept = project.run(&task(", version: side, update: false"), &[]);
    assert_eq!(
        json!([kept.results["done"]["changed"], read()]),
        json!([false, "side\n"])
    );
    let new = project.run(&task(", version: side"), &[]);
    assert_eq!(
        json!([new.results["done"]["changed"], read()]),
        json!([true, "new\n"])
    );
    // Local modifications are an error, or thrown away.
    std::fs::write(project.out("deep/t/f"), "mine").unwrap();
    std::fs::write(project.out("deep/t/untracked"), "mine").unwrap();
    for options in [[].as_slice(), &["--check"]] {
        let refused = project.run(&task(", version: side"), options);
        assert!(
            refused.code == Some(2) && refused.said.contains("Local modifications exist"),
            "{}",
            refused.said
        );
    }
    let forced = project.run(&task(", version: side, force: true"), &[]);
    assert_eq!(
        json!([forced.results["done"]["changed"], read()]),
        json!([true, "new\n"]),
        "{}",
        forced.said
    );
    assert_eq!(project.read("deep/t/untracked"), "mine");
    // The same repository elsewhere.
    shell(source.path(), "cp -r r moved");
    let elsewhere = format!(
        "- git: {{repo: 'file://{}/moved', dest: '{{{{ base }}}}/deep/t', version: side}}\n  register: done\n",
        source.path().display()
    );
    let moved = project.run(&elsewhere, &[]);
    let done = &moved.results["done"];
    assert_eq!(
        json!([done["changed"], done["remote_url_changed"]]),
        json!([true, true]),
        "{}",
        moved.said
    );
    assert_eq!(
        project.run(&elsewhere, &[]).results["done"]["changed"],
        false
    );
    let only = format!("- git: {{repo: '{repo}', version: v1, clone: false}}\n  register: done\n");
    assert_eq!(project.run(&only, &[]).results["done"]["after"], json!(one));
    let missing = project.run(&task(", version: none"), &[]);
    assert!(
        missing.code == Some(2) && missing.said.contains("no such branch or tag"),
        "{}",
        missing.said
    );
    let bare = format!(
        "- git: {{repo: '{repo}', dest: '{{{{ base }}}}/bare', bare: true, remote: up, version: main}}\n"
    );
    // It fetches each time: other branches may be new.
    assert_eq!(project.run(&bare, &[]).count("changed"), 1);
    assert_eq!(project.run(&bare, &[]).count("changed"), 0);
    assert_eq!(shell(&base, "git -C bare rev-parse main"), two);
    let branch = format!(
        "- git: {{repo: '{repo}', dest: '{{{{ base }}}}/one', single_branch: true, version: side, depth: 1}}\n"
    );
    project.run(&branch, &[]);
    let others = shell(&base, "git -C one branch -r | grep -c main || :");
    assert_eq!(
        (others.as_str(), project.read("one/f").as_str()),
        ("0", "new\n")
    );
}

#[test]
fn submodules_come_along() {
    let project = Project::new();
    let source = tempfile::tempdir().unwrap();
    repository(source.path());
    shell(
        source.path(),
        "git init -q -b main s; cd s; git config user.name n; git config user.email e@x
         git -c protocol.file.allow=always submodule --quiet add ../r inner; git commit -qm s",
    );
    let tasks = format!(
        "
- git: {{repo: '{}', dest: '{{{{ base }}}}/with'}}
  environment: {{GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: protocol.file.allow, GIT_CONFIG_VALUE_0: always}}
- git: {{repo: '{0}', dest: '{{{{ base }}}}/without', recursive: false}}
",
        source.path().join("s").display()
    );
    let run = project.run(&tasks, &[]);
    assert_eq!(
        (run.code, run.count("changed")),
        (Some(0), 2),
        "{}",
        run.said
    );
    assert_eq!(project.read("with/inner/f"), "2\n");
    assert!(!project.out("without/inner/f").exists());
    let again = project.run(&tasks, &[]);
    assert_eq!(again.count("changed"), 0, "{}", again.said);
}

#[test]
fn credentials_of_a_repository_are_shown_nowhere() {
    let (project, web) = (Project::new(), Web::start(|_| Told::new(404, "")));
    let repo = format!("http://user:hidden-word@127.0.0.1:{}/r.git", web.port);
    let tasks = format!(
        "- git: {{repo: '{repo}', dest: '{{{{ base }}}}/t'}}\n  ignore_errors: true\n  register: failed\n"
    );
    let run = project.run(&tasks, &["-vvv"]);
    assert_eq!(run.code, Some(0), "{}", run.said);
    assert!(
        web.asked()
            .iter()
            .any(|asked| asked.path.contains("/r.git/info/refs"))
    );
    let text = format!("{}{}", run.said, run.results);
    assert!(
        text.contains("ls-remote") && !text.contains("hidden-word"),
        "{text}"
    );
}

#[test]
fn a_script_runs_with_its_arguments_and_leaves_nothing() {
    let project = Project::new();
    project.source(
        "files/a script.sh",
        "printf '%s|' \"$@\"; echo \"$WORD\"; echo bad >&2; basename \"$0\"; exit $2\n",
        0o644,
    );
    project.source(
        "files/plain.py",
        "import sys\nprint(sys.argv[1:], sys.stdin.read())\n",
        0o644,
    );
    let before = |dir: &Path| listing(dir).len();
    let temporary = tempfile::tempdir().unwrap();
    let tasks = format!(
        "
- script: \"'a script.sh' 'x  y' 3 $WORD\"
  environment: {{WORD: of the host, TMPDIR: '{0}'}}
  failed_when: done.rc | default(3) != 3
  register: done
- script: {{cmd: plain.py 1, executable: /usr/bin/env python3}}
  register: python
- script: \"'a script.sh' 1 0 creates={{{{ base }}}}\"
  register: created
- script: \"'a script.sh' 1 0\"
  args: {{removes: '{{{{ base }}}}', chdir: '{{{{ base }}}}'}}
  register: removed
",
        temporary.path().display()
    );
    let run = project.run(&tasks, &[]);
    assert_eq!(run.code, Some(0), "{}", run.said);
    let done = &run.results["done"];
    assert_eq!(
        done["stdout"],
        "x  y|3|of|the|host|of the host\na script.sh\n"
    );
    assert_eq!(
        json!([
            done["rc"],
            done["stderr"],
            done["stdout_lines"][1],
            done["changed"]
        ]),
        json!([3, "bad\n", "a script.sh", true])
    );
    assert_eq!(run.results["python"]["stdout"], "['1'] \n");
    assert_eq!(run.results["created"]["skipped"], true);
    assert_eq!(run.results["removed"]["rc"], 0);
    assert_eq!(before(temporary.path()), 0, "the script is gone");
    let check = project.run(&tasks, &["--check"]);
    assert_eq!(
        (check.count("skipped"), check.count("changed")),
        (3, 1),
        "{}",
        check.said
    );
    let missing = project.run("- script: none.sh 1", &[]);
    assert!(
        missing.code == Some(2) && missing.said.contains("could not find `none.sh`"),
        "{}",
        missing.said
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_have_their_own_trees_and_run_scripts() {
    let sshd = Sshd::start(&[std::net::Ipv4Addr::LOCALHOST], None);
    let dir = tempfile::tempdir().unwrap();
    repository(dir.path());
    std::fs::write(
        dir.path().join("s.sh"),
        "#!/bin/sh\necho \"$1\"; echo \"$SSH_CONNECTION\" | wc -w\n",
    )
    .unwrap();
    let mut inventory = json!({"all": {"hosts": {"one": {"ansible_host": "127.0.0.1"}}}});
    inventory["all"]["vars"] = sshd.variables();
    let playbook = format!(
        "
- hosts: all
  gather_facts: false
  vars: {{base: '{}'}}
  tasks:
    - git: {{repo: '{{{{ base }}}}/r', dest: '{{{{ base }}}}/t', version: '{{{{ item }}}}'}}
      loop: [main, v1, v1]
      register: trees
    - script: s.sh 'a  b'
      register: said
    - assert:
        that:
          - trees.results | map(attribute='changed') | list == [true, true, false]
          - said.stdout_lines == ['a  b', '4']
",
        dir.path().display()
    );
    let (output, said) = play(dir.path(), &inventory, &playbook).await;
    assert!(output.status.success(), "{said}\n{}", sshd.log());
    assert_eq!(std::fs::read(dir.path().join("t/f")).unwrap(), b"1\n");
}
