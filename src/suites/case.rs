//! One case: a check, and what a policy is expected to say of it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::contract::{RequestBounds, parse_check};
use crate::domain::{CheckRequest, Verdict, input};

/// A case, defaults laid under it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its name, unique in its suite.
    pub name: String,
    /// What it shows, for people.
    pub description: String,
    /// Line of the suite's file.
    pub line: usize,
    /// As in a check.
    pub action: String,
    /// As in a check.
    pub resource: Value,
    /// As in a check: an object, unless the case is raw.
    pub context: Value,
    /// The policy's settings: an object that fits its schema, unless the case is raw.
    pub parameters: Value,
    /// What the system knows of the caller; undefined where left out.
    pub usage: Option<Value>,
    /// The worker's clock, RFC 3339 unless the case is raw; the time of the run where left out.
    pub now: Option<Value>,
    /// Whether it is handed to the policy as it is written, also what no check and no admission
    /// would take.
    pub raw: bool,
    /// What the policy must say.
    pub expected: Expected,
}

/// What a policy must say. What is left out is not compared, except that an error fails a case
/// that doesn't expect one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Allow or deny.
    pub decision: Option<Verdict>,
    /// All reasons, in any order.
    pub deny_reasons: Option<BTreeSet<String>>,
    /// All warnings, in any order.
    pub warnings: Option<BTreeSet<String>>,
    /// Whether the evaluation fails, or a part of what it says then.
    pub error: Option<ExpectedError>,
}

/// What is expected of an error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "must be true, false, or a part of the error's text")]
pub enum ExpectedError {
    /// That there is one, or none.
    Any(bool),
    /// That its text contains this one.
    Text(String),
}

impl Expected {
    /// Whether nothing is expected: such a case could not fail.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Members that a suite gives to all of its cases.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Defaults {
    action: Option<String>,
    #[serde(deserialize_with = "given")]
    resource: Option<Value>,
    #[serde(deserialize_with = "given")]
    context: Option<Value>,
    #[serde(deserialize_with = "given")]
    parameters: Option<Value>,
    #[serde(deserialize_with = "given")]
    usage: Option<Value>,
    #[serde(deserialize_with = "given")]
    now: Option<Value>,
}

/// A case as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) name: String,
    #[serde(default)]
    description: String,
    action: Option<String>,
    #[serde(default, deserialize_with = "given")]
    resource: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    context: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    parameters: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    usage: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    now: Option<Value>,
    #[serde(default)]
    raw: bool,
    expected: Expected,
}

/// A `null` that is written is a value; only what is not written is none.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Written {
    /// Lays the defaults under it, and checks it as a worker and an admission would.
    pub(super) fn into_case(
        self,
        defaults: &Defaults,
        line: usize,
        bounds: &RequestBounds,
    ) -> Result<Case, String> {
        let empty = || Value::Object(Map::new());
        let missing = |member: &str| {
            format!(
                "`{member}` is missing: give it to the case, or to all under `defaults`, as in \
                 `action: llm_call` and `resource: {{model: gpt-4}}`"
            )
        };
        let case = Case {
            action: self
                .action
                .or_else(|| defaults.action.clone())
                .ok_or_else(|| missing("action"))?,
            resource: over(defaults.resource.as_ref(), self.resource)
                .ok_or_else(|| missing("resource"))?,
            context: over(defaults.context.as_ref(), self.context).unwrap_or_else(empty),
            parameters: over(defaults.parameters.as_ref(), self.parameters).unwrap_or_else(empty),
            usage: over(defaults.usage.as_ref(), self.usage),
            now: self.now.or_else(|| defaults.now.clone()),
            name: self.name,
            description: self.description,
            line,
            raw: self.raw,
            expected: self.expected,
        };
        if case.name.trim().is_empty() {
            return Err("`name` is empty: say in a few words what the case shows".to_owned());
        }
        if case.expected.is_empty() {
            return Err("`expected` is empty, so the case could not fail: expect a `decision`, \
                        `deny_reasons`, `warnings` or an `error`"
                .to_owned());
        }
        if !case.raw {
            case.check(bounds).map_err(|problem| {
                format!(
                    "{problem}; to hand the policy what no worker would, say `raw: true` in the \
                     case"
                )
            })?;
        }
        Ok(case)
    }
}

impl Case {
    /// What a worker would refuse of it.
    fn check(&self, bounds: &RequestBounds) -> Result<(), String> {
        self.request(bounds)?;
        if let Some(now) = &self.now
            && self.moment().is_none()
        {
            return Err(format!(
                "`now` must be a time in RFC 3339, such as \"2026-03-02T10:00:00Z\", not {now}"
            ));
        }
        for (member, value) in
            [("parameters", Some(&self.parameters)), ("usage", self.usage.as_ref())]
        {
            if value.is_some_and(|value| !value.is_object()) {
                return Err(format!("`{member}` must be an object, such as {{max_calls: 3}}"));
            }
        }
        Ok(())
    }

    /// The check that an agent would send.
    ///
    /// # Errors
    /// Which member a worker would refuse, and why.
    pub fn request(&self, bounds: &RequestBounds) -> Result<CheckRequest, String> {
        let body = json!({"action": self.action, "resource": self.resource,
            "context": self.context});
        parse_check(body.to_string().as_bytes(), bounds).map_err(|fault| fault.to_string())
    }

    /// `now`, where it is a time.
    #[must_use]
    pub fn moment(&self) -> Option<DateTime<Utc>> {
        let text = self.now.as_ref()?.as_str()?;
        DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
    }

    /// The input that the policy reads, built as a worker does; without `parameters`.
    #[must_use]
    pub fn input(&self, at: DateTime<Utc>) -> Map<String, Value> {
        let request = CheckRequest {
            action: self.action.clone(),
            resource: self.resource.clone(),
            context: self.context.as_object().cloned().unwrap_or_default(),
            ..CheckRequest::default()
        };
        let mut input = input::build(&request, at);
        input.insert("context".into(), self.context.clone());
        if let Some(now) = &self.now {
            input.insert("timestamp".into(), now.clone());
        }
        if let Some(usage) = &self.usage {
            input.insert("usage".into(), usage.clone());
        }
        input
    }
}

/// A value over its default: objects member by member, anything else whole.
fn over(default: Option<&Value>, given: Option<Value>) -> Option<Value> {
    match (default, given) {
        (Some(Value::Object(under)), Some(Value::Object(given))) => {
            let mut merged = under.clone();
            for (key, value) in given {
                let value = over(under.get(&key), Some(value));
                merged.insert(key, value.unwrap_or_default());
            }
            Some(Value::Object(merged))
        }
        (default, given) => given.or_else(|| default.cloned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_laid_over_defaults_member_by_member() {
        let default = json!({"agent": "a", "budget": {"remaining_usd": 1, "of": 2}, "tags": [1]});
        let given = json!({"budget": {"remaining_usd": null}, "tags": [2]});
        assert_eq!(
            over(Some(&default), Some(given)),
            Some(json!({"agent": "a", "budget": {"remaining_usd": null, "of": 2}, "tags": [2]}))
        );
        assert_eq!(over(Some(&default), Some(json!("text"))), Some(json!("text")));
        assert_eq!(over(Some(&default), None), Some(default));
    }
}
