//! In: nothing. Out: platforms for tests: this machine's file system used in place, a POSIX shell as on another machine,
//! and busybox with nothing besides.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use indexmap::IndexMap;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::command;
use crate::error::ModuleError;
use crate::openshift::connection::ClusterRef;
use crate::platform::{
    CommandOutput, CommandSpec, Platform, Shell, ShellOpener, Silent, SystemClock, Target,
};
use crate::registry::{Registries, RegistryOptions};
use crate::secret::Secrets;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Here,
    Posix,
    Busybox,
}

struct TestShell(Way);

/// A folder with busybox under the names of all its tools; the same for all runs, so that they leave no more than one.
fn tools() -> &'static PathBuf {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let dir = std::env::temp_dir().join("layerplay-tests-busybox");
        std::fs::create_dir_all(&dir).unwrap();
        let list = std::process::Command::new("busybox")
            .arg("--list")
            .output()
            .expect("`busybox` must be installed: the tests run the scripts with it");
        let busybox = String::from_utf8(
            std::process::Command::new("/bin/sh")
                .args(["-c", "command -v busybox"])
                .output()
                .unwrap()
                .stdout,
        )
        .unwrap();
        for tool in String::from_utf8(list.stdout).unwrap().lines() {
            let _ = std::os::unix::fs::symlink(busybox.trim(), dir.join(tool));
        }
        dir
    })
}

#[async_trait]
impl Shell for TestShell {
    fn place(&self) -> String {
        "the test's machine".to_owned()
    }

    async fn run(&self, mut spec: CommandSpec) -> Result<CommandOutput, ModuleError> {
        spec.environment
            .insert("PATH_OF_TEST".to_owned(), "v w".to_owned());
        if self.0 == Way::Busybox {
            let tools = tools();
            spec.environment
                .insert("PATH".to_owned(), tools.display().to_string());
            if let Some(first) = spec.argv.first_mut() {
                *first = tools.join("sh").display().to_string();
            }
        }
        command::run(spec, &CancellationToken::new()).await
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, ModuleError> {
        std::fs::read(path).map_err(|problem| ModuleError::failed(problem.to_string()))
    }

    async fn write(&self, path: &str, content: &[u8], _: u32) -> Result<(), ModuleError> {
        std::fs::write(path, content).map_err(|problem| ModuleError::failed(problem.to_string()))
    }

    fn is_local(&self) -> bool {
        self.0 == Way::Here
    }
}

struct NoOpener;

#[async_trait]
impl ShellOpener for NoOpener {
    async fn ssh(
        &self,
        _: &str,
        _: &IndexMap<String, Value>,
    ) -> Result<Arc<dyn Shell>, ModuleError> {
        Err(ModuleError::failed("tests open no other machine"))
    }
}

fn platform(way: Way) -> Platform {
    let secrets = Arc::new(Secrets::default());
    Platform {
        host: "localhost".to_owned(),
        target: Target::Machine(Arc::new(TestShell(way))),
        cluster: ClusterRef::default(),
        clusters: Arc::default(),
        registries: Arc::new(Registries::new(
            RegistryOptions::default(),
            Arc::clone(&secrets),
        )),
        secrets,
        clock: Arc::new(SystemClock),
        progress: Arc::new(Silent),
        cancel: CancellationToken::new(),
        base_dir: PathBuf::new(),
        environment: IndexMap::new(),
        check: false,
        diff: false,
        connection: IndexMap::new(),
        opener: Arc::new(NoOpener),
    }
}

/// This machine, used in place.
pub(in crate::core) fn here() -> Platform {
    platform(Way::Here)
}

/// A machine behind a shell, with coreutils.
pub(in crate::core) fn posix() -> Platform {
    platform(Way::Posix)
}

/// A machine behind a shell, with busybox.
pub(in crate::core) fn busybox() -> Platform {
    platform(Way::Busybox)
}

/// All three.
pub(in crate::core) fn ways() -> [Platform; 3] {
    [here(), posix(), busybox()]
}
