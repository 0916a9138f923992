//! `/api/policies/{policy}/versions`, `/diff`, `/rollback`: what a policy was, and going back.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::policies::{authored, done, shown};
use super::query::{Body, Parameters, if_match, read, tagged};
use crate::contract::admin::{
    DiffReply, DiffRequest, GetRequest, PolicyView, RollbackRequest, Verb, VersionList,
};
use crate::roles::console::doors::Doors;
use crate::roles::console::guard::Caller;
use crate::roles::console::problem::Problem;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/policies/{policy}/versions", get(list))
        .route("/api/policies/{policy}/versions/{version}", get(one))
        .route("/api/policies/{policy}/diff", get(diff))
        .route("/api/policies/{policy}/rollback", post(rollback))
}

async fn list(
    State(doors): State<Doors>,
    Path(policy): Path<String>,
) -> Result<Json<VersionList>, Problem> {
    let request = GetRequest { policy, version: None };
    Ok(Json(doors.asker().manage(Verb::Versions, &request).await?))
}

async fn one(
    State(doors): State<Doors>,
    Path((policy, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let version = version.parse().map_err(|_| Problem::invalid("the version must be a number"))?;
    let request = GetRequest { policy, version: Some(version) };
    let view: PolicyView = doors.asker().manage(Verb::Get, &request).await?;
    Ok(tagged(Json(shown(&view)).into_response(), version))
}

/// Which versions to compare.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Compared {
    /// The older one; the one before `to` where left out.
    from: Option<u64>,
    /// The newer one; the newest where left out.
    to: Option<u64>,
}

async fn diff(
    State(doors): State<Doors>,
    Path(policy): Path<String>,
    Parameters(Compared { from, to }): Parameters<Compared>,
) -> Result<Json<DiffReply>, Problem> {
    Ok(Json(doors.asker().manage(Verb::Diff, &DiffRequest { policy, from, to }).await?))
}

/// Where to go back to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GoBack {
    /// The version whose content becomes the newest version.
    version: u64,
}

async fn rollback(
    State(doors): State<Doors>,
    caller: Caller,
    Path(policy): Path<String>,
    headers: HeaderMap,
    Body(mut members): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    let if_match = if_match(&headers)?;
    let change = authored(&caller, &mut members, if_match)?;
    let GoBack { version } = read(members)?;
    let request = RollbackRequest { policy, version, change };
    done(&doors, Verb::Rollback, &request, "updated", if_match).await
}
