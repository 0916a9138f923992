//! `/api/policies/validate`, `…/test`: trying policies. Nothing is enforced or recorded.

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::policies::shown;
use super::query::{Body, read};
use crate::contract::admin::{
    Authored, ChangeReply, GetRequest, PatchRequest, PolicyDraft, PolicyView, PutRequest, Verb,
};
use crate::contract::evaluate::{Choice, ChosenVersion};
use crate::contract::{EvaluateReply, EvaluateRequest};
use crate::domain::{Finding, Status};
use crate::roles::console::ask::Unmanaged;
use crate::roles::console::doors::Doors;
use crate::roles::console::problem::Problem;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/policies/validate", post(validate))
        .route("/api/policies/{policy}/test", post(test))
}

/// Rego to look at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Candidate {
    /// The Rego.
    rego: String,
    /// The policy whose Rego it shall become; left out for a new policy.
    #[serde(default)]
    name: Option<String>,
    /// Settings to check too.
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
}

/// What is to say of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Validated {
    /// Whether it would be taken.
    valid: bool,
    /// What is wrong or doubtful, by line.
    findings: Vec<Finding>,
    /// The policy as it would be; null where it would not be taken.
    policy: Option<Map<String, Value>>,
}

async fn validate(
    State(doors): State<Doors>,
    Body(Candidate { rego, name, parameters }): Body<Candidate>,
) -> Result<Json<Validated>, Problem> {
    let asker = doors.asker();
    let change = Authored { author: "validate".into(), dry_run: true, ..Authored::default() };
    let existing = match name {
        Some(policy) => {
            let request = GetRequest { policy: policy.clone(), version: None };
            match asker.manage::<PolicyView>(Verb::Get, &request).await {
                Ok(_) => Some(policy),
                Err(Unmanaged::Refused(detail)) if detail.code == 404 => None,
                Err(error) => return Err(error.into()),
            }
        }
        None => None,
    };
    let tried: Result<ChangeReply, Unmanaged> = match existing {
        Some(policy) => {
            let mut changes = Map::new();
            changes.insert("rego".into(), json!(rego));
            changes.insert("template".into(), Value::Null);
            changes.extend(parameters.map(|given| ("parameters".to_owned(), Value::Object(given))));
            asker.manage(Verb::Patch, &PatchRequest { policy, changes, change }).await
        }
        None => {
            // Of a name that nobody has.
            let name = format!("validate-{}", Uuid::new_v4().simple());
            let status = Status::Inactive;
            let parameters = parameters.unwrap_or_default();
            let policy = PolicyDraft { name, rego, status, parameters, ..PolicyDraft::default() };
            asker.manage(Verb::Put, &PutRequest { policy, change }).await
        }
    };
    match tried {
        Ok(reply) => Ok(Json(Validated {
            valid: true,
            findings: reply.findings,
            policy: Some(shown(&reply.policy)),
        })),
        Err(Unmanaged::Refused(detail)) => {
            let findings = if detail.findings.is_empty() {
                let code = if detail.field.is_empty() { "refused".into() } else { detail.field };
                vec![Finding::error(&code, detail.message, "")]
            } else {
                detail.findings
            };
            Ok(Json(Validated { valid: false, findings, policy: None }))
        }
        Err(error) => Err(error.into()),
    }
}

async fn test(
    State(doors): State<Doors>,
    Path(policy): Path<String>,
    Body(mut members): Body<Map<String, Value>>,
) -> Result<Json<EvaluateReply>, Problem> {
    let version = match members.remove("version") {
        None | Some(Value::Null) => None,
        Some(version) => match version.as_u64() {
            Some(version) => Some(version),
            None => return Err(Problem::invalid("version: must be a number")),
        },
    };
    let mut request: EvaluateRequest = read(members)?;
    if !request.policies.is_empty() {
        return Err(Problem::invalid("policies: the policy is the one of the path"));
    }
    if request.rego.is_none() {
        let chosen = ChosenVersion { policy, version, usage: None };
        request.policies = vec![Choice::Version(chosen)];
    }
    Ok(Json(doors.asker().evaluate(&request).await?))
}
