//! In: the faults of a scenario. Out: machines that know what will go wrong with them, objects that make trouble, and an
//! API server that fails as planned. What plays the cluster is never failed: only who comes from outside is.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use kube::Error;
use serde_json::{Value, json};

use super::api::{ApiError, Fault as ApiFault, Faults, RequestInfo};
use super::cluster::access::{
    Access, BUDGETS, CONFIGS, CONTROLLER, NAMESPACES, NODES, P, PODS, POOLS, VERSIONS,
};
use super::cluster::{Planned, Trouble, now, with_conditions};
use super::scenario::{Fault, FaultSpec};

/// How long a restart takes, if the scenario does not say.
const RESTART: Duration = Duration::from_secs(2);

/// The namespace of the pods that do not want to go.
const SHOP: &str = "shop";

/// What will go wrong with machines.
pub(super) fn troubles<'f>(faults: impl Iterator<Item = &'f FaultSpec>) -> Vec<Planned> {
    let of_machines = faults.filter_map(|spec| {
        let trouble = match spec.fault {
            Fault::ImageMissing => Trouble::ImageMissing,
            Fault::PullDenied => Trouble::PullDenied,
            Fault::NotBootable => Trouble::NotBootable,
            Fault::RegistryUnreachable => Trouble::RegistryUnreachable,
            Fault::DiskFull => Trouble::DiskFull,
            Fault::NeverReturns => Trouble::NeverReturns,
            Fault::WrongDeployment => Trouble::WrongDeployment,
            Fault::UnnoticedDeployment => Trouble::UnnoticedDeployment,
            _ => return None,
        };
        Some(Planned {
            node: spec.node.clone(),
            trouble,
            times: spec.times,
        })
    });
    of_machines.collect()
}

/// Writes the objects of faults that are objects.
pub(super) async fn plant<'f>(
    access: &Access,
    faults: impl Iterator<Item = &'f FaultSpec>,
) -> Result<(), Error> {
    for spec in faults {
        let node = spec.node.as_deref().unwrap_or_default();
        let pool = spec.pool.as_deref().unwrap_or_default();
        match spec.fault {
            Fault::DrainBlocked => blocked(access, node).await?,
            Fault::DiskPressure => pressure(access, node).await?,
            Fault::Cordoned => {
                let cordon = json!({"spec": {"unschedulable": true}});
                access.merge(NODES, None, node, &cordon).await?;
            }
            Fault::PoolPaused => {
                let pause = json!({"spec": {"paused": true}});
                access.merge(POOLS, None, pool, &pause).await?;
            }
            Fault::ControllerNotReady => {
                let conditions = [
                    ("Completed", "False"),
                    ("Running", "True"),
                    ("Failing", "False"),
                ];
                let conditions = conditions.map(|(kind, status)| json!({"type": format!("TemplateController{kind}"), "status": status, "lastTransitionTime": now()}));
                let busy = json!({"status": {"conditions": conditions}});
                access
                    .merge_status(CONTROLLER, None, "machine-config-controller", &busy)
                    .await?;
            }
            Fault::RenderFailure => access.create(CONFIGS, &unreadable(pool)).await?,
            Fault::UpgradeUnderWay => upgrade(access).await?,
            _ => {}
        }
    }
    Ok(())
}

/// A pod that a budget never lets go.
async fn blocked(access: &Access, node: &str) -> Result<(), Error> {
    let labels = json!({"app": format!("checkout-{node}")});
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("checkout-{node}"), "namespace": SHOP, "labels": labels,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "checkout", "uid": "00000000-0000-4000-8000-000000000002", "controller": true}],
        },
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [{"name": "checkout", "image": "checkout"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": format!("checkout-{node}"), "namespace": SHOP},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}},
        "status": {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1, "observedGeneration": 1},
    });
    access.create(NAMESPACES, &space).await?;
    access.create(PODS, &pod).await?;
    access.create(BUDGETS, &budget).await
}

async fn pressure(access: &Access, name: &str) -> Result<(), Error> {
    let node = access.get(NODES, name).await?.unwrap_or_default();
    let time = now();
    let pressure = json!({
        "type": "DiskPressure", "status": "True", "reason": "KubeletHasDiskPressure",
        "message": "kubelet has disk pressure", "lastHeartbeatTime": time, "lastTransitionTime": time,
    });
    let conditions = with_conditions(&node, [pressure]);
    let patch = json!({"status": {"conditions": conditions}});
    access.merge_status(NODES, None, name, &patch).await
}

/// A MachineConfig of an Ignition version that the operator does not read.
fn unreadable(pool: &str) -> Value {
    json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
        "metadata": {"name": format!("98-unreadable-{pool}"), "labels": {format!("{P}role"): pool}},
        "spec": {"config": {"ignition": {"version": "9.9.0"}}},
    })
}

/// The cluster goes to the next patch release.
async fn upgrade(access: &Access) -> Result<(), Error> {
    let version = access.get(VERSIONS, "version").await?.unwrap_or_default();
    let current = version["status"]["desired"]["version"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let next = current.rsplit_once('.').and_then(|(minor, patch)| {
        let patch: u32 = patch.parse().ok()?;
        Some(format!("{minor}.{}", patch + 1))
    });
    let next = next.unwrap_or(current);
    let image = &version["status"]["desired"]["image"];
    let time = now();
    let mut history = vec![
        json!({"state": "Partial", "version": next, "image": image, "startedTime": time, "completionTime": null, "verified": false}),
    ];
    history.extend(
        version["status"]["history"]
            .as_array()
            .into_iter()
            .flatten()
            .cloned(),
    );
    let patch = json!({"status": {
        "desired": {"version": next, "image": image}, "history": history,
        "conditions": [
            {"type": "Available", "status": "True", "lastTransitionTime": time},
            {"type": "Progressing", "status": "True", "lastTransitionTime": time, "message": format!("Working towards {next}: 640 of 901 done")},
        ],
    }});
    access.merge_status(VERSIONS, None, "version", &patch).await
}

/// An API fault and how much of it is left.
struct Coming {
    spec: FaultSpec,
    before: u64,
    left: Option<u64>,
}

/// The API faults of one cluster.
#[derive(Default)]
pub(super) struct ApiFaults(Mutex<Vec<Coming>>);

impl ApiFaults {
    pub(super) fn new<'f>(faults: impl Iterator<Item = &'f FaultSpec>) -> Self {
        let is_of_api = |spec: &&FaultSpec| {
            matches!(
                spec.fault,
                Fault::ApiThrottled | Fault::ApiError | Fault::ApiHangs | Fault::ApiRestart
            )
        };
        let coming = faults.filter(is_of_api).map(|spec| Coming {
            spec: spec.clone(),
            before: spec.after.unwrap_or(0),
            // A server that restarts for ever is one that is never there.
            left: spec
                .times
                .or((spec.fault == Fault::ApiRestart).then_some(1)),
        });
        Self(Mutex::new(coming.collect()))
    }
}

impl Coming {
    fn is_about(&self, request: &RequestInfo) -> bool {
        let is = |wanted: &Option<String>, given: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == given)
        };
        is(&self.spec.verb, &request.verb) && is(&self.spec.resource, &request.resource)
    }

    fn answer(&self) -> ApiFault {
        match self.spec.fault {
            Fault::ApiThrottled => ApiFault::Error(ApiError::too_many_requests(
                "the server has received too many requests and has asked us to try again later",
                1,
                None,
            )),
            Fault::ApiHangs => ApiFault::Hang,
            Fault::ApiRestart => ApiFault::Restart(
                self.spec
                    .lasts
                    .map_or(RESTART, SignedDuration::unsigned_abs),
            ),
            _ => ApiFault::Error(ApiError::internal("etcdserver: leader changed")),
        }
    }
}

impl Faults for ApiFaults {
    fn before(&self, request: &RequestInfo) -> Option<ApiFault> {
        if !request.outside {
            return None;
        }
        let mut coming = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Each counts its own requests; the first that is due answers.
        let mut due: Option<&mut Coming> = None;
        for next in coming
            .iter_mut()
            .filter(|next| next.left != Some(0) && next.is_about(request))
        {
            if next.before > 0 {
                next.before -= 1;
            } else if due.is_none() {
                due = Some(next);
            }
        }
        let next = due?;
        next.left = next.left.map(|left| left - 1);
        Some(next.answer())
    }
}
