//! In: a pool and a MachineConfig that is to be written. Out: what it will do: which nodes reboot, in which order, what
//! would hold them up, and which other pools follow.

use serde_json::{Value, json};

use super::super::blockers::{Blocker, blockers};
use super::super::connection::Cluster;
use super::super::look::PoolView;
use super::super::objects::{self, annotation, name};
use super::super::pools::{
    image_setters, max_unavailable, members, role_label, selects, sort_by_turn,
};
use super::Args;
use crate::error::ModuleError;

/// What the MachineConfig will do.
pub(super) struct Plan {
    /// Every node of the pool, in the order in which the operator takes them.
    nodes: Vec<String>,
    /// Those that run another image now, and reboot.
    reboots: Vec<String>,
    at_once: usize,
    /// Pods that would not let their nodes be drained now.
    blockers: Vec<Blocker>,
    /// Some run the same digest under another name, and reboot all the same.
    same_digest: bool,
    /// Custom pools that take the image over, with their nodes: they select worker's MachineConfigs and set no image
    /// of their own.
    inherited: Vec<(String, Vec<String>)>,
}

/// As many nodes as are named in one line.
const NAMED: usize = 12;

impl Plan {
    pub(super) async fn make(
        args: &Args,
        wanted: String,
        cluster: &Cluster,
        view: &PoolView,
        configs: &[Value],
    ) -> Result<Self, ModuleError> {
        let image_of = |node: &Value| {
            configs
                .iter()
                .find(|config| name(config) == annotation(node, "currentConfig"))
                .and_then(|config| config["spec"]["osImageURL"].as_str())
        };
        let mut nodes: Vec<&Value> = view.nodes.iter().collect();
        sort_by_turn(&mut nodes);
        let owned = |nodes: &[&Value]| nodes.iter().map(|node| name(node).to_owned()).collect();
        let reboots: Vec<&Value> = nodes
            .iter()
            .copied()
            .filter(|node| image_of(node) != Some(&wanted))
            .collect();
        let role = role_label(&view.pool);
        let takes_over = |pool: &&Value| {
            let selects_it = role.as_ref().is_some_and(|(key, value)| {
                selects(
                    &pool["spec"]["machineConfigSelector"],
                    &json!({key.as_str(): value}),
                )
            });
            let has_own = image_setters(pool, configs).iter().any(|config| {
                role_label(pool).is_some_and(|(key, value)| {
                    config["metadata"]["labels"][key.as_str()] == value.as_str()
                })
            });
            name(pool) != args.pool && selects_it && !has_own
        };
        let all = objects::list(cluster, &objects::node()).await?;
        let inherited = view
            .pools
            .iter()
            .filter(takes_over)
            .map(|pool| {
                (
                    name(pool).to_owned(),
                    owned(&members(name(pool), &view.pools, &all)),
                )
            })
            .filter(|(_, nodes): &(String, Vec<String>)| !nodes.is_empty())
            .collect();
        let digest = |image: &str| image.split_once('@').map(|(_, digest)| digest.to_owned());
        Ok(Self {
            blockers: blockers(cluster, &reboots).await,
            // The operator compares names as they are written (MCO: pkg/daemon/rpm-ostree.go).
            same_digest: reboots.iter().any(|node| {
                let own = image_of(node).and_then(digest);
                own.is_some() && own == digest(&wanted)
            }),
            at_once: max_unavailable(&view.pool, nodes.len()),
            reboots: owned(&reboots),
            nodes: owned(&nodes),
            inherited,
        })
    }

    pub(super) fn json(&self, args: &Args) -> Value {
        let inherited: Vec<Value> = self
            .inherited
            .iter()
            .map(|(pool, nodes)| json!({"pool": pool, "nodes": nodes}))
            .collect();
        json!({"pool": args.pool, "nodes": self.nodes, "reboots": self.reboots.len(), "reboot": self.reboots,
            "at_once": self.at_once, "inherited": inherited, "blockers": self.blockers, "same_digest": self.same_digest})
    }

    /// For people; nothing when no node would reboot.
    pub(super) fn text(&self, args: &Args) -> Option<String> {
        if self.reboots.is_empty() {
            return None;
        }
        let count = self.reboots.len();
        let mut text = format!(
            "{}MachineConfig {} will reboot {count} {} of pool {}, {} at a time: {}",
            if args.image.is_some() {
                ""
            } else {
                "removing "
            },
            args.name,
            if count == 1 { "node" } else { "nodes" },
            args.pool,
            self.at_once,
            self.reboots[..count.min(NAMED)].join(", ")
        );
        if count > NAMED {
            text.push_str(&format!(" and {} more", count - NAMED));
        }
        if self.same_digest {
            text.push_str("; they run the same digest under another name, and reboot all the same");
        }
        if !self.blockers.is_empty() {
            let named: Vec<String> = self
                .blockers
                .iter()
                .take(NAMED)
                .map(ToString::to_string)
                .collect();
            text.push_str(&format!(
                "; {} would not let their nodes be drained now: {}",
                self.blockers.len(),
                named.join(", ")
            ));
        }
        for (pool, nodes) in &self.inherited {
            text.push_str(&format!(
                "; pool {pool} follows, too ({} {})",
                nodes.len(),
                if nodes.len() == 1 { "node" } else { "nodes" }
            ));
        }
        Some(text)
    }
}
