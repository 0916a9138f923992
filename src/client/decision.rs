//! The answer to a check.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::Failure;
use crate::contract::PolicyReply;
use crate::contract::evaluate::Remedy;

/// Why a call was not checked. More may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// NATS is there and no worker is.
    NoResponders,
    /// No answer within [`super::Settings::timeout`].
    Timeout,
    /// There is no connection to NATS.
    Disconnected,
    /// The worker refused: [`Unchecked::code`] says more. 400 is a mistake of the caller.
    ServiceError,
    /// Too many calls in a row had no answer, so this one was not sent.
    CircuitOpen,
    /// The answer is no decision.
    InvalidReply,
    /// The request can't be made JSON, or is too large.
    Unserializable,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NoResponders,
        Self::Timeout,
        Self::Disconnected,
        Self::ServiceError,
        Self::CircuitOpen,
        Self::InvalidReply,
        Self::Unserializable,
    ];

    /// The word used in reports, tables and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoResponders => "no_responders",
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::ServiceError => "service_error",
            Self::CircuitOpen => "circuit_open",
            Self::InvalidReply => "invalid_reply",
            Self::Unserializable => "unserializable",
        }
    }
}

/// Why a decision is not a worker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// The kind of reason.
    pub cause: Cause,
    /// The reason in one line.
    pub message: String,
    /// The code of the service error, where the worker answered with one.
    pub code: Option<u16>,
    /// The member of the request that is wrong, where the worker named one.
    pub field: String,
}

/// The answer to a check: a worker's decision, or, with [`Self::unchecked`], what follows from the
/// fail mode.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Decision {
    /// UUIDv7 under which the audit has it, made by the worker; for an unchecked call made here.
    pub id: Uuid,
    /// Whether the operation may go on.
    pub allowed: bool,
    /// Why, in one line.
    pub reason: String,
    /// Reasons of all policies that denied.
    pub deny_reasons: Vec<String>,
    /// Warnings of all policies.
    pub warnings: Vec<String>,
    /// What each policy said, as far as this version can read it.
    pub policies: Vec<PolicyReply>,
    /// For a denial, what would have made each denying policy allow.
    pub remedy: Vec<Remedy>,
    /// Package of the policy that decided.
    pub policy_package: String,
    /// Digest of the policy set.
    pub policy_revision: String,
    /// False while enforcement is off or in shadow.
    pub enforced: bool,
    /// Whether a policy could not be evaluated, or the call was not checked at all.
    pub error: bool,
    /// What went wrong; empty where nothing did.
    pub error_message: String,
    /// Time of the evaluation on the worker.
    pub evaluation_time: Duration,
    /// Why this is no worker's decision; none for one that is.
    pub unchecked: Option<Unchecked>,
    /// The whole reply, with what this version doesn't know; empty for an unchecked call.
    pub reply: Map<String, Value>,
}

impl Decision {
    /// Reads a reply. Of a newer server, what isn't known is kept in `reply`; what makes it a
    /// decision must be there.
    pub(super) fn read(payload: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice(payload) {
            Ok(value) => Self::from_value(value),
            Err(error) => Err(format!("the reply isn't JSON: {error}")),
        }
    }

    pub(super) fn from_value(value: Value) -> Result<Self, String> {
        let Value::Object(reply) = value else {
            return Err("the reply is no object".to_owned());
        };
        let Some(allowed) = reply.get("allowed").and_then(Value::as_bool) else {
            return Err("the reply doesn't say `allowed`".to_owned());
        };
        let said = reply.get("decision").and_then(Value::as_str);
        if said.is_some_and(|said| said != if allowed { "allow" } else { "deny" }) {
            return Err("the reply contradicts itself: `allowed` and `decision` differ".to_owned());
        }
        let text =
            |key: &str| reply.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let Ok(id) = text("decision_id").parse() else {
            return Err("the reply has no `decision_id`".to_owned());
        };
        let flag = |key: &str| reply.get(key).and_then(Value::as_bool);
        let micros = reply.get("duration_us").and_then(Value::as_u64).unwrap_or_default();
        Ok(Self {
            id,
            allowed,
            reason: text("reason"),
            deny_reasons: readable(&reply, "deny_reasons"),
            warnings: readable(&reply, "warnings"),
            policies: readable(&reply, "policies"),
            remedy: readable(&reply, "remedy"),
            policy_package: text("policy_package"),
            policy_revision: text("policy_revision"),
            enforced: flag("enforced").unwrap_or(true),
            error: flag("error").unwrap_or(false),
            error_message: text("error_message"),
            evaluation_time: Duration::from_micros(micros),
            unchecked: None,
            reply,
        })
    }

    /// What an unchecked call gets.
    pub(super) fn not_checked(id: Uuid, allowed: bool, failure: Failure) -> Self {
        let reason = format!("not checked: {}", failure.message);
        Self {
            allowed,
            deny_reasons: if allowed { Vec::new() } else { vec![reason.clone()] },
            reason,
            error: true,
            error_message: failure.message.clone(),
            unchecked: Some(Unchecked {
                cause: failure.cause,
                message: failure.message,
                code: failure.code,
                field: failure.field,
            }),
            ..Self::empty(id)
        }
    }

    /// The answer while the client is told not to enforce.
    pub(super) fn disabled() -> Self {
        Self {
            allowed: true,
            reason: "Policy enforcement disabled".to_owned(),
            enforced: false,
            ..Self::empty(Uuid::now_v7())
        }
    }

    fn empty(id: Uuid) -> Self {
        Self {
            id,
            allowed: false,
            reason: String::new(),
            deny_reasons: Vec::new(),
            warnings: Vec::new(),
            policies: Vec::new(),
            remedy: Vec::new(),
            policy_package: String::new(),
            policy_revision: String::new(),
            enforced: true,
            error: false,
            error_message: String::new(),
            evaluation_time: Duration::ZERO,
            unchecked: None,
            reply: Map::new(),
        }
    }

    /// What would help, in words: the policies' advice, then the changes that would be allowed.
    #[must_use]
    pub fn advice(&self) -> Vec<&str> {
        let advice = self.remedy.iter().flat_map(|remedy| &remedy.advice).map(|one| &*one.text);
        let changes = self.remedy.iter().flat_map(|remedy| &remedy.changes).map(|one| &*one.text);
        advice.chain(changes).collect()
    }
}

/// The elements of a list that this version can read.
fn readable<T: DeserializeOwned>(reply: &Map<String, Value>, key: &str) -> Vec<T> {
    let elements = reply.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    elements.iter().filter_map(|element| T::deserialize(element).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ID: &str = "01a2048b-8bf2-7541-ade8-6f027b901b15";

    #[test]
    fn a_newer_server_is_understood_as_far_as_can_be() {
        let reply = json!({
            "decision_id": ID, "allowed": false, "decision": "deny", "reason": "no",
            "deny_reasons": ["no", {"structured": true}], "audit": "notarised", "quota": {"left": 3},
            "policies": [{"name": "new", "mode": "canary"}],
            "duration_us": 84,
        });
        let decision = Decision::from_value(reply).unwrap();
        assert!(!decision.allowed && decision.unchecked.is_none() && decision.enforced);
        assert_eq!(decision.deny_reasons, ["no"]);
        assert!(decision.policies.is_empty());
        assert_eq!(decision.reply["quota"]["left"], 3);
        assert_eq!(decision.reply["policies"][0]["mode"], "canary");
        assert_eq!(decision.evaluation_time, Duration::from_micros(84));
    }

    #[test]
    fn what_is_no_decision_is_refused() {
        for reply in [
            json!([]),
            json!({}),
            json!({"allowed": "yes", "decision_id": ID}),
            json!({"allowed": true}),
            json!({"allowed": true, "decision_id": "7"}),
            json!({"allowed": true, "decision": "deny", "decision_id": ID}),
            json!({"allowed": false, "decision": "allow", "decision_id": ID}),
        ] {
            assert!(Decision::from_value(reply.clone()).is_err(), "{reply}");
        }
        assert!(Decision::read(b"").is_err());
        assert!(Decision::read("[".repeat(100_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Decision::read(&bytes);
        }
    }
}
