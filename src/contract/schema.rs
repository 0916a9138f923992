//! The JSON Schemas of the wire types, as they stand in `schemas/`.

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use super::admin::{
    ChangeReply, DiffReply, DiffRequest, EffectiveRequest, EnableRequest, EnforcementReply,
    EnforcementRequest, GetRequest, ListRequest, NamedChange, PatchRequest, PolicyList, PolicyView,
    PutRequest, RestoreReply, RestoreRequest, RollbackRequest, VersionList, WorkerList,
};
use super::batch::{BatchReply, BatchRequest};
use super::check::{CheckReply, CheckRequestBody};
use super::evaluate::{EvaluateReply, EvaluateRequest};
use super::event::{DecisionEvent, ViolationEvent};
use super::fault::ServiceError;
use super::pipeline::{CheckpointEvent, NotificationEvent, OutcomeEvent, UncheckedEvent};
use crate::domain::{EnforcementRecord, PolicyRecord};

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
        ("checkpoint_event.json", schema::<CheckpointEvent>()),
        ("notification_event.json", schema::<NotificationEvent>()),
        ("unchecked_event.json", schema::<UncheckedEvent>()),
        ("outcome_event.json", schema::<OutcomeEvent>()),
        ("evaluate_request.json", schema::<EvaluateRequest>()),
        ("evaluate_reply.json", schema::<EvaluateReply>()),
        ("policy_record.json", schema::<PolicyRecord>()),
        ("enforcement_record.json", schema::<EnforcementRecord>()),
        ("admin_list_request.json", schema::<ListRequest>()),
        ("admin_list_reply.json", schema::<PolicyList>()),
        ("admin_get_request.json", schema::<GetRequest>()),
        ("admin_get_reply.json", schema::<PolicyView>()),
        ("admin_put_request.json", schema::<PutRequest>()),
        ("admin_patch_request.json", schema::<PatchRequest>()),
        ("admin_delete_request.json", schema::<NamedChange>()),
        ("admin_change_reply.json", schema::<ChangeReply>()),
        ("admin_enable_request.json", schema::<EnableRequest>()),
        ("admin_rollback_request.json", schema::<RollbackRequest>()),
        ("admin_versions_reply.json", schema::<VersionList>()),
        ("admin_diff_request.json", schema::<DiffRequest>()),
        ("admin_diff_reply.json", schema::<DiffReply>()),
        ("admin_effective_request.json", schema::<EffectiveRequest>()),
        ("admin_enforcement_request.json", schema::<EnforcementRequest>()),
        ("admin_enforcement_reply.json", schema::<EnforcementReply>()),
        ("admin_workers_reply.json", schema::<WorkerList>()),
        ("admin_restore_request.json", schema::<RestoreRequest>()),
        ("admin_restore_reply.json", schema::<RestoreReply>()),
        ("service_error.json", schema::<ServiceError>()),
    ]
}

fn schema<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}
