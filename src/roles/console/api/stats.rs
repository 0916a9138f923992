//! `/api/stats`: the history at a glance, and how the whole system stands.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use super::query::Parameters;
use crate::roles::console::doors::Doors;
use crate::roles::console::problem::Problem;
use crate::roles::status::{Status, status};
use crate::store::Overview;

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/api/stats/overview", get(overview)).route("/api/stats/fleet", get(fleet))
}

/// Which time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Span {
    /// From then on; a day before `until` where left out.
    since: Option<DateTime<Utc>>,
    /// Until before then; now where left out.
    until: Option<DateTime<Utc>>,
}

async fn overview(
    State(doors): State<Doors>,
    Parameters(Span { since, until }): Parameters<Span>,
) -> Result<Json<Overview>, Problem> {
    let until = until.unwrap_or_else(Utc::now);
    let since = since.unwrap_or(until - TimeDelta::days(1));
    if since >= until {
        return Err(Problem::invalid("since: must be before `until`"));
    }
    Ok(Json(doors.store().overview(since, until).await?))
}

async fn fleet(State(doors): State<Doors>) -> Result<Json<Status>, Problem> {
    let unavailable = |error: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error);
    let connection = doors
        .asker()
        .connection()
        .ok_or_else(|| unavailable("NATS can't be reached".to_owned()))?;
    let found = Box::pin(status(doors.config(), connection)).await;
    found.map(Json).map_err(|error| unavailable(error.to_string()))
}
