//! Options in, a running Kubernetes API server for one simulated cluster out: real HTTP on loopback for kubectl, and the
//! same router in process for `kube::Client`.
//!
//! ```text
//! request ──► server (faults, routing) ──► read  (get, list, watch, table) ──┐
//!                                     ├──► write (rules, patch, ownership) ──┼──► store (versions, log of changes)
//!                                     ├──► exec  (WebSocket)                 ┘
//!                                     └──► discovery
//! ```

mod discovery;
pub mod exec;
pub mod faults;
mod fields;
mod ownership;
mod patch;
mod power;
mod read;
pub mod request;
pub mod resources;
mod rules;
pub mod selector;
mod server;
pub mod status;
pub mod store;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod write;

pub use exec::{ExecHandler, ExecOutput, ExecRequest, Stdin};
pub use faults::{Fault, FaultQueue, Faults, NoFaults};
pub use power::Power;
pub use request::RequestInfo;
pub use resources::Resource;
pub use status::ApiError;
pub use store::Store;
pub use write::selects;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http::{Request, header};
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use server::Server;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// How a cluster's API server behaves.
pub struct Options {
    /// `127.0.0.1:0` lets the system choose the port.
    pub bind: SocketAddr,
    /// What `/version` says; OpenShift 4.18 is Kubernetes 1.31.
    pub version: String,
    /// The bearer token that requests over the socket must carry.
    pub token: String,
    /// Namespaces that exist from the start.
    pub namespaces: Vec<String>,
    /// Who runs commands in pods; without one, exec fails as it does when no kubelet answers.
    pub exec: Option<Arc<dyn ExecHandler>>,
    pub faults: Arc<dyn Faults>,
    /// Pods on a node linger after a delete until somebody deletes them with grace 0. Off: they go at once.
    pub graceful_pods: bool,
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        let namespaces = [
            "default",
            "kube-system",
            "kube-public",
            "kube-node-lease",
            "openshift-config",
            "openshift-config-managed",
            "openshift-machine-config-operator",
        ];
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            version: "v1.31.7".into(),
            token: "lab".into(),
            namespaces: namespaces.map(str::to_owned).to_vec(),
            exec: None,
            faults: Arc::new(NoFaults),
            graceful_pods: false,
            clock: Arc::new(Timestamp::now),
        }
    }
}

/// Starts API servers.
#[derive(Debug, Clone, Copy)]
pub struct ApiServer;

/// A running API server. Dropping it shuts the server down.
pub struct Handle {
    address: SocketAddr,
    token: String,
    certificate: String,
    store: Arc<Store>,
    router: axum::Router,
    power: Arc<Power>,
    closing: CancellationToken,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Binds, creates the namespaces, and serves until the handle is dropped or shut down.
    pub async fn start(options: Options) -> std::io::Result<Handle> {
        let clock = options.clock;
        let store = Arc::new(Store::new(move || clock()));
        for name in &options.namespaces {
            let namespace = json!({
                "kind": "Namespace", "apiVersion": "v1",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
            });
            store
                .seed(namespace)
                .map_err(|error| std::io::Error::other(error.message))?;
        }
        let closing = CancellationToken::new();
        let power = Arc::new(Power::new(closing.clone()));
        let server = Arc::new(Server {
            store: store.clone(),
            exec: options.exec,
            faults: options.faults,
            graceful_pods: options.graceful_pods,
            version: options.version,
            power: Arc::clone(&power),
        });
        let router = axum::Router::new()
            .fallback(move |request: Request<Body>| server::answer(server.clone(), request));
        let listener = tokio::net::TcpListener::bind(options.bind).await?;
        let address = listener.local_addr()?;
        let identity = tls::Identity::new()?;
        let listener = tls::Listener::new(listener, &identity, Arc::clone(&power))?;
        let expected = format!("Bearer {}", options.token);
        let guarded = router.clone().layer(axum::middleware::from_fn(
            move |mut request: Request<Body>, next: axum::middleware::Next| {
                request.extensions_mut().insert(server::Outside);
                let allowed = request
                    .headers()
                    .get(header::AUTHORIZATION)
                    .is_some_and(|given| given.as_bytes() == expected.as_bytes());
                async move {
                    if allowed {
                        next.run(request).await
                    } else {
                        Response::into_response(ApiError::unauthorized().into_response())
                    }
                }
            },
        ));
        let stop = closing.clone();
        tokio::spawn(async move {
            // An accept loop that fails has nobody to tell: clients see the refused connection.
            let _ = axum::serve(listener, guarded)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await;
        });
        Ok(Handle {
            address,
            token: options.token,
            certificate: identity.certificate,
            store,
            router,
            power,
            closing,
        })
    }
}

impl Handle {
    /// `https://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The bearer token of the kubeconfig.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The cluster's objects.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// A client that calls the router in process: no socket, no token. Exec needs a socket: see [`Handle::config`].
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.router.clone(), "default")
    }

    /// The configuration of a client over the socket.
    pub fn config(&self) -> Result<kube::Config, http::uri::InvalidUri> {
        let mut config = kube::Config::new(self.url().parse()?);
        config.root_cert = Some(
            rustls::pki_types::CertificateDer::pem_slice_iter(self.certificate.as_bytes())
                .flatten()
                .map(|certificate| certificate.to_vec())
                .collect(),
        );
        config.auth_info.token = Some(self.token.clone().into());
        Ok(config)
    }

    /// A kubeconfig file's text, with cluster, user and context of this name.
    pub fn kubeconfig(&self, name: &str) -> String {
        let authority = base64::engine::general_purpose::STANDARD.encode(&self.certificate);
        let config: Value = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": self.url(), "certificate-authority-data": authority}}],
            "users": [{"name": name, "user": {"token": self.token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        });
        // JSON is YAML, and every reader of kubeconfigs takes it.
        format!("{config:#}\n")
    }

    /// The switch of the machine that it runs on. Calls in process are always answered.
    pub fn power(&self) -> Arc<Power> {
        Arc::clone(&self.power)
    }

    /// Stops accepting, ends every watch. Objects stay readable through the store.
    pub fn shutdown(&self) {
        self.closing.cancel();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shutdown();
    }
}
