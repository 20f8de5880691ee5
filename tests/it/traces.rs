//! In: what a real API server showed while the operator's own controllers ran a rollout (`tests/traces`). Out: the
//! lab, put into the same situation, goes through the same states in the same order, node by node and pool by pool.
//! Left out of the comparison: times, generated names, counts that fall together, and which of two nodes with equal
//! rank goes first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use layerplay::lab::api::{ApiServer, Handle, Options};
use layerplay::lab::cluster::{
    Access, Machines, NodeSpec, Pace, Plan, Pulls, seed, start_controllers, start_nodes,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const P: &str = "machineconfiguration.openshift.io/";
const BASE: &str = "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:bbbb";
const LAYER: &str = "quay.io/my-registry/custom-image@sha256:aaaa";
const MISSING: &str = "quay.io/my-registry/missing@sha256:eeee";

/// One look at a node or pool, with the operator's prefix cut off as in the traces.
#[derive(Debug, Clone)]
struct Look {
    kind: String,
    name: String,
    fields: Value,
}

/// What happened, told in words that both sides share.
#[derive(Debug, Default)]
struct Story {
    /// Rendered configurations in the order of their appearance: `A` is where the pool starts.
    letters: Vec<String>,
    last: BTreeMap<String, Value>,
    /// By `Node/worker-0`, `MachineConfigPool/worker`.
    told: BTreeMap<String, Vec<String>>,
    /// The zones of a pool's nodes in the order in which the controller took them.
    turns: BTreeMap<String, Vec<String>>,
}

impl Story {
    /// `rendered-worker-3f4c...` and `rendered-canary-3f4c...` are the same content: the same letter.
    fn letter(&mut self, rendered: &str) -> char {
        let hash = rendered.rsplit('-').next().unwrap_or_default().to_owned();
        let known = self.letters.iter().position(|known| *known == hash);
        let at = known.unwrap_or_else(|| {
            self.letters.push(hash);
            self.letters.len() - 1
        });
        char::from(b'A' + u8::try_from(at).unwrap())
    }

    /// `drain-rendered-worker-3f4c` is `drain B`.
    fn wish(&mut self, text: &str) -> String {
        match text.split_once('-') {
            Some((word, rendered)) => format!("{word} {}", self.letter(rendered)),
            None => String::new(),
        }
    }

    fn take(&mut self, look: &Look) {
        // The control plane only stands by.
        if look.name.starts_with("master") {
            return;
        }
        let key = format!("{}/{}", look.kind, look.name);
        let now = self.condense(look);
        let before = self.last.insert(key.clone(), now.clone());
        // The first look is the start.
        let Some(before) = before else { return };
        for (field, value) in now.as_object().unwrap() {
            if before[field] == *value {
                continue;
            }
            if field == "1 desired" {
                let zone = now["zone"].as_str().unwrap().to_owned();
                let pool = look.name.split('-').next().unwrap().to_owned();
                self.turns.entry(pool).or_default().push(zone);
            }
            // A boot is told by the node being up again, and that it was another boot.
            let word = field
                .split_once(' ')
                .map_or(field.as_str(), |(_, word)| word);
            self.told
                .entry(key.clone())
                .or_default()
                .push(format!("{word} {}", value.as_str().unwrap()));
        }
    }

    /// The fields that are compared, in the order in which one write of several is told.
    fn condense(&mut self, look: &Look) -> Value {
        let fields = &look.fields;
        let text = |path: &str| {
            fields
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if look.kind == "Node" {
            // `Rebooting` is the stand-in's word for what the daemon says in `post-config-action`.
            let state = text("/annotations/state").replace("Rebooting", "Working");
            let up = if text("/ready") == "True" {
                "True"
            } else {
                "False"
            };
            return json!({
                "1 desired": self.letter(text("/annotations/desiredConfig")).to_string(),
                "2 asks": self.wish(text("/annotations/desiredDrain")),
                "3 unschedulable": fields["unschedulable"].to_string(),
                "4 applied": self.wish(text("/annotations/lastAppliedDrain")),
                "5 ready": up,
                "6 current": self.letter(text("/annotations/currentConfig")).to_string(),
                "7 state": state,
                "zone": text("/labels/topology.kubernetes.io~1zone"),
            });
        }
        let condition = |kind: &str| fields["status"]["conditions"][kind][0].clone();
        json!({
            "1 goes to": self.letter(text("/configuration")).to_string(),
            "2 Updated": condition("Updated"),
            "3 Updating": condition("Updating"),
            "4 NodeDegraded": condition("NodeDegraded"),
            "5 Degraded": condition("Degraded"),
            "6 is at": self.letter(text("/status/configuration")).to_string(),
        })
    }
}

/// A trace up to (and without) the first moment at which `ends` holds.
fn recorded(file: &str, ends: impl Fn(&Value) -> bool) -> Story {
    let path = format!("{}/tests/traces/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let mut story = Story::default();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if ends(&event) {
            break;
        }
        if matches!(event["kind"].as_str(), Some("Node" | "MachineConfigPool")) {
            story.take(&Look {
                kind: event["kind"].as_str().unwrap().to_owned(),
                name: event["name"].as_str().unwrap().to_owned(),
                fields: event,
            });
        }
    }
    story
}

/// The same form from whole objects.
fn look(object: &Value) -> Look {
    let short = |map: &Value| -> Value {
        map.as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.strip_prefix(P).unwrap_or(key).to_owned(), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let kind = object["kind"].as_str().unwrap().to_owned();
    let conditions: serde_json::Map<String, Value> = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|condition| {
            (
                condition["type"].as_str().unwrap().to_owned(),
                json!([condition["status"]]),
            )
        })
        .collect();
    let fields = if kind == "Node" {
        json!({
            "annotations": short(&object["metadata"]["annotations"]), "labels": object["metadata"]["labels"],
            "unschedulable": object["spec"]["unschedulable"] == true, "ready": conditions["Ready"][0],
        })
    } else {
        json!({
            "configuration": object["spec"]["configuration"]["name"],
            "status": {"configuration": object["status"]["configuration"]["name"], "conditions": conditions},
        })
    };
    Look {
        kind,
        name: object["metadata"]["name"].as_str().unwrap().to_owned(),
        fields,
    }
}

struct Registry;

impl Pulls for Registry {
    fn pull(&self, image: &str) -> Result<String, String> {
        if image == MISSING {
            Err(format!("reading manifest in {image}: manifest unknown"))
        } else {
            Ok("418.94".to_owned())
        }
    }
}

/// The cluster of the traces: 3 masters, 5 workers in zones a, b, c, and one node in the custom pool `canary`.
struct Cluster {
    api: Handle,
    /// How many looks belong to the start.
    start: usize,
    looks: Arc<Mutex<Vec<Look>>>,
    stop: CancellationToken,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
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

const MCO: &str = "machineconfiguration.openshift.io";

impl Cluster {
    async fn start() -> Self {
        let node = |pool: &str, index: usize, zone: &str| NodeSpec {
            name: format!("{pool}-{index}"),
            pool: pool.to_owned(),
            zone: format!("zone-{zone}"),
        };
        let masters = ["a", "b", "c"]
            .iter()
            .enumerate()
            .map(|(at, zone)| node("master", at, zone));
        let workers = ["a", "b", "c", "a", "b"]
            .iter()
            .enumerate()
            .map(|(at, zone)| node("worker", at, zone));
        let plan = Plan {
            name: "traced".to_owned(),
            version: "4.18.9".to_owned(),
            release_image: "quay.io/openshift-release-dev/ocp-release@sha256:cccc".to_owned(),
            os_image: BASE.to_owned(),
            pools: Vec::new(),
            nodes: masters
                .chain([node("canary", 0, "c")])
                .chain(workers)
                .collect(),
        };
        let machines = Arc::new(Machines::new(
            "traced",
            &plan.node_names(),
            BASE,
            Box::new(Registry),
        ));
        let api = ApiServer::start(Options::default()).await.unwrap();
        let access = Access::new(api.client());
        seed(&access, &plan, &machines).await.unwrap();
        let stop = CancellationToken::new();
        start_controllers(&access, Pace::fast(), &stop);
        start_nodes(&access, &machines, Pace::fast(), &stop);
        let mut cluster = Self {
            api,
            start: 0,
            looks: Arc::default(),
            stop,
        };
        for kind in [
            resource("", "Node", "nodes"),
            resource(MCO, "MachineConfigPool", "machineconfigpools"),
        ] {
            let objects: Api<DynamicObject> = Api::all_with(cluster.api.client(), &kind);
            let (looks, stop) = (Arc::clone(&cluster.looks), cluster.stop.clone());
            tokio::spawn(async move {
                let mut events = std::pin::pin!(watcher(objects, watcher::Config::default()));
                while let Some(event) = stop.run_until_cancelled(events.next()).await.flatten() {
                    if let Event::InitApply(object) | Event::Apply(object) = event.unwrap() {
                        let object = serde_json::to_value(object).unwrap();
                        looks.lock().unwrap().push(look(&object));
                    }
                }
            });
        }
        cluster
            .until("the start", |state| {
                ["worker", "canary"].iter().all(|pool| {
                    let pool = state(&format!("MachineConfigPool/{pool}"));
                    pool["Updated"] == "True" && pool["to"] == pool["at"]
                }) && state("Node/worker-0")["state"] == "Done"
            })
            .await;
        cluster.start = cluster.looks.lock().unwrap().len();
        cluster
    }

    fn configs(&self) -> Api<DynamicObject> {
        Api::all_with(
            self.api.client(),
            &resource(MCO, "MachineConfig", "machineconfigs"),
        )
    }

    async fn layer(&self, image: &str) {
        let object = serde_json::from_value(json!({
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
            "metadata": {"name": "99-os-layer-custom", "labels": {format!("{P}role"): "worker"}},
            "spec": {"osImageURL": image},
        }));
        self.configs()
            .create(&PostParams::default(), &object.unwrap())
            .await
            .unwrap();
    }

    async fn remove(&self) {
        self.configs()
            .delete("99-os-layer-custom", &DeleteParams::default())
            .await
            .unwrap();
    }

    async fn patch(&self, kind: &ApiResource, name: &str, patch: Value) {
        let objects: Api<DynamicObject> = Api::all_with(self.api.client(), kind);
        objects
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Waits until the newest looks are as they should be.
    async fn until(&self, what: &str, holds: impl Fn(&dyn Fn(&str) -> Value) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            let latest: BTreeMap<String, Value> = {
                let looks = self.looks.lock().unwrap();
                looks
                    .iter()
                    .map(|look| (format!("{}/{}", look.kind, look.name), look.fields.clone()))
                    .collect()
            };
            let state = |key: &str| {
                let fields = latest.get(key).cloned().unwrap_or_default();
                if !key.starts_with("MachineConfigPool/") {
                    return fields["annotations"].clone();
                }
                let conditions = &fields["status"]["conditions"];
                json!({
                    "Updated": conditions["Updated"][0], "Degraded": conditions["Degraded"][0],
                    "to": fields["configuration"], "at": fields["status"]["configuration"],
                })
            };
            if holds(&state) {
                return;
            }
            assert!(Instant::now() < deadline, "waited for {what} in vain");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Both pools are at what they go to, which is (or is not) where they started.
    async fn settled(&self, moved_from: &str) {
        self.until("both pools to settle", |state| {
            ["worker", "canary"].iter().all(|pool| {
                let pool = state(&format!("MachineConfigPool/{pool}"));
                let hash = pool["at"]
                    .as_str()
                    .unwrap_or_default()
                    .rsplit('-')
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                pool["Updated"] == "True" && pool["to"] == pool["at"] && hash != moved_from
            })
        })
        .await;
    }

    fn hash(&self) -> String {
        let looks = self.looks.lock().unwrap();
        let pool = looks
            .iter()
            .rev()
            .find(|look| look.name == "worker")
            .unwrap();
        pool.fields["configuration"]
            .as_str()
            .unwrap()
            .rsplit('-')
            .next()
            .unwrap()
            .to_owned()
    }

    fn story(&self, from: usize) -> Story {
        let mut story = Story::default();
        let looks = self.looks.lock().unwrap();
        // What was last seen before is the start.
        let mut start: BTreeMap<String, &Look> = BTreeMap::new();
        for look in &looks[..from] {
            start.insert(format!("{}/{}", look.kind, look.name), look);
        }
        for look in start.into_values().chain(&looks[from..]) {
            story.take(look);
        }
        story
    }
}

fn compare(recorded: &Story, lab: &Story) {
    for (object, told) in &recorded.told {
        assert_eq!(
            lab.told.get(object),
            Some(told),
            "{object}: on the left the lab, on the right the real controllers"
        );
    }
    let extra: Vec<&String> = lab
        .told
        .keys()
        .filter(|key| !recorded.told.contains_key(*key))
        .collect();
    assert!(
        extra.is_empty(),
        "the lab moved what the real controllers left alone: {extra:?}"
    );
    assert_eq!(
        lab.turns, recorded.turns,
        "the zones in the order of their turn"
    );
}

const NEVER: fn(&Value) -> bool = |_| false;

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_is_applied_and_removed_as_by_the_real_controllers() {
    let cluster = Cluster::start().await;
    let base = cluster.hash();
    cluster.layer(LAYER).await;
    cluster.settled(&base).await;
    compare(
        &recorded("s01_apply_worker", NEVER),
        &cluster.story(cluster.start),
    );

    let begun = cluster.looks.lock().unwrap().len();
    let layered = cluster.hash();
    cluster.remove().await;
    cluster.settled(&layered).await;
    compare(&recorded("s02_remove_worker", NEVER), &cluster.story(begun));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_at_a_time_go_as_by_the_real_controllers() {
    let cluster = Cluster::start().await;
    let base = cluster.hash();
    let pools = resource(MCO, "MachineConfigPool", "machineconfigpools");
    cluster
        .patch(&pools, "worker", json!({"spec": {"maxUnavailable": 2}}))
        .await;
    cluster.layer(LAYER).await;
    cluster.settled(&base).await;
    let removed = |event: &Value| event["type"] == "DELETED";
    compare(
        &recorded("s07_max_unavailable_2", removed),
        &cluster.story(cluster.start),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_image_traps_its_nodes_until_they_are_freed_as_by_the_real_controllers() {
    let cluster = Cluster::start().await;
    let base = cluster.hash();
    cluster.layer(MISSING).await;
    let degraded = |state: &dyn Fn(&str) -> Value| {
        ["worker", "canary"]
            .iter()
            .all(|pool| state(&format!("MachineConfigPool/{pool}"))["Degraded"] == "True")
    };
    cluster.until("both pools to be degraded", degraded).await;
    cluster.remove().await;
    let back = |state: &dyn Fn(&str) -> Value| {
        ["worker", "canary"].iter().all(|pool| {
            state(&format!("MachineConfigPool/{pool}"))["to"]
                .as_str()
                .unwrap_or_default()
                .ends_with(&base)
        })
    };
    cluster.until("both pools to go back", back).await;
    // Up to here nothing frees the nodes: this is the trap. In the trace it is opened after 14 s.
    let opened = |event: &Value| event["t"].as_f64().unwrap() > 35.0;
    compare(
        &recorded("s04_bad_image_degrades_then_rollback", opened),
        &cluster.story(cluster.start),
    );

    let nodes = resource("", "Node", "nodes");
    for (node, pool) in [("worker-0", "worker"), ("canary-0", "canary")] {
        let free = json!({"metadata": {"annotations": {format!("{P}desiredConfig"): format!("rendered-{pool}-{base}")}}});
        cluster.patch(&nodes, node, free).await;
    }
    cluster
        .until("the nodes to be done", |state| {
            ["worker-0", "canary-0"]
                .iter()
                .all(|node| state(&format!("Node/{node}"))["state"] == "Done")
                && ["worker", "canary"]
                    .iter()
                    .all(|pool| state(&format!("MachineConfigPool/{pool}"))["Updated"] == "True")
        })
        .await;
}
