//! `/api/policies/decisions/audit`, `/api/decisions/export`: the history, page by page or as a file.

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use futures::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::query::{Parameters, cursor, cursor_text, page, text};
use crate::domain::Verdict;
use crate::roles::console::doors::Doors;
use crate::roles::console::problem::Problem;
use crate::store::{Cursor, DecisionFilter, DecisionSummary, ExportFormat, ExportOf};

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/policies/decisions/audit", get(list))
        .route("/api/decisions/export", get(export))
}

/// Which decisions. Empty means all.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuditFilter {
    /// Made then or later.
    since: Option<DateTime<Utc>>,
    /// Made before.
    until: Option<DateTime<Utc>>,
    /// `allow` or `deny`.
    #[schemars(with = "Option<String>")]
    decision: Option<Verdict>,
    /// The action.
    action: Option<String>,
    /// The agent.
    agent: Option<String>,
    /// The person.
    user: Option<String>,
    /// The session.
    session_id: Option<String>,
    /// The run.
    run_id: Option<String>,
    /// The project.
    project_id: Option<String>,
    /// A policy that took part, whatever it said.
    policy: Option<String>,
    /// One of the reasons for denying.
    reason: Option<String>,
    /// Only those where a policy could not be evaluated.
    error: bool,
    /// Only those that drafts would have denied.
    shadow: bool,
    /// Only calls that no worker answered.
    unchecked: bool,
    /// A part of the resource, the reason, the action or the agent, whatever its case.
    text: Option<String>,
    /// The decision's id.
    id: Option<Uuid>,
    /// Rows of a page, at most 1,000.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Of an export: `csv`, `jsonl` (where left out) or `parquet`.
    format: Option<FileFormat>,
}

/// In which format a file comes.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum FileFormat {
    /// Comma-separated values (RFC 4180).
    Csv,
    /// One JSON object on each line.
    #[default]
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl AuditFilter {
    fn read(self) -> Result<DecisionFilter, Problem> {
        Ok(DecisionFilter {
            since: self.since,
            until: self.until,
            decision: self.decision.map(|verdict| verdict.as_str().to_owned()),
            action: text("action", self.action)?,
            agent: text("agent", self.agent)?,
            user: text("user", self.user)?,
            session_id: text("session_id", self.session_id)?,
            run_id: text("run_id", self.run_id)?,
            project_id: text("project_id", self.project_id)?,
            policy: text("policy", self.policy)?,
            reason: text("reason", self.reason)?,
            error_only: self.error,
            unchecked_only: self.unchecked,
            shadow_only: self.shadow,
            text: text("text", self.text)?,
            id: self.id,
            after: cursor(self.cursor.as_deref())?,
            limit: Some(page(self.limit)?),
        })
    }
}

/// A decision in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DecisionItem {
    /// The policy that decided; empty if none applied.
    policy: String,
    /// One line that says why.
    reason: String,
    #[serde(flatten)]
    decision: DecisionSummary,
}

/// Decisions, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DecisionItems {
    decisions: Vec<DecisionItem>,
    /// Where the next page begins; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// The same question in SQL.
    sql: String,
}

async fn list(
    State(doors): State<Doors>,
    Parameters(filter): Parameters<AuditFilter>,
) -> Result<Json<DecisionItems>, Problem> {
    let filter = filter.read()?;
    let store = doors.store();
    let sql = store.sql_of_decisions(&filter);
    let wanted = filter.limit.unwrap_or_default();
    // One more tells whether there is another page.
    let more = DecisionFilter { limit: Some(wanted.saturating_add(1)), ..filter };
    let mut found = store.recent_decisions(&more).await?;
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let is_more = found.len() > wanted;
    found.truncate(wanted);
    let last = found.last().map(|row| Cursor { timestamp: row.timestamp, id: row.id });
    let next = last.filter(|_| is_more).map(cursor_text);
    let item = |decision: DecisionSummary| DecisionItem {
        policy: decision.policy_name.clone(),
        reason: decision.decision_reason.clone(),
        decision,
    };
    Ok(Json(DecisionItems { decisions: found.into_iter().map(item).collect(), next, sql }))
}

async fn export(
    State(doors): State<Doors>,
    Parameters(filter): Parameters<AuditFilter>,
) -> Result<Response, Problem> {
    let (format, kind, ending) = match filter.format.unwrap_or_default() {
        FileFormat::Csv => (ExportFormat::Csv, "text/csv; charset=utf-8", "csv"),
        FileFormat::Jsonl => (ExportFormat::JsonLines, "application/x-ndjson", "jsonl"),
        FileFormat::Parquet => (ExportFormat::Parquet, "application/vnd.apache.parquet", "parquet"),
    };
    let Some(place) = doors.export_place() else {
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "other exports are under way; try again when they are done",
        ));
    };
    let of = ExportOf::Decisions(filter.read()?);
    // Known before the first byte: whether ClickHouse is there and takes the question.
    doors.store().count_export(&of).await?;
    let export = doors.store().export(&of, format)?;
    // The place is free again when the file is complete, or nobody reads it any more. A console that
    // stops breaks it off, so that nobody takes what came for the whole.
    let stop = doors.stop();
    let bytes = stream::try_unfold((export, place, stop), |(mut export, place, stop)| async move {
        let next = tokio::select! {
            next = export.next() => next.map_err(std::io::Error::other)?,
            () = stop.cancelled() => return Err(std::io::Error::other("the console stops")),
        };
        Ok(next.map(|bytes| (bytes, (export, place, stop))))
    });
    let name = format!("attachment; filename=\"decisions.{ending}\"");
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(bytes)).into_response())
}
