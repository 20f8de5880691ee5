//! The core under every order of events: a model of the operator and its daemons writes one object at a time, in an
//! order that proptest chooses; a viewer sees each object late, some versions never, some again, and begins anew in the
//! middle. What it says is held against what the machines have really booted.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::objects::PREFIX;
use super::*;

/// Images by the names of their rendered configurations: what is booted is what the configuration says.
fn rendered(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"osImageURL": format!("image-{name}")}})
}

fn note<'v>(node: &'v Value, key: &str) -> &'v str {
    node["metadata"]["annotations"][format!("{PREFIX}{key}")]
        .as_str()
        .unwrap()
}

fn set(node: &mut Value, key: &str, value: &str) {
    node["metadata"]["annotations"][format!("{PREFIX}{key}")] = json!(value);
}

fn up(node: &mut Value, status: &str) {
    node["status"]["conditions"] = json!([{"type": "Ready", "status": status}]);
}

/// The cluster as it is, every version of its objects, and what machines have booted.
struct World {
    /// What the MachineConfigs make together: the pool will be told.
    wanted: String,
    pool: Value,
    nodes: Vec<Value>,
    booted: Vec<String>,
    at_once: usize,
    /// For each moment: the pool, the nodes, what is booted.
    history: Vec<(Value, Vec<Value>, Vec<String>)>,
}

impl World {
    fn new(start: &str, nodes: usize, at_once: usize) -> Self {
        let node = |at: usize| {
            let mut node = json!({"metadata": {"name": format!("n{at}"), "annotations": {}}, "spec": {},
                "status": {"nodeInfo": {"bootID": "1"}}});
            for (key, value) in [
                ("currentConfig", start),
                ("desiredConfig", start),
                ("state", "Done"),
                ("desiredDrain", &format!("uncordon-{start}")),
                ("lastAppliedDrain", &format!("uncordon-{start}")),
                ("post-config-action", ""),
            ] {
                set(&mut node, key, value);
            }
            up(&mut node, "True");
            node
        };
        let mut world = Self {
            wanted: start.to_owned(),
            pool: json!({"metadata": {"name": "worker", "generation": 1},
                "spec": {"configuration": {"name": start}, "maxUnavailable": at_once}, "status": {}}),
            nodes: (0..nodes).map(node).collect(),
            booted: vec![start.to_owned(); nodes],
            at_once,
            history: Vec::new(),
        };
        world.status();
        world.keep();
        world
    }

    fn keep(&mut self) {
        self.history
            .push((self.pool.clone(), self.nodes.clone(), self.booted.clone()));
    }

    fn target(&self) -> String {
        self.pool["spec"]["configuration"]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The node controller writes the pool's status.
    fn status(&mut self) {
        let target = self.target();
        let done = |node: &&Value| {
            note(node, "currentConfig") == target
                && note(node, "desiredConfig") == target
                && note(node, "state") == "Done"
                && node["spec"]["unschedulable"] != true
        };
        let all = self.nodes.iter().filter(done).count() == self.nodes.len();
        let at = if all {
            json!(target)
        } else {
            self.pool["status"]["configuration"]["name"].clone()
        };
        self.pool["status"] = json!({
            "observedGeneration": self.pool["metadata"]["generation"], "machineCount": self.nodes.len(),
            "configuration": {"name": at},
            "conditions": [{"type": "Updated", "status": if all { "True" } else { "False" }}],
        });
    }

    /// One write of one part of the operator; which one, `choice` says. `false` when it has nothing to do.
    fn act(&mut self, choice: usize) -> bool {
        let target = self.target();
        match choice {
            0 if self.wanted != target => {
                self.pool["spec"]["configuration"]["name"] = json!(self.wanted);
                let generation = self.pool["metadata"]["generation"].as_i64().unwrap();
                self.pool["metadata"]["generation"] = json!(generation + 1);
            }
            1 => {
                let before = self.pool["status"].clone();
                self.status();
                if self.pool["status"] == before {
                    return false;
                }
            }
            2 => {
                let is_away = |node: &&Value| {
                    note(node, "currentConfig") != note(node, "desiredConfig")
                        || note(node, "state") != "Done"
                };
                let away = self.nodes.iter().filter(is_away).count();
                let next = self
                    .nodes
                    .iter()
                    .position(|node| note(node, "desiredConfig") != target && !is_away(&node));
                let Some(next) = next.filter(|_| away < self.at_once) else {
                    return false;
                };
                set(&mut self.nodes[next], "desiredConfig", &target);
            }
            node if node >= 3 && node - 3 < self.nodes.len() => return self.daemon(node - 3),
            _ => return false,
        }
        true
    }

    /// One write on a node: by its daemon, the drain controller, or the kubelet.
    fn daemon(&mut self, at: usize) -> bool {
        let node = &mut self.nodes[at];
        let desired = note(node, "desiredConfig").to_owned();
        let (drain, uncordon) = (format!("drain-{desired}"), format!("uncordon-{desired}"));
        let is_asked = note(node, "desiredDrain") != note(node, "lastAppliedDrain");
        let is_up = node["status"]["conditions"][0]["status"] == "True";
        if is_asked && is_up {
            let asked = note(node, "desiredDrain").to_owned();
            node["spec"]["unschedulable"] = json!(asked.starts_with("drain-"));
            set(node, "lastAppliedDrain", &asked);
        } else if note(node, "currentConfig") == desired {
            return false;
        } else if note(node, "state") == "Done" {
            set(node, "state", "Working");
        } else if !is_up {
            up(node, "True");
            let boot: u32 = node["status"]["nodeInfo"]["bootID"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            node["status"]["nodeInfo"]["bootID"] = json!((boot + 1).to_string());
            self.booted[at] = desired;
        } else if self.booted[at] == desired {
            if note(node, "desiredDrain") == uncordon {
                set(node, "currentConfig", &desired);
                set(node, "state", "Done");
            } else {
                set(node, "post-config-action", "");
                set(node, "desiredDrain", &uncordon);
            }
        } else if note(node, "desiredDrain") != drain {
            set(node, "desiredDrain", &drain);
        } else if note(node, "post-config-action") == "Rebooting" {
            up(node, "Unknown");
        } else {
            set(node, "post-config-action", "Rebooting");
        }
        true
    }

    /// Acts in the chosen order, one moment each.
    fn run(&mut self, choices: &[usize]) {
        for choice in choices {
            if self.act(*choice) {
                self.keep();
            }
        }
    }

    /// Until nothing is left to do.
    fn finish(&mut self) {
        while (0..3 + self.nodes.len()).any(|choice| self.act(choice)) {
            self.keep();
        }
    }
}

/// What a watch has brought so far: for each object the moment of the version that is known.
struct Viewer {
    pool: usize,
    nodes: Vec<usize>,
}

impl Viewer {
    /// A list: everything as it is now.
    fn new(now: usize, nodes: usize) -> Self {
        Self {
            pool: now,
            nodes: vec![now; nodes],
        }
    }

    /// Later versions come, of each object as many as `late` leaves; never older ones than are known.
    fn follow(&mut self, now: usize, late: &[usize]) {
        let later = |known: usize, late: usize| known.max(now.saturating_sub(late));
        self.pool = later(self.pool, late[0]);
        for (at, known) in self.nodes.iter_mut().enumerate() {
            *known = later(*known, late[(at + 1) % late.len()]);
        }
    }

    /// What it sees, and, with the machines' own word at this moment, what the core says.
    fn look(
        &self,
        world: &World,
        now: usize,
        image: &str,
        proven: &mut BTreeMap<String, String>,
    ) -> Progress {
        let pool = &world.history[self.pool].0;
        let nodes: Vec<&Value> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(at, known)| &world.history[*known].1[at])
            .collect();
        let config = rendered(pool["spec"]["configuration"]["name"].as_str().unwrap());
        let mut snapshot = Snapshot::new(pool, Some(&config), nodes);
        snapshot.proven.clone_from(proven);
        let progress = observe(&snapshot, image);
        let (_, real, booted) = &world.history[now];
        for (at, state) in progress.nodes.iter().enumerate() {
            if state.is_settled() && progress.noticed && format!("image-{}", booted[at]) == image {
                let boot = real[at]["status"]["nodeInfo"]["bootID"].as_str().unwrap();
                proven.insert(state.name.clone(), boot.to_owned());
            }
        }
        snapshot.proven.clone_from(proven);
        let progress = observe(&snapshot, image);
        if progress.is_settled() {
            // Whatever the machines do: what was seen says so itself, every part of it.
            let (seen, status) = (&pool["metadata"]["generation"], &pool["status"]);
            assert_eq!(status["observedGeneration"], *seen, "{progress:?}");
            for node in &snapshot.nodes {
                let (asked, done) = (note(node, "desiredDrain"), note(node, "lastAppliedDrain"));
                assert_eq!(asked, done, "{progress:?}");
            }
        }
        progress
    }
}

/// Short ones are where two wishes come so close that the operator has done little between them.
fn choices() -> impl Strategy<Value = Vec<usize>> {
    let few = proptest::collection::vec(0_usize..5, 0..5);
    prop_oneof![few, proptest::collection::vec(0_usize..7, 0..120)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Layers are applied, edited, taken back, also in the middle of a rollout. Whatever the viewer sees, `settled` and
    /// `done` are true of the machines, are never taken back, and come in the end.
    #[test]
    fn done_is_never_early_and_never_taken_back(
        size in 1_usize..4,
        at_once in 1_usize..3,
        wishes in proptest::collection::vec(0_usize..3, 1..4),
        orders in proptest::collection::vec(choices(), 4),
        looks in proptest::collection::vec((0_usize..4, proptest::collection::vec(0_usize..12, 4), proptest::bool::weighted(0.1)), 1..60),
    ) {
        let names = ["A", "B", "C"];
        let mut world = World::new("A", size, at_once);
        for (wish, order) in wishes.iter().zip(&orders) {
            world.run(order);
            world.wanted = names[*wish].to_owned();
        }
        // The last write is done: from here on the viewer watches.
        let begun = world.history.len() - 1;
        let image = format!("image-{}", world.wanted);
        world.run(&orders[3]);
        world.finish();
        let last = world.history.len() - 1;
        let is_there = |moment: usize| {
            let (_, nodes, booted) = &world.history[moment];
            nodes.iter().zip(booted).all(|(node, booted)| {
                *booted == world.wanted
                    && note(node, "desiredConfig") == world.wanted
                    && note(node, "state") == "Done"
                    && node["spec"]["unschedulable"] != true
            })
        };

        let mut viewer = Viewer::new(begun, size);
        let mut proven = BTreeMap::new();
        let mut was_done = false;
        let mut now = begun;
        for (steps, late, again) in &looks {
            now = last.min(now + steps);
            if *again {
                // Killed, or `410 Gone`: everything is listed anew, and nothing is remembered.
                viewer = Viewer::new(now, size);
                proven.clear();
            } else {
                viewer.follow(now, late);
            }
            let progress = viewer.look(&world, now, &image, &mut proven);
            if progress.is_settled() {
                prop_assert!(is_there(now), "{progress:?}");
            }
            let is_done = progress.verdict == Verdict::Done;
            prop_assert!(is_done || !was_done || *again, "taken back: {progress:?}");
            was_done = is_done;
        }
        viewer.follow(last, &[0; 4]);
        let end = viewer.look(&world, last, &image, &mut proven);
        prop_assert_eq!(end.verdict, Verdict::Done);
    }
}
