//! What was expected beside what was said.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::case::{Expected, ExpectedError};
use crate::domain::Verdict;

/// What a policy said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Said {
    /// Allow or deny; `allow` where it failed.
    pub decision: Verdict,
    /// Its reasons.
    pub deny_reasons: BTreeSet<String>,
    /// Its warnings.
    pub warnings: BTreeSet<String>,
    /// Why it could not be evaluated, if it couldn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Difference {
    /// Which: `decision`, `deny_reasons`, `warnings` or `error`.
    pub field: &'static str,
    /// What was expected.
    pub expected: Value,
    /// What was said.
    pub got: Value,
}

/// Everything in which a policy differs from what is expected of it.
#[must_use]
pub fn differences(expected: &Expected, said: &Said) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differs = |field, expected: Value, got: Value| {
        found.push(Difference { field, expected, got });
    };
    let error_as_expected = match (&expected.error, &said.error) {
        (None | Some(ExpectedError::Any(false)), None)
        | (Some(ExpectedError::Any(true)), Some(_)) => true,
        (Some(ExpectedError::Text(part)), Some(error)) => error.contains(part.as_str()),
        _ => false,
    };
    if !error_as_expected {
        let wanted = match &expected.error {
            None | Some(ExpectedError::Any(false)) => Value::Null,
            Some(ExpectedError::Any(true)) => Value::Bool(true),
            Some(ExpectedError::Text(text)) => text.clone().into(),
        };
        differs("error", wanted, said.error.clone().map_or(Value::Null, Value::String));
    }
    if let Some(decision) = expected.decision
        && decision != said.decision
    {
        differs("decision", json!(decision), json!(said.decision));
    }
    for (field, expected, said) in [
        ("deny_reasons", &expected.deny_reasons, &said.deny_reasons),
        ("warnings", &expected.warnings, &said.warnings),
    ] {
        if let Some(expected) = expected
            && expected != said
        {
            differs(field, json!(expected), json!(said));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_what_is_given_is_compared() {
        let said = Said {
            decision: Verdict::Deny,
            deny_reasons: set(&["b", "a"]),
            warnings: set(&["w"]),
            error: None,
        };
        let nothing = Expected::default();
        assert_eq!(differences(&nothing, &said), []);
        let same = Expected {
            decision: Some(Verdict::Deny),
            deny_reasons: Some(set(&["a", "b"])),
            warnings: Some(set(&["w"])),
            error: Some(ExpectedError::Any(false)),
        };
        assert_eq!(differences(&same, &said), []);
        let other = Expected {
            decision: Some(Verdict::Allow),
            deny_reasons: Some(set(&["a"])),
            warnings: Some(set(&[])),
            error: Some(ExpectedError::Any(true)),
        };
        let fields: Vec<&str> = differences(&other, &said).iter().map(|d| d.field).collect();
        assert_eq!(fields, ["error", "decision", "deny_reasons", "warnings"]);
    }

    #[test]
    fn an_error_fails_what_does_not_expect_it() {
        let said = Said { error: Some("`allow` must be true or false".into()), ..Said::default() };
        let expected = |error| Expected { error, ..Expected::default() };
        assert_eq!(differences(&expected(None), &said).len(), 1);
        assert_eq!(differences(&expected(Some(ExpectedError::Any(false))), &said).len(), 1);
        assert_eq!(differences(&expected(Some(ExpectedError::Any(true))), &said), []);
        let text = |text: &str| Some(ExpectedError::Text(text.into()));
        assert_eq!(differences(&expected(text("must be true")), &said), []);
        assert_eq!(differences(&expected(text("limit")), &said).len(), 1);
    }
}
