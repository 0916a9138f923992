//! Who may come in: names by which this server is called, tokens and their roles, and how often.
//!
//! What needs which role is one table, [`needed`]: a path that it doesn't know needs one too.

mod hosts;
mod rate;
mod tokens;

use std::net::{IpAddr, SocketAddr};

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use self::hosts::Hosts;
use self::rate::{Key, Rate};
use self::tokens::Tokens;
use super::ConsoleError;
use super::authzen::AuthzenError;
use super::opa::OpaError;
use super::problem::Problem;
use crate::config::tokens::Access;
use crate::config::{Anonymous, Http};

/// How long the longest request id may be that is given back.
const LONGEST_REQUEST_ID: usize = 1_024;
const REQUEST_ID: &str = "x-request-id";
/// Who makes changes without a token.
const NOBODY: &str = "http:anonymous";

/// The address that a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Who calls.
#[derive(Clone, Debug)]
pub(super) struct Caller(String);

impl Caller {
    /// The token's name, or that there was none.
    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let known = parts.extensions.get::<Self>().cloned();
        Ok(known.unwrap_or_else(|| Self(NOBODY.to_owned())))
    }
}

/// Whose way to speak a path has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    /// OPA's.
    Opa,
    /// AuthZEN's.
    Authzen,
    /// Ours.
    Own,
}

impl Api {
    pub(super) fn of(path: &str) -> Self {
        if path == "/health" || is_below(path, "/v1") || is_below(path, "/v0") {
            Self::Opa
        } else if is_below(path, "/access") || is_below(path, "/.well-known") {
            Self::Authzen
        } else {
            Self::Own
        }
    }

    /// An error as this API tells it.
    pub(super) fn error(self, status: StatusCode, message: impl Into<String>) -> Response {
        match self {
            Self::Opa => OpaError::of_status(status, message).into_response(),
            Self::Authzen => AuthzenError::new(status, message).into_response(),
            Self::Own => Problem::new(status, message).into_response(),
        }
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a request needs. None where it is open: health, metrics and what says where things are.
fn needed(method: &Method, path: &str) -> Option<Access> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let asks = reads || *method == Method::POST;
    match path {
        "/"
        | "/livez"
        | "/readyz"
        | "/metrics"
        | "/health"
        | "/.well-known/authzen-configuration"
            if reads =>
        {
            None
        }
        _ if is_below(path, "/v1/data") || is_below(path, "/v0/data") => {
            Some(if asks { Access::Checker } else { Access::Author })
        }
        _ if is_below(path, "/access") => Some(Access::Checker),
        "/v1/query" => Some(Access::Checker),
        _ if is_below(path, "/v1/compile") => Some(Access::Checker),
        _ if is_below(path, "/v1/policies") => {
            Some(if reads { Access::Viewer } else { Access::Author })
        }
        "/api/enforcement" if !reads => Some(Access::Admin),
        _ => Some(Access::Viewer),
    }
}

/// Lets in, or says why not.
pub(super) struct Guard {
    tokens: Tokens,
    anonymous: Option<Access>,
    hosts: Hosts,
    rate: Option<Rate>,
}

impl Guard {
    pub(super) fn new(http: &Http) -> Result<Self, ConsoleError> {
        let tokens = Tokens::new(http.all_tokens()?);
        let anonymous = match http.anonymous {
            Anonymous::Auto if tokens.is_empty() && http.listen.ip().is_loopback() => {
                Some(Access::Admin)
            }
            Anonymous::Auto | Anonymous::None => None,
            Anonymous::Checker => Some(Access::Checker),
            Anonymous::Viewer => Some(Access::Viewer),
            Anonymous::Author => Some(Access::Author),
            Anonymous::Admin => Some(Access::Admin),
        };
        if !http.listen.ip().is_loopback() && tokens.is_empty() && http.anonymous == Anonymous::Auto
        {
            return Err(ConsoleError::NoTokens { address: http.listen });
        }
        Ok(Self {
            tokens,
            anonymous,
            hosts: Hosts::new(http.listen.ip(), &http.hosts),
            rate: Rate::new(http.rate_limit, http.rate_burst),
        })
    }

    /// Who calls, if he may.
    fn admit(&self, request: &Request) -> Result<Option<Caller>, Refused> {
        self.hosts.check(request.uri(), request.headers())?;
        let Some(needed) = needed(request.method(), request.uri().path()) else { return Ok(None) };
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
        let presented = bearer(request.headers());
        let known = presented.as_ref().and_then(|token| self.tokens.find(token.as_deref()));
        let key = match (&known, peer) {
            (Some((index, _)), _) => Key::Token(*index),
            (None, peer) => Key::of(peer.unwrap_or(IpAddr::from([0, 0, 0, 0]))),
        };
        if let Some(wait) = self.rate.as_ref().and_then(|rate| rate.wait(key)) {
            return Err(Refused::Rate(wait));
        }
        let (caller, access) = match (presented, known) {
            (_, Some((_, token))) => (Caller(token.name.clone()), Some(token.access)),
            (Some(_), None) => return Err(Refused::BadToken),
            (None, None) => (Caller(NOBODY.to_owned()), self.anonymous),
        };
        match access {
            Some(access) if access >= needed => Ok(Some(caller)),
            Some(access) => Err(Refused::Role { access, needed }),
            None => Err(Refused::NoToken),
        }
    }
}

/// The token of a request: none where there is no header, none inside where it isn't one of ours.
fn bearer(headers: &HeaderMap) -> Option<Option<String>> {
    let value = headers.get(header::AUTHORIZATION)?;
    let text = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    Some(text)
}

/// Why a request isn't let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Called by a name that isn't this server's, or from a page of somebody else's.
    Name(String),
    /// Too often; so many seconds to wait.
    Rate(u64),
    /// A token that nobody has.
    BadToken,
    /// No token where one is needed.
    NoToken,
    /// A token that may less.
    Role {
        /// What it may.
        access: Access,
        /// What is needed.
        needed: Access,
    },
}

impl Refused {
    fn answer(self, api: Api) -> Response {
        const CHALLENGE: &str = "Bearer realm=\"sluicegate\"";
        match self {
            Self::Name(message) => api.error(StatusCode::FORBIDDEN, message),
            Self::Rate(seconds) => {
                let message = format!(
                    "too many requests; try again in {seconds} s (setting http.rate_limit)"
                );
                with(
                    api.error(StatusCode::TOO_MANY_REQUESTS, message),
                    header::RETRY_AFTER,
                    &seconds.to_string(),
                )
            }
            Self::BadToken => with(
                api.error(StatusCode::UNAUTHORIZED, "the bearer token is not known here"),
                header::WWW_AUTHENTICATE,
                &format!("{CHALLENGE}, error=\"invalid_token\""),
            ),
            Self::NoToken => with(
                api.error(
                    StatusCode::UNAUTHORIZED,
                    "a bearer token is needed: Authorization: Bearer <token>",
                ),
                header::WWW_AUTHENTICATE,
                CHALLENGE,
            ),
            Self::Role { access, needed } => {
                let message = format!(
                    "this takes the role {}, and the caller has the role {}",
                    needed.as_str(),
                    access.as_str()
                );
                with(
                    api.error(StatusCode::FORBIDDEN, message),
                    header::WWW_AUTHENTICATE,
                    &format!("{CHALLENGE}, error=\"insufficient_scope\""),
                )
            }
        }
    }
}

fn with(mut response: Response, name: header::HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Stands before all routes.
pub(super) async fn stand(
    State(doors): State<super::doors::Doors>,
    mut request: Request,
    next: Next,
) -> Response {
    let api = Api::of(request.uri().path());
    match doors.guard().admit(&request) {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(refused) => refused.answer(api),
    }
}

/// Gives a request's id back, and counts and measures what was answered.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    use crate::runtime::metrics;

    let id = request.headers().get(REQUEST_ID).filter(|id| id.len() <= LONGEST_REQUEST_ID).cloned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let start = std::time::Instant::now();
    let mut response = next.run(request).await;
    metrics::http_requests(&route, response.status().as_str()).increment(1);
    metrics::http_request_duration(&route).record(start.elapsed());
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_which_role() {
        let cases = [
            ("GET", "/", None),
            ("GET", "/livez", None),
            ("GET", "/readyz", None),
            ("GET", "/metrics", None),
            ("GET", "/health", None),
            ("GET", "/.well-known/authzen-configuration", None),
            ("POST", "/metrics", Some(Access::Viewer)),
            ("POST", "/v1/data", Some(Access::Checker)),
            ("GET", "/v1/data/a/b", Some(Access::Checker)),
            ("PUT", "/v1/data/a", Some(Access::Author)),
            ("POST", "/v0/data/a", Some(Access::Checker)),
            ("POST", "/access/v1/evaluation", Some(Access::Checker)),
            ("GET", "/v1/policies/", Some(Access::Viewer)),
            ("PUT", "/v1/policies/a", Some(Access::Author)),
            ("DELETE", "/v1/policies/a", Some(Access::Author)),
            ("GET", "/api/enforcement", Some(Access::Viewer)),
            ("PUT", "/api/enforcement", Some(Access::Admin)),
            ("GET", "/whatever", Some(Access::Viewer)),
            ("GET", "/v1/database", Some(Access::Viewer)),
        ];
        for (method, path, access) in cases {
            assert_eq!(needed(&method.parse().unwrap(), path), access, "{method} {path}");
        }
        assert!(Access::Checker < Access::Viewer && Access::Author < Access::Admin);
    }

    #[test]
    fn each_path_speaks_one_language() {
        for (path, api) in [
            ("/v1/data/a", Api::Opa),
            ("/health", Api::Opa),
            ("/access/v1/evaluation", Api::Authzen),
            ("/v1x", Api::Own),
            ("/metrics", Api::Own),
        ] {
            assert_eq!(Api::of(path), api, "{path}");
        }
    }
}
