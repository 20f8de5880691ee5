//! In: what a task wants. Out: its platform.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use indexmap::IndexMap;
use layerplay_modules::ModuleError;
use layerplay_modules::openshift::connection::{ClusterRef, Clusters};
use layerplay_modules::platform::{Clock, Platform, SystemClock, Target};
use layerplay_modules::registry::{Registries, RegistryOptions};
use layerplay_modules::secret::Secrets;

use serde_json::Value;

use super::local::Local;
use super::privilege;
use super::ssh::{Connections, Opener};
use crate::run::{Connect, Wanted};

/// The adapters of a run.
pub struct Adapters {
    clusters: Arc<Clusters>,
    /// By how the host's variables say that registries are reached.
    registries: Mutex<HashMap<String, Arc<Registries>>>,
    secrets: Arc<Secrets>,
    clock: Arc<dyn Clock>,
    connections: Arc<Connections>,
}

impl Adapters {
    pub fn new(secrets: Arc<Secrets>) -> Self {
        Self {
            clusters: Arc::default(),
            registries: Mutex::default(),
            secrets,
            clock: Arc::new(SystemClock),
            connections: Arc::default(),
        }
    }
}

impl Adapters {
    /// `registry_auth_file`, `registry_ca_file`, `registry_insecure` (a list, or text parted by commas).
    fn registries(&self, variables: &IndexMap<String, Value>) -> Arc<Registries> {
        let path = |name: &str| {
            variables
                .get(name)
                .and_then(Value::as_str)
                .map(PathBuf::from)
        };
        let insecure = match variables.get("registry_insecure") {
            Some(Value::Array(items)) => items
                .iter()
                .filter_map(|item| item.as_str().map(ToOwned::to_owned))
                .collect(),
            Some(Value::String(text)) => {
                text.split(',').map(|name| name.trim().to_owned()).collect()
            }
            _ => Vec::new(),
        };
        let options = RegistryOptions {
            auth_file: path("registry_auth_file"),
            ca_file: path("registry_ca_file"),
            insecure,
        };
        let make = || Arc::new(Registries::new(options.clone(), Arc::clone(&self.secrets)));
        match self.registries.lock() {
            Ok(mut known) => Arc::clone(known.entry(format!("{options:?}")).or_insert_with(make)),
            Err(_) => make(),
        }
    }
}

fn is_ssh(connection: &str) -> bool {
    matches!(connection, "ssh" | "paramiko" | "paramiko_ssh" | "smart")
}

/// Where a machine is: its own variable says it, or its name.
fn address(wanted: &Wanted) -> String {
    let own = wanted.variables.get("ansible_host").and_then(Value::as_str);
    own.unwrap_or(&wanted.host).to_owned()
}

#[async_trait]
impl Connect for Adapters {
    async fn platform(&self, wanted: Wanted) -> Result<Platform, ModuleError> {
        let text = |name: &str| {
            wanted
                .variables
                .get(name)
                .and_then(|value| value.as_str())
                .map(ToOwned::to_owned)
        };
        let target = match wanted.connection.trim_start_matches("ansible.builtin.") {
            "local" => Target::Machine(Arc::new(Local {
                privilege: privilege::needed(wanted.privilege, privilege::own_name().as_deref()),
                environment: wanted.environment.clone(),
                cancel: wanted.cancel.clone(),
            })),
            "cluster" => Target::Cluster,
            name if is_ssh(name) => {
                let address = address(&wanted);
                Target::Machine(
                    self.connections
                        .shell(
                            &address,
                            &wanted.variables,
                            privilege::needed(wanted.privilege, text("ansible_user").as_deref()),
                            wanted.environment.clone(),
                            &wanted.cancel,
                        )
                        .await?,
                )
            }
            other => {
                return Err(ModuleError::failed(format!(
                    "`{}`: no connection is called `{other}`",
                    wanted.host
                ))
                .hint("`ansible_connection` is `cluster`, `ssh` or `local`"));
            }
        };
        Ok(Platform {
            host: wanted.host,
            target,
            cluster: ClusterRef {
                kubeconfig: text("kubeconfig").map(PathBuf::from),
                context: text("context"),
            },
            clusters: Arc::clone(&self.clusters),
            registries: self.registries(&wanted.variables),
            secrets: Arc::clone(&self.secrets),
            clock: Arc::clone(&self.clock),
            progress: wanted.progress,
            opener: Arc::new(Opener {
                connections: Arc::clone(&self.connections),
                cancel: wanted.cancel.clone(),
            }),
            cancel: wanted.cancel,
            base_dir: wanted.base_dir,
            environment: wanted.environment,
            check: wanted.check,
            diff: wanted.diff,
            connection: wanted.variables,
        })
    }

    async fn reset(&self, wanted: Wanted) -> Result<(), ModuleError> {
        // Others keep no connection: this machine needs none, and a cluster is asked anew each time.
        if is_ssh(wanted.connection.trim_start_matches("ansible.builtin.")) {
            self.connections
                .reset(&address(&wanted), &wanted.variables)
                .await?;
        }
        Ok(())
    }

    async fn api_requests(&self) -> BTreeMap<String, u64> {
        self.clusters.requests().await
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}
