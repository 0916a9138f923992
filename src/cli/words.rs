//! Flags that take one of a few words, shown by `--help` and completed by shells.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::{EnforcementMode, FailMode, PolicyMode, ScopeKind, Severity, Status};

/// The words of messages and tables are those of the command line.
fn words<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words)
        .try_map(|word| serde_json::from_value::<T>(Value::String(word)))
}

/// `active`, `inactive`, `draft`.
pub(crate) fn status() -> impl TypedValueParser<Value = Status> {
    words(&["active", "inactive", "draft"])
}

/// `enforce`, `warn`.
pub(crate) fn mode() -> impl TypedValueParser<Value = PolicyMode> {
    words(&["enforce", "warn"])
}

/// `info`, `warning`, `critical`.
pub(crate) fn severity() -> impl TypedValueParser<Value = Severity> {
    words(&["info", "warning", "critical"])
}

/// `open`, `closed`.
pub(crate) fn fail_mode() -> impl TypedValueParser<Value = FailMode> {
    words(&["open", "closed"])
}

/// `global`, `session`, `project`, `user`.
pub(crate) fn scope() -> impl TypedValueParser<Value = ScopeKind> {
    words(&["global", "session", "project", "user"])
}

/// `on`, `shadow`, `off`.
pub(crate) fn enforcement() -> impl TypedValueParser<Value = EnforcementMode> {
    words(&["on", "shadow", "off"])
}

/// A value of the domain as its word.
pub(crate) fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}
