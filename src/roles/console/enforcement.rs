//! `/api/enforcement`: the switch for all policies, read by viewers and turned by admins.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use schemars::JsonSchema;
use serde::Deserialize;

use super::doors::Doors;
use super::guard::Caller;
use super::problem::Problem;
use crate::contract::admin::{Authored, EnforcementReply, EnforcementRequest, Verb};
use crate::domain::EnforcementMode;

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/api/enforcement", get(read).put(turn))
}

/// What the switch shall be, and why.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Turn {
    /// `on`, `shadow` or `off`.
    mode: EnforcementMode,
    /// Why.
    #[serde(default)]
    comment: String,
}

async fn read(State(doors): State<Doors>) -> Result<Response, Problem> {
    ask(&doors, &EnforcementRequest::default()).await
}

async fn turn(
    State(doors): State<Doors>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, Problem> {
    let Turn { mode, comment } = serde_json::from_slice(&body).map_err(|error| {
        let shape = r#"{"mode": "on" | "shadow" | "off", "comment": "…"}"#;
        Problem::new(StatusCode::BAD_REQUEST, format!("{error}; send {shape}"))
    })?;
    let change = Authored { author: caller.name().to_owned(), comment, ..Authored::default() };
    ask(&doors, &EnforcementRequest { mode: Some(mode), change }).await
}

async fn ask(doors: &Doors, request: &EnforcementRequest) -> Result<Response, Problem> {
    let reply: EnforcementReply = doors.asker().manage(Verb::Enforcement, request).await?;
    Ok(Json(reply).into_response())
}
