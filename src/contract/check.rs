//! The reply to a check, and the request as a schema.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::evaluate::Remedy;
use crate::domain::usage::UsageSeen;
use crate::domain::{AuditState, Decision, Mode, PolicyOutcome, Verdict};

/// A check: the operation an agent is about to do. Requests are read by
/// [`super::parse_check`]; this type exists for its schema and for clients.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CheckRequestBody {
    /// What the agent is about to do, for example `llm_call`.
    #[schemars(length(min = 1, max = 256))]
    pub action: String,
    /// What it is about to do it to.
    pub resource: ResourceBody,
    /// Who asks, in which run, and whatever else policies may want to know.
    #[serde(default)]
    pub context: ContextBody,
    /// Package of a policy to add to those that apply, for example `cmbagent.cost_control`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Anything else: policies see it in their input.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A resource: an object, or a string.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ResourceBody {
    /// A name, a path, a URL.
    Text(String),
    /// Its properties.
    Object(Map<String, Value>),
}

/// The context of a check: the members that the system reads, and any others.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ContextBody {
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The person the agent works for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The step of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_id: Option<String>,
    /// The project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// Anything else, for example `estimated_cost_usd`, `budget`, `task_priority`.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What one policy said, in a reply and in an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyReply {
    /// Name of the policy.
    pub name: String,
    /// Its package.
    pub package: String,
    /// Its version.
    pub version: u64,
    /// For whom it applies: `global`, `session:<id>`, `project:<id>`, `user:<id>`.
    pub scope: String,
    /// `enforce`, `warn` or `shadow`.
    #[schemars(with = "String")]
    pub mode: Mode,
    /// `allow` or `deny`.
    #[schemars(with = "String")]
    pub decision: Verdict,
    /// Why it denied.
    pub deny_reasons: Vec<String>,
    /// What it warned of.
    pub warnings: Vec<String>,
    /// Why it could not be evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it was told of the caller's usage, where it asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageSeen>,
}

impl From<&PolicyOutcome> for PolicyReply {
    fn from(outcome: &PolicyOutcome) -> Self {
        Self {
            name: outcome.name.clone(),
            package: outcome.package.clone(),
            version: outcome.version,
            scope: outcome.scope.clone(),
            mode: outcome.mode,
            decision: outcome.verdict,
            deny_reasons: outcome.deny_reasons.clone(),
            warnings: outcome.warnings.clone(),
            error: outcome.error.clone(),
            usage: outcome.usage,
        }
    }
}

/// The reply to a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckReply {
    /// UUIDv7 of the decision: its key in the stream and in ClickHouse.
    pub decision_id: Uuid,
    /// Whether the operation may go on.
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
    /// What each policy said.
    pub policies: Vec<PolicyReply>,
    /// For a denial, what would have made each denying policy allow; left out where nothing is
    /// known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedy: Vec<Remedy>,
    /// Package of the policy that decided.
    pub policy_package: String,
    /// Digest of the active policy set.
    pub policy_revision: String,
    /// Whether enforcement is on.
    pub enforced: bool,
    /// Whether a policy could not be evaluated.
    pub error: bool,
    /// What went wrong; left out where nothing did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_message: String,
    /// Whether the event is durable: `recorded`, `pending`, `off`.
    pub audit: AuditState,
    /// Time of the evaluation, in microseconds.
    pub duration_us: u64,
    /// The worker's clock.
    pub timestamp: DateTime<Utc>,
    /// The other rules of the package that the check names; only where the request's header asks
    /// for them and there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<PackageDocument>,
}

/// The rules of a package beside `allow`, `deny_reasons` and `warnings`. They are not recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PackageDocument {
    /// Values of those that are defined, by name. Functions and tests are left out.
    #[serde(default)]
    pub rules: Map<String, Value>,
    /// Why there are none although there should be; left out where nothing went wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// What a reply holds beside the decision.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// UUIDv7 of the decision.
    pub id: Uuid,
    /// The worker's clock when the check was taken.
    pub timestamp: DateTime<Utc>,
    /// Digest of the active policy set.
    pub revision: String,
    /// Time of the evaluation, in microseconds.
    pub duration_us: u64,
}

impl CheckReply {
    /// The reply for a decision.
    #[must_use]
    pub fn new(decision: &Decision, stamp: &Stamp, audit: AuditState) -> Self {
        Self {
            decision_id: stamp.id,
            allowed: decision.verdict == Verdict::Allow,
            decision: decision.verdict,
            reason: decision.reason.clone(),
            deny_reasons: decision.deny_reasons.clone(),
            warnings: decision.warnings.clone(),
            policies: decision.policies.iter().map(PolicyReply::from).collect(),
            remedy: Vec::new(),
            policy_package: decision.policy_package.clone(),
            policy_revision: stamp.revision.clone(),
            enforced: decision.enforced,
            error: decision.error,
            error_message: decision.error_message.clone(),
            audit,
            duration_us: stamp.duration_us,
            timestamp: stamp.timestamp,
            document: None,
        }
    }
}
