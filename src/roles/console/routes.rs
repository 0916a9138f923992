//! What the HTTP server answers.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State as Extracted};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::json;

use super::problem::Problem;
use crate::runtime::health::Health;
use crate::runtime::metrics::Handle;

/// What the server shows.
#[derive(Clone)]
pub struct Shown {
    /// How the parts of this process are.
    pub health: Health,
    /// The metrics of this process.
    pub metrics: Handle,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// Bytes of the largest request body.
    pub max_body: usize,
}

/// The routes: `/livez`, `/readyz`, `/metrics`, and `/` that says where they are.
pub fn router(shown: Shown) -> Router {
    let timeout = shown.request_timeout;
    Router::new()
        .route("/", get(index))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(missing)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(shown.max_body))
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            bounded(request, next, timeout)
        }))
        .with_state(shown)
}

async fn bounded(request: Request, next: Next, timeout: Duration) -> Response {
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!("the request took longer than {timeout:?} (setting http.request_timeout)"),
        )
        .into_response(),
    }
}

async fn index() -> impl IntoResponse {
    Json(json!({
        "name": "sluicegate",
        "version": env!("CARGO_PKG_VERSION"),
        "health": ["/livez", "/readyz"],
        "metrics": "/metrics",
    }))
}

/// The process runs and answers.
async fn live() -> &'static str {
    "ok\n"
}

/// Every part works: 200, else 503; either way the parts with what they wait for.
async fn ready(Extracted(shown): Extracted<Shown>) -> impl IntoResponse {
    let ready = shown.health.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": ready, "parts": shown.health.snapshot()})))
}

async fn metrics(Extracted(shown): Extracted<Shown>) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, shown.metrics.render())
}

async fn missing(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("nothing is at {}; / lists what there is", uri.path()),
    )
}

async fn wrong_method(request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} is not answered at {}", request.method(), request.uri().path()),
    )
}
