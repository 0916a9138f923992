//! Who may come in: names by which this server is called, tokens and their roles, and how often.
//!
//! What needs which role is one table, in `needs.rs`: a path that it doesn't know needs one too.

mod hosts;
mod needs;
mod rate;
mod sessions;
mod tokens;

use std::net::{IpAddr, SocketAddr};

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use self::hosts::Hosts;
use self::needs::{is_below, needed};
use self::rate::{Key, Rate};
use self::sessions::Sessions;
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
/// The cookie of those who signed in with a browser.
pub(super) const SESSION_COOKIE: &str = "sluicegate_session";
/// The header that a browser sends with changes: a form of another site's page can't.
const CONSOLE_HEADER: &str = "x-sluicegate-console";
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

    /// Whether programs ask there, who need errors in its form, rather than people.
    pub(super) fn is_called(self, path: &str) -> bool {
        !matches!(self, Self::Own) || is_below(path, "/api")
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

/// Lets in, or says why not.
pub(super) struct Guard {
    tokens: Tokens,
    sessions: Sessions,
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
            sessions: Sessions::default(),
            anonymous,
            hosts: Hosts::new(http.listen.ip(), &http.hosts),
            rate: Rate::new(http.rate_limit, http.rate_burst),
        })
    }

    /// Who calls, if he may.
    fn admit(&self, request: &Request) -> Result<Option<Caller>, Refused> {
        self.hosts.check(request.uri(), request.headers())?;
        let (method, path) = (request.method(), request.uri().path());
        let needed = needed(method, path);
        // Signing in is open, but not for trying one token after the other.
        let signs_in = path == "/api/session" && *method == Method::POST;
        if needed.is_none() && !signs_in {
            return Ok(None);
        }
        let known = self.known(request.headers());
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
        let key = match &known {
            Known::Token(index, _) if !signs_in => Key::Token(*index),
            _ => Key::of(peer.unwrap_or(IpAddr::from([0, 0, 0, 0]))),
        };
        if let Some(wait) = self.rate.as_ref().and_then(|rate| rate.wait(key)) {
            return Err(Refused::Rate(wait));
        }
        let Some(needed) = needed else { return Ok(None) };
        let (caller, access) = match known {
            Known::Token(_, By::Cookie)
                if !matches!(*method, Method::GET | Method::HEAD)
                    && !request.headers().contains_key(CONSOLE_HEADER) =>
            {
                return Err(Refused::Name(format!(
                    "a change by a signed-in browser needs the header {CONSOLE_HEADER}"
                )));
            }
            Known::Token(index, _) => match self.tokens.get(index) {
                Some(token) => (Caller(token.name.clone()), Some(token.access)),
                None => return Err(Refused::BadToken),
            },
            Known::Wrong => return Err(Refused::BadToken),
            Known::Nobody => (Caller(NOBODY.to_owned()), self.anonymous),
        };
        match access {
            Some(access) if access >= needed => Ok(Some(caller)),
            Some(access) => Err(Refused::Role { access, needed }),
            None => Err(Refused::NoToken),
        }
    }

    /// By what a request is known.
    fn known(&self, headers: &HeaderMap) -> Known {
        match bearer(headers) {
            Some(token) => match self.tokens.find(token.as_deref()) {
                Some((index, _)) => Known::Token(index, By::Header),
                None => Known::Wrong,
            },
            // A session that has ended is nobody's: the page then asks to sign in.
            None => session_of(headers)
                .and_then(|id| self.sessions.token_of(id))
                .map_or(Known::Nobody, |index| Known::Token(index, By::Cookie)),
        }
    }

    /// Who calls, by name where a token says it, and what he may.
    pub(super) fn who(&self, headers: &HeaderMap) -> (Option<String>, Option<Access>) {
        match self.known(headers) {
            Known::Token(index, _) => {
                self.tokens.get(index).map(|token| (token.name.clone(), token.access)).unzip()
            }
            Known::Wrong => (None, None),
            Known::Nobody => (None, self.anonymous),
        }
    }

    /// Whether there are tokens.
    pub(super) const fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Begins a session for whoever has this token.
    pub(super) fn sign_in(&self, token: &str) -> Option<String> {
        let (index, _) = self.tokens.find(Some(token))?;
        Some(self.sessions.begin(index))
    }

    /// Ends a session.
    pub(super) fn sign_out(&self, id: &str) {
        self.sessions.end(id);
    }
}

/// By what a request is known.
enum Known {
    /// The token at this place.
    Token(usize, By),
    /// A token that isn't one.
    Wrong,
    /// Nothing.
    Nobody,
}

/// How a token came.
#[derive(Clone, Copy)]
enum By {
    /// In the header, which no browser adds by itself.
    Header,
    /// By the session in a cookie.
    Cookie,
}

/// The id of the session that a request is of.
pub(super) fn session_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim(), value.trim()))
    });
    pairs.find(|(name, _)| *name == SESSION_COOKIE).map(|(_, id)| id)
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
