//! In: a wish for a Kubernetes API server. Out: a real one (`tests/control-plane/apiserver`), built once a machine into
//! a cache keyed by its sources, started for this test, ended with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Json;
use axum::routing::post;
use base64::Engine;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, ListParams, PostParams};
use serde::{Deserialize, Serialize};

use super::go::{API_SERVER, Running};

/// A command that somebody ran in a container.
#[derive(Debug, Deserialize)]
pub(crate) struct ExecRequest {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
    pub(crate) command: Vec<String>,
}

/// What the container says.
pub(crate) struct ExecAnswer {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

#[derive(Serialize)]
struct Wire {
    stdout: String,
    stderr: String,
    code: i32,
}

type Answerer = Arc<dyn Fn(ExecRequest) -> ExecAnswer + Send + Sync>;

/// A running API server; dropping it ends it.
pub(crate) struct ControlPlane {
    _running: Running,
    ready: Ready,
    _dir: tempfile::TempDir,
    _exec: tokio::task::JoinHandle<()>,
}

#[derive(Deserialize)]
struct Ready {
    admin: PathBuf,
    layerplay: PathBuf,
    kubelet_port: i32,
}

impl ControlPlane {
    /// Starts one; `answer` plays every container.
    pub(crate) async fn start(
        answer: impl Fn(ExecRequest) -> ExecAnswer + Send + Sync + 'static,
    ) -> Self {
        let (program, crds) = built();
        let answer: Answerer = Arc::new(answer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/exec", listener.local_addr().unwrap());
        let router = axum::Router::new().route(
            "/exec",
            post(move |Json(request): Json<ExecRequest>| {
                let answer = Arc::clone(&answer);
                async move {
                    let ExecAnswer {
                        stdout,
                        stderr,
                        code,
                    } = answer(request);
                    let encode =
                        |text: String| base64::engine::general_purpose::STANDARD.encode(text);
                    Json(Wire {
                        stdout: encode(stdout),
                        stderr: encode(stderr),
                        code,
                    })
                }
            }),
        );
        let exec = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.arg("-dir").arg(dir.path());
        command.arg("-crds").arg(crds).arg("-exec-url").arg(url);
        let (running, ready) = Running::start(command, &dir.path().join("log")).await;
        Self {
            _running: running,
            ready: serde_json::from_value(ready).unwrap(),
            _dir: dir,
            _exec: exec,
        }
    }

    /// For the port of nodes' `status.daemonEndpoints.kubeletEndpoint`.
    pub(crate) fn kubelet_port(&self) -> i32 {
        self.ready.kubelet_port
    }

    /// May do everything.
    pub(crate) async fn admin(&self) -> kube::Client {
        client(&self.ready.admin).await
    }

    /// The kubeconfig of who may do everything.
    pub(crate) fn admin_kubeconfig(&self) -> &Path {
        &self.ready.admin
    }

    /// The kubeconfig of layerplay's own user.
    pub(crate) fn layerplay_kubeconfig(&self) -> &Path {
        &self.ready.layerplay
    }

    /// Gives layerplay's own user the rights that `docs/rights.yml` asks for, and no others.
    pub(crate) async fn grant(&self) {
        let admin = self.admin().await;
        let roles: Api<ClusterRole> = Api::all(admin.clone());
        let bindings: Api<ClusterRoleBinding> = Api::all(admin);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rights.yml");
        for document in serde_yaml::Deserializer::from_str(&std::fs::read_to_string(path).unwrap())
        {
            let role = ClusterRole::deserialize(document).unwrap();
            let name = role.metadata.name.clone().unwrap();
            let binding = serde_json::from_value(serde_json::json!({
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "layerplay"}],
            }))
            .unwrap();
            roles.create(&PostParams::default(), &role).await.unwrap();
            bindings
                .create(&PostParams::default(), &binding)
                .await
                .unwrap();
        }
        self.knows_its_roles().await;
    }

    /// The server learns of its own roles by a watch, a moment after they were written: until layerplay's user may list
    /// nodes.
    pub(crate) async fn knows_its_roles(&self) {
        let nodes: Api<Node> = Api::all(self.layerplay().await);
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(problem) = nodes.list(&ListParams::default()).await {
            assert!(Instant::now() < deadline, "{problem}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// layerplay's own user: may do what RBAC says.
    pub(crate) async fn layerplay(&self) -> kube::Client {
        client(&self.ready.layerplay).await
    }
}

async fn client(kubeconfig: &Path) -> kube::Client {
    // A second installation finds the first one's provider in place, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(
        kubeconfig,
        &kube::config::KubeConfigOptions::default(),
    )
    .await
    .unwrap();
    kube::Client::try_from(config).unwrap()
}

/// The program and the folder of OpenShift's API module, built and fetched at most once a machine.
fn built() -> (PathBuf, PathBuf) {
    static BUILT: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    let make = || {
        API_SERVER.go(&["mod", "download", "github.com/openshift/api"]);
        let crds = API_SERVER.go(&["list", "-m", "-f", "{{.Dir}}", "github.com/openshift/api"]);
        (
            API_SERVER.program("apiserver", "."),
            PathBuf::from(crds.trim()),
        )
    };
    BUILT.get_or_init(make).clone()
}

/// `kubectl` of the API server's own version. Debian's is years older and cannot exec by WebSocket.
pub(crate) fn kubectl() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let make = || API_SERVER.program("kubectl", "k8s.io/kubernetes/cmd/kubectl");
    BUILT.get_or_init(make).clone()
}
