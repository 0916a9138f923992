//! AuthZEN's Authorization API 1.0: one evaluation, many, and where they are. The mapping to checks is in
//! docs/http.md.
//!
//! Format: OpenID AuthZEN, Authorization API 1.0, and its certification scenario.

mod batch;
mod read;

use std::time::Instant;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use self::read::{Evaluation, Wrong};
use super::ask::Answer;
use super::doors::Doors;
use super::guard::Caller;

/// AuthZEN's routes.
pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/access/v1/evaluation", post(evaluation))
        .route("/access/v1/evaluations", post(batch::evaluations))
        .route("/.well-known/authzen-configuration", get(configuration))
}

/// An error as AuthZEN tells it: a status, and a message as the body.
#[derive(Debug)]
pub(super) struct AuthzenError {
    status: StatusCode,
    message: String,
}

impl AuthzenError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl From<Wrong> for AuthzenError {
    fn from(Wrong(message): Wrong) -> Self {
        Self::invalid(message)
    }
}

impl IntoResponse for AuthzenError {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        (self.status, kind, self.message).into_response()
    }
}

/// What comes of one evaluation.
struct Outcome {
    decision: bool,
    /// What else there is to say.
    context: Value,
    /// Whether that must be said, also where nobody asked for it: the call went unchecked.
    unchecked: bool,
}

/// `POST /access/v1/evaluation`
async fn evaluation(
    State(doors): State<Doors>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, AuthzenError> {
    let members = read::object(&headers, &body)?;
    single(&doors, &caller, &members).await
}

/// The answer to the one evaluation of a request.
async fn single(
    doors: &Doors,
    caller: &Caller,
    members: &Map<String, Value>,
) -> Result<Response, AuthzenError> {
    let evaluation = Evaluation::read(members, None)?;
    let deadline = Instant::now() + doors.patience();
    let outcome = decided(doors, &evaluation.check(caller.name()), deadline).await?;
    let body = json!({"decision": outcome.decision, "context": outcome.context});
    Ok(Json(body).into_response())
}

/// Asks a worker. A check that no worker takes for one is the caller's mistake.
async fn decided(
    doors: &Doors,
    check: &Map<String, Value>,
    deadline: Instant,
) -> Result<Outcome, Wrong> {
    match doors.asker().check(check, false, deadline).await {
        Answer::Decided(reply) => {
            let mut context = json!({
                "id": reply.decision_id,
                "reason_admin": {"en": reply.reason},
                "deny_reasons": reply.deny_reasons,
                "warnings": reply.warnings,
            });
            if let (true, Value::Object(members)) = (reply.error, &mut context) {
                members.insert("error".into(), error(500, &reply.error_message));
            }
            Ok(Outcome { decision: reply.allowed, context, unchecked: false })
        }
        Answer::Refused(message) => Err(Wrong(message)),
        Answer::Unchecked(call) => {
            let reason = format!("unchecked: {}", call.cause.as_str());
            let context = json!({
                "id": call.id,
                "reason_admin": {"en": reason},
                "error": error(503, &call.message),
            });
            Ok(Outcome { decision: call.allowed, context, unchecked: true })
        }
    }
}

fn error(status: u16, message: &str) -> Value {
    json!({"status": status, "message": message})
}

/// `GET /.well-known/authzen-configuration`
async fn configuration(State(doors): State<Doors>, uri: Uri, headers: HeaderMap) -> Response {
    let base = doors.base();
    let called = || {
        let host = uri.authority().map(|authority| authority.as_str().to_owned());
        let named = || headers.get(header::HOST)?.to_str().ok().map(str::to_owned);
        format!("http://{}", host.or_else(named).unwrap_or_else(|| base.listen.clone()))
    };
    let base = if base.public.is_empty() { called() } else { base.public.clone() };
    Json(json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": format!("{base}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{base}/access/v1/evaluations"),
    }))
    .into_response()
}
