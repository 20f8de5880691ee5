//! The file modules of Ansible's core, as playbooks use them: each run twice on this machine, and in check mode, and
//! what their results say.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// A folder with a playbook in it. `{{ base }}` is the folder that its tasks write to.
pub struct Project {
    dir: tempfile::TempDir,
    /// The words of a program that runs layerplay.
    wrapper: Vec<String>,
}

/// How a run went.
pub struct Run {
    pub said: String,
    pub code: Option<i32>,
    /// What the tasks registered.
    pub results: Value,
}

impl Run {
    /// The number of one column of the recap.
    pub fn count(&self, column: &str) -> u32 {
        let recap = self.said.rsplit("PLAY RECAP").next().unwrap();
        let (_, rest) = recap.split_once(&format!("{column}=")).unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Project {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["files/tree/sub/empty", "templates", "out"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let wrapper = Vec::new();
        let project = Self { dir, wrapper };
        project.source("files/one.txt", "one\n", 0o640);
        project.source("files/tree/a", "a\n", 0o644);
        project.source("files/tree/sub/b c", "b\n", 0o755);
        symlink("a", project.dir.path().join("files/tree/link")).unwrap();
        project.source("templates/page.j2", "for {{ who }}\n", 0o604);
        project
    }

    /// Runs layerplay by another program.
    pub fn inside(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(ToString::to_string).collect();
        self
    }

    /// Puts a program in front of those of this machine.
    pub fn program(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.dir.path().join("bin")).unwrap();
        self.source(&format!("bin/{name}"), text, 0o755);
    }

    pub fn source(&self, name: &str, text: &str, mode: u32) {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join("out").join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.out(name)).unwrap()
    }

    pub fn mode(&self, name: &str) -> u32 {
        let meta = std::fs::symlink_metadata(self.out(name)).unwrap();
        meta.permissions().mode() & 0o7777
    }

    /// Runs tasks; those that `register: NAME` give their results back.
    pub fn run(&self, tasks: &str, options: &[&str]) -> Run {
        self.run_with(tasks, options, &std::env::var("PATH").unwrap())
    }

    /// The same with other programs.
    pub fn run_with(&self, tasks: &str, options: &[&str], path: &str) -> Run {
        let results = self.dir.path().join("results.json");
        let names: Vec<&str> = tasks
            .lines()
            .filter_map(|line| line.trim().strip_prefix("register: "))
            .collect();
        let pairs: Vec<String> = names
            .iter()
            .map(|name| format!("          {name}: \"{{{{ {name} }}}}\"\n"))
            .collect();
        let pairs = pairs.concat();
        let tasks = tasks.trim().replace('\n', "\n    ");
        let tasks = format!("    {tasks}\n");
        let save = format!(
            "    - copy:\n        dest: {}\n        content:\n          saved: true\n{pairs}      check_mode: false\n      changed_when: false\n      diff: false\n",
            results.display()
        );
        let play = format!(
            "- hosts: localhost\n  gather_facts: false\n  vars:\n    base: {}\n    who: you\n    hidden: \"{{{{ 'hidden-' ~ 'text' }}}}\"\n  tasks:\n{tasks}{save}",
            self.dir.path().join("out").display()
        );
        let playbook = self.dir.path().join("play.yml");
        std::fs::write(&playbook, &play).unwrap();
        let mut words = self.wrapper.clone();
        words.push(env!("CARGO_BIN_EXE_layerplay").to_owned());
        let output = Command::new(&words[0])
            .args(&words[1..])
            .args(["run", "--format", "ansible", "-i", "localhost,"])
            .args(options)
            .arg(&playbook)
            .env("PATH", format!("{}/bin:{path}", self.dir.path().display()))
            .output()
            .unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let results = std::fs::read(&results)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Run {
            said,
            code: output.status.code(),
            results,
        }
    }

    /// Check mode says what changes and changes nothing; a run changes it; a second run changes nothing.
    pub fn converges(&self, tasks: &str, changes: u32) -> Run {
        let out = self.dir.path().join("out");
        let before = listing(&out);
        let check = self.run(tasks, &["--check"]);
        assert_eq!(check.code, Some(0), "{}", check.said);
        assert_eq!(check.count("changed"), changes, "{}", check.said);
        assert!(listing(&out) == before, "check mode wrote: {}", check.said);
        let first = self.run(tasks, &[]);
        assert_eq!(first.code, Some(0), "{}", first.said);
        assert_eq!(first.count("changed"), changes, "{}", first.said);
        let made = listing(&out);
        let second = self.run(tasks, &[]);
        assert_eq!(second.code, Some(0), "{}", second.said);
        assert_eq!(second.count("changed"), 0, "{}", second.said);
        assert!(listing(&out) == made, "{}", second.said);
        first
    }
}

/// Every path below a folder, with its mode and content.
pub fn listing(dir: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut all = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_file() {
                std::fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            if meta.is_dir() {
                open.push(path.clone());
            }
            all.push((path, meta.permissions().mode(), content));
        }
    }
    all.sort();
    all
}

#[test]
fn copy_writes_a_file_once_and_says_what_is_there() {
    let project = Project::new();
    let tasks = r#"
- copy: {src: one.txt, dest: "{{ base }}/plain"}
  register: plain
- copy: {src: one.txt, dest: "{{ base }}/exact", mode: preserve}
  register: exact
- copy: {src: one.txt, dest: "{{ base }}/deep/er/", mode: u=rw, directory_mode: "0711"}
  register: deep
- copy: {content: "{{ who }}\n", dest: "{{ base }}/text", mode: "0600"}
  register: text
- copy: {content: {b: [1, "é"]}, dest: "{{ base }}/json"}
- copy: {content: good, dest: "{{ base }}/valid", validate: "grep -q good %s"}
- copy: {src: one.txt, dest: "{{ base }}"}
"#;
    let run = project.converges(tasks, 7);
    assert_eq!(project.read("plain"), "one\n");
    assert_eq!(project.read("text"), "you\n");
    assert_eq!(project.read("json"), r#"{"b": [1, "\u00e9"]}"#);
    assert_eq!(project.read("one.txt"), "one\n");
    assert_eq!(
        (project.mode("exact"), project.mode("text")),
        (0o640, 0o600)
    );
    assert_eq!(
        (project.mode("deep"), project.mode("deep/er")),
        (0o711, 0o711)
    );
    let plain = &run.results["plain"];
    assert_eq!(plain["dest"], json!(project.out("plain")));
    assert_eq!(
        plain["checksum"],
        "c7059bb19433cc3cabaa6236c83d56668a843dd2"
    );
    assert_eq!(plain["md5sum"], "5bbf5a52328e7439ae6e719dfe712200");
    assert_eq!(
        (&plain["state"], &plain["size"]),
        (&json!("file"), &json!(4))
    );
    assert_eq!(run.results["exact"]["mode"], "0640");
    assert_eq!(run.results["text"]["mode"], "0600");
    assert_eq!(
        run.results["deep"]["dest"],
        json!(project.out("deep/er/one.txt"))
    );
}

#[test]
fn copy_keeps_replaces_backs_up_and_follows_as_told() {
    let project = Project::new();
    std::fs::write(project.out("theirs"), "theirs").unwrap();
    std::fs::write(project.out("kept"), "kept").unwrap();
    std::fs::write(project.out("target"), "target").unwrap();
    let mode = std::fs::Permissions::from_mode(0o4711);
    std::fs::set_permissions(project.out("theirs"), mode).unwrap();
    symlink("target", project.out("link")).unwrap();
    symlink("target", project.out("gone")).unwrap();
    let tasks = r#"
- copy: {content: mine, dest: "{{ base }}/theirs", backup: true}
  register: theirs
- copy: {content: mine, dest: "{{ base }}/kept", force: false}
- copy: {content: through, dest: "{{ base }}/link", follow: true}
- copy: {content: over, dest: "{{ base }}/gone"}
"#;
    let run = project.converges(tasks, 3);
    assert_eq!(project.read("theirs"), "mine");
    assert_eq!(project.mode("theirs"), 0o4711, "a file keeps its mode");
    assert_eq!(run.results["theirs"]["mode"], "04711");
    let backup = run.results["theirs"]["backup_file"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(backup).unwrap(), "theirs");
    assert_eq!(project.read("kept"), "kept");
    assert_eq!(project.read("target"), "through");
    assert!(project.out("link").is_symlink() && !project.out("gone").is_symlink());
    assert_eq!(project.read("gone"), "over");
}

#[test]
fn copy_brings_whole_folders_from_here_and_from_the_host() {
    let project = Project::new();
    let tasks = r#"
- copy: {src: tree, dest: "{{ base }}/one"}
  register: one
- copy: {src: tree/, dest: "{{ base }}/two", mode: "0600", directory_mode: "0700", local_follow: false}
"#;
    let run = project.converges(tasks, 2);
    assert_eq!(project.read("one/tree/sub/b c"), "b\n");
    assert_eq!(project.read("one/tree/link"), "a\n");
    assert!(project.out("one/tree/sub/empty").is_dir());
    assert!(!project.out("one/tree/link").is_symlink());
    assert!(project.out("two/link").is_symlink());
    assert_eq!(
        (project.mode("two/sub"), project.mode("two/a")),
        (0o700, 0o600)
    );
    assert_eq!(
        run.results["one"]["dest"],
        json!(format!("{}/", project.out("one").display()))
    );

    let tasks = r#"
- copy: {src: "{{ base }}/two/", dest: "{{ base }}/three", remote_src: true}
- copy: {src: "{{ base }}/two/a", dest: "{{ base }}/four", remote_src: true}
  register: four
"#;
    let run = project.converges(tasks, 2);
    assert_eq!(project.read("three/sub/b c"), "b\n");
    assert_eq!(
        (project.mode("three/a"), project.mode("four")),
        (0o600, 0o600)
    );
    assert_eq!(
        run.results["four"]["md5sum"],
        "60b725f10c9c85c70d97880dfe8191b3"
    );
}

#[test]
fn what_copy_refuses_leaves_everything_as_it_is() {
    let project = Project::new();
    std::fs::create_dir(project.out("folder")).unwrap();
    std::fs::write(project.out("file"), "as it was").unwrap();
    let before = listing(&project.dir.path().join("out"));
    let tasks = r#"
- copy: {content: "{{ hidden }}", dest: "{{ base }}/file", validate: "grep -q good %s"}
  register: invalid
  ignore_errors: true
- copy: {content: "{{ hidden }}", dest: "{{ base }}/no/such/folder"}
  register: nowhere
  ignore_errors: true
- copy: {content: "{{ hidden }}", dest: "{{ base }}/folder"}
  register: folder
  ignore_errors: true
- copy: {content: "{{ hidden }}", dest: "{{ base }}/file", owner: no-such-user}
  register: owner
  ignore_errors: true
- copy: {content: "{{ hidden }}", dest: "{{ base }}/file", attributes: +i}
  register: flags
  ignore_errors: true
- copy: {src: one.txt, content: "{{ hidden }}", dest: "{{ base }}/file"}
  register: both
  ignore_errors: true
- copy: {src: one.txt, dest: "{{ base }}/file", checksum: "0000"}
  register: sum
  ignore_errors: true
- copy: {src: "{{ base }}/nothing", dest: "{{ base }}/file", remote_src: true}
  register: source
  ignore_errors: true
"#;
    let run = project.run(tasks, &[]);
    assert_eq!(run.count("ignored"), 8, "{}", run.said);
    assert_eq!(listing(&project.dir.path().join("out")), before);
    assert!(!run.said.contains("hidden-text"), "{}", run.said);
    let said = |name: &str| run.results[name]["msg"].as_str().unwrap().to_owned();
    assert_eq!(said("invalid"), "failed to validate");
    assert_eq!(run.results["invalid"]["exit_status"], 1);
    assert!(said("nowhere").contains("Destination directory"));
    assert!(said("folder").starts_with("can not use content with a dir as dest"));
    assert!(said("owner").contains("no-such-user"));
    assert!(said("flags").contains("`attributes`"));
    assert_eq!(said("both"), "src and content are mutually exclusive");
    assert!(said("sum").contains("checksum"));
    assert!(said("source").contains("not found"));
}

#[test]
fn a_vault_is_never_copied_by_accident() {
    let project = Project::new();
    let vault = "$ANSIBLE_VAULT;1.1;AES256\n61\n";
    project.source("files/secret", vault, 0o600);
    project.source("templates/secret", vault, 0o600);
    let tasks = r#"
- copy: {src: secret, dest: "{{ base }}/closed"}
  ignore_errors: true
- template: {src: secret, dest: "{{ base }}/closed"}
  ignore_errors: true
- copy: {src: secret, dest: "{{ base }}/as-it-is", decrypt: false}
"#;
    let run = project.run(tasks, &[]);
    assert_eq!(run.count("ignored"), 2, "{}", run.said);
    assert!(!project.out("closed").exists());
    assert_eq!(project.read("as-it-is"), vault);
}

#[test]
fn a_template_is_rendered_and_put_in_place() {
    let project = Project::new();
    let tasks = r#"
- template: {src: page.j2, dest: "{{ base }}/page", mode: "0640"}
  register: page
- template: {src: page.j2, dest: "{{ base }}/kept", mode: preserve}
- template: {src: page.j2, dest: "{{ base }}/dos", newline_sequence: '\r\n'}
"#;
    let run = project.converges(tasks, 3);
    assert_eq!(project.read("page"), "for you\n");
    assert_eq!(project.read("dos"), "for you\r\n");
    assert_eq!((project.mode("page"), project.mode("kept")), (0o640, 0o604));
    let page = &run.results["page"];
    assert_eq!((&page["mode"], &page["size"]), (&json!("0640"), &json!(8)));
    assert!(page["src"].as_str().unwrap().ends_with("templates/page.j2"));
}

#[test]
fn a_difference_is_shown_as_text() {
    let project = Project::new();
    std::fs::write(project.out("page"), "for me\n").unwrap();
    let tasks = r#"
- template: {src: page.j2, dest: "{{ base }}/page"}
- file: {path: "{{ base }}/page", mode: "0600"}
"#;
    let run = project.run(tasks, &["--diff", "--check"]);
    assert!(run.said.contains("-for me\n+for you\n"), "{}", run.said);
    let mode = "-    \"mode\": \"0644\",\n+    \"mode\": \"0600\",";
    assert!(run.said.contains(mode), "{}", run.said);
    assert_eq!(project.read("page"), "for me\n");
}

#[test]
fn file_makes_links_and_sets_rights() {
    let project = Project::new();
    std::fs::write(project.out("plain"), "").unwrap();
    std::fs::create_dir_all(project.out("old/inner")).unwrap();
    std::fs::write(project.out("old/inner/file"), "").unwrap();
    let tasks = r#"
- file: {path: "{{ base }}/a/b/c", state: directory, mode: "0750"}
  register: folder
- file: {path: "{{ base }}/plain", mode: g+w}
  register: plain
- file: {path: "{{ base }}/link", state: link, src: plain}
  register: link
- file: {dest: "{{ base }}/far", state: link, src: nowhere, force: true}
- file: {path: "{{ base }}/hard", state: hard, src: "{{ base }}/plain"}
  register: hard
- file: {path: "{{ base }}/touched", state: touch, access_time: preserve, modification_time: preserve}
- file: {name: "{{ base }}/old", state: directory, recurse: true, mode: "u=rwX,go="}
"#;
    // In check mode the source of the second link is there already.
    let run = project.converges(tasks, 7);
    assert_eq!((project.mode("a"), project.mode("a/b/c")), (0o750, 0o750));
    assert_eq!(project.mode("plain"), 0o664);
    assert_eq!(
        std::fs::read_link(project.out("link")).unwrap(),
        Path::new("plain")
    );
    assert!(project.out("far").is_symlink());
    assert!(project.out("touched").is_file());
    assert_eq!(
        (project.mode("old/inner"), project.mode("old/inner/file")),
        (0o700, 0o600)
    );
    let results = &run.results;
    assert_eq!(results["folder"]["path"], json!(project.out("a/b/c")));
    assert_eq!(results["folder"]["state"], "directory");
    assert_eq!(results["plain"]["mode"], "0664");
    assert_eq!(
        (&results["link"]["state"], &results["link"]["src"]),
        (&json!("link"), &json!("plain"))
    );
    assert_eq!(results["hard"]["state"], "hard");

    let tasks = r#"
- file: {path: "{{ base }}/old", state: absent}
  register: old
- file: {path: "{{ base }}/link", state: absent}
"#;
    let run = project.converges(tasks, 2);
    assert_eq!(run.results["old"]["state"], "absent");
    assert!(!project.out("old").exists() && project.out("plain").exists());
}

#[test]
fn touch_changes_always_unless_times_are_kept() {
    let project = Project::new();
    let tasks = r#"
- file: {path: "{{ base }}/f", state: touch}
- file: {path: "{{ base }}/f", state: touch, access_time: preserve, modification_time: "200001020304.05"}
"#;
    for _ in 0..2 {
        let run = project.run(tasks, &[]);
        assert_eq!(run.count("changed"), 2, "{}", run.said);
    }
}

#[test]
fn what_file_refuses_leaves_everything_as_it_is() {
    let project = Project::new();
    std::fs::create_dir_all(project.out("full/inner")).unwrap();
    std::fs::write(project.out("plain"), "text").unwrap();
    let before = listing(&project.dir.path().join("out"));
    let tasks = r#"
- file: {path: "{{ base }}/missing", state: file}
  register: missing
  ignore_errors: true
- file: {path: "{{ base }}/plain", state: directory}
  register: folder
  ignore_errors: true
- file: {path: "{{ base }}/link", state: link, src: nowhere}
  register: nowhere
  ignore_errors: true
- file: {path: "{{ base }}/plain", state: link, src: full}
  register: plain
  ignore_errors: true
- file: {path: "{{ base }}/full", state: link, src: inner, force: true}
  register: full
  ignore_errors: true
- file: {path: "{{ base }}/hard", state: hard}
  register: hard
  ignore_errors: true
- file: {path: "{{ base }}/plain", state: file, recurse: true}
  register: recurse
  ignore_errors: true
- file: {path: /, state: absent}
  register: root
  ignore_errors: true
"#;
    let run = project.run(tasks, &[]);
    assert_eq!(run.count("ignored"), 8, "{}", run.said);
    assert_eq!(listing(&project.dir.path().join("out")), before);
    for (name, words) in [
        ("missing", "is absent, cannot continue"),
        ("folder", "already exists as a file"),
        ("nowhere", "src file does not exist"),
        ("plain", "refusing to convert from file to symlink"),
        ("full", "is not empty, refusing to convert it"),
        ("hard", "src is required for creating new hardlinks"),
        ("recurse", "recurse option requires state to be 'directory'"),
        ("root", "is not removed"),
    ] {
        let said = run.results[name]["msg"].as_str().unwrap();
        assert!(said.contains(words), "{name}: {said}");
    }
}

#[test]
fn looking_changes_nothing_and_tells_what_is_there() {
    let project = Project::new();
    std::fs::write(project.out("file"), "one\n").unwrap();
    symlink("file", project.out("link")).unwrap();
    let tasks = r#"
- ping:
  register: pong
- ping: {data: crash}
  register: crash
  ignore_errors: true
- stat: {path: "{{ base }}/file"}
  register: file
- stat: {path: "{{ base }}/link", checksum_algorithm: sha256, follow: true}
  register: followed
- stat: {path: "{{ base }}/link"}
  register: link
- stat: {path: "{{ base }}/nothing"}
  register: nothing
- slurp: {src: "{{ base }}/file"}
  register: slurped
- wait_for: {path: "{{ base }}/file", search_regex: "^o(?P<rest>..)$"}
  register: waited
- wait_for: {path: "{{ base }}/file", state: absent, timeout: 0}
  register: never
  ignore_errors: true
"#;
    let run = project.run(tasks, &[]);
    assert_eq!(
        (run.code, run.count("changed")),
        (Some(0), 0),
        "{}",
        run.said
    );
    let results = &run.results;
    assert_eq!(results["pong"]["ping"], "pong");
    assert_eq!(results["crash"]["failed"], true);
    let file = &results["file"]["stat"];
    for (key, value) in [
        ("exists", json!(true)),
        ("isreg", json!(true)),
        ("islnk", json!(false)),
        ("mode", json!("0644")),
        ("size", json!(4)),
        ("nlink", json!(1)),
        ("rusr", json!(true)),
        ("xoth", json!(false)),
        ("readable", json!(true)),
        (
            "checksum",
            json!("c7059bb19433cc3cabaa6236c83d56668a843dd2"),
        ),
    ] {
        assert_eq!(file[key], value, "{key}");
    }
    let sha256 = "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806";
    assert_eq!(results["followed"]["stat"]["checksum"], sha256);
    assert_eq!(results["link"]["stat"]["lnk_target"], "file");
    assert_eq!(
        results["link"]["stat"]["lnk_source"],
        json!(project.out("file"))
    );
    assert_eq!(results["nothing"]["stat"], json!({"exists": false}));
    assert_eq!(results["slurped"]["content"], "b25lCg==");
    assert_eq!(results["waited"]["match_groupdict"], json!({"rest": "ne"}));
    let never = results["never"]["msg"].as_str().unwrap();
    assert!(never.starts_with("Timeout when waiting for"), "{never}");
}

#[test]
fn a_temporary_folder_is_made_each_time_and_never_in_check_mode() {
    let project = Project::new();
    let tasks = r#"
- tempfile: {path: "{{ base }}", state: directory, suffix: .x}
  register: made
"#;
    let check = project.run(tasks, &["--check"]);
    assert_eq!(check.count("skipped"), 1, "{}", check.said);
    assert_eq!(listing(&project.out("")), []);
    let run = project.run(tasks, &[]);
    let path = PathBuf::from(run.results["made"]["path"].as_str().unwrap());
    assert!(path.is_dir() && path.starts_with(project.out("")));
}

#[test]
fn creates_and_removes_take_a_path_with_spaces() {
    let project = Project::new();
    std::fs::write(project.out("a b"), "").unwrap();
    let tasks = r#"
- command: {argv: [touch, "{{ base }}/ran"], creates: "{{ base }}/a b"}
- command: {argv: [touch, "{{ base }}/ran"], creates: "{{ base }}/a*"}
- command: {argv: [touch, "{{ base }}/ran"], removes: "{{ base }}/c d"}
"#;
    let run = project.run(tasks, &[]);
    assert_eq!(
        (run.code, run.count("changed")),
        (Some(0), 0),
        "{}",
        run.said
    );
    assert!(!project.out("ran").exists());
}
