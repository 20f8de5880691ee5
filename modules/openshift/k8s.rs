//! `k8s`: objects of any kind, present, absent or patched. In: definitions as kubernetes.core takes them; out: what the
//! server made of them. The server itself says, by a dry run, what would change.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::await_objects::WaitCondition;
use super::compare;
use super::connection::Cluster;
use super::k8s_plan::{self, Planned, Step};
use super::k8s_write;
use super::manifest::{self, Defaults};
use crate::contract::{Change, FileArgument, Module, Outcome, Part, Render, Supports, Touches};
use crate::error::{ModuleError, Retry};
use crate::platform::Platform;

pub struct K8s;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// `present` creates or changes, `absent` deletes, `patched` changes what is there and creates nothing.
    #[serde(default)]
    pub(super) state: State,
    /// The objects: a mapping, a list of mappings, or YAML text of one or several documents. Text is YAML 1.2: write
    /// `true`, not `yes`, and `0o644`, not `0644`. A `List` stands for what it holds.
    definition: Option<Value>,
    /// Another name of `definition`.
    resource_definition: Option<Value>,
    /// Another name of `definition`.
    inline: Option<Value>,
    /// A file on this machine that holds the objects, as YAML or JSON; rendered as a template when its name ends in `.j2`.
    src: Option<String>,
    /// Text of `src`: filled in by layerplay.
    #[schemars(extend("x-filled-in" = true))]
    src_text: Option<String>,
    /// A template on this machine that gives the objects, by its path. One file: several are several tasks, or a `loop`.
    template: Option<Value>,
    /// Text of `template`: filled in by layerplay.
    #[schemars(extend("x-filled-in" = true))]
    template_text: Option<String>,
    /// Kind of the object where the definition does not say: `ConfigMap`, also `configmaps` or `cm`.
    kind: Option<String>,
    /// Its `apiVersion`; `v1` by default.
    api_version: Option<String>,
    /// Its name.
    name: Option<String>,
    /// The beginning of a name that the server completes: every run makes a new object.
    generate_name: Option<String>,
    /// Its namespace.
    namespace: Option<String>,
    /// Declares the whole object, as `kubectl apply` does: what was applied earlier and is named no more goes. Without
    /// `server_side_apply` the annotation of `kubectl apply` remembers what was applied.
    #[serde(default)]
    pub(super) apply: bool,
    /// With `apply`: the server keeps which fields are whose. A mapping of `field_manager` (`layerplay` by default) and
    /// `force_conflicts` (take over fields that another manager owns; false by default).
    pub(super) server_side_apply: Option<ServerSideApply>,
    /// How an object is patched: `strategic-merge`, `merge`. The first that the kind knows is used; both by default.
    pub(super) merge_type: Option<Vec<MergeType>>,
    /// Replace the object as a whole instead of patching it; without effect with `apply`.
    #[serde(default)]
    pub(super) force: bool,
    /// Wait until the object is as wanted: rolled out (`Deployment`, `DaemonSet`, `StatefulSet`, `Pod`), existing (all others),
    /// gone (`state: absent`), or `wait_condition`.
    #[serde(default)]
    pub(super) wait: bool,
    /// Seconds that a wait takes at most; 120 by default.
    #[serde(default = "timeout")]
    wait_timeout: u64,
    /// Taken for kubernetes.core's sake: a watch tells of each change at once, so nothing sleeps.
    #[serde(default)]
    #[allow(dead_code, reason = "accepted, and without meaning here")]
    wait_sleep: Option<u64>,
    /// With `wait`: a condition of the object's status, a mapping of `type`, `status` (`True` by default) and `reason`.
    pub(super) wait_condition: Option<WaitCondition>,
    /// With `state: absent`: a mapping of `propagationPolicy` (`Foreground`, `Background`, `Orphan`), `gracePeriodSeconds`
    /// and `preconditions` (`uid`, `resourceVersion`).
    pub(super) delete_options: Option<DeleteOptions>,
    /// Only objects with these labels: definitions without them are left out, and with `state: absent` and no name every
    /// object that has them is deleted.
    #[serde(default)]
    pub(super) label_selectors: Vec<String>,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

fn timeout() -> u64 {
    120
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    #[default]
    Present,
    Absent,
    Patched,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum MergeType {
    #[serde(rename = "strategic-merge")]
    Strategic,
    #[serde(rename = "merge")]
    Merge,
}

/// Server-side apply.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerSideApply {
    /// The name under which the server books the fields; `layerplay` by default.
    pub(super) field_manager: Option<String>,
    /// Take over fields that another manager owns.
    #[serde(default)]
    pub(super) force_conflicts: bool,
}

/// How objects are deleted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct DeleteOptions {
    /// `Foreground`, `Background` or `Orphan`; the server's choice by default.
    pub(super) propagation_policy: Option<Propagation>,
    /// Seconds until the object is gone by force.
    pub(super) grace_period_seconds: Option<u32>,
    /// What must be true of the object.
    pub(super) preconditions: Option<Preconditions>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub(super) enum Propagation {
    Foreground,
    Background,
    Orphan,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Preconditions {
    /// Only this version of the object.
    pub(super) resource_version: Option<String>,
    /// Only this very object.
    pub(super) uid: Option<String>,
}

impl Args {
    async fn cluster(&self, platform: &Platform) -> Result<Cluster, ModuleError> {
        platform
            .open_cluster(self.kubeconfig.as_ref(), self.context.as_ref())
            .await
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.wait_timeout)
    }

    /// The objects that the task is about.
    fn definitions(&self) -> Result<Vec<Value>, ModuleError> {
        let text = |text: &Option<String>| text.clone().map(Value::String);
        let given = [
            ("definition", self.definition.clone()),
            ("resource_definition", self.resource_definition.clone()),
            ("inline", self.inline.clone()),
            ("src", text(&self.src_text)),
            ("template", text(&self.template_text)),
        ];
        let mut given = given
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let first = given.next();
        if let (Some((first, _)), Some((second, _))) = (&first, given.next()) {
            return Err(ModuleError::argument(
                second,
                format!("give `{first}` or `{second}`, not both"),
            ));
        }
        if first.is_none() && (self.template.is_some() || self.src.is_some()) {
            let argument = if self.src.is_some() {
                "src"
            } else {
                "template"
            };
            return Err(ModuleError::argument(
                argument,
                format!("`{argument}` must name one file of this machine"),
            )
            .hint("several files: one task each, or a `loop`"));
        }
        let defaults = Defaults {
            kind: self.kind.as_deref(),
            api_version: self.api_version.as_deref(),
            name: self.name.as_deref(),
            generate_name: self.generate_name.as_deref(),
            namespace: self.namespace.as_deref(),
        };
        let (argument, given) = match &first {
            Some((argument, given)) => (*argument, Some(given)),
            None => ("definition", None),
        };
        manifest::definitions(argument, given, &defaults)
    }

    fn check(&self) -> Result<(), ModuleError> {
        if self.server_side_apply.is_some() && !self.apply {
            return Err(ModuleError::argument(
                "server_side_apply",
                "`server_side_apply` needs `apply: true`",
            ));
        }
        if self.apply && self.merge_type.is_some() {
            return Err(ModuleError::argument(
                "merge_type",
                "give `apply` or `merge_type`, not both",
            ));
        }
        Ok(())
    }
}

/// The answer of a task about one object is that object's; about several, a list.
fn outcome(entries: Vec<Map<String, Value>>) -> Outcome {
    let changed = entries.iter().any(|entry| entry["changed"] == true);
    let warnings = entries
        .iter()
        .filter_map(|entry| entry.get("warnings")?.as_array())
        .flatten()
        .filter_map(|warning| warning.as_str().map(ToOwned::to_owned))
        .collect();
    let mut entries: Vec<Value> = entries
        .into_iter()
        .map(|mut entry| {
            entry.shift_remove("warnings");
            Value::Object(entry)
        })
        .collect();
    let result = match (entries.pop(), entries.is_empty()) {
        (Some(Value::Object(mut only)), true) => {
            only.shift_remove("changed");
            only
        }
        (last, _) => {
            entries.extend(last);
            Map::from_iter([("result".to_owned(), json!({"results": entries}))])
        }
    };
    Outcome {
        changed,
        result,
        warnings,
        ..Outcome::default()
    }
}

#[async_trait]
impl Module for K8s {
    type Args = Args;
    type Work = Vec<Planned>;
    const NAME: &'static str = "k8s";
    const SUMMARY: &'static str = "Creates, changes or deletes objects of any kind in a cluster";
    const EXAMPLES: &'static str = "- k8s:\n    definition:\n      apiVersion: v1\n      kind: ConfigMap\n      metadata: {name: settings, namespace: web}\n      data: {colour: blue}\n- k8s: {src: manifests/web.yml.j2, namespace: web, wait: true}\n- k8s:\n    apply: true\n    server_side_apply: {field_manager: web-team}\n    definition: \"{{ lookup('file', 'web.yml') }}\"\n- k8s: {kind: Namespace, name: web, state: absent, wait: true}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = Touches {
        cluster: true,
        ..Touches::NOTHING
    };
    const ALIASES: &'static [&'static str] = &["kubernetes.core.k8s", "community.kubernetes.k8s"];
    const FILES: &'static [FileArgument] = &[
        FileArgument {
            argument: "src",
            folder: "files",
            render: Render::J2,
            content: Some("src_text"),
            part: Part::Whole,
        },
        FileArgument {
            argument: "template",
            folder: "templates",
            render: Render::Always,
            content: Some("template_text"),
            part: Part::Whole,
        },
    ];

    async fn inspect(
        &self,
        args: &Args,
        platform: &Platform,
    ) -> Result<Change<Self::Work>, ModuleError> {
        args.check()?;
        let definitions = args.definitions()?;
        for definition in &definitions {
            k8s_plan::keep_secret(platform, definition);
        }
        let cluster = args.cluster(platform).await?;
        let mut plan: Vec<Planned> = Vec::new();
        for definition in definitions {
            let planned = k8s_plan::plan(args, platform, &cluster, definition, &plan).await?;
            plan.extend(planned);
        }
        let preview = outcome(plan.iter().map(Planned::entry).collect());
        let waits = args.wait && !platform.check && plan.iter().any(Planned::can_wait);
        if !preview.changed && !waits {
            return Ok(Change::None(preview));
        }
        let changing: Vec<&Planned> = plan.iter().filter(|planned| planned.changed).collect();
        let fields = changing
            .iter()
            .flat_map(|planned| planned.fields.clone())
            .collect();
        let diff = changing
            .iter()
            .map(|planned| {
                compare::diff(
                    &planned.at.to_string(),
                    planned.before.as_ref(),
                    planned.after.as_ref(),
                )
            })
            .collect();
        Ok(Change::Some {
            fields,
            diff,
            preview,
            work: plan,
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Self::Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let cluster = args.cluster(platform).await?;
        let mut entries: Vec<Map<String, Value>> = Vec::new();
        for planned in work {
            let done = perform(args, platform, &cluster, planned).await;
            match done {
                Ok(entry) => entries.push(entry),
                Err(mut problem) => {
                    // Trying again would count what is written by now as unchanged.
                    if entries.iter().any(|entry| entry["changed"] == true) {
                        problem.retry = Retry::Never;
                        problem = problem
                            .with("results", json!(entries))
                            .with("changed", true);
                    }
                    return Err(problem);
                }
            }
        }
        Ok(outcome(entries))
    }
}

/// One object. What could not be asked before (its namespace or kind was to be made first) is asked now.
async fn perform(
    args: &Args,
    platform: &Platform,
    cluster: &Cluster,
    planned: Planned,
) -> Result<Map<String, Value>, ModuleError> {
    let mut planned = planned;
    if planned.step == Step::Later {
        let definition = planned.definition.clone();
        let mut again = k8s_plan::plan(args, platform, cluster, definition, &[]).await?;
        planned = again
            .pop()
            .ok_or_else(|| ModuleError::failed(format!("{} cannot be planned", planned.at)))?;
    }
    k8s_write::carry_out(args, platform, cluster, planned).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(value: Value) -> Args {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn one_source_of_definitions_and_one_way_to_write() {
        let two = args(json!({"definition": {"kind": "Pod"}, "src_text": "kind: Pod"}));
        assert_eq!(
            two.definitions().unwrap_err().argument.as_deref(),
            Some("src")
        );
        let none = args(json!({"kind": "Namespace", "name": "a"}));
        assert_eq!(
            none.definitions().unwrap(),
            [json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})]
        );
        let several = args(json!({"template": ["a", "b"]}));
        assert_eq!(
            several.definitions().unwrap_err().argument.as_deref(),
            Some("template")
        );
        assert!(
            args(json!({"apply": true, "merge_type": ["merge"]}))
                .check()
                .is_err()
        );
        assert!(args(json!({"server_side_apply": {}})).check().is_err());
    }

    #[test]
    fn one_object_answers_for_itself_and_several_as_a_list() {
        let entry = |changed: bool| {
            let value = json!({"changed": changed, "method": "update", "result": {"kind": "Pod"}, "warnings": ["w"]});
            value.as_object().cloned().unwrap()
        };
        let one = outcome(vec![entry(true)]);
        assert!(one.changed && one.result["method"] == "update" && one.warnings == ["w"]);
        let two = outcome(vec![entry(false), entry(true)]);
        assert!(two.changed);
        assert_eq!(two.result["result"]["results"][0]["changed"], false);
        assert_eq!(outcome(Vec::new()).result["result"]["results"], json!([]));
    }
}
