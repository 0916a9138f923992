//! The messages that other people's programs depend on: wire types with their JSON Schemas, and
//! their conversion to and from domain types. Names here are fixed; adding is fine.

pub mod admin;
pub mod batch;
pub mod check;
pub mod evaluate;
pub mod event;
pub mod fault;
pub mod parse;
pub mod pipeline;
pub mod schema;
pub mod subjects;
pub mod worker;

pub use batch::{BatchReply, BatchRequest};
pub use check::{CheckReply, PackageDocument, PolicyReply};
pub use evaluate::{EvaluateReply, EvaluateRequest};
pub use event::{DecisionEvent, EVENT_SCHEMA, Number, ViolationEvent};
pub use fault::{FaultCode, RequestFault};
pub use parse::{RequestBounds, parse_batch, parse_check, parse_message};
pub use pipeline::{CheckpointEvent, NotificationEvent, OutcomeEvent, UncheckedEvent};
pub use subjects::Subjects;
pub use worker::AuditStatus;
