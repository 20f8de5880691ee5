//! In: a plan of a cluster. Out: the cluster, either on the lab's API with the lab's controllers, or on a real API server
//! with the operator's own; both with the lab's nodes. What happens on it is watched and told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use layerplay::lab::api::{ApiServer, Handle, Options};
use layerplay::lab::cluster::{
    Access, Machines, NodeSpec, Pace, Plan, Pulls, scale_up, seed, start_controllers, start_nodes,
};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::control_plane::{ControlPlane, ExecAnswer};
use super::operator::Operator;
use super::story::{Look, P, Rendered, Story, is_tainted};

pub(crate) const BASE: &str = "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:bbbb";
/// The one image that no registry has.
pub(crate) const MISSING: &str = "quay.io/my-registry/missing@sha256:eeee";

const MCO: &str = "machineconfiguration.openshift.io";

struct Registry;

impl Pulls for Registry {
    fn pull(&self, image: &str) -> Result<String, String> {
        if image == MISSING {
            Err(format!("reading manifest in {image}: manifest unknown"))
        } else {
            Ok("418.94".to_owned())
        }
    }

    fn look(&self, image: &str) -> Result<String, String> {
        self.pull(image).map(|_| "{}".to_owned())
    }
}

/// What plays the control plane; it ends with the stage.
enum Held {
    Lab {
        _api: Handle,
    },
    Real {
        _operator: Operator,
        _control_plane: ControlPlane,
    },
}

#[derive(Default)]
struct Seen {
    looks: Vec<Look>,
    latest: BTreeMap<String, Value>,
    rendered: Rendered,
    /// How many looks belong to what was told already.
    begun: usize,
}

/// A cluster that is watched.
pub(crate) struct Stage {
    client: kube::Client,
    access: Access,
    machines: Arc<Machines>,
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
    _ends: DropGuard,
    held: Held,
}

/// The newest looks.
pub(crate) struct Now<'s>(&'s Seen);

impl Now<'_> {
    fn pool(&self, name: &str) -> &Value {
        let key = format!("MachineConfigPool/{name}");
        self.0.latest.get(&key).unwrap_or(&Value::Null)
    }

    pub(crate) fn is(&self, pool: &str, condition: &str) -> bool {
        self.pool(pool)["status"]["conditions"][condition][0] == "True"
    }

    pub(crate) fn count(&self, pool: &str, what: &str) -> u64 {
        let counts = &self.pool(pool)["status"]["counts"];
        counts[format!("{what}MachineCount")].as_u64().unwrap_or(0)
    }

    /// Whether `spec.configuration` has this image.
    pub(crate) fn goes_to(&self, pool: &str, image: &str) -> bool {
        self.0.rendered.has(&self.target(pool), image)
    }

    /// Whether the node controller has looked at what the pool wants now.
    pub(crate) fn knows(&self, pool: &str) -> bool {
        let pool = self.pool(pool);
        pool["status"]["counts"]["observedGeneration"] == pool["generation"]
    }

    /// How many nodes of a pool bear the taint of those that still have their turn before them.
    pub(crate) fn tainted(&self, pool: &str) -> usize {
        let nodes = self.nodes(pool);
        nodes.filter(|node| is_tainted(node)).count()
    }

    fn nodes(&self, pool: &str) -> impl Iterator<Item = &Value> {
        let prefix = format!("Node/{pool}-");
        let latest = self.0.latest.iter();
        latest
            .filter(move |(key, _)| key.starts_with(&prefix))
            .map(|(_, node)| node)
    }

    /// The name of what a pool goes to.
    pub(crate) fn target(&self, pool: &str) -> String {
        self.pool(pool)["configuration"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The pool has this image on all nodes, and nothing more is to come.
    pub(crate) fn rests_at(&self, pool: &str, image: &str) -> bool {
        self.is_at(pool, image) && self.tainted(pool) == 0
    }

    /// The pool says that it has this image on all nodes, and they say so.
    pub(crate) fn is_at(&self, pool: &str, image: &str) -> bool {
        let own = self.pool(pool);
        let target = &own["configuration"];
        let nodes: Vec<&Value> = self.nodes(pool).collect();
        let is_done = |node: &&Value| {
            let annotations = &node["annotations"];
            annotations["state"] == "Done"
                && annotations["currentConfig"] == *target
                && annotations["desiredConfig"] == *target
                && node["unschedulable"] == false
        };
        let all = nodes.len() as u64;
        self.is(pool, "Updated")
            && !self.is(pool, "Updating")
            && !self.is(pool, "Degraded")
            && self.goes_to(pool, image)
            && own["status"]["configuration"] == *target
            && self.knows(pool)
            && nodes.iter().all(is_done)
            && own["status"]["counts"]["machineCount"] == all
            && ["updated", "ready"].map(|what| self.count(pool, what)) == [all; 2]
            && ["unavailable", "degraded"].map(|what| self.count(pool, what)) == [0; 2]
    }
}

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() {
        "v1".to_owned()
    } else {
        format!("{group}/v1")
    };
    ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

fn configs() -> ApiResource {
    resource(MCO, "MachineConfig", "machineconfigs")
}

fn pools() -> ApiResource {
    resource(MCO, "MachineConfigPool", "machineconfigpools")
}

/// The cluster of the traces: a control plane, workers in these zones, and one node in the custom pool `canary`.
fn plan(zones: &[&str]) -> Plan {
    let node = |pool: &str, index: usize, zone: &str| NodeSpec {
        name: format!("{pool}-{index}"),
        pool: pool.to_owned(),
        zone: format!("zone-{zone}"),
    };
    let workers = zones.iter().enumerate();
    Plan {
        name: "staged".to_owned(),
        version: "4.18.9".to_owned(),
        release_image: "quay.io/openshift-release-dev/ocp-release@sha256:cccc".to_owned(),
        os_image: BASE.to_owned(),
        pools: Vec::new(),
        nodes: [node("master", 0, "a"), node("canary", 0, "c")]
            .into_iter()
            .chain(workers.map(|(at, zone)| node("worker", at, zone)))
            .collect(),
    }
}

/// As quick as the operator is told to be, so that what falls into its pauses falls into the lab's as well.
fn pace() -> Pace {
    Pace {
        render: Duration::from_millis(400),
        ..Pace::fast()
    }
}

impl Stage {
    /// The lab's API and controllers.
    pub(crate) async fn lab(zones: &[&str]) -> Self {
        let (plan, machines) = Self::cast(zones);
        let api = ApiServer::start(Options::default()).await.unwrap();
        let access = Access::new(api.client());
        seed(&access, &plan, &machines).await.unwrap();
        let stop = CancellationToken::new();
        start_controllers(&access, pace(), &stop);
        start_nodes(&access, &machines, pace(), &stop);
        let client = api.client();
        Self::open(client, (access, machines), Held::Lab { _api: api }, stop).await
    }

    /// A real API server and the operator's own controllers.
    pub(crate) async fn real(zones: &[&str]) -> Self {
        let (plan, machines) = Self::cast(zones);
        let control_plane = ControlPlane::start(|_| ExecAnswer {
            stdout: String::new(),
            stderr: "nobody asks".to_owned(),
            code: 1,
        })
        .await;
        let client = control_plane.admin().await;
        let access = Access::new(client.clone());
        let operator = Operator::populate(&control_plane, &access, &plan, &machines).await;
        let stop = CancellationToken::new();
        start_nodes(&access, &machines, pace(), &stop);
        let held = Held::Real {
            _operator: operator,
            _control_plane: control_plane,
        };
        Self::open(client, (access, machines), held, stop).await
    }

    fn cast(zones: &[&str]) -> (Plan, Arc<Machines>) {
        let plan = plan(zones);
        let names = plan.node_names();
        let machines = Machines::new(&plan.name, &names, BASE, Box::new(Registry));
        (plan, Arc::new(machines))
    }

    async fn open(
        client: kube::Client,
        (access, machines): (Access, Arc<Machines>),
        held: Held,
        stop: CancellationToken,
    ) -> Self {
        let stage = Self {
            client,
            access,
            machines,
            seen: Arc::default(),
            held,
            stop: stop.clone(),
            _ends: stop.clone().drop_guard(),
        };
        for kind in [configs(), pools(), resource("", "Node", "nodes")] {
            let objects: Api<DynamicObject> = Api::all_with(stage.client.clone(), &kind);
            let (seen, stop) = (Arc::clone(&stage.seen), stop.clone());
            tokio::spawn(async move {
                let mut events = std::pin::pin!(watcher(objects, watcher::Config::default()));
                while let Some(event) = stop.run_until_cancelled(events.next()).await.flatten() {
                    if let Ok(Event::InitApply(object) | Event::Apply(object)) = event {
                        let mut object = serde_json::to_value(object).unwrap();
                        // Items of a list do not say what they are.
                        object["kind"] = json!(kind.kind);
                        see(&seen, &object);
                    }
                }
            });
        }
        stage.settled(BASE).await;
        stage.story();
        stage
    }

    fn api(&self, kind: &ApiResource) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), kind)
    }

    /// Creates a MachineConfig that sets an OS image.
    pub(crate) async fn layer(&self, name: &str, role: &str, image: &str) {
        self.config(name, role, json!({"osImageURL": image})).await;
    }

    /// Creates any MachineConfig.
    pub(crate) async fn config(&self, name: &str, role: &str, spec: Value) {
        let object = serde_json::from_value(json!({
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
            "metadata": {"name": name, "labels": {format!("{P}role"): role}},
            "spec": spec,
        }));
        let created = self.api(&configs());
        created
            .create(&PostParams::default(), &object.unwrap())
            .await
            .unwrap();
    }

    pub(crate) async fn edit(&self, name: &str, image: &str) {
        let patch = json!({"spec": {"osImageURL": image}});
        self.patch(&configs(), name, patch).await;
    }

    pub(crate) async fn remove(&self, name: &str) {
        let configs = self.api(&configs());
        configs
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    pub(crate) async fn pool(&self, name: &str, spec: Value) {
        self.patch(&pools(), name, json!({"spec": spec})).await;
    }

    /// Creates a pool for a role that no node has, fed by what has that role.
    pub(crate) async fn found(&self, name: &str) {
        let object = serde_json::from_value(json!({
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool", "metadata": {"name": name},
            "spec": {
                "machineConfigSelector": {"matchLabels": {format!("{P}role"): name}},
                "nodeSelector": {"matchLabels": {format!("node-role.kubernetes.io/{name}"): ""}},
            },
        }));
        let created = self.api(&pools());
        created
            .create(&PostParams::default(), &object.unwrap())
            .await
            .unwrap();
    }

    pub(crate) async fn pause(&self, paused: bool, pools: &[&str]) {
        for pool in pools {
            self.pool(pool, json!({"paused": paused})).await;
        }
    }

    /// A machine that was just installed joins the workers.
    pub(crate) async fn join(&self, name: &str) {
        let spec = NodeSpec {
            name: name.to_owned(),
            pool: "worker".to_owned(),
            zone: "zone-z".to_owned(),
        };
        scale_up(&self.access, &self.machines, &spec, pace(), &self.stop)
            .await
            .unwrap();
    }

    /// Has the templates be of an operator of this version.
    pub(crate) async fn generated_by(&self, version: &str) {
        let kind = resource(MCO, "ControllerConfig", "controllerconfigs");
        let patch =
            json!({"metadata": {"annotations": {format!("{P}generated-by-version"): version}}});
        self.patch(&kind, "machine-config-controller", patch).await;
    }

    pub(crate) async fn cordon(&self, node: &str, cordoned: bool) {
        let patch = json!({"spec": {"unschedulable": cordoned}});
        self.patch(&resource("", "Node", "nodes"), node, patch)
            .await;
    }

    /// Keeps a node from being emptied, by a pod that a budget does not let go; without `held` lets it go.
    pub(crate) async fn hold(&self, node: &str, held: bool) {
        let name = format!("held-{node}");
        let labels = json!({"app": name});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [{"name": "held", "image": "held"}]},
        });
        let budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": "default"},
            "spec": {"maxUnavailable": 0, "selector": {"matchLabels": labels}},
        });
        let pods = resource("", "Pod", "pods");
        let budgets = resource("policy", "PodDisruptionBudget", "poddisruptionbudgets");
        for (kind, object) in [(budgets, budget), (pods, pod)] {
            let objects: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), "default", &kind);
            if held {
                let object = serde_json::from_value(object).unwrap();
                objects
                    .create(&PostParams::default(), &object)
                    .await
                    .unwrap();
            } else {
                objects
                    .delete(&name, &DeleteParams::default())
                    .await
                    .unwrap();
            }
        }
    }

    /// What a pool goes to.
    pub(crate) fn target(&self, pool: &str) -> String {
        Now(&self.seen.lock().unwrap()).target(pool)
    }

    /// Points a node that is stuck back at what its pool wants now, which is what it runs.
    pub(crate) async fn free(&self, node: &str) {
        let pool = node.split('-').next().unwrap();
        let target = Now(&self.seen.lock().unwrap()).target(pool);
        let patch = json!({"metadata": {"annotations": {format!("{P}desiredConfig"): target}}});
        self.patch(&resource("", "Node", "nodes"), node, patch)
            .await;
    }

    async fn patch(&self, kind: &ApiResource, name: &str, patch: Value) {
        let objects = self.api(kind);
        objects
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Waits until the newest looks are as they should be.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Now<'_>) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(2);
        while !holds(&Now(&self.seen.lock().unwrap())) {
            assert!(
                Instant::now() < deadline,
                "{}: waited for {what} in vain: {:#?}",
                self.place(),
                self.seen.lock().unwrap().latest
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Both pools rest at this image.
    pub(crate) async fn settled(&self, image: &str) {
        self.until(&format!("both pools to rest at {image}"), |now| {
            ["worker", "canary"]
                .iter()
                .all(|pool| now.rests_at(pool, image))
        })
        .await;
    }

    /// The one node of a pool whose daemon says this.
    pub(crate) fn node_in(&self, pool: &str, state: &str) -> String {
        let seen = self.seen.lock().unwrap();
        let mut found = seen.latest.iter().filter_map(|(key, fields)| {
            let name = key.strip_prefix("Node/")?;
            let is = name.starts_with(pool) && fields["annotations"]["state"] == state;
            is.then(|| name.to_owned())
        });
        let name = found.next().unwrap();
        assert_eq!(found.next(), None, "two nodes of {pool} are {state}");
        name
    }

    /// What happened since the last story.
    pub(crate) fn story(&self) -> Story {
        let mut seen = self.seen.lock().unwrap();
        let mut story = Story::new(seen.rendered.clone());
        // What was last seen before is the start.
        let mut start: BTreeMap<String, &Look> = BTreeMap::new();
        for look in &seen.looks[..seen.begun] {
            start.insert(look.key(), look);
        }
        for look in start.into_values().chain(&seen.looks[seen.begun..]) {
            story.take(look);
        }
        seen.begun = seen.looks.len();
        story
    }

    fn place(&self) -> &'static str {
        match self.held {
            Held::Lab { .. } => "the lab",
            Held::Real { .. } => "the operator",
        }
    }
}

fn see(seen: &Mutex<Seen>, object: &Value) {
    let mut seen = seen.lock().unwrap();
    if object["kind"] == "MachineConfig" {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spec = &object["spec"];
        seen.rendered.learn(
            &text(&object["metadata"]["name"]),
            &text(&spec["osImageURL"]),
            &text(&spec["kernelType"]),
            object["metadata"]["annotations"][format!("{P}os-image-url-overridden")] == "true",
        );
        return;
    }
    let look = Look::of(object);
    seen.latest.insert(look.key(), look.fields.clone());
    seen.looks.push(look);
}
