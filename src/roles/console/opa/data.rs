//! `/v1/data` and `/v0/data`: every question for a document is a check.

use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::OpaError;
use super::input;
use crate::contract::{CheckReply, PolicyReply};
use crate::domain::Verdict;
use crate::roles::console::ask::Answer;
use crate::roles::console::directory::{Place, RULES};
use crate::roles::console::doors::Doors;
use crate::roles::console::guard::Caller;
use crate::roles::console::unchecked::UncheckedCall;

/// Parts of the longest path.
const LONGEST_PATH: usize = 64;

/// What of OPA's query parameters means something here; the others change nothing.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameters {
    input: Option<String>,
    pretty: Option<String>,
}

impl Parameters {
    fn pretty(&self) -> bool {
        self.pretty.as_deref().is_some_and(|text| !text.eq_ignore_ascii_case("false"))
    }
}

/// A document that was asked for, and the decision's id.
struct Document {
    value: Option<Value>,
    id: Option<String>,
    warning: Option<Warning>,
}

/// What a client should know of an answer, beside it.
struct Warning {
    code: &'static str,
    message: String,
}

/// `POST /v1/data[/<path>]`
pub(super) async fn post(
    State(doors): State<Doors>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, OpaError> {
    plain(&headers)?;
    let input = match json_body(&body)? {
        None | Some(Value::Null) => None,
        Some(Value::Object(mut members)) => members.remove("input"),
        Some(_) => {
            return Err(OpaError::invalid(
                "body contains malformed input document: it must be an object: {\"input\": …}",
            ));
        }
    };
    let document = asked(&doors, &caller, &uri, input).await?;
    Ok(answer(document, parameters.pretty()))
}

/// `GET /v1/data[/<path>]`
pub(super) async fn get(
    State(doors): State<Doors>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
    uri: Uri,
) -> Result<Response, OpaError> {
    let input = match parameters.input.as_deref() {
        None | Some("") => None,
        Some(text) => Some(serde_json::from_str(text).map_err(|error| {
            OpaError::invalid(format!("parameter contains malformed input document: {error}"))
        })?),
    };
    let document = asked(&doors, &caller, &uri, input).await?;
    Ok(answer(document, parameters.pretty()))
}

/// `POST /v0/data[/<path>]`: the body is the input, the answer the document.
pub(super) async fn post_v0(
    State(doors): State<Doors>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, OpaError> {
    plain(&headers)?;
    let document = asked(&doors, &caller, &uri, json_body(&body)?).await?;
    document.value.map_or_else(
        || {
            Err(OpaError::new(
                StatusCode::NOT_FOUND,
                "undefined_document",
                format!("document missing or undefined: {}", dotted(&path_of(&uri)?)),
            ))
        },
        |value| Ok(shown(&value, parameters.pretty())),
    )
}

/// What would write data: there are none, policies read what is asked and their own parameters.
pub(super) async fn write(method: Method) -> OpaError {
    OpaError::unsupported(format!(
        "{method} of data is not supported: there are no base documents. Policies read their input, \
         their parameters (sluicegate policy enable --param) and input.usage"
    ))
}

fn plain(headers: &HeaderMap) -> Result<(), OpaError> {
    let encoded = headers.get(header::CONTENT_ENCODING);
    if encoded.is_some_and(|encoding| encoding != "identity") {
        return Err(OpaError::invalid("a Content-Encoding is not supported: send plain JSON"));
    }
    let yaml = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.to_ascii_lowercase().contains("yaml"));
    if yaml { Err(OpaError::invalid("YAML is not supported: send JSON")) } else { Ok(()) }
}

fn json_body(body: &[u8]) -> Result<Option<Value>, OpaError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    serde_json::from_slice(body).map(Some).map_err(|error| {
        OpaError::invalid(format!("body contains malformed input document: {error}"))
    })
}

/// The parts behind `/v1/data`, decoded one by one: a part may hold a slash.
fn path_of(uri: &Uri) -> Result<Vec<String>, OpaError> {
    let parts = uri.path().split('/').skip(3).filter(|part| !part.is_empty());
    let path: Result<Vec<String>, _> = parts
        .map(|part| percent_decode_str(part).decode_utf8().map(std::borrow::Cow::into_owned))
        .collect();
    let path = path.map_err(|_| OpaError::invalid("the path isn't UTF-8"))?;
    if path.len() > LONGEST_PATH {
        return Err(OpaError::invalid(format!("the path has more than {LONGEST_PATH} parts")));
    }
    Ok(path)
}

fn dotted(path: &[String]) -> String {
    std::iter::once("data").chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(".")
}

/// The document at a path for an input: one check, but for a path that names nothing.
async fn asked(
    doors: &Doors,
    caller: &Caller,
    uri: &Uri,
    input: Option<Value>,
) -> Result<Document, OpaError> {
    let path = path_of(uri)?;
    // All of it within the time for one check: at most half of it to find out what the path names.
    let deadline = Instant::now() + doors.asker().check_timeout();
    let patience = doors.asker().check_timeout() / 2;
    let place = doors.directory().place(doors.asker(), &path, patience).await;
    let package = match &place {
        Place::Package { package, .. } => Some(package.as_str()),
        Place::Above => None,
        Place::Nowhere => return Ok(Document { value: None, id: None, warning: None }),
    };
    let request = input::check(input, &dotted(&path), package, caller.name());
    // What is told of the decision needs none of the other rules.
    let others = match &place {
        Place::Package { rest, .. } => {
            rest.first().is_none_or(|rule| !RULES.contains(&rule.as_str()))
        }
        _ => false,
    };
    match doors.asker().check(&request, others, deadline).await {
        Answer::Decided(reply) => {
            let (id, document) = (reply.decision_id.to_string(), &reply.document);
            let problem = document.as_ref().filter(|document| !document.error.is_empty());
            let warning = problem.map(|document| Warning {
                code: "rules_unavailable",
                message: format!("the package's other rules: {}", document.error),
            });
            let value = match &place {
                Place::Package { package, rest } => {
                    of_package(&reply, package).and_then(|document| at(document, rest))
                }
                _ => Some(of_all(&reply, &path)),
            };
            Ok(Document { value, id: Some(id), warning })
        }
        Answer::Refused(message) => Err(OpaError::invalid(message)),
        Answer::Unchecked(call) => {
            let document = of_unchecked(&call);
            let value = match &place {
                Place::Package { rest, .. } => at(document, rest),
                _ => Some(document),
            };
            let warning = Some(Warning { code: "unchecked", message: call.message });
            Ok(Document { value, id: Some(call.id.to_string()), warning })
        }
    }
}

/// A package's rules, of which those that decide are the combined decision's. None where no policy has
/// the package any more.
fn of_package(reply: &CheckReply, package: &str) -> Option<Value> {
    // The package may have gone since the list was read; then the worker says so in its place.
    let gone = |said: &PolicyReply| said.package == package && said.version == 0;
    if reply.policies.iter().any(gone) {
        return None;
    }
    let mut document =
        reply.document.as_ref().map(|document| document.rules.clone()).unwrap_or_default();
    document.insert("allow".into(), json!(reply.allowed));
    document.insert("deny_reasons".into(), json!(reply.deny_reasons));
    document.insert("warnings".into(), json!(reply.warnings));
    if reply.error {
        document.insert("error".into(), json!(true));
        document.insert("error_message".into(), json!(reply.error_message));
    }
    Some(Value::Object(document))
}

/// What each policy that applied said, in the places of their packages below a path.
fn of_all(reply: &CheckReply, path: &[String]) -> Value {
    let mut root = Map::new();
    for said in &reply.policies {
        let parts: Vec<&str> = said.package.split('.').collect();
        let below = parts.len() > path.len()
            && parts.iter().zip(path).all(|(part, wanted)| *part == wanted.as_str());
        let Some(below_path) = parts.get(path.len()..).filter(|_| below) else { continue };
        let rules = json!({
            "allow": said.decision == Verdict::Allow,
            "deny_reasons": said.deny_reasons,
            "warnings": said.warnings,
        });
        lay(&mut root, below_path, rules);
    }
    Value::Object(root)
}

/// Lays a document into a tree. A package may also be the beginning of another's name: then both stand
/// in one object.
fn lay(tree: &mut Map<String, Value>, place: &[&str], document: Value) {
    let Some((first, rest)) = place.split_first() else { return };
    let branch = tree.entry(*first).or_insert_with(|| json!({}));
    if !branch.is_object() {
        *branch = json!({});
    }
    match (branch, document) {
        (Value::Object(branch), Value::Object(rules)) if rest.is_empty() => branch.extend(rules),
        (Value::Object(branch), document) => lay(branch, rest, document),
        _ => (),
    }
}

/// What a caller is told whose call no worker answered: in words that any client for these rules
/// understands.
fn of_unchecked(call: &UncheckedCall) -> Value {
    let reason = vec![format!("unchecked: {}", call.cause.as_str())];
    let none = Vec::new();
    let (deny_reasons, warnings) = if call.allowed { (none, reason) } else { (reason, none) };
    json!({
        "allow": call.allowed,
        "deny_reasons": deny_reasons,
        "warnings": warnings,
        "error": true,
        "error_message": call.message,
    })
}

/// A place in a document.
fn at(document: Value, rest: &[String]) -> Option<Value> {
    rest.iter().try_fold(document, |mut value, part| match &mut value {
        Value::Object(members) => members.remove(part),
        Value::Array(items) => {
            let index: usize = part.parse().ok()?;
            items.get_mut(index).map(Value::take)
        }
        _ => None,
    })
}

fn answer(document: Document, pretty: bool) -> Response {
    let mut body = Map::new();
    if let Some(id) = document.id {
        body.insert("decision_id".into(), json!(id));
    }
    if let Some(value) = document.value {
        body.insert("result".into(), value);
    }
    if let Some(Warning { code, message }) = document.warning {
        body.insert("warning".into(), json!({"code": code, "message": message}));
    }
    shown(&Value::Object(body), pretty)
}

fn shown(value: &Value, pretty: bool) -> Response {
    if !pretty {
        return Json(value).into_response();
    }
    ([(header::CONTENT_TYPE, "application/json")], format!("{value:#}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_a_document() {
        let document = json!({"allow": false, "deny_reasons": ["a", "b"]});
        let place = |rest: &[&str]| {
            let rest: Vec<String> = rest.iter().map(|part| (*part).to_owned()).collect();
            at(document.clone(), &rest)
        };
        assert_eq!(place(&[]), Some(document.clone()));
        assert_eq!(place(&["allow"]), Some(json!(false)));
        assert_eq!(place(&["deny_reasons", "1"]), Some(json!("b")));
        assert_eq!(place(&["deny_reasons", "2"]), None);
        assert_eq!(place(&["allow", "x"]), None);
        assert_eq!(place(&["other"]), None);
    }

    #[test]
    fn packages_make_a_tree() {
        let mut tree = Map::new();
        lay(&mut tree, &["a", "b"], json!({"allow": true}));
        lay(&mut tree, &["a", "b", "c"], json!({"allow": false}));
        lay(&mut tree, &["a", "d"], json!({"allow": true}));
        let tree = Value::Object(tree);
        assert_eq!(
            tree,
            json!({"a": {"b": {"allow": true, "c": {"allow": false}}, "d": {"allow": true}}})
        );
    }

    #[test]
    fn parts_of_paths_are_decoded_alone() {
        let path = |text: &str| path_of(&text.parse().unwrap());
        assert_eq!(path("/v1/data").unwrap(), Vec::<String>::new());
        assert_eq!(path("/v1/data/").unwrap(), Vec::<String>::new());
        assert_eq!(path("/v1/data/a/b%2Fc/").unwrap(), ["a", "b/c"]);
        assert!(path("/v1/data/%ff").is_err());
        assert!(path(&format!("/v1/data{}", "/a".repeat(65))).is_err());
    }
}
