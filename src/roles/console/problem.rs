//! Errors as problem details (RFC 9457).

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::ask::Unmanaged;
use crate::domain::Finding;
use crate::store::StoreError;

/// What went wrong, for programs and for people.
#[derive(Debug)]
pub(super) struct Problem(Box<Details>);

/// What is told of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Details {
    /// Always `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong, and the way out.
    detail: String,
    /// Which member of the request is wrong; left out for the whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    /// What is wrong with a policy, by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding>,
    /// The version that the policy has by now, where the request named another.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<u64>,
}

impl Problem {
    /// A problem with a status and a way out.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            field: String::new(),
            findings: Vec::new(),
            current_version: None,
        }))
    }

    /// A request that can't be read.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The same with another status.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        status.canonical_reason().unwrap_or("Error").clone_into(&mut self.0.title);
        self.0.status = status.as_u16();
        self
    }
}

impl From<Unmanaged> for Problem {
    fn from(error: Unmanaged) -> Self {
        match error {
            Unmanaged::Unavailable(message) => Self::new(StatusCode::SERVICE_UNAVAILABLE, message),
            Unmanaged::Refused(detail) => {
                let status = StatusCode::from_u16(detail.code).unwrap_or(StatusCode::BAD_REQUEST);
                let mut problem = Self::new(status, detail.message);
                problem.0.field = detail.field;
                problem.0.findings = detail.findings;
                problem.0.current_version = detail.current_version;
                problem
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_transient() {
            return Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "the history in ClickHouse can't be asked now; policies can still be managed: \
                     {error}"
                ),
            );
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status(), kind, Json(self.0)).into_response()
    }
}
