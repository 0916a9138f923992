//! A version of a policy as the bucket keeps it and as ClickHouse remembers it: what somebody
//! decided about it, with who, when and why.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::policy::{FailMode, PolicyMode, Scope, ScopeKind, Severity, Status};

/// Bytes of the longest name.
pub const MAX_NAME: usize = 128;
/// Bytes of the longest id of a scope.
pub const MAX_SCOPE_ID: usize = 256;
/// Bytes of the longest description or comment.
pub const MAX_TEXT: usize = 4_096;

/// One version of one policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRecord {
    /// The policy's identity, the same in all its versions.
    pub id: Uuid,
    /// Unique among the policies that exist; never changes.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// The Rego package, without `data.`; that of the template where it uses one.
    pub package: String,
    /// The Rego; empty where `template` names another policy that has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rego: String,
    /// The policy whose Rego it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Whether it takes part.
    #[serde(default)]
    pub status: Status,
    /// What its denials do.
    #[serde(default)]
    pub mode: PolicyMode,
    /// How much its violations matter; without it, what the Rego's METADATA says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What its failures mean; without it, what the worker's configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_mode: Option<FailMode>,
    /// For whom it applies.
    #[serde(default)]
    pub scope: ScopeKind,
    /// Which session, project or user; empty for global.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope_id: String,
    /// Its settings as given, without the defaults.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// Counts up by one with every change; also over a deletion.
    pub version: u64,
    /// When the policy first existed.
    pub created_at: DateTime<Utc>,
    /// When this version was made.
    pub updated_at: DateTime<Utc>,
    /// Who made the policy.
    #[serde(default)]
    pub created_by: String,
    /// Who made this version.
    #[serde(default)]
    pub updated_by: String,
    /// Why.
    #[serde(default)]
    pub comment: String,
    /// Whether this version says that the policy is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// What is wrong with a field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// The field.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl FieldFault {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}

impl PolicyRecord {
    /// For whom it applies.
    #[must_use]
    pub fn applies_to(&self) -> Scope {
        Scope { kind: self.scope, id: self.scope_id.clone() }
    }

    /// Whether its name can be one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_name(&self) -> Result<(), FieldFault> {
        check_name("name", &self.name)
    }

    /// What can be said of the record without looking at its Rego or at others.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), FieldFault> {
        check_name("name", &self.name)?;
        match (self.scope, self.scope_id.is_empty()) {
            (ScopeKind::Global, false) => {
                return Err(FieldFault::new(
                    "scope_id",
                    "is given, but the scope is global; set `scope` to session, project or user",
                ));
            }
            (ScopeKind::Session | ScopeKind::Project | ScopeKind::User, true) => {
                return Err(FieldFault::new(
                    "scope_id",
                    "is required with this scope: for which session, project or user?",
                ));
            }
            _ => (),
        }
        match (&self.template, self.rego.is_empty()) {
            (Some(_), false) => {
                return Err(FieldFault::new(
                    "template",
                    "and `rego` exclude each other: a policy has Rego of its own or uses another's",
                ));
            }
            (None, true) => {
                return Err(FieldFault::new(
                    "rego",
                    "is required: the policy's Rego, or `template` with the name of a policy \
                     whose Rego it uses",
                ));
            }
            (Some(template), true) if *template == self.name => {
                return Err(FieldFault::new("template", "names the policy itself"));
            }
            (Some(template), true) => check_name("template", template)?,
            (None, false) => (),
        }
        for (field, text, limit) in [
            ("scope_id", &self.scope_id, MAX_SCOPE_ID),
            ("description", &self.description, MAX_TEXT),
            ("comment", &self.comment, MAX_TEXT),
            ("updated_by", &self.updated_by, MAX_NAME),
        ] {
            if text.len() > limit {
                let message = format!("has {} bytes, at most {limit} are taken", text.len());
                return Err(FieldFault::new(field, message));
            }
        }
        Ok(())
    }
}

/// A name is a key of the bucket and a token of NATS subjects: letters, digits, `-` and `_`,
/// beginning with a letter or digit.
fn check_name(field: &'static str, name: &str) -> Result<(), FieldFault> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if first && rest && name.len() <= MAX_NAME {
        return Ok(());
    }
    let shown: String = name.chars().take(40).collect();
    Err(FieldFault::new(
        field,
        format!(
            "`{shown}` can't be a name: use 1 to {MAX_NAME} letters, digits, `-` and `_`, \
             beginning with a letter or digit"
        ),
    ))
}

/// The switch for the whole system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnforcementMode {
    /// Policies decide.
    #[default]
    On,
    /// Policies are evaluated, what they would deny is recorded, everything is allowed.
    Shadow,
    /// Nothing is evaluated, everything is allowed and recorded.
    Off,
}

impl EnforcementMode {
    /// The word used in messages, tables and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}

/// One version of the switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnforcementRecord {
    /// How policies take part.
    pub mode: EnforcementMode,
    /// Counts up by one with every change.
    pub version: u64,
    /// When it was switched.
    pub updated_at: DateTime<Utc>,
    /// Who switched it.
    #[serde(default)]
    pub updated_by: String,
    /// Why.
    #[serde(default)]
    pub comment: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> PolicyRecord {
        PolicyRecord {
            id: Uuid::nil(),
            name: "cost".into(),
            description: String::new(),
            package: "p".into(),
            rego: "package p".into(),
            template: None,
            status: Status::Active,
            mode: PolicyMode::Enforce,
            severity: None,
            fail_mode: None,
            scope: ScopeKind::Global,
            scope_id: String::new(),
            parameters: Map::new(),
            version: 1,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            created_by: String::new(),
            updated_by: String::new(),
            comment: String::new(),
            deleted: false,
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(record().check(), Ok(()));
        type Change = fn(&mut PolicyRecord);
        let wrong: &[(&str, Change)] = &[
            ("name", |r| r.name = "a.b".into()),
            ("name", |r| r.name = "_enforcement".into()),
            ("name", |r| r.name = String::new()),
            ("name", |r| r.name = "x".repeat(129)),
            ("scope_id", |r| r.scope = ScopeKind::Session),
            ("scope_id", |r| r.scope_id = "s-1".into()),
            ("template", |r| r.template = Some("other".into())),
            ("rego", |r| r.rego.clear()),
            ("template", |r| {
                r.rego.clear();
                r.template = Some("cost".into());
            }),
            ("comment", |r| r.comment = "x".repeat(5_000)),
        ];
        for (field, change) in wrong {
            let mut record = record();
            change(&mut record);
            assert_eq!(record.check().unwrap_err().field, *field);
        }
    }

    #[test]
    fn the_stored_form_leaves_out_what_is_not_there_and_reads_it_back() {
        let text = serde_json::to_string(&record()).unwrap();
        assert!(!text.contains("template") && !text.contains("deleted"), "{text}");
        assert_eq!(serde_json::from_str::<PolicyRecord>(&text).unwrap(), record());
    }
}
