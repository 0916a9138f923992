//! What a row says, as one digest: the same whether ClickHouse calculates it from the table or this
//! program from the event. Format: docs/security.md.
//!
//! SHA-256 over netstrings (`<length>:<bytes>,`): first the format's name, then the columns in the order
//! of [`columns`]. Numbers are decimal, times are microseconds since 1970, UUIDs have their usual form in
//! lower case, a Bool is `0` or `1`, an array is the netstring of its elements' netstrings.
//!
//! Only what the event says: not where the event stood in the stream (the link says that), not when the
//! row was inserted, nor what was said of a violation later.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::store::rows::{DecisionRow, Table, ViolationRow};

/// The digest of one row.
pub type RowDigest = [u8; 32];

/// How a column is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Texts,
    Number,
    Time,
    Id,
    Flag,
}

use Kind::{Flag, Id, Number, Text, Texts, Time};

/// `decisions/1`.
const DECISIONS: &[(&str, Kind)] = &[
    ("id", Id),
    ("timestamp", Time),
    ("decision", Text),
    ("action", Text),
    ("resource", Text),
    ("subject", Text),
    ("agent", Text),
    ("user", Text),
    ("session_id", Text),
    ("run_id", Text),
    ("step_id", Text),
    ("project_id", Text),
    ("policy_name", Text),
    ("policy_package", Text),
    ("policies", Texts),
    ("policy_revision", Text),
    ("policy_result", Text),
    ("decision_reason", Text),
    ("deny_reasons", Texts),
    ("warnings", Texts),
    ("would_deny", Texts),
    ("enforced", Flag),
    ("error", Flag),
    ("error_message", Text),
    ("unchecked", Text),
    ("input_data", Text),
    ("duration_us", Number),
    ("worker", Text),
    ("worker_run", Id),
    ("worker_sequence", Number),
];

/// `violations/1`.
const VIOLATIONS: &[(&str, Kind)] = &[
    ("id", Id),
    ("decision_id", Id),
    ("timestamp", Time),
    ("violation_type", Text),
    ("severity", Text),
    ("policy_name", Text),
    ("policy_version", Number),
    ("action_taken", Text),
    ("reasons", Texts),
    ("decision", Text),
    ("action", Text),
    ("resource", Text),
    ("subject", Text),
    ("agent", Text),
    ("user", Text),
    ("session_id", Text),
    ("run_id", Text),
    ("step_id", Text),
    ("project_id", Text),
    ("worker", Text),
    ("worker_run", Id),
    ("worker_sequence", Number),
];

/// A table whose rows are chained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Chained {
    /// `policy_decisions`.
    Decisions,
    /// `policy_violations`.
    Violations,
}

impl Chained {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Decisions, Self::Violations];

    /// The table.
    #[must_use]
    pub const fn table(self) -> Table {
        match self {
            Self::Decisions => Table::Decisions,
            Self::Violations => Table::Violations,
        }
    }

    /// The chain of a table, if it has one.
    #[must_use]
    pub const fn of(table: Table) -> Option<Self> {
        match table {
            Table::Decisions => Some(Self::Decisions),
            Table::Violations => Some(Self::Violations),
            _ => None,
        }
    }

    /// The format by which this program seals.
    #[must_use]
    pub const fn format(self) -> &'static str {
        match self {
            Self::Decisions => "decisions/1",
            Self::Violations => "violations/1",
        }
    }

    /// Whether this program can digest rows in this format.
    #[must_use]
    pub fn knows(self, format: &str) -> bool {
        format == self.format()
    }

    /// The name of its chain.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.table().label()
    }

    const fn columns(self) -> &'static [(&'static str, Kind)] {
        match self {
            Self::Decisions => DECISIONS,
            Self::Violations => VIOLATIONS,
        }
    }

    /// The columns that a row's digest covers, in order.
    pub fn digested(self) -> impl Iterator<Item = &'static str> {
        self.columns().iter().map(|(name, _)| *name)
    }

    /// The expression by which ClickHouse calculates the digest of a row.
    pub(super) fn sql(self) -> String {
        let mut parts = vec![format!("'{}'", String::from_utf8_lossy(&netstring(self.format())))];
        for (name, kind) in self.columns() {
            let text = match kind {
                Text => format!("{name}::String"),
                Texts => format!(
                    "arrayStringConcat(arrayMap(x -> concat(toString(length(x)), ':', x, ','), \
                     {name}::Array(String)))"
                ),
                Number | Id => format!("toString({name})"),
                Time => format!("toString(toUnixTimestamp64Micro({name}))"),
                Flag => format!("toString(toUInt8({name}))"),
            };
            parts.push(format!("toString(length({text} AS v_{name}))"));
            parts.push("':'".to_owned());
            parts.push(format!("v_{name}"));
            parts.push("','".to_owned());
        }
        format!("SHA256(concat({}))", parts.join(", "))
    }
}

/// A row that can be digested.
pub trait Digested {
    /// Its digest.
    fn digest(&self) -> RowDigest;
}

impl Digested for DecisionRow {
    fn digest(&self) -> RowDigest {
        let mut fields = Fields::new(Chained::Decisions);
        fields.id(self.id);
        fields.time(self.timestamp);
        for text in [
            &self.decision,
            &self.action,
            &self.resource,
            &self.subject,
            &self.agent,
            &self.user,
            &self.session_id,
            &self.run_id,
            &self.step_id,
            &self.project_id,
            &self.policy_name,
            &self.policy_package,
        ] {
            fields.text(text);
        }
        fields.texts(&self.policies);
        fields.text(&self.policy_revision);
        fields.text(&self.policy_result);
        fields.text(&self.decision_reason);
        fields.texts(&self.deny_reasons);
        fields.texts(&self.warnings);
        fields.texts(&self.would_deny);
        fields.number(u64::from(self.enforced));
        fields.number(u64::from(self.error));
        fields.text(&self.error_message);
        fields.text(&self.unchecked);
        fields.text(&self.input_data);
        fields.number(self.duration_us);
        fields.text(&self.worker);
        fields.id(self.worker_run);
        fields.number(self.worker_sequence);
        fields.done()
    }
}

impl Digested for ViolationRow {
    fn digest(&self) -> RowDigest {
        let mut fields = Fields::new(Chained::Violations);
        fields.id(self.id);
        fields.id(self.decision_id);
        fields.time(self.timestamp);
        fields.text(&self.violation_type);
        fields.text(&self.severity);
        fields.text(&self.policy_name);
        fields.number(self.policy_version);
        fields.text(&self.action_taken);
        fields.texts(&self.reasons);
        for text in [
            &self.decision,
            &self.action,
            &self.resource,
            &self.subject,
            &self.agent,
            &self.user,
            &self.session_id,
            &self.run_id,
            &self.step_id,
            &self.project_id,
            &self.worker,
        ] {
            fields.text(text);
        }
        fields.id(self.worker_run);
        fields.number(self.worker_sequence);
        fields.done()
    }
}

/// Netstrings, digested as they come.
pub(super) struct Fields(Sha256);

impl Fields {
    fn new(chained: Chained) -> Self {
        Self::tagged(chained.format())
    }

    pub(super) fn tagged(tag: &str) -> Self {
        let mut fields = Self(Sha256::new());
        fields.text(tag);
        fields
    }

    pub(super) fn text(&mut self, text: &str) {
        self.0.update(text.len().to_string());
        self.0.update(b":");
        self.0.update(text);
        self.0.update(b",");
    }

    fn texts(&mut self, texts: &[String]) {
        let mut all = String::new();
        for text in texts {
            // Writing to a String can't fail.
            let _ = write!(all, "{}:{text},", text.len());
        }
        self.text(&all);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.text(&number.to_string());
    }

    pub(super) fn time(&mut self, time: DateTime<Utc>) {
        self.text(&time.timestamp_micros().to_string());
    }

    fn id(&mut self, id: Uuid) {
        self.text(&id.to_string());
    }

    pub(super) fn done(self) -> RowDigest {
        self.0.finalize().into()
    }
}

fn netstring(text: &str) -> Vec<u8> {
    format!("{}:{text},", text.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_of_a_row_is_digested_but_its_place() {
        use clickhouse::Row as _;

        for (chained, columns) in [
            (Chained::Decisions, DecisionRow::COLUMN_NAMES),
            (Chained::Violations, ViolationRow::COLUMN_NAMES),
        ] {
            let place = ["stream_epoch", "stream_sequence"];
            let expected: Vec<&str> =
                columns.iter().copied().filter(|name| !place.contains(name)).collect();
            assert_eq!(chained.digested().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn boundaries_are_part_of_what_is_digested() {
        let of = |texts: &[&str]| {
            let mut fields = Fields::tagged("x");
            texts.iter().for_each(|text| fields.text(text));
            fields.done()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
        assert_ne!(of(&["1:a,"]), of(&["a"]));
    }
}
