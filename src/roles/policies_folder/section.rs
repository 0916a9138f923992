//! A section of `policies.toml`: what is said of one policy beside its Rego.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use toml::de::DeTable;

use crate::contract::admin::PolicyDraft;
use crate::domain::{FailMode, PolicyMode, ScopeKind, Severity, Status, nearest};

/// The keys, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Section {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) template: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    status: Status,
    #[serde(skip_serializing_if = "is_default")]
    mode: PolicyMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<Severity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fail_mode: Option<FailMode>,
    #[serde(skip_serializing_if = "is_default")]
    scope: ScopeKind,
    #[serde(skip_serializing_if = "String::is_empty")]
    scope_id: String,
    /// The versions are counted where the policies are kept; older folders have numbers of their
    /// own.
    #[serde(skip_serializing)]
    version: Ignored,
    /// Parameters as a text of JSON, for those that TOML can't say: `null`, and large numbers.
    #[serde(skip_serializing_if = "Map::is_empty", with = "json_text")]
    parameters_json: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "parameters")]
    parameters: Map<String, Value>,
}

/// A key that is read and not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Section {
    /// The policy that the section and its Rego make.
    pub(super) fn draft(self, name: String, rego: String) -> PolicyDraft {
        let mut parameters = self.parameters;
        parameters.extend(self.parameters_json);
        PolicyDraft {
            name,
            description: self.description,
            rego,
            template: self.template,
            status: self.status,
            mode: self.mode,
            severity: self.severity,
            fail_mode: self.fail_mode,
            scope: self.scope,
            scope_id: self.scope_id,
            parameters,
        }
    }

    /// The section of a policy, so written that it reads back as the same.
    pub(super) fn of(draft: &PolicyDraft) -> Self {
        let mut section = Self {
            template: draft.template.clone(),
            description: draft.description.clone(),
            status: draft.status,
            mode: draft.mode,
            severity: draft.severity,
            fail_mode: draft.fail_mode,
            scope: draft.scope,
            scope_id: draft.scope_id.clone(),
            version: Ignored,
            parameters_json: Map::new(),
            parameters: draft.parameters.clone(),
        };
        let survives = toml::to_string(&section)
            .ok()
            .and_then(|text| toml::from_str::<Self>(&text).ok())
            .is_some_and(|back| back == section);
        if !survives {
            section.parameters_json = std::mem::take(&mut section.parameters);
        }
        section
    }
}

fn parameters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    let table = toml::Table::deserialize(deserializer)?;
    members(table).map_err(D::Error::custom)
}

fn members(table: toml::Table) -> Result<Map<String, Value>, String> {
    table.into_iter().map(|(key, value)| Ok((key, json(value)?))).collect()
}

/// TOML knows times and numbers that JSON doesn't.
fn json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| format!("parameters can't hold {number}: JSON has no such number"))?,
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => Value::Object(members(table)?),
    })
}

/// An object as a text of JSON.
mod json_text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use serde_json::{Map, Value};

    pub(super) fn serialize<S: Serializer>(
        map: &Map<String, Value>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Value::Object(map.clone()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Map<String, Value>, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map_err(|error| {
            D::Error::custom(format!("parameters_json is no JSON object: {error}"))
        })
    }
}

/// Reads all sections.
///
/// # Errors
/// The line and what is wrong there.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Section>, (Option<usize>, String)> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_at(text, &span));
        (line, with_nearest(error.message()))
    })
}

/// An unknown key, with the one that was meant if it looks like one.
fn with_nearest(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let near = message
        .starts_with("unknown ")
        .then(|| names.next())
        .flatten()
        .and_then(|unknown| nearest(unknown, names));
    match near {
        Some(near) => format!("{message}; did you mean `{near}`?"),
        None => message.trim_end().to_owned(),
    }
}

/// The line of a section, from 1.
pub(super) fn line_of(text: &str, section: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let (key, _) = table.get_ref().get_key_value(section)?;
    Some(line_at(text, &key.span()))
}

/// The line of a key of a section, from 1.
pub(super) fn line_of_key(text: &str, section: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let (key, _) = table.get_ref().get(section)?.get_ref().as_table()?.get_key_value(key)?;
    Some(line_at(text, &key.span()))
}

fn line_at(text: &str, span: &Range<usize>) -> usize {
    let before = text.get(..span.start).unwrap_or(text);
    before.matches('\n').count() + 1
}
