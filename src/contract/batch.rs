//! Many checks in one message.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{CheckReply, CheckRequestBody};
use super::fault::ServiceError;

/// Many checks in one message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BatchRequest {
    /// The checks, each answered on its own.
    pub checks: Vec<CheckRequestBody>,
}

/// The answers to a batch, in the order of its checks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BatchReply {
    /// A decision for each check, or why that one could not be read.
    pub decisions: Vec<BatchItem>,
}

/// The answer to one check of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum BatchItem {
    /// The decision.
    Decision(Box<CheckReply>),
    /// Why this check could not be read; the others are answered all the same.
    Fault(ServiceError),
}
