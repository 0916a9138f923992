//! What the HTTP server answers.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State as Extracted};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::json;

use super::doors::Doors;
use super::guard::{self, Api};
use super::{api, assets, authzen, enforcement, opa};
use crate::config::Http;
use crate::runtime::health::Health;
use crate::runtime::metrics::Handle;

/// What the server shows.
#[derive(Clone)]
pub struct Shown {
    /// How the parts of this process are.
    pub health: Health,
    /// The metrics of this process.
    pub metrics: Handle,
    /// The settings of the server.
    pub http: Http,
    /// The ways to ask; none where the process shows health and metrics alone.
    pub doors: Option<Doors>,
}

/// The routes: `/livez`, `/readyz`, `/metrics`, `/` that says where they are, and with the doors those of
/// OPA and AuthZEN.
pub fn router(shown: Shown) -> Router {
    let timeout = shown.http.request_timeout;
    let doors = shown.doors.clone();
    let mut router = Router::new()
        .route("/", get(index))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shown);
    if let Some(doors) = &doors {
        let routes = opa::routes()
            .merge(authzen::routes())
            .merge(enforcement::routes())
            .merge(api::routes());
        router = router.merge(routes.with_state(doors.clone())).merge(assets::routes());
    }
    let max_body = doors.as_ref().map_or(0, Doors::max_body);
    router = router
        .fallback(missing)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            bounded(request, next, timeout, max_body)
        }));
    if let Some(doors) = doors {
        router = router.layer(middleware::from_fn_with_state(doors, guard::stand));
    }
    router.layer(middleware::from_fn(guard::observe))
}

/// Reads the body, within its limit, and answers, within the time for both.
async fn bounded(request: Request, next: Next, timeout: Duration, max_body: usize) -> Response {
    let api = Api::of(request.uri().path());
    let until = tokio::time::Instant::now() + timeout;
    let late = || {
        api.error(
            StatusCode::GATEWAY_TIMEOUT,
            format!("the request took longer than {timeout:?} (setting http.request_timeout)"),
        )
    };
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout_at(until, axum::body::to_bytes(body, max_body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) if is_too_long(&error) => {
            return api.error(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body has more than {max_body} bytes (setting http.max_body)"),
            );
        }
        Ok(Err(error)) => {
            return api.error(StatusCode::BAD_REQUEST, format!("the body can't be read: {error}"));
        }
        Err(_) => return late(),
    };
    // On a task of its own, so that it ends also when the caller doesn't wait for it: one who gives up
    // and goes on must not be the one of whom nothing is known.
    let answer = next.run(Request::from_parts(parts, body.into()));
    match tokio::spawn(tokio::time::timeout_at(until, answer)).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => late(),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only the end of the runtime cancels it, and then nobody hears the answer.
            Err(error) => api.error(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        },
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    use std::error::Error as _;

    error.source().is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

/// The pages for people, a list of paths for programs.
async fn index(Extracted(shown): Extracted<Shown>, headers: HeaderMap) -> Response {
    if shown.doors.is_some() && assets::wants_page(&headers) {
        return assets::page_or_how();
    }
    let mut index = json!({
        "name": "sluicegate",
        "version": env!("CARGO_PKG_VERSION"),
        "health": ["/livez", "/readyz"],
        "metrics": "/metrics",
    });
    if let (Some(_), Some(members)) = (&shown.doors, index.as_object_mut()) {
        members.insert("opa".into(), json!(["/v1/data", "/v1/policies", "/health"]));
        members.insert("authzen".into(), json!("/.well-known/authzen-configuration"));
        members.insert("api".into(), json!("/api/openapi.json"));
        members.insert("enforcement".into(), json!("/api/enforcement"));
    }
    Json(index).into_response()
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

async fn missing(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let api = Api::of(uri.path());
    let is_page = !api.is_called(uri.path()) && assets::wants_page(&headers);
    if method == Method::GET && is_page {
        // The page says what there is.
        return (StatusCode::NOT_FOUND, assets::page_or_how()).into_response();
    }
    let message = format!("nothing is at {}; / lists what there is", uri.path());
    api.error(StatusCode::NOT_FOUND, message)
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("{method} is not answered at {}", uri.path());
    Api::of(uri.path()).error(StatusCode::METHOD_NOT_ALLOWED, message)
}
