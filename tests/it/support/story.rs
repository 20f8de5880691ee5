//! In: looks at nodes and pools, one after the other, wherever they come from. Out: what happened, in words that do not
//! depend on where: times, generated names, counts that fall together, and which of two nodes with equal rank went first
//! are left out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The prefix of the operator's annotations and labels.
pub(crate) const P: &str = "machineconfiguration.openshift.io/";

/// One look at a node or pool, with the operator's prefix cut off as in the recorded traces.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) fields: Value,
}

impl Look {
    /// From a whole object.
    pub(crate) fn of(object: &Value) -> Self {
        let short = |map: &Value| -> Value {
            map.as_object()
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.strip_prefix(P).unwrap_or(key).to_owned(), value.clone()))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let list = |value: &Value, field: &str| -> Vec<Value> {
            let items = value.as_array().into_iter().flatten();
            items.map(|item| item[field].clone()).collect()
        };
        let status = &object["status"];
        let conditions: serde_json::Map<String, Value> = status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|condition| {
                let told = json!([
                    condition["status"],
                    condition["reason"],
                    condition["message"]
                ]);
                (condition["type"].as_str().unwrap().to_owned(), told)
            })
            .collect();
        let kind = object["kind"].as_str().unwrap().to_owned();
        let fields = if kind == "Node" {
            json!({
                "annotations": short(&object["metadata"]["annotations"]), "labels": object["metadata"]["labels"],
                "unschedulable": object["spec"]["unschedulable"] == true, "ready": conditions["Ready"][0],
                "taints": list(&object["spec"]["taints"], "key"),
            })
        } else {
            json!({
                "generation": object["metadata"]["generation"],
                "configuration": object["spec"]["configuration"]["name"],
                "source": list(&object["spec"]["configuration"]["source"], "name"),
                "status": {"configuration": status["configuration"]["name"], "conditions": conditions, "counts": status},
            })
        };
        Self {
            kind,
            name: object["metadata"]["name"].as_str().unwrap().to_owned(),
            fields,
        }
    }

    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// The rendered configurations by the end of their names, each in a short word: `custom-image@aaaa`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rendered(BTreeMap<String, String>);

impl Rendered {
    /// Takes note of a MachineConfig.
    pub(crate) fn learn(&mut self, name: &str, image: &str, kernel: &str, overridden: bool) {
        if !name.starts_with("rendered-") {
            return;
        }
        let last = image.rsplit('/').next().unwrap_or_default();
        let mut word = match last.split_once("@sha256:") {
            Some((name, digest)) => format!("{name}@{}", &digest[..4]),
            None => last.to_owned(),
        };
        if kernel == "realtime" {
            word.push_str(" realtime");
        }
        if overridden {
            word.push_str(" overridden");
        }
        self.0.insert(end(name).to_owned(), word);
    }

    /// `rendered-worker-3f4c...` and `rendered-canary-3f4c...` are the same content: the same word.
    pub(crate) fn word(&self, rendered: &str) -> String {
        let known = self.0.get(end(rendered));
        known.map_or_else(|| "?".to_owned(), Clone::clone)
    }

    /// Whether a rendered configuration has this image.
    pub(crate) fn has(&self, rendered: &str, image: &str) -> bool {
        let mut wanted = Self::default();
        wanted.learn(rendered, image, "", false);
        self.word(rendered).split(' ').next() == Some(&wanted.word(rendered))
    }

    /// `drain-rendered-worker-3f4c` is `drain custom-image@aaaa overridden`.
    fn wish(&self, text: &str) -> String {
        match text.split_once('-') {
            Some((word, rendered)) => format!("{word} {}", self.word(rendered)),
            None => String::new(),
        }
    }

    /// A message without generated names.
    fn message(&self, text: &str) -> String {
        let words = text.split(' ').map(|word| {
            if word.starts_with("rendered-") {
                self.word(word)
            } else {
                word.to_owned()
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Whether a node bears the operator's taint. A real API server has others, too.
pub(crate) fn is_tainted(node: &Value) -> bool {
    let taints = node["taints"].as_array();
    taints
        .into_iter()
        .flatten()
        .any(|key| key == "UpdateInProgress")
}

fn end(rendered: &str) -> &str {
    rendered.rsplit('-').next().unwrap_or_default()
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Story {
    rendered: Rendered,
    last: BTreeMap<String, Value>,
    told: BTreeMap<String, Vec<String>>,
    /// A pool and a zone each, in the order in which nodes got their turn.
    turns: Vec<(String, String)>,
    /// Nodes in the order of their first turn.
    taken: Vec<String>,
}

impl Story {
    pub(crate) fn new(rendered: Rendered) -> Self {
        Self {
            rendered,
            ..Self::default()
        }
    }

    /// The next look; the first at an object is where it starts.
    pub(crate) fn take(&mut self, look: &Look) {
        // The control plane only stands by.
        if look.name.starts_with("master") {
            return;
        }
        let key = look.key();
        let now = self.condense(look);
        let before = self.last.insert(key.clone(), now.clone());
        let Some(before) = before else { return };
        for (field, value) in now.as_object().unwrap() {
            if before[field] == *value {
                continue;
            }
            let (_, word) = field.split_once(' ').unwrap();
            if word == "desired" {
                let pool = look.name.split('-').next().unwrap().to_owned();
                let zone = now["0 zone"].as_str().unwrap().to_owned();
                self.turns.push((pool, zone));
                if !self.taken.contains(&key) {
                    self.taken.push(key.clone());
                }
            }
            // The node controller taints whatever a node is busy with: a thread of its own.
            let thread = match word {
                "tainted" => format!("{key} taint"),
                _ => key.clone(),
            };
            let told = format!("{word} {}", value.as_str().unwrap());
            self.told.entry(thread).or_default().push(told);
        }
    }

    /// The fields that are compared, in the order in which one write of several is told.
    fn condense(&self, look: &Look) -> Value {
        let fields = &look.fields;
        let text = |path: &str| {
            let value = fields.pointer(path).and_then(Value::as_str);
            value.unwrap_or_default()
        };
        if look.kind == "Node" {
            // `Rebooting` is one stand-in's word for what the daemon says in `post-config-action`.
            let state = text("/annotations/state").replace("Rebooting", "Working");
            let up = if text("/ready") == "True" {
                "True"
            } else {
                "False"
            };
            return json!({
                "0 zone": text("/labels/topology.kubernetes.io~1zone"),
                "1 desired": self.rendered.word(text("/annotations/desiredConfig")),
                "2 asks": self.rendered.wish(text("/annotations/desiredDrain")),
                "3 unschedulable": fields["unschedulable"].to_string(),
                "4 applied": self.rendered.wish(text("/annotations/lastAppliedDrain")),
                "5 ready": up,
                "6 current": self.rendered.word(text("/annotations/currentConfig")),
                "7 state": state,
                "8 tainted": is_tainted(fields).to_string(),
            });
        }
        let condition = |kind: &str| text(&format!("/status/conditions/{kind}/0")).to_owned();
        let said = |kind: &str| {
            let message = text(&format!("/status/conditions/{kind}/2"));
            format!("{} {}", condition(kind), self.rendered.message(message))
        };
        let sources = fields["source"].as_array();
        // Those of the installation are not what a story is about.
        let own = sources
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|name| !name.starts_with("00-") && !name.starts_with("01-"));
        json!({
            "1 fed by": own.collect::<Vec<_>>().join(", "),
            "2 goes to": self.rendered.word(text("/configuration")),
            "3 RenderDegraded": said("RenderDegraded"),
            "4 NodeDegraded": condition("NodeDegraded"),
            "5 Degraded": condition("Degraded"),
            "6 Updated": said("Updated"),
            "7 Updating": said("Updating"),
            "8 is at": self.rendered.word(text("/status/configuration")),
        })
    }

    /// By `worker`, and by `worker in zone-a, 1st` for the first node of that rank that got its turn.
    fn threads(&self) -> BTreeMap<String, &Vec<String>> {
        let mut nodes: Vec<&String> = self
            .last
            .keys()
            .filter(|key| key.starts_with("Node/"))
            .collect();
        nodes.sort_by_key(|key| {
            let turn = self.taken.iter().position(|taken| taken == *key);
            (turn.is_none(), turn)
        });
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut names: BTreeMap<&str, String> = BTreeMap::new();
        for key in nodes {
            let pool = key["Node/".len()..].split('-').next().unwrap();
            let rank = format!("{pool} in {}", self.last[key]["0 zone"].as_str().unwrap());
            let at = seen.entry(rank.clone()).or_default();
            *at += 1;
            names.insert(key, format!("{rank}, number {at}"));
        }
        let named = self.told.iter().map(|(thread, told)| {
            let (key, rest) = match thread.strip_suffix(" taint") {
                Some(key) => (key, " taint"),
                None => (thread.as_str(), ""),
            };
            let name = names.get(key).map_or(key, String::as_str);
            (format!("{name}{rest}"), told)
        });
        named.collect()
    }

    /// The zones of each pool's nodes in the order in which they got their turn.
    fn turns(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (pool, zone) in &self.turns {
            all.entry(pool).or_default().push(zone);
        }
        all
    }

    /// That nothing happened at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }
}

/// Fails where the lab does otherwise than the real controllers did.
pub(crate) fn compare(what: &str, real: &Story, lab: &Story) {
    let (real_threads, lab_threads) = (real.threads(), lab.threads());
    for (object, told) in &real_threads {
        assert_eq!(
            lab_threads.get(object),
            Some(told),
            "{what}: {object}: on the left the lab, on the right the real controllers"
        );
    }
    let extra: Vec<&String> = lab_threads
        .keys()
        .filter(|key| !real_threads.contains_key(*key))
        .collect();
    assert!(
        extra.is_empty(),
        "{what}: the lab moved what the real controllers left alone: {extra:?}"
    );
    assert_eq!(
        lab.turns(),
        real.turns(),
        "{what}: the zones in the order of their turn, on the left the lab"
    );
}
