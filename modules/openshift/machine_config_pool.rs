//! `machine_config_pool`: a pool's switches, and custom pools with their nodes. In: what is wanted of the pool; out: the
//! pool, its members, its verdict. Written by server-side apply; a pool goes only when no node needs it any more.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use kube::api::{DeleteParams, Preconditions};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::await_objects::{self, Waited, Watched};
use super::connection::Cluster;
use super::dynamic::{self, At, Verb};
use super::kinds::Kind;
use super::machine_config::FIELD_MANAGER;
use super::machine_config_pool_info::os_image;
use super::objects::{self, name};
use super::pool_plan::{self, BUILT_IN, PoolWrite, Wanted, role_key};
use super::{compare, pool_pause, pool_share, pool_state, pools};
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, TextDiff, Touches};
use crate::error::{ErrorKind, ModuleError, Retry};
use crate::platform::Platform;

pub struct MachineConfigPool;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Name of the pool. `master`, `worker` and `arbiter` are the operator's: they can be changed, never made or deleted.
    name: String,
    /// `absent` takes the pool's label off its nodes, waits until they have left its configuration, and deletes it.
    #[serde(default)]
    state: State,
    /// Whether nodes that are not targeted yet stay as they are. Left as it is without this argument.
    paused: Option<bool>,
    /// With `paused: true`: how long, in seconds or as `45m`, `4h`. The end is written on the pool; after it the next task
    /// about the pool that does not say `paused` unpauses it. Running the task again makes no pause longer.
    pause_for: Option<Value>,
    /// How many nodes may be away at once: `2` or `"25%"`. Left as it is without this argument.
    max_unavailable: Option<Value>,
    /// Whether `max_unavailable` may be more than it is now; a lower limit is always taken.
    #[serde(default)]
    allow_raise: bool,
    /// Nodes that get the pool's role label `node-role.kubernetes.io/<pool>`, and give it back when the pool goes. Nodes
    /// that have it already and are not named stay in the pool.
    nodes: Option<Vec<String>>,
    /// Instead of `nodes`: so many of a hundred nodes of this pool and worker, rounded up. Nodes that are in the pool already
    /// count, also when they are more; others are taken from worker, spread over the zones.
    #[schemars(range(min = 1, max = 100))]
    percentage: Option<u8>,
    /// Labels of the nodes that the pool takes, or a whole label selector; the pool's role label by default.
    node_selector: Option<Map<String, Value>>,
    /// Take over fields that another field manager owns.
    #[serde(default)]
    force_conflicts: bool,
    /// Seconds that nodes have to leave the configuration of a pool that goes; 3600 by default.
    #[serde(default = "timeout")]
    timeout: u64,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

fn timeout() -> u64 {
    3600
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
}

/// All pools and nodes at one moment, and what is to be done.
pub struct Plan {
    /// When it was made: a pause begins then.
    now: jiff::Timestamp,
    pools: Vec<Value>,
    nodes: Vec<Value>,
    before: Option<Value>,
    write: Option<PoolWrite>,
    label: Vec<String>,
    unlabel: Vec<String>,
    delete: bool,
}

fn pool_at(name: &str) -> At {
    At {
        kind: Kind {
            api_version: "machineconfiguration.openshift.io/v1".to_owned(),
            kind: "MachineConfigPool".to_owned(),
            plural: "machineconfigpools".to_owned(),
            namespaced: false,
        },
        namespace: String::new(),
        name: name.to_owned(),
    }
}

fn node_at(name: &str) -> At {
    At {
        kind: Kind {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            plural: "nodes".to_owned(),
            namespaced: false,
        },
        namespace: String::new(),
        name: name.to_owned(),
    }
}

impl Plan {
    fn is_done(&self) -> bool {
        self.write.is_none() && self.label.is_empty() && self.unlabel.is_empty() && !self.delete
    }

    /// Whether another plan does the same to the same pool.
    fn is_like(&self, other: &Self) -> bool {
        let uid = |plan: &Self| {
            plan.before
                .as_ref()
                .map(|pool| pool["metadata"]["uid"].clone())
        };
        uid(self) == uid(other)
            && self.write == other.write
            && self.label == other.label
            && self.unlabel == other.unlabel
            && self.delete == other.delete
    }
}

impl Args {
    async fn cluster(&self, platform: &Platform) -> Result<Cluster, ModuleError> {
        platform
            .open_cluster(self.kubeconfig.as_ref(), self.context.as_ref())
            .await
    }

    fn check(&self) -> Result<(), ModuleError> {
        let is_built_in = BUILT_IN.contains(&self.name.as_str());
        if self.state == State::Absent {
            if is_built_in {
                return Err(ModuleError::argument(
                    "name",
                    format!(
                        "pool `{}` is the operator's own and cannot be deleted",
                        self.name
                    ),
                ));
            }
            let given = [
                ("paused", self.paused.is_some()),
                ("pause_for", self.pause_for.is_some()),
                ("max_unavailable", self.max_unavailable.is_some()),
                ("percentage", self.percentage.is_some()),
                ("node_selector", self.node_selector.is_some()),
            ];
            if let Some((argument, _)) = given.iter().find(|(_, is_given)| *is_given) {
                return Err(ModuleError::argument(
                    *argument,
                    format!("`{argument}` means nothing with `state: absent`"),
                ));
            }
            return Ok(());
        }
        for (argument, is_given) in [
            ("nodes", self.nodes.is_some()),
            ("percentage", self.percentage.is_some()),
            ("node_selector", self.node_selector.is_some()),
        ] {
            if is_built_in && is_given {
                return Err(ModuleError::argument(
                    argument,
                    format!(
                        "which nodes pool `{}` has is the operator's affair",
                        self.name
                    ),
                )
                .hint("make a custom pool for them"));
            }
        }
        if self.pause_for.is_some() && self.paused != Some(true) {
            return Err(ModuleError::argument(
                "pause_for",
                "`pause_for` is the length of a pause, and needs `paused: true`",
            ));
        }
        let wrong = |message: &str| Err(ModuleError::argument("percentage", message));
        match self.percentage {
            Some(_) if self.nodes.is_some() => wrong("give `nodes` or `percentage`, not both"),
            Some(0 | 101..) => wrong("`percentage` is from 1 to 100"),
            _ => Ok(()),
        }
    }

    async fn plan(&self, cluster: &Cluster, now: jiff::Timestamp) -> Result<Plan, ModuleError> {
        let pools = objects::list(cluster, &objects::machine_config_pool()).await?;
        let nodes = objects::list(cluster, &objects::node()).await?;
        let before = pools.iter().find(|pool| name(pool) == self.name).cloned();
        let named = self.nodes.clone().unwrap_or_default();
        if self.state == State::Absent {
            let unlabel = pool_plan::to_unlabel(&self.name, &named, &pools, &nodes)?;
            if before.is_some() {
                self.check_builds(cluster).await?;
            }
            return Ok(Plan {
                now,
                delete: before.is_some(),
                pools,
                nodes,
                before,
                write: None,
                label: Vec::new(),
                unlabel,
            });
        }
        if before.is_none() && BUILT_IN.contains(&self.name.as_str()) {
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!(
                    "the cluster has no pool `{}`, and only its operator makes it",
                    self.name
                ),
            ));
        }
        let named = match self.percentage {
            Some(percentage) => pool_share::share(&self.name, percentage, &pools, &nodes)?,
            None => named,
        };
        let length = self.pause_for.as_ref().map(pool_pause::length);
        let limit = self
            .max_unavailable
            .as_ref()
            .filter(|value| !value.is_null());
        let limit = limit.map(pool_plan::max_unavailable).transpose()?;
        if let (Some(before), Some(limit)) = (&before, &limit) {
            let members = pools::members(&self.name, &pools, &nodes).len();
            pool_plan::check_raise(before, limit, members, self.allow_raise)?;
        }
        let wanted = Wanted {
            name: &self.name,
            pause: pool_pause::decide(before.as_ref(), self.paused, length.transpose()?, now),
            max_unavailable: limit,
            node_selector: self.node_selector.as_ref().map(pool_plan::selector),
            nodes: &named,
        };
        let write = pool_plan::write(before.as_ref(), &wanted);
        let label = pool_plan::to_label(&wanted, &self.after(&pools, write.as_ref()), &nodes)?;
        Ok(Plan {
            now,
            pools,
            nodes,
            before,
            write,
            label,
            unlabel: Vec::new(),
            delete: false,
        })
    }

    /// All pools as they are once this one is written.
    fn after(&self, pools: &[Value], write: Option<&PoolWrite>) -> Vec<Value> {
        let mut pools = pools.to_vec();
        if let Some(write) = write {
            match pools.iter_mut().find(|pool| name(pool) == self.name) {
                Some(pool) => {
                    for (field, value) in write.object["spec"].as_object().into_iter().flatten() {
                        pool["spec"][field] = value.clone();
                    }
                }
                None => pools.push(write.object.clone()),
            }
        }
        pools
    }

    /// A pool that builds its own images is taken apart by its builder first.
    async fn check_builds(&self, cluster: &Cluster) -> Result<(), ModuleError> {
        let builds = objects::list(cluster, &objects::machine_os_config()).await?;
        let own = builds
            .iter()
            .find(|build| build["spec"]["machineConfigPool"]["name"] == self.name.as_str());
        match own {
            Some(build) => Err(ModuleError::new(
                ErrorKind::Preflight,
                format!(
                    "pool `{}` builds its images on the cluster (MachineOSConfig `{}`)",
                    self.name,
                    name(build)
                ),
            )
            .hint("delete the MachineOSConfig and let its nodes go back first")),
            None => Ok(()),
        }
    }

    /// The write, dry or not. The server names every field that somebody else owns.
    async fn write(
        &self,
        cluster: &Cluster,
        write: &PoolWrite,
        dry: bool,
    ) -> Result<Value, ModuleError> {
        let at = pool_at(&self.name);
        let verb = Verb::Apply(self.force_conflicts || write.take_over);
        at.write(cluster, verb, &write.object, FIELD_MANAGER, dry)
            .await
            .map_err(|problem| dynamic::told(cluster, &format!("write {at}"), &problem))
    }

    /// What a playbook reads: the pool among these pools and nodes.
    async fn result(
        &self,
        cluster: &Cluster,
        pools: &[Value],
        nodes: &[Value],
        plan: &Plan,
    ) -> Result<Value, ModuleError> {
        let pool = pools.iter().find(|pool| name(pool) == self.name);
        let members = pools::members(&self.name, pools, nodes);
        let shown = match pool {
            Some(pool) => {
                let image = os_image(cluster, pool).await?;
                pool_state::summary(pool, &members, image.as_deref())
            }
            None => Value::Null,
        };
        Ok(json!({
            "members": shown["members"].as_array().cloned().unwrap_or_default(),
            "verdict": shown["verdict"], "pool": shown,
            "labelled": plan.label, "unlabelled": plan.unlabel,
        }))
    }
}

fn label_changes(pool: &str, nodes: &[String], on: bool) -> (Vec<FieldChange>, Vec<TextDiff>) {
    let key = role_key(pool);
    let (before, after) = if on {
        (Value::Null, json!(""))
    } else {
        (json!(""), Value::Null)
    };
    let text = |is_there: bool| {
        if is_there {
            format!("metadata:\n  labels:\n    {key}: \"\"\n")
        } else {
            "metadata:\n  labels: {}\n".to_owned()
        }
    };
    nodes
        .iter()
        .map(|node| {
            let header = format!("Node `{node}`");
            (
                FieldChange {
                    field: format!("{header}: metadata.labels.{key}"),
                    before: before.clone(),
                    after: after.clone(),
                },
                TextDiff {
                    before_header: header.clone(),
                    after_header: header,
                    before: text(!on),
                    after: text(on),
                },
            )
        })
        .unzip()
}

#[async_trait]
impl Module for MachineConfigPool {
    type Args = Args;
    type Work = Plan;
    const NAME: &'static str = "machine_config_pool";
    const SUMMARY: &'static str =
        "Pauses and limits pools, and makes or deletes custom pools with their nodes";
    const EXAMPLES: &'static str = "- machine_config_pool: {name: canary, nodes: [worker-0], max_unavailable: 1}\n- machine_config_pool: {name: canary, percentage: 10}\n- machine_config_pool: {name: worker, paused: true, pause_for: 4h}\n- machine_config_pool: {name: worker, paused: false, max_unavailable: \"25%\", allow_raise: true}\n- machine_config_pool: {name: canary, state: absent}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = Touches::REBOOTS;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Plan>, ModuleError> {
        args.check()?;
        let cluster = args.cluster(platform).await?;
        let plan = args.plan(&cluster, platform.clock.now()).await?;
        if plan.is_done() {
            let result = args
                .result(&cluster, &plan.pools, &plan.nodes, &plan)
                .await?;
            return Ok(Change::None(Outcome::unchanged(result)));
        }
        let what = pool_at(&args.name).to_string();
        let (mut fields, mut diff) = (Vec::new(), Vec::new());
        let mut pools = plan.pools.clone();
        let mut nodes = plan.nodes.clone();
        if let Some(write) = &plan.write {
            let after = args.write(&cluster, write, true).await?;
            fields = compare::changes(&what, plan.before.as_ref(), Some(&after));
            diff.push(compare::diff(&what, plan.before.as_ref(), Some(&after)));
            pools.retain(|pool| name(pool) != args.name);
            pools.push(after);
        }
        for (names, on) in [(&plan.label, true), (&plan.unlabel, false)] {
            let (changes, diffs) = label_changes(&args.name, names, on);
            fields.extend(changes);
            diff.extend(diffs);
            nodes = pool_plan::relabelled(&nodes, &args.name, names, on);
        }
        if plan.delete {
            fields.extend(compare::changes(&what, plan.before.as_ref(), None));
            diff.push(compare::diff(&what, plan.before.as_ref(), None));
            pools.retain(|pool| name(pool) != args.name);
        }
        let mut result = args.result(&cluster, &pools, &nodes, &plan).await?;
        if let Some(message) = message(&args.name, &plan) {
            result["msg"] = json!(message);
        }
        Ok(Change::Some {
            fields,
            diff,
            preview: Outcome::changed(result),
            work: plan,
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Plan,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let cluster = args.cluster(platform).await?;
        let plan = args.plan(&cluster, work.now).await?;
        if !plan.is_like(&work) {
            return Err(ModuleError::new(
                ErrorKind::Conflict,
                format!(
                    "pool `{}` or its nodes changed meanwhile; nothing was written",
                    args.name
                ),
            )
            .retry_after(Duration::from_millis(500)));
        }
        let done = carry_out(args, &cluster, &plan, platform).await;
        // After a first write, trying again would count what is written by now as unchanged.
        done.map_err(|(wrote, mut problem)| {
            if wrote {
                problem.retry = Retry::Never;
                problem = problem.with("changed", true);
            }
            problem
        })?;
        let pools = objects::list(&cluster, &objects::machine_config_pool()).await?;
        let nodes = objects::list(&cluster, &objects::node()).await?;
        let mut result = args.result(&cluster, &pools, &nodes, &plan).await?;
        if let Some(message) = message(&args.name, &plan) {
            result["msg"] = json!(message);
        }
        Ok(Outcome::changed(result))
    }
}

/// What happens to nodes, in words.
fn message(pool: &str, plan: &Plan) -> Option<String> {
    if !plan.unlabel.is_empty() {
        return Some(format!(
            "the label `{}` is taken off {}: they go back to the pool of their other role",
            role_key(pool),
            plan.unlabel.join(", ")
        ));
    }
    (!plan.label.is_empty()).then(|| {
        format!(
            "the label `{}` is put on {}: they go to the configuration of pool `{pool}`",
            role_key(pool),
            plan.label.join(", ")
        )
    })
}

/// Does it in the operator's order: pool before labels, labels before the pool's end. An error says whether anything
/// was written before it.
async fn carry_out(
    args: &Args,
    cluster: &Cluster,
    plan: &Plan,
    platform: &Platform,
) -> Result<(), (bool, ModuleError)> {
    let mut wrote = false;
    if let Some(write) = &plan.write {
        args.write(cluster, write, false)
            .await
            .map_err(|problem| (wrote, problem))?;
        wrote = true;
    }
    if let Some(message) = message(&args.name, plan) {
        platform.note(message);
    }
    for (names, value) in [(&plan.label, json!("")), (&plan.unlabel, Value::Null)] {
        for node in names {
            let at = node_at(node);
            let patch = json!({"metadata": {"labels": {role_key(&args.name): value}}});
            at.write(cluster, Verb::Merge, &patch, FIELD_MANAGER, false)
                .await
                .map_err(|problem| {
                    (
                        wrote,
                        dynamic::told(cluster, &format!("label {at}"), &problem),
                    )
                })?;
            wrote = true;
        }
    }
    if plan.delete {
        leave(args, cluster, platform)
            .await
            .map_err(|problem| (wrote, problem))?;
        let at = pool_at(&args.name);
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: None,
                uid: plan
                    .before
                    .as_ref()
                    .and_then(|pool| pool["metadata"]["uid"].as_str())
                    .map(ToOwned::to_owned),
            }),
            ..DeleteParams::default()
        };
        at.delete(cluster, &parameters).await.map_err(|problem| {
            (
                wrote,
                dynamic::told(cluster, &format!("delete {at}"), &problem),
            )
        })?;
    }
    Ok(())
}

/// Waits until no node runs or goes to a configuration of the pool: the pool's end is theirs as well.
async fn leave(args: &Args, cluster: &Cluster, platform: &Platform) -> Result<(), ModuleError> {
    let staying = |nodes: &[Value]| -> Vec<String> {
        nodes
            .iter()
            .filter(|node| pool_plan::runs(node, &args.name))
            .map(|node| name(node).to_owned())
            .collect()
    };
    let at = node_at("");
    let watched = Watched {
        kind: &at.kind,
        namespace: "",
        labels: &[],
        fields: &[],
        what: format!("nodes of pool `{}`", args.name),
    };
    let mut last = Vec::new();
    let done = |nodes: &[Value]| {
        let now = staying(nodes);
        if !now.is_empty() && last != now {
            platform.status(format!(
                "pool {}: waiting until {} have left its configuration",
                args.name,
                now.join(", ")
            ));
            last.clone_from(&now);
        }
        now.is_empty()
    };
    match await_objects::until(
        platform,
        cluster,
        &watched,
        Duration::from_secs(args.timeout),
        done,
    )
    .await?
    {
        Waited::Reached(_) => Ok(()),
        Waited::TimedOut(nodes) => Err(ModuleError::new(
            ErrorKind::Timeout,
            format!(
                "pool `{}` is not deleted: after {} s its configuration is still needed by {}",
                args.name,
                args.timeout,
                staying(&nodes).join(", ")
            ),
        )
        .hint("look at the pool that they go to (`oc get mcp`), and run this task again: it goes on where the cluster is")),
    }
}
