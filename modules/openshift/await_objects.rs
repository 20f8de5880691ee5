//! In: which objects, and when they are as wanted. Out: the objects at that moment. A watch says when to look; nothing
//! is asked in turns.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::connection::Cluster;
use super::dynamic::{self, At, named};
use super::kinds::Kind;
use super::objects::condition;
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// A condition of an object's status that is waited for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitCondition {
    /// The condition's type, such as `Ready` or `Available`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `True`, `False` or `Unknown`; `True` by default.
    pub status: Option<Value>,
    /// The condition's reason, when that counts as well.
    pub reason: Option<String>,
}

/// The objects that are watched.
pub struct Watched<'w> {
    pub kind: &'w Kind,
    /// Empty in cluster scope, or for all namespaces.
    pub namespace: &'w str,
    pub labels: &'w [String],
    pub fields: &'w [String],
    /// For messages: ``Pod `a/b` ``.
    pub what: String,
}

/// How a wait ended.
pub enum Waited {
    Reached(Vec<Value>),
    /// What there was when time ran out.
    TimedOut(Vec<Value>),
}

/// Whether an object is as a wait without a condition wants it: rolled out for workloads, existing for all others.
pub fn is_ready(object: &Value) -> bool {
    let (spec, status) = (&object["spec"], &object["status"]);
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let is_seen =
        number(&status["observedGeneration"]) >= number(&object["metadata"]["generation"]);
    match object["kind"].as_str().unwrap_or_default() {
        "Deployment" => {
            is_seen
                && number(&spec["replicas"]) == number(&status["replicas"])
                && number(&status["replicas"]) == number(&status["availableReplicas"])
                && number(&status["replicas"]) == number(&status["updatedReplicas"])
                && number(&status["unavailableReplicas"]) == 0
        }
        "DaemonSet" => {
            is_seen
                && status["desiredNumberScheduled"].is_number()
                && status["updatedNumberScheduled"] == status["desiredNumberScheduled"]
                && status["numberReady"] == status["desiredNumberScheduled"]
                && number(&status["numberUnavailable"]) == 0
        }
        "StatefulSet" => {
            is_seen
                && status["updateRevision"] == status["currentRevision"]
                && number(&status["readyReplicas"]) == number(&spec["replicas"])
                && number(&status["replicas"]) == number(&spec["replicas"])
        }
        "Pod" => status["containerStatuses"]
            .as_array()
            .is_some_and(|all| all.iter().all(|container| container["ready"] == true)),
        _ => true,
    }
}

impl WaitCondition {
    /// Whether the object has the condition.
    pub fn holds(&self, object: &Value) -> bool {
        let Some(found) = self
            .kind
            .as_deref()
            .and_then(|kind| condition(object, kind))
        else {
            return false;
        };
        let wanted = match &self.status {
            None | Some(Value::Null | Value::Bool(true)) => "True".to_owned(),
            Some(Value::Bool(false)) => "False".to_owned(),
            Some(Value::String(text)) => match text.to_lowercase().as_str() {
                "true" | "yes" => "True".to_owned(),
                "false" | "no" => "False".to_owned(),
                _ => text.clone(),
            },
            Some(other) => other.to_string(),
        };
        found["status"] == wanted.as_str()
            && self
                .reason
                .as_deref()
                .is_none_or(|reason| found["reason"] == reason)
    }

    fn show(&self) -> String {
        let status = match &self.status {
            None | Some(Value::Null) => "True".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        format!("{}={status}", self.kind.as_deref().unwrap_or_default())
    }
}

/// Whether an object is as wanted: by its condition, else by its kind.
pub fn is_reached(object: &Value, condition: Option<&WaitCondition>) -> bool {
    match condition.filter(|condition| condition.kind.is_some()) {
        Some(condition) => condition.holds(object),
        None => is_ready(object),
    }
}

/// What is waited for, in words.
pub fn goal(condition: Option<&WaitCondition>) -> String {
    match condition.filter(|condition| condition.kind.is_some()) {
        Some(condition) => format!("condition {}", condition.show()),
        None => "it to be ready".to_owned(),
    }
}

/// Watches until `done` says so of all objects there are, or until the time is over.
pub async fn until(
    platform: &Platform,
    cluster: &Cluster,
    watched: &Watched<'_>,
    timeout: Duration,
    mut done: impl FnMut(&[Value]) -> bool,
) -> Result<Waited, ModuleError> {
    let mut config = watcher::Config::default();
    if !watched.labels.is_empty() {
        config = config.labels(&watched.labels.join(","));
    }
    if !watched.fields.is_empty() {
        config = config.fields(&watched.fields.join(","));
    }
    let mut events = pin!(watcher(
        dynamic::api(cluster, watched.kind, watched.namespace),
        config
    ));
    let mut end = pin!(platform.clock.sleep(timeout));
    let mut present: BTreeMap<String, Value> = BTreeMap::new();
    let mut fresh: BTreeMap<String, Value> = BTreeMap::new();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = &mut end => return Ok(Waited::TimedOut(present.into_values().collect())),
            () = platform.cancel.cancelled() => {
                return Err(ModuleError::new(ErrorKind::Cancelled, format!("waiting for {} was interrupted", watched.what)));
            }
        };
        let whole = |object| -> Result<(String, Value), ModuleError> {
            let object = named(watched.kind, super::objects::json(object)?);
            let key = format!(
                "{}/{}",
                object["metadata"]["namespace"].as_str().unwrap_or_default(),
                super::objects::name(&object)
            );
            Ok((key, object))
        };
        match event {
            Some(Ok(Event::Init)) => {
                fresh.clear();
                continue;
            }
            Some(Ok(Event::InitApply(object))) => {
                let (key, object) = whole(&object)?;
                fresh.insert(key, object);
                continue;
            }
            Some(Ok(Event::InitDone)) => present = std::mem::take(&mut fresh),
            Some(Ok(Event::Apply(object))) => {
                let (key, object) = whole(&object)?;
                present.insert(key, object);
            }
            Some(Ok(Event::Delete(object))) => {
                let (key, _) = whole(&object)?;
                present.remove(&key);
            }
            Some(Err(problem)) => {
                let code = refused(&problem);
                if let Some(problem) = code {
                    return Err(dynamic::told(
                        cluster,
                        &format!("watch {}", watched.kind.plural),
                        problem,
                    ));
                }
                // The watcher starts anew by itself; the pause keeps a dead server from being hammered.
                platform.status(format!(
                    "{}: watch interrupted: {problem}; trying again",
                    watched.what
                ));
                tokio::select! {
                    () = platform.clock.sleep(Duration::from_secs(1)) => {}
                    () = &mut end => return Ok(Waited::TimedOut(present.into_values().collect())),
                    () = platform.cancel.cancelled() => {}
                }
                continue;
            }
            None => {
                return Err(ModuleError::failed(format!(
                    "the watch of {} ended",
                    watched.what
                )));
            }
        }
        let objects: Vec<Value> = present.values().cloned().collect();
        if done(&objects) {
            return Ok(Waited::Reached(objects));
        }
    }
}

/// An answer that trying again does not change: the rights are missing, or the request is wrong.
fn refused(problem: &watcher::Error) -> Option<&kube::Error> {
    match problem {
        watcher::Error::InitialListFailed(inner) | watcher::Error::WatchStartFailed(inner) => {
            match inner {
                kube::Error::Api(status) if matches!(status.code, 400 | 401 | 403 | 404 | 405) => {
                    Some(inner)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Waits for one object. `gone`: until it is there no more. The object, or what there was and a timeout.
pub async fn one(
    platform: &Platform,
    cluster: &Cluster,
    at: &At,
    gone: bool,
    condition: Option<&WaitCondition>,
    timeout: Duration,
) -> Result<Option<Value>, ModuleError> {
    let fields = [format!("metadata.name={}", at.name)];
    let watched = Watched {
        kind: &at.kind,
        namespace: &at.namespace,
        labels: &[],
        fields: &fields,
        what: at.to_string(),
    };
    let goal = if gone {
        "it to be gone".to_owned()
    } else {
        goal(condition)
    };
    platform.status(format!("{at}: waiting for {goal}"));
    let done = |objects: &[Value]| {
        if gone {
            objects.is_empty()
        } else {
            objects.iter().any(|object| is_reached(object, condition))
        }
    };
    match until(platform, cluster, &watched, timeout, done).await? {
        Waited::Reached(mut objects) => Ok(objects.pop()),
        Waited::TimedOut(mut objects) => Err(ModuleError::new(
            ErrorKind::Timeout,
            format!("{at}: waited {} s for {goal}", timeout.as_secs()),
        )
        .hint("`wait_timeout` sets how long; its events and status say why it is not there yet")
        .with("result", objects.pop().unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn workloads_are_ready_when_rolled_out() {
        let deployment = |generation: i64, status: Value| json!({"kind": "Deployment", "metadata": {"generation": generation}, "spec": {"replicas": 2}, "status": status});
        let full = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert!(is_ready(&deployment(2, full.clone())));
        assert!(!is_ready(&deployment(3, full)), "an old status");
        assert!(!is_ready(&deployment(
            1,
            json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2})
        )));
        assert!(is_ready(
            &json!({"kind": "Deployment", "spec": {"replicas": 0}})
        ));
        assert!(!is_ready(&json!({"kind": "Pod", "status": {}})));
        assert!(is_ready(
            &json!({"kind": "Pod", "status": {"containerStatuses": [{"ready": true}]}})
        ));
        assert!(is_ready(&json!({"kind": "ConfigMap"})));
    }

    #[test]
    fn conditions_hold_by_status_and_reason() {
        let object = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Why"}]}});
        let wanted = |value: Value| serde_json::from_value::<WaitCondition>(value).unwrap();
        assert!(!wanted(json!({"type": "Ready"})).holds(&object));
        assert!(wanted(json!({"type": "Ready", "status": false})).holds(&object));
        assert!(
            wanted(json!({"type": "Ready", "status": "False", "reason": "Why"})).holds(&object)
        );
        assert!(
            !wanted(json!({"type": "Ready", "status": "False", "reason": "Other"})).holds(&object)
        );
        assert!(!wanted(json!({"type": "Other"})).holds(&object));
    }
}
