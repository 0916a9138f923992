//! `/api/policies/{policy}/impact`: what a policy would have denied, by what agents did ask lately.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::query::Body;
use crate::contract::admin::{GetRequest, PolicyView, Verb};
use crate::domain::{CheckRequest, FailMode, Identity, PolicyMode, Scope, ScopeKind, Verdict};
use crate::engine::{self, Check, Evaluator, PolicySet, stack_bytes};
use crate::roles::console::doors::{Doors, Limits};
use crate::roles::console::problem::Problem;
use crate::roles::worker;
use crate::store::{DecidedInput, DecisionFilter};

/// Decisions that are tried at most, the newest first.
const MOST: u32 = 20_000;
/// Bytes of their inputs at most.
const MOST_BYTES: usize = 64 << 20;
/// Days that can be looked back at most.
const MOST_DAYS: u32 = 90;
/// Reasons, agents and examples that are shown.
const SHOWN: usize = 20;
/// How long the trying may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/api/policies/{policy}/impact", post(impact))
}

/// The policy as it might be; what is left out stays as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Proposal {
    /// Days to look back, 7 where left out.
    days: u32,
    /// Its Rego.
    rego: Option<String>,
    /// Settings, laid over those it has.
    parameters: Map<String, Value>,
    /// For whom.
    scope: Option<ScopeKind>,
    /// Which session, project or user.
    scope_id: Option<String>,
    /// What its denials do: with `warn` nothing would have been denied.
    mode: Option<PolicyMode>,
}

impl Default for Proposal {
    fn default() -> Self {
        let (rego, parameters, scope) = (None, Map::new(), None);
        Self { days: 7, rego, parameters, scope, scope_id: None, mode: None }
    }
}

/// What it would have done.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Impact {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    /// Decisions in that time that are in its scope.
    decisions: u64,
    /// Of these the newest, which were tried on it.
    tried: u64,
    /// Whether all of them were.
    complete: bool,
    /// It would have denied.
    would_deny: u64,
    /// Of these were allowed.
    newly_denied: u64,
    /// It could not be evaluated.
    errors: u64,
    /// Whether it knew how many calls came before: it never does here, so limits of rates aren't seen.
    usage_known: bool,
    /// Why it would have denied, the most frequent first.
    reasons: Vec<ReasonCount>,
    /// Whom, the most frequent first.
    agents: Vec<AgentCount>,
    /// The newest that were allowed and would have been denied.
    examples: Vec<Example>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ReasonCount {
    reason: String,
    count: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct AgentCount {
    agent: String,
    count: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Example {
    id: Uuid,
    timestamp: DateTime<Utc>,
    agent: String,
    action: String,
    resource: String,
    reasons: Vec<String>,
}

async fn impact(
    State(doors): State<Doors>,
    Path(policy): Path<String>,
    Body(proposal): Body<Proposal>,
) -> Result<Json<Impact>, Problem> {
    if !(1..=MOST_DAYS).contains(&proposal.days) {
        return Err(Problem::invalid(format!("days: from 1 to {MOST_DAYS}")));
    }
    let request = GetRequest { policy, version: None };
    let view: PolicyView = doors.asker().manage(Verb::Get, &request).await?;
    let scope = Scope {
        kind: proposal.scope.unwrap_or(view.record.scope),
        id: proposal.scope_id.clone().unwrap_or_else(|| view.record.scope_id.clone()),
    };
    let until = Utc::now();
    let filter = DecisionFilter {
        since: Some(until - TimeDelta::days(i64::from(proposal.days))),
        until: Some(until),
        limit: Some(MOST),
        ..of_scope(&scope)
    };
    let (counts, inputs) = tokio::try_join!(
        doors.store().count_decisions(&filter),
        doors.store().decided_inputs(&filter, MOST_BYTES),
    )?;
    let limits = doors.limits();
    let set = proposed(&view, &proposal, &limits).map_err(Problem::invalid)?;
    let tried = doors.working(move || tried(&set, &inputs, &limits)).await?;
    Ok(Json(Impact {
        since: filter.since.unwrap_or(until),
        until,
        decisions: counts.decisions,
        complete: tried.tried >= counts.decisions,
        tried: tried.tried,
        would_deny: tried.would_deny,
        newly_denied: tried.newly_denied,
        errors: tried.errors,
        usage_known: false,
        reasons: ranked(tried.reasons)
            .map(|(reason, count)| ReasonCount { reason, count })
            .collect(),
        agents: ranked(tried.agents).map(|(agent, count)| AgentCount { agent, count }).collect(),
        examples: tried.examples,
    }))
}

fn of_scope(scope: &Scope) -> DecisionFilter {
    let id = Some(scope.id.clone());
    match scope.kind {
        ScopeKind::Global => DecisionFilter::default(),
        ScopeKind::Session => DecisionFilter { session_id: id, ..DecisionFilter::default() },
        ScopeKind::Project => DecisionFilter { project_id: id, ..DecisionFilter::default() },
        ScopeKind::User => DecisionFilter { user: id, ..DecisionFilter::default() },
    }
}

/// The policy as it might be, alone in a set where it applies to everyone: the filter has chosen whom.
fn proposed(view: &PolicyView, proposal: &Proposal, limits: &Limits) -> Result<PolicySet, String> {
    let rego = proposal.rego.as_ref().unwrap_or(&view.content);
    let file = format!("{}.rego", view.record.name);
    let compiled =
        engine::compile(&file, rego, &limits.compile).map_err(|error| format!("rego: {error}"))?;
    let mut record = view.record.clone();
    record.mode = proposal.mode.unwrap_or(record.mode);
    (record.scope, record.scope_id) = (ScopeKind::Global, String::new());
    record.parameters.extend(proposal.parameters.clone());
    record.status = crate::domain::Status::Active;
    let fail_mode = view.effective_fail_mode;
    let entry = worker::entry(&record, rego.as_str().into(), compiled, fail_mode)
        .map_err(|error| format!("parameters: {error}"))?;
    PolicySet::new([entry]).map_err(|error| error.to_string())
}

#[derive(Default)]
struct Tried {
    tried: u64,
    would_deny: u64,
    newly_denied: u64,
    errors: u64,
    reasons: HashMap<String, u64>,
    agents: HashMap<String, u64>,
    examples: Vec<Example>,
}

/// Tries a policy on inputs, on a thread that has the stack for it.
fn tried(set: &PolicySet, inputs: &[DecidedInput], limits: &Limits) -> Tried {
    let mut tried = Tried::default();
    std::thread::scope(|scope| {
        let bytes = stack_bytes(limits.evaluate.instructions);
        let trying = std::thread::Builder::new().name("impact".into()).stack_size(bytes);
        let running = trying.spawn_scoped(scope, || {
            let mut found = Tried::default();
            let mut evaluator = Evaluator::new(limits.evaluate);
            let end = Instant::now() + PATIENCE;
            for row in inputs.iter().take_while(|_| Instant::now() < end) {
                found.one(set, row, &mut evaluator);
            }
            found
        });
        if let Ok(Ok(found)) = running.map(std::thread::ScopedJoinHandle::join) {
            tried = found;
        }
    });
    tried
}

impl Tried {
    fn one(&mut self, set: &PolicySet, row: &DecidedInput, evaluator: &mut Evaluator) {
        self.tried += 1;
        let Ok(input) = serde_json::from_str::<Map<String, Value>>(&row.input_data) else {
            self.errors += 1;
            return;
        };
        let check = Check {
            request: &CheckRequest::default(),
            identity: &Identity::default(),
            input: &input,
            usage: None,
            fail_mode: FailMode::Open,
            shadow: false,
        };
        for outcome in evaluator.evaluate(set, &check) {
            let failed = outcome.error.is_some();
            self.errors += u64::from(failed);
            let denies = if failed {
                outcome.fail_mode == FailMode::Closed
            } else {
                outcome.verdict == Verdict::Deny && outcome.mode == crate::domain::Mode::Enforce
            };
            if !denies {
                continue;
            }
            self.would_deny += 1;
            *self.agents.entry(row.agent.clone()).or_default() += 1;
            for reason in &outcome.deny_reasons {
                *self.reasons.entry(reason.clone()).or_default() += 1;
            }
            if row.decision == "allow" {
                self.newly_denied += 1;
                if self.examples.len() < SHOWN {
                    self.examples.push(Example {
                        id: row.id,
                        timestamp: row.timestamp,
                        agent: row.agent.clone(),
                        action: row.action.clone(),
                        resource: row.resource.clone(),
                        reasons: outcome.deny_reasons,
                    });
                }
            }
        }
    }
}

/// The most frequent first.
fn ranked(counts: HashMap<String, u64>) -> impl Iterator<Item = (String, u64)> {
    let mut by_count: BTreeMap<(std::cmp::Reverse<u64>, String), ()> = BTreeMap::new();
    for (name, count) in counts {
        by_count.insert((std::cmp::Reverse(count), name), ());
    }
    by_count.into_keys().take(SHOWN).map(|(count, name)| (name, count.0))
}
