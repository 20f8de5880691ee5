//! A create, update, patch, delete or eviction request in, the stored object or a refusal out.

use super::ownership::{self, Writer};
use super::patch;
use super::request::{Query, Target};
use super::resources::{Resource, find};
use super::rules::{check_identity, metadata, prepare_create, prepare_update, text};
use super::selector::Selector;
use super::status::ApiError;
use super::store::{Decision, Store};
use serde_json::{Value, json};

/// What every write needs to know of its request.
#[derive(Debug)]
pub struct Write<'a> {
    pub store: &'a Store,
    pub target: &'a Target,
    pub query: &'a Query,
    /// `fieldManager`, or the first part of the user agent.
    pub manager: String,
    /// Whether pods on a node linger with a deletion timestamp until somebody (a kubelet) deletes them with grace 0.
    pub graceful_pods: bool,
}

/// The four kinds of patch, by content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchKind {
    /// From the request's content type. Custom resources refuse strategic merge, as the real server does.
    pub fn from_content_type(content_type: &str, resource: &Resource) -> Result<Self, ApiError> {
        const CUSTOM: &[&str] = &[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
        ];
        const BUILT_IN: &[&str] = &[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
        ];
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !resource.custom => Ok(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Self::Apply),
            _ => Err(ApiError::unsupported_media_type(if resource.custom {
                CUSTOM
            } else {
                BUILT_IN
            })),
        }
    }
}

/// Reads a body as JSON or YAML.
pub fn decode(body: &[u8], content_type: &str) -> Result<Value, ApiError> {
    if content_type.contains("protobuf") {
        return Err(ApiError::unsupported_media_type(&[
            "application/json",
            "application/yaml",
        ]));
    }
    if content_type.contains("yaml") {
        return serde_yaml::from_slice(body)
            .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")));
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("error decoding JSON: {error}")))
}

impl Write<'_> {
    fn dry_run(&self) -> Result<bool, ApiError> {
        match self.query.get("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(ApiError::bad_request(format!(
                "dryRun: Unsupported value: {other:?}: supported values: \"All\""
            ))),
        }
    }

    fn writer(&self) -> Writer {
        let subresource = self.target.subresource.clone().unwrap_or_default();
        Writer {
            manager: self.manager.clone(),
            subresource,
            now: self.store.now(),
        }
    }

    fn put(dry: bool, object: Value) -> Decision {
        if dry {
            Decision::Keep(object)
        } else {
            Decision::Put(object)
        }
    }

    fn check_namespace(&self) -> Result<(), ApiError> {
        let Some(namespaces) =
            find("", "v1", "namespaces").filter(|_| self.target.resource.namespaced)
        else {
            return Ok(());
        };
        let name = &self.target.namespace;
        match self.store.get(namespaces, "", name) {
            None => Err(ApiError::not_found(namespaces, name)),
            Some(found) if found.pointer("/metadata/deletionTimestamp").is_some() => {
                Err(ApiError::forbidden(
                    self.target.resource,
                    "",
                    &format!(
                        "unable to create new content in namespace {name} because it is being terminated"
                    ),
                ))
            }
            Some(_) => Ok(()),
        }
    }

    pub fn create(&self, mut object: Value) -> Result<Value, ApiError> {
        let dry = self.dry_run()?;
        check_identity(self.target, &mut object)?;
        self.check_namespace()?;
        let name = prepare_create(self.store, self.target, &mut object)?;
        let writer = self.writer();
        self.store.transact(
            self.target.resource,
            &self.target.namespace,
            &name,
            |before| {
                if before.is_some() {
                    return Err(ApiError::already_exists(self.target.resource, &name));
                }
                ownership::record(self.target.resource, None, &mut object, &writer);
                Ok(Self::put(dry, object))
            },
        )
    }

    /// What an update of `before` to `after` comes to: a new state, or the end of an object that only waited for its finalizers.
    fn settle(
        &self,
        before: &Value,
        after: Value,
        dry: bool,
        booked: bool,
    ) -> Result<Decision, ApiError> {
        let mut object = prepare_update(self.target, before, after)?;
        if !booked {
            ownership::record(
                self.target.resource,
                Some(before),
                &mut object,
                &self.writer(),
            );
        }
        let finalizers = object
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty);
        let lingering_pod = self.target.resource.kind == "Pod"
            && object
                .pointer("/metadata/deletionGracePeriodSeconds")
                .and_then(Value::as_i64)
                .unwrap_or(0)
                > 0;
        if object.pointer("/metadata/deletionTimestamp").is_some()
            && finalizers
            && !lingering_pod
            && !dry
        {
            return Ok(Decision::Remove);
        }
        Ok(Self::put(dry, object))
    }

    pub fn update(&self, name: &str, mut object: Value) -> Result<Value, ApiError> {
        let dry = self.dry_run()?;
        check_identity(self.target, &mut object)?;
        self.store.transact(
            self.target.resource,
            &self.target.namespace,
            name,
            |before| {
                let before =
                    before.ok_or_else(|| ApiError::not_found(self.target.resource, name))?;
                self.settle(before, object, dry, false)
            },
        )
    }

    /// The answer says whether the object was made by the patch, which only an apply does.
    pub fn patch(
        &self,
        name: &str,
        kind: PatchKind,
        body: &Value,
    ) -> Result<(Value, bool), ApiError> {
        let dry = self.dry_run()?;
        let resource = self.target.resource;
        let force = self.query.flag("force");
        if kind == PatchKind::Apply {
            if self.query.get("fieldManager").is_empty() {
                return Err(ApiError::bad_request(
                    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
                ));
            }
            ownership::check_config(resource, body)?;
        } else if self.query.has("force") {
            return Err(ApiError::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
            ));
        }
        let missing = self
            .store
            .get(resource, &self.target.namespace, name)
            .is_none();
        if missing && kind == PatchKind::Apply && self.target.subresource.is_none() {
            let mut object = body.clone();
            check_identity(self.target, &mut object)?;
            self.check_namespace()?;
            prepare_create(self.store, self.target, &mut object)?;
            ownership::record_created_by_apply(resource, &mut object, body, &self.writer());
            let made =
                self.store.transact(
                    resource,
                    &self.target.namespace,
                    name,
                    |before| match before {
                        Some(_) => Err(ApiError::already_exists(resource, name)),
                        None => Ok(Self::put(dry, object)),
                    },
                );
            return made.map(|object| (object, true));
        }
        let stored = self
            .store
            .transact(resource, &self.target.namespace, name, |before| {
                let before = before.ok_or_else(|| ApiError::not_found(resource, name))?;
                let mut after = before.clone();
                match kind {
                    PatchKind::Json => patch::json(&mut after, body)?,
                    PatchKind::Merge => patch::merge(&mut after, body),
                    PatchKind::Strategic => patch::strategic(resource, &mut after, body)?,
                    PatchKind::Apply => {
                        let mut config = body.clone();
                        check_identity(self.target, &mut config)?;
                        after = ownership::apply(resource, before, &config, &self.writer(), force)?;
                    }
                }
                check_identity(self.target, &mut after)?;
                // A patch without a version applies to whatever is there; `after` still carries the present one.
                self.settle(before, after, dry, kind == PatchKind::Apply)
            })?;
        Ok((stored, false))
    }

    /// `options` is the body, a `DeleteOptions`; the same fields may come as query parameters.
    pub fn delete(&self, name: &str, options: &Value) -> Result<Value, ApiError> {
        let resource = self.target.resource;
        let dry = self.dry_run()?
            || options
                .get("dryRun")
                .and_then(Value::as_array)
                .is_some_and(|all| all.iter().any(|v| v == "All"));
        let grace = match self.query.get("gracePeriodSeconds") {
            "" => options.get("gracePeriodSeconds").and_then(Value::as_i64),
            text => Some(text.parse().map_err(|_| {
                ApiError::bad_request(format!("gracePeriodSeconds: Invalid value: {text:?}"))
            })?),
        };
        let (now, timestamp) = (self.store.now(), self.store.timestamp());
        let mut gone = false;
        let answer = self.store.transact(resource, &self.target.namespace, name, |before| {
            let before = before.ok_or_else(|| ApiError::not_found(resource, name))?;
            for (field, label) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
                let wanted = options.get("preconditions").and_then(|p| p.get(field)).and_then(Value::as_str);
                let have = text(before, &format!("/metadata/{field}"));
                if let Some(wanted) = wanted.filter(|wanted| *wanted != have) {
                    return Err(ApiError::conflict(
                        resource,
                        name,
                        &format!("Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {have}"),
                    ));
                }
            }
            let waits = before.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|f| !f.is_empty());
            let seconds = grace
                .or_else(|| before.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64))
                .or_else(|| before.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64))
                .unwrap_or(30)
                .max(0);
            let ended = matches!(text(before, "/status/phase"), "Succeeded" | "Failed" | "Pending");
            let lingers = self.graceful_pods
                && resource.kind == "Pod"
                && seconds > 0
                && !ended
                && !text(before, "/spec/nodeName").is_empty();
            if !waits && !lingers {
                gone = true;
                return Ok(if dry { Decision::Keep(before.clone()) } else { Decision::Remove });
            }
            let mut object = before.clone();
            let metadata = metadata(&mut object)?;
            let shorter = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).is_none_or(|have| seconds < have);
            if !metadata.contains_key("deletionTimestamp") || (lingers && shorter) {
                let grace = if lingers { seconds } else { 0 };
                let end = timestamp.checked_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(timestamp);
                let end = if grace == 0 { now } else { end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() };
                metadata.insert("deletionTimestamp".into(), json!(end));
                metadata.insert("deletionGracePeriodSeconds".into(), json!(grace));
                if let (true, Some(generation)) =
                    (resource.generation, metadata.get("generation").and_then(Value::as_i64))
                {
                    metadata.insert("generation".into(), json!(generation + 1));
                }
            }
            Ok(Self::put(dry, object))
        })?;
        if gone && !dry && resource.kind == "Namespace" {
            self.empty_namespace(name);
        }
        // Pods (and whatever still waits) are answered whole, the rest with a Status.
        if !gone || resource.kind == "Pod" {
            return Ok(answer);
        }
        let details = json!({
            "name": name, "group": resource.group, "kind": resource.plural, "uid": answer.pointer("/metadata/uid"),
        });
        Ok(
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
        )
    }

    /// The namespace controller's work, at once.
    fn empty_namespace(&self, namespace: &str) {
        for resource in super::resources::RESOURCES.iter().filter(|r| r.namespaced) {
            for ((_, name), _) in self.store.list(resource, namespace).objects {
                // Gone already is as good.
                let _ = self
                    .store
                    .transact(resource, namespace, &name, |_| Ok(Decision::Remove));
            }
        }
    }

    /// Deletes all that the selectors select; the answer is the list of them.
    pub fn delete_collection(&self, options: &Value) -> Result<Value, ApiError> {
        let resource = self.target.resource;
        let selector = Selector::parse(
            resource,
            self.query.get("labelSelector"),
            self.query.get("fieldSelector"),
        )?;
        let snapshot = self.store.list(resource, &self.target.namespace);
        let mut items = Vec::new();
        for ((namespace, name), object) in snapshot.objects {
            if selector.matches(&object) {
                let target = Target {
                    namespace,
                    ..self.target.clone()
                };
                let one = Write {
                    store: self.store,
                    target: &target,
                    query: self.query,
                    manager: self.manager.clone(),
                    graceful_pods: self.graceful_pods,
                };
                match one.delete(&name, options) {
                    Ok(_) => items.push((*object).clone()),
                    Err(error) if error.reason == "NotFound" => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(json!({
            "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
            "metadata": {"resourceVersion": self.store.version().to_string()}, "items": items,
        }))
    }

    /// `pods/eviction`: deletes the pod if its disruption budget allows, and counts the disruption.
    /// Source: `pkg/registry/core/pod/storage/eviction.go`.
    pub fn evict(&self, name: &str, eviction: &Value) -> Result<Value, ApiError> {
        let pods = self.target.resource;
        let kind = text(eviction, "/kind");
        if !kind.is_empty() && kind != "Eviction" {
            return Err(ApiError::bad_request(format!(
                "no kind {kind:?} is registered for `pods/eviction`"
            )));
        }
        let given = text(eviction, "/metadata/name");
        if !given.is_empty() && given != name {
            return Err(ApiError::bad_request(
                "name in URL does not match name in Eviction object",
            ));
        }
        let namespace = &self.target.namespace;
        let pod = self
            .store
            .get(pods, namespace, name)
            .ok_or_else(|| ApiError::not_found(pods, name))?;
        let ended = matches!(
            text(&pod, "/status/phase"),
            "Succeeded" | "Failed" | "Pending"
        ) || pod.pointer("/metadata/deletionTimestamp").is_some();
        let dry = self.dry_run()?;
        if !ended && let Some(budgets) = find("policy", "v1", "poddisruptionbudgets") {
            let mut matching = self.store.list(budgets, namespace).objects;
            matching.retain(|(_, budget)| selects(budget.pointer("/spec/selector"), &pod));
            match matching.as_slice() {
                [] => {}
                [((_, budget), _)] => self.disrupt(budgets, budget, &pod, name, dry)?,
                _ => {
                    return Err(ApiError::internal(
                        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                    ));
                }
            }
        }
        let options = eviction
            .get("deleteOptions")
            .cloned()
            .unwrap_or_else(|| json!({}));
        self.delete(name, &options)?;
        Ok(
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
        )
    }

    fn disrupt(
        &self,
        budgets: &'static Resource,
        budget: &str,
        pod: &Value,
        pod_name: &str,
        dry: bool,
    ) -> Result<(), ApiError> {
        let now = self.store.now();
        let ready = pod
            .pointer("/status/conditions")
            .and_then(Value::as_array)
            .is_some_and(|all| {
                all.iter()
                    .any(|c| text(c, "/type") == "Ready" && text(c, "/status") == "True")
            });
        self.store
            .transact(budgets, &self.target.namespace, budget, |found| {
                let found = found.ok_or_else(|| ApiError::not_found(budgets, budget))?;
                let number = |pointer: &str| found.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
                let (healthy, desired) = (number("/status/currentHealthy"), number("/status/desiredHealthy"));
                if number("/status/observedGeneration") < number("/metadata/generation") {
                    let cause = format!("The disruption budget {budget} is still being processed by the server.");
                    return Err(ApiError::too_many_requests(
                        "Cannot evict pod as it would violate the pod's disruption budget.",
                        10,
                        Some(json!([{"reason": "DisruptionBudget", "message": cause}])),
                    ));
                }
                let always = text(found, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
                if !ready && (always || (healthy >= desired && desired > 0)) {
                    return Ok(Decision::Keep(found.clone()));
                }
                let allowed = number("/status/disruptionsAllowed");
                if allowed <= 0 {
                    let cause = format!("The disruption budget {budget} needs {desired} healthy pods and has {healthy} currently");
                    return Err(ApiError::too_many_requests(
                        "Cannot evict pod as it would violate the pod's disruption budget.",
                        0,
                        Some(json!([{"reason": "DisruptionBudget", "message": cause}])),
                    ));
                }
                let mut after = found.clone();
                if let Some(status) = after.get_mut("status").and_then(Value::as_object_mut) {
                    status.insert("disruptionsAllowed".into(), json!(allowed - 1));
                    let disrupted = status.entry("disruptedPods").or_insert_with(|| json!({}));
                    if let Some(disrupted) = disrupted.as_object_mut() {
                        disrupted.insert(pod_name.to_owned(), json!(now));
                    }
                }
                Ok(Self::put(dry, after))
            })
            .map(|_| ())
    }
}

/// A `LabelSelector` object on an object's labels. In policy/v1 an empty selector selects everything, a missing one nothing.
pub fn selects(selector: Option<&Value>, object: &Value) -> bool {
    let Some(selector) = selector.filter(|selector| !selector.is_null()) else {
        return false;
    };
    let label = |key: &str| object.get("metadata")?.get("labels")?.get(key)?.as_str();
    let equal = selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .is_none_or(|wanted| {
            wanted
                .iter()
                .all(|(key, value)| label(key) == value.as_str())
        });
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    equal
        && expressions.into_iter().flatten().all(|expression| {
            let found = label(text(expression, "/key"));
            let listed = expression
                .get("values")
                .and_then(Value::as_array)
                .is_some_and(|values| {
                    values
                        .iter()
                        .any(|value| found.is_some() && value.as_str() == found)
                });
            match text(expression, "/operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}
