//! OPA's REST API, for clients that exist: `/v1/data` asks, `/v1/policies` manages, `/health` tells
//! whether anybody would answer. The mapping is in docs/http.md.

mod data;
mod error;
mod input;
mod policies;

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde_json::json;

pub(super) use self::error::OpaError;
use super::ask::Unmanaged;
use super::doors::Doors;

/// OPA's routes.
pub(super) fn routes() -> Router<Doors> {
    let data =
        || get(data::get).post(data::post).put(data::write).patch(data::write).delete(data::write);
    let policy = || get(policies::get).put(policies::put).delete(policies::delete);
    Router::new()
        .route("/v1/data", data())
        .route("/v1/data/", data())
        .route("/v1/data/{*path}", data())
        .route("/v0/data", post(data::post_v0))
        .route("/v0/data/{*path}", post(data::post_v0))
        .route("/v1/policies", get(policies::list))
        .route("/v1/policies/", get(policies::list))
        .route("/v1/policies/{id}", policy())
        .route("/v1/query", any(unsupported))
        .route("/v1/compile", any(unsupported))
        .route("/v1/compile/{*path}", any(unsupported))
        .route("/v1/config", any(unsupported))
        .route("/v1/status", any(unsupported))
        .route("/health", get(health))
}

/// What OPA can and this server can't.
async fn unsupported(method: Method, uri: Uri) -> OpaError {
    let instead = match uri.path() {
        "/v1/query" => {
            "ask for a document, POST /v1/data/<package>; policies are tried with sluicegate eval"
        }
        path if path.starts_with("/v1/compile") => {
            "policies are not evaluated in part: ask for a document, POST /v1/data/<package>"
        }
        _ => "see /readyz and /metrics",
    };
    OpaError::unsupported(format!("{method} {} is not supported: {instead}", uri.path()))
}

/// `GET /health`: whether NATS is there; with `bundles` or `plugins` also whether a worker answers. 200
/// or 500, as OPA does.
async fn health(
    State(doors): State<Doors>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Response {
    let wanted =
        |name: &str| parameters.get(name).is_some_and(|value| !value.eq_ignore_ascii_case("false"));
    let problem = if !doors.asker().is_up() {
        Some("NATS can't be reached".to_owned())
    } else if wanted("bundles") || wanted("plugins") {
        match doors.asker().answers().await {
            Ok(()) => None,
            Err(Unmanaged::Unavailable(message)) => Some(message),
            Err(Unmanaged::Refused(detail)) => Some(detail.message),
        }
    } else {
        None
    };
    match problem {
        None => Json(json!({})).into_response(),
        Some(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"error": error}))).into_response()
        }
    }
}
