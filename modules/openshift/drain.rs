//! What a drain does with the pods of a node. In: pods as they are, and what the user allows. Out: those that go, those
//! that stay and why, and what forbids the drain. Pure.
//!
//! Source: kubectl `pkg/drain/filters.go`.

use serde_json::Value;

use super::objects::name;

/// What is allowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    /// Pods that no controller makes anew.
    pub unmanaged: bool,
    /// Pods of a `DaemonSet`, which stay.
    pub daemon_sets: bool,
    /// Pods whose data in an `emptyDir` is lost.
    pub empty_dirs: bool,
}

/// A pod that has to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// It was told to go already.
    pub is_going: bool,
}

impl std::fmt::Display for Leaving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub leaving: Vec<Leaving>,
    pub warnings: Vec<String>,
    /// What forbids the drain, each with the way to allow it.
    pub errors: Vec<String>,
}

fn shown(pod: &Value) -> String {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    format!("{namespace}/{}", name(pod))
}

/// The kind of the pod's controller.
fn controller(pod: &Value) -> Option<&str> {
    let owners = pod["metadata"]["ownerReferences"].as_array();
    let owner = owners?.iter().find(|owner| owner["controller"] == true)?;
    owner["kind"].as_str()
}

/// The kubelet's own pods, from files on the node: the API shows only their reflection, and deleting that is idle.
fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string()
}

fn has_empty_dir(pod: &Value) -> bool {
    let volumes = pod["spec"]["volumes"].as_array();
    volumes.is_some_and(|all| all.iter().any(|volume| volume["emptyDir"].is_object()))
}

/// Sorts the pods of a node.
pub fn plan(pods: &[Value], allowed: Allowed) -> Plan {
    let mut plan = Plan::default();
    let (mut unmanaged, mut daemons, mut local) = (Vec::new(), Vec::new(), Vec::new());
    for pod in pods.iter().filter(|pod| !is_mirror(pod)) {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        let is_over = matches!(phase, "Succeeded" | "Failed");
        let mut leaves = true;
        if !is_over {
            match controller(pod) {
                Some("DaemonSet") => {
                    daemons.push(shown(pod));
                    leaves = false;
                }
                Some(_) => {}
                None => {
                    unmanaged.push(shown(pod));
                    leaves = allowed.unmanaged;
                }
            }
            if leaves && has_empty_dir(pod) {
                local.push(shown(pod));
                leaves = allowed.empty_dirs;
            }
        }
        if leaves {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            plan.leaving.push(Leaving {
                namespace: text(&pod["metadata"]["namespace"]),
                name: text(&pod["metadata"]["name"]),
                uid: text(&pod["metadata"]["uid"]),
                is_going: pod["metadata"]["deletionTimestamp"].is_string(),
            });
        }
    }
    for (pods, is_allowed, doing, what, option) in [
        (
            &unmanaged,
            allowed.unmanaged,
            "evicting",
            "pods that no controller makes anew",
            "force",
        ),
        (
            &daemons,
            allowed.daemon_sets,
            "leaving",
            "pods of DaemonSets",
            "ignore_daemonsets",
        ),
        (
            &local,
            allowed.empty_dirs,
            "evicting",
            "pods with data in an `emptyDir`, which is lost",
            "delete_emptydir_data",
        ),
    ] {
        let list = pods.join(", ");
        match (pods.is_empty(), is_allowed) {
            (true, _) => {}
            (false, true) => plan.warnings.push(format!("{doing} {what}: {list}")),
            (false, false) => plan.errors.push(format!(
                "there are {what} (`delete_options: {{{option}: true}}` allows it): {list}"
            )),
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "web", "uid": format!("uid-{name}"), "ownerReferences": [{"kind": "ReplicaSet", "controller": true}]},
            "spec": {}, "status": {"phase": "Running"},
        });
        change(&mut pod);
        pod
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.leaving.iter().map(|pod| pod.name.as_str()).collect()
    }

    #[test]
    fn pods_go_stay_or_forbid_the_drain() {
        let owner = |kind: &str| json!([{"kind": kind, "controller": true}]);
        let empty_dir = json!([{"name": "d", "emptyDir": {}}]);
        let pods = [
            pod("plain", |_| {}),
            pod("going", |pod| {
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }),
            pod("mirror", |pod| {
                pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
                pod["metadata"]["ownerReferences"] = json!([{"kind": "Node", "controller": true}]);
            }),
            pod("daemon", |pod| {
                pod["metadata"]["ownerReferences"] = owner("DaemonSet");
                pod["spec"]["volumes"] = empty_dir.clone();
            }),
            pod("alone", |pod| {
                pod["metadata"]["ownerReferences"] =
                    json!([{"kind": "ReplicaSet", "controller": false}]);
            }),
            pod("data", |pod| pod["spec"]["volumes"] = empty_dir.clone()),
            pod("done", |pod| {
                pod["metadata"]["ownerReferences"] = json!([]);
                pod["spec"]["volumes"] = empty_dir.clone();
                pod["status"]["phase"] = json!("Succeeded");
            }),
            pod("daemon-done", |pod| {
                pod["metadata"]["ownerReferences"] = owner("DaemonSet");
                pod["status"]["phase"] = json!("Failed");
            }),
        ];
        let strict = plan(&pods, Allowed::default());
        assert_eq!(names(&strict), ["plain", "going", "done", "daemon-done"]);
        assert!(strict.warnings.is_empty());
        assert_eq!(
            strict.errors,
            [
                "there are pods that no controller makes anew (`delete_options: {force: true}` allows it): web/alone",
                "there are pods of DaemonSets (`delete_options: {ignore_daemonsets: true}` allows it): web/daemon",
                "there are pods with data in an `emptyDir`, which is lost (`delete_options: {delete_emptydir_data: true}` allows it): web/data",
            ]
        );
        let all = Allowed {
            unmanaged: true,
            daemon_sets: true,
            empty_dirs: true,
        };
        let free = plan(&pods, all);
        assert_eq!(
            names(&free),
            ["plain", "going", "alone", "data", "done", "daemon-done"]
        );
        assert!(free.errors.is_empty());
        assert_eq!(
            free.warnings,
            [
                "evicting pods that no controller makes anew: web/alone",
                "leaving pods of DaemonSets: web/daemon",
                "evicting pods with data in an `emptyDir`, which is lost: web/data",
            ]
        );
        assert!(free.leaving[1].is_going && !free.leaving[0].is_going);
        assert_eq!(plan(&[], all), Plan::default());
    }
}
