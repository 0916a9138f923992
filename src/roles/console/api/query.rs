//! What all routes read alike: parameters, bodies, cursors, versions.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::DateTime;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::roles::console::problem::Problem;
use crate::store::Cursor;

/// Bytes of the longest text in a parameter.
const LONGEST: usize = 1_024;
/// Rows of a page where the request doesn't say.
const PAGE: u32 = 100;
/// Rows of a page at most.
const LARGEST_PAGE: u32 = 1_000;

/// Query parameters, with a problem that says what is wrong.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if parts.uri.query().unwrap_or_default().len() > 16 * LONGEST {
            return Err(Problem::invalid("the query is too long"));
        }
        Query::try_from_uri(&parts.uri)
            .map(|Query(parameters)| Self(parameters))
            .map_err(|error| Problem::invalid(error.body_text()))
    }
}

/// A JSON body, with a problem that says what is wrong. Nothing at all is an empty object.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|error| Problem::invalid(error.body_text()))?;
        let body: &[u8] = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &body };
        serde_json::from_slice(body)
            .map(Self)
            .map_err(|error| Problem::invalid(format!("the body: {error}")))
    }
}

/// Members as a type, which says which of them it doesn't know.
pub(super) fn read<T: DeserializeOwned>(members: Map<String, Value>) -> Result<T, Problem> {
    serde_json::from_value(Value::Object(members))
        .map_err(|error| Problem::invalid(error.to_string()))
}

/// How many rows a page has.
pub(super) fn page(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(PAGE) {
        0 => Err(Problem::invalid("limit: at least 1")),
        limit => Ok(limit.min(LARGEST_PAGE)),
    }
}

/// A row's place in a list, as clients hand it back.
pub(super) fn cursor_text(cursor: Cursor) -> String {
    format!("{}.{}", cursor.timestamp.timestamp_micros(), cursor.id)
}

/// The place of such a text.
pub(super) fn cursor(text: Option<&str>) -> Result<Option<Cursor>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let cursor = text.split_once('.').and_then(|(micros, id)| {
        Some(Cursor {
            timestamp: DateTime::from_timestamp_micros(micros.parse().ok()?)?,
            id: Uuid::parse_str(id).ok()?,
        })
    });
    let wrong = || Problem::invalid("cursor: give back `next` of the page before, as it was");
    cursor.map(Some).ok_or_else(wrong)
}

/// A text of a filter: none where it is empty.
pub(super) fn text(name: &str, text: Option<String>) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.len() > LONGEST => {
            Err(Problem::invalid(format!("{name}: at most {LONGEST} bytes")))
        }
        Some(text) if text.is_empty() => Ok(None),
        text => Ok(text),
    }
}

/// The version that a change starts from, as `If-Match` names it.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.trim_start_matches("W/").trim_matches('"').parse();
    version.map(Some).map_err(|_| {
        Problem::invalid("If-Match: the ETag of the policy as it was read, such as \"3\"")
    })
}

/// What a change answers whose `If-Match` isn't the newest version.
pub(super) fn unless_stale(problem: Problem, if_match: Option<u64>) -> Problem {
    if if_match.is_some() && problem.status() == StatusCode::CONFLICT {
        problem.with_status(StatusCode::PRECONDITION_FAILED)
    } else {
        problem
    }
}

/// An answer with a policy's version as its `ETag`.
pub(super) fn tagged(mut response: Response, version: u64) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_went() {
        let at = Cursor {
            timestamp: DateTime::from_timestamp_micros(1_764_000_000_123_456).unwrap(),
            id: Uuid::now_v7(),
        };
        assert_eq!(cursor(Some(&cursor_text(at))).unwrap(), Some(at));
        assert_eq!(cursor(None).unwrap(), None);
        for bad in ["", "1", "x.y", "1.2", &format!("99999999999999999999.{}", at.id)] {
            assert!(cursor(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_read_from_tags() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, text.parse().unwrap());
            if_match(&headers).ok()
        };
        assert_eq!(of("\"3\""), Some(Some(3)));
        assert_eq!(of("W/\"3\""), Some(Some(3)));
        assert_eq!(of("*"), Some(None));
        assert_eq!(of("\"x\""), None);
        assert_eq!(if_match(&HeaderMap::new()).ok(), Some(None));
    }
}
