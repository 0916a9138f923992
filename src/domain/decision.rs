//! What the policies say of a check, one by one and together.

use serde::{Deserialize, Serialize};

use super::policy::{FailMode, Severity};
use super::usage::UsageSeen;

/// Allow or deny.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The operation may go on.
    #[default]
    Allow,
    /// The operation must not happen.
    Deny,
}

impl Verdict {
    /// The word used in subjects, tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// How a policy took part in one decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Its denial denies.
    #[default]
    Enforce,
    /// Its denial warns.
    Warn,
    /// Its denial is recorded and changes nothing.
    Shadow,
}

/// What one policy said of one check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyOutcome {
    /// Name of the policy.
    pub name: String,
    /// Its package.
    pub package: String,
    /// Its version.
    pub version: u64,
    /// For whom it applies, as text.
    pub scope: String,
    /// How it took part.
    pub mode: Mode,
    /// How much its violations matter.
    pub severity: Severity,
    /// What its failure means.
    pub fail_mode: FailMode,
    /// What it decided; `Allow` where it failed.
    pub verdict: Verdict,
    /// Why it denied, sorted and unique.
    pub deny_reasons: Vec<String>,
    /// What it warned of, sorted and unique.
    pub warnings: Vec<String>,
    /// Why it could not be evaluated.
    pub error: Option<String>,
    /// What it was told of the caller's usage, where it asks for that.
    pub usage: Option<UsageSeen>,
}

/// Whether the event of a decision is durable.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AuditState {
    /// The stream acknowledged it before the reply.
    #[default]
    Recorded,
    /// Kept by the worker, which sends it until the stream acknowledges it.
    Pending,
    /// Nothing is recorded.
    Off,
}

/// The combined decision of all policies that applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Allow or deny.
    pub verdict: Verdict,
    /// One line that says why.
    pub reason: String,
    /// Reasons of all that denied, sorted and unique.
    pub deny_reasons: Vec<String>,
    /// Warnings of all, sorted and unique; denials of policies in warn mode among them.
    pub warnings: Vec<String>,
    /// Reasons for which drafts would have denied, sorted and unique.
    pub would_deny: Vec<String>,
    /// Every policy's outcome, by name.
    pub policies: Vec<PolicyOutcome>,
    /// Name of the policy that decided; empty if none applied.
    pub policy_name: String,
    /// Package of the policy that decided; empty if none applied.
    pub policy_package: String,
    /// Whether enforcement was on.
    pub enforced: bool,
    /// Whether any policy that matters could not be evaluated.
    pub error: bool,
    /// What went wrong, if anything.
    pub error_message: String,
}
