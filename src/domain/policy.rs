//! A policy as the system holds it: Rego plus when, for whom and how strictly it applies.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::request::Identity;

/// Whether a policy takes part.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Takes part in every check of its scope.
    Active,
    /// Takes part only where a check names its package.
    #[default]
    Inactive,
    /// Is evaluated in shadow: what it would have done is recorded and changes nothing.
    Draft,
}

/// What a denial of a policy does.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PolicyMode {
    /// It denies.
    #[default]
    Enforce,
    /// It becomes warnings.
    Warn,
}

/// What an evaluation that fails means for the decision.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum FailMode {
    /// The policy is skipped and the decision says so.
    #[default]
    Open,
    /// The policy denies.
    Closed,
}

/// How much a violation matters.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth looking at.
    #[default]
    Warning,
    /// Somebody should act.
    Critical,
}

impl Severity {
    /// The word used in subjects, tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Kinds of scope.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// Everyone.
    #[default]
    Global,
    /// One session.
    Session,
    /// One project.
    Project,
    /// One user.
    User,
}

/// For whom a policy applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The kind.
    pub kind: ScopeKind,
    /// Which one of that kind; empty for global.
    pub id: String,
}

impl Scope {
    /// Whether a check by this caller is in the scope.
    #[must_use]
    pub fn covers(&self, identity: &Identity) -> bool {
        match self.kind {
            ScopeKind::Global => true,
            ScopeKind::Session => self.id == identity.session_id,
            ScopeKind::Project => self.id == identity.project_id,
            ScopeKind::User => self.id == identity.user,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ScopeKind::Global => f.write_str("global"),
            ScopeKind::Session => write!(f, "session:{}", self.id),
            ScopeKind::Project => write!(f, "project:{}", self.id),
            ScopeKind::User => write!(f, "user:{}", self.id),
        }
    }
}

/// A policy: one Rego package with its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Unique name.
    pub name: String,
    /// One line for people, from the Rego's METADATA.
    pub title: String,
    /// What it does, from the Rego's METADATA.
    pub description: String,
    /// The Rego package, without `data.`.
    pub package: String,
    /// The Rego text; of the template where it uses one.
    pub rego: Arc<str>,
    /// The policy whose Rego it uses, where it has none of its own.
    pub template: Option<String>,
    /// Whether it takes part.
    pub status: Status,
    /// What its denials do.
    pub mode: PolicyMode,
    /// How much its violations matter.
    pub severity: Severity,
    /// What its failures mean.
    pub fail_mode: FailMode,
    /// For whom it applies.
    pub scope: Scope,
    /// Its settings, defaults filled in; policies read them as `input.parameters`.
    pub parameters: Map<String, Value>,
    /// Version number.
    pub version: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_only_its_own() {
        let identity = Identity { session_id: "s-1".into(), ..Identity::default() };
        let scope = |kind, id: &str| Scope { kind, id: id.into() };
        assert!(scope(ScopeKind::Global, "").covers(&identity));
        assert!(scope(ScopeKind::Session, "s-1").covers(&identity));
        assert!(!scope(ScopeKind::Session, "s-2").covers(&identity));
        assert!(!scope(ScopeKind::User, "s-1").covers(&identity));
        assert_eq!(scope(ScopeKind::Session, "s-1").to_string(), "session:s-1");
    }
}
