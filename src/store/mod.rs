//! ClickHouse: tables, batches and queries. The only place that imports the `clickhouse` crate, and
//! one that knows nothing of NATS: the sink role joins the two.

pub mod bench;
mod census;
pub mod chain;
mod client;
mod conditions;
mod coverage;
mod error;
mod export;
mod insert;
mod migrate;
mod notifications;
mod outcomes;
mod query;
mod retention;
mod rows;
mod rules;
mod size;
mod statements;
mod stats;
mod stored;
mod tops;
mod versions;
mod workers;

pub use census::{Census, CensusDecision, CensusViolation};
pub use client::Store;
pub use conditions::ACKNOWLEDGED;
pub use coverage::{Calls, Coverage};
pub use error::{ErrorClass, StoreError};
pub use export::{Export, ExportFormat, ExportOf, ExportWatch};
pub use migrate::{Applied, MIGRATIONS, Migration, migrate};
pub use notifications::{LONGEST_DETAILS, LONGEST_NAME, NotificationRow};
pub use outcomes::OutcomeRow;
pub use query::{
    CallEnd, Counts, Cursor, DecidedInput, DecisionFilter, DecisionSummary, MAX_LIMIT,
    ViolationFilter, ViolationSummary,
};
pub use retention::{RetentionChange, apply_retention};
pub use rows::{DecisionRow, StoredRow, StreamPosition, Table, VersionOf, ViolationRow};
pub use rules::{EnforcementRow, RuleRow};
pub use size::{Disk, TableSize};
pub use stats::{Denials, Moment, Overview, Totals};
pub use stored::StoredDecision;
pub use tops::{TopAction, TopAgent, TopPolicy, TopReason, TopSession, Tops};
pub use versions::MAX_VERSIONS;
pub use workers::CheckpointRow;
