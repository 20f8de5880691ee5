//! The machine-config daemon of a node. In: its `desiredConfig`. Out: the node drained, its image pulled, booted, done
//! (MCO: pkg/daemon). And a kubelet's part: pods that are bound to a node run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Error;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Pace;
use super::access::{Access, CONFIGS, NODES, P, PODS, annotation, name};
use super::machine::Machines;
use super::seen::{AGAIN, Seen, on_change, pump};
use super::update::{now, with_conditions};

struct Daemon {
    access: Access,
    machines: Arc<Machines>,
    node: String,
    pace: Pace,
}

/// Starts the daemons of machines. One watch serves them: thousands of watches of one object each would all be woken
/// by every change.
pub(super) fn start(
    access: &Access,
    machines: &Arc<Machines>,
    names: Vec<String>,
    pace: Pace,
    stop: &CancellationToken,
) {
    let mut daemons: HashMap<String, Arc<Notify>> = HashMap::new();
    for node in names {
        let changed = Arc::new(Notify::new());
        daemons.insert(node.clone(), Arc::clone(&changed));
        let daemon = Daemon {
            access: access.clone(),
            machines: Arc::clone(machines),
            node,
            pace,
        };
        tokio::spawn(daemon.run(changed, stop.clone()));
    }
    let mut arrived = pump(access, &[NODES], stop);
    tokio::spawn(async move {
        while let Some((_, event)) = arrived.recv().await {
            if let Event::Apply(node) | Event::InitApply(node) = event
                && let Some(name) = node.metadata.name
                && let Some(changed) = daemons.get(&name)
            {
                changed.notify_one();
            }
        }
    });
}

impl Daemon {
    /// A step after each change of the node; one that failed is tried again, as the daemon does for ever.
    async fn run(self, changed: Arc<Notify>, stop: CancellationToken) {
        loop {
            if stop.run_until_cancelled(changed.notified()).await.is_none() {
                return;
            }
            // Several changes at once are looked at once.
            tokio::time::sleep(self.pace.sync).await;
            if self.sync().await.is_err() {
                tokio::time::sleep(self.pace.sync.max(AGAIN)).await;
                changed.notify_one();
            }
        }
    }

    async fn set(&self, values: Value) -> Result<(), Error> {
        let annotations: serde_json::Map<String, Value> = values
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (format!("{P}{key}"), value.clone()))
            .collect();
        self.access
            .merge(
                NODES,
                None,
                &self.node,
                &json!({"metadata": {"annotations": annotations}}),
            )
            .await
    }

    /// One step, from what the node says of itself: it can be interrupted between any two.
    async fn sync(&self) -> Result<(), Error> {
        let Some(node) = self.access.get(NODES, &self.node).await? else {
            return Ok(());
        };
        let (current, desired) = (
            annotation(&node, "currentConfig"),
            annotation(&node, "desiredConfig"),
        );
        let (drain, applied) = (
            annotation(&node, "desiredDrain"),
            annotation(&node, "lastAppliedDrain"),
        );
        let state = annotation(&node, "state");
        if current == desired && state == "Done" && !drain.starts_with("drain-") {
            return Ok(());
        }
        if self.machines.is_lost(&self.node) {
            return Ok(());
        }
        if current == desired {
            return self.finish(&node, desired).await;
        }
        let Some(config) = self.access.get(CONFIGS, desired).await? else {
            let reason =
                format!("machineconfig.machineconfiguration.openshift.io \"{desired}\" not found");
            return self
                .set(json!({"state": "Degraded", "reason": reason}))
                .await;
        };
        let image = config["spec"]["osImageURL"].as_str().unwrap_or_default();
        if self.machines.config(&self.node) == desired {
            // Booted: what it runs is looked at once more (MCO: pkg/daemon/on_disk_validation.go).
            let Some(instead) = self.machines.runs_instead(&self.node, image) else {
                return self.finish(&node, desired).await;
            };
            let reason = format!(
                "unexpected on-disk state validating against {desired}: expected target osImageURL \"{image}\", have \"{instead}\""
            );
            if state == "Degraded" {
                return Ok(());
            }
            return self
                .set(json!({"state": "Degraded", "reason": reason}))
                .await;
        }
        if !matches!(state, "Working" | "Degraded") {
            return self.set(json!({"state": "Working", "reason": ""})).await;
        }
        let before = self.access.get(CONFIGS, current).await?;
        if before.is_some_and(|before| before["spec"] == config["spec"]) {
            // Another name for the same content: nothing to write, nothing to boot.
            self.machines.write_config(&self.node, desired);
            return self.finish(&node, desired).await;
        }
        let wanted = format!("drain-{desired}");
        if drain != wanted {
            return self.set(json!({"desiredDrain": wanted})).await;
        }
        if applied != wanted {
            return Ok(());
        }
        tokio::time::sleep(self.pace.pull).await;
        let version = match self.machines.pull(&self.node, image) {
            Ok(version) => version,
            Err(problem) => {
                let reason = format!(
                    "failed to update OS to {image}: error running rpm-ostree rebase --experimental ostree-unverified-registry:{image}: error: Creating importer: {problem}"
                );
                if state != "Degraded" {
                    self.set(json!({"state": "Degraded", "reason": reason}))
                        .await?;
                }
                // Tried again and again, as the daemon does: a registry that gets the image mends the node.
                return Err(Error::Service("the image cannot be pulled yet".into()));
            }
        };
        self.machines.write_config(&self.node, desired);
        self.set(json!({"state": "Working", "reason": "", "post-config-action": "Rebooting"}))
            .await?;
        if self.reboot(image, &version).await? {
            // The daemon starts anew and looks at what it finds.
            self.set(json!({"post-config-action": ""})).await?;
        }
        Ok(())
    }

    /// The config is on the disk and booted: the node asks to be schedulable again, and then is done.
    async fn finish(&self, node: &Value, desired: &str) -> Result<(), Error> {
        let wanted = format!("uncordon-{desired}");
        if annotation(node, "desiredDrain") != wanted {
            return self.set(json!({"desiredDrain": wanted})).await;
        }
        if annotation(node, "lastAppliedDrain") == wanted {
            return self
                .set(json!({"currentConfig": desired, "state": "Done", "reason": ""}))
                .await;
        }
        Ok(())
    }

    /// Whether the machine came back.
    async fn reboot(&self, image: &str, version: &str) -> Result<bool, Error> {
        self.machines.go_down(&self.node);
        self.ready("Unknown", None).await?;
        tokio::time::sleep(self.pace.reboot).await;
        let Some(boot) = self.machines.boot(&self.node, image, version) else {
            return Ok(false);
        };
        self.ready("True", Some(&boot)).await?;
        Ok(true)
    }

    /// The kubelet's word on the node.
    async fn ready(&self, status: &str, boot: Option<&str>) -> Result<(), Error> {
        let (reason, message) = match status {
            "True" => ("KubeletReady", "kubelet is posting ready status"),
            _ => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        };
        let time = now();
        let node = self
            .access
            .get(NODES, &self.node)
            .await?
            .unwrap_or_default();
        let ready = json!({
            "type": "Ready", "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": time, "lastTransitionTime": time,
        });
        let conditions = with_conditions(&node, [ready]);
        let mut patch = json!({"status": {"conditions": conditions}});
        if let Some(boot) = boot {
            patch["status"]["nodeInfo"] = json!({"bootID": boot});
        }
        self.access
            .merge_status(NODES, None, &self.node, &patch)
            .await
    }
}

/// Pods that name a node and have not started do so.
pub(super) fn start_kubelet(access: Access, stop: CancellationToken) {
    tokio::spawn(async move {
        on_change(&access, &[PODS], Duration::from_millis(20), &stop, kubelet).await;
    });
}

async fn kubelet(access: &Access, seen: &Seen) -> Result<(), Error> {
    for pod in seen.all(PODS) {
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        if pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
            continue;
        }
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            access.delete_now(PODS, Some(namespace), name(pod)).await?;
            continue;
        }
        if !matches!(pod["status"]["phase"].as_str(), None | Some("" | "Pending")) {
            continue;
        }
        let time = now();
        let containers = pod["spec"]["containers"].as_array();
        let statuses: Vec<Value> = containers
            .into_iter()
            .flatten()
            .map(|container| json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": true, "restartCount": 0, "started": true, "state": {"running": {"startedAt": time}}}))
            .collect();
        let status = json!({"status": {
            "phase": "Running", "startTime": time, "containerStatuses": statuses,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time}],
        }});
        access
            .merge_status(PODS, Some(namespace), name(pod), &status)
            .await?;
    }
    Ok(())
}
