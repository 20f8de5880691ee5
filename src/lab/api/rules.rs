//! An object that somebody wants to store in, the object as a real API server would store it (or its refusal) out:
//! defaults on creation, what an update may not touch, generation, validation.

use super::request::Target;
use super::resources::Resource;
use super::selector::{label_key, label_value};
use super::status::ApiError;
use super::store::Store;
use serde_json::{Map, Value, json};

type Causes = Vec<(String, &'static str, String)>;

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// `object.metadata`, made when missing.
pub(super) fn metadata(object: &mut Value) -> Result<&mut Map<String, Value>, ApiError> {
    let bad = || ApiError::bad_request("the object provided is not a JSON object with `metadata`");
    let map = object.as_object_mut().ok_or_else(bad)?;
    let metadata = map.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    metadata.as_object_mut().ok_or_else(bad)
}

/// The body's kind, name and namespace must be those of the path.
pub(super) fn check_identity(target: &Target, object: &mut Value) -> Result<(), ApiError> {
    let resource = target.resource;
    let (api_version, kind) = (
        text(object, "/apiVersion").to_owned(),
        text(object, "/kind").to_owned(),
    );
    if kind.is_empty() {
        return Err(ApiError::bad_request(
            "Object 'Kind' is missing in the request body",
        ));
    }
    if api_version != resource.api_version() || kind != resource.kind {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({api_version}) and kind ({kind}) do not match the expected ({}, Kind={})",
            resource.api_version(),
            resource.kind
        )));
    }
    let namespace = target.namespace.clone();
    let metadata = metadata(object)?;
    if resource.namespaced {
        match metadata
            .get("namespace")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "" => {
                metadata.insert("namespace".into(), json!(namespace));
            }
            given if given == namespace => {}
            _ => {
                return Err(ApiError::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
        }
    } else {
        metadata.remove("namespace");
    }
    if let Some(name) = &target.name {
        match metadata
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "" => {
                metadata.insert("name".into(), json!(name));
            }
            given if given == name => {}
            given => {
                return Err(ApiError::bad_request(format!(
                    "the name of the object ({given}) does not match the name on the URL ({name})"
                )));
            }
        }
    }
    Ok(())
}

/// Five characters from the alphabet that `generateName` uses.
fn suffix(mut random: u64) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5)
        .map(|_| {
            let index = usize::try_from(random % ALPHABET.len() as u64).unwrap_or_default();
            random /= ALPHABET.len() as u64;
            char::from(ALPHABET[index])
        })
        .collect()
}

/// Server-side fields and defaults of a new object. The answer is its name.
pub(super) fn prepare_create(
    store: &Store,
    target: &Target,
    object: &mut Value,
) -> Result<String, ApiError> {
    let resource = target.resource;
    if !text(object, "/metadata/resourceVersion").is_empty() {
        return Err(ApiError::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let (uid, now, random) = (store.new_uid(), store.now(), store.random());
    let metadata = metadata(object)?;
    if metadata
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty()
    {
        let Some(prefix) = metadata
            .get("generateName")
            .and_then(Value::as_str)
            .filter(|p| !p.is_empty())
        else {
            return Err(ApiError::invalid(
                resource,
                "",
                &[(
                    "metadata.name".into(),
                    "FieldValueRequired",
                    "Required value: name or generateName is required".into(),
                )],
            ));
        };
        let name = format!("{prefix}{}", suffix(random));
        metadata.insert("name".into(), json!(name));
    }
    let name = metadata
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
        "generation",
    ] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), json!(uid));
    metadata.insert("creationTimestamp".into(), json!(now));
    if resource.generation {
        metadata.insert("generation".into(), json!(1));
    }
    if let Some(map) = object.as_object_mut() {
        // The kubelet registers a node with its status; all other kinds start without one.
        if resource.status_subresource && resource.kind != "Node" {
            map.remove("status");
        }
        defaults(resource, map, &name);
    }
    validate(resource, object, &name)?;
    Ok(name)
}

fn defaults(resource: &Resource, map: &mut Map<String, Value>, name: &str) {
    match resource.kind {
        "Namespace" => {
            map.insert("spec".into(), json!({"finalizers": ["kubernetes"]}));
            map.insert("status".into(), json!({"phase": "Active"}));
            if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
                let labels = metadata.entry("labels").or_insert_with(|| json!({}));
                if let Some(labels) = labels.as_object_mut() {
                    labels.insert("kubernetes.io/metadata.name".into(), json!(name));
                }
            }
        }
        "Pod" => {
            map.insert(
                "status".into(),
                json!({"phase": "Pending", "qosClass": "BestEffort"}),
            );
            if let Some(spec) = map.get_mut("spec").and_then(Value::as_object_mut) {
                for (field, value) in [
                    ("restartPolicy", json!("Always")),
                    ("terminationGracePeriodSeconds", json!(30)),
                    ("dnsPolicy", json!("ClusterFirst")),
                    ("securityContext", json!({})),
                    ("schedulerName", json!("default-scheduler")),
                    ("enableServiceLinks", json!(true)),
                    ("serviceAccountName", json!("default")),
                ] {
                    spec.entry(field).or_insert(value);
                }
            }
        }
        "Secret" => {
            map.entry("type").or_insert_with(|| json!("Opaque"));
            merge_string_data(map);
        }
        _ => {}
    }
}

/// `stringData` is write-only: it ends up in `data`, encoded.
pub(super) fn merge_string_data(map: &mut Map<String, Value>) {
    use base64::Engine as _;
    let Some(Value::Object(plain)) = map.remove("stringData") else {
        return;
    };
    let data = map.entry("data").or_insert_with(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        for (key, value) in plain {
            let bytes = value.as_str().unwrap_or_default();
            data.insert(
                key,
                json!(base64::engine::general_purpose::STANDARD.encode(bytes)),
            );
        }
    }
}

fn dns_subdomain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        })
}

/// What every write must satisfy.
pub(super) fn validate(resource: &Resource, object: &Value, name: &str) -> Result<(), ApiError> {
    let mut causes: Causes = Vec::new();
    if !dns_subdomain(name) {
        causes.push((
            "metadata.name".into(),
            "FieldValueInvalid",
            format!("Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"),
        ));
    }
    for (field, check_value) in [("labels", true), ("annotations", false)] {
        match object.get("metadata").and_then(|m| m.get(field)) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                for (key, value) in map {
                    let Some(value) = value.as_str() else {
                        return Err(ApiError::bad_request(format!(
                            "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal {} into Go struct field ObjectMeta.metadata.{field} of type string",
                            resource.kind,
                            resource.version,
                            resource.kind,
                            go_type(value)
                        )));
                    };
                    // Annotation keys are compared in lower case: real servers allow capitals in them.
                    let problem = label_key(key)
                        .err()
                        .or_else(|| check_value.then(|| label_value(value).err()).flatten());
                    if let Some(problem) = problem {
                        let problem = problem
                            .trim_start_matches("key: ")
                            .trim_start_matches("values[0][]: ")
                            .to_owned();
                        causes.push((format!("metadata.{field}"), "FieldValueInvalid", problem));
                    }
                }
            }
            Some(other) => {
                return Err(ApiError::bad_request(format!(
                    "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal {} into Go struct field ObjectMeta.metadata.{field} of type map[string]string",
                    resource.kind,
                    resource.version,
                    resource.kind,
                    go_type(other)
                )));
            }
        }
    }
    // All CRDs served here require `spec`, except MachineConfig's.
    if resource.custom && resource.kind != "MachineConfig" && object.get("spec").is_none() {
        causes.push(("spec".into(), "FieldValueRequired", "Required value".into()));
    }
    if resource.kind == "Pod"
        && object
            .pointer("/spec/containers")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty)
    {
        causes.push((
            "spec.containers".into(),
            "FieldValueRequired",
            "Required value".into(),
        ));
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(resource, name, &causes))
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What of `wanted` an update of `before` really stores. `subresource` empty means the object itself.
pub(super) fn prepare_update(
    target: &Target,
    before: &Value,
    mut wanted: Value,
) -> Result<Value, ApiError> {
    let resource = target.resource;
    let name = text(before, "/metadata/name").to_owned();
    let subresource = target.subresource.as_deref().unwrap_or_default();
    match text(&wanted, "/metadata/resourceVersion") {
        "" | "0" if resource.custom && subresource.is_empty() => {
            return Err(ApiError::invalid(
                resource,
                &name,
                &[(
                    "metadata.resourceVersion".into(),
                    "FieldValueInvalid",
                    "Invalid value: 0x0: must be specified for an update".into(),
                )],
            ));
        }
        "" | "0" => {}
        version if version == text(before, "/metadata/resourceVersion") => {}
        _ => return Err(ApiError::modified(resource, &name)),
    }
    let (old_uid, new_uid) = (
        text(before, "/metadata/uid"),
        text(&wanted, "/metadata/uid"),
    );
    if !new_uid.is_empty() && new_uid != old_uid {
        return Err(ApiError::conflict(
            resource,
            &name,
            &format!(
                "Precondition failed: UID in precondition: {new_uid}, UID in object meta: {old_uid}"
            ),
        ));
    }
    let old_metadata = before
        .get("metadata")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    if subresource == "status" {
        let status = wanted.get("status").cloned();
        let mut kept = before.clone();
        if !resource.custom {
            // Built-in kinds let the status subresource change labels and annotations too.
            if let (Some(theirs), Ok(ours)) = (
                wanted.get("metadata").and_then(Value::as_object),
                metadata(&mut kept),
            ) {
                for field in ["labels", "annotations"] {
                    match theirs.get(field) {
                        Some(value) => ours.insert(field.into(), value.clone()),
                        None => ours.remove(field),
                    };
                }
            }
        }
        if let (Some(fields), Ok(ours)) = (
            wanted.pointer("/metadata/managedFields").cloned(),
            metadata(&mut kept),
        ) {
            ours.insert("managedFields".into(), fields);
        }
        if let Some(map) = kept.as_object_mut() {
            match status {
                Some(status) => map.insert("status".into(), status),
                None => map.remove("status"),
            };
        }
        wanted = kept;
    } else if resource.status_subresource
        && let Some(map) = wanted.as_object_mut()
    {
        match before.get("status") {
            Some(status) => map.insert("status".into(), status.clone()),
            None => map.remove("status"),
        };
    }
    let ours = metadata(&mut wanted)?;
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
    ] {
        match old_metadata.get(field) {
            Some(value) => ours.insert(field.into(), value.clone()),
            None => ours.remove(field),
        };
    }
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        if ours
            .get(field)
            .is_some_and(|value| value.is_null() || value.as_array().is_some_and(Vec::is_empty))
        {
            ours.remove(field);
        }
    }
    if resource.kind == "Secret"
        && let Some(map) = wanted.as_object_mut()
    {
        merge_string_data(map);
    }
    if resource.generation && content_differs(resource, before, &wanted) {
        let generation = before
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        metadata(&mut wanted)?.insert("generation".into(), json!(generation + 1));
    }
    validate(resource, &wanted, &name)?;
    if resource.kind == "Pod" && subresource.is_empty() {
        check_pod_update(resource, before, &wanted, &name)?;
    }
    Ok(wanted)
}

/// Whether anything but metadata (and status, where it is a subresource) changed.
fn content_differs(resource: &Resource, before: &Value, after: &Value) -> bool {
    let content = |object: &Value| {
        let mut map = object.as_object().cloned().unwrap_or_default();
        map.remove("metadata");
        if resource.status_subresource {
            map.remove("status");
        }
        map
    };
    content(before) != content(after)
}

/// Most of a pod's spec is fixed once it exists (`ValidatePodUpdate`).
fn check_pod_update(
    resource: &Resource,
    before: &Value,
    after: &Value,
    name: &str,
) -> Result<(), ApiError> {
    let fixed = |object: &Value| {
        let mut spec = object
            .get("spec")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        for free in [
            "activeDeadlineSeconds",
            "terminationGracePeriodSeconds",
            "tolerations",
        ] {
            spec.remove(free);
        }
        for containers in ["containers", "initContainers"] {
            for container in spec
                .get_mut(containers)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if let Some(container) = container.as_object_mut() {
                    container.remove("image");
                }
            }
        }
        spec
    };
    if fixed(before) == fixed(after) {
        return Ok(());
    }
    let why = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    Err(ApiError::invalid(
        resource,
        name,
        &[("spec".into(), "FieldValueForbidden", why.into())],
    ))
}
