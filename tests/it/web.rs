//! `get_url` and `uri`, with real servers on loopback: what they send, what they leave on the host, what they say.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::files::{Project, listing};
use super::ssh::{Sshd, play};
use super::support::web::{Asked, Told, Web};

const PASSWORD: &str = "s3cret-pass\"word";

/// A server with files, logins, redirects and an API.
fn answer(asked: &Asked) -> Told {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    match path {
        "/a%20b.txt" | "/file" => Told::new(200, "content\n"),
        "/dated" if asked.header("if-modified-since").is_some() => Told::new(304, ""),
        "/dated" => Told::new(200, "dated\n"),
        "/named" => Told::new(200, "named\n").with(
            "Content-Disposition",
            "attachment; filename=\"../../called\"",
        ),
        // `file`, as the two programs write it.
        "/SHA256SUMS" => Told::new(
            200,
            "0000000000000000000000000000000000000000000000000000000000000000  other\nSHA256 (file) = 434728a410a78f56fc1b5899c3593436e61ab0c731e9072d95e96db290205e53\n",
        ),
        "/moved" => Told::new(302, "")
            .with("Location", "/file?x=1")
            .with("Set-Cookie", "seen=1; Path=/"),
        "/away" => Told::new(302, "").with("Location", query),
        "/circle" => Told::new(302, "").with("Location", "/circle"),
        "/closed" => {
            let login = base64_of(&format!("user:{PASSWORD}"));
            if asked.header("authorization") == Some(&format!("Basic {login}")) {
                Told::new(200, "for you\n")
            } else {
                Told::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\"")
            }
        }
        "/api" => {
            let body = json!({
                "method": asked.method, "type": asked.header("content-type"),
                "body": String::from_utf8_lossy(&asked.body), "x": asked.header("x-a"),
            });
            Told::new(
                if asked.method == "PUT" { 201 } else { 200 },
                body.to_string(),
            )
            .with("Content-Type", "application/vnd.test+json")
            .with("X-Some-Thing", "1")
            .with("X-Some-Thing", "2")
            .with("Set-Cookie", "a=1; Path=/; HttpOnly")
            .with("Set-Cookie", "b=2")
        }
        "/latin" => Told::new(200, b"caf\xe9".as_slice())
            .with("Content-Type", "text/plain; charset=\"ISO-8859-1\""),
        _ => Told::new(404, "no such thing"),
    }
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

const DIGEST: &str = "434728a410a78f56fc1b5899c3593436e61ab0c731e9072d95e96db290205e53";

#[test]
fn a_file_is_downloaded_when_it_is_not_there_or_another() {
    let (project, web) = (Project::new(), Web::start(answer));
    std::fs::create_dir(project.out("dir")).unwrap();
    project.source("out/differs", "old\n", 0o640);
    project.source("out/same", "content\n", 0o600);
    let tasks = format!(
        "
- get_url: {{url: '{file}', dest: '{{{{ base }}}}/new', mode: '0640'}}
  register: new
- get_url: {{url: '{file}', dest: '{{{{ base }}}}/differs', backup: true, force: true}}
  register: differs
- get_url: {{url: '{file}', dest: '{{{{ base }}}}/same', mode: u=rw}}
- get_url: {{url: '{dated}', dest: '{{{{ base }}}}/dated'}}
- get_url: {{url: '{named}', dest: '{{{{ base }}}}/dir'}}
  register: named
- get_url: {{url: '{spaces}', dest: '{{{{ base }}}}/dir', tmp_dest: '{{{{ base }}}}/dir'}}
- get_url: {{url: '{file}', dest: '{{{{ base }}}}/summed', checksum: 'sha256:{sums}', mode: '0604'}}
- get_url: {{url: '{moved}', dest: '{{{{ base }}}}/moved', checksum: 'sha256:{DIGEST}'}}
  register: moved
",
        file = web.url("/file"),
        dated = web.url("/dated"),
        named = web.url("/named"),
        spaces = web.url("/a b.txt"),
        sums = web.url("/SHA256SUMS"),
        moved = web.url("/moved"),
    );
    let run = project.converges(&tasks, 7);
    for name in ["new", "differs", "same", "dir/a%20b.txt", "summed", "moved"] {
        assert_eq!(project.read(name), "content\n", "{name}");
    }
    assert_eq!(project.read("dir/called"), "named\n");
    assert_eq!(
        ["new", "differs", "same", "summed"].map(|name| project.mode(name)),
        [0o640, 0o640, 0o600, 0o604]
    );
    assert_eq!(project.mode("moved"), 0o644, "what the umask leaves");
    let differs = &run.results["differs"];
    let backup = differs["backup_file"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(backup).unwrap(), "old\n");
    let new = &run.results["new"];
    assert_eq!(
        new["checksum_src"],
        "7fe70820e08a1aac0ef224d9c66ab66831cc4ab1"
    );
    assert_eq!(new["checksum_src"], differs["checksum_src"]);
    assert_eq!(new["checksum_dest"], Value::Null);
    assert_eq!(
        json!([
            new["dest"],
            new["url"],
            new["status_code"],
            new["msg"],
            new["size"],
            new["mode"],
            new["state"]
        ]),
        json!([
            project.out("new"),
            web.url("/file"),
            200,
            "OK (8 bytes)",
            8,
            "0640",
            "file"
        ])
    );
    assert_eq!(new["md5sum"], "f75b8179e4bbe7e2b4a074dcef62de95");
    assert_eq!(
        run.results["named"]["dest"],
        json!(project.out("dir/called"))
    );
    let left: Vec<_> = listing(&project.out(""))
        .into_iter()
        .filter(|(path, ..)| path.display().to_string().contains("layerplay."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(
        run.results["moved"]["elapsed"].as_i64().map(|n| n < 60),
        Some(true)
    );
}

#[test]
fn a_download_that_fails_says_why_and_leaves_all_as_it_was() {
    let (project, web) = (Project::new(), Web::start(answer));
    project.source("out/there", "there\n", 0o644);
    let before = listing(&project.out(""));
    let wrong = "0".repeat(64);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = closed.local_addr().unwrap().port();
    drop(closed);
    for (task, words) in [
        (
            format!("url: '{}', dest: '{{{{ base }}}}/x'", web.url("/nothing")),
            ["Request failed", "HTTP Error 404: Said"].as_slice(),
        ),
        (
            format!(
                "url: '{}', dest: '{{{{ base }}}}/there', checksum: 'sha256:{wrong}'",
                web.url("/file")
            ),
            &["did not match", DIGEST],
        ),
        (
            format!(
                "url: '{}', dest: '{{{{ base }}}}/x', checksum: 'sha256:{}'",
                web.url("/named"),
                web.url("/SHA256SUMS")
            ),
            &["Unable to find a checksum for file 'named'"],
        ),
        (
            format!("url: '{}', dest: '{{{{ base }}}}/no/x'", web.url("/file")),
            &["does not exist", "state: directory"],
        ),
        (
            format!("url: 'http://127.0.0.1:{nobody}/', dest: '{{{{ base }}}}/x'"),
            &["Request failed: curl: (7)"],
        ),
        (
            format!("url: '{}', dest: '{{{{ base }}}}/x'", web.url("/circle")),
            &["redirects more than 10 times"],
        ),
        (
            format!(
                "url: '{}', dest: '{{{{ base }}}}/x'",
                web.url("/away?file:///etc/passwd")
            ),
            &["an address of the kind `file`"],
        ),
        (
            "url: 'host/path', dest: '{{ base }}/x'".to_owned(),
            &["`host/path` is no address"],
        ),
        (
            format!(
                "url: '{}', dest: '{{{{ base }}}}/x', headers: {{X: \"a\\nb\"}}",
                web.url("/file")
            ),
            &["more than one line"],
        ),
    ] {
        let run = project.run(&format!("- get_url: {{{task}}}"), &[]);
        assert_eq!(run.code, Some(2), "{}", run.said);
        for word in words {
            assert!(run.said.contains(word), "{word}: {}", run.said);
        }
        assert!(listing(&project.out("")) == before, "{}", run.said);
    }
}

/// A folder of programs: busybox's small tools without `wget`, and these.
fn programs(dir: &Path, more: &[(&str, &str)]) -> String {
    std::fs::create_dir(dir).unwrap();
    let list = Command::new("busybox").arg("--list").output().unwrap();
    for tool in String::from_utf8(list.stdout).unwrap().lines() {
        if tool != "wget" {
            symlink("/bin/busybox", dir.join(tool)).unwrap();
        }
    }
    for (name, text) in more {
        if text.starts_with("#!") {
            std::fs::write(dir.join(name), text).unwrap();
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(dir.join(name), mode).unwrap();
        } else {
            symlink(text, dir.join(name)).unwrap();
        }
    }
    dir.display().to_string()
}

#[test]
fn passwords_are_on_no_command_line_and_in_no_output() {
    let (project, web) = (Project::new(), Web::start(answer));
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let spy = |real: &str| {
        format!(
            "#!/bin/sh\nprintf '%s\\n' \"$0 $*\" >> {}\ntr '\\0' '\\n' < /proc/$$/environ >> {0}\nexec {real} \"$@\"\n",
            log.display()
        )
    };
    let (curl, wget) = (spy("/usr/bin/curl"), spy("/usr/bin/wget"));
    let path =
        |name: &str, programs: &[(&str, &str)]| self::programs(&dir.path().join(name), programs);
    let ways = [
        path("curl", &[("curl", &curl)]),
        path("wget", &[("wget", &wget)]),
    ];
    let in_url = format!(
        "http://user:s3cret-pass%22word@127.0.0.1:{}/closed",
        web.port
    );
    for (number, way) in ways.iter().enumerate() {
        for forced in [false, true] {
            let tasks = format!(
                "
- get_url:
    url: '{url}'
    dest: '{{{{ base }}}}/{number}-{forced}'
    url_username: user
    url_password: '{PASSWORD}'
    force_basic_auth: {forced}
    headers: {{X-Key: '{PASSWORD}'}}
  register: named
- get_url: {{url: '{in_url}', dest: '{{{{ base }}}}/{number}-{forced}-url'}}
  register: inside
- get_url: {{url: '{in_url}x', dest: '{{{{ base }}}}/not'}}
  ignore_errors: true
  register: failed
",
                url = web.url("/closed"),
            );
            let run = project.run_with(&tasks, &["-vvv"], way);
            assert_eq!(run.code, Some(0), "{}", run.said);
            assert_eq!(project.read(&format!("{number}-{forced}")), "for you\n");
            assert_eq!(project.read(&format!("{number}-{forced}-url")), "for you\n");
            let shown = format!("http://****:****@127.0.0.1:{}/closed", web.port);
            assert_eq!(run.results["inside"]["url"], json!(shown));
            assert_eq!(run.results["failed"]["url"], json!(format!("{shown}x")));
            let text = format!("{}{}", run.said, run.results);
            assert!(!text.contains("s3cret"), "{text}");
            // Only the first request of the first task may lack it.
            let asked = web.asked();
            let first = asked[0].header("authorization").is_some();
            assert_eq!(first, forced, "{asked:?}");
        }
    }
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(
        log.contains("curl -q -K -") && log.contains("wget --config="),
        "{log}"
    );
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn a_host_without_curl_downloads_with_the_wget_that_it_has() {
    let (project, web) = (Project::new(), Web::start(answer));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, more: &[(&str, &str)]| programs(&dir.path().join(name), more);
    let tasks = |name: &str| {
        format!(
            "
- get_url: {{url: '{}', dest: '{{{{ base }}}}/{name}', checksum: 'sha256:{DIGEST}'}}
- get_url: {{url: '{}', dest: '{{{{ base }}}}/{name}-not'}}
  ignore_errors: true
  register: failed
",
            web.url("/moved"),
            web.url("/nothing"),
        )
    };
    // One that reads no configuration, as busybox's.
    let other = "#!/bin/sh\ncase $1 in --version) exit 1 ;; esac\nexec /usr/bin/wget \"$@\"\n";
    for (name, wget) in [("gnu", "/usr/bin/wget"), ("small", other)] {
        let run = project.run_with(&tasks(name), &[], &path(name, &[("wget", wget)]));
        assert_eq!(run.code, Some(0), "{}", run.said);
        assert_eq!(project.read(name), "content\n");
        assert_eq!(run.results["failed"]["status_code"], 404, "{}", run.said);
        assert!(!project.out(&format!("{name}-not")).exists());
    }
    let secret = format!(
        "- get_url: {{url: '{}', dest: '{{{{ base }}}}/x', url_username: user, url_password: hidden-word}}",
        web.url("/closed")
    );
    let small = path("again", &[("wget", other)]);
    let run = project.run_with(&secret, &[], &small);
    assert!(
        run.code == Some(2) && run.said.contains("command line only"),
        "{}",
        run.said
    );
    let none = path("none", &[]);
    let run = project.run_with(&tasks("none"), &[], &none);
    assert_eq!(run.code, Some(2));
    assert!(
        run.said.contains("neither `curl` nor `wget`"),
        "{}",
        run.said
    );
    let uri = format!("- uri: {{url: '{}'}}", web.url("/api"));
    let run = project.run_with(&uri, &[], &small);
    assert!(
        run.code == Some(2) && run.said.contains("only `curl` can"),
        "{}",
        run.said
    );
}

#[test]
fn a_server_must_show_who_it_is() {
    let (project, web) = (Project::new(), Web::start_tls(answer));
    project.source("out/ca.pem", &web.certificate, 0o644);
    let task = |more: &str| {
        format!(
            "- get_url: {{url: '{0}', dest: '{{{{ base }}}}/x', force: true{more}}}\n- uri: {{url: '{0}'{more}}}",
            web.url("/file")
        )
    };
    let run = project.run(&task(""), &[]);
    assert_eq!(run.code, Some(2), "{}", run.said);
    assert!(run.said.contains("certificate"), "{}", run.said);
    for trusting in [", validate_certs: false", ", ca_path: '{{ base }}/ca.pem'"] {
        let run = project.run(&task(trusting), &[]);
        assert_eq!(run.code, Some(0), "{}", run.said);
        assert_eq!(project.read("x"), "content\n");
    }
}

#[test]
fn a_request_sends_what_it_was_told_and_says_what_came() {
    let (project, web) = (Project::new(), Web::start(answer));
    let big = "x".repeat(300_000);
    project.source("files/body", "from a file\n", 0o600);
    let tasks = format!(
        "
- uri: {{url: '{api}', headers: {{X-A: 1}}, return_content: true}}
  register: get
- uri: {{url: '{api}', method: put, body: {{a: [1, 'é \"\\']}}, body_format: json, status_code: '200, 201'}}
  register: put
- uri: {{url: '{api}', method: POST, body: {{a: 'b c', d: [1, 2]}}, body_format: form-urlencoded}}
  register: form
- uri: {{url: '{api}', method: POST, body: '{big}', headers: {{content-type: text/plain}}}}
  register: raw
- uri: {{url: '{api}', method: POST, src: body}}
  register: src
- uri: {{url: '{api}', method: POST}}
  register: empty
- uri: {{url: '{latin}', return_content: true}}
  register: latin
- uri: {{url: '{moved}', return_content: true}}
  register: moved
- uri: {{url: '{moved}', follow_redirects: none, status_code: 302}}
  register: stays
- uri: {{url: '{moved}', method: POST, status_code: 302}}
  register: safe
- uri: {{url: '{closed}', user: user, password: '{PASSWORD}', force_basic_auth: true}}
- uri: {{url: '{file}', dest: '{{{{ base }}}}/got', mode: '0600'}}
  register: got
- uri: {{url: '{file}', creates: '{{{{ base }}}}/got'}}
  register: created
- uri: {{url: '{nothing}', return_content: true}}
  ignore_errors: true
  register: nothing
",
        api = web.url("/api"),
        latin = web.url("/latin"),
        moved = web.url("/moved"),
        closed = web.url("/closed"),
        file = web.url("/file"),
        nothing = web.url("/nothing"),
    );
    let run = project.run(&tasks, &[]);
    assert_eq!(run.code, Some(0), "{}", run.said);
    let results = &run.results;
    let get = &results["get"];
    assert_eq!(
        json!([
            get["status"],
            get["msg"].as_str().unwrap().starts_with("OK ("),
            get["url"],
            get["redirected"],
            get["json"]["x"],
            get["x_some_thing"],
            get["cookies"],
            get["cookies_string"],
            get["changed"]
        ]),
        json!([200, true, web.url("/api"), false, "1", "1, 2", {"a": "1", "b": "2"}, "a=1; b=2", false])
    );
    assert_eq!(get["json"]["type"], Value::Null, "{get}");
    let content: Value = serde_json::from_str(get["content"].as_str().unwrap()).unwrap();
    assert_eq!(content, get["json"]);
    for (name, method, kind, body) in [
        (
            "put",
            "PUT",
            "application/json",
            r#"{"a": [1, "\u00e9 \"\\"]}"#,
        ),
        (
            "form",
            "POST",
            "application/x-www-form-urlencoded",
            "a=b+c&d=1&d=2",
        ),
        ("raw", "POST", "text/plain", &big),
        (
            "src",
            "POST",
            "application/x-www-form-urlencoded",
            "from a file\n",
        ),
    ] {
        let said = &results[name]["json"];
        assert_eq!(
            json!([said["method"], said["type"]]),
            json!([method, kind]),
            "{name}"
        );
        assert_eq!(said["body"], json!(body), "{name}");
        assert!(results[name].get("content").is_none(), "{name}");
    }
    assert_eq!(results["put"]["status"], 201);
    assert_eq!(results["empty"]["json"]["body"], "");
    assert_eq!(results["latin"]["content"], "café");
    let moved = &results["moved"];
    assert_eq!(
        json!([moved["redirected"], moved["url"], moved["content"]]),
        json!([true, web.url("/file?x=1"), "content\n"])
    );
    assert_eq!(results["stays"]["location"], json!(web.url("/file?x=1")));
    assert_eq!(results["safe"]["status"], 302);
    assert_eq!(
        (project.read("got").as_str(), project.mode("got")),
        ("content\n", 0o600)
    );
    assert_eq!(
        json!([results["got"]["changed"], results["got"]["path"]]),
        json!([true, project.out("got")])
    );
    let skipped = results["created"]["stdout"].as_str().unwrap();
    assert!(skipped.starts_with("skipped, since"), "{skipped}");
    let nothing = &results["nothing"];
    assert_eq!(
        nothing["msg"],
        "Status code was 404 and not [200]: HTTP Error 404: Said"
    );
    assert_eq!(
        json!([nothing["status"], nothing["content"]]),
        json!([404, "no such thing"])
    );
    let asked = web.asked();
    let followed = asked
        .iter()
        .find(|asked| asked.path == "/file?x=1")
        .unwrap();
    assert_eq!(followed.header("cookie"), Some("seen=1"));
    let check = project.run(
        &format!("- uri: {{url: '{}'}}", web.url("/api")),
        &["--check"],
    );
    assert_eq!(
        (check.count("skipped"), web.asked().len()),
        (1, 0),
        "{}",
        check.said
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_make_their_own_requests() {
    let (sshd, web) = (
        Sshd::start(&[std::net::Ipv4Addr::LOCALHOST], None),
        Web::start(answer),
    );
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("body"), b"a\0b\n").unwrap();
    let mut inventory = json!({"all": {"hosts": {"one": {"ansible_host": "127.0.0.1"}}}});
    inventory["all"]["vars"] = sshd.variables();
    let playbook = format!(
        "
- hosts: all
  gather_facts: false
  vars: {{base: '{base}'}}
  tasks:
    - get_url: {{url: '{file}', dest: '{{{{ base }}}}/a b', mode: '0640', checksum: 'sha256:{sums}'}}
      register: first
    - get_url: {{url: '{file}', dest: '{{{{ base }}}}/a b', mode: '0640', checksum: 'sha256:{sums}'}}
      register: again
    - uri: {{url: '{api}', method: POST, src: body}}
      register: sent
    - uri: {{url: '{closed}', user: user, password: '{PASSWORD}', return_content: true}}
      register: closed
    - assert:
        that:
          - first is changed and again is not changed
          - first.status_code == 200 and first.mode == '0640'
          - sent.json.body | length == 4
          - closed.content == 'for you\\n'
",
        base = dir.path().display(),
        file = web.url("/file"),
        sums = web.url("/SHA256SUMS"),
        api = web.url("/api"),
        closed = web.url("/closed"),
    );
    let (output, said) = play(dir.path(), &inventory, &playbook).await;
    assert!(output.status.success(), "{said}\n{}", sshd.log());
    let path = dir.path().join("a b");
    assert_eq!(std::fs::read(&path).unwrap(), b"content\n");
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        4,
        "nothing is left behind"
    );
}

#[test]
fn the_lookup_asks_from_this_machine() {
    let (project, web) = (Project::new(), Web::start(answer));
    let tasks = format!(
        "
- debug: {{msg: \"{{{{ lookup('url', '{moved}', headers={{'X-A': 'b'}}) }}}}\"}}
  register: moved
- debug: {{msg: \"{{{{ q('url', '{file}', '{closed}', username='user', password=pass, split_lines=false) }}}}\"}}
  vars: {{pass: 's3cret-pass\"word'}}
  register: whole
- debug: {{msg: \"{{{{ lookup('url', '{gone}') }}}}\"}}
  ignore_errors: true
  register: gone
- debug: {{msg: \"{{{{ lookup('url', '{gone}', errors='ignore') is none }}}}\"}}
  register: ignored
",
        moved = web.url("/moved"),
        file = web.url("/file"),
        closed = web.url("/closed"),
        gone = web.url("/gone"),
    );
    let run = project.run(&tasks, &[]);
    assert_eq!(run.code, Some(0), "{}", run.said);
    let results = &run.results;
    assert_eq!(
        json!([
            results["moved"]["msg"],
            results["whole"]["msg"],
            results["ignored"]["msg"]
        ]),
        json!(["content", ["content\n", "for you\n"], true])
    );
    let said = results["gone"]["msg"].as_str().unwrap();
    assert!(said.contains("404"), "{said}");
    assert!(!run.said.contains("s3cret"), "{}", run.said);
    assert_eq!(web.asked()[0].header("x-a"), Some("b"));
}
