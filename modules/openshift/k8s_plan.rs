//! In: one definition and what is in the cluster. Out: how it is to be written, and what the server would make of it.

use serde_json::{Map, Value, json};

use super::compare;
use super::connection::Cluster;
use super::dynamic::{self, At, Verb};
use super::k8s::{Args, MergeType, State};
use super::kinds::{self, Kind};
use super::machine_config::FIELD_MANAGER;
use super::{last_applied, manifest};
use crate::contract::FieldChange;
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Words that stand in any text: hiding them (or a port's number) would hide everything else. Where a Secret itself is
/// shown, no value of it is, common or not.
const COMMON: &[&str] = &["true", "false", "null", "none", "changed", "name", "kind"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Already as wanted.
    Nothing,
    /// Left out, with a reason.
    LeftOut,
    /// Its namespace or kind is made by a definition before it: nobody can be asked yet.
    Later,
    Write(Verb),
    Delete,
}

/// What one definition comes to.
#[derive(Debug, Clone)]
pub struct Planned {
    pub(super) at: At,
    pub(super) definition: Value,
    /// What is sent.
    pub(super) body: Value,
    pub(super) step: Step,
    pub(super) method: &'static str,
    pub(super) before: Option<Value>,
    /// As the server would make it; `None` when it goes.
    pub(super) after: Option<Value>,
    pub(super) changed: bool,
    pub(super) fields: Vec<FieldChange>,
    warnings: Vec<String>,
    message: Option<String>,
}

impl Planned {
    /// As a task's result shows it.
    pub(super) fn entry(&self) -> Map<String, Value> {
        let mut entry = Map::new();
        entry.insert("changed".to_owned(), json!(self.changed));
        entry.insert("method".to_owned(), json!(self.method));
        entry.insert(
            "result".to_owned(),
            self.after.clone().unwrap_or_else(|| json!({})),
        );
        if let Some(message) = &self.message {
            entry.insert("msg".to_owned(), json!(message));
        }
        if !self.warnings.is_empty() {
            entry.insert("warnings".to_owned(), json!(self.warnings));
        }
        entry
    }

    /// Whether there is something to wait for.
    pub(super) fn can_wait(&self) -> bool {
        match self.step {
            Step::LeftOut => false,
            Step::Nothing => self.before.is_some(),
            Step::Later | Step::Write(_) | Step::Delete => true,
        }
    }

    fn namespace_is_made(&self, namespace: &str) -> bool {
        self.definition["kind"] == "Namespace" && self.at.name == namespace && self.changed
    }

    fn kind_is_made(&self, api_version: &str, kind: &str) -> bool {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let spec = &self.definition["spec"];
        self.definition["kind"] == "CustomResourceDefinition"
            && self.changed
            && spec["group"] == group
            && spec["names"]["kind"] == kind
    }
}

/// Registers what a Secret holds, so that no output shows it.
pub(super) fn keep_secret(platform: &Platform, object: &Value) {
    for value in manifest::secret_values(object) {
        let is_number = value.len() < 6 && value.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number && !COMMON.contains(&value.as_str()) {
            platform.secrets.add(&value);
        }
    }
}

pub(super) fn text<'v>(object: &'v Value, field: &str) -> &'v str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Plans one definition; `before_it` are those that are carried out first. Several when a selector deletes several.
pub(super) async fn plan(
    args: &Args,
    platform: &Platform,
    cluster: &Cluster,
    mut definition: Value,
    before_it: &[Planned],
) -> Result<Vec<Planned>, ModuleError> {
    let api_version = definition["apiVersion"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let wanted = definition["kind"].as_str().unwrap_or_default().to_owned();
    let is_absent = args.state == State::Absent;
    let Some(kind) = kinds::find(cluster, &api_version, &wanted).await? else {
        let comes = before_it
            .iter()
            .any(|planned| planned.kind_is_made(&api_version, &wanted));
        let is_served = kinds::is_served(cluster, &api_version).await?;
        if !comes && (is_served || !is_absent) {
            return Err(kinds::missing(cluster, &api_version, &wanted).await);
        }
        let kind = Kind {
            plural: wanted.to_lowercase(),
            kind: wanted,
            api_version,
            namespaced: !text(&definition, "namespace").is_empty(),
        };
        let at = place(&kind, &definition);
        if is_absent {
            // Nothing of its group is installed, so there is no such object.
            let mut planned = nothing(at, definition, "delete", None);
            planned.warnings.push(format!(
                "the cluster does not serve `{}`: {} cannot be there",
                planned.at.kind.api_version, planned.at
            ));
            return Ok(vec![planned]);
        }
        return Ok(vec![later(at, definition)]);
    };
    definition["kind"] = json!(kind.kind);
    if !kind.namespaced
        && let Some(metadata) = definition["metadata"].as_object_mut()
    {
        metadata.shift_remove("namespace");
    }
    let at = place(&kind, &definition);
    if at.name.is_empty() && is_absent {
        return delete_selected(args, cluster, &at, &definition).await;
    }
    if kind.namespaced && at.namespace.is_empty() {
        return Err(ModuleError::argument(
            "namespace",
            format!(
                "{} is namespaced, and `{}` has no namespace",
                kind.kind, at.name
            ),
        )
        .hint("give `namespace`, or `metadata.namespace` in the definition"));
    }
    if !is_absent
        && !args.label_selectors.is_empty()
        && !manifest::labels_match(&args.label_selectors, &definition["metadata"]["labels"])
    {
        let message = format!("{at} lacks the labels of `label_selectors` and is left out");
        return Ok(vec![left_out(at, definition, message)]);
    }
    if at.name.is_empty() && text(&definition, "generateName").is_empty() {
        return Err(
            ModuleError::argument("name", format!("a {} has no name", kind.kind))
                .hint("give `name`, or `metadata.name` in the definition"),
        );
    }
    let before = if at.name.is_empty() {
        None
    } else {
        at.get(cluster).await?
    };
    if let Some(before) = &before {
        keep_secret(platform, before);
    }
    if is_absent {
        return Ok(vec![delete(at, definition, before)]);
    }
    if before.is_none() && args.state == State::Patched {
        let message = format!("{at} is not there, and `state: patched` creates nothing");
        let mut planned = left_out(at, definition, message.clone());
        planned.warnings.push(message);
        return Ok(vec![planned]);
    }
    let comes = before.is_none()
        && before_it
            .iter()
            .any(|planned| planned.namespace_is_made(&at.namespace));
    if comes {
        return Ok(vec![later(at, definition)]);
    }
    let asked = ask(args, cluster, at.clone(), definition.clone(), before).await;
    let planned = match asked {
        Ok(planned) => planned,
        // A task before this one may make the namespace; in check mode it did not.
        Err(problem) if platform.check && lacks_namespace(cluster, &at, &problem).await => {
            let mut planned = later(at, definition);
            planned.warnings.push(format!(
                "namespace `{}` is not there yet: the server cannot be asked about {}",
                planned.at.namespace, planned.at
            ));
            planned
        }
        Err(problem) => return Err(problem),
    };
    if let Some(after) = &planned.after {
        keep_secret(platform, after);
    }
    Ok(vec![planned])
}

/// Whether an object was refused because its namespace is not there. Who may not look gets the server's own error.
async fn lacks_namespace(cluster: &Cluster, at: &At, problem: &ModuleError) -> bool {
    if problem.kind != ErrorKind::NotFound || at.namespace.is_empty() {
        return false;
    }
    let Ok(Some(kind)) = kinds::find(cluster, "v1", "Namespace").await else {
        return false;
    };
    let namespace = At {
        kind,
        namespace: String::new(),
        name: at.namespace.clone(),
    };
    matches!(namespace.get(cluster).await, Ok(None))
}

fn place(kind: &Kind, definition: &Value) -> At {
    At {
        kind: kind.clone(),
        namespace: text(definition, "namespace").to_owned(),
        name: text(definition, "name").to_owned(),
    }
}

fn nothing(at: At, definition: Value, method: &'static str, before: Option<Value>) -> Planned {
    Planned {
        at,
        body: Value::Null,
        definition,
        step: Step::Nothing,
        method,
        after: None,
        before,
        changed: false,
        fields: Vec::new(),
        warnings: Vec::new(),
        message: None,
    }
}

fn left_out(at: At, definition: Value, message: String) -> Planned {
    Planned {
        step: Step::LeftOut,
        message: Some(message),
        ..nothing(at, definition, "none", None)
    }
}

fn later(at: At, definition: Value) -> Planned {
    Planned {
        step: Step::Later,
        changed: true,
        fields: compare::changes(&at.to_string(), None, Some(&definition)),
        after: Some(definition.clone()),
        ..nothing(at, definition, "create", None)
    }
}

fn delete(at: At, definition: Value, before: Option<Value>) -> Planned {
    let Some(before) = before else {
        return nothing(at, definition, "delete", None);
    };
    // Already on its way out: deleting it once more changes nothing.
    if !text(&before, "deletionTimestamp").is_empty() {
        return nothing(at, definition, "delete", Some(before));
    }
    Planned {
        step: Step::Delete,
        changed: true,
        fields: compare::changes(&at.to_string(), Some(&before), None),
        ..nothing(at, definition, "delete", Some(before))
    }
}

async fn delete_selected(
    args: &Args,
    cluster: &Cluster,
    at: &At,
    definition: &Value,
) -> Result<Vec<Planned>, ModuleError> {
    if args.label_selectors.is_empty() {
        return Err(ModuleError::argument(
            "name",
            format!("which {} is to go? it has no name", at.kind.kind),
        )
        .hint("give `name`, or `label_selectors` to delete all that have these labels"));
    }
    let found = dynamic::list(cluster, &at.kind, &at.namespace, &args.label_selectors, &[]).await?;
    Ok(found
        .into_iter()
        .map(|object| {
            let at = place(&at.kind, &object);
            delete(at, definition.clone(), Some(object))
        })
        .collect())
}

/// How the definition is to be written over what is there.
fn ways(args: &Args, at: &At, definition: &Value, before: Option<&Value>) -> Vec<(Verb, Value)> {
    if let (true, Some(server)) = (args.apply, &args.server_side_apply) {
        return vec![(Verb::Apply(server.force_conflicts), definition.clone())];
    }
    let Some(before) = before else {
        let body = if args.apply {
            last_applied::annotated(definition)
        } else {
            definition.clone()
        };
        return vec![(Verb::Create, body)];
    };
    if args.apply {
        let patch = last_applied::patch(before, definition, at.kind.is_built_in());
        return vec![(Verb::Merge, patch)];
    }
    if args.force && args.state != State::Patched {
        let mut body = definition.clone();
        if text(&body, "resourceVersion").is_empty() {
            body["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
        }
        return vec![(Verb::Replace, body)];
    }
    let types = args
        .merge_type
        .clone()
        .filter(|types| !types.is_empty())
        .unwrap_or_else(|| vec![MergeType::Strategic, MergeType::Merge]);
    types
        .into_iter()
        .map(|merge| match merge {
            MergeType::Strategic => (Verb::Strategic, definition.clone()),
            MergeType::Merge => (Verb::Merge, definition.clone()),
        })
        .collect()
}

fn method(args: &Args, verb: Verb) -> &'static str {
    match verb {
        _ if args.apply => "apply",
        Verb::Create => "create",
        Verb::Replace => "replace",
        Verb::Merge | Verb::Strategic | Verb::Apply(_) => "update",
    }
}

pub(super) fn manager(args: &Args) -> &str {
    args.server_side_apply
        .as_ref()
        .and_then(|server| server.field_manager.as_deref())
        .unwrap_or(FIELD_MANAGER)
}

/// Has the server try it.
async fn ask(
    args: &Args,
    cluster: &Cluster,
    at: At,
    definition: Value,
    before: Option<Value>,
) -> Result<Planned, ModuleError> {
    let mut refused = None;
    for (verb, body) in ways(args, &at, &definition, before.as_ref()) {
        let is_empty = verb == Verb::Merge && body.as_object().is_some_and(Map::is_empty);
        let answer = if let (true, Some(before)) = (is_empty, &before) {
            Ok(before.clone())
        } else {
            at.write(cluster, verb, &body, manager(args), true).await
        };
        let after = match answer {
            Ok(after) => after,
            // This kind does not know this way of patching.
            Err(kube::Error::Api(status)) if status.code == 415 => {
                refused = Some(kube::Error::Api(status));
                continue;
            }
            Err(kube::Error::Api(status)) if takes_no_dry_run(&status) => {
                predicted(verb, &body, before.as_ref())
            }
            Err(problem) => {
                return Err(dynamic::told(cluster, &attempt(verb, &at), &problem));
            }
        };
        return Ok(judge(args, at, definition, (verb, body), before, after));
    }
    match refused {
        Some(problem) => Err(dynamic::told(cluster, &format!("patch {at}"), &problem)
            .hint("this kind takes `merge_type: merge`")),
        None => Err(ModuleError::failed(format!("{at} cannot be written"))),
    }
}

pub(super) fn attempt(verb: Verb, at: &At) -> String {
    match verb {
        Verb::Create => format!("create {at}"),
        Verb::Replace => format!("replace {at}"),
        Verb::Merge | Verb::Strategic => format!("patch {at}"),
        Verb::Apply(_) => format!("apply {at}"),
    }
}

/// An admission webhook with side effects refuses dry runs.
fn takes_no_dry_run(status: &kube::core::Status) -> bool {
    status.code == 400 && status.message.contains("dry run")
}

/// Without the server: the definition laid over what is there.
fn predicted(verb: Verb, body: &Value, before: Option<&Value>) -> Value {
    match (verb, before) {
        (Verb::Create | Verb::Replace, _) | (_, None) => body.clone(),
        (Verb::Merge | Verb::Strategic | Verb::Apply(_), Some(before)) => {
            compare::merged(before, body)
        }
    }
}

fn judge(
    args: &Args,
    at: At,
    definition: Value,
    (verb, body): (Verb, Value),
    before: Option<Value>,
    after: Value,
) -> Planned {
    let mut fields = compare::changes(&at.to_string(), before.as_ref(), Some(&after));
    if let Some(before) = &before {
        let own = |object: &Value| compare::applied_by(object, manager(args));
        if matches!(verb, Verb::Apply(_)) && own(before) != own(&after) && fields.is_empty() {
            fields.push(FieldChange {
                field: format!("{at}: metadata.managedFields"),
                before: json!(format!("not all of these fields are `{}`'s", manager(args))),
                after: json!(format!("they are `{}`'s", manager(args))),
            });
        }
        let applied = |object: &Value| {
            object["metadata"]["annotations"][compare::LAST_APPLIED]
                .as_str()
                .and_then(|text| serde_json::from_str::<Value>(text).ok())
        };
        if args.apply && fields.is_empty() && applied(before) != applied(&after) {
            fields.push(FieldChange {
                field: format!("{at}: metadata.annotations.{}", compare::LAST_APPLIED),
                before: json!("what was applied before"),
                after: json!("what is applied now"),
            });
        }
    }
    let warnings = compare::dropped(&definition, &after)
        .into_iter()
        .map(|field| format!("{at}: the server does not keep `{field}`: is it spelled right?"))
        .collect();
    Planned {
        step: if fields.is_empty() {
            Step::Nothing
        } else {
            Step::Write(verb)
        },
        changed: !fields.is_empty(),
        method: method(args, verb),
        after: Some(if fields.is_empty() {
            before.clone().unwrap_or(after)
        } else {
            after
        }),
        fields,
        body,
        warnings,
        ..nothing(at, definition, "none", before)
    }
}
