//! A get, list or watch request in, its answer out: objects, pages with continue tokens, or a stream of events.

use super::request::{Query, Target};
use super::resources::Resource;
use super::selector::Selector;
use super::status::ApiError;
use super::store::{Change, Key, Store};
use super::table;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often a watch that allows bookmarks gets one. Real servers take about a minute; a lab's clients should not wait.
const BOOKMARK_EVERY: Duration = Duration::from_secs(5);
/// A watch without `timeoutSeconds` ends after this time, as real servers end theirs after 30 to 60 minutes.
const WATCH_AT_MOST: Duration = Duration::from_mins(30);

/// How the caller wants objects: whole, as table rows, or only their metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Object,
    /// With which objects inside the rows.
    Table(table::Include),
    Metadata,
}

impl Shape {
    /// From the `Accept` header and the `includeObject` parameter; protobuf is never spoken, so its offers are passed over.
    pub fn asked(accept: &str, query: &Query) -> Self {
        for offer in accept.split(',') {
            let offer = offer.trim();
            if !offer.starts_with("application/json") && !offer.starts_with("*/*") {
                continue;
            }
            if offer.contains("as=Table") {
                return Self::Table(table::Include::parse(query.get("includeObject")));
            }
            if offer.contains("as=PartialObjectMetadata") {
                return Self::Metadata;
            }
            return Self::Object;
        }
        Self::Object
    }
}

fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata")})
}

/// One object in the asked shape.
pub fn shaped(store: &Store, resource: &Resource, object: &Value, shape: Shape) -> Value {
    match shape {
        Shape::Object => object.clone(),
        Shape::Metadata => metadata_only(object),
        Shape::Table(include) => table::table(
            resource,
            &[object],
            include,
            store.timestamp(),
            &json!({}),
            true,
        ),
    }
}

pub fn get(store: &Store, target: &Target, name: &str, shape: Shape) -> Result<Value, ApiError> {
    let object = store
        .get(target.resource, &target.namespace, name)
        .ok_or_else(|| ApiError::not_found(target.resource, name))?;
    Ok(shaped(store, target.resource, &object, shape))
}

fn parse_version(text: &str) -> Result<Option<u64>, ApiError> {
    match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| ApiError::bad_request(format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"))),
    }
}

fn too_large(wanted: u64, have: u64) -> ApiError {
    let mut error = ApiError::internal("");
    error.code = http::StatusCode::GATEWAY_TIMEOUT;
    error.reason = "Timeout";
    error.message = format!("Timeout: Too large resource version: {wanted}, current: {have}");
    error.details = Some(json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1
    }));
    error
}

fn continue_token(version: u64, key: &Key) -> String {
    let text = json!({"v": "meta.k8s.io/v1", "rv": version, "start": [key.0, key.1]}).to_string();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn read_token(token: &str) -> Result<(u64, Key), ApiError> {
    let bad = || ApiError::bad_request("continue key is not valid: invalid token");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| bad())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let version = value.get("rv").and_then(Value::as_u64).ok_or_else(bad)?;
    let part = |at: usize| value.get("start")?.get(at)?.as_str().map(str::to_owned);
    Ok((
        version,
        (part(0).ok_or_else(bad)?, part(1).ok_or_else(bad)?),
    ))
}

/// A list, whole or one page of it.
pub fn list(
    store: &Store,
    target: &Target,
    query: &Query,
    shape: Shape,
) -> Result<Value, ApiError> {
    let resource = target.resource;
    let selector = Selector::parse(
        resource,
        query.get("labelSelector"),
        query.get("fieldSelector"),
    )?;
    let version = parse_version(query.get("resourceVersion"))?;
    let rule = query.get("resourceVersionMatch");
    let token = query.get("continue");
    let limit: usize = match query.get("limit") {
        "" => 0,
        text => text
            .parse()
            .map_err(|_| ApiError::bad_request(format!("limit: Invalid value: {text:?}")))?,
    };
    #[allow(clippy::match_same_arms, reason = "one arm a rule")]
    match rule {
        "" => {}
        "Exact" | "NotOlderThan" if version.is_none() => {
            return Err(ApiError::bad_request(
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        "Exact" if version == Some(0) => {
            return Err(ApiError::bad_request(
                "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
        "Exact" | "NotOlderThan" => {}
        other => {
            return Err(ApiError::bad_request(format!(
                "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
            )));
        }
    }
    let newest = store.version();
    if let Some(wanted) = version.filter(|wanted| *wanted > newest) {
        return Err(too_large(wanted, newest));
    }
    let (snapshot, after) = if token.is_empty() {
        // A limit with a version and no rule means exactly that version, as the documentation of resource versions says.
        let exact =
            rule == "Exact" || (rule.is_empty() && limit > 0 && version.is_some_and(|v| v > 0));
        match version {
            Some(version) if exact => (store.list_at(resource, &target.namespace, version)?, None),
            _ => (store.list(resource, &target.namespace), None),
        }
    } else {
        let (version, key) = read_token(token)?;
        let snapshot = store.list_at(resource, &target.namespace, version).map_err(|_| {
            ApiError::expired("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results.")
        })?;
        (snapshot, Some(key))
    };
    let mut selected: Vec<(Key, Arc<Value>)> = snapshot
        .objects
        .into_iter()
        .filter(|(key, object)| {
            after.as_ref().is_none_or(|after| key > after) && selector.matches(object)
        })
        .collect();
    let mut metadata = json!({"resourceVersion": snapshot.version.to_string()});
    if limit > 0 && selected.len() > limit {
        let remaining = selected.len() - limit;
        selected.truncate(limit);
        if let (Some(metadata), Some((key, _))) = (metadata.as_object_mut(), selected.last()) {
            metadata.insert(
                "continue".into(),
                continue_token(snapshot.version, key).into(),
            );
            if selector.is_empty() {
                metadata.insert("remainingItemCount".into(), remaining.into());
            }
        }
    }
    let objects: Vec<&Value> = selected.iter().map(|(_, object)| &**object).collect();
    Ok(match shape {
        Shape::Object => json!({
            "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
            "metadata": metadata, "items": objects,
        }),
        Shape::Metadata => json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "items": objects.iter().map(|object| metadata_only(object)).collect::<Vec<_>>(),
        }),
        Shape::Table(include) => table::table(
            resource,
            &objects,
            include,
            store.timestamp(),
            &metadata,
            true,
        ),
    })
}

/// What a watch sends for one change, if the selector lets anything through.
fn event(change: &Change, namespace: &str, selector: &Selector) -> Option<(&'static str, Value)> {
    if !namespace.is_empty() && change.key.0 != namespace {
        return None;
    }
    let had = change
        .before
        .as_deref()
        .filter(|object| selector.matches(object));
    let has = change
        .after
        .as_deref()
        .filter(|object| selector.matches(object));
    match (had, has) {
        (None, Some(object)) => Some(("ADDED", object.clone())),
        (Some(_), Some(object)) => Some(("MODIFIED", object.clone())),
        (Some(last), None) => {
            // The last state, but with the version of the removal: a client resumes from there.
            let mut last = last.clone();
            super::store::set_version(&mut last, change.version.to_string());
            Some(("DELETED", last))
        }
        (None, None) => None,
    }
}

struct Watch {
    store: Arc<Store>,
    resource: &'static Resource,
    namespace: String,
    selector: Selector,
    shape: Shape,
    bookmarks: bool,
    out: mpsc::Sender<Bytes>,
    first_row: bool,
    closing: CancellationToken,
}

impl Watch {
    async fn send(&mut self, kind: &str, object: Value) -> bool {
        let object = match self.shape {
            Shape::Table(include) if kind != "ERROR" && kind != "BOOKMARK" => {
                let definitions = std::mem::take(&mut self.first_row);
                let metadata =
                    json!({"resourceVersion": object.pointer("/metadata/resourceVersion")});
                table::table(
                    self.resource,
                    &[&object],
                    include,
                    self.store.timestamp(),
                    &metadata,
                    definitions,
                )
            }
            Shape::Metadata if kind != "ERROR" && kind != "BOOKMARK" => metadata_only(&object),
            _ => object,
        };
        let mut line = json!({"type": kind, "object": object}).to_string();
        line.push('\n');
        self.out.send(Bytes::from(line)).await.is_ok()
    }

    async fn bookmark(&mut self, version: u64, initial_end: bool) -> bool {
        let mut metadata =
            json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if let (true, Some(map)) = (initial_end, metadata.as_object_mut()) {
            map.insert(
                "annotations".into(),
                json!({"k8s.io/initial-events-end": "true"}),
            );
        }
        let object = match self.shape {
            Shape::Table(_) => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version.to_string()},
                "columnDefinitions": [], "rows": [],
            }),
            Shape::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Shape::Object => {
                json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata})
            }
        };
        self.send("BOOKMARK", object).await
    }

    /// Until the time is over, the client leaves, or the version followed is no longer kept.
    async fn run(mut self, mut cursor: u64, until: Instant) {
        let mut head = self.store.subscribe();
        let mut next_bookmark = Instant::now() + BOOKMARK_EVERY;
        let mut told = cursor;
        loop {
            head.borrow_and_update();
            let (changes, newest) = match self.store.changes_after(self.resource, cursor) {
                Ok(found) => found,
                Err(error) => {
                    self.send("ERROR", error.to_value()).await;
                    return;
                }
            };
            for change in &changes {
                if let Some((kind, object)) = event(change, &self.namespace, &self.selector) {
                    if !self.send(kind, object).await {
                        return;
                    }
                    told = change.version;
                }
            }
            cursor = newest;
            let out = self.out.clone();
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = out.closed() => return,
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep_until(next_bookmark), if self.bookmarks => {
                    if cursor > told {
                        if !self.bookmark(cursor, false).await { return; }
                        told = cursor;
                    }
                    next_bookmark = Instant::now() + BOOKMARK_EVERY;
                }
                changed = head.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// A watch's stream of JSON lines.
pub fn watch(
    store: &Arc<Store>,
    target: &Target,
    query: &Query,
    shape: Shape,
    closing: CancellationToken,
) -> Result<Response, ApiError> {
    let mut fields = query.get("fieldSelector").to_owned();
    if let Some(name) = &target.name {
        // The old form `GET .../name?watch=1` watches one object.
        fields = if fields.is_empty() {
            format!("metadata.name={name}")
        } else {
            format!("{fields},metadata.name={name}")
        };
    }
    let selector = Selector::parse(target.resource, query.get("labelSelector"), &fields)?;
    let version = parse_version(query.get("resourceVersion"))?;
    let initial = query.flag("sendInitialEvents");
    if initial && query.get("resourceVersionMatch") != "NotOlderThan" {
        return Err(ApiError::bad_request(
            "sendInitialEvents is forbidden for watch unless resourceVersionMatch=NotOlderThan is provided",
        ));
    }
    let newest = store.version();
    if let Some(wanted) = version.filter(|wanted| *wanted > newest) {
        return Err(too_large(wanted, newest));
    }
    let timeout = match query.get("timeoutSeconds") {
        "" | "0" => WATCH_AT_MOST,
        text => Duration::from_secs(text.parse().map_err(|_| {
            ApiError::bad_request(format!("timeoutSeconds: Invalid value: {text:?}"))
        })?),
    };
    let (out, receiver) = mpsc::channel(64);
    let mut watch = Watch {
        store: store.clone(),
        resource: target.resource,
        namespace: target.namespace.clone(),
        selector,
        shape,
        bookmarks: query.flag("allowWatchBookmarks"),
        out,
        first_row: true,
        closing,
    };
    let from = version.filter(|version| *version > 0 && !initial);
    tokio::spawn(async move {
        let cursor = if let Some(version) = from {
            version
        } else {
            // No version, or 0: the present objects first, as synthetic ADDED events.
            let snapshot = watch.store.list(watch.resource, &watch.namespace);
            for (_, object) in &snapshot.objects {
                if watch.selector.matches(object) && !watch.send("ADDED", (**object).clone()).await
                {
                    return;
                }
            }
            if initial && watch.bookmarks && !watch.bookmark(snapshot.version, true).await {
                return;
            }
            snapshot.version
        };
        watch.run(cursor, Instant::now() + timeout).await;
    });
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver
            .recv()
            .await
            .map(|line| (Ok::<_, std::convert::Infallible>(line), receiver))
    });
    let mut response = Body::from_stream(stream).into_response();
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}
