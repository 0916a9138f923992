//! `/api/policies`: the stored policies, and changes of them.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::query::{Body, Parameters, if_match, page, read, tagged, unless_stale};
use crate::contract::admin::{
    Authored, ChangeReply, GetRequest, NamedChange, PatchRequest, PolicyDraft, PolicyView,
    PutRequest, Verb,
};
use crate::domain::{EnforcementMode, Finding, PolicyMode, ScopeKind, Status};
use crate::roles::console::doors::Doors;
use crate::roles::console::guard::Caller;
use crate::roles::console::problem::Problem;
use crate::store::Denials;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/policies", get(list).post(create))
        .route("/api/policies/{policy}", get(one).patch(change).put(replace).delete(remove))
}

/// Which policies.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PolicyFilter {
    /// `active`, `inactive` or `draft`.
    status: Option<Status>,
    /// `global`, `session`, `project` or `user`.
    scope: Option<ScopeKind>,
    /// `enforce` or `warn`.
    mode: Option<PolicyMode>,
    /// A part of the name, the title or the description, whatever its case.
    text: Option<String>,
    /// Policies of a page, at most 1,000.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A policy in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PolicyItem {
    #[serde(flatten)]
    policy: Map<String, Value>,
    /// Checks of the last 24 hours that it denied; null where the history can't be asked.
    denials_24h: Option<u64>,
    /// Checks of the last 24 hours that it would have denied as a draft.
    would_deny_24h: Option<u64>,
}

/// Policies by name.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PolicyItems {
    policies: Vec<PolicyItem>,
    /// Where the next page begins; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// The switch for all policies.
    enforcement: EnforcementMode,
    /// Whether ClickHouse answered.
    history: bool,
}

/// What a change did.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Changed {
    /// `updated`, `created` or `deleted`.
    status: &'static str,
    /// Whether there was anything to change.
    changed: bool,
    /// Whether it was only tried.
    dry_run: bool,
    /// The policy after it.
    policy: Map<String, Value>,
    /// What the author should look at.
    findings: Vec<Finding>,
    /// Its version by now.
    version: u64,
    /// The version before, to which a rollback undoes the change; null where there was none.
    previous_version: Option<u64>,
}

async fn list(
    State(doors): State<Doors>,
    Parameters(filter): Parameters<PolicyFilter>,
) -> Result<Json<PolicyItems>, Problem> {
    let limit = usize::try_from(page(filter.limit)?).unwrap_or(usize::MAX);
    let day = Utc::now() - TimeDelta::days(1);
    let (list, denials) = tokio::join!(doors.asker().list(), doors.store().denials_by_policy(day));
    let list = list?;
    let denials = denials.ok();
    let mut found = list.policies.iter().filter(|view| {
        let after = filter.cursor.as_deref().is_none_or(|after| view.record.name.as_str() > after);
        after && filter.takes(view)
    });
    let policies: Vec<PolicyItem> =
        found.by_ref().take(limit).map(|view| item(view, denials.as_ref())).collect();
    let last = policies.last().and_then(|item| item.policy.get("name")?.as_str());
    let next = found.next().and(last.map(str::to_owned));
    let (enforcement, history) = (list.enforcement, denials.is_some());
    Ok(Json(PolicyItems { policies, next, enforcement, history }))
}

impl PolicyFilter {
    fn takes(&self, view: &PolicyView) -> bool {
        let record = &view.record;
        let text = self.text.as_deref().map(str::to_lowercase);
        self.status.is_none_or(|status| record.status == status)
            && self.scope.is_none_or(|scope| record.scope == scope)
            && self.mode.is_none_or(|mode| record.mode == mode)
            && text.is_none_or(|text| {
                [&record.name, &view.title, &view.effective_description]
                    .iter()
                    .any(|field| field.to_lowercase().contains(&text))
            })
    }
}

fn item(view: &PolicyView, denials: Option<&BTreeMap<String, Denials>>) -> PolicyItem {
    let mut policy = shown(view);
    // A list comes without them.
    for empty in ["content", "parameters_schema", "reasons"] {
        policy.remove(empty);
    }
    let of = denials.map(|all| all.get(&view.record.name).copied().unwrap_or_default());
    PolicyItem {
        policy,
        denials_24h: of.map(|denials| denials.denied),
        would_deny_24h: of.map(|denials| denials.would_deny),
    }
}

/// A policy as the API shows it: with the description that its METADATA gives where it has none of its
/// own.
pub(super) fn shown(view: &PolicyView) -> Map<String, Value> {
    let mut shown = match json!(view) {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    shown.insert("description".into(), json!(view.effective_description));
    shown.entry("scope_id").or_insert_with(|| json!(""));
    shown
}

async fn one(State(doors): State<Doors>, Path(policy): Path<String>) -> Result<Response, Problem> {
    let view: PolicyView =
        doors.asker().manage(Verb::Get, &GetRequest { policy, version: None }).await?;
    Ok(tagged(Json(shown(&view)).into_response(), view.record.version))
}

async fn create(
    State(doors): State<Doors>,
    caller: Caller,
    Body(mut members): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    let change = authored(&caller, &mut members, None)?;
    let policy: PolicyDraft = read(members)?;
    let reply = doors.asker().manage(Verb::Put, &PutRequest { policy, change }).await?;
    let changed = changed(&doors, "created", &reply);
    let location = format!("/api/policies/{}", reply.policy.record.name);
    let response =
        (StatusCode::CREATED, [(header::LOCATION, location)], Json(changed)).into_response();
    Ok(tagged(response, reply.policy.record.version))
}

async fn change(
    State(doors): State<Doors>,
    caller: Caller,
    Path(policy): Path<String>,
    headers: HeaderMap,
    Body(mut changes): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    let if_match = if_match(&headers)?;
    let change = authored(&caller, &mut changes, if_match)?;
    let request = PatchRequest { policy, changes, change };
    done(&doors, Verb::Patch, &request, "updated", if_match).await
}

async fn replace(
    State(doors): State<Doors>,
    caller: Caller,
    Path(policy): Path<String>,
    headers: HeaderMap,
    Body(mut members): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "send If-Match with the ETag of the policy that is to be replaced; to make a new one, \
             POST /api/policies",
        ));
    }
    let asker = doors.asker();
    let known: PolicyView = asker.manage(Verb::Get, &GetRequest { policy, version: None }).await?;
    let if_match = Some(if_match(&headers)?.unwrap_or(known.record.version));
    let change = authored(&caller, &mut members, if_match)?;
    members.insert("name".into(), json!(known.record.name));
    let policy: PolicyDraft = read(members)?;
    done(&doors, Verb::Put, &PutRequest { policy, change }, "updated", if_match).await
}

async fn remove(
    State(doors): State<Doors>,
    caller: Caller,
    Path(policy): Path<String>,
    headers: HeaderMap,
    Body(mut members): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    let if_match = if_match(&headers)?;
    let change = authored(&caller, &mut members, if_match)?;
    if let Some(other) = members.keys().next() {
        return Err(Problem::invalid(format!("{other}: only `comment` and `dry_run` are taken")));
    }
    done(&doors, Verb::Delete, &NamedChange { policy, change }, "deleted", if_match).await
}

/// Makes a change and answers with what it did.
pub(super) async fn done(
    doors: &Doors,
    verb: Verb,
    request: &(impl Serialize + Sync),
    status: &'static str,
    if_match: Option<u64>,
) -> Result<Response, Problem> {
    let reply: ChangeReply = doors
        .asker()
        .manage(verb, request)
        .await
        .map_err(|error| unless_stale(error.into(), if_match))?;
    let version = reply.policy.record.version;
    Ok(tagged(Json(changed(doors, status, &reply)).into_response(), version))
}

fn changed(doors: &Doors, status: &'static str, reply: &ChangeReply) -> Changed {
    doors.directory().forget();
    Changed {
        status,
        changed: reply.changed,
        dry_run: reply.dry_run,
        policy: shown(&reply.policy),
        findings: reply.findings.clone(),
        version: reply.policy.record.version,
        previous_version: reply.before.as_ref().map(|before| before.version),
    }
}

/// Who makes a change and why: takes `comment` and `dry_run` out of the body's members.
pub(super) fn authored(
    caller: &Caller,
    members: &mut Map<String, Value>,
    if_version: Option<u64>,
) -> Result<Authored, Problem> {
    let comment = match members.remove("comment") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(comment)) => comment,
        Some(_) => return Err(Problem::invalid("comment: must be a string")),
    };
    let dry_run = match members.remove("dry_run") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(dry_run)) => dry_run,
        Some(_) => return Err(Problem::invalid("dry_run: must be true or false")),
    };
    Ok(Authored { author: caller.name().to_owned(), comment, if_version, dry_run })
}
