//! In: images pushed over HTTP. Out: the same images, by the OCI distribution specification. In memory, on loopback.

pub mod release;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

/// How a registry is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `None` lets the system choose a port on loopback.
    pub bind: Option<SocketAddr>,
    /// User and password that every request must carry.
    pub login: Option<(String, String)>,
}

#[derive(Default)]
struct Repository {
    manifests: HashMap<String, (String, Bytes)>,
    tags: HashMap<String, String>,
    blobs: HashMap<String, Bytes>,
}

#[derive(Default)]
struct Content {
    repositories: HashMap<String, Repository>,
    uploads: HashMap<u64, Vec<u8>>,
    next: u64,
}

struct Shared {
    content: Mutex<Content>,
    login: Option<String>,
}

/// A running registry; dropping it ends it.
pub struct Handle {
    address: SocketAddr,
    shared: Arc<Shared>,
    closing: CancellationToken,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Starts a registry.
pub async fn start(options: Options) -> std::io::Result<Handle> {
    let shared = Arc::new(Shared {
        content: Mutex::default(),
        login: options.login.map(|(user, password)| {
            let text =
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            format!("Basic {text}")
        }),
    });
    // Layers of an operating system are larger than any default limit.
    let router = Router::new()
        .fallback(answer)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(Arc::clone(&shared));
    let bind = options
        .bind
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = tokio::net::TcpListener::bind(bind).await?;
    let address = listener.local_addr()?;
    let closing = CancellationToken::new();
    let stop = closing.clone();
    tokio::spawn(async move {
        // An accept loop that fails has nobody to tell: clients see the refused connection.
        let _ = axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
    });
    Ok(Handle {
        address,
        shared,
        closing,
    })
}

impl Handle {
    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Stops answering. What was pushed is kept for those that hold the handle.
    pub fn shutdown(&self) {
        self.closing.cancel();
    }

    pub fn is_down(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// True when something was ever pushed there.
    pub fn has_repository(&self, repository: &str) -> bool {
        self.shared
            .with(|content| content.repositories.contains_key(repository))
    }

    /// True when a repository has this manifest: what a node asks before it pulls.
    pub fn has_manifest(&self, repository: &str, digest: &str) -> bool {
        self.shared.with(|content| {
            content
                .repositories
                .get(repository)
                .is_some_and(|known| known.manifests.contains_key(digest))
        })
    }

    /// A manifest as it was pushed.
    pub fn manifest(&self, repository: &str, digest: &str) -> Option<String> {
        self.shared.with(|content| {
            let (_, bytes) = content
                .repositories
                .get(repository)?
                .manifests
                .get(digest)?;
            String::from_utf8(bytes.to_vec()).ok()
        })
    }

    /// A label of an image.
    pub fn label(&self, repository: &str, digest: &str, label: &str) -> Option<String> {
        self.shared.with(|content| {
            let known = content.repositories.get(repository)?;
            let (_, manifest) = known.manifests.get(digest)?;
            let manifest: serde_json::Value = serde_json::from_slice(manifest).ok()?;
            let config = known.blobs.get(manifest["config"]["digest"].as_str()?)?;
            let config: serde_json::Value = serde_json::from_slice(config).ok()?;
            config["config"]["Labels"][label]
                .as_str()
                .map(ToOwned::to_owned)
        })
    }

    /// Puts a blob in; its digest.
    fn put_blob(&self, repository: &str, bytes: Vec<u8>) -> String {
        let digest = digest(&bytes);
        self.shared.with(|content| {
            let known = content
                .repositories
                .entry(repository.to_owned())
                .or_default();
            known.blobs.insert(digest.clone(), Bytes::from(bytes));
        });
        digest
    }

    /// Puts a manifest in, under a tag; its digest.
    fn put_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> String {
        let digest = digest(&bytes);
        self.shared.with(|content| {
            let known = content
                .repositories
                .entry(repository.to_owned())
                .or_default();
            known
                .manifests
                .insert(digest.clone(), (media_type.to_owned(), Bytes::from(bytes)));
            known.tags.insert(tag.to_owned(), digest.clone());
        });
        digest
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Content) -> T) -> T {
        match self.content.lock() {
            Ok(mut content) => work(&mut content),
            Err(poisoned) => work(&mut poisoned.into_inner()),
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (
        status,
        axum::Json(json!({"errors": [{"code": code, "message": message}]})),
    )
        .into_response()
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(login) = &shared.login
        && headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            != Some(login)
    {
        let mut refused = refuse(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "authentication required",
        );
        refused.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            header::HeaderValue::from_static("Basic realm=\"lab\""),
        );
        return refused;
    }
    let path = uri.path().trim_start_matches('/');
    let Some(rest) = path.strip_prefix("v2/") else {
        return if path == "v2" {
            StatusCode::OK.into_response()
        } else {
            StatusCode::NOT_FOUND.into_response()
        };
    };
    if rest.is_empty() {
        return StatusCode::OK.into_response();
    }
    if let Some((repository, upload)) = rest.split_once("/blobs/uploads/") {
        return shared
            .with(|content| self::upload(content, &method, repository, upload, &query, &body));
    }
    if let Some((repository, digest)) = rest.split_once("/blobs/") {
        return shared.with(|content| blob(content, &method, repository, digest));
    }
    if let Some((repository, reference)) = rest.split_once("/manifests/") {
        return shared
            .with(|content| manifest(content, &method, repository, reference, &headers, &body));
    }
    if let Some(repository) = rest.strip_suffix("/tags/list") {
        return shared.with(|content| match content.repositories.get(repository) {
            Some(known) => {
                let mut tags: Vec<&String> = known.tags.keys().collect();
                tags.sort();
                axum::Json(json!({"name": repository, "tags": tags})).into_response()
            }
            None => refuse(
                StatusCode::NOT_FOUND,
                "NAME_UNKNOWN",
                "repository name not known to registry",
            ),
        });
    }
    StatusCode::NOT_FOUND.into_response()
}

fn created(location: &str, digest: Option<&str>, status: StatusCode) -> Response {
    let mut response = status.into_response();
    let mut set = |name: &'static str, text: &str| {
        if let Ok(value) = header::HeaderValue::from_str(text) {
            response.headers_mut().insert(name, value);
        }
    };
    set("location", location);
    if let Some(digest) = digest {
        set("docker-content-digest", digest);
    }
    response
}

/// Uploads in one piece (`POST` or `PUT` with the digest) or in several (`PATCH`), and mounts.
fn upload(
    content: &mut Content,
    method: &Method,
    repository: &str,
    upload: &str,
    query: &HashMap<String, String>,
    body: &Bytes,
) -> Response {
    if *method == Method::POST {
        if let (Some(mount), Some(from)) = (query.get("mount"), query.get("from")) {
            let bytes = content
                .repositories
                .get(from)
                .and_then(|known| known.blobs.get(mount).cloned());
            if let Some(bytes) = bytes {
                content
                    .repositories
                    .entry(repository.to_owned())
                    .or_default()
                    .blobs
                    .insert(mount.clone(), bytes);
                return created(
                    &format!("/v2/{repository}/blobs/{mount}"),
                    Some(mount),
                    StatusCode::CREATED,
                );
            }
        }
        if let Some(wanted) = query.get("digest") {
            return finish(content, repository, wanted, body.to_vec());
        }
        content.next += 1;
        let id = content.next;
        content.uploads.insert(id, Vec::new());
        return created(
            &format!("/v2/{repository}/blobs/uploads/{id}"),
            None,
            StatusCode::ACCEPTED,
        );
    }
    let Some(id) = upload
        .parse::<u64>()
        .ok()
        .filter(|id| content.uploads.contains_key(id))
    else {
        return refuse(
            StatusCode::NOT_FOUND,
            "BLOB_UPLOAD_UNKNOWN",
            "blob upload unknown to registry",
        );
    };
    let Some(known) = content.uploads.get_mut(&id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    known.extend_from_slice(body);
    let length = known.len();
    match *method {
        Method::PATCH => {
            let mut response = created(
                &format!("/v2/{repository}/blobs/uploads/{id}"),
                None,
                StatusCode::ACCEPTED,
            );
            if let Ok(value) =
                header::HeaderValue::from_str(&format!("0-{}", length.saturating_sub(1)))
            {
                response.headers_mut().insert(header::RANGE, value);
            }
            response
        }
        Method::PUT => {
            let bytes = content.uploads.remove(&id).unwrap_or_default();
            match query.get("digest") {
                Some(wanted) => finish(content, repository, wanted, bytes),
                None => refuse(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "no digest"),
            }
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn finish(content: &mut Content, repository: &str, wanted: &str, bytes: Vec<u8>) -> Response {
    if digest(&bytes) != wanted {
        return refuse(
            StatusCode::BAD_REQUEST,
            "DIGEST_INVALID",
            "provided digest did not match uploaded content",
        );
    }
    content
        .repositories
        .entry(repository.to_owned())
        .or_default()
        .blobs
        .insert(wanted.to_owned(), Bytes::from(bytes));
    created(
        &format!("/v2/{repository}/blobs/{wanted}"),
        Some(wanted),
        StatusCode::CREATED,
    )
}

fn blob(content: &Content, method: &Method, repository: &str, digest: &str) -> Response {
    let Some(bytes) = content
        .repositories
        .get(repository)
        .and_then(|known| known.blobs.get(digest))
    else {
        return refuse(
            StatusCode::NOT_FOUND,
            "BLOB_UNKNOWN",
            "blob unknown to registry",
        );
    };
    serve(method, "application/octet-stream", digest, bytes)
}

fn serve(method: &Method, media_type: &str, digest: &str, bytes: &Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (
            header::HeaderName::from_static("docker-content-digest"),
            digest.to_owned(),
        ),
        (header::CONTENT_LENGTH, bytes.len().to_string()),
    ];
    match *method {
        Method::HEAD => (headers, ()).into_response(),
        Method::GET => (headers, bytes.clone()).into_response(),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn manifest(
    content: &mut Content,
    method: &Method,
    repository: &str,
    reference: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response {
    if *method == Method::PUT {
        let digest = digest(body);
        if reference.starts_with("sha256:") && reference != digest {
            return refuse(
                StatusCode::BAD_REQUEST,
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
            );
        }
        let parsed: serde_json::Value = match serde_json::from_slice(body) {
            Ok(parsed) => parsed,
            Err(_) => {
                return refuse(
                    StatusCode::BAD_REQUEST,
                    "MANIFEST_INVALID",
                    "manifest invalid",
                );
            }
        };
        let known = content
            .repositories
            .entry(repository.to_owned())
            .or_default();
        let blobs = parsed["layers"]
            .as_array()
            .into_iter()
            .flatten()
            .chain([&parsed["config"]]);
        let missing = blobs
            .filter_map(|blob| blob["digest"].as_str())
            .find(|digest| !known.blobs.contains_key(*digest));
        if missing.is_some() {
            return refuse(
                StatusCode::BAD_REQUEST,
                "MANIFEST_BLOB_UNKNOWN",
                "blob unknown to registry",
            );
        }
        let media_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("application/vnd.oci.image.manifest.v1+json");
        known
            .manifests
            .insert(digest.clone(), (media_type.to_owned(), body.clone()));
        if !reference.starts_with("sha256:") {
            known.tags.insert(reference.to_owned(), digest.clone());
        }
        return created(
            &format!("/v2/{repository}/manifests/{digest}"),
            Some(&digest),
            StatusCode::CREATED,
        );
    }
    let found = content.repositories.get(repository).and_then(|known| {
        let digest = known.tags.get(reference).map_or(reference, String::as_str);
        known
            .manifests
            .get(digest)
            .map(|(media_type, bytes)| (digest.to_owned(), media_type, bytes))
    });
    match found {
        Some((digest, media_type, bytes)) => serve(method, media_type, &digest, bytes),
        None => refuse(
            StatusCode::NOT_FOUND,
            "MANIFEST_UNKNOWN",
            "manifest unknown",
        ),
    }
}
