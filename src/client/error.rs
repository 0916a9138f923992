//! What can go wrong for a caller, and inside.

use crate::domain::Finding;

use super::decision::{Cause, Decision};

/// A setting that can't work, or a request beside checks (policies, trials) that has no answer.
/// Checks have no errors: see [`Decision::unchecked`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A setting has a value that can't work.
    #[error("setting {setting}: {reason}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answered.
    #[error("no answer ({}): {message}", cause.as_str())]
    Unanswered {
        /// The kind of reason.
        cause: Cause,
        /// The reason in one line.
        message: String,
    },
    /// The worker refused.
    #[error("refused with {code}: {message}")]
    Refused {
        /// The code, after HTTP's.
        code: u16,
        /// The member of the request that is wrong, where one is.
        field: String,
        /// What is wrong and what would be right.
        message: String,
        /// What is wrong with a policy, by line.
        findings: Vec<Finding>,
    },
    /// The answer can't be read.
    #[error("the answer can't be read: {0}")]
    InvalidReply(String),
}

impl ClientError {
    /// Whether trying again may help without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Setting { .. } | Self::InvalidReply(_) => false,
            Self::Unanswered { cause, .. } => !matches!(cause, Cause::Unserializable),
            Self::Refused { code, .. } => matches!(code, 429 | 503),
        }
    }

    pub(super) fn setting(setting: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Setting { setting, reason: reason.to_string() }
    }
}

/// The operation may not go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", said(action, decision))]
pub struct Denied {
    /// What was to be done.
    pub action: String,
    /// Why it may not be.
    pub decision: Box<Decision>,
}

impl Denied {
    /// Whether the same operation may be allowed later without a change: nobody was there to ask.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let unchecked = self.decision.unchecked.as_ref();
        unchecked.is_some_and(|unchecked| {
            unchecked.code != Some(400) && unchecked.cause != Cause::Unserializable
        })
    }
}

fn said(action: &str, decision: &Decision) -> String {
    let mut text = format!("{action} is denied");
    if !decision.policy_package.is_empty() {
        text = format!("{text} by {}", decision.policy_package);
    }
    if !decision.deny_reasons.is_empty() {
        text = format!("{text}: {}", decision.deny_reasons.join(", "));
    }
    let advice = decision.advice();
    if advice.is_empty() { text } else { format!("{text}. {}", advice.join(" ")) }
}

/// Why there is no answer that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) message: String,
    pub(super) code: Option<u16>,
    pub(super) field: String,
    pub(super) findings: Vec<Finding>,
}

impl Failure {
    pub(super) fn new(cause: Cause, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { cause, message, code: None, field: String::new(), findings: Vec::new() }
    }

    pub(super) fn invalid_reply(message: String) -> Self {
        Self::new(Cause::InvalidReply, message)
    }
}

impl From<Failure> for ClientError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure { cause: Cause::ServiceError, message, code, field, findings } => {
                Self::Refused { code: code.unwrap_or_default(), field, message, findings }
            }
            Failure { cause: Cause::InvalidReply, message, .. } => Self::InvalidReply(message),
            Failure { cause, message, .. } => Self::Unanswered { cause, message },
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_denial_says_who_and_why_and_whether_to_try_again() {
        let mut refused = Failure::new(Cause::ServiceError, "action: is required");
        refused.code = Some(400);
        for (failure, transient) in [
            (Failure::new(Cause::Timeout, "no answer within 1s"), true),
            (Failure::new(Cause::Unserializable, "too large"), false),
            (refused, false),
        ] {
            let message = failure.message.clone();
            assert_eq!(ClientError::from(failure.clone()).is_transient(), transient, "{failure:?}");
            let decision = Decision::not_checked(Uuid::now_v7(), false, failure);
            let denied = Denied { action: "act".to_owned(), decision: Box::new(decision) };
            assert_eq!(denied.to_string(), format!("act is denied: not checked: {message}"));
            assert_eq!(denied.is_transient(), transient, "{denied}");
        }
    }
}
