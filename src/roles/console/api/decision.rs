//! `/api/decisions/{id}`: one decision with all that is known of it, and why it was made.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::violations::ViolationItem;
use crate::contract::evaluate::{Choice, ChosenVersion, EvaluatedPolicy};
use crate::contract::{DecisionEvent, EvaluateReply, EvaluateRequest, PolicyReply};
use crate::roles::console::ask::Unmanaged;
use crate::roles::console::doors::Doors;
use crate::roles::console::problem::Problem;
use crate::store::{CallEnd, StoredDecision, ViolationFilter};

/// Policies of a decision that are tried again at once.
const AT_ONCE: usize = 4;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/decisions/{id}", get(one))
        .route("/api/decisions/{id}/explain", get(explain))
}

/// One decision with all that is known of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DecisionDetail {
    /// As it was recorded: with the input, and what each policy said.
    decision: DecisionEvent,
    /// Its violations.
    violations: Vec<ViolationItem>,
    /// How its call ended; null where nobody said.
    outcome: Option<CallEnd>,
}

async fn one(
    State(doors): State<Doors>,
    Path(id): Path<String>,
) -> Result<Json<DecisionDetail>, Problem> {
    let stored = stored(&doors, &id).await?;
    let filter =
        ViolationFilter { decision_id: Some(stored.event.id), ..ViolationFilter::default() };
    let (violations, outcome) = tokio::try_join!(
        doors.store().violations(&filter),
        doors.store().outcome_of(stored.event.id),
    )?;
    let violations = violations.into_iter().map(ViolationItem::from).collect();
    Ok(Json(DecisionDetail { decision: stored.event, violations, outcome }))
}

/// A policy of a decision: what is recorded of it, and what it says of the same input now.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Replayed {
    recorded: PolicyReply,
    /// The version that decided, tried again on the recorded input; null where it can't be.
    replay: Option<EvaluatedPolicy>,
    /// Its Rego; empty where it isn't there any more.
    rego: String,
    /// What to know about the replay.
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

/// Why a decision was made.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Explanation {
    policies: Vec<Replayed>,
}

async fn explain(
    State(doors): State<Doors>,
    Path(id): Path<String>,
) -> Result<Json<Explanation>, Problem> {
    let event = stored(&doors, &id).await?.event;
    let recorded = stream::iter(event.policies.clone());
    let replays = recorded.map(|recorded| again(&doors, &event, recorded));
    let policies = replays.buffered(AT_ONCE).try_collect().await?;
    Ok(Json(Explanation { policies }))
}

async fn stored(doors: &Doors, id: &str) -> Result<StoredDecision, Problem> {
    let id = Uuid::parse_str(id).map_err(|_| Problem::invalid("the id must be a UUID"))?;
    doors.store().decision_by_id(id).await?.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            format!(
                "ClickHouse has no decision {id}; one that was just made comes within a second"
            ),
        )
    })
}

async fn again(
    doors: &Doors,
    event: &DecisionEvent,
    recorded: PolicyReply,
) -> Result<Replayed, Problem> {
    let mut replayed = Replayed {
        recorded: recorded.clone(),
        replay: None,
        rego: String::new(),
        note: String::new(),
    };
    if recorded.version == 0 {
        "there was no such policy: nothing to try again".clone_into(&mut replayed.note);
        return Ok(replayed);
    }
    let usage = recorded.usage.map(|usage| serde_json::json!(usage));
    let mut request = EvaluateRequest {
        input: Some(event.input.clone()),
        usage: usage.clone(),
        explain: true,
        ..EvaluateRequest::default()
    };
    let history = doors.store().policy_version(&recorded.name, recorded.version).await?;
    let rego = history.as_ref().map(|record| record.rego.clone()).unwrap_or_default();
    let chosen =
        ChosenVersion { policy: recorded.name.clone(), version: Some(recorded.version), usage };
    request.policies = vec![Choice::Version(chosen)];
    let mut tried = doors.asker().evaluate(&request).await;
    if let (Err(Unmanaged::Refused(_)), Some(record)) = (&tried, history)
        && !record.rego.is_empty()
    {
        // Workers have that version no more, the history has.
        request.policies.clear();
        (request.rego, request.parameters) = (Some(record.rego), record.parameters);
        tried = doors.asker().evaluate(&request).await;
    }
    replayed.rego = rego;
    match tried {
        Ok(EvaluateReply { policies, .. }) => replayed.replay = policies.into_iter().next(),
        Err(Unmanaged::Refused(detail)) => {
            replayed.note = format!("can't be tried again: {}", detail.message);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(replayed)
}
