//! The JSON Schemas of the wire types, as they stand in `schemas/`.

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use super::batch::{BatchReply, BatchRequest};
use super::check::{CheckReply, CheckRequestBody};
use super::event::{DecisionEvent, ViolationEvent};
use super::fault::ServiceError;

/// File name in `schemas/` and schema of every wire type.
#[must_use]
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("check_request.json", schema::<CheckRequestBody>()),
        ("check_reply.json", schema::<CheckReply>()),
        ("check_batch_request.json", schema::<BatchRequest>()),
        ("check_batch_reply.json", schema::<BatchReply>()),
        ("decision_event.json", schema::<DecisionEvent>()),
        ("violation_event.json", schema::<ViolationEvent>()),
        ("service_error.json", schema::<ServiceError>()),
    ]
}

fn schema<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}
