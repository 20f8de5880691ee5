//! Which cluster, and how to talk to it. In: `kubeconfig` and `context` of a host or a task; out: one `kube::Client`
//! for each cluster and run, and API errors in the server's own words.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::{Mutex, OnceCell};
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;
use tower::util::MapRequestLayer;

use super::kinds::Discovered;
use crate::error::{ErrorKind, ModuleError};

/// An API server that does not even accept a connection in this time is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One that accepts it and then says nothing is away, too. It gives up its own work after as long (kube-apiserver:
/// `--request-timeout`); a watch answers at once, and then goes on. The client's own tries after a 429 or 503 count into it.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// The names by which a host or a task says which cluster it means. Both empty: `KUBECONFIG`, the default file,
/// then in-cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ClusterRef {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
}

impl ClusterRef {
    /// A task's own arguments win over the host's variables.
    #[must_use]
    pub fn or_arguments(&self, kubeconfig: Option<&PathBuf>, context: Option<&String>) -> Self {
        Self {
            kubeconfig: kubeconfig.or(self.kubeconfig.as_ref()).cloned(),
            context: context.or(self.context.as_ref()).cloned(),
        }
    }
}

/// A connection.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    /// The server's address, for messages.
    pub server: String,
    config: Arc<Config>,
    /// See [`Cluster::once`].
    once: Arc<OnceCell<Client>>,
    requests: Arc<AtomicU64>,
    /// What discovery said, for every client of this cluster.
    pub(super) discovered: Arc<Discovered>,
}

/// The clients of a run.
#[derive(Default)]
pub struct Clusters {
    open: Mutex<HashMap<ClusterRef, Arc<OnceCell<Cluster>>>>,
}

impl Clusters {
    /// The one client of a cluster, made when it is first asked for.
    pub async fn get(&self, which: &ClusterRef) -> Result<Cluster, ModuleError> {
        let cell = {
            let mut open = self.open.lock().await;
            Arc::clone(open.entry(which.clone()).or_default())
        };
        cell.get_or_try_init(|| connect(which)).await.cloned()
    }

    /// How many requests each API server got, by its address. What was asked again of itself after a 429 counts once.
    pub async fn requests(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for cluster in self
            .open
            .lock()
            .await
            .values()
            .filter_map(|cell| cell.get())
        {
            *all.entry(cluster.server.clone()).or_default() +=
                cluster.requests.load(Ordering::Relaxed);
        }
        all
    }
}

async fn connect(which: &ClusterRef) -> Result<Cluster, ModuleError> {
    // A second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = configuration(which).await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let server = config
        .cluster_url
        .to_string()
        .trim_end_matches('/')
        .to_owned();
    let requests = Arc::default();
    Ok(Cluster {
        client: client(config.clone(), &server, &requests)?,
        server,
        requests,
        config: Arc::new(config),
        once: Arc::default(),
        discovered: Arc::default(),
    })
}

fn client(config: Config, server: &str, requests: &Arc<AtomicU64>) -> Result<Client, ModuleError> {
    let builder = ClientBuilder::try_from(config).map_err(|problem| {
        ModuleError::failed(format!("no client for `{server}` can be made: {problem}"))
    })?;
    let requests = Arc::clone(requests);
    let counted = MapRequestLayer::new(move |request| {
        requests.fetch_add(1, Ordering::Relaxed);
        request
    });
    Ok(builder
        .with_layer(&TimeoutLayer::new(ANSWER_TIMEOUT))
        .with_layer(&counted)
        .build())
}

async fn configuration(which: &ClusterRef) -> Result<Config, ModuleError> {
    let options = KubeConfigOptions {
        context: which.context.clone(),
        ..KubeConfigOptions::default()
    };
    let (file, place) = match &which.kubeconfig {
        Some(path) => {
            let path = expand_home(path);
            let shown = path.display().to_string();
            if !path.is_file() {
                return Err(ModuleError::argument("kubeconfig", format!("kubeconfig `{shown}` does not exist")).hint("name it in the inventory with `kubeconfig:`, or leave it out to use `KUBECONFIG`"));
            }
            let file = Kubeconfig::read_from(&path).map_err(|problem| {
                ModuleError::argument(
                    "kubeconfig",
                    format!("kubeconfig `{shown}` cannot be used: {problem}"),
                )
            })?;
            (file, shown)
        }
        None => match Kubeconfig::read() {
            Ok(file) => (file, "the default kubeconfig".to_owned()),
            Err(problem) => {
                return Config::incluster().map_err(|_| {
                    ModuleError::new(
                        ErrorKind::Unreachable,
                        format!("no cluster is named: {problem}"),
                    )
                    .hint("give the host a `kubeconfig` or `context`, or set `KUBECONFIG`")
                });
            }
        },
    };
    if let Some(context) = &which.context
        && !file.contexts.iter().any(|known| known.name == *context)
    {
        let names: Vec<&str> = file
            .contexts
            .iter()
            .map(|known| known.name.as_str())
            .collect();
        let near = names
            .iter()
            .min_by_key(|name| strsim::damerau_levenshtein(name, context));
        let near = near.filter(|name| strsim::damerau_levenshtein(name, context) <= 2);
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "it has no contexts at all".to_owned(),
            None => format!("it has: {}", names.join(", ")),
        };
        return Err(ModuleError::argument(
            "context",
            format!("{place} has no context `{context}`"),
        )
        .hint(hint));
    }
    Config::from_custom_kubeconfig(file, &options)
        .await
        .map_err(|problem| ModuleError::failed(format!("{place} cannot be used: {problem}")))
}

fn expand_home(path: &std::path::Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path.to_owned(),
    }
}

impl Cluster {
    /// A client that asks once. The usual one tries for minutes, silently, when the server says 429: that is also how a
    /// disruption budget refuses an eviction, and there it is an answer.
    pub async fn once(&self) -> Result<&Client, ModuleError> {
        let make = || async {
            let mut config = (*self.config).clone();
            config.default_retry = false;
            client(config, &self.server, &self.requests)
        };
        self.once.get_or_try_init(make).await
    }

    /// A client's error as a module's: what was tried, and the server's own words.
    pub fn told(&self, what: &str, problem: &kube::Error) -> ModuleError {
        match problem {
            kube::Error::Api(status) => {
                let message = format!("cannot {what}: {}", status.message);
                match status.code {
                    401 => ModuleError::new(ErrorKind::Forbidden, format!("cannot {what}: `{}` does not accept the credentials", self.server))
                        .hint("log in again (`oc login`): the token may have expired"),
                    403 => ModuleError::new(ErrorKind::Forbidden, message).hint("the user of the kubeconfig lacks this right; docs/rights.yml of layerplay has the rights that it needs"),
                    404 => ModuleError::new(ErrorKind::NotFound, message),
                    409 => ModuleError::new(ErrorKind::Conflict, message).retry_after(Duration::from_millis(500)),
                    429 | 500..=599 => ModuleError::new(ErrorKind::Unreachable, message).retry_after(Duration::from_secs(2)),
                    _ => ModuleError::failed(message),
                }
            }
            other => {
                // The innermost cause says it best: `Connection refused`.
                let mut cause: &dyn std::error::Error = other;
                while let Some(source) = cause.source() {
                    cause = source;
                }
                let hangs = cause.is::<Elapsed>();
                let said = if hangs {
                    format!("no usable answer within {} s", ANSWER_TIMEOUT.as_secs())
                } else {
                    cause.to_string()
                };
                let problem = ModuleError::new(
                    ErrorKind::Unreachable,
                    format!("cannot {what}: `{}` cannot be reached: {said}", self.server),
                )
                .hint("check the address in the kubeconfig and the way to it");
                // Who said nothing for so long is not asked again at once.
                if hangs {
                    problem
                } else {
                    problem.retry_after(Duration::from_secs(2))
                }
            }
        }
    }
}
