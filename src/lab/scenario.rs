//! In: a YAML file. Out: what a lab is made of (clusters, pools, pace) and what goes wrong in it. Everything is checked
//! here, against each other too: a fault of a node that no cluster has is a mistake, not a lab where nothing goes wrong.

use std::path::Path;
use std::time::Duration;

use indexmap::IndexMap;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::cluster::{NodeSpec, Pace};
use crate::diagnostic::nearest::nearest;

/// The whole file. Without one: a staging cluster with a canary, and a production cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    #[serde(default = "two_clusters")]
    pub clusters: Vec<ClusterSpec>,
    #[serde(default, rename = "pace")]
    pace: PaceSpec,
    #[serde(default)]
    pub faults: Vec<FaultSpec>,
}

/// A cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSpec {
    pub name: String,
    /// The inventory group.
    pub group: String,
    /// The release that it runs.
    #[serde(default = "default_version")]
    pub version: String,
    #[serde(default = "three")]
    pub control_plane: usize,
    /// Pools with their numbers of nodes, named `<pool>-<number>`.
    #[serde(default)]
    pub pools: IndexMap<String, usize>,
}

/// How long things take; what is not named takes a fraction of a second.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PaceSpec {
    render: Option<SignedDuration>,
    sync: Option<SignedDuration>,
    drain: Option<SignedDuration>,
    pull: Option<SignedDuration>,
    reboot: Option<SignedDuration>,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nodes do not find the image in the registry.
    ImageMissing,
    /// The cluster's pull secret has no login for the registry.
    PullDenied,
    /// Nodes say that the image is no operating system.
    NotBootable,
    /// Nodes do not reach the registry.
    RegistryUnreachable,
    /// Nodes have no room for the image.
    DiskFull,
    /// A budget never lets a pod of the node go.
    DrainBlocked,
    /// The node goes down for its reboot and stays down.
    NeverReturns,
    /// The node boots what it had, and its daemon says so.
    WrongDeployment,
    /// The node boots what it had, and its daemon says that all is well.
    UnnoticedDeployment,
    DiskPressure,
    /// Somebody cordoned the node before.
    Cordoned,
    PoolPaused,
    /// The machine-config controller is busy with its own templates.
    ControllerNotReady,
    /// A MachineConfig of the pool that cannot be rendered.
    RenderFailure,
    UpgradeUnderWay,
    /// 429
    ApiThrottled,
    /// 500
    ApiError,
    /// No answer until the client gives up.
    ApiHangs,
    /// Watches end, and for some seconds nothing is answered.
    ApiRestart,
    /// The registry is gone, for nodes and for everybody.
    RegistryDown,
}

/// A fault and where it happens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    pub fault: Fault,
    /// Every cluster without it.
    pub cluster: Option<String>,
    /// Every node without it, where that makes sense.
    pub node: Option<String>,
    pub pool: Option<String>,
    /// How often; without it, always.
    pub times: Option<u64>,
    /// Requests that are answered before.
    pub after: Option<u64>,
    /// `get`, `list`, `watch`, `create`, `patch`, ...
    pub verb: Option<String>,
    /// `nodes`, `machineconfigpools`, ...
    pub resource: Option<String>,
    /// Of a restart.
    pub lasts: Option<SignedDuration>,
}

/// Which of a fault's options say something.
struct Takes {
    node: Need,
    pool: Need,
    times: bool,
    request: bool,
    lasts: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    No,
    May,
    Must,
}

impl Fault {
    fn takes(self) -> Takes {
        let nothing = Takes {
            node: Need::No,
            pool: Need::No,
            times: false,
            request: false,
            lasts: false,
        };
        match self {
            Self::ImageMissing
            | Self::PullDenied
            | Self::NotBootable
            | Self::RegistryUnreachable
            | Self::DiskFull
            | Self::NeverReturns
            | Self::WrongDeployment
            | Self::UnnoticedDeployment => Takes {
                node: Need::May,
                times: true,
                ..nothing
            },
            Self::DrainBlocked | Self::DiskPressure | Self::Cordoned => Takes {
                node: Need::Must,
                ..nothing
            },
            Self::PoolPaused | Self::RenderFailure => Takes {
                pool: Need::Must,
                ..nothing
            },
            Self::ApiThrottled | Self::ApiError | Self::ApiHangs => Takes {
                times: true,
                request: true,
                ..nothing
            },
            Self::ApiRestart => Takes {
                times: true,
                request: true,
                lasts: true,
                ..nothing
            },
            Self::ControllerNotReady | Self::UpgradeUnderWay | Self::RegistryDown => nothing,
        }
    }
}

/// Why a scenario cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error("scenario {file} cannot be read: {problem}")]
    Unreadable {
        file: String,
        problem: std::io::Error,
    },
    #[error("scenario {file}: {problem}")]
    NotUnderstood { file: String, problem: String },
    #[error("scenario {file}: {place}: {problem}")]
    Wrong {
        file: String,
        place: String,
        problem: String,
    },
}

fn default_version() -> String {
    "4.18.9".to_owned()
}

fn three() -> usize {
    3
}

fn two_clusters() -> Vec<ClusterSpec> {
    let cluster = |name: &str, group: &str, pools: &[(&str, usize)]| ClusterSpec {
        name: name.to_owned(),
        group: group.to_owned(),
        version: default_version(),
        control_plane: three(),
        pools: pools
            .iter()
            .map(|(pool, nodes)| ((*pool).to_owned(), *nodes))
            .collect(),
    };
    vec![
        cluster("stage-a", "staging", &[("canary", 1), ("worker", 3)]),
        cluster("prod-a", "prod", &[("worker", 5)]),
    ]
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            clusters: two_clusters(),
            pace: PaceSpec::default(),
            faults: Vec::new(),
        }
    }
}

impl Scenario {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|problem| ScenarioError::Unreadable {
            file: file.clone(),
            problem,
        })?;
        Self::parse(&text, &file)
    }

    /// The same from its text; `file` is its name in errors.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        let scenario: Self =
            serde_yaml::from_str(text).map_err(|problem| ScenarioError::NotUnderstood {
                file: file.to_owned(),
                problem: problem.to_string(),
            })?;
        scenario
            .check()
            .map_err(|(place, problem)| ScenarioError::Wrong {
                file: file.to_owned(),
                place,
                problem,
            })?;
        Ok(scenario)
    }

    /// How long things take.
    pub fn pace(&self) -> Pace {
        let fast = Pace::fast();
        let or = |given: Option<SignedDuration>, fast: Duration| {
            given.map_or(fast, SignedDuration::unsigned_abs)
        };
        Pace {
            render: or(self.pace.render, fast.render),
            sync: or(self.pace.sync, fast.sync),
            drain: or(self.pace.drain, fast.drain),
            pull: or(self.pace.pull, fast.pull),
            reboot: or(self.pace.reboot, fast.reboot),
        }
    }

    fn check(&self) -> Result<(), (String, String)> {
        if self.clusters.is_empty() {
            return Err(("clusters".to_owned(), "a lab has at least one".to_owned()));
        }
        for (at, cluster) in self.clusters.iter().enumerate() {
            let place = format!("clusters[{at}]");
            cluster
                .check()
                .map_err(|problem| (place.clone(), problem))?;
            let is_again = self.clusters[..at]
                .iter()
                .any(|other| other.name == cluster.name);
            if is_again {
                return Err((
                    place,
                    format!("there is another cluster `{}`", cluster.name),
                ));
            }
        }
        for (at, fault) in self.faults.iter().enumerate() {
            fault
                .check(&self.clusters)
                .map_err(|problem| (format!("faults[{at}]"), problem))?;
        }
        Ok(())
    }

    /// The faults of a cluster.
    pub fn faults_of<'s>(&'s self, cluster: &'s str) -> impl Iterator<Item = &'s FaultSpec> {
        let is_own = move |name: &String| name == cluster;
        let faults = self.faults.iter();
        faults.filter(move |fault| fault.cluster.as_ref().is_none_or(is_own))
    }
}

impl ClusterSpec {
    fn check(&self) -> Result<(), String> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.len() <= 63
                && name
                    .bytes()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
                && !name.starts_with('-')
                && !name.ends_with('-')
        };
        if let Some(wrong) = [&self.name, &self.group]
            .into_iter()
            .chain(self.pools.keys())
            .find(|name| !is_name(name))
        {
            return Err(format!(
                "`{wrong}` is no name: lower-case letters, digits and dashes only"
            ));
        }
        if ["all", "ungrouped"].contains(&self.group.as_str()) {
            return Err(format!("`{}` is no name for a group", self.group));
        }
        if self.pools.contains_key("master") {
            return Err("the pool `master` has the nodes of `control_plane`".to_owned());
        }
        if self.control_plane == 0 {
            return Err("a cluster has at least one node of a control plane".to_owned());
        }
        let parts: Vec<&str> = self.version.split('.').collect();
        if !matches!(parts.as_slice(), ["4", minor, patch] if minor.parse::<u32>().is_ok() && !patch.is_empty())
        {
            return Err(format!("`{}` is no version like 4.18.9", self.version));
        }
        Ok(())
    }

    /// Its nodes, in the order of their age.
    pub fn nodes(&self) -> Vec<NodeSpec> {
        let node = |pool: &str, index: usize| NodeSpec {
            name: format!("{pool}-{index}"),
            pool: pool.to_owned(),
            zone: format!("zone-{}", ["a", "b", "c"][index % 3]),
        };
        let master = ("master", self.control_plane);
        let pools = self
            .pools
            .iter()
            .map(|(pool, nodes)| (pool.as_str(), *nodes));
        std::iter::once(master)
            .chain(pools)
            .flat_map(|(pool, nodes)| (0..nodes).map(move |index| node(pool, index)))
            .collect()
    }

    fn has_node(&self, name: &str) -> bool {
        self.nodes().iter().any(|node| node.name == name)
    }
}

impl FaultSpec {
    fn check(&self, clusters: &[ClusterSpec]) -> Result<(), String> {
        let takes = self.fault.takes();
        // As it is written in the file.
        let word = serde_json::json!(self.fault);
        let word = word.as_str().unwrap_or_default();
        let options = [
            ("node", self.node.is_some(), takes.node),
            ("pool", self.pool.is_some(), takes.pool),
            ("times", self.times.is_some(), may(takes.times)),
            ("after", self.after.is_some(), may(takes.request)),
            ("verb", self.verb.is_some(), may(takes.request)),
            ("resource", self.resource.is_some(), may(takes.request)),
            ("lasts", self.lasts.is_some(), may(takes.lasts)),
        ];
        for (option, is_given, need) in options {
            match (is_given, need) {
                (true, Need::No) => return Err(format!("`{option}` says nothing about `{word}`")),
                (false, Need::Must) => return Err(format!("`{word}` needs a `{option}`")),
                _ => {}
            }
        }
        let own: Vec<&ClusterSpec> = clusters
            .iter()
            .filter(|cluster| {
                self.cluster
                    .as_ref()
                    .is_none_or(|name| *name == cluster.name)
            })
            .collect();
        if let (Some(name), true) = (&self.cluster, own.is_empty()) {
            return Err(unknown(
                "cluster",
                name,
                clusters.iter().map(|cluster| cluster.name.clone()),
            ));
        }
        if let Some(name) = self
            .node
            .as_ref()
            .filter(|name| !own.iter().any(|cluster| cluster.has_node(name)))
        {
            let nodes = own
                .iter()
                .flat_map(|cluster| cluster.nodes())
                .map(|node| node.name);
            return Err(unknown("node", name, nodes));
        }
        let pools = || {
            let custom = own.iter().flat_map(|cluster| cluster.pools.keys().cloned());
            custom.chain(["worker".to_owned(), "master".to_owned()])
        };
        if let Some(name) = self
            .pool
            .as_ref()
            .filter(|name| !pools().any(|pool| pool == **name))
        {
            return Err(unknown("pool", name, pools()));
        }
        Ok(())
    }
}

fn may(is_allowed: bool) -> Need {
    if is_allowed { Need::May } else { Need::No }
}

fn unknown(what: &str, name: &str, known: impl Iterator<Item = String>) -> String {
    let known: Vec<String> = known.collect();
    let near = nearest(name, known.iter().map(String::as_str));
    let near = near
        .map(|near| format!("; did you mean `{near}`?"))
        .unwrap_or_default();
    format!("no {what} is called `{name}`{near}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        Scenario::parse(text, "s.yml")
            .map_or_else(|problem| problem.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn a_file_says_what_a_lab_is_made_of() {
        let text = "
clusters:
  - {name: edge, group: prod, version: 4.19.1, control_plane: 1, pools: {worker: 2, infra: 1}}
pace: {reboot: 2s, pull: 1 minute}
faults:
  - {fault: image_missing, node: worker-1, times: 3}
  - {fault: api_restart, after: 20, lasts: 5s}
";
        let scenario = Scenario::parse(text, "s.yml").unwrap();
        let names: Vec<String> = scenario.clusters[0]
            .nodes()
            .into_iter()
            .map(|node| node.name)
            .collect();
        assert_eq!(names, ["master-0", "worker-0", "worker-1", "infra-0"]);
        assert_eq!(scenario.pace().reboot, Duration::from_secs(2));
        assert_eq!(scenario.pace().pull, Duration::from_mins(1));
        assert_eq!(scenario.pace().sync, Pace::fast().sync);
        assert_eq!(scenario.faults_of("edge").count(), 2);
        assert_eq!(scenario.faults[0].fault, Fault::ImageMissing);
        assert_eq!(told("{}"), "fine");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, part) in [
            (
                "faults: [{fault: image_mising}]",
                "unknown variant `image_mising`, expected one of `image_missing`",
            ),
            ("fault: []", "unknown field `fault`"),
            ("clusters: []", "clusters: a lab has at least one"),
            (
                "clusters: [{name: A, group: b}]",
                "clusters[0]: `A` is no name",
            ),
            (
                "clusters: [{name: a, group: all}]",
                "`all` is no name for a group",
            ),
            (
                "clusters: [{name: a, group: b}, {name: a, group: b}]",
                "clusters[1]: there is another cluster `a`",
            ),
            ("clusters: [{name: a, group: b, version: 5}]", "version"),
            (
                "clusters: [{name: a, group: b, control_plane: 0}]",
                "at least one node",
            ),
            (
                "faults: [{fault: image_missing, node: worker-7}]",
                "faults[0]: no node is called `worker-7`; did you mean `worker-",
            ),
            (
                "faults: [{fault: image_missing, cluster: stage-b}]",
                "no cluster is called `stage-b`; did you mean `stage-a`?",
            ),
            (
                "faults: [{fault: render_failure, pool: wroker}]",
                "no pool is called `wroker`; did you mean `worker`?",
            ),
            (
                "faults: [{fault: render_failure}]",
                "`render_failure` needs a `pool`",
            ),
            ("faults: [{fault: cordoned}]", "`cordoned` needs a `node`"),
            (
                "faults: [{fault: disk_pressure, node: worker-0, times: 2}]",
                "`times` says nothing about `disk_pressure`",
            ),
            (
                "faults: [{fault: api_error, lasts: 2s}]",
                "`lasts` says nothing about `api_error`",
            ),
        ] {
            let told = told(text);
            assert!(told.contains(part), "{text}: {told}");
        }
    }
}
