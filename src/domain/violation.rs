//! A violation: one failed policy in one decision, for those who must act on it.

use serde::{Deserialize, Serialize};

use super::combine::POLICY_ERROR;
use super::decision::{Decision, Mode, Verdict};
use super::policy::{FailMode, Severity};

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ViolationType {
    /// A policy denied and the operation was refused.
    PolicyDenied,
    /// A policy in warn mode would have denied.
    PolicyWarned,
    /// A policy could not be evaluated.
    PolicyError,
    /// An allowed operation was refused because its decision could not be recorded in time.
    AuditUnavailable,
}

impl ViolationType {
    /// The word used in tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PolicyDenied => "policy_denied",
            Self::PolicyWarned => "policy_warned",
            Self::PolicyError => POLICY_ERROR,
            Self::AuditUnavailable => AUDIT_UNAVAILABLE,
        }
    }
}

/// What was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionTaken {
    /// Written down; the operation went on.
    Logged,
    /// The operation was refused.
    Blocked,
    /// Somebody was told.
    Alerted,
}

impl ActionTaken {
    /// The word used in tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logged => "logged",
            Self::Blocked => "blocked",
            Self::Alerted => "alerted",
        }
    }
}

/// One failed policy in one decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What kind of failure.
    pub kind: ViolationType,
    /// How much it matters.
    pub severity: Severity,
    /// The policy.
    pub policy_name: String,
    /// Its version.
    pub policy_version: u64,
    /// What was done.
    pub action_taken: ActionTaken,
    /// Why it denied, or what went wrong.
    pub reasons: Vec<String>,
}

/// The reason of a denial whose decision could not be recorded in time, and the name under which it
/// stands where policies do.
pub const AUDIT_UNAVAILABLE: &str = "audit_unavailable";

/// That an allowed operation was refused because its decision could not be recorded in time.
#[must_use]
pub fn audit_unavailable() -> Violation {
    Violation {
        kind: ViolationType::AuditUnavailable,
        severity: Severity::Critical,
        policy_name: AUDIT_UNAVAILABLE.to_owned(),
        policy_version: 0,
        action_taken: ActionTaken::Blocked,
        reasons: vec![AUDIT_UNAVAILABLE.to_owned()],
    }
}

/// The violations of a decision: one for every policy that denied, warned by denying, or failed.
/// Drafts give none: what they would have done is in the decision, not in anybody's alerts.
#[must_use]
pub fn violations_of(decision: &Decision) -> Vec<Violation> {
    decision
        .policies
        .iter()
        .filter(|policy| policy.mode != Mode::Shadow)
        .filter_map(|policy| {
            let enforcing = policy.mode == Mode::Enforce;
            let (kind, severity, blocks, reasons) = match (&policy.error, policy.verdict) {
                (Some(error), _) => (
                    ViolationType::PolicyError,
                    Severity::Critical,
                    enforcing && policy.fail_mode == FailMode::Closed,
                    vec![error.clone()],
                ),
                (None, Verdict::Deny) if enforcing => (
                    ViolationType::PolicyDenied,
                    policy.severity,
                    true,
                    policy.deny_reasons.clone(),
                ),
                (None, Verdict::Deny) => (
                    ViolationType::PolicyWarned,
                    policy.severity,
                    false,
                    policy.deny_reasons.clone(),
                ),
                (None, Verdict::Allow) => return None,
            };
            Some(Violation {
                kind,
                severity,
                policy_name: policy.name.clone(),
                policy_version: policy.version,
                action_taken: if blocks { ActionTaken::Blocked } else { ActionTaken::Logged },
                reasons,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::combine::combine;
    use super::super::decision::PolicyOutcome;
    use super::*;

    #[test]
    fn one_violation_for_each_failed_policy_and_none_for_drafts() {
        let outcome = |name: &str, mode, verdict| PolicyOutcome {
            name: name.into(),
            mode,
            verdict,
            deny_reasons: vec!["r".into()],
            ..PolicyOutcome::default()
        };
        let failed = PolicyOutcome {
            error: Some("too long".into()),
            ..outcome("f", Mode::Enforce, Verdict::Allow)
        };
        let decision = combine(
            vec![
                outcome("a", Mode::Enforce, Verdict::Deny),
                outcome("b", Mode::Warn, Verdict::Deny),
                outcome("c", Mode::Shadow, Verdict::Deny),
                outcome("d", Mode::Enforce, Verdict::Allow),
                failed,
            ],
            None,
        );
        let violations = violations_of(&decision);
        let seen: Vec<_> = violations
            .iter()
            .map(|v| (v.policy_name.as_str(), v.kind, v.action_taken, v.severity))
            .collect();
        assert_eq!(
            seen,
            [
                ("a", ViolationType::PolicyDenied, ActionTaken::Blocked, Severity::Warning),
                ("b", ViolationType::PolicyWarned, ActionTaken::Logged, Severity::Warning),
                ("f", ViolationType::PolicyError, ActionTaken::Logged, Severity::Critical),
            ]
        );
    }
}
