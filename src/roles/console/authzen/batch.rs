//! Many evaluations in one request, and when to stop.

use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value, json};

use super::read::{self, Evaluation};
use super::{AuthzenError, Outcome, decided, error, single};
use crate::roles::console::doors::Doors;
use crate::roles::console::guard::Caller;

/// Checks of one batch that are asked at once, where none waits for another.
const AT_ONCE: usize = 32;

/// When a batch is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Semantic {
    /// When all are decided.
    ExecuteAll,
    /// With the first denial.
    DenyOnFirstDeny,
    /// With the first permit.
    PermitOnFirstPermit,
}

/// What a batch asks for beside its evaluations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Options {
    semantic: Semantic,
    /// Whether answers say more than the decision: `include_context`, an option of ours.
    context: bool,
}

impl Options {
    fn read(members: &Map<String, Value>) -> Result<Self, AuthzenError> {
        let options = read::optional(members, "options")?;
        let option = |name: &str| options.and_then(|options| options.get(name));
        let semantic = match option("evaluations_semantic") {
            None => Semantic::ExecuteAll,
            Some(value) => match value.as_str() {
                Some("execute_all") => Semantic::ExecuteAll,
                Some("deny_on_first_deny") => Semantic::DenyOnFirstDeny,
                Some("permit_on_first_permit") => Semantic::PermitOnFirstPermit,
                _ => {
                    return Err(AuthzenError::invalid(
                        "options.evaluations_semantic must be one of execute_all, \
                         deny_on_first_deny, permit_on_first_permit",
                    ));
                }
            },
        };
        let context = match option("include_context") {
            None => false,
            Some(Value::Bool(context)) => *context,
            Some(_) => {
                return Err(AuthzenError::invalid("options.include_context must be true or false"));
            }
        };
        Ok(Self { semantic, context })
    }
}

/// `POST /access/v1/evaluations`
pub(super) async fn evaluations(
    State(doors): State<Doors>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, AuthzenError> {
    let mut members = read::object(&headers, &body)?;
    let items = match members.remove("evaluations") {
        None => Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(AuthzenError::invalid("evaluations must be an array")),
    };
    if items.is_empty() {
        return single(&doors, &caller, &members).await;
    }
    if items.len() > doors.max_batch() {
        return Err(AuthzenError::invalid(format!(
            "evaluations holds {} items, at most {} are taken (setting http.max_batch)",
            items.len(),
            doors.max_batch()
        )));
    }
    for entity in ["subject", "action", "resource", "context"] {
        read::optional(&members, entity)?;
    }
    let options = Options::read(&members)?;
    let deadline = Instant::now() + doors.patience();
    let one = |item: Value| one(&doors, &caller, &members, item, deadline);
    let outcomes: Vec<Outcome> = match options.semantic {
        Semantic::ExecuteAll => stream::iter(items).map(one).buffered(AT_ONCE).collect().await,
        semantic => {
            let last = semantic == Semantic::PermitOnFirstPermit;
            let mut outcomes = Vec::with_capacity(items.len());
            for item in items {
                let outcome = one(item).await;
                let ends = outcome.decision == last;
                outcomes.push(outcome);
                if ends {
                    break;
                }
            }
            outcomes
        }
    };
    let shown: Vec<Value> =
        outcomes.into_iter().map(|outcome| shown(outcome, options.context)).collect();
    Ok(Json(json!({"evaluations": shown})).into_response())
}

/// One item. One that can't be read is a denial, and the others are decided all the same.
async fn one(
    doors: &Doors,
    caller: &Caller,
    defaults: &Map<String, Value>,
    item: Value,
    deadline: Instant,
) -> Outcome {
    let read = match &item {
        Value::Object(members) => Evaluation::read(members, Some(defaults)),
        _ => Err(read::Wrong("an evaluation must be an object".to_owned())),
    };
    let outcome = match read {
        Ok(evaluation) => decided(doors, &evaluation.check(caller.name()), deadline).await,
        Err(wrong) => Err(wrong),
    };
    outcome.unwrap_or_else(|read::Wrong(message)| Outcome {
        decision: false,
        context: json!({"error": error(400, &message)}),
        unchecked: false,
    })
}

fn shown(outcome: Outcome, context: bool) -> Value {
    if context || outcome.unchecked {
        json!({"decision": outcome.decision, "context": outcome.context})
    } else {
        json!({"decision": outcome.decision})
    }
}
