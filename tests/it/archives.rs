//! `unarchive` and `archive`, with the programs that pack: what is unpacked and packed, what is the same, what is refused.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::files::{Project, listing};
use super::ssh::{Sshd, play};
use super::support::web::{Told, Web};

fn run(dir: &Path, line: &str) {
    let output = Command::new("/bin/sh")
        .args(["-ec", line])
        .current_dir(dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {said}");
}

/// Archives of a folder with a file, an executable in a folder, and a link.
fn packed(dir: &Path) -> PathBuf {
    run(
        dir,
        "mkdir -p box/sub; echo one > 'box/a b'; echo two > box/sub/run; chmod 755 box/sub/run
         ln -s 'a b' box/link; touch -d 2020-01-02T03:04:05Z box/* box/sub/*
         cd box; tar -czf ../t.tar.gz .; tar -cjf ../t.tar.bz2 .; tar -cJf ../t.tar.xz .
         tar --zstd -cf ../t.tar.zst *; tar -cf ../t.tar *; zip -qry ../t.zip .",
    );
    dir.to_owned()
}

#[test]
fn every_kind_of_archive_is_unpacked_once() {
    let project = Project::new();
    let dir = packed(&project.out("../files").canonicalize().unwrap());
    for (kind, handler) in [
        ("tar", "TarArchive"),
        ("tar.gz", "TgzArchive"),
        ("tar.bz2", "TarBzipArchive"),
        ("tar.xz", "TarXzArchive"),
        ("tar.zst", "TarZstdArchive"),
        ("zip", "ZipArchive"),
    ] {
        std::fs::create_dir(project.out(kind)).unwrap();
        let tasks = format!(
            "
- unarchive: {{src: t.{kind}, dest: '{{{{ base }}}}/{kind}', list_files: true}}
  register: done
"
        );
        let run = project.converges(&tasks, 1);
        assert_eq!(project.read(&format!("{kind}/a b")), "one\n", "{kind}");
        assert_eq!(project.read(&format!("{kind}/link")), "one\n", "{kind}");
        assert!(project.out(&format!("{kind}/link")).is_symlink());
        assert_eq!(project.mode(&format!("{kind}/sub/run")), 0o755);
        let done = &run.results["done"];
        assert_eq!(
            json!([
                done["handler"],
                done["dest"],
                done["state"],
                done["extract_results"]["rc"]
            ]),
            json!([handler, project.out(kind), "directory", 0])
        );
        let mut names: Vec<&str> = done["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().trim_start_matches("./"))
            .filter(|name| !name.is_empty())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["a b", "link", "sub/", "sub/run"], "{kind}");
        // What was changed since is unpacked again, and only that differs.
        std::fs::write(project.out(&format!("{kind}/a b")), "mine\n").unwrap();
        let again = project.run(&tasks, &[]);
        assert_eq!(again.count("changed"), 1, "{}", again.said);
        assert_eq!(project.read(&format!("{kind}/a b")), "one\n");
    }
    assert!(dir.join("t.zip").exists(), "the archive itself stays");
}

#[test]
fn entries_are_chosen_and_get_their_rights() {
    let project = Project::new();
    let dir = packed(&project.out("../files").canonicalize().unwrap());
    let web = Web::start({
        let bytes = std::fs::read(dir.join("t.tar.gz")).unwrap();
        move |asked| {
            if asked.path == "/t.tgz" {
                Told::new(200, bytes.clone())
            } else {
                Told::new(404, "")
            }
        }
    });
    for name in ["in", "out", "zip", "web", "kept"] {
        std::fs::create_dir(project.out(name)).unwrap();
    }
    project.source("out/kept/a b", "newer\n", 0o644);
    let tasks = format!(
        "
- unarchive: {{src: t.tar, dest: '{{{{ base }}}}/in', include: [sub], mode: 'u=rwX,go='}}
- unarchive: {{src: '{0}/t.tar', dest: '{{{{ base }}}}/out', remote_src: true, exclude: ['sub', 'l*']}}
- unarchive: {{src: '{0}/t.zip', dest: '{{{{ base }}}}/zip', copy: false, exclude: ['sub/*', 'link'], mode: 'u=rwX,go='}}
- unarchive: {{src: '{1}', dest: '{{{{ base }}}}/web', remote_src: true, extra_opts: [--strip-components=2]}}
- unarchive: {{src: t.tar, dest: '{{{{ base }}}}/kept', keep_newer: true}}
- unarchive: {{src: t.tar, dest: '{{{{ base }}}}/kept', creates: '{{{{ base }}}}/in'}}
  register: skipped
",
        dir.display(),
        web.url("/t.tgz"),
    );
    let run = project.converges(&tasks, 5);
    assert_eq!(
        (project.mode("in/sub/run"), project.mode("in/sub")),
        (0o700, 0o700)
    );
    assert!(!project.out("in/a b").exists());
    assert_eq!(listing(&project.out("out")).len(), 1);
    assert_eq!(project.mode("zip/a b"), 0o600);
    assert!(!project.out("zip/link").exists());
    assert_eq!(project.read("web/run"), "two\n");
    assert_eq!(project.read("kept/a b"), "newer\n");
    assert_eq!(project.read("kept/sub/run"), "two\n");
    assert_eq!(run.results["skipped"]["skipped"], true);
}

#[test]
fn what_leads_out_or_is_no_archive_is_refused() {
    let project = Project::new();
    let dir = project.out("../files").canonicalize().unwrap();
    std::fs::create_dir(project.out("dest")).unwrap();
    run(
        &dir,
        "mkdir d; echo x > ../escaped; cd d; tar -cPf ../up.tar ../../escaped
         ln -s /etc way; tar -cf ../way.tar way; rm way; mkdir way; echo x > way/x; tar -rf ../way.tar way/x
         rm -r way; echo x > ok; tar -cf ../ok.tar ok; : > ../empty; echo text > ../text
         zip -q ../up.zip ../../escaped; rm ../../escaped",
    );
    let before = listing(&project.out(""));
    for (task, word) in [
        (
            "src: up.tar, dest: '{{ base }}/dest'",
            "leads out of `dest`",
        ),
        (
            "src: way.tar, dest: '{{ base }}/dest'",
            "leads out of `dest`",
        ),
        (
            "src: up.zip, dest: '{{ base }}/dest'",
            "leads out of `dest`",
        ),
        ("src: empty, dest: '{{ base }}/dest'", "the file is 0 bytes"),
        (
            "src: text, dest: '{{ base }}/dest'",
            "Failed to find handler",
        ),
        (
            "src: ok.tar, dest: '{{ base }}/none'",
            "must be an existing dir",
        ),
        (
            "src: ok.tar, dest: '{{ base }}/dest', extra_opts: [-P]",
            "would let the archive write out",
        ),
        (
            "src: ok.tar, dest: '{{ base }}/dest', include: [a], exclude: [b]",
            "mutually exclusive",
        ),
        (
            "src: /no/such, dest: '{{ base }}/dest', remote_src: true",
            "does not exist",
        ),
    ] {
        let run = project.run(&format!("- unarchive: {{{task}}}"), &[]);
        assert_eq!(run.code, Some(2), "{}", run.said);
        assert!(run.said.contains(word), "{word}: {}", run.said);
        assert!(listing(&project.out("")) == before, "{}", run.said);
    }
}

#[test]
fn the_same_files_are_packed_once() {
    let project = Project::new();
    let base = project.out("");
    run(
        &base,
        "mkdir -p src/sub pack; echo one > 'src/a b'; echo two > src/sub/b; echo three > src/sub/c.log; echo four > single",
    );
    let tasks = "
- archive: {path: '{{ base }}/src', dest: '{{ base }}/pack/s.tgz', mode: '0600', exclusion_patterns: ['*.log']}
  register: whole
- archive: {path: ['{{ base }}/src/a b', '{{ base }}/src/s*', '{{ base }}/none'], dest: '{{ base }}/pack/s.tar', format: tar, exclude_path: ['{{ base }}/src/sub/c*']}
  register: part
- archive: {path: '{{ base }}/src/', dest: '{{ base }}/pack/s.zip', format: zip}
- community.general.archive: {path: '{{ base }}/src', dest: '{{ base }}/pack/s.xz', format: xz}
- archive: {path: '{{ base }}/single', format: bz2}
  register: single
- archive: {path: '{{ base }}/single', dest: '{{ base }}/pack/forced', force_archive: true}
- archive: {path: '{{ base }}/*.none', dest: '{{ base }}/pack/never'}
  ignore_errors: true
  register: never
";
    let run = project.converges(tasks, 6);
    let whole = &run.results["whole"];
    let under = |name: &str| project.out(name).display().to_string();
    assert_eq!(
        json!([
            whole["archived"],
            whole["arcroot"],
            whole["dest"],
            whole["state"],
            whole["dest_state"],
            whole["mode"]
        ]),
        json!([
            [
                under("src"),
                under("src/a b"),
                under("src/sub"),
                under("src/sub/b")
            ],
            format!("{}/", base.display().to_string().trim_end_matches('/')),
            under("pack/s.tgz"),
            "archive",
            "archive",
            "0600"
        ])
    );
    assert_eq!(
        json!([
            run.results["part"]["missing"],
            run.results["part"]["state"],
            run.results["single"]["state"]
        ]),
        json!([[under("none")], "incomplete", "compress"])
    );
    assert!(
        run.results["never"]["msg"]
            .as_str()
            .unwrap()
            .contains("no source paths"),
        "{}",
        run.said
    );
    std::fs::create_dir(project.out("back")).unwrap();
    self::run(
        &base,
        "cd back; mkdir 1 2 3 4 5; tar -xzf ../pack/s.tgz -C 1; tar -xf ../pack/s.tar -C 2; unzip -q ../pack/s.zip -d 3
         tar -xJf ../pack/s.xz -C 4; tar -xzf ../pack/forced -C 5; bzip2 -dc ../single.bz2 > single",
    );
    assert_eq!(project.read("back/1/src/a b"), "one\n");
    assert!(!project.out("back/1/src/sub/c.log").exists());
    assert_eq!(project.read("back/2/sub/b"), "two\n");
    assert!(!project.out("back/2/sub/c.log").exists());
    for name in ["3/sub/c.log", "4/src/sub/c.log"] {
        assert_eq!(project.read(&format!("back/{name}")), "three\n");
    }
    assert_eq!(project.read("back/5/single"), "four\n");
    assert_eq!(project.read("back/single"), "four\n");
    // Another content is another archive.
    std::fs::write(project.out("src/a b"), "other").unwrap();
    assert_eq!(project.run(tasks, &[]).count("changed"), 4);
}

#[test]
fn what_was_packed_is_removed_and_nothing_else() {
    let project = Project::new();
    let base = project.out("");
    run(
        &base,
        "mkdir -p all part/sub; echo 1 > all/x; echo 2 > part/x; echo 3 > part/sub/y",
    );
    let tasks = "
- archive: {path: '{{ base }}/all', dest: '{{ base }}/all.tgz', remove: true}
- archive: {path: '{{ base }}/part', dest: '{{ base }}/part.tgz', remove: true, exclusion_patterns: [y]}
";
    let check = project.run(tasks, &["--check"]);
    assert_eq!(check.count("changed"), 2, "{}", check.said);
    assert!(project.out("all/x").exists());
    let run = project.run(tasks, &[]);
    assert_eq!(run.code, Some(0), "{}", run.said);
    assert!(!project.out("all").exists() && !project.out("part/x").exists());
    assert_eq!(project.read("part/sub/y"), "3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_go_to_other_machines() {
    let sshd = Sshd::start(&[std::net::Ipv4Addr::LOCALHOST], None);
    let dir = tempfile::tempdir().unwrap();
    packed(dir.path());
    for name in ["tar", "zip"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    symlink("nowhere", dir.path().join("tar/other")).unwrap();
    let mut inventory = json!({"all": {"hosts": {"one": {"ansible_host": "127.0.0.1"}}}});
    inventory["all"]["vars"] = sshd.variables();
    let playbook = format!(
        "
- hosts: all
  gather_facts: false
  vars: {{base: '{}'}}
  tasks:
    - unarchive: {{src: 't.{{{{ item }}}}', dest: '{{{{ base }}}}/{{{{ item }}}}', mode: 'u=rwX,go=rX'}}
      loop: [tar, zip]
      register: first
    - unarchive: {{src: 't.{{{{ item }}}}', dest: '{{{{ base }}}}/{{{{ item }}}}', mode: 'u=rwX,go=rX'}}
      loop: [tar, zip]
      register: again
    - archive: {{path: '{{{{ base }}}}/box', dest: '{{{{ base }}}}/back.{{{{ item }}}}', format: '{{{{ item }}}}'}}
      loop: [gz, zip]
      register: packed
    - archive: {{path: '{{{{ base }}}}/box', dest: '{{{{ base }}}}/back.{{{{ item }}}}', format: '{{{{ item }}}}'}}
      loop: [gz, zip]
      register: same
    - assert:
        that:
          - first is changed and again is not changed
          - packed is changed and same is not changed
",
        dir.path().display()
    );
    let (output, said) = play(dir.path(), &inventory, &playbook).await;
    assert!(output.status.success(), "{said}\n{}", sshd.log());
    for kind in ["tar", "zip"] {
        let path = dir.path().join(kind).join("sub/run");
        assert_eq!(std::fs::read(&path).unwrap(), b"two\n");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }
}
