//! What Sluicegate is about, as pure functions and types: requests, policies, decisions,
//! violations, and how results combine. No I/O, no runtime, no Rego engine.

pub mod combine;
pub mod decision;
pub mod finding;
pub mod input;
pub mod nearest;
pub mod policy;
pub mod record;
pub mod request;
pub mod trace;
pub mod usage;
pub mod violation;

pub use combine::combine;
pub use decision::{AuditState, Decision, Mode, PolicyOutcome, Verdict};
pub use finding::{Finding, FindingSeverity};
pub use nearest::{did_you_mean, nearest};
pub use policy::{FailMode, Policy, PolicyMode, Scope, ScopeKind, Severity, Status};
pub use record::{EnforcementMode, EnforcementRecord, FieldFault, PolicyRecord};
pub use request::{CheckRequest, Identity};
pub use violation::{ActionTaken, Violation, ViolationType};
