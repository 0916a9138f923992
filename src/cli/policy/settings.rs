//! Flags that say how a policy takes part.

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value};

use crate::cli::{request, words};
use crate::contract::admin::PolicyDraft;
use crate::domain::{FailMode, PolicyMode, ScopeKind, Severity, Status};

/// For whom, how strictly, with which settings.
#[derive(Args, Debug)]
pub(crate) struct SettingFlags {
    /// What a denial does
    #[arg(long, value_parser = words::mode())]
    pub(crate) mode: Option<PolicyMode>,
    /// How much its violations matter [default: what its METADATA says]
    #[arg(long, value_parser = words::severity())]
    severity: Option<Severity>,
    /// What it means when the policy itself fails [default: what the worker's configuration says]
    #[arg(long, value_parser = words::fail_mode())]
    fail_mode: Option<FailMode>,
    /// What it does, in a sentence [default: what its METADATA says]
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    pub(crate) whom: ScopeFlags,
    #[command(flatten)]
    pub(crate) parameters: ParameterFlags,
}

/// For whom.
#[derive(Args, Debug)]
pub(crate) struct ScopeFlags {
    /// For whom it applies; all but global need --scope-id
    #[arg(long, value_parser = words::scope())]
    pub(crate) scope: Option<ScopeKind>,
    /// Which session, project or user
    #[arg(long, value_name = "ID")]
    pub(crate) scope_id: Option<String>,
}

/// With which settings of its own.
#[derive(Args, Debug)]
pub(crate) struct ParameterFlags {
    /// A setting of the policy: the value is JSON or text, and a.b=1 makes {"a": {"b": 1}}; may be
    /// repeated
    #[arg(long = "param", value_name = "KEY=VALUE")]
    param: Vec<String>,
}

impl ScopeFlags {
    /// Lays them over a policy. Whoever says `global` means everyone.
    fn lay_over(&self, draft: &mut PolicyDraft) {
        if let Some(scope) = self.scope {
            draft.scope = scope;
            if scope == ScopeKind::Global {
                draft.scope_id.clear();
            }
        }
        if let Some(id) = &self.scope_id {
            draft.scope_id.clone_from(id);
        }
    }
}

impl ParameterFlags {
    /// As an object.
    pub(crate) fn object(&self) -> anyhow::Result<Map<String, Value>> {
        request::pairs(&self.param, "--param")
    }
}

impl SettingFlags {
    /// Lays them over a policy.
    pub(crate) fn lay_over(&self, draft: &mut PolicyDraft) -> anyhow::Result<()> {
        draft.mode = self.mode.unwrap_or(draft.mode);
        draft.severity = self.severity.or(draft.severity);
        draft.fail_mode = self.fail_mode.or(draft.fail_mode);
        if let Some(description) = &self.description {
            draft.description.clone_from(description);
        }
        self.whom.lay_over(draft);
        draft.parameters.extend(self.parameters.object()?);
        Ok(())
    }

    /// As a JSON merge patch: only what is given.
    pub(crate) fn patch(
        &self,
        status: Option<Status>,
        unset: &[String],
    ) -> anyhow::Result<Map<String, Value>> {
        let mut patch = Map::new();
        let mut given = |name: &str, value: Value| {
            if !value.is_null() {
                patch.insert(name.to_owned(), value);
            }
        };
        given("status", serde_json::to_value(status)?);
        given("mode", serde_json::to_value(self.mode)?);
        given("severity", serde_json::to_value(self.severity)?);
        given("fail_mode", serde_json::to_value(self.fail_mode)?);
        given("description", serde_json::to_value(&self.description)?);
        given("scope", serde_json::to_value(self.whom.scope)?);
        given("scope_id", serde_json::to_value(&self.whom.scope_id)?);
        if self.whom.scope == Some(ScopeKind::Global) && self.whom.scope_id.is_none() {
            patch.insert("scope_id".to_owned(), Value::Null);
        }
        let mut parameters = self.parameters.object()?;
        for path in unset {
            request::set_value(&mut parameters, path, Value::Null)
                .with_context(|| format!("--unset-param {path}"))?;
        }
        if !parameters.is_empty() {
            patch.insert("parameters".to_owned(), Value::Object(parameters));
        }
        Ok(patch)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: SettingFlags,
    }

    fn flags(line: &str) -> SettingFlags {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Flags::try_parse_from(words).unwrap().settings
    }

    #[test]
    fn only_what_is_given_is_changed() {
        let patch = |line: &str, unset: &[&str]| {
            let unset: Vec<String> = unset.iter().map(ToString::to_string).collect();
            Value::Object(flags(line).patch(None, &unset).unwrap())
        };
        assert_eq!(patch("", &[]), json!({}));
        assert_eq!(
            patch("--mode warn --param max_calls=20 --param a.b=x", &["old", "deep.old"]),
            json!({"mode": "warn", "parameters":
                {"max_calls": 20, "a": {"b": "x"}, "old": null, "deep": {"old": null}}})
        );
        assert_eq!(patch("--scope global", &[]), json!({"scope": "global", "scope_id": null}));
        assert_eq!(
            patch("--scope session --scope-id s-1 --severity critical --fail-mode closed", &[]),
            json!({"scope": "session", "scope_id": "s-1", "severity": "critical",
                "fail_mode": "closed"})
        );
        assert!(flags("--param a=1").patch(None, &["a.b".to_owned()]).is_err());
    }

    #[test]
    fn flags_lie_over_what_is_there() {
        let mut draft = PolicyDraft {
            scope: ScopeKind::Session,
            scope_id: "s-1".into(),
            mode: PolicyMode::Warn,
            parameters: json!({"a": 1, "b": 2}).as_object().unwrap().clone(),
            ..PolicyDraft::default()
        };
        flags("--param b=3 --description new").lay_over(&mut draft).unwrap();
        assert_eq!(Value::Object(draft.parameters.clone()), json!({"a": 1, "b": 3}));
        assert_eq!((draft.mode, draft.description.as_str()), (PolicyMode::Warn, "new"));
        assert_eq!(draft.scope_id, "s-1");
        flags("--scope global").lay_over(&mut draft).unwrap();
        assert_eq!((draft.scope, draft.scope_id.as_str()), (ScopeKind::Global, ""));
    }
}
