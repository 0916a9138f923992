//! The policies that benchmarks store: those of a fleet in which many sessions have settings, or
//! Rego, of their own. Each is like none of the others.

use chrono::{SubsecRound as _, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::domain::{PolicyMode, PolicyRecord, ScopeKind, Status};

/// The Rego of all of them: one that is shipped, of a usual size.
const REGO: &str = include_str!("../../../policies/cost_control.rego");
const PACKAGE: &str = "cmbagent.cost_control";
/// The policy whose Rego others use.
const TEMPLATE: &str = "cost_control";

/// The policy whose Rego others use; applies to nobody by itself.
pub(super) fn template() -> PolicyRecord {
    PolicyRecord {
        rego: REGO.to_owned(),
        package: PACKAGE.to_owned(),
        status: Status::Inactive,
        ..record(TEMPLATE)
    }
}

/// A policy of one session by the template's Rego, with settings of its own. With them it denies
/// [`check`], or lets it pass.
pub(super) fn by_template(name: &str, session: &str, denies: bool) -> PolicyRecord {
    PolicyRecord {
        template: Some(TEMPLATE.to_owned()),
        package: PACKAGE.to_owned(),
        parameters: parameters(name, denies),
        ..scoped(name, session)
    }
}

/// A policy of one session with Rego of its own.
pub(super) fn with_own_rego(name: &str, session: &str) -> PolicyRecord {
    PolicyRecord { rego: own_rego(name, 0, false), package: package(name), ..scoped(name, session) }
}

/// Settings of [`by_template`].
pub(super) fn parameters(name: &str, denies: bool) -> Map<String, Value> {
    let low = if denies { "low" } else { "lowest" };
    [("low_priorities".to_owned(), json!([name, low]))].into_iter().collect()
}

/// The Rego of [`with_own_rego`] after so many changes, no two of which are the same text.
pub(super) fn own_rego(name: &str, change: u64, denies: bool) -> String {
    let rego = REGO.replacen(PACKAGE, &package(name), 1);
    let rule = if denies { "deny_reasons contains \"closed\"\n" } else { "" };
    let rego = rego.replace("[low]", "[lowest]").replace("[\"low\"]", "[\"lowest\"]");
    format!("{rego}\n# Change {change}.\n{rule}")
}

fn package(name: &str) -> String {
    format!("bench.{}", name.replace('-', "_"))
}

fn scoped(name: &str, session: &str) -> PolicyRecord {
    PolicyRecord { scope: ScopeKind::Session, scope_id: session.to_owned(), ..record(name) }
}

fn record(name: &str) -> PolicyRecord {
    let now = Utc::now().trunc_subsecs(6);
    PolicyRecord {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        description: "Stored by sluicegate bench".to_owned(),
        package: String::new(),
        rego: String::new(),
        template: None,
        status: Status::Active,
        mode: PolicyMode::Enforce,
        severity: None,
        fail_mode: None,
        scope: ScopeKind::Global,
        scope_id: String::new(),
        parameters: Map::new(),
        version: 1,
        created_at: now,
        updated_at: now,
        created_by: "bench".to_owned(),
        updated_by: "bench".to_owned(),
        comment: String::new(),
        deleted: false,
    }
}

/// A check of a session, about 400 bytes, that its budget allows.
pub(super) fn check(session: &str) -> Value {
    json!({
        "action": "llm_call",
        "resource": {"model": "gpt-4", "provider": "openai", "prompt_length": 1234, "max_tokens": 2048},
        "context": {
            "agent": "bench", "user": "alice", "session_id": session, "run_id": "run-20260302-17",
            "step_id": "step-4", "project_id": "galaxy-survey", "estimated_cost_usd": 0.5,
            "budget": {"limit_usd": 5.0, "spent_usd": 0.5, "remaining_usd": 4.5},
            "task_priority": "low", "task": "summarise the abstracts of the last query"
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn records_are_valid_and_like_no_other() {
        let records = [
            template(),
            by_template("session-1", "s-1", false),
            by_template("session-2", "s-2", false),
            with_own_rego("own-1", "s-3"),
            with_own_rego("own-2", "s-4"),
        ];
        for record in &records {
            assert_eq!(record.check(), Ok(()), "{}", record.name);
        }
        let packages: HashSet<&str> = records
            .iter()
            .filter(|record| record.template.is_none())
            .map(|record| record.package.as_str())
            .collect();
        assert_eq!(packages.len(), 3);
        let texts = [own_rego("a", 1, false), own_rego("a", 2, false), own_rego("b", 1, false)];
        assert_eq!(texts.iter().collect::<HashSet<_>>().len(), 3);
        assert!(texts.iter().all(|text| text.contains("\npackage bench.")), "{}", texts[0]);
        assert!(!own_rego("a", 1, false).contains("\"low\""));
    }
}
