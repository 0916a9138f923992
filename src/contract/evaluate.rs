//! Trying policies on an input, on `policy.evaluate`: nothing is enforced, counted or recorded.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check::PolicyReply;
use crate::domain::trace::{Change, FiredRule, InputRead, LineCoverage};
use crate::domain::{Finding, Verdict};

/// What to try, and on what.
///
/// With `rego` that text; with `policies` those, whatever their status and scope; with neither, the
/// policies that would apply to such a check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateRequest {
    /// Rego to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rego: Option<String>,
    /// Stored policies to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Choice>,
    /// As in a check; required unless `input` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// As in a check; required unless `input` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Value>,
    /// As in a check.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub context: Map<String, Value>,
    /// As in a check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// A whole input as policies see it, such as a recorded one, instead of a check's members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Map<String, Value>>,
    /// Settings for `rego`; laid over those of every policy that is tried.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// What policies read as `input.usage`; undefined where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Value>,
    /// What policies read as `input.timestamp`; the worker's clock where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<DateTime<Utc>>,
    /// Also say which rules fired, what they read, and what would have allowed it.
    pub explain: bool,
}

/// A stored policy, by name or in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Choice {
    /// Its newest version.
    Name(String),
    /// One version.
    Version(ChosenVersion),
}

/// One version of a stored policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChosenVersion {
    /// Name or id.
    pub policy: String,
    /// Which version; the newest where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// What it reads as `input.usage`, over the request's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Value>,
}

/// What the policies say, one by one and together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvaluateReply {
    /// Whether the operation could go on.
    pub allowed: bool,
    /// `allow` or `deny`.
    #[schemars(with = "String")]
    pub decision: Verdict,
    /// One line that says why.
    pub reason: String,
    /// Reasons of all policies that denied, sorted.
    pub deny_reasons: Vec<String>,
    /// Warnings of all policies, sorted.
    pub warnings: Vec<String>,
    /// Reasons for which drafts would have denied.
    pub would_deny: Vec<String>,
    /// What each policy said.
    pub policies: Vec<EvaluatedPolicy>,
    /// Digest of the set in force on the worker that answers.
    pub policy_revision: String,
    /// Whether a policy could not be evaluated.
    pub error: bool,
    /// What went wrong; left out where nothing did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_message: String,
    /// What the author of `rego` should look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// The input that all policies shared.
    pub input: Map<String, Value>,
    /// Time of the evaluation, in microseconds.
    pub duration_us: u64,
}

/// What one policy said, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvaluatedPolicy {
    /// What it said.
    #[serde(flatten)]
    pub said: PolicyReply,
    /// The settings that it read, with the defaults.
    pub parameters: Map<String, Value>,
    /// Time of its evaluation, in microseconds.
    pub duration_us: u64,
    /// The definitions whose bodies held, by line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<FiredRule>,
    /// What it read of the input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<InputRead>,
    /// The smallest change by which it would have allowed, where that can be computed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedy: Vec<Change>,
    /// What its author says of each reason it gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<Advice>,
    /// Lines it went through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<LineCoverage>,
}

/// What the author of a policy says of a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// The reason.
    pub reason: String,
    /// What it means and what to do.
    pub text: String,
}

/// What would have made a denying policy allow: what its author says, and what can be computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    /// The policy.
    pub policy: String,
    /// What its author says of the reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<Advice>,
    /// Changes by which it would have allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}
