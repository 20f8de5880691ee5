//! In: what hosts and rollouts are doing. Out: lines at the foot of a terminal that change in place: one a host at
//! work; for a rollout one a pool with its counts and a bar, and one a node that is at work.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

/// The task and the host of a line.
pub(super) type Key = (u64, String);

/// A pool with its nodes is shown up to this many lines; the pool's own line counts the rest.
const NODES: usize = 10;
const HOST: &str = "      {spinner} {prefix} {wide_msg} {elapsed}";
const POOL: &str = "      {spinner} {prefix} [{bar:24}] {pos} of {len} nodes {wide_msg} {elapsed}";
const NODE: &str = "          {prefix} {wide_msg} {elapsed}";

#[derive(Default)]
struct Rollout {
    pool: Option<ProgressBar>,
    /// What each node at work does.
    at_work: BTreeMap<String, String>,
    /// Those that have a line, and what it says.
    nodes: BTreeMap<String, (String, ProgressBar)>,
}

/// The changing lines.
#[derive(Default)]
pub(super) struct Live {
    all: MultiProgress,
    hosts: BTreeMap<Key, ProgressBar>,
    rollouts: BTreeMap<Key, Rollout>,
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

impl Live {
    /// Prints above the changing lines.
    pub(super) fn above(&self, print: impl FnOnce()) {
        self.all.suspend(print);
    }

    /// What a host is doing.
    pub(super) fn status(&mut self, key: Key, text: &str) {
        let all = &self.all;
        let host = key.1.clone();
        let bar = self.hosts.entry(key).or_insert_with(|| {
            let bar = all.add(ProgressBar::new_spinner().with_style(style(HOST)));
            bar.set_prefix(host);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        bar.set_message(text.to_owned());
    }

    /// Where a rollout stands, as `openshift::observe::Progress` says it.
    pub(super) fn rollout(&mut self, key: Key, progress: &Value) {
        if let Some(bar) = self.hosts.remove(&key) {
            bar.finish_and_clear();
        }
        let host = key.1.clone();
        let text =
            |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let rollout = self.rollouts.entry(key).or_default();
        let nodes: Vec<&Value> = progress["nodes"].as_array().into_iter().flatten().collect();
        let all = &self.all;
        let pool = rollout.pool.get_or_insert_with(|| {
            let bar = all.add(ProgressBar::new(0).with_style(style(POOL)));
            bar.set_prefix(format!("{host} pool {}", text(progress, "pool")));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        pool.set_length(progress["total"].as_u64().unwrap_or_default());
        pool.set_position(progress["settled"].as_u64().unwrap_or_default());
        let message = if progress["noticed"] != true {
            "waiting until the pool goes to the image".to_owned()
        } else if progress["paused"] == true {
            "paused".to_owned()
        } else {
            text(progress, "lacks")
        };
        pool.set_message(message);
        // Of a large pool only the nodes that are new are told.
        if progress["partial"] != true {
            rollout.at_work.clear();
        }
        for node in nodes {
            let name = text(node, "name");
            if progress["noticed"] == true && is_at_work(node) {
                rollout.at_work.insert(name, text(node, "doing"));
            } else {
                rollout.at_work.remove(&name);
            }
        }
        let at_work = &rollout.at_work;
        rollout.nodes.retain(|name, (_, bar)| {
            let stays = at_work.contains_key(name);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for (name, doing) in at_work {
            let (name, doing) = (name.clone(), doing.clone());
            if let Some((known, bar)) = rollout.nodes.get_mut(&name) {
                if *known != doing {
                    bar.set_message(doing.clone());
                    bar.reset_elapsed();
                    *known = doing;
                }
            } else if rollout.nodes.len() < NODES {
                let last = rollout
                    .nodes
                    .values()
                    .next_back()
                    .map(|(_, bar)| bar.clone());
                let bar = ProgressBar::new_spinner().with_style(style(NODE));
                let bar = self.all.insert_after(last.as_ref().unwrap_or(pool), bar);
                bar.set_prefix(name.clone());
                bar.set_message(doing.clone());
                bar.enable_steady_tick(Duration::from_millis(250));
                rollout.nodes.insert(name, (doing, bar));
            }
        }
    }

    /// Takes the lines of a host's task away.
    pub(super) fn clear(&mut self, key: &Key) {
        let rollout = self.rollouts.remove(key).unwrap_or_default();
        let bars = self.hosts.remove(key).into_iter().chain(rollout.pool);
        for bar in bars.chain(rollout.nodes.into_values().map(|(_, bar)| bar)) {
            bar.finish_and_clear();
        }
    }
}

/// Something happens on the node now, or should.
fn is_at_work(node: &Value) -> bool {
    match node["phase"].as_str() {
        None | Some("unseen" | "blocked" | "verified") => false,
        Some("booted") => node["reason"] != "",
        Some(_) => true,
    }
}
