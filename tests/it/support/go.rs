//! In: a Go module of `tests/control-plane`. Out: its programs, built once a machine into a cache keyed by its files, and
//! running until they are dropped.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// A folder of `tests/control-plane`, and the tags that it is built with.
pub(crate) struct Module {
    folder: &'static str,
    tags: &'static str,
}

pub(crate) const API_SERVER: Module = Module {
    folder: "apiserver",
    tags: "",
};

/// Its signature checks are in Go: what they do otherwise needs a C library.
pub(crate) const OPERATOR: Module = Module {
    folder: "operator",
    tags: "containers_image_openpgp",
};

impl Module {
    fn source(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/control-plane")
            .join(self.folder)
    }

    /// A program of the module or of one that it depends on.
    pub(crate) fn program(&self, name: &str, package: &str) -> PathBuf {
        let source = self.source();
        let mut files: Vec<PathBuf> = std::fs::read_dir(&source)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.retain(|file| {
            file.extension()
                .is_some_and(|extension| ["go", "mod", "sum"].iter().any(|e| extension == *e))
        });
        files.sort();
        let mut hash = Sha256::new();
        for file in &files {
            hash.update(file.file_name().unwrap().as_encoded_bytes());
            hash.update(std::fs::read(file).unwrap());
        }
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
            .unwrap_or_else(std::env::temp_dir)
            .join("layerplay/control-plane")
            .join(&hex::encode(hash.finalize())[..16]);
        let program = cache.join(name);
        if !program.exists() {
            std::fs::create_dir_all(&cache).unwrap();
            // Built beside its place and renamed: two test runs at once must not see half a program.
            let fresh = cache.join(format!("{name}.{}", std::process::id()));
            let arguments = ["build", "-tags", self.tags, "-ldflags", "-s -w", "-o"];
            let rest = [fresh.to_str().unwrap(), package];
            self.go(&[arguments.as_slice(), &rest].concat());
            std::fs::rename(fresh, &program).unwrap();
        }
        program
    }

    /// What `go` prints in the module's folder.
    pub(crate) fn go(&self, args: &[&str]) -> String {
        let output = Command::new("go")
            .args(args)
            .current_dir(self.source())
            .env("CGO_ENABLED", "0")
            .output()
            .expect("`go` must be installed: the tests build a real control plane with it");
        assert!(
            output.status.success(),
            "go {args:?}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A program that said it is ready. Dropping it ends it: it leaves when its standard input closes, and is killed as well.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts a program and waits for its one line of JSON; its log goes into a file.
    pub(crate) async fn start(mut command: Command, log: &Path) -> (Self, Value) {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log).unwrap())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        })
        .await
        .unwrap()
        .unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(20).collect();
            panic!(
                "{} did not become ready:\n{}",
                command.get_program().display(),
                end.into_iter().rev().collect::<Vec<_>>().join("\n")
            )
        });
        (Self(child), ready)
    }
}
