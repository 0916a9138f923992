//! Reading what a policy's rules gave: `allow` a boolean, reasons and warnings a set, an array, or
//! an object whose keys they are.

use std::collections::BTreeSet;

use regorus::Value;

use crate::domain::Verdict;

/// How much a policy may say.
#[derive(Clone, Copy, Debug)]
pub(super) struct SayLimits {
    /// Reasons or warnings.
    pub(super) count: usize,
    /// Bytes of one.
    pub(super) bytes: usize,
}

/// What one policy said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) verdict: Verdict,
    pub(super) deny_reasons: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// The rules that a program has gathered, with their values; what is not in it is undefined.
pub(super) fn pairs(result: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let set = match result {
        Value::Set(set) => Some(set),
        _ => None,
    };
    set.into_iter().flat_map(|set| set.iter()).filter_map(|pair| match pair {
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(rule), value] => Some((rule.as_ref(), value)),
            _ => None,
        },
        _ => None,
    })
}

/// Reads what the entry rules gave.
pub(super) fn read(result: &Value, limits: SayLimits) -> Result<Said, String> {
    let rule = |name: &str| pairs(result).find_map(|(rule, value)| (rule == name).then_some(value));
    let verdict = match rule("allow") {
        None | Some(Value::Undefined | Value::Bool(true)) => Verdict::Allow,
        Some(Value::Bool(false)) => Verdict::Deny,
        Some(other) => {
            return Err(format!("`allow` must be true or false, not {}", kind(other)));
        }
    };
    Ok(Said {
        verdict,
        deny_reasons: texts("deny_reasons", rule("deny_reasons"), limits)?,
        warnings: texts("warnings", rule("warnings"), limits)?,
    })
}

fn texts(name: &str, value: Option<&Value>, limits: SayLimits) -> Result<Vec<String>, String> {
    let mut found = BTreeSet::new();
    let mut take = |item: &Value| -> Result<(), String> {
        let Value::String(text) = item else {
            return Err(format!("`{name}` must hold strings, not {}", kind(item)));
        };
        if text.len() > limits.bytes {
            return Err(format!(
                "`{name}` holds a text of {} bytes, at most {} are taken (setting \
                 limits.reason_bytes)",
                text.len(),
                limits.bytes
            ));
        }
        found.insert(text.to_string());
        if found.len() > limits.count {
            return Err(format!(
                "`{name}` holds more than {} texts (setting limits.reasons)",
                limits.count
            ));
        }
        Ok(())
    };
    match value {
        None | Some(Value::Undefined) => (),
        Some(Value::Set(items)) => items.iter().try_for_each(&mut take)?,
        Some(Value::Array(items)) => items.iter().try_for_each(&mut take)?,
        Some(Value::Object(members)) => members.iter().try_for_each(|(key, _)| take(key))?,
        Some(other) => {
            return Err(format!(
                "`{name}` must be a set, an array or an object, not {}",
                kind(other)
            ));
        }
    }
    Ok(found.into_iter().collect())
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Set(_) => "a set",
        Value::Object(_) => "an object",
        Value::Undefined => "undefined",
    }
}
