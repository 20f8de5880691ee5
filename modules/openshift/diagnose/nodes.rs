//! In: nodes, their pods and budgets. Out: what keeps single nodes from going on.

use serde_json::Value;

use super::super::drain::{Allowed, plan};
use super::super::objects::{MCO_NAMESPACE, annotation, condition, is_true, name};
use super::super::observe::Phase;
use super::super::pools::{is_failing, roles_of, selects};
use super::{Diagnosis, Failure, Situation, reasons};

/// What the operator's own drain does: everything but what `DaemonSet`s make (MCO: `drain_controller.go`).
const DRAIN: Allowed = Allowed {
    unmanaged: true,
    daemon_sets: true,
    empty_dirs: true,
};

/// As many pods as are named in one line.
const NAMED: usize = 4;

fn log(node: &str) -> String {
    format!(
        "oc -n {MCO_NAMESPACE} logs -l k8s-app=machine-config-daemon --field-selector spec.nodeName={node}"
    )
}

/// A condition of a node's `MachineConfigNode`.
fn told_of<'s>(all: &Situation<'s>, node: &str, kind: &str) -> Option<&'s Value> {
    let nodes = &all.around.machine_config_nodes;
    let own = nodes.iter().find(|own| name(own) == node)?;
    condition(own, kind)
}

/// Nodes whose daemon says that it failed.
pub(super) fn failing(all: &Situation<'_>) -> Vec<Diagnosis> {
    let broken = all
        .snapshot
        .nodes
        .iter()
        .copied()
        .filter(|node| is_failing(node));
    broken.map(|node| failed(all, node)).collect()
}

fn failed(all: &Situation<'_>, node: &Value) -> Diagnosis {
    let node_name = name(node);
    let (reason, desired) = (
        annotation(node, "reason"),
        annotation(node, "desiredConfig"),
    );
    let target = &all.progress.rendered;
    // The trap: the pool has left the configuration, and the node, cordoned, is no candidate for another.
    let is_stuck = desired != target
        && desired != annotation(node, "currentConfig")
        && node["spec"]["unschedulable"] == true;
    if is_stuck {
        return Diagnosis::new(
            Failure::Stuck,
            format!("node {node_name} still goes to `{desired}`, which pool {} has left, and nothing frees it: {reason}", all.pool()),
            format!("Node {node_name}: annotations desiredConfig, state; spec.unschedulable"),
            format!("layerplay repair {}", all.pool()),
        )
        .on(node_name);
    }
    let finalize = annotation(node, "ostree-finalize-staged-failure");
    let (mut failure, mut cause) = (
        reasons::of_node(reason),
        format!("node {node_name} is degraded: {reason}"),
    );
    if !finalize.is_empty() {
        if matches!(failure, Failure::ConfigDrift | Failure::Degraded) {
            failure = Failure::WrongDeployment;
        }
        cause = format!("{cause} (ostree: {finalize})");
    }
    let command = match failure {
        Failure::ImageMissing
        | Failure::NotBootable
        | Failure::WrongArchitecture
        | Failure::ImageNotPulled => {
            let image = all
                .snapshot
                .rendered
                .and_then(|rendered| rendered["spec"]["osImageURL"].as_str());
            format!("skopeo inspect docker://{}", image.unwrap_or_default())
        }
        Failure::Unauthorized => "oc -n openshift-config get secret pull-secret".to_owned(),
        Failure::DiskFull | Failure::WrongDeployment => {
            format!("oc debug node/{node_name} -- chroot /host df -h / /boot")
        }
        _ => log(node_name),
    };
    let since = told_of(all, node_name, "NodeDegraded")
        .map_or(&Value::Null, |condition| &condition["lastTransitionTime"]);
    let mut told = Diagnosis::new(
        failure,
        cause,
        format!("Node {node_name}: metadata.annotations[machineconfiguration.openshift.io/reason]"),
        command,
    )
    .on(node_name)
    .since(since);
    // Drained, still to go to the same configuration: who uncordons it now makes it reboot with its pods on it.
    let is_drained = annotation(node, "lastAppliedDrain") == format!("drain-{desired}");
    if is_drained && node["spec"]["unschedulable"] != true && desired == target {
        told.cause
            .push_str("; it was uncordoned by hand, and will reboot without another drain");
    }
    told
}

/// Nodes that are drained, and the pods that do not go.
pub(super) fn draining(all: &Situation<'_>) -> Vec<Diagnosis> {
    let nodes = all.snapshot.nodes.iter().zip(&all.progress.nodes);
    let slow = nodes.filter(|(_, state)| state.phase == Phase::Draining);
    slow.map(|(node, _)| blocked(all, node)).collect()
}

fn blocked(all: &Situation<'_>, node: &Value) -> Diagnosis {
    let node_name = name(node);
    let told = told_of(all, node_name, "Drained");
    let since = told.map_or(&Value::Null, |told| &told["lastTransitionTime"]);
    let own: Vec<Value> = all
        .around
        .pods
        .iter()
        .filter(|pod| pod["spec"]["nodeName"] == node_name)
        .cloned()
        .collect();
    let left = plan(&own, DRAIN).leaving;
    for budget in all.around.budgets.iter().filter(|budget| !has_room(budget)) {
        let pods = held(budget, &own);
        if pods.is_empty() {
            continue;
        }
        let namespace = budget["metadata"]["namespace"].as_str().unwrap_or_default();
        let names: Vec<&str> = pods.iter().take(NAMED).map(|pod| name(pod)).collect();
        let healthy = &budget["status"]["currentHealthy"];
        let needed = &budget["status"]["desiredHealthy"];
        return Diagnosis::new(
            Failure::BudgetBlocksDrain,
            format!(
                "node {node_name} is not drained: PodDisruptionBudget {namespace}/{} lets none of its pods go ({healthy} are healthy, {needed} must be): {}",
                name(budget),
                names.join(", ")
            ),
            format!("PodDisruptionBudget {namespace}/{}: status.disruptionsAllowed", name(budget)),
            format!("oc -n {namespace} describe pdb {}", name(budget)),
        )
        .on(node_name)
        .since(since);
    }
    let why = told
        .and_then(|told| told["message"].as_str())
        .filter(|text| text.contains("Error"))
        .map(|text| format!(": {text}"))
        .unwrap_or_default();
    let pods: Vec<String> = left.iter().take(NAMED).map(ToString::to_string).collect();
    let pods = if pods.is_empty() {
        String::new()
    } else {
        format!(
            " ({} of its pods are left: {})",
            left.len(),
            pods.join(", ")
        )
    };
    Diagnosis::new(
        Failure::PodBlocksDrain,
        format!("node {node_name} is not drained{pods}{why}"),
        format!("Node {node_name}: desiredDrain differs from lastAppliedDrain"),
        format!("oc get pods -A --field-selector spec.nodeName={node_name}"),
    )
    .on(node_name)
    .since(since)
}

/// Whether a budget lets any of its pods go, or has none.
pub(in super::super) fn has_room(budget: &Value) -> bool {
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or_default();
    number("disruptionsAllowed") > 0 || number("expectedPods") == 0
}

/// The pods that a drain would send away and that a budget is about.
pub(in super::super) fn held<'p>(budget: &Value, pods: &'p [Value]) -> Vec<&'p Value> {
    let covered = pods.iter().filter(|pod| covers(budget, pod));
    let leaves = |pod: &&Value| !plan(std::slice::from_ref(*pod), DRAIN).leaving.is_empty();
    covered.filter(leaves).collect()
}

/// Whether a budget is about a pod. Without a selector it is about none, with an empty one about all of its namespace.
fn covers(budget: &Value, pod: &Value) -> bool {
    let selector = &budget["spec"]["selector"];
    let is_empty = selector.as_object().is_some_and(|all| {
        all.values().all(|part| {
            part.as_array().is_some_and(Vec::is_empty)
                || part.as_object().is_some_and(serde_json::Map::is_empty)
        })
    });
    budget["metadata"]["namespace"] == pod["metadata"]["namespace"]
        && (is_empty || selects(selector, &pod["metadata"]["labels"]))
}

/// Nodes that are not ready. Of these the operator says nothing at all.
pub(super) fn away(all: &Situation<'_>) -> Vec<Diagnosis> {
    let told = all.snapshot.nodes.iter().filter_map(|node| {
        let node_name = name(node);
        if is_true(node, "DiskPressure") {
            return Some(
                Diagnosis::new(
                    Failure::DiskFull,
                    format!("node {node_name} has too little space: it is no candidate, and counts as away"),
                    format!("Node {node_name}: status.conditions[DiskPressure]"),
                    format!("oc debug node/{node_name} -- chroot /host df -h"),
                )
                .on(node_name)
                .since(&condition(node, "DiskPressure")?["lastTransitionTime"]),
            );
        }
        if is_true(node, "Ready") {
            return None;
        }
        let is_rebooting = annotation(node, "post-config-action") == "Rebooting"
            || annotation(node, "state") == "Working";
        let doing = if is_rebooting { "does not come back from its reboot" } else { "is not ready" };
        let ready = condition(node, "Ready");
        Some(
            Diagnosis::new(
                Failure::NodeAway,
                format!("node {node_name} {doing}: {}", ready.and_then(|ready| ready["message"].as_str()).unwrap_or("its kubelet says nothing")),
                format!("Node {node_name}: status.conditions[Ready]"),
                format!("oc describe node {node_name}"),
            )
            .on(node_name)
            .since(ready.map_or(&Value::Null, |ready| &ready["lastTransitionTime"])),
        )
    });
    told.collect()
}

/// `v1.31.4` -> 31
fn minor(node: &Value) -> Option<i64> {
    let version = node["status"]["nodeInfo"]["kubeletVersion"].as_str()?;
    version.split('.').nth(1)?.parse().ok()
}

/// Nodes whose kubelet is newer than the control plane's, or too much older: their image is of another release.
pub(super) fn skew(all: &Situation<'_>) -> Vec<Diagnosis> {
    // A kubelet may be three minors older, and never newer (Kubernetes: version skew policy); two was it before 1.28.
    const OLDEST: i64 = 3;
    let is_control_plane =
        |node: &&Value| roles_of(node).any(|role| matches!(role, "master" | "control-plane"));
    let control_plane = all
        .around
        .nodes
        .iter()
        .filter(is_control_plane)
        .filter_map(minor)
        .min();
    let Some(control_plane) = control_plane else {
        return Vec::new();
    };
    let told = all.snapshot.nodes.iter().filter_map(|node| {
        let own = minor(node)?;
        (own > control_plane || own + OLDEST < control_plane).then(|| {
            Diagnosis::new(
                Failure::KubeletSkew,
                format!("node {} has kubelet 1.{own}, and the control plane 1.{control_plane}: its image is of another release", name(node)),
                format!("Node {}: status.nodeInfo.kubeletVersion", name(node)),
                "oc get nodes -o wide",
            )
            .on(name(node))
        })
    });
    told.collect()
}
