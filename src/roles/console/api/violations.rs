//! `/api/violations`: what policies objected to, who was told, and who has looked at it.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, SubsecRound as _, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::query::{Body, Parameters, cursor, cursor_text, page, text};
use crate::bus::Publisher;
use crate::contract::{EVENT_SCHEMA, NotificationEvent};
use crate::domain::Severity;
use crate::roles::console::doors::Doors;
use crate::roles::console::guard::Caller;
use crate::roles::console::problem::Problem;
use crate::store::{ACKNOWLEDGED, Cursor, LONGEST_DETAILS, ViolationFilter, ViolationSummary};

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/violations", get(list))
        .route("/api/violations/{id}/acknowledge", post(acknowledge))
}

/// Which violations. Empty means all.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    /// Made then or later.
    since: Option<DateTime<Utc>>,
    /// Made before.
    until: Option<DateTime<Utc>>,
    /// `info`, `warning` or `critical`.
    severity: Option<Severity>,
    /// The policy.
    policy: Option<String>,
    /// The agent.
    agent: Option<String>,
    /// The person.
    user: Option<String>,
    /// The session.
    session_id: Option<String>,
    /// Whether somebody was told.
    notified: Option<bool>,
    /// Whether somebody has acknowledged it.
    acknowledged: Option<bool>,
    /// Rows of a page, at most 1,000.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A violation in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ViolationItem {
    #[serde(flatten)]
    violation: ViolationSummary,
    /// Whether somebody has acknowledged it.
    acknowledged: bool,
    /// Who did last; empty while nobody has.
    acknowledged_by: String,
    /// When; null while nobody has.
    acknowledged_at: Option<DateTime<Utc>>,
    /// What was said then.
    acknowledged_comment: String,
}

impl From<ViolationSummary> for ViolationItem {
    fn from(violation: ViolationSummary) -> Self {
        #[derive(Deserialize)]
        struct Said {
            channel: String,
            notifier: String,
            timestamp: DateTime<Utc>,
            #[serde(default)]
            details: Map<String, Value>,
        }
        let said: Vec<Said> =
            serde_json::from_str(&violation.notification_details).unwrap_or_default();
        let last = said.into_iter().rfind(|said| said.channel == ACKNOWLEDGED);
        let comment = |said: &Said| Some(said.details.get("comment")?.as_str()?.to_owned());
        Self {
            violation,
            acknowledged: last.is_some(),
            acknowledged_comment: last.as_ref().and_then(comment).unwrap_or_default(),
            acknowledged_at: last.as_ref().map(|said| said.timestamp),
            acknowledged_by: last.map(|said| said.notifier).unwrap_or_default(),
        }
    }
}

/// Violations, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ViolationItems {
    violations: Vec<ViolationItem>,
    /// Where the next page begins; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

async fn list(
    State(doors): State<Doors>,
    Parameters(wanted): Parameters<Wanted>,
) -> Result<Json<ViolationItems>, Problem> {
    let limit = page(wanted.limit)?;
    let filter = ViolationFilter {
        since: wanted.since,
        until: wanted.until,
        severity: wanted.severity.map(|severity| severity.as_str().to_owned()),
        policy: text("policy", wanted.policy)?,
        agent: text("agent", wanted.agent)?,
        user: text("user", wanted.user)?,
        session_id: text("session_id", wanted.session_id)?,
        decision_id: None,
        notified: wanted.notified,
        acknowledged: wanted.acknowledged,
        after: cursor(wanted.cursor.as_deref())?,
        limit: Some(limit.saturating_add(1)),
    };
    let mut found = doors.store().violations(&filter).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().map(|row| Cursor { timestamp: row.timestamp, id: row.id });
    let next = last.filter(|_| is_more).map(cursor_text);
    Ok(Json(ViolationItems {
        violations: found.into_iter().map(ViolationItem::from).collect(),
        next,
    }))
}

/// What to say of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Acknowledgement {
    /// Why it needs nobody any more.
    comment: String,
}

/// That it was taken; it is in the lists when the sink has stored it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Acknowledged {
    /// Always `acknowledged`.
    status: &'static str,
}

async fn acknowledge(
    State(doors): State<Doors>,
    caller: Caller,
    Path(id): Path<String>,
    Body(Acknowledgement { comment }): Body<Acknowledgement>,
) -> Result<Json<Acknowledged>, Problem> {
    let violation_id =
        Uuid::parse_str(&id).map_err(|_| Problem::invalid("the id must be a UUID"))?;
    let most = LONGEST_DETAILS / 4;
    if comment.len() > most {
        return Err(Problem::invalid(format!("comment: at most {most} bytes")));
    }
    if !doors.store().has_violation(violation_id).await? {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("ClickHouse has no violation {violation_id}"),
        ));
    }
    // One more word about the violation, on the way that all words about it take.
    let event = NotificationEvent {
        schema: EVENT_SCHEMA,
        id: Uuid::now_v7(),
        violation_id,
        timestamp: Utc::now().trunc_subsecs(6),
        notifier: caller.name().to_owned(),
        notified: false,
        channel: ACKNOWLEDGED.to_owned(),
        details: [("comment".to_owned(), json!(comment))].into_iter().collect(),
    };
    let unavailable = |error: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error);
    let connection = doors
        .asker()
        .connection()
        .ok_or_else(|| unavailable("NATS can't be reached".to_owned()))?;
    let payload = serde_json::to_vec(&event).map_err(|error| unavailable(error.to_string()))?;
    let subject = doors.asker().subjects().notification();
    Publisher::new(connection)
        .publish(&subject, &event.id.to_string(), payload.into())
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    Ok(Json(Acknowledged { status: "acknowledged" }))
}
