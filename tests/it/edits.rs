//! The modules that edit, fetch and find files, as playbooks use them: each in check mode, then run twice.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::files::{Project, listing};

#[test]
fn lines_are_kept_in_files_and_out_of_them() {
    let project = Project::new();
    std::fs::write(project.out("conf"), "a=1\nb=2\nold\n").unwrap();
    std::fs::write(project.out("open"), "one").unwrap();
    std::fs::write(project.out("target"), "x\n").unwrap();
    symlink("target", project.out("link")).unwrap();
    let tasks = r#"
- lineinfile: {path: "{{ base }}/conf", regexp: ^a=, line: "a={{ who }}", backup: true}
  register: replaced
- ansible.builtin.lineinfile: {dest: "{{ base }}/conf", line: c=3, insertafter: ^b}
  register: added
- lineinfile: {name: "{{ base }}/conf", state: absent, regex: ^old}
  register: removed
- lineinfile: {path: "{{ base }}/new/er/file", line: one, create: true, mode: "0600"}
- lineinfile: {path: "{{ base }}/link", line: y}
- lineinfile: {path: "{{ base }}/open", line: two, insertafter: ^one}
- lineinfile: {path: "{{ base }}/none", state: absent, line: y}
  register: quiet
"#;
    let run = project.converges(tasks, 6);
    assert_eq!(project.read("open"), "one\ntwo\n");
    assert_eq!(project.read("conf"), "a=you\nb=2\nc=3\n");
    assert_eq!(project.read("new/er/file"), "one\n");
    assert_eq!(project.read("target"), "x\ny\n");
    assert!(project.out("link").is_symlink());
    let results = &run.results;
    assert_eq!(results["replaced"]["msg"], "line replaced");
    let backup = results["replaced"]["backup"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(backup).unwrap(), "a=1\nb=2\nold\n");
    assert_eq!(results["added"]["msg"], "line added");
    assert_eq!(results["added"]["backup"], "");
    assert_eq!(results["removed"]["found"], 1);
    assert_eq!(results["removed"]["msg"], "1 line(s) removed");
    assert_eq!(results["quiet"]["msg"], "file not present");
    // The keys of `copy` are none of its own.
    assert!(results["added"].get("dest").is_none());
}

#[test]
fn blocks_are_kept_between_their_markers() {
    let project = Project::new();
    std::fs::write(project.out("conf"), "first\nlast\n").unwrap();
    let tasks = r#"
- blockinfile:
    path: "{{ base }}/conf"
    insertafter: ^first
    marker: "// {mark} one"
    block: |
      for {{ who }}
      and me
    backup: true
  register: one
- blockinfile: {path: "{{ base }}/conf", block: two, insertbefore: BOF, append_newline: true}
- blockinfile: {path: "{{ base }}/made", block: two, create: true}
  register: made
"#;
    let run = project.converges(tasks, 3);
    assert_eq!(
        project.read("conf"),
        "# BEGIN ANSIBLE MANAGED BLOCK\ntwo\n# END ANSIBLE MANAGED BLOCK\n\nfirst\n// BEGIN one\nfor you\nand me\n// END one\nlast\n"
    );
    assert_eq!(run.results["one"]["msg"], "Block inserted");
    let backup = run.results["one"]["backup_file"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(backup).unwrap(), "first\nlast\n");
    assert_eq!(run.results["made"]["msg"], "File created");

    let tasks = r#"
- blockinfile: {path: "{{ base }}/conf", marker: "// {mark} one", state: absent}
  register: gone
"#;
    let run = project.converges(tasks, 1);
    assert_eq!(run.results["gone"]["msg"], "Block removed");
    assert!(project.read("conf").ends_with("\n\nfirst\nlast\n"));
}

#[test]
fn text_is_replaced_in_a_part_of_a_file() {
    let project = Project::new();
    std::fs::write(project.out("conf"), b"[a]\nx=1\n[b]\nx=1\nx=2\n\xff\n").unwrap();
    let tasks = r#"
- replace:
    path: "{{ base }}/conf"
    after: '\[b\]'
    regexp: '^x=(?P<n>\d)$'
    replace: 'y=\g<n>'
    backup: true
  register: replaced
- replace: {path: "{{ base }}/conf", after: nothing, regexp: x}
  register: quiet
"#;
    let run = project.converges(tasks, 1);
    assert_eq!(
        std::fs::read(project.out("conf")).unwrap(),
        b"[a]\nx=1\n[b]\ny=1\ny=2\n\xff\n"
    );
    let replaced = &run.results["replaced"];
    assert_eq!(replaced["msg"], "2 replacements made");
    assert!(replaced["backup_file"].as_str().unwrap().ends_with('~'));
    let none =
        "Pattern for before/after params did not match the given file: nothing(?P<subsection>.*)";
    assert_eq!(run.results["quiet"]["msg"], none);
}

#[test]
fn what_edits_refuse_leaves_everything_as_it_is() {
    let project = Project::new();
    std::fs::write(project.out("file"), "as it was\n").unwrap();
    let before = listing(&project.out(""));
    let tasks = r#"
- lineinfile: {path: "{{ base }}/none", line: x}
  register: missing
  ignore_errors: true
- replace: {path: "{{ base }}/none", regexp: x}
  register: nothing
  ignore_errors: true
- blockinfile: {path: "{{ base }}", block: x}
  register: folder
  ignore_errors: true
- lineinfile: {path: "{{ base }}/file", line: x, regexp: "(a"}
  register: pattern
  ignore_errors: true
- replace: {path: "{{ base }}/file", regexp: was, replace: '\2'}
  register: group
  ignore_errors: true
- lineinfile: {path: "{{ base }}/file", line: x, validate: "grep -q good %s"}
  register: invalid
  ignore_errors: true
- lineinfile: {path: "{{ base }}/file", line: x, insertafter: a, insertbefore: b}
  register: both
  ignore_errors: true
- blockinfile: {path: "{{ base }}/file", block: x, attributes: +i}
  register: flags
  ignore_errors: true
"#;
    let run = project.run(tasks, &[]);
    assert_eq!(run.count("ignored"), 8, "{}", run.said);
    assert_eq!(listing(&project.out("")), before);
    let results = &run.results;
    for (name, words) in [
        ("missing", "none does not exist !"),
        ("nothing", "none does not exist !"),
        ("folder", "is a directory !"),
        ("pattern", "`regexp: (a` cannot be used"),
        ("group", "invalid group reference 2"),
        ("invalid", "failed to validate: rc:1"),
        ("both", "parameters are mutually exclusive"),
        ("flags", "`attributes`"),
    ] {
        let said = results[name]["msg"].as_str().unwrap();
        assert!(said.contains(words), "{name}: {said}");
    }
    let codes = ["missing", "nothing", "folder"].map(|name| results[name]["rc"].clone());
    assert_eq!(codes, [json!(257), json!(257), json!(256)]);
}

#[test]
fn an_edit_is_shown_as_text() {
    let project = Project::new();
    std::fs::write(project.out("file"), "one\ntwo\n").unwrap();
    let tasks = r#"
- lineinfile: {path: "{{ base }}/file", regexp: two, line: three}
"#;
    let run = project.run(tasks, &["--diff", "--check"]);
    assert!(run.said.contains("-two\n+three\n"), "{}", run.said);
    assert!(run.said.contains("/file (content)"), "{}", run.said);
    assert_eq!(project.read("file"), "one\ntwo\n");
}

#[test]
fn files_of_the_host_are_fetched() {
    let project = Project::new();
    std::fs::write(project.out("log"), "text\n").unwrap();
    let tasks = r#"
- fetch: {src: "{{ base }}/log", dest: "{{ base }}/got"}
  register: deep
- fetch: {src: "{{ base }}/log", dest: out/flat/, flat: true}
  register: flat
- fetch: {src: "{{ base }}/nothing", dest: got, fail_on_missing: false}
  register: missing
"#;
    let run = project.converges(tasks, 2);
    let path = project.out("log").display().to_string();
    let deep = project
        .out("got/localhost")
        .join(path.trim_start_matches('/'));
    assert_eq!(std::fs::read_to_string(&deep).unwrap(), "text\n");
    assert_eq!(project.read("flat/log"), "text\n");
    let results = &run.results;
    assert_eq!(results["deep"]["dest"], json!(deep));
    assert_eq!(
        results["flat"]["checksum"],
        results["flat"]["remote_checksum"]
    );
    let msg = "the remote file does not exist, not transferring, ignored";
    assert_eq!(results["missing"]["msg"], msg);
}

#[test]
fn files_are_found_and_handed_on() {
    let project = Project::new();
    for name in ["a.log", "b.log", "c.txt"] {
        std::fs::write(project.out(name), "text\n").unwrap();
    }
    let tasks = r#"
- find: {paths: "{{ base }},{{ base }}/none", patterns: "*.log", get_checksum: true}
  register: found
- file: {path: "{{ item.path }}", mode: "0600"}
  loop: "{{ found.files }}"
"#;
    let run = project.converges(tasks, 1);
    let found = &run.results["found"];
    assert_eq!(
        (&found["matched"], &found["examined"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(found["files"][0]["path"], json!(project.out("a.log")));
    assert_eq!(found["files"][0]["isreg"], true);
    assert!(found["files"][0]["checksum"].is_string());
    assert_eq!(
        found["msg"],
        "Not all paths examined, check warnings for details"
    );
    let none = project.out("none").display().to_string();
    assert_eq!(
        found["skipped_paths"][&none],
        format!("'{none}' is not a directory")
    );
    assert_eq!(
        (project.mode("a.log"), project.mode("c.txt")),
        (0o600, 0o644)
    );
}
