//! In: pools and nodes as they are now, again and again. Out: the nodes of a pool, with what is read from them. Only what
//! was written since the last time is read anew: of thousands of nodes few change between two looks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::objects::name;
use super::observe::NodeFacts;
use super::pools::pool_of;

/// What was read from a node at one version.
struct Read {
    version: String,
    /// Nothing of a node that is not the pool's.
    facts: Option<Arc<NodeFacts>>,
}

pub(super) struct Known {
    pool: String,
    /// The pools by identity and specification, which say to whom nodes belong.
    pools: Vec<(String, i64)>,
    nodes: HashMap<String, Read>,
}

fn text<'v>(object: &'v Value, field: &str) -> &'v str {
    object["metadata"][field].as_str().unwrap_or_default()
}

impl Known {
    pub(super) fn new(pool: &str) -> Self {
        Self {
            pool: pool.to_owned(),
            pools: Vec::new(),
            nodes: HashMap::new(),
        }
    }

    /// The nodes of the pool.
    pub(super) fn members<'n>(
        &mut self,
        pools: &[Value],
        nodes: &'n BTreeMap<String, Value>,
    ) -> Vec<(&'n Value, Arc<NodeFacts>)> {
        let now: Vec<(String, i64)> = pools
            .iter()
            .map(|pool| {
                let generation = pool["metadata"]["generation"].as_i64().unwrap_or_default();
                (text(pool, "uid").to_owned(), generation)
            })
            .collect();
        if now != self.pools {
            self.nodes.clear();
            self.pools = now;
        }
        if self.nodes.len() != nodes.len() {
            self.nodes.retain(|node, _| nodes.contains_key(node));
        }
        nodes
            .iter()
            .filter_map(|(key, node)| {
                let version = text(node, "resourceVersion");
                if let Some(read) = self.nodes.get(key).filter(|read| read.version == version) {
                    return Some((node, Arc::clone(read.facts.as_ref()?)));
                }
                let is_own = pool_of(node, pools).is_some_and(|own| name(own) == self.pool);
                let facts = is_own.then(|| Arc::new(NodeFacts::of(node)));
                let read = Read {
                    version: version.to_owned(),
                    facts: facts.clone(),
                };
                self.nodes.insert(key.clone(), read);
                Some((node, facts?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(name: &str, role: &str, generation: i64) -> Value {
        json!({"metadata": {"name": name, "uid": name, "generation": generation},
            "spec": {"nodeSelector": {"matchLabels": {role: ""}}}})
    }

    fn node(version: &str, role: &str, state: &str) -> Value {
        json!({"metadata": {"name": "n", "resourceVersion": version, "labels": {"worker": "", role: ""},
            "annotations": {"machineconfiguration.openshift.io/state": state}}})
    }

    #[test]
    fn what_was_written_is_read_anew() {
        let mut known = Known::new("worker");
        let mut pools = vec![pool("worker", "worker", 1), pool("canary", "canary", 1)];
        let mut nodes = BTreeMap::from([("n".to_owned(), node("1", "x", "Done"))]);
        let seen = |known: &mut Known, pools: &[Value], nodes: &BTreeMap<String, Value>| {
            let members = known.members(pools, nodes);
            members.first().map(|(_, facts)| Arc::clone(facts))
        };
        let first = seen(&mut known, &pools, &nodes).unwrap();
        assert!(Arc::ptr_eq(
            &first,
            &seen(&mut known, &pools, &nodes).unwrap()
        ));
        nodes.insert("n".to_owned(), node("2", "x", "Working"));
        assert_eq!(
            *seen(&mut known, &pools, &nodes).unwrap(),
            NodeFacts::of(&nodes["n"])
        );
        // Another label: another pool.
        nodes.insert("n".to_owned(), node("3", "canary", "Working"));
        assert!(seen(&mut known, &pools, &nodes).is_none());
        // Another selector: the same node is the pool's again.
        pools[1] = pool("canary", "else", 2);
        assert!(seen(&mut known, &pools, &nodes).is_some());
        nodes.clear();
        assert!(seen(&mut known, &pools, &nodes).is_none());
    }
}
