//! An HTTP request in, the cluster's answer out: the one place that knows which request goes to which part.

use super::exec::{self, ExecHandler};
use super::faults::{Fault, Faults};
use super::power::Power;
use super::request::{self, Query, Target};
use super::status::ApiError;
use super::store::Store;
use super::write::{PatchKind, Write, decode};
use super::{discovery, read};
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;

/// The real server's limit on request bodies.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// What the handlers of one cluster share.
pub(super) struct Server {
    pub(super) store: Arc<Store>,
    pub(super) exec: Option<Arc<dyn ExecHandler>>,
    pub(super) faults: Arc<dyn Faults>,
    pub(super) graceful_pods: bool,
    /// `gitVersion`.
    pub(super) version: String,
    pub(super) power: Arc<Power>,
}

/// Marks requests that came over the socket.
#[derive(Clone, Copy)]
pub(super) struct Outside;

/// What a load balancer says in front of a server that is away.
fn away() -> Response {
    let answer = ApiError {
        code: StatusCode::SERVICE_UNAVAILABLE,
        reason: "ServiceUnavailable",
        message: "the server is currently unable to handle the request".to_owned(),
        details: None,
    };
    ([(header::CONNECTION, "close")], answer.into_response()).into_response()
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Answers one request, faults first.
pub(super) async fn answer(server: Arc<Server>, request: Request<Body>) -> Response {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let mut info = request::info(request.method(), request.uri().path(), &query);
    info.outside = request.extensions().get::<Outside>().is_some();
    if info.outside && server.power.is_down() {
        return away();
    }
    let late = match server.faults.before(&info) {
        Some(Fault::Error(error)) => return error.into_response(),
        Some(Fault::Hang) => {
            server.power.era().cancelled().await;
            return ApiError::internal("the server is shutting down").into_response();
        }
        Some(Fault::Restart(lasts)) => {
            server.power.restart(lasts);
            return away();
        }
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            None
        }
        Some(Fault::ErrorAfter(error)) => Some(error),
        None => None,
    };
    let response = route(&server, request, &query)
        .await
        .unwrap_or_else(IntoResponse::into_response);
    late.map_or(response, IntoResponse::into_response)
}

async fn route(
    server: &Server,
    request: Request<Body>,
    query: &Query,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let accept = header_text(&parts.headers, header::ACCEPT).to_owned();
    if matches!(path.as_str(), "/healthz" | "/livez" | "/readyz") {
        return Ok("ok".into_response());
    }
    if let Some((document, content_type)) = discovery::document(&path, &accept, &server.version) {
        if parts.method != Method::GET {
            return Err(ApiError::method_not_allowed());
        }
        return Ok(([(header::CONTENT_TYPE, content_type)], document.to_string()).into_response());
    }
    if parts.method == Method::POST && path.starts_with("/apis/authorization.k8s.io/v1/") {
        return review(&path, &body_bytes(body).await?);
    }
    let target = request::target(&path).ok_or_else(ApiError::no_such_path)??;
    if target.subresource.as_deref() == Some("exec") {
        let name = target.name.clone().unwrap_or_default();
        if target.resource.kind != "Pod" {
            return Err(ApiError::no_such_path());
        }
        return exec::upgrade(
            &server.store,
            server.exec.clone(),
            &target,
            &name,
            query,
            &mut parts,
        )
        .await;
    }
    let body = body_bytes(body).await?;
    resource(server, &parts, &target, query, &accept, &body)
}

async fn body_bytes(body: Body) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, BODY_LIMIT)
        .await
        .map_err(|_| ApiError {
            code: StatusCode::PAYLOAD_TOO_LARGE,
            reason: "RequestEntityTooLarge",
            message: format!("Request entity too large: limit is {BODY_LIMIT}"),
            details: None,
        })
}

/// Every access review is allowed: the lab has one user, who may do everything.
fn review(path: &str, body: &[u8]) -> Result<Response, ApiError> {
    let kind = match path.rsplit('/').next().unwrap_or_default() {
        "selfsubjectaccessreviews" => "SelfSubjectAccessReview",
        "subjectaccessreviews" => "SubjectAccessReview",
        "localsubjectaccessreviews" => "LocalSubjectAccessReview",
        "selfsubjectrulesreviews" => "SelfSubjectRulesReview",
        _ => return Err(ApiError::no_such_path()),
    };
    let asked: Value = decode(body, "application/json")?;
    let status = if kind == "SelfSubjectRulesReview" {
        json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}], "incomplete": false,
        })
    } else {
        json!({"allowed": true})
    };
    let answer = json!({
        "kind": kind, "apiVersion": "authorization.k8s.io/v1", "metadata": {"creationTimestamp": null},
        "spec": asked.get("spec"), "status": status,
    });
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

fn resource(
    server: &Server,
    parts: &http::request::Parts,
    target: &Target,
    query: &Query,
    accept: &str,
    body: &[u8],
) -> Result<Response, ApiError> {
    let store = &server.store;
    let content_type = header_text(&parts.headers, header::CONTENT_TYPE);
    let manager = match query.get("fieldManager") {
        "" => {
            let agent = header_text(&parts.headers, header::USER_AGENT)
                .split('/')
                .next()
                .unwrap_or_default();
            if agent.is_empty() { "unknown" } else { agent }.to_owned()
        }
        given if given.len() > 128 => {
            return Err(ApiError::bad_request(
                "fieldManager: Too long: may not be more than 128 bytes",
            ));
        }
        given => given.to_owned(),
    };
    let write = Write {
        store,
        target,
        query,
        manager,
        graceful_pods: server.graceful_pods,
    };
    let shape = read::Shape::asked(accept, query);
    let shaped = |code: StatusCode, object: &Value| {
        // A Status stays a Status, whatever shape was asked for.
        let status = object.get("kind").and_then(Value::as_str) == Some("Status");
        let value = if status {
            object.clone()
        } else {
            read::shaped(store, target.resource, object, shape)
        };
        Ok((code, axum::Json(value)).into_response())
    };
    let options = || {
        if body.is_empty() {
            Ok(json!({}))
        } else {
            decode(body, content_type)
        }
    };
    let known = match target.subresource.as_deref() {
        None => true,
        Some("status") => target.resource.status_subresource,
        Some("eviction") => target.resource.kind == "Pod",
        Some(_) => false,
    };
    if !known {
        return Err(ApiError::no_such_path());
    }
    let eviction = target.subresource.as_deref() == Some("eviction");
    match (&parts.method, &target.name) {
        (&Method::POST, Some(name)) if eviction => shaped(
            StatusCode::CREATED,
            &write.evict(name, &decode(body, content_type)?)?,
        ),
        _ if eviction => Err(ApiError::method_not_allowed()),
        (&Method::GET, _) if query.flag("watch") => {
            read::watch(store, target, query, shape, server.power.era())
        }
        (&Method::GET, Some(name)) => {
            Ok(axum::Json(read::get(store, target, name, shape)?).into_response())
        }
        (&Method::GET, None) => {
            Ok(axum::Json(read::list(store, target, query, shape)?).into_response())
        }
        (&Method::POST, None) => {
            if target.resource.namespaced && target.namespace.is_empty() {
                return Err(ApiError::method_not_allowed());
            }
            shaped(
                StatusCode::CREATED,
                &write.create(decode(body, content_type)?)?,
            )
        }
        (&Method::PUT, Some(name)) => shaped(
            StatusCode::OK,
            &write.update(name, decode(body, content_type)?)?,
        ),
        (&Method::PATCH, Some(name)) => {
            let kind = PatchKind::from_content_type(content_type, target.resource)?;
            let patch = if kind == PatchKind::Apply {
                decode(body, "application/yaml")?
            } else {
                decode(body, "application/json")?
            };
            let (object, made) = write.patch(name, kind, &patch)?;
            shaped(
                if made {
                    StatusCode::CREATED
                } else {
                    StatusCode::OK
                },
                &object,
            )
        }
        (&Method::DELETE, Some(name)) if target.subresource.is_none() => {
            shaped(StatusCode::OK, &write.delete(name, &options()?)?)
        }
        (&Method::DELETE, None) => {
            Ok(axum::Json(write.delete_collection(&options()?)?).into_response())
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}
