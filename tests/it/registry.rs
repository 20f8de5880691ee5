//! A real `docker-registry` with basic authentication, `skopeo` as referee, and `buildah` for what needs an engine.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

struct Registry {
    child: Child,
    dir: tempfile::TempDir,
    address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ok(mut command: Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|problem| panic!("{command:?}: {problem}; `make deps` installs it"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Registry {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let mut htpasswd = Command::new("htpasswd");
        htpasswd.args(["-Bbn", "pusher", "pass-word-1"]);
        std::fs::write(dir.path().join("htpasswd"), ok(htpasswd)).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {0}/data}}}}\nhttp: {{addr: '{address}'}}\nauth: {{htpasswd: {{realm: lab, path: {0}/htpasswd}}}}\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("config.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`docker-registry` must be installed: `make deps` does it");
        let registry = Self {
            child,
            dir,
            address,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(&registry.address).is_err() {
            assert!(Instant::now() < deadline, "the registry does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry.login("auth.json", "pass-word-1");
        registry
    }

    fn login(&self, file: &str, password: &str) {
        use base64::Engine;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("pusher:{password}"));
        let text = serde_json::json!({"auths": {self.address.clone(): {"auth": auth}}}).to_string();
        let path = self.dir.path().join(file);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs a playbook on this machine with logins from `auth`.
    fn play(&self, playbook: &str, auth: &str) -> Output {
        let path = self.dir.path().join("playbook.yml");
        std::fs::write(&path, playbook.replace("REGISTRY", &self.address)).unwrap();
        Command::new(env!("CARGO_BIN_EXE_layerplay"))
            .args([
                "run",
                "--format",
                "ansible",
                "-i",
                "localhost,",
                "-e",
                "ansible_connection=local",
            ])
            .arg(&path)
            .env("REGISTRY_AUTH_FILE", self.dir.path().join(auth))
            .envs([
                ("BUILDAH_ISOLATION", "chroot"),
                ("STORAGE_DRIVER", "vfs"),
                ("_CONTAINERS_USERNS_CONFIGURED", ""),
            ])
            .output()
            .unwrap()
    }

    fn skopeo(&self, name: &str) -> serde_json::Value {
        let mut command = Command::new("skopeo");
        command
            .args(["inspect", "--tls-verify=false", "--authfile"])
            .arg(self.dir.path().join("auth.json"))
            .arg(format!("docker://{}/{name}", self.address));
        serde_json::from_str(&ok(command)).unwrap()
    }

    /// A base image with a static shell, built by `buildah` from nothing; its digest.
    fn base(&self, dir: &Path) -> String {
        let shell = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect("`busybox` must be installed: `make deps` does it");
        std::fs::copy(shell, dir.join("sh")).unwrap();
        std::fs::write(
            dir.join("Containerfile"),
            "FROM scratch\nCOPY sh /bin/sh\nLABEL ostree.bootable=true\n",
        )
        .unwrap();
        let name = format!("{}/base:1", self.address);
        let buildah = |args: &[&str]| {
            let mut command = Command::new("buildah");
            command
                .env("BUILDAH_ISOLATION", "chroot")
                .env("STORAGE_DRIVER", "vfs")
                .env("REGISTRY_AUTH_FILE", self.dir.path().join("auth.json"))
                .args(args);
            ok(command)
        };
        buildah(&[
            "build",
            "--format",
            "oci",
            "-t",
            &name,
            dir.to_str().unwrap(),
        ]);
        buildah(&[
            "push",
            "--tls-verify=false",
            &name,
            &format!("docker://{name}"),
        ]);
        self.skopeo("base:1")["Digest"].as_str().unwrap().to_owned()
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn playbook(base: &str, tag: &str, containerfile: &str) -> String {
    format!(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - layered_image:\n        name: REGISTRY/layers/hello\n        tag: '{tag}'\n        base: REGISTRY/base@{base}\n        labels: {{revision: r1}}\n        content: |\n          FROM REGISTRY/base@{base}\n{containerfile}\n      register: built\n    - debug: {{var: built.digest}}\n"
    )
}

#[test]
fn layers_are_built_natively_and_by_buildah_and_pushed_once() {
    let registry = Registry::start();
    let context = tempfile::tempdir().unwrap();
    let base = registry.base(context.path());
    std::fs::write(registry.dir.path().join("motd"), "hello\n").unwrap();

    let native = playbook(
        &base,
        "native",
        "          COPY motd /etc/motd\n          LABEL title=native",
    );
    let first = registry.play(&native, "auth.json");
    assert!(
        first.status.success() && text(&first).contains("changed=1"),
        "{}",
        text(&first)
    );
    let seen = registry.skopeo("layers/hello:native");
    assert!(
        text(&first).contains(seen["Digest"].as_str().unwrap()),
        "{}",
        text(&first)
    );
    assert_eq!(
        (&seen["Labels"]["title"], &seen["Labels"]["revision"]),
        (&"native".into(), &"r1".into())
    );
    assert_eq!(
        seen["Labels"]["org.opencontainers.image.base.digest"],
        base.as_str()
    );
    let second = registry.play(&native, "auth.json");
    assert!(
        second.status.success() && text(&second).contains("changed=0"),
        "{}",
        text(&second)
    );

    let engine = playbook(&base, "engine", "          RUN echo run > /etc/made");
    let first = registry.play(&engine, "auth.json");
    assert!(
        first.status.success() && text(&first).contains("changed=1"),
        "{}",
        text(&first)
    );
    assert_eq!(
        registry.skopeo("layers/hello:engine")["Labels"]["ostree.bootable"],
        "true"
    );
    let second = registry.play(&engine, "auth.json");
    assert!(
        second.status.success() && text(&second).contains("changed=0"),
        "{}",
        text(&second)
    );

    registry.login("wrong.json", "pass-word-2");
    let refused = registry.play(&native, "wrong.json");
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(
        text(&refused).contains("refuses") && !text(&refused).contains("pass-word-2"),
        "{}",
        text(&refused)
    );
}
