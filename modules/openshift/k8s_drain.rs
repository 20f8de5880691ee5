//! `k8s_drain`: keeps new pods away from a node, and moves those that are there. In: a node and what may be lost; out: the
//! node cordoned and without pods, or who refuses to go. A node is uncordoned only when that was asked for.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, EvictParams};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::await_objects::{self, Waited, Watched};
use super::connection::Cluster;
use super::drain::{self, Allowed, Leaving, Plan};
use super::dynamic::{self, At, Verb};
use super::kinds::Kind;
use super::machine_config::FIELD_MANAGER;
use super::objects;
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

pub struct K8sDrain;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    /// No new pods are put onto the node.
    Cordon,
    /// That, and its pods are evicted.
    #[default]
    Drain,
    /// New pods are welcome again.
    Uncordon,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The node.
    name: String,
    /// `cordon` keeps new pods away, `drain` moves those that are there besides, `uncordon` lets pods come again.
    #[serde(default)]
    state: State,
    /// Only pods with these labels are moved: `app=web`, `tier in (a,b)`.
    #[serde(default)]
    pod_selectors: Vec<String>,
    /// What a drain may do with pods, and how long it waits.
    #[serde(default)]
    delete_options: DeleteOptions,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteOptions {
    /// Seconds that a pod has to end; each pod's own setting by default.
    terminate_grace_period: Option<u32>,
    /// Also pods that no controller makes anew.
    #[serde(default)]
    force: bool,
    /// Pods of a `DaemonSet` are no error; they stay, since their controller would put them back at once.
    #[serde(default)]
    ignore_daemonsets: bool,
    /// Also pods with an `emptyDir`, whose data is lost.
    #[serde(default, alias = "delete_local_data")]
    delete_emptydir_data: bool,
    /// Deletes pods without asking their disruption budgets.
    #[serde(default)]
    disable_eviction: bool,
    /// Seconds to wait for the pods to be gone, and for disruption budgets to let them go; 0 is without end. Without it
    /// nothing is waited for, and a budget that refuses is an error at once.
    wait_timeout: Option<u64>,
    /// Seconds between two requests to evict a pod that a disruption budget holds; 5 by default.
    wait_sleep: Option<u64>,
}

/// What `apply` starts from.
pub struct Work {
    cordons: Option<bool>,
}

/// The longest wait: "without end" is still some number for the clock.
const ENDLESS: Duration = Duration::from_hours(24 * 365);

fn pods() -> Kind {
    Kind {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        plural: "pods".to_owned(),
        namespaced: true,
    }
}

fn node(name: &str) -> At {
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

impl Args {
    async fn cluster(&self, platform: &Platform) -> Result<Cluster, ModuleError> {
        platform
            .open_cluster(self.kubeconfig.as_ref(), self.context.as_ref())
            .await
    }

    fn allowed(&self) -> Allowed {
        Allowed {
            unmanaged: self.delete_options.force,
            daemon_sets: self.delete_options.ignore_daemonsets,
            empty_dirs: self.delete_options.delete_emptydir_data,
        }
    }

    fn on_node(&self) -> [String; 1] {
        [format!("spec.nodeName={}", self.name)]
    }

    /// What a drain would do with the pods that are on the node now.
    async fn plan(&self, cluster: &Cluster) -> Result<Plan, ModuleError> {
        let (labels, fields) = (&self.pod_selectors, self.on_node());
        let found = dynamic::list(cluster, &pods(), "", labels, &fields).await?;
        let plan = drain::plan(&found, self.allowed());
        if plan.errors.is_empty() {
            return Ok(plan);
        }
        Err(ModuleError::failed(format!(
            "node `{}` cannot be drained: {}",
            self.name,
            plan.errors.join("; ")
        ))
        .with("errors", plan.errors.clone()))
    }

    /// What has been done, or would be, as kubernetes.core says it.
    fn said(&self, cordons: Option<bool>, plan: &Plan, is_preview: bool) -> Outcome {
        let name = &self.name;
        let wanted = if self.state == State::Uncordon {
            "schedulable"
        } else {
            "unschedulable"
        };
        let already = if cordons.is_some() { "" } else { "already " };
        let mut text = format!("node {name} {already}marked {wanted}.");
        if !plan.leaving.is_empty() {
            let verb = if is_preview { "to delete" } else { "deleted" };
            text.push_str(&format!(" {} Pod(s) {verb} from node.", plan.leaving.len()));
        }
        let leaving: Vec<String> = plan.leaving.iter().map(ToString::to_string).collect();
        Outcome {
            changed: cordons.is_some() || !plan.leaving.is_empty(),
            warnings: plan.warnings.clone(),
            ..Outcome::unchanged(json!({"result": text, "node": name, "pods": leaving}))
        }
    }
}

#[async_trait]
impl Module for K8sDrain {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "k8s_drain";
    const SUMMARY: &'static str = "Cordons, drains and uncordons nodes of a cluster";
    const EXAMPLES: &'static str = "- k8s_drain:\n    name: worker-0\n    delete_options: {ignore_daemonsets: true, delete_emptydir_data: true, wait_timeout: 600}\n- k8s_drain: {name: worker-0, state: uncordon}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = Touches {
        cluster: true,
        nodes: true,
        ..Touches::NOTHING
    };
    const ALIASES: &'static [&'static str] = &["kubernetes.core.k8s_drain"];

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let cluster = args.cluster(platform).await?;
        let Some(found) = node(&args.name).get(&cluster).await? else {
            let message = format!("there is no node `{}`", args.name);
            return Err(ModuleError::argument("name", message)
                .hint("`oc get nodes` lists them; a name is often the full one of the machine"));
        };
        let is_cordoned = found["spec"]["unschedulable"] == true;
        let wanted = args.state != State::Uncordon;
        let cordons = (is_cordoned != wanted).then_some(wanted);
        let plan = if args.state == State::Drain {
            args.plan(&cluster).await?
        } else {
            Plan::default()
        };
        let preview = args.said(cordons, &plan, true);
        if !preview.changed {
            return Ok(Change::None(preview));
        }
        let mut fields = Vec::new();
        if cordons.is_some() {
            fields.push(FieldChange {
                field: "spec.unschedulable".to_owned(),
                before: json!(is_cordoned),
                after: json!(wanted),
            });
        }
        fields.extend(plan.leaving.iter().map(|pod| FieldChange {
            field: format!("pod {pod}"),
            before: json!(args.name),
            after: Value::Null,
        }));
        Ok(Change::Some {
            fields,
            diff: Vec::new(),
            preview,
            work: Work { cordons },
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let cluster = args.cluster(platform).await?;
        if let Some(wanted) = work.cordons {
            let at = node(&args.name);
            let flag = if wanted { json!(true) } else { Value::Null };
            let patch = json!({"spec": {"unschedulable": flag}});
            let written = at.write(&cluster, Verb::Merge, &patch, FIELD_MANAGER, false);
            let what = if wanted { "cordon" } else { "uncordon" };
            written
                .await
                .map_err(|problem| cluster.told(&format!("{what} {at}"), &problem))?;
        }
        if args.state != State::Drain {
            return Ok(args.said(work.cordons, &Plan::default(), false));
        }
        // Looked at again: pods may have come before the node was cordoned.
        let plan = args.plan(&cluster).await?;
        let drain = Drain {
            args,
            platform,
            cluster: &cluster,
            client: cluster.once().await?,
        };
        drain.run(&plan.leaving).await?;
        Ok(args.said(work.cordons, &plan, false))
    }
}

/// One drain at work.
struct Drain<'d> {
    args: &'d Args,
    platform: &'d Platform,
    cluster: &'d Cluster,
    /// Hears of a refusal at once.
    client: &'d Client,
}

/// A pod that a disruption budget holds, and its words.
struct Held<'d> {
    pod: &'d Leaving,
    why: String,
}

impl Drain<'_> {
    async fn run(&self, leaving: &[Leaving]) -> Result<(), ModuleError> {
        let options = &self.args.delete_options;
        let timeout = match options.wait_timeout {
            Some(0) => ENDLESS,
            Some(seconds) => Duration::from_secs(seconds),
            None => Duration::ZERO,
        };
        let begun = self.platform.clock.now();
        let left = || {
            let gone = self.platform.clock.now().duration_since(begun);
            timeout.saturating_sub(gone.unsigned_abs())
        };
        let pause = Duration::from_secs(options.wait_sleep.unwrap_or(5).max(1));
        let mut open: Vec<&Leaving> = leaving.iter().filter(|pod| !pod.is_going).collect();
        while !open.is_empty() {
            let held = self.ask(&open).await?;
            let Some(first) = held.first() else { break };
            let left = left();
            if left.is_zero() {
                return Err(self.refused(&held));
            }
            self.platform.status(format!(
                "node `{}`: {} of {} pods are held by disruption budgets: {}: {}",
                self.args.name,
                held.len(),
                leaving.len(),
                first.pod,
                first.why
            ));
            tokio::select! {
                () = self.platform.clock.sleep(pause.min(left)) => {}
                () = self.platform.cancel.cancelled() => return Err(self.interrupted()),
            }
            open = held.into_iter().map(|held| held.pod).collect();
        }
        if options.wait_timeout.is_some() && !leaving.is_empty() {
            self.gone(leaving, left()).await?;
        }
        Ok(())
    }

    /// Tells pods to go. Out: those that may not go yet.
    async fn ask<'p>(&self, pods: &[&'p Leaving]) -> Result<Vec<Held<'p>>, ModuleError> {
        let mut held = Vec::new();
        for pod in pods {
            if self.platform.cancel.is_cancelled() {
                return Err(self.interrupted());
            }
            match self.send_away(pod).await {
                Ok(()) => {}
                // Gone already, or another pod has the name now.
                Err(kube::Error::Api(status))
                    if status.code == 404
                        || (status.code == 409
                            && status.message.to_lowercase().contains("uid")) => {}
                Err(kube::Error::Api(status)) if status.code == 429 => {
                    let causes = status.details.iter().flat_map(|details| &details.causes);
                    let why: Vec<&str> = causes.map(|cause| cause.message.as_str()).collect();
                    let why = if why.is_empty() {
                        status.message.clone()
                    } else {
                        why.join("; ")
                    };
                    held.push(Held { pod, why });
                }
                Err(problem) => {
                    let what = format!("evict pod `{pod}` from node `{}`", self.args.name);
                    let mut error = self.cluster.told(&what, &problem);
                    // Pods before it are on their way: trying the whole task again would tell less.
                    error.retry = crate::error::Retry::Never;
                    return Err(error.with("changed", true));
                }
            }
        }
        Ok(held)
    }

    async fn send_away(&self, pod: &Leaving) -> Result<(), kube::Error> {
        let delete = DeleteParams {
            grace_period_seconds: self.args.delete_options.terminate_grace_period,
            // Another pod may have got the name meanwhile.
            preconditions: (!pod.uid.is_empty()).then(|| kube::api::Preconditions {
                uid: Some(pod.uid.clone()),
                ..kube::api::Preconditions::default()
            }),
            ..DeleteParams::default()
        };
        if self.args.delete_options.disable_eviction {
            let pods: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), &pod.namespace, &objects::pod());
            return pods.delete(&pod.name, &delete).await.map(|_| ());
        }
        let eviction = EvictParams {
            delete_options: Some(delete),
            ..EvictParams::default()
        };
        // Only pods can be evicted, which the type says; none is read.
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        pods.evict(&pod.name, &eviction).await.map(|_| ())
    }

    /// Waits until none of these pods is on the node.
    async fn gone(&self, leaving: &[Leaving], timeout: Duration) -> Result<(), ModuleError> {
        let fields = self.args.on_node();
        let kind = pods();
        let watched = Watched {
            kind: &kind,
            namespace: "",
            labels: &self.args.pod_selectors,
            fields: &fields,
            what: format!("the pods of node `{}`", self.args.name),
        };
        self.platform.status(format!(
            "node `{}`: {} pods are leaving",
            self.args.name,
            leaving.len()
        ));
        let is_left = |object: &Value| {
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
            leaving.iter().any(|pod| pod.uid == uid)
        };
        let done = |objects: &[Value]| !objects.iter().any(is_left);
        match await_objects::until(self.platform, self.cluster, &watched, timeout, done).await? {
            Waited::Reached(_) => Ok(()),
            Waited::TimedOut(objects) => {
                let left: Vec<String> = objects
                    .iter()
                    .filter(|object| is_left(object))
                    .map(|object| {
                        let namespace = object["metadata"]["namespace"].as_str();
                        format!(
                            "{}/{}",
                            namespace.unwrap_or_default(),
                            objects::name(object)
                        )
                    })
                    .collect();
                if left.is_empty() {
                    return Ok(());
                }
                let message = format!(
                    "node `{}` is cordoned, but {} of its pods did not end within {} s: {}",
                    self.args.name,
                    left.len(),
                    self.args.delete_options.wait_timeout.unwrap_or_default(),
                    left.join(", ")
                );
                Err(ModuleError::new(ErrorKind::Timeout, message)
                    .hint("`wait_timeout` sets how long; a finalizer or a node that is away keeps pods, too")
                    .with("changed", true)
                    .with("remaining", left))
            }
        }
    }

    fn refused(&self, held: &[Held]) -> ModuleError {
        let list: Vec<String> = held
            .iter()
            .map(|held| format!("{}: {}", held.pod, held.why))
            .collect();
        let pods: Vec<String> = held.iter().map(|held| held.pod.to_string()).collect();
        let waited = match self.args.delete_options.wait_timeout {
            Some(seconds) => format!("within {seconds} s"),
            None => "now".to_owned(),
        };
        let message = format!(
            "node `{}` is cordoned, but disruption budgets do not let {} of its pods go {waited}: {}",
            self.args.name,
            held.len(),
            list.join("; ")
        );
        ModuleError::new(ErrorKind::Timeout, message)
            .hint("wait longer with `wait_timeout`, give the workload another replica, or look at its PodDisruptionBudget")
            .with("changed", true)
            .with("remaining", pods)
    }

    fn interrupted(&self) -> ModuleError {
        let message = format!(
            "the drain of node `{}` was interrupted; the node stays cordoned",
            self.args.name
        );
        ModuleError::new(ErrorKind::Cancelled, message).with("changed", true)
    }
}
