//! What went wrong in, the `Status` object that a real API server answers with out.

use super::resources::Resource;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

/// A refusal, ready to be sent. Texts follow `k8s.io/apimachinery/pkg/api/errors`.
#[derive(Debug, Clone)]
pub struct ApiError {
    pub code: StatusCode,
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Value>,
}

impl ApiError {
    fn about(
        code: StatusCode,
        reason: &'static str,
        resource: &Resource,
        name: &str,
        message: String,
    ) -> Self {
        let details = json!({"name": name, "group": resource.group, "kind": resource.plural});
        Self {
            code,
            reason,
            message,
            details: Some(details),
        }
    }

    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::about(StatusCode::NOT_FOUND, "NotFound", resource, name, message)
    }

    /// A path that nothing serves.
    pub fn no_such_path() -> Self {
        Self {
            code: StatusCode::NOT_FOUND,
            reason: "NotFound",
            message: "the server could not find the requested resource".into(),
            details: Some(json!({})),
        }
    }

    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::about(
            StatusCode::CONFLICT,
            "AlreadyExists",
            resource,
            name,
            message,
        )
    }

    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            resource.qualified()
        );
        Self::about(StatusCode::CONFLICT, "Conflict", resource, name, message)
    }

    /// Somebody else changed the object since the caller read it.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// `causes`: (field, cause's reason, message), as `field.ErrorList` renders them.
    pub fn invalid(resource: &Resource, name: &str, causes: &[(String, &str, String)]) -> Self {
        let texts: Vec<String> = causes
            .iter()
            .map(|(field, _, text)| format!("{field}: {text}"))
            .collect();
        let joined = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let kind = if resource.group.is_empty() {
            resource.kind.to_owned()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let message = format!("{kind} {name:?} is invalid: {joined}");
        let causes: Vec<Value> = causes
            .iter()
            .map(|(field, reason, text)| json!({"reason": reason, "message": text, "field": field}))
            .collect();
        Self {
            code: StatusCode::UNPROCESSABLE_ENTITY,
            reason: "Invalid",
            message,
            details: Some(
                json!({"name": name, "group": resource.group, "kind": resource.kind, "causes": causes}),
            ),
        }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self {
            code: StatusCode::BAD_REQUEST,
            reason: "BadRequest",
            message: message.into(),
            details: None,
        }
    }

    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", resource.qualified());
        Self::about(StatusCode::FORBIDDEN, "Forbidden", resource, name, message)
    }

    /// 410: the version asked for is no longer kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self {
            code: StatusCode::GONE,
            reason: "Expired",
            message: message.into(),
            details: None,
        }
    }

    pub fn method_not_allowed() -> Self {
        Self {
            code: StatusCode::METHOD_NOT_ALLOWED,
            reason: "MethodNotAllowed",
            message: "the server does not allow this method on the requested resource".into(),
            details: Some(json!({})),
        }
    }

    pub fn unsupported_media_type(supported: &[&str]) -> Self {
        Self {
            code: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            reason: "UnsupportedMediaType",
            message: format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                supported.join(", ")
            ),
            details: Some(json!({})),
        }
    }

    pub fn unauthorized() -> Self {
        Self {
            code: StatusCode::UNAUTHORIZED,
            reason: "Unauthorized",
            message: "Unauthorized".into(),
            details: None,
        }
    }

    /// 429 with a cause, as an eviction that a budget forbids, or an overloaded server.
    pub fn too_many_requests(
        message: impl Into<String>,
        retry_after: u32,
        causes: Option<Value>,
    ) -> Self {
        let mut details = json!({"retryAfterSeconds": retry_after});
        if let (Some(causes), Some(map)) = (causes, details.as_object_mut()) {
            map.insert("causes".into(), causes);
            if retry_after == 0 {
                map.remove("retryAfterSeconds");
            }
        }
        Self {
            code: StatusCode::TOO_MANY_REQUESTS,
            reason: "TooManyRequests",
            message: message.into(),
            details: Some(details),
        }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code: StatusCode::INTERNAL_SERVER_ERROR,
            reason: "InternalError",
            details: Some(json!({"causes": [{"message": message}]})),
            message: format!("Internal error occurred: {message}"),
        }
    }

    /// The `Status` object, also used as the body of a watch's ERROR event.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason,
        });
        if let Some(map) = status.as_object_mut() {
            if let Some(details) = &self.details {
                map.insert("details".into(), details.clone());
            }
            map.insert("code".into(), json!(self.code.as_u16()));
        }
        status
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.code, axum::Json(self.to_value())).into_response();
        let seconds = self
            .details
            .as_ref()
            .and_then(|d| d.get("retryAfterSeconds"))
            .and_then(Value::as_u64);
        if let Some(value) = seconds.and_then(|s| s.to_string().parse().ok()) {
            response
                .headers_mut()
                .insert(http::header::RETRY_AFTER, value);
        }
        response
    }
}
