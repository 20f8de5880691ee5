//! In: an API server. Out: the machine-config operator's own controllers at work on it (`tests/control-plane/operator`),
//! and a cluster whose rollouts they decide.

use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use layerplay::lab::cluster::{Access, Machines, Plan, install, is_rendered, join};

use super::control_plane::ControlPlane;
use super::go::{OPERATOR, Running};

/// Running controllers; dropping them ends them.
pub(crate) struct Operator {
    _running: Running,
    dir: tempfile::TempDir,
}

impl Operator {
    /// Starts them against this API server. Their order is the true one, their pauses are shorter.
    pub(crate) async fn start(control_plane: &ControlPlane) -> Self {
        static BUILT: OnceLock<std::path::PathBuf> = OnceLock::new();
        let program = BUILT.get_or_init(|| OPERATOR.program("operator", "."));
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command
            .arg("-kubeconfig")
            .arg(control_plane.admin_kubeconfig())
            .args(["-node-delay", "200ms", "-drain-delay", "100ms"])
            .args(["-drain-retry", "1s"]);
        let (running, _) = Running::start(command, &dir.path().join("log")).await;
        Self {
            _running: running,
            dir,
        }
    }

    /// Fills a fresh API with a cluster: its nodes join when the operator has rendered their first configuration.
    pub(crate) async fn populate(
        control_plane: &ControlPlane,
        access: &Access,
        plan: &Plan,
        machines: &Arc<Machines>,
    ) -> Self {
        install(access, plan).await.unwrap();
        let operator = Self::start(control_plane).await;
        let deadline = Instant::now() + Duration::from_mins(1);
        while !is_rendered(access).await.unwrap() {
            assert!(Instant::now() < deadline, "{}", operator.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        join(access, plan, machines).await.unwrap();
        operator
    }

    /// The last that the controllers wrote of themselves.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let end: Vec<&str> = log.lines().rev().take(20).collect();
        end.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}
