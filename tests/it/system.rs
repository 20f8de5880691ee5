//! `cron` and `hostname`: with a stand-in for `crontab` and `hostnamectl` that keeps files, and with the real `hostname` in
//! namespaces of its own, so that this machine keeps its name.

use super::files::Project;

const CRONTAB: &str = r#"#!/bin/sh
u=$(id -un); if [ "$1" = -u ]; then u=$2; shift 2; fi
f=BASE/tab-$u
case $1 in
-l) if [ -e "$f" ]; then cat "$f"; else echo "no crontab for $u" >&2; exit 1; fi ;;
-) cat > "$f" ;;
*) exit 2 ;;
esac
"#;

#[test]
fn crontabs_get_their_entries() {
    let project = Project::new();
    let base = project.out("x").parent().unwrap().display().to_string();
    project.program("crontab", &CRONTAB.replace("BASE", &base));
    std::fs::write(
        project.out("tab-web"),
        "# by hand\nA=\"1\"\n#Ansible: old\n0 1 * * * old\n5 5 * * * known\n",
    )
    .unwrap();
    std::fs::write(project.out("only"), "#Ansible: last\n* * * * * root x\n").unwrap();
    let tasks = r#"
- cron: {name: backup, hour: 3, minute: "*/5", job: "backup > /dev/null", user: web}
  register: backup
- cron: {name: known, minute: 5, hour: 5, job: known, user: web}
- cron: {name: old, state: absent, user: web}
- cron: {name: B, env: true, value: two, insertafter: A, user: web}
  register: env
- cron: {name: mine, special_time: daily, job: mine, disabled: true}
- cron: {name: report, special_time: reboot, job: report, user: root, cron_file: "{{ base }}/report"}
  register: file
- cron: {name: last, state: absent, cron_file: "{{ base }}/only"}
- cron: {name: none, state: absent, cron_file: "{{ base }}/none"}
  register: nothing
"#;
    let run = project.converges(tasks, 7);
    assert_eq!(
        project.read("tab-web"),
        "# by hand\nA=\"1\"\nB=\"two\"\n#Ansible: known\n5 5 * * * known\n#Ansible: backup\n*/5 3 * * * backup > /dev/null\n"
    );
    assert_eq!(
        project.read("report"),
        "#Ansible: report\n@reboot root report\n"
    );
    assert_eq!(project.mode("report"), 0o644);
    assert!(!project.out("only").exists());
    let results = &run.results;
    assert_eq!(
        results["backup"]["jobs"],
        serde_json::json!(["old", "backup"])
    );
    assert_eq!(results["env"]["envs"], serde_json::json!(["A", "B"]));
    assert_eq!(
        results["file"]["cron_file"],
        project.out("report").to_str().unwrap()
    );
    assert_eq!(results["nothing"]["changed"], false);
    let kept = project.run(
        "- cron: {name: backup, job: other, user: web, backup: true}\n  register: kept",
        &[],
    );
    let backup = kept.results["kept"]["backup_file"].as_str().unwrap();
    assert!(
        std::fs::read_to_string(backup)
            .unwrap()
            .contains("*/5 3 * * * backup")
    );
    std::fs::remove_file(backup).unwrap();
}

const HOSTNAMECTL: &str = r#"#!/bin/sh
f=BASE/name$1
if [ "$2" = status ]; then cat "$f" 2>/dev/null; exit 0; fi
[ "$2" = set-hostname ] || exit 1
echo "$1 $3" >> BASE/calls
echo "$3" > "$f"
"#;

#[test]
fn systemd_sets_all_names_of_the_host() {
    let project = Project::new();
    let base = project.out("x").parent().unwrap().display().to_string();
    project.program("hostnamectl", &HOSTNAMECTL.replace("BASE", &base));
    std::fs::write(project.out("name--transient"), "localhost\n").unwrap();
    let run = project.converges(
        "- hostname: {name: web.example.com, use: systemd}\n  register: done\n- assert: {that: [ansible_hostname == 'web']}",
        1,
    );
    assert_eq!(
        project.read("calls"),
        "--transient web.example.com\n--pretty web.example.com\n--static web.example.com\n"
    );
    assert_eq!(run.results["done"]["name"], "web.example.com");
    assert_eq!(
        run.results["done"]["ansible_facts"]["ansible_nodename"],
        "web.example.com"
    );
}

#[test]
fn the_file_and_the_kernel_have_the_name_without_systemd() {
    let project = Project::new();
    let etc = project.out("etc");
    std::fs::create_dir(&etc).unwrap();
    for file in ["passwd", "group", "nsswitch.conf"] {
        std::fs::copy(format!("/etc/{file}"), etc.join(file)).unwrap();
    }
    let line = format!("mount --bind {} /etc && exec \"$@\"", etc.display());
    let project = project.inside(&["unshare", "--mount", "--uts", "/bin/sh", "-c", &line, "sh"]);
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let tasks = r"
- hostname: {name: db-1, use: generic}
  register: first
- hostname: {name: db-1, use: generic}
  register: second
- command: uname -n
  register: name
";
    let run = project.run(tasks, &[]);
    assert_eq!(run.code, Some(0), "{}", run.said);
    assert_eq!(run.results["first"]["changed"], true);
    assert_eq!(run.results["second"]["changed"], false, "{}", run.said);
    assert_eq!(run.results["name"]["stdout"], "db-1");
    assert_eq!(project.read("etc/hostname"), "db-1\n");
    assert_eq!(
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        before
    );
}
