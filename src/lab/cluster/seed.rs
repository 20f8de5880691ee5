//! In: a plan of a cluster. Out: its objects in an API, as a fresh installation has them.

use kube::Error;
use serde_json::{Value, json};

use super::access::{
    Access, COMMIT, CONFIG_MAPS, CONFIGS, CONTROLLER, INFRASTRUCTURES, NAMESPACES, NODES, P, PODS,
    POOLS, VERSION, VERSIONS,
};
use super::machine::Machines;
use super::render;

const MCO: &str = "openshift-machine-config-operator";

/// A node: its name and the pool that it is in.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    pub name: String,
    /// `master`, `worker`, or a custom pool's name.
    pub pool: String,
    pub zone: String,
}

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    pub name: String,
    pub version: String,
    pub release_image: String,
    pub os_image: String,
    /// Custom pools; those of nodes are added.
    pub pools: Vec<String>,
    pub nodes: Vec<NodeSpec>,
}

/// Writes the objects, nodes included, and renders for the first time. What is there already stays.
pub async fn seed(access: &Access, plan: &Plan, machines: &Machines) -> Result<(), Error> {
    install(access, plan).await?;
    render::sync(access).await?;
    join(access, plan, machines).await
}

/// Writes the objects of a cluster that has no nodes yet: the first that its controllers see.
pub async fn install(access: &Access, plan: &Plan) -> Result<(), Error> {
    for space in [MCO, "openshift-config"] {
        access
            .create(
                NAMESPACES,
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}),
            )
            .await?;
    }
    access.create(VERSIONS, &version(plan)).await?;
    access
        .create(INFRASTRUCTURES, &infrastructure(plan))
        .await?;
    access.create(CONTROLLER, &controller(plan)).await?;
    access
        .create(CONFIG_MAPS, &json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "machine-config-osimageurl", "namespace": MCO},
            "data": {"baseOSContainerImage": plan.os_image, "releaseVersion": plan.version},
        }))
        .await?;
    let mut pools: Vec<&str> = vec!["master", "worker"];
    for pool in plan
        .pools
        .iter()
        .chain(plan.nodes.iter().map(|node| &node.pool))
    {
        if !pools.contains(&pool.as_str()) {
            pools.push(pool);
        }
    }
    for pool in &pools {
        if matches!(*pool, "master" | "worker") {
            access.create(CONFIGS, &base_config(pool)).await?;
        }
        access.create(POOLS, &self::pool(pool)).await?;
    }
    Ok(())
}

/// Lets the nodes join. They start at their pool's rendered configuration, so it must be there.
pub async fn join(access: &Access, plan: &Plan, machines: &Machines) -> Result<(), Error> {
    for spec in &plan.nodes {
        let pool = access.get(POOLS, &spec.pool).await?.unwrap_or_default();
        let target = pool["spec"]["configuration"]["name"]
            .as_str()
            .unwrap_or_default();
        register(access, spec, target, machines).await?;
    }
    Ok(())
}

async fn register(
    access: &Access,
    spec: &NodeSpec,
    target: &str,
    machines: &Machines,
) -> Result<(), Error> {
    access.create(NODES, &node(spec, target, machines)).await?;
    access.create(PODS, &daemon_pod(spec)).await?;
    if spec.pool != "master" {
        access.create(PODS, &workload(spec)).await?;
    }
    Ok(())
}

/// Lets a node join later. It starts with what its pool goes to once a node of it is there, and before that with what the
/// pool had (MCO: `pkg/server/cluster_server.go`).
pub(super) async fn join_later(
    access: &Access,
    spec: &NodeSpec,
    machines: &Machines,
) -> Result<(), Error> {
    let pool = access.get(POOLS, &spec.pool).await?.unwrap_or_default();
    let is_begun = pool["status"]["updatedMachineCount"].as_u64() > Some(0);
    let part = if is_begun { "spec" } else { "status" };
    let target = pool[part]["configuration"]["name"]
        .as_str()
        .unwrap_or_default();
    let config = access.get(CONFIGS, target).await?.unwrap_or_default();
    let image = config["spec"]["osImageURL"].as_str().unwrap_or_default();
    machines.add(&spec.name, image, target);
    register(access, spec, target, machines).await
}

/// Whether every pool has a rendered configuration, so that nodes can join.
pub async fn is_rendered(access: &Access) -> Result<bool, Error> {
    let pools = access.list(POOLS, None).await?;
    Ok(pools
        .iter()
        .all(|pool| pool["spec"]["configuration"]["name"].is_string()))
}

fn version(plan: &Plan) -> Value {
    let done = "2026-11-01T00:00:00Z";
    json!({
        "apiVersion": "config.openshift.io/v1", "kind": "ClusterVersion", "metadata": {"name": "version"},
        "spec": {"clusterID": "00000000-0000-4000-8000-000000000000", "channel": "stable-4.18"},
        "status": {
            "desired": {"version": plan.version, "image": plan.release_image}, "observedGeneration": 1, "versionHash": "lab",
            "availableUpdates": null,
            "history": [{"state": "Completed", "version": plan.version, "image": plan.release_image, "startedTime": done, "completionTime": done, "verified": false}],
            "conditions": [
                {"type": "Available", "status": "True", "lastTransitionTime": done},
                {"type": "Progressing", "status": "False", "lastTransitionTime": done, "message": format!("Cluster version is {}", plan.version)},
            ],
        },
    })
}

fn controller(plan: &Plan) -> Value {
    let infrastructure = infrastructure(plan);
    let time = super::update::now();
    let conditions = [
        ("Completed", "True"),
        ("Running", "False"),
        ("Failing", "False"),
    ];
    let conditions = conditions.map(|(kind, status)| {
        json!({"type": format!("TemplateController{kind}"), "status": status, "lastTransitionTime": time})
    });
    json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "ControllerConfig",
        "metadata": {"name": "machine-config-controller", "annotations": {
            format!("{P}generated-by-version"): VERSION, format!("{P}release-image-version"): plan.version,
        }},
        "spec": {
            "baseOSContainerImage": plan.os_image, "releaseImage": plan.release_image, "osImageURL": "", "platform": "none",
            "clusterDNSIP": "172.30.0.10", "cloudProviderConfig": "", "kubeAPIServerServingCAData": "bGFi", "rootCAData": "bGFi", "cloudProviderCAData": "bGFi",
            "additionalTrustBundle": null, "images": {}, "ipFamilies": "IPv4", "network": null, "networkType": "OVNKubernetes",
            "proxy": null, "infra": {"apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {}, "spec": infrastructure["spec"], "status": infrastructure["status"]},
            "dns": {"apiVersion": "config.openshift.io/v1", "kind": "DNS", "metadata": {}, "spec": {"baseDomain": "lab.example"}, "status": {}},
        },
        "status": {"observedGeneration": 1, "conditions": conditions, "controllerCertificates": []},
    })
}

fn infrastructure(plan: &Plan) -> Value {
    json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
        "spec": {"cloudConfig": {"name": ""}},
        "status": {
            "apiServerInternalURI": "", "apiServerURL": "", "controlPlaneTopology": "HighlyAvailable", "etcdDiscoveryDomain": "",
            "infrastructureName": plan.name, "infrastructureTopology": "HighlyAvailable",
        },
    })
}

fn base_config(role: &str) -> Value {
    json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
        "metadata": {
            "name": format!("00-{role}"), "labels": {format!("{P}role"): role},
            "annotations": {format!("{P}generated-by-controller-version"): COMMIT},
        },
        "spec": {"config": {"ignition": {"version": "3.5.0"}}, "osImageURL": ""},
    })
}

fn pool(pool: &str) -> Value {
    let is_built_in = matches!(pool, "master" | "worker");
    let selector = if is_built_in {
        json!({"matchLabels": {format!("{P}role"): pool}})
    } else {
        json!({"matchExpressions": [{"key": format!("{P}role"), "operator": "In", "values": ["worker", pool]}]})
    };
    let mut labels =
        json!({format!("pools.operator.machineconfiguration.openshift.io/{pool}"): ""});
    if is_built_in {
        labels[format!("{P}mco-built-in")] = json!("");
    }
    json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool", "metadata": {"name": pool, "labels": labels},
        "spec": {
            "machineConfigSelector": selector, "paused": false,
            "nodeSelector": {"matchLabels": {format!("node-role.kubernetes.io/{pool}"): ""}},
        },
    })
}

fn node(spec: &NodeSpec, target: &str, machines: &Machines) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": spec.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": spec.zone, format!("node-role.kubernetes.io/{}", spec.pool): "",
    });
    if spec.pool == "master" {
        labels["node-role.kubernetes.io/control-plane"] = json!("");
    } else {
        labels["node-role.kubernetes.io/worker"] = json!("");
    }
    let annotations = json!({
        format!("{P}currentConfig"): target, format!("{P}desiredConfig"): target, format!("{P}state"): "Done", format!("{P}reason"): "",
        format!("{P}desiredDrain"): format!("uncordon-{target}"), format!("{P}lastAppliedDrain"): format!("uncordon-{target}"),
    });
    let time = super::update::now();
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": spec.name, "labels": labels, "annotations": annotations}, "spec": {},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status", "lastHeartbeatTime": time, "lastTransitionTime": time},
                {"type": "DiskPressure", "status": "False", "reason": "KubeletHasNoDiskPressure", "message": "", "lastHeartbeatTime": time, "lastTransitionTime": time},
            ],
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "bootID": machines.boot_id(&spec.name), "machineID": spec.name, "systemUUID": spec.name,
                "kernelVersion": "5.14.0-427.50.1.el9_4.x86_64", "kubeletVersion": "v1.31.7", "kubeProxyVersion": "v1.31.7",
                "containerRuntimeVersion": "cri-o://1.31.4", "osImage": "Red Hat Enterprise Linux CoreOS",
            },
        },
    })
}

fn daemon_pod(spec: &NodeSpec) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("machine-config-daemon-{}", spec.name), "namespace": MCO, "labels": {"k8s-app": "machine-config-daemon"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "machine-config-daemon", "uid": "00000000-0000-4000-8000-000000000001", "controller": true}],
        },
        "spec": {
            "nodeName": spec.name, "hostNetwork": true, "hostPID": true, "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "machine-config-daemon", "image": "machine-config-operator", "securityContext": {"privileged": true},
                "volumeMounts": [{"name": "rootfs", "mountPath": "/rootfs"}]}],
            "volumes": [{"name": "rootfs", "hostPath": {"path": "/"}}],
        },
    })
}

/// Something that a drain has to evict. It belongs to nobody, so that it does not come back.
fn workload(spec: &NodeSpec) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("app-{}", spec.name), "namespace": "default", "labels": {"app": "hello"}},
        "spec": {"nodeName": spec.name, "terminationGracePeriodSeconds": 0, "containers": [{"name": "app", "image": "hello"}]},
    })
}

impl Plan {
    /// The nodes' names, in their order.
    pub fn node_names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }
}
