//! `dnf` and `package` with stand-ins for `dnf` and `rpm` that keep packages in a folder; `apt` with the real `apt-get` and
//! `dpkg` on a root and a repository of its own.

use std::path::Path;
use std::process::Command;

use super::files::Project;

/// `$db` has what is installed, `$repo` what can be had: a file a package, with its version.
const RPM: &str = r#"#!/bin/sh
db=BASE/db
all=; qf=; provides=
while [ $# -gt 0 ]; do case $1 in
-qa) all=y ;;
--qf) qf=y; shift ;;
--whatprovides) provides=y ;;
--) ;;
-*) ;;
*) name=$1 ;;
esac; shift; done
cd $db || exit
if [ -n "$qf" ]; then for f in *; do [ -e "$f" ] && echo "$f-$(cat "$f").x86_64"; done; exit 0; fi
if [ -n "$all" ]; then ls -d $name 2>/dev/null; exit 0; fi
[ -n "$provides" ] && exit 1
[ -e "$name" ] || for f in *; do [ "$f-$(cat "$f")" = "$name" ] && exit 0; done; [ -e "$name" ]
"#;

const DNF: &str = r#"#!/bin/sh
db=BASE/db repo=BASE/repo
no=; verb=; names=
for word; do case $word in
--assumeno) no=y ;;
-*) ;;
*) if [ -z "$verb" ]; then verb=$word; else names="$names $word"; fi ;;
esac; done
[ -n "$no" ] || echo "$*" >> BASE/calls
work=
case $verb in
makecache) exit 0 ;;
install|upgrade)
[ "$verb$names" = upgrade ] && names=$(cd $db; ls)
for n in $names; do
if [ ! -e $repo/$n ]; then [ $verb = upgrade ] && continue; echo "No match for argument: $n"; echo "Error: Unable to find a match: $n" >&2; exit 1; fi
if [ -e $db/$n ]; then [ $verb = install ] && continue; [ "$(cat $db/$n)" = "$(cat $repo/$n)" ] && continue; fi
[ "$(cat $repo/$n)" = 0-1 ] && echo "Downgrading:"
work="$work $n"
done ;;
remove) work=$names ;;
esac
if [ -z "$work" ]; then echo "Nothing to do."; exit 0; fi
if [ -n "$no" ]; then echo "Operation aborted." >&2; exit 1; fi
for n in $work; do if [ $verb = remove ]; then rm $db/$n; else cp $repo/$n $db/$n; fi; done
echo Complete!
"#;

/// A host with RPM packages.
fn rpm_host(installed: &[&str], to_be_had: &[&str]) -> Project {
    let project = Project::new();
    let base = project.out("").display().to_string();
    let base = base.trim_end_matches('/');
    for (folder, packages) in [("db", installed), ("repo", to_be_had)] {
        std::fs::create_dir(project.out(folder)).unwrap();
        for package in packages {
            let (name, version) = package.split_once('-').unwrap();
            std::fs::write(project.out(folder).join(name), format!("{version}\n")).unwrap();
        }
    }
    project.program("rpm", &RPM.replace("BASE", base));
    project.program("dnf", &DNF.replace("BASE", base));
    project
}

#[test]
fn packages_of_rpm_get_the_state_they_should_have() {
    let project = rpm_host(
        &["bash-5-1", "old-1-1", "gone-1-1"],
        &["bash-5-1", "old-2-1", "new-3-1"],
    );
    let tasks = r"
- dnf: {name: [bash, new], enablerepo: extras, disable_gpg_check: true}
  register: new
- ansible.builtin.yum: {name: old, state: latest}
  register: old
- package: {name: gone, state: absent}
  register: gone
- dnf5: {name: bash, state: latest}
  register: same
- package: {name: bash-5-1, state: present}
";
    let run = project.converges(tasks, 3);
    let results = &run.results;
    assert_eq!(
        results["new"]["results"],
        serde_json::json!(["Installed: new-3-1.x86_64"])
    );
    assert_eq!(
        results["old"]["results"],
        serde_json::json!(["Installed: old-2-1.x86_64", "Removed: old-1-1.x86_64"])
    );
    assert_eq!(
        results["gone"]["results"],
        serde_json::json!(["Removed: gone-1-1.x86_64"])
    );
    assert_eq!(results["same"]["msg"], "Nothing to do");
    assert_eq!(
        project.read("calls"),
        "-y --enablerepo=extras --nogpgcheck install new\n-y upgrade old\n-y remove gone\n"
    );
    let check = project.run("- package: {name: later, state: present}", &["--check"]);
    assert_eq!(check.code, Some(2));
    assert!(
        check.said.contains("No package later available."),
        "{}",
        check.said
    );
}

#[test]
fn an_older_version_is_taken_only_when_that_is_wanted() {
    let project = rpm_host(&["tool-1-1"], &["tool-0-1"]);
    let run = project.run("- dnf: {name: tool, state: latest}", &[]);
    assert_eq!(run.code, Some(2));
    assert!(run.said.contains("allow_downgrade: true"), "{}", run.said);
    project.converges(
        "- dnf: {name: tool, state: latest, allow_downgrade: true}",
        1,
    );
}

#[test]
fn a_host_made_of_an_image_gets_a_layer_instead() {
    let project = rpm_host(&["bash-5-1"], &["new-1-1"]);
    // What rpm-ostree marks such hosts with, in a mount namespace of its own.
    let line = "mount -t tmpfs tmpfs /run && touch /run/ostree-booted && exec \"$@\"";
    let project = project.inside(&["unshare", "--mount", "/bin/sh", "-c", line, "sh"]);
    let there = project.run("- package: {name: bash, state: present}", &[]);
    assert_eq!(there.code, Some(0), "{}", there.said);
    let refused = project.run("- package: {name: new, state: present}", &[]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.said.contains("layered_image"), "{}", refused.said);
    assert!(!project.out("calls").exists());
}

#[test]
fn repositories_are_read_anew() {
    let project = rpm_host(&["a-1-1"], &[]);
    let run = project.run("- dnf: {update_cache: true}\n  register: done", &[]);
    assert_eq!(run.results["done"]["msg"], "Cache updated", "{}", run.said);
    assert_eq!(run.results["done"]["changed"], false);
    assert_eq!(project.read("calls"), "-y --refresh makecache\n");
}

/// Runs a program that must succeed; what it printed.
fn call(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Puts a package into a repository, in place of what was there.
fn publish(root: &Path, version: &str) {
    let repo = root.join("repo");
    let tree = root.join("tree");
    std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    std::fs::create_dir_all(&repo).unwrap();
    let control = format!(
        "Package: greeting\nVersion: {version}\nArchitecture: all\nMaintainer: Nobody <nobody@example.com>\nDescription: says hello\n"
    );
    std::fs::write(tree.join("DEBIAN/control"), &control).unwrap();
    std::fs::create_dir_all(tree.join("usr/share/greeting")).unwrap();
    std::fs::write(tree.join("usr/share/greeting/text"), version).unwrap();
    let file = repo.join("greeting.deb");
    let path = file.to_str().unwrap();
    call(
        "dpkg-deb",
        &[
            "--build",
            "--root-owner-group",
            tree.to_str().unwrap(),
            path,
        ],
    );
    let sum = call("sha256sum", &[path]);
    let entry = format!(
        "{control}Filename: ./greeting.deb\nSize: {}\nSHA256: {}\n",
        std::fs::metadata(&file).unwrap().len(),
        sum.split_whitespace().next().unwrap()
    );
    std::fs::write(repo.join("Packages"), entry).unwrap();
}

#[test]
fn packages_of_debian_get_the_state_they_should_have() {
    let project = Project::new();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for folder in [
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "etc/apt",
        "log",
    ] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    let shown = root.display();
    std::fs::write(
        root.join("etc/apt/sources.list"),
        format!("deb [trusted=yes] file:{shown}/repo ./\n"),
    )
    .unwrap();
    std::fs::write(
        root.join("apt.conf"),
        format!(
            "Dir::State \"{shown}/var/lib/apt\";\nDir::State::status \"{shown}/var/lib/dpkg/status\";\nDir::Cache \"{shown}/var/cache/apt\";\nDir::Etc \"{shown}/etc/apt\";\nDir::Log \"{shown}/log\";\nDPkg::Options {{ \"--root={shown}\"; \"--force-script-chrootless\"; }};\nDPkg::Pre-Install-Pkgs \"\";\n#clear DPkg::Pre-Install-Pkgs;\n#clear DPkg::Post-Invoke;\nAPT::Sandbox::User \"root\";\n"
        ),
    )
    .unwrap();
    let task = |task: &str| {
        format!(
            "- {task}\n  environment: {{APT_CONFIG: {shown}/apt.conf, DPKG_ADMINDIR: {shown}/var/lib/dpkg}}\n  register: done"
        )
    };
    publish(root, "1.0");
    let early = project.run(
        &task("apt: {name: greeting, update_cache: true}"),
        &["--check"],
    );
    assert_eq!(early.count("skipped"), 1, "{}", early.said);
    let missing = project.run(&task("apt: {name: greeting}"), &[]);
    assert!(
        missing
            .said
            .contains("No package matching 'greeting' is available"),
        "{}",
        missing.said
    );
    let first = project.run(&task("apt: {name: greeting, update_cache: true}"), &[]);
    assert_eq!(first.code, Some(0), "{}", first.said);
    assert_eq!(first.results["done"]["changed"], true);
    assert_eq!(first.results["done"]["cache_updated"], true);
    let text = || std::fs::read_to_string(root.join("usr/share/greeting/text")).unwrap_or_default();
    assert_eq!(text(), "1.0");
    let again = project.run(&task("apt: {name: greeting, update_cache: true}"), &[]);
    assert_eq!(again.results["done"]["changed"], false, "{}", again.said);
    let same = project.run(
        &task("package: {name: greeting, state: present, use: apt}"),
        &[],
    );
    assert_eq!(same.results["done"]["changed"], false, "{}", same.said);

    publish(root, "2.0");
    let stays = project.run(
        &task("apt: {name: greeting=1.*, cache_valid_time: 86400}"),
        &[],
    );
    assert_eq!(stays.results["done"]["changed"], false, "{}", stays.said);
    let read = project.run(&task("apt: {update_cache: true}"), &[]);
    assert_eq!(read.code, Some(0), "{}", read.said);
    project.converges(&task("apt: {name: greeting, state: latest}"), 1);
    assert_eq!(text(), "2.0");
    project.converges(
        &task("apt: {name: greeting, state: absent, purge: true}"),
        1,
    );
    assert_eq!(text(), "");
}
