//! Management of policies, on `policy.admin.<verb>`: what is asked and what is answered. The REST
//! API and the command line speak the same.
//!
//! A change names who makes it and why, and may name the version it starts from: then it is refused
//! when somebody else was faster.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use super::worker::{WorkerList, WorkerStatus};
use crate::domain::{
    EnforcementMode, EnforcementRecord, FailMode, Finding, PolicyMode, PolicyRecord, ScopeKind,
    Severity, Status,
};

/// The verbs, as they stand in the NATS subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// All policies.
    List,
    /// One policy, with its Rego.
    Get,
    /// Makes a policy, or replaces all that can be set of one.
    Put,
    /// Changes some members of a policy.
    Patch,
    /// Takes a policy away; its versions stay.
    Delete,
    /// The versions of a policy.
    Versions,
    /// Two versions of a policy, side by side.
    Diff,
    /// Makes an older version the newest one.
    Rollback,
    /// Makes a policy active, with scope and parameters if given.
    Enable,
    /// Makes a policy inactive.
    Disable,
    /// The policies that would apply to a check of this context.
    Effective,
    /// Reads or turns the switch for the whole system.
    Enforcement,
    /// The live workers and what each has in force.
    Workers,
    /// Puts back the policies of a bucket that was emptied.
    Restore,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 14] = [
        Self::List,
        Self::Get,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Versions,
        Self::Diff,
        Self::Rollback,
        Self::Enable,
        Self::Disable,
        Self::Effective,
        Self::Enforcement,
        Self::Workers,
        Self::Restore,
    ];

    /// The token in the NATS subject.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Get => "get",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Versions => "versions",
            Self::Diff => "diff",
            Self::Rollback => "rollback",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Effective => "effective",
            Self::Enforcement => "enforcement",
            Self::Workers => "workers",
            Self::Restore => "restore",
        }
    }

    /// The verb of a token.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == token)
    }
}

/// Who makes a change, why, and on top of what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Authored {
    /// Who.
    pub author: String,
    /// Why.
    pub comment: String,
    /// The version that the change starts from; refused when the policy has another one by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_version: Option<u64>,
    /// Check all, change nothing.
    pub dry_run: bool,
}

/// What can be set of a policy. What is left out has its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyDraft {
    /// Unique name: letters, digits, `-` and `_`.
    pub name: String,
    /// What it does; without it, what the Rego's METADATA says.
    pub description: String,
    /// The Rego; left out with `template`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rego: String,
    /// Name of the policy whose Rego it uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// `active`, `inactive` or `draft`.
    pub status: Status,
    /// `enforce` or `warn`.
    pub mode: PolicyMode,
    /// `info`, `warning` or `critical`; without it, what the METADATA says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// `open` or `closed`; without it, what the worker's configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_mode: Option<FailMode>,
    /// `global`, `session`, `project` or `user`.
    pub scope: ScopeKind,
    /// Which session, project or user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope_id: String,
    /// Its settings; the schema's defaults are filled in when it is evaluated.
    pub parameters: Map<String, Value>,
}

impl From<&PolicyRecord> for PolicyDraft {
    fn from(record: &PolicyRecord) -> Self {
        Self {
            name: record.name.clone(),
            description: record.description.clone(),
            rego: record.rego.clone(),
            template: record.template.clone(),
            status: record.status,
            mode: record.mode,
            severity: record.severity,
            fail_mode: record.fail_mode,
            scope: record.scope,
            scope_id: record.scope_id.clone(),
            parameters: record.parameters.clone(),
        }
    }
}

/// `policy.admin.put`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutRequest {
    /// The policy as it shall be. One that exists already is replaced only with `if_version`.
    pub policy: PolicyDraft,
    /// Who, why, on top of what.
    #[serde(default)]
    pub change: Authored,
}

/// `policy.admin.patch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchRequest {
    /// Name or id.
    pub policy: String,
    /// Members of a [`PolicyDraft`] to change, as a JSON merge patch (RFC 7396): `null` gives a
    /// member its default again. The name can't be changed.
    pub changes: Map<String, Value>,
    /// Who, why, on top of what.
    #[serde(default)]
    pub change: Authored,
}

/// `policy.admin.enable`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnableRequest {
    /// Name or id.
    pub policy: String,
    /// Take part in shadow only: `draft` instead of `active`.
    #[serde(default)]
    pub draft: bool,
    /// For whom; what it has where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeKind>,
    /// Which session, project or user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_id: Option<String>,
    /// `enforce` or `warn`; what it has where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// Settings, laid over those it has.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// Who, why, on top of what.
    #[serde(default)]
    pub change: Authored,
}

/// `policy.admin.delete`, `.disable`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedChange {
    /// Name or id.
    pub policy: String,
    /// Who, why, on top of what.
    #[serde(default)]
    pub change: Authored,
}

/// `policy.admin.rollback`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Name or id.
    pub policy: String,
    /// The version whose content becomes the newest version.
    pub version: u64,
    /// Who, why, on top of what.
    #[serde(default)]
    pub change: Authored,
}

/// `policy.admin.list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListRequest {
    /// Only policies whose names come after this one: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// `policy.admin.get`, `.versions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetRequest {
    /// Name or id.
    pub policy: String,
    /// Which version; the newest where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// `policy.admin.diff`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffRequest {
    /// Name or id.
    pub policy: String,
    /// The older version; the one before `to` where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// The newer version; the newest where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// `policy.admin.effective`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EffectiveRequest {
    /// A check's context: `session_id`, `project_id` and `user` choose.
    pub context: Map<String, Value>,
    /// A package that the check names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
}

/// `policy.admin.enforcement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EnforcementRequest {
    /// `on`, `shadow` or `off`; only read where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<EnforcementMode>,
    /// Who, why, on top of what.
    pub change: Authored,
}

/// `policy.admin.restore`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RestoreRequest {
    /// The policies to put back where the bucket lacks them; without any, those that the worker
    /// has in force.
    pub policies: Vec<PolicyRecord>,
    /// Who, why.
    pub change: Authored,
}

/// A policy with what follows from its Rego.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyView {
    /// The record.
    #[serde(flatten)]
    pub record: PolicyRecord,
    /// One line for people, from the METADATA.
    #[serde(default)]
    pub title: String,
    /// What it does, all considered; the record's own where it says it.
    #[serde(default)]
    pub effective_description: String,
    /// How much its violations matter, all considered.
    #[serde(default)]
    pub effective_severity: Severity,
    /// What its failures mean, all considered.
    #[serde(default)]
    pub effective_fail_mode: FailMode,
    /// Its settings with the defaults.
    #[serde(default)]
    pub effective_parameters: Map<String, Value>,
    /// JSON Schema of its settings, from the METADATA; empty where it has none.
    #[serde(default)]
    pub parameters_schema: Map<String, Value>,
    /// What the author says of each reason.
    #[serde(default)]
    pub reasons: BTreeMap<String, String>,
    /// Why it can't be evaluated, if it can't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The Rego in force: its own or its template's.
    #[serde(default)]
    pub content: String,
}

/// The answer to `policy.admin.list` and `.effective`. Policies come without their Rego, schema and
/// reasons, and so many at once as a message holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyList {
    /// By name.
    pub policies: Vec<PolicyView>,
    /// Where the next page begins; left out on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How policies take part on the worker that answers.
    pub enforcement: EnforcementMode,
    /// Digest of the set in force there.
    pub revision: String,
    /// The bucket's sequence that the worker has taken in.
    pub sequence: u64,
}

/// The answer to a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeReply {
    /// The policy after the change, or as it would be.
    pub policy: PolicyView,
    /// The policy before; left out where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<PolicyRecord>>,
    /// Whether there was anything to change.
    pub changed: bool,
    /// Whether it was only tried.
    pub dry_run: bool,
    /// What the author should look at.
    pub findings: Vec<Finding>,
    /// The bucket's sequence of the change: workers at this sequence have it in force.
    pub sequence: u64,
}

/// The answer to `policy.admin.versions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VersionList {
    /// Newest first, without their Rego.
    pub versions: Vec<PolicyRecord>,
    /// Ranges of versions, first and last, that the bucket doesn't have any more.
    pub missing: Vec<(u64, u64)>,
}

/// The answer to `policy.admin.diff`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiffReply {
    /// The older version.
    pub from: PolicyRecord,
    /// The newer version.
    pub to: PolicyRecord,
    /// Both as a unified diff, settings first.
    pub unified: String,
}

/// The answer to `policy.admin.enforcement`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnforcementReply {
    /// The switch.
    pub enforcement: EnforcementRecord,
    /// Whether there was anything to change.
    pub changed: bool,
    /// The bucket's sequence of the change.
    pub sequence: u64,
}

/// The answer to `policy.admin.restore`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreReply {
    /// Policies that were put back.
    pub restored: Vec<String>,
    /// Policies that the bucket had.
    pub present: Vec<String>,
    /// The bucket's sequence after it.
    pub sequence: u64,
}
