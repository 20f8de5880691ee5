//! Objects in, the `Table` that `kubectl get` prints out, with the columns of the real printers.

use super::resources::{Column, Resource};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What of the object travels inside each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    /// From the `includeObject` query parameter; metadata is the default.
    pub fn parse(text: &str) -> Self {
        match text {
            "None" => Self::None,
            "Object" => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// Name, type, priority of a column and the text of its cell.
type Cell = (&'static str, &'static str, i32, Value);

/// A table of `objects`. `metadata` is the list's; `definitions` is left out in all but the first event of a watch.
pub fn table(
    resource: &Resource,
    objects: &[&Value],
    include: Include,
    now: Timestamp,
    metadata: &Value,
    definitions: bool,
) -> Value {
    let columns: Vec<Value> = row(resource, &Value::Null, now)
        .into_iter()
        .map(|(name, kind, priority, _)| {
            let format = if name == "Name" { "name" } else { "" };
            json!({"name": name, "type": kind, "format": format, "description": "", "priority": priority})
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<Value> = row(resource, object, now).into_iter().map(|(_, _, _, cell)| cell).collect();
            let inside = match include {
                Include::None => Value::Null,
                Include::Object => (*object).clone(),
                Include::Metadata => json!({
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata"),
                }),
            };
            json!({"cells": cells, "object": inside})
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": if definitions { columns } else { Vec::new() }, "rows": rows,
    })
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn count(object: &Value, pointer: &str) -> usize {
    object.pointer(pointer).map_or(0, |at| {
        at.as_object()
            .map_or_else(|| at.as_array().map_or(0, Vec::len), serde_json::Map::len)
    })
}

fn or_none(text: &str) -> Value {
    json!(if text.is_empty() { "<none>" } else { text })
}

#[allow(
    clippy::match_overlapping_arm,
    reason = "each arm is the rest below its end"
)]
/// `HumanDuration` of `k8s.io/apimachinery/pkg/util/duration`.
pub fn human_duration(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".into();
    }
    // A clock that is a moment behind.
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..120 => format!("{seconds}s"),
        ..600 => match seconds % 60 {
            0 => format!("{minutes}m"),
            rest => format!("{minutes}m{rest}s"),
        },
        ..10_800 => format!("{minutes}m"),
        ..28_800 => match minutes % 60 {
            0 => format!("{hours}h"),
            rest => format!("{hours}h{rest}m"),
        },
        ..172_800 => format!("{hours}h"),
        ..691_200 => match hours % 24 {
            0 => format!("{days}d"),
            rest => format!("{days}d{rest}h"),
        },
        ..63_072_000 => format!("{days}d"),
        ..252_288_000 => match days % 365 {
            0 => format!("{}y", days / 365),
            rest => format!("{}y{rest}d", days / 365),
        },
        _ => format!("{}y", days / 365),
    }
}

fn age(time: &str, now: Timestamp) -> Value {
    match time.parse::<Timestamp>() {
        Ok(time) => json!(human_duration(now.as_second() - time.as_second())),
        Err(_) => json!("<unknown>"),
    }
}

/// Whether a column holds the object's own age: those are shown as a duration, other dates of CRDs too.
fn custom_cell(object: &Value, column: &Column, now: Timestamp) -> Value {
    let Some(found) = json_path(object, column.path) else {
        return json!("");
    };
    match (column.kind, found) {
        ("date", Value::String(time)) => age(time, now),
        ("integer" | "number", Value::Number(number)) => json!(number),
        ("string", Value::String(text)) => json!(text),
        (_, other) => json!(other.to_string()),
    }
}

/// The first value at a CRD column's JSON path.
fn json_path<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut at = object;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(filter) = rest.strip_prefix("[?(@.") {
            let (inside, after) = filter.split_once(")]")?;
            let (key, wanted) = inside.split_once("==")?;
            let wanted = wanted.trim_matches('"');
            at = at
                .as_array()?
                .iter()
                .find(|item| item.get(key).and_then(Value::as_str) == Some(wanted))?;
            rest = after;
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let mut key = String::new();
        let mut taken = rest.len();
        let mut escaped = false;
        for (index, c) in rest.char_indices() {
            match c {
                '\\' if !escaped => escaped = true,
                '.' | '[' if !escaped => {
                    taken = index;
                    break;
                }
                _ => {
                    key.push(c);
                    escaped = false;
                }
            }
        }
        at = at.get(&key)?;
        rest = &rest[taken..];
    }
    Some(at)
}

fn row(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Cell> {
    let mut cells: Vec<Cell> = vec![("Name", "string", 0, json!(text(object, "/metadata/name")))];
    let age_cell = || {
        (
            "Age",
            "string",
            0,
            age(text(object, "/metadata/creationTimestamp"), now),
        )
    };
    match resource.kind {
        "Node" => node(object, &mut cells, age_cell()),
        "Pod" => pod(object, now, &mut cells, age_cell()),
        "Namespace" => cells.extend([
            ("Status", "string", 0, json!(text(object, "/status/phase"))),
            age_cell(),
        ]),
        "ConfigMap" => {
            let data = count(object, "/data") + count(object, "/binaryData");
            cells.extend([("Data", "string", 0, json!(data)), age_cell()]);
        }
        "Secret" => cells.extend([
            ("Type", "string", 0, json!(text(object, "/type"))),
            ("Data", "string", 0, json!(count(object, "/data"))),
            age_cell(),
        ]),
        "ServiceAccount" => cells.extend([
            ("Secrets", "string", 0, json!(count(object, "/secrets"))),
            age_cell(),
        ]),
        "PodDisruptionBudget" => {
            let bound = |pointer: &str| match object.pointer(pointer) {
                Some(Value::String(text)) => json!(text),
                Some(Value::Number(number)) => json!(number.to_string()),
                _ => json!("N/A"),
            };
            let allowed = object
                .pointer("/status/disruptionsAllowed")
                .and_then(Value::as_i64)
                .unwrap_or(0);
            cells.extend([
                ("Min Available", "string", 0, bound("/spec/minAvailable")),
                (
                    "Max Unavailable",
                    "string",
                    0,
                    bound("/spec/maxUnavailable"),
                ),
                ("Allowed Disruptions", "integer", 0, json!(allowed)),
                age_cell(),
            ]);
        }
        "Event" => event(object, now, &mut cells),
        _ => cells.extend(resource.columns.iter().map(|column| {
            (
                column.name,
                column.kind,
                column.priority,
                custom_cell(object, column, now),
            )
        })),
    }
    cells
}

fn event(object: &Value, now: Timestamp, cells: &mut Vec<Cell>) {
    let last = [
        text(object, "/lastTimestamp"),
        text(object, "/eventTime"),
        text(object, "/metadata/creationTimestamp"),
    ];
    let last = last
        .into_iter()
        .find(|time| !time.is_empty())
        .unwrap_or_default();
    let kind = text(object, "/involvedObject/kind").to_ascii_lowercase();
    let name = cells.pop();
    cells.extend([
        ("Last Seen", "string", 0, age(last, now)),
        ("Type", "string", 0, json!(text(object, "/type"))),
        ("Reason", "string", 0, json!(text(object, "/reason"))),
        (
            "Object",
            "string",
            0,
            json!(format!("{kind}/{}", text(object, "/involvedObject/name"))),
        ),
        (
            "Message",
            "string",
            0,
            json!(text(object, "/message").trim()),
        ),
    ]);
    cells.extend(name.map(|(title, kind, _, cell)| (title, kind, 1, cell)));
}

fn node(object: &Value, cells: &mut Vec<Cell>, age_cell: Cell) {
    let ready = items(object, "/status/conditions")
        .iter()
        .find(|c| text(c, "/type") == "Ready")
        .map(|c| text(c, "/status"));
    let mut status = match ready {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object.pointer("/spec/unschedulable") == Some(&json!(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let mut roles: Vec<&str> = object
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role).filter(|role| !role.is_empty()),
                None => (key == "kubernetes.io/role")
                    .then(|| value.as_str())
                    .flatten(),
            },
        )
        .collect();
    roles.sort_unstable();
    let address = |wanted: &str| {
        let found = items(object, "/status/addresses")
            .iter()
            .find(|a| text(a, "/type") == wanted);
        or_none(found.map_or("", |a| text(a, "/address")))
    };
    let info = |field: &str| match text(object, &format!("/status/nodeInfo/{field}")) {
        "" => json!("<unknown>"),
        found => json!(found),
    };
    cells.extend([
        ("Status", "string", 0, json!(status)),
        ("Roles", "string", 0, or_none(&roles.join(","))),
        age_cell,
        (
            "Version",
            "string",
            0,
            json!(text(object, "/status/nodeInfo/kubeletVersion")),
        ),
        ("Internal-IP", "string", 1, address("InternalIP")),
        ("External-IP", "string", 1, address("ExternalIP")),
        ("OS-Image", "string", 1, info("osImage")),
        ("Kernel-Version", "string", 1, info("kernelVersion")),
        (
            "Container-Runtime",
            "string",
            1,
            info("containerRuntimeVersion"),
        ),
    ]);
}

fn pod(object: &Value, now: Timestamp, cells: &mut Vec<Cell>, age_cell: Cell) {
    let statuses = items(object, "/status/containerStatuses");
    let ready = statuses
        .iter()
        .filter(|s| s.get("ready") == Some(&json!(true)))
        .count();
    let total = count(object, "/spec/containers");
    let restarts: i64 = statuses
        .iter()
        .filter_map(|s| s.get("restartCount")?.as_i64())
        .sum();
    let mut reason = match text(object, "/status/reason") {
        "" => text(object, "/status/phase").to_owned(),
        reason => reason.to_owned(),
    };
    for status in statuses {
        for state in ["waiting", "terminated"] {
            let why = text(status, &format!("/state/{state}/reason"));
            if !why.is_empty() {
                why.clone_into(&mut reason);
            }
        }
    }
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating".clone_into(&mut reason);
    }
    let gates = count(object, "/spec/readinessGates");
    let last_restart = statuses
        .iter()
        .map(|s| text(s, "/lastState/terminated/finishedAt"))
        .max()
        .unwrap_or_default();
    let restarts = match (restarts, age(last_restart, now)) {
        (1.., Value::String(ago)) if !last_restart.is_empty() => format!("{restarts} ({ago} ago)"),
        _ => restarts.to_string(),
    };
    cells.extend([
        ("Ready", "string", 0, json!(format!("{ready}/{total}"))),
        ("Status", "string", 0, json!(reason)),
        ("Restarts", "string", 0, json!(restarts)),
        age_cell,
        ("IP", "string", 1, or_none(text(object, "/status/podIP"))),
        ("Node", "string", 1, or_none(text(object, "/spec/nodeName"))),
        (
            "Nominated Node",
            "string",
            1,
            or_none(text(object, "/status/nominatedNodeName")),
        ),
        (
            "Readiness Gates",
            "string",
            1,
            or_none(&if gates == 0 {
                String::new()
            } else {
                format!("0/{gates}")
            }),
        ),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_kubectl() {
        for (seconds, wanted) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (5, "5s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (7200, "120m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (90_000, "25h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
            (-5, "<invalid>"),
        ] {
            assert_eq!(human_duration(seconds), wanted);
        }
    }

    #[test]
    fn crd_paths_reach_escaped_keys_and_conditions() {
        let object = json!({
            "metadata": {"annotations": {"a.b/c": "v"}},
            "status": {"conditions": [{"type": "Updating", "status": "False"}, {"type": "Updated", "status": "True"}]},
        });
        assert_eq!(
            json_path(&object, r".metadata.annotations.a\.b/c"),
            Some(&json!("v"))
        );
        assert_eq!(
            json_path(
                &object,
                r#".status.conditions[?(@.type=="Updated")].status"#
            ),
            Some(&json!("True"))
        );
        assert_eq!(json_path(&object, ".status.nothing.here"), None);
    }
}
