//! The simulated OpenShift: API servers, controllers, nodes and a registry on loopback. Nothing in the engine knows it.

pub mod api;
pub mod cluster;
pub mod registry;

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use api::{ApiServer, ExecHandler, ExecOutput, ExecRequest, Store};
use cluster::{
    Access, Machines, NodeSpec, Pace, Plan, Pulls, seed, start_controllers, start_nodes,
};
use registry::release::{Published, ReleaseSpec, publish};

/// The release that both clusters run.
const VERSION: &str = "4.18.9";

/// A cluster of the lab.
pub struct LabCluster {
    pub name: String,
    /// The inventory group: `staging`, `prod`.
    pub group: &'static str,
    pub api: api::Handle,
    pub machines: Arc<Machines>,
}

/// Two clusters and a registry. Dropping it ends them all.
pub struct Lab {
    pub registry: Arc<registry::Handle>,
    pub published: Published,
    pub clusters: Vec<LabCluster>,
    stop: CancellationToken,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Name, group, custom pool with its nodes, workers. The control plane always has three nodes.
const CLUSTERS: &[(&str, &str, usize, usize)] =
    &[("stage-a", "staging", 1, 3), ("prod-a", "prod", 0, 5)];

/// The nodes of a cluster, in the order of their age.
pub fn nodes(canaries: usize, workers: usize) -> Vec<NodeSpec> {
    let node = |pool: &str, index: usize| NodeSpec {
        name: format!("{pool}-{index}"),
        pool: pool.to_owned(),
        zone: format!("zone-{}", ["a", "b", "c"][index % 3]),
    };
    let masters = (0..3).map(|index| node("master", index));
    let canaries = (0..canaries).map(|index| node("canary", index));
    let workers = (0..workers).map(|index| node("worker", index));
    masters.chain(canaries).chain(workers).collect()
}

/// Nodes of the lab pull from the lab's registry.
pub struct FromRegistry(pub Arc<registry::Handle>);

impl Pulls for FromRegistry {
    fn pull(&self, image: &str) -> Result<String, String> {
        let missing = || format!("reading manifest in {image}: manifest unknown");
        let (repository, digest) = image.split_once('@').ok_or_else(missing)?;
        let repository = repository
            .strip_prefix(&format!("{}/", self.0.address()))
            .ok_or_else(|| {
                format!("pinging container registry: dial tcp: lookup {repository}: no such host")
            })?;
        if !self.0.has_manifest(repository, digest) {
            return Err(missing());
        }
        let label = |name: &str| self.0.label(repository, digest, name);
        if label("ostree.bootable").is_none() && label("containers.bootc").is_none() {
            return Err("Target image does not have ostree.bootable label".to_owned());
        }
        Ok(label("version").unwrap_or_default())
    }
}

/// Runs commands in the lab's pods: what a pod sees is its node.
struct Pods {
    machines: Arc<Machines>,
    store: OnceLock<Arc<Store>>,
}

#[async_trait]
impl ExecHandler for Pods {
    async fn exec(&self, request: ExecRequest) -> Result<ExecOutput, String> {
        let pods = api::resources::find("", "v1", "pods");
        let pod = self
            .store
            .get()
            .zip(pods)
            .and_then(|(store, pods)| store.get(pods, &request.namespace, &request.pod));
        let node = pod
            .as_ref()
            .and_then(|pod| pod["spec"]["nodeName"].as_str())
            .ok_or_else(|| format!("pod {} has no node", request.pod))?;
        let (stdout, stderr, exit_status) = self.machines.run(node, &request.command)?;
        Ok(ExecOutput {
            stdout: stdout.into_bytes(),
            stderr: stderr.into_bytes(),
            exit_status,
        })
    }
}

impl Lab {
    /// Starts everything; returns when the clusters are as after their installation.
    pub async fn start(pace: Pace) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let registry = Arc::new(registry::start(registry::Options::default()).await?);
        let published = publish(
            &registry,
            &ReleaseSpec {
                version: VERSION.to_owned(),
                architecture: "amd64".to_owned(),
            },
        )?;
        let mut lab = Self {
            registry,
            published,
            clusters: Vec::new(),
            stop,
        };
        for (name, group, canaries, workers) in CLUSTERS {
            let cluster = lab
                .cluster(name, group, nodes(*canaries, *workers), pace)
                .await?;
            lab.clusters.push(cluster);
        }
        Ok(lab)
    }

    async fn cluster(
        &self,
        name: &str,
        group: &'static str,
        nodes: Vec<NodeSpec>,
        pace: Pace,
    ) -> io::Result<LabCluster> {
        let plan = Plan {
            name: name.to_owned(),
            version: VERSION.to_owned(),
            release_image: self.published.release_image.clone(),
            os_image: self.published.os_image.clone(),
            nodes,
        };
        let machines = Arc::new(Machines::new(
            name,
            &plan.node_names(),
            &plan.os_image,
            Box::new(FromRegistry(Arc::clone(&self.registry))),
        ));
        let pods = Arc::new(Pods {
            machines: Arc::clone(&machines),
            store: OnceLock::new(),
        });
        let token = token();
        let options = api::Options {
            exec: Some(Arc::clone(&pods) as Arc<dyn ExecHandler>),
            token,
            ..api::Options::default()
        };
        let api = ApiServer::start(options).await?;
        // Only set here, before anybody can call.
        let _ = pods.store.set(Arc::clone(api.store()));
        let access = Access::new(api.client());
        seed(&access, &plan, &machines)
            .await
            .map_err(io::Error::other)?;
        start_controllers(&access, pace, &self.stop);
        start_nodes(&access, &machines, pace, &self.stop);
        Ok(LabCluster {
            name: name.to_owned(),
            group,
            api,
            machines,
        })
    }

    /// Writes a kubeconfig for each cluster and an inventory that names them; the inventory's path.
    pub fn write(&self, dir: &Path) -> io::Result<PathBuf> {
        std::fs::create_dir_all(dir)?;
        let mut groups = serde_json::Map::new();
        for cluster in &self.clusters {
            let path = std::path::absolute(dir)?.join(format!("kubeconfig-{}", cluster.name));
            private(&path, &cluster.api.kubeconfig(&cluster.name))?;
            let host = json!({"kubeconfig": path, "context": cluster.name});
            let group = groups
                .entry(cluster.group)
                .or_insert_with(|| json!({"hosts": {}}));
            group["hosts"][&cluster.name] = host;
        }
        let registry = format!("{}/os-layers", self.registry.address());
        groups.insert(
            "all".to_owned(),
            json!({"vars": {"ansible_connection": "cluster", "registry": registry}}),
        );
        let text = serde_saphyr::to_string(&groups).map_err(io::Error::other)?;
        let path = dir.join("inventory.yml");
        private(&path, &text)?;
        Ok(path)
    }
}

/// Kubeconfigs hold tokens.
fn private(path: &Path, text: &str) -> io::Result<()> {
    use io::Write;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// A bearer token that nobody can guess: from the hash keys that the standard library draws from the system.
fn token() -> String {
    use std::hash::{BuildHasher, RandomState};
    let part = || RandomState::new().hash_one(0_u8);
    format!("lab-{:016x}{:016x}", part(), part())
}
