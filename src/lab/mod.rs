//! The simulated OpenShift: API servers, controllers, nodes and a registry on loopback. Nothing in the engine knows it.

pub mod api;
pub mod cluster;
mod faults;
pub mod registry;
pub mod scenario;

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use api::{ApiServer, ExecHandler, ExecOutput, ExecRequest, Store};
use cluster::{
    Access, Machines, NodeSpec, Pace, Plan, Pulls, scale_up, seed, start_controllers, start_nodes,
};
use faults::ApiFaults;
use registry::release::{Published, ReleaseSpec, publish};
use scenario::{ClusterSpec, Fault, Scenario};

/// How long the API of a cluster with several control-plane nodes says nothing when one of them goes down.
const TAKE_OVER: Duration = Duration::from_millis(100);

/// A cluster of the lab.
pub struct LabCluster {
    pub name: String,
    /// The inventory group: `staging`, `prod`.
    pub group: String,
    pub api: api::Handle,
    pub machines: Arc<Machines>,
}

/// Clusters and a registry. Dropping it ends them all.
pub struct Lab {
    pub registry: Arc<registry::Handle>,
    pub clusters: Vec<LabCluster>,
    pace: Pace,
    stop: CancellationToken,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Nodes of the lab pull from the lab's registry.
pub struct FromRegistry(pub Arc<registry::Handle>);

impl FromRegistry {
    /// The repository and digest of an image that is there.
    fn find<'i>(&self, image: &'i str) -> Result<(&'i str, &'i str), String> {
        let missing = || format!("reading manifest in {image}: manifest unknown");
        let (name, digest) = image.split_once('@').ok_or_else(missing)?;
        let repository = name
            .strip_prefix(&format!("{}/", self.0.address()))
            .ok_or_else(|| {
                format!("pinging container registry: dial tcp: lookup {name}: no such host")
            })?;
        if self.0.is_down() {
            return Err(format!(
                "pinging container registry {}: connection refused",
                self.0.address()
            ));
        }
        if !self.0.has_manifest(repository, digest) {
            return Err(missing());
        }
        Ok((repository, digest))
    }
}

impl Pulls for FromRegistry {
    fn pull(&self, image: &str) -> Result<String, String> {
        let (repository, digest) = self.find(image)?;
        let label = |name: &str| self.0.label(repository, digest, name);
        if label("ostree.bootable").is_none() && label("containers.bootc").is_none() {
            return Err("Target image does not have ostree.bootable label".to_owned());
        }
        Ok(label("version").unwrap_or_default())
    }

    fn look(&self, image: &str) -> Result<String, String> {
        let (repository, digest) = self.find(image)?;
        Ok(self.0.manifest(repository, digest).unwrap_or_default())
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
    /// Starts everything; returns when the clusters are as after their installation, and as the scenario wants them.
    pub async fn start(scenario: &Scenario) -> io::Result<Self> {
        let mut lab = Self {
            registry: Arc::new(registry::start(registry::Options::default()).await?),
            clusters: Vec::new(),
            pace: scenario.pace(),
            stop: CancellationToken::new(),
        };
        for spec in &scenario.clusters {
            let cluster = lab.cluster(spec, scenario).await?;
            lab.clusters.push(cluster);
        }
        if scenario
            .faults
            .iter()
            .any(|spec| spec.fault == Fault::RegistryDown)
        {
            lab.registry.shutdown();
        }
        Ok(lab)
    }

    async fn cluster(&self, spec: &ClusterSpec, scenario: &Scenario) -> io::Result<LabCluster> {
        let release = ReleaseSpec {
            version: spec.version.clone(),
            architecture: "amd64".to_owned(),
        };
        // The same release again has the same digests.
        let Published {
            release_image,
            os_image,
        } = publish(&self.registry, &release)?;
        let plan = Plan {
            name: spec.name.clone(),
            version: release.version,
            release_image,
            os_image,
            pools: spec.pools.keys().cloned().collect(),
            nodes: spec.nodes(),
        };
        let machines = Arc::new(Machines::new(
            &plan.name,
            &plan.node_names(),
            &plan.os_image,
            Box::new(FromRegistry(Arc::clone(&self.registry))),
        ));
        machines.plan(faults::troubles(scenario.faults_of(&plan.name)));
        let pods = Arc::new(Pods {
            machines: Arc::clone(&machines),
            store: OnceLock::new(),
        });
        let options = api::Options {
            exec: Some(Arc::clone(&pods) as Arc<dyn ExecHandler>),
            faults: Arc::new(ApiFaults::new(scenario.faults_of(&plan.name))),
            token: token(),
            ..api::Options::default()
        };
        let api = ApiServer::start(options).await?;
        // Only set here, before anybody can call.
        let _ = pods.store.set(Arc::clone(api.store()));
        let control_plane: Vec<String> = plan
            .nodes
            .iter()
            .filter(|node| node.pool == "master")
            .map(|node| node.name.clone())
            .collect();
        let power = api.power();
        machines.tell(move |node, is_up| {
            let is_of_it = control_plane.iter().any(|name| name == node);
            match (is_of_it, control_plane.len(), is_up) {
                (true, 1, false) => power.off(),
                (true, 1, true) => power.on(),
                // Another server takes over from the one that reboots.
                (true, _, false) => power.restart(TAKE_OVER),
                _ => {}
            }
        });
        let access = Access::new(api.client());
        seed(&access, &plan, &machines)
            .await
            .map_err(io::Error::other)?;
        faults::plant(&access, scenario.faults_of(&plan.name))
            .await
            .map_err(io::Error::other)?;
        start_controllers(&access, self.pace, &self.stop);
        start_nodes(&access, &machines, self.pace, &self.stop);
        Ok(LabCluster {
            name: plan.name,
            group: spec.group.clone(),
            api,
            machines,
        })
    }

    /// A node joins a cluster's pool: a machine that was just installed, as when a cluster is scaled up.
    pub async fn join(&self, cluster: &LabCluster, node: &NodeSpec) -> io::Result<()> {
        let access = Access::new(cluster.api.client());
        scale_up(&access, &cluster.machines, node, self.pace, &self.stop)
            .await
            .map_err(io::Error::other)
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
                .entry(cluster.group.clone())
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
