//! Every NATS subject of the product is built and read here.

use sha2::{Digest, Sha256};

use super::admin::Verb;
use crate::domain::{Severity, Verdict};

/// Bytes of the longest token; longer texts are shortened and told apart by a digest.
const MAX_TOKEN: usize = 128;

/// Builds and reads the product's NATS subjects under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    prefix: String,
}

impl Subjects {
    /// Subjects under a prefix, `policy` by default.
    #[must_use]
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// One check.
    #[must_use]
    pub fn check(&self) -> String {
        self.under("check")
    }

    /// One check, with the agent's identity bound by the permission to publish there; `*` for any.
    #[must_use]
    pub fn check_of(&self, agent: Option<&str>) -> String {
        format!("{}.{}", self.check(), agent.map_or_else(|| "*".to_owned(), token))
    }

    /// Many checks.
    #[must_use]
    pub fn check_batch(&self) -> String {
        self.under("check_batch")
    }

    /// Many checks, with the agent's identity bound; `*` for any.
    #[must_use]
    pub fn check_batch_of(&self, agent: Option<&str>) -> String {
        format!("{}.{}", self.check_batch(), agent.map_or_else(|| "*".to_owned(), token))
    }

    /// The event of one decision.
    #[must_use]
    pub fn decision(&self, verdict: Verdict, action: &str) -> String {
        format!("{}.{}.{}", self.under("decision"), verdict.as_str(), token(action))
    }

    /// Every decision.
    #[must_use]
    pub fn decisions(&self) -> String {
        self.under("decision.>")
    }

    /// The event of one violation.
    #[must_use]
    pub fn violation(&self, severity: Severity, policy: &str) -> String {
        format!("{}.{}.{}", self.under("violation"), severity.as_str(), token(policy))
    }

    /// Every violation.
    #[must_use]
    pub fn violations(&self) -> String {
        self.under("violation.>")
    }

    /// What the audit stream holds.
    #[must_use]
    pub fn audit(&self) -> Vec<String> {
        vec![
            self.decisions(),
            self.violations(),
            self.unchecked(),
            self.outcome(),
            self.notification(),
            self.checkpoint(),
        ]
    }

    /// Whether the audit stream takes messages on a NATS subject.
    #[must_use]
    pub fn is_audit(&self, subject: &str) -> bool {
        self.audit().iter().any(|ours| match ours.strip_suffix('>') {
            Some(beginning) => subject.len() > beginning.len() && subject.starts_with(beginning),
            None => subject == ours,
        })
    }

    /// A call that went on, or was refused, without an answer of a worker.
    #[must_use]
    pub fn unchecked(&self) -> String {
        self.under("unchecked")
    }

    /// How a guarded call ended.
    #[must_use]
    pub fn outcome(&self) -> String {
        self.under("outcome")
    }

    /// Who was told of a violation.
    #[must_use]
    pub fn notification(&self) -> String {
        self.under("notification")
    }

    /// How far a worker has numbered its events.
    #[must_use]
    pub fn checkpoint(&self) -> String {
        self.under("checkpoint")
    }

    /// A dead letter of a table.
    #[must_use]
    pub fn dead_letter(&self, table: &str) -> String {
        format!("{}.{}", self.under("deadletter"), token(table))
    }

    /// Every dead letter.
    #[must_use]
    pub fn dead_letters(&self) -> String {
        self.under("deadletter.>")
    }

    /// Trying policies on an input.
    #[must_use]
    pub fn evaluate(&self) -> String {
        self.under("evaluate")
    }

    /// Management of policies.
    #[must_use]
    pub fn admin(&self, verb: Verb) -> String {
        format!("{}.{}", self.under("admin"), verb.as_str())
    }

    /// Every verb of management, also those that don't exist.
    #[must_use]
    pub fn admins(&self) -> String {
        self.under("admin.*")
    }

    /// What workers tell each other of the calls they have seen.
    #[must_use]
    pub fn usage(&self) -> String {
        self.under("usage")
    }

    /// What one run of `sluicegate bench` has to itself: its echo's NATS subject, and the prefix of
    /// its events.
    #[must_use]
    pub fn bench(&self, run: &str) -> String {
        format!("{}.{}", self.under("bench"), token(run))
    }

    /// The agent that a check's subject names, if it names one. A token that isn't the whole of a
    /// name, or that we didn't make, stands for itself: whoever asks there must not be able to
    /// choose another name in the body.
    #[must_use]
    pub fn agent_of(&self, subject: &str) -> Option<String> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix('.')?;
        match rest.split('.').collect::<Vec<_>>().as_slice() {
            ["check" | "check_batch", agent] => {
                Some(text(agent).unwrap_or_else(|| (*agent).to_owned()))
            }
            _ => None,
        }
    }

    fn under(&self, rest: &str) -> String {
        format!("{}.{rest}", self.prefix)
    }
}

/// Where a NATS micro service is asked something: all services, those of a name, one instance.
/// Format: NATS ADR-32.
#[must_use]
pub fn service_verb(verb: &str, name: &str, id: &str) -> [String; 3] {
    [format!("$SRV.{verb}"), format!("$SRV.{verb}.{name}"), format!("$SRV.{verb}.{name}.{id}")]
}

/// The stream of a key-value bucket.
#[must_use]
pub fn bucket_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// A key of a key-value bucket; `>` for all.
#[must_use]
pub fn bucket_key(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// The key that a NATS subject of a key-value bucket names, if it is one.
#[must_use]
pub fn key_of(subject: &str) -> Option<&str> {
    Some(subject.strip_prefix("$KV.")?.split_once('.')?.1)
}

/// Makes one token of a subject from any text. Letters, digits, `-` and `_` stay; any other byte
/// becomes `%XX`, so that different texts never share a token and [`text`] reads it back. A text
/// that would be too long keeps its beginning and ends in `%~` and a digest.
#[must_use]
pub fn token(text: &str) -> String {
    use std::fmt::Write as _;

    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            token.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(token, "%{byte:02X}");
        }
    }
    if token.is_empty() {
        token.push('%');
    }
    if token.len() > MAX_TOKEN {
        let digest = hex::encode(Sha256::digest(text.as_bytes()));
        token.truncate(MAX_TOKEN - 18);
        token.push_str("%~");
        token.extend(digest.chars().take(16));
    }
    token
}

/// Reads the text back from a token; a shortened one, or one we didn't make, has none.
#[must_use]
pub fn text(token: &str) -> Option<String> {
    if token == "%" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_subjects_of_the_contract() {
        let subjects = Subjects::new("policy");
        assert_eq!(subjects.check(), "policy.check");
        assert_eq!(subjects.check_of(None), "policy.check.*");
        assert_eq!(subjects.decision(Verdict::Deny, "llm_call"), "policy.decision.deny.llm_call");
        assert_eq!(
            subjects.violation(Severity::Critical, "cost_control"),
            "policy.violation.critical.cost_control"
        );
        assert_eq!(subjects.bench("0f3a"), "policy.bench.0f3a");
        assert_eq!(subjects.agent_of("policy.check.planner"), Some("planner".into()));
        assert_eq!(subjects.agent_of("policy.check_batch.a%2Eb"), Some("a.b".into()));
        assert_eq!(subjects.agent_of("policy.check.50%zz"), Some("50%zz".into()));
        assert_eq!(subjects.agent_of("policy.check"), None);
        assert_eq!(subjects.agent_of("policy.check.a.b"), None);
    }

    #[test]
    fn the_subjects_of_a_bucket() {
        assert_eq!(bucket_stream("policy_rules"), "KV_policy_rules");
        assert_eq!(bucket_key("policy_rules", ">"), "$KV.policy_rules.>");
        assert_eq!(key_of(&bucket_key("b", "cost")), Some("cost"));
        assert_eq!(key_of("$KV.b.a.b"), Some("a.b"));
        assert_eq!(key_of("policy.check"), None);
        assert_eq!(key_of("$KV.b"), None);
    }

    #[test]
    fn long_texts_are_shortened_and_still_differ() {
        let (a, b) = ("x".repeat(300), format!("{}y", "x".repeat(299)));
        assert!(token(&a).len() <= MAX_TOKEN);
        assert_ne!(token(&a), token(&b));
        assert_eq!(text(&token(&a)), None);
    }

    proptest! {
        /// Whatever the text: one token, no wildcard, and read back to the same text.
        #[test]
        fn any_text_makes_one_safe_token(original in any::<String>()) {
            let token = token(&original);
            prop_assert!(!token.is_empty() && token.len() <= MAX_TOKEN);
            prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_%~".contains(&b)));
            if !token.contains('~') {
                prop_assert_eq!(text(&token), Some(original));
            }
        }

        #[test]
        fn different_texts_make_different_tokens(a in any::<String>(), b in any::<String>()) {
            prop_assume!(a != b);
            prop_assert_ne!(token(&a), token(&b));
        }

        #[test]
        fn reading_any_token_does_not_panic(token in any::<String>()) {
            let _ = text(&token);
        }
    }
}
