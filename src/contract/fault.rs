//! What a caller is told when its request can't be taken.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Finding;

/// The code of a NATS service error (header `Nats-Service-Error-Code`), after HTTP's status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultCode {
    /// The request is malformed.
    BadRequest,
    /// The request is larger than the worker takes.
    TooLarge,
    /// What the request is about doesn't exist.
    NotFound,
    /// Somebody else changed it first, or it exists already.
    Conflict,
    /// The request can be read, and what it asks for is refused.
    Refused,
    /// The worker can't do it, through no fault of the request.
    Failed,
    /// The worker is busy or leaving; nothing was decided or recorded.
    Unavailable,
}

impl FaultCode {
    /// The number in the header.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::BadRequest | Self::TooLarge => 400,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Refused => 422,
            Self::Failed => 500,
            Self::Unavailable => 503,
        }
    }

    /// The text in the header `Nats-Service-Error`.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::BadRequest => "malformed request",
            Self::TooLarge => "request too large",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a request was not taken: which field, what is wrong, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFault {
    /// The kind of fault.
    pub code: FaultCode,
    /// Path of the field, such as `context.agent` or `checks[3].action`; empty for the whole body.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// What is wrong with a policy, by line.
    pub findings: Vec<Finding>,
    /// The version that the policy has by now, where the request named another.
    pub current_version: Option<u64>,
}

impl RequestFault {
    /// A fault of any kind.
    pub fn new(code: FaultCode, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            field: field.into(),
            message: message.into(),
            findings: Vec::new(),
            current_version: None,
        }
    }

    /// A malformed field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultCode::BadRequest, field, message)
    }

    /// A refusal because the worker can't take more now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(FaultCode::Unavailable, "", message)
    }

    /// The fault of one item of a batch: the field is seen from the batch.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.field = if self.field.is_empty() {
            prefix.to_owned()
        } else {
            format!("{prefix}.{}", self.field)
        };
        self
    }

    /// The fault with all its findings, in one line.
    #[must_use]
    pub fn in_full(&self) -> String {
        let findings: Vec<String> = self.findings.iter().map(ToString::to_string).collect();
        if findings.is_empty() { self.to_string() } else { findings.join("; ") }
    }

    /// The JSON body of the service error.
    #[must_use]
    pub fn body(&self) -> ServiceError {
        ServiceError {
            error: ServiceErrorDetail {
                code: self.code.number(),
                status: self.code.text().to_owned(),
                field: self.field.clone(),
                message: self.message.clone(),
                findings: self.findings.clone(),
                current_version: self.current_version,
            },
        }
    }
}

impl fmt::Display for RequestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

impl std::error::Error for RequestFault {}

/// Body of a service error; the headers `Nats-Service-Error` and `Nats-Service-Error-Code` say
/// the same to tools (NATS ADR-32).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceError {
    /// What went wrong.
    pub error: ServiceErrorDetail,
}

/// What went wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceErrorDetail {
    /// 400 for a request that can't be read, 404 for a policy that doesn't exist, 409 for one that
    /// somebody else has changed, 422 for one that is refused, 503 for a worker that can't take the
    /// request now.
    pub code: u16,
    /// The code in words.
    pub status: String,
    /// Path of the field; empty for the whole body.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// What is wrong with a policy, by line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// The version that the policy has by now, where the request named another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<u64>,
}
