//! `/api/session`: who calls, signing in with a token, and out.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::query::Body;
use crate::roles::console::doors::Doors;
use crate::roles::console::guard::{SESSION_COOKIE, session_of};
use crate::roles::console::problem::Problem;

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/api/session", get(read).post(sign_in).delete(sign_out))
}

/// Who calls.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Session {
    /// Whether by a token.
    signed_in: bool,
    /// The token's name; empty without one.
    name: String,
    /// What the caller may: `checker`, `viewer`, `author` or `admin`; null for nothing.
    role: Option<&'static str>,
    /// Whether there are tokens to sign in with.
    tokens: bool,
    /// Whether the server can be reached from this machine alone.
    loopback: bool,
    /// The program's version.
    version: &'static str,
}

fn session(doors: &Doors, headers: &HeaderMap) -> Session {
    let guard = doors.guard();
    let (name, role) = guard.who(headers);
    Session {
        signed_in: name.is_some(),
        name: name.unwrap_or_default(),
        role: role.map(crate::config::tokens::Access::as_str),
        tokens: guard.has_tokens(),
        loopback: doors.is_loopback(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

async fn read(State(doors): State<Doors>, headers: HeaderMap) -> Json<Session> {
    Json(session(&doors, &headers))
}

/// What to sign in with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// The token.
    token: String,
}

async fn sign_in(
    State(doors): State<Doors>,
    Body(SignIn { token }): Body<SignIn>,
) -> Result<Response, Problem> {
    let Some(id) = doors.guard().sign_in(&token) else {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "this token is not known here"));
    };
    // Not readable by scripts, and sent by no other site's page.
    let secure = if doors.base().public.starts_with("https://") { "; Secure" } else { "" };
    let cookie = format!("{SESSION_COOKIE}={id}; Path=/; HttpOnly; SameSite=Strict{secure}");
    let mut headers = HeaderMap::new();
    if let Ok(cookie) = HeaderValue::from_str(&format!("{SESSION_COOKIE}={id}")) {
        headers.insert(header::COOKIE, cookie);
    }
    Ok(([(header::SET_COOKIE, cookie)], Json(session(&doors, &headers))).into_response())
}

async fn sign_out(State(doors): State<Doors>, mut headers: HeaderMap) -> Response {
    if let Some(id) = session_of(&headers) {
        doors.guard().sign_out(id);
    }
    headers.remove(header::COOKIE);
    let gone = format!("{SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, gone)], Json(session(&doors, &headers))).into_response()
}
