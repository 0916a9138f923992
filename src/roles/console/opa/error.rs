//! Errors as OPA tells them: `{"code": …, "message": …, "errors": […]}`.
//!
//! Format: OPA's REST API, "Errors"; codes of its package `server/types`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error in OPA's shape.
#[derive(Debug)]
pub(in crate::roles::console) struct OpaError {
    status: StatusCode,
    code: &'static str,
    message: String,
    errors: Vec<Value>,
}

impl OpaError {
    pub(in crate::roles::console) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, code, message: message.into(), errors: Vec::new() }
    }

    /// An error that only has a status, such as what the server says of any request.
    pub(in crate::roles::console) fn of_status(
        status: StatusCode,
        message: impl Into<String>,
    ) -> Self {
        let code = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "unauthorized",
            StatusCode::NOT_FOUND => "resource_not_found",
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => "invalid_operation",
            StatusCode::TOO_MANY_REQUESTS => "too_many_requests",
            status if status.is_server_error() => "internal_error",
            _ => "invalid_parameter",
        };
        Self::new(status, code, message)
    }

    /// The request is wrong.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", message)
    }

    /// What OPA can and this server can't.
    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::of_status(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// A policy that doesn't exist.
    pub(super) fn no_policy(id: &str) -> Self {
        let message = format!("storage_not_found_error: policy id {id:?}");
        Self::new(StatusCode::NOT_FOUND, "resource_not_found", message)
    }

    /// With what is wrong, one by one.
    pub(super) fn with(mut self, errors: Vec<Value>) -> Self {
        self.errors = errors;
        self
    }
}

impl IntoResponse for OpaError {
    fn into_response(self) -> Response {
        let mut body = json!({"code": self.code, "message": self.message});
        if let (false, Value::Object(members)) = (self.errors.is_empty(), &mut body) {
            members.insert("errors".into(), Value::Array(self.errors));
        }
        (self.status, Json(body)).into_response()
    }
}
