//! Decisions as a fleet makes them, built by the types that workers build theirs with.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::contract::check::Stamp;
use crate::contract::{DecisionEvent, Number};
use crate::domain::{CheckRequest, PolicyOutcome, Severity, Verdict, combine, input};

/// Names of the agents; each has its own sessions.
const AGENTS: [&str; 6] = ["planner", "researcher", "engineer", "reviewer", "writer", "archivist"];
const USERS: [&str; 4] = ["alice", "bob", "chandra", "dmitri"];
const MODELS: [&str; 3] = ["gpt-4", "gpt-4o-mini", "claude-sonnet-4"];

/// Makes events, each with an id and a time of its own.
pub(super) struct Events {
    /// The time of the first.
    since: DateTime<Utc>,
    revision: String,
    run: Uuid,
}

impl Events {
    /// So many events that end now, a millisecond apart.
    pub(super) fn ending_now(count: u64) -> Self {
        let span = TimeDelta::milliseconds(i64::try_from(count).unwrap_or(0));
        Self {
            since: Utc::now().trunc_subsecs(6) - span,
            revision: "9f2c41d07be3a865".into(),
            run: Uuid::now_v7(),
        }
    }

    /// The event of this number. Numbers differ in who asks for what; about a third are denied.
    pub(super) fn event(&self, number: u64) -> DecisionEvent {
        let dice = scatter(number);
        let timestamp =
            self.since + TimeDelta::milliseconds(i64::try_from(number).unwrap_or_default());
        let request = request(number, dice);
        let input = input::build(&request, timestamp);
        let decision = combine::combine(outcomes(dice), None);
        let stamp = Stamp {
            id: Uuid::now_v7(),
            timestamp,
            revision: self.revision.clone(),
            duration_us: 20 + dice % 100,
        };
        let numbered = Number { worker_run: self.run, worker_sequence: number.saturating_add(1) };
        let identity = request.identity();
        let worker = "bench-worker";
        DecisionEvent::new(&request, &identity, input, &decision, &stamp, worker, numbered)
    }
}

fn request(number: u64, dice: u64) -> CheckRequest {
    let context = json!({
        "agent": pick(&AGENTS, dice),
        "user": pick(&USERS, dice >> 8),
        "session_id": format!("session-{}", dice % 500),
        "run_id": format!("run-{}", number / 1_000),
        "step_id": format!("step-{}", number % 1_000),
        "project_id": format!("project-{}", dice % 20),
        "estimated_cost_usd": cents(dice >> 16),
        "budget": {"limit_usd": 5.0, "remaining_usd": cents(dice >> 24)},
        "task_priority": if dice.is_multiple_of(2) { "low" } else { "high" }
    });
    let (action, resource) = match dice % 10 {
        0 => {
            ("file_read", json!({"path": format!("/data/survey/{}/table-{number}.csv", dice % 97)}))
        }
        1 => (
            "external_api_call",
            json!({"url": format!("https://api.example.org/v1/papers/{number}")}),
        ),
        _ => (
            "llm_call",
            json!({"model": pick(&MODELS, dice >> 32), "prompt_length": dice % 8_000, "max_tokens": 2048}),
        ),
    };
    CheckRequest {
        action: action.into(),
        resource,
        context: match context {
            Value::Object(members) => members,
            _ => Map::new(),
        },
        ..CheckRequest::default()
    }
}

fn outcomes(dice: u64) -> Vec<PolicyOutcome> {
    let outcome = |name: &str| PolicyOutcome {
        name: name.into(),
        package: format!("cmbagent.{name}"),
        version: 3,
        scope: "global".into(),
        severity: Severity::Warning,
        ..PolicyOutcome::default()
    };
    let mut cost_control = outcome("cost_control");
    if dice.is_multiple_of(3) {
        cost_control.verdict = Verdict::Deny;
        cost_control.deny_reasons =
            vec!["budget_exceeded".into(), "expensive_model_for_low_priority".into()];
    }
    vec![cost_control, outcome("data_privacy"), outcome("default"), outcome("rate_limiting")]
}

fn pick<'a>(from: &[&'a str], dice: u64) -> &'a str {
    let len = u64::try_from(from.len()).unwrap_or(1);
    let at = usize::try_from(dice % len).unwrap_or(0);
    from.get(at).copied().unwrap_or_default()
}

/// Up to five dollars.
fn cents(dice: u64) -> f64 {
    let cents = u32::try_from(dice % 500).unwrap_or(0);
    f64::from(cents) / 100.0
}

/// Makes strangers of neighbours, the same in every run.
fn scatter(number: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    number.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn events_differ_and_some_are_denied() {
        let events = Events::ending_now(1_000);
        let made: Vec<_> = (0..1_000).map(|number| events.event(number)).collect();
        let ids: HashSet<_> = made.iter().map(|event| event.id).collect();
        let times: HashSet<_> = made.iter().map(|event| event.timestamp).collect();
        assert_eq!((ids.len(), times.len()), (1_000, 1_000));
        let denied = made.iter().filter(|event| event.decision == Verdict::Deny).count();
        assert!((200..500).contains(&denied), "{denied}");
        assert!(made.iter().all(|event| !event.who.agent.is_empty() && !event.resource.is_empty()));
        let bytes = serde_json::to_vec(&made[0]).unwrap().len();
        assert!((1_000..2_500).contains(&bytes), "{bytes}");
    }
}
