//! The events of the audit stream.
//!
//! `schema` is the version of the shape. A reader takes events of its own and of older versions;
//! members it doesn't know are ignored, so that additions need no new version.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::check::{PolicyReply, Stamp};
use crate::domain::{
    ActionTaken, CheckRequest, Decision, Identity, Severity, Verdict, Violation, ViolationType,
};

/// The version of the events' shape that this program writes.
pub const EVENT_SCHEMA: u32 = 1;

/// One decision, on `policy.decision.<allow|deny>.<action>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionEvent {
    /// Version of this shape.
    pub schema: u32,
    /// UUIDv7 of the decision; also the message id that deduplicates it.
    pub id: Uuid,
    /// The worker's clock when the check was taken.
    pub timestamp: DateTime<Utc>,
    /// Name of the worker.
    pub worker: String,
    /// Which run of the worker, and the event's number in it.
    #[serde(flatten)]
    pub number: Number,
    /// `allow` or `deny`.
    #[schemars(with = "String")]
    pub decision: Verdict,
    /// What the agent was about to do.
    pub action: String,
    /// What it was about to do it to, as one line of text.
    pub resource: String,
    /// Who asked, and in which run.
    #[serde(flatten)]
    pub who: Who,
    /// The input that the policies saw.
    pub input: Map<String, Value>,
    /// Name of the policy that decided; empty if none applied.
    pub policy_name: String,
    /// Package of the policy that decided; empty if none applied.
    pub policy_package: String,
    /// Digest of the active policy set.
    pub policy_revision: String,
    /// What each policy said.
    pub policies: Vec<PolicyReply>,
    /// One line that says why.
    pub reason: String,
    /// Reasons of all policies that denied.
    pub deny_reasons: Vec<String>,
    /// Warnings of all policies.
    pub warnings: Vec<String>,
    /// Reasons for which drafts would have denied.
    pub would_deny: Vec<String>,
    /// Whether enforcement was on.
    pub enforced: bool,
    /// Whether a policy could not be evaluated.
    pub error: bool,
    /// What went wrong; empty where nothing did.
    pub error_message: String,
    /// Why the caller went on, or was refused, without an answer; empty for a check that was answered.
    /// The decision is then what the caller's client told it, evaluated afterwards.
    #[serde(default)]
    pub unchecked: String,
    /// Time of the evaluation, in microseconds.
    pub duration_us: u64,
}

/// The number of an event: each run of a worker counts its events (decisions and violations alike)
/// from one, so that what is missing can be named. Events of programs that didn't count have zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Number {
    /// UUIDv7 of the run, made when the worker started.
    pub worker_run: Uuid,
    /// The event's number in the run, from one.
    pub worker_sequence: u64,
}

/// Who asked, and in which run of what. Empty where the caller didn't say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Who {
    /// The one who asks: the agent, else the user.
    pub subject: String,
    /// The agent.
    pub agent: String,
    /// The person the agent works for.
    pub user: String,
    /// The session.
    pub session_id: String,
    /// The run.
    pub run_id: String,
    /// The step of the run.
    pub step_id: String,
    /// The project.
    pub project_id: String,
}

impl From<&Identity> for Who {
    fn from(identity: &Identity) -> Self {
        Self {
            subject: identity.subject().to_owned(),
            agent: identity.agent.clone(),
            user: identity.user.clone(),
            session_id: identity.session_id.clone(),
            run_id: identity.run_id.clone(),
            step_id: identity.step_id.clone(),
            project_id: identity.project_id.clone(),
        }
    }
}

impl DecisionEvent {
    /// The event of a decision.
    #[must_use]
    pub fn new(
        request: &CheckRequest,
        identity: &Identity,
        input: Map<String, Value>,
        decision: &Decision,
        stamp: &Stamp,
        worker: &str,
        number: Number,
    ) -> Self {
        Self {
            schema: EVENT_SCHEMA,
            id: stamp.id,
            timestamp: stamp.timestamp,
            worker: worker.to_owned(),
            number,
            decision: decision.verdict,
            action: request.action.clone(),
            resource: request.resource_text(),
            who: Who::from(identity),
            input,
            policy_name: decision.policy_name.clone(),
            policy_package: decision.policy_package.clone(),
            policy_revision: stamp.revision.clone(),
            policies: decision.policies.iter().map(PolicyReply::from).collect(),
            reason: decision.reason.clone(),
            deny_reasons: decision.deny_reasons.clone(),
            warnings: decision.warnings.clone(),
            would_deny: decision.would_deny.clone(),
            enforced: decision.enforced,
            error: decision.error,
            error_message: decision.error_message.clone(),
            unchecked: String::new(),
            duration_us: stamp.duration_us,
        }
    }
}

/// One violation, on `policy.violation.<severity>.<policy>`, with enough of its decision to act on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ViolationEvent {
    /// Version of this shape.
    pub schema: u32,
    /// UUIDv7 of the violation; also the message id that deduplicates it.
    pub id: Uuid,
    /// The decision it belongs to.
    pub decision_id: Uuid,
    /// The worker's clock when the check was taken.
    pub timestamp: DateTime<Utc>,
    /// Name of the worker.
    pub worker: String,
    /// Which run of the worker, and the event's number in it.
    #[serde(flatten)]
    pub number: Number,
    /// What kind of failure.
    pub violation_type: ViolationType,
    /// `info`, `warning` or `critical`.
    #[schemars(with = "String")]
    pub severity: Severity,
    /// The policy.
    pub policy_name: String,
    /// Its version.
    pub policy_version: u64,
    /// What was done about it.
    pub action_taken: ActionTaken,
    /// Why the policy denied, or what went wrong.
    pub reasons: Vec<String>,
    /// What was decided of the check as a whole.
    #[schemars(with = "String")]
    pub decision: Verdict,
    /// What the agent was about to do.
    pub action: String,
    /// What it was about to do it to, as one line of text.
    pub resource: String,
    /// Who asked, and in which run.
    #[serde(flatten)]
    pub who: Who,
}

impl ViolationEvent {
    /// The event of a violation of a decision.
    #[must_use]
    pub fn new(violation: &Violation, id: Uuid, number: Number, decision: &DecisionEvent) -> Self {
        Self {
            schema: EVENT_SCHEMA,
            id,
            decision_id: decision.id,
            timestamp: decision.timestamp,
            worker: decision.worker.clone(),
            number,
            violation_type: violation.kind,
            severity: violation.severity,
            policy_name: violation.policy_name.clone(),
            policy_version: violation.policy_version,
            action_taken: violation.action_taken,
            reasons: violation.reasons.clone(),
            decision: decision.decision,
            action: decision.action.clone(),
            resource: decision.resource.clone(),
            who: decision.who.clone(),
        }
    }
}
