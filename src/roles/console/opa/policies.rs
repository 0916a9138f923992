//! `/v1/policies`: the stored policies, by name, through the same management as the command line.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value, json};

use super::error::OpaError;
use crate::contract::admin::{
    Authored, ChangeReply, GetRequest, NamedChange, PatchRequest, PolicyDraft, PolicyView,
    PutRequest, Verb,
};
use crate::contract::fault::ServiceErrorDetail;
use crate::domain::{Finding, FindingSeverity};
use crate::roles::console::ask::{Asker, Unmanaged};
use crate::roles::console::directory::RULES;
use crate::roles::console::doors::Doors;
use crate::roles::console::guard::Caller;

/// Policies that are read at once for a list.
const AT_ONCE: usize = 16;

/// `GET /v1/policies`
pub(super) async fn list(State(doors): State<Doors>) -> Result<Response, OpaError> {
    let asker = doors.asker();
    let list = asker.list().await.map_err(|error| unmanaged("", error))?;
    // The list comes without the Rego, which OPA's has.
    let views: Vec<Option<PolicyView>> = futures::stream::iter(list.policies)
        .map(|view| async move { found(asker, &view.record.name).await })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let result: Vec<Value> = views.iter().flatten().map(shown).collect();
    Ok(Json(json!({"result": result})).into_response())
}

/// `GET /v1/policies/<id>`
pub(super) async fn get(
    State(doors): State<Doors>,
    Path(id): Path<String>,
) -> Result<Response, OpaError> {
    match found(doors.asker(), &id).await? {
        Some(view) => Ok(Json(json!({"result": shown(&view)})).into_response()),
        None => Err(OpaError::no_policy(&id)),
    }
}

/// `PUT /v1/policies/<id>`: a new policy is inactive, so that it decides for those who name its package
/// and for nobody else, as in OPA. What exists keeps its status, scope and parameters.
pub(super) async fn put(
    State(doors): State<Doors>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, OpaError> {
    let rego = String::from_utf8(body.to_vec())
        .map_err(|_| OpaError::invalid("the policy isn't UTF-8"))?;
    if rego.trim().is_empty() {
        return Err(OpaError::invalid("the policy is empty: send the Rego as the body"));
    }
    let asker = doors.asker();
    let change = authored(&caller, &format!("PUT /v1/policies/{id}"));
    if found(asker, &id).await?.is_none() {
        let policy = PolicyDraft { name: id.clone(), rego: rego.clone(), ..PolicyDraft::default() };
        let request = PutRequest { policy, change: change.clone() };
        match asker.manage::<ChangeReply>(Verb::Put, &request).await {
            Ok(_) => return Ok(done(&doors)),
            // Somebody else has just made it.
            Err(Unmanaged::Refused(detail)) if detail.code == 409 => (),
            Err(error) => return Err(unmanaged(&id, error)),
        }
    }
    let changes: Map<String, Value> =
        [("rego".to_owned(), json!(rego)), ("template".to_owned(), Value::Null)]
            .into_iter()
            .collect();
    let request = PatchRequest { policy: id.clone(), changes, change };
    asker
        .manage::<ChangeReply>(Verb::Patch, &request)
        .await
        .map(|_| done(&doors))
        .map_err(|error| unmanaged(&id, error))
}

/// `DELETE /v1/policies/<id>`
pub(super) async fn delete(
    State(doors): State<Doors>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, OpaError> {
    let change = authored(&caller, &format!("DELETE /v1/policies/{id}"));
    let request = NamedChange { policy: id.clone(), change };
    doors
        .asker()
        .manage::<ChangeReply>(Verb::Delete, &request)
        .await
        .map(|_| done(&doors))
        .map_err(|error| unmanaged(&id, error))
}

fn done(doors: &Doors) -> Response {
    doors.directory().forget();
    Json(json!({})).into_response()
}

fn authored(caller: &Caller, comment: &str) -> Authored {
    Authored {
        author: caller.name().to_owned(),
        comment: comment.to_owned(),
        ..Authored::default()
    }
}

async fn found(asker: &Asker, id: &str) -> Result<Option<PolicyView>, OpaError> {
    let request = GetRequest { policy: id.to_owned(), version: None };
    match asker.manage(Verb::Get, &request).await {
        Ok(view) => Ok(Some(view)),
        Err(Unmanaged::Refused(detail)) if detail.code == 404 => Ok(None),
        Err(error) => Err(unmanaged(id, error)),
    }
}

/// A policy as OPA shows one. Of its syntax tree there is what clients read: the package's path, and the
/// rules that decide.
fn shown(view: &PolicyView) -> Value {
    let path: Vec<Value> = std::iter::once(json!({"type": "var", "value": "data"}))
        .chain(view.record.package.split('.').map(|part| json!({"type": "string", "value": part})))
        .collect();
    let rules: Vec<Value> = RULES.iter().map(|rule| json!({"head": {"name": rule}})).collect();
    json!({
        "id": view.record.name,
        "raw": view.content,
        "ast": {"package": {"path": path}, "rules": rules},
    })
}

fn unmanaged(id: &str, error: Unmanaged) -> OpaError {
    match error {
        Unmanaged::Unavailable(message) => {
            OpaError::of_status(StatusCode::INTERNAL_SERVER_ERROR, message)
        }
        Unmanaged::Refused(detail) if detail.code == 404 => OpaError::no_policy(id),
        Unmanaged::Refused(detail) if detail.code == 409 => {
            OpaError::new(StatusCode::CONFLICT, "resource_conflict", detail.message)
        }
        Unmanaged::Refused(detail) => refused(id, &detail),
    }
}

fn refused(id: &str, detail: &ServiceErrorDetail) -> OpaError {
    let wrong = detail.findings.iter().filter(|f| f.severity == FindingSeverity::Error);
    let errors: Vec<Value> = wrong.map(|finding| located(id, finding)).collect();
    if errors.is_empty() {
        let field = if detail.field.is_empty() { "" } else { ": " };
        return OpaError::invalid(format!("{}{field}{}", detail.field, detail.message));
    }
    OpaError::invalid("error(s) occurred while compiling module(s)").with(errors)
}

/// A finding as OPA's compiler tells one.
fn located(id: &str, finding: &Finding) -> Value {
    let code = if finding.code == "parse" { "rego_parse_error" } else { "rego_compile_error" };
    let message = if finding.help.is_empty() {
        finding.message.clone()
    } else {
        format!("{}; {}", finding.message, finding.help)
    };
    json!({
        "code": code,
        "message": message,
        "location": {
            "file": id,
            "row": finding.line.unwrap_or(0),
            "col": finding.column.unwrap_or(0),
        },
    })
}
