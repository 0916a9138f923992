//! The rows of the policies' history, made from records of the bucket, and records made from rows.

use chrono::{DateTime, Utc};
use clickhouse::Row;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::error::StoreError;
use super::rows::{StoredRow, StreamPosition, Table, VersionOf, json, storable};
use crate::domain::{EnforcementRecord, PolicyRecord};

/// A row of `policy_rules`: one version of one policy.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns are documented in schemas/clickhouse")]
pub struct RuleRow {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    pub version: u64,
    pub name: String,
    pub description: String,
    pub package: String,
    pub rego: String,
    pub template: String,
    pub status: String,
    pub mode: String,
    pub severity: String,
    pub fail_mode: String,
    pub scope: String,
    pub scope_id: String,
    pub parameters: String,
    pub deleted: bool,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    pub comment: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub content_id: Uuid,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub stream_epoch: DateTime<Utc>,
    pub stream_sequence: u64,
}

impl RuleRow {
    /// The row of a version.
    ///
    /// # Errors
    /// When one of its times is none that a table can hold.
    pub fn new(record: PolicyRecord, at: StreamPosition) -> Result<Self, StoreError> {
        let mut row = Self {
            id: record.id,
            version: record.version,
            status: word(&record.status)?,
            mode: word(&record.mode)?,
            severity: word(&record.severity)?,
            fail_mode: word(&record.fail_mode)?,
            scope: word(&record.scope)?,
            parameters: json(&record.parameters)?,
            created_at: storable(record.created_at)?,
            updated_at: storable(record.updated_at)?,
            name: record.name,
            description: record.description,
            package: record.package,
            rego: record.rego,
            template: record.template.unwrap_or_default(),
            scope_id: record.scope_id,
            deleted: record.deleted,
            created_by: record.created_by,
            updated_by: record.updated_by,
            comment: record.comment,
            content_id: Uuid::nil(),
            stream_epoch: at.epoch,
            stream_sequence: at.sequence,
        };
        row.content_id = row.digest();
        Ok(row)
    }

    /// The record that it was made from, but for times finer than a microsecond.
    ///
    /// # Errors
    /// When the row holds what no record can.
    pub fn record(self) -> Result<PolicyRecord, StoreError> {
        let parameters = serde_json::from_str(&self.parameters);
        Ok(PolicyRecord {
            id: self.id,
            status: read_word("status", &self.status)?,
            mode: read_word("mode", &self.mode)?,
            severity: read_word("severity", &self.severity)?,
            fail_mode: read_word("fail_mode", &self.fail_mode)?,
            scope: read_word("scope", &self.scope)?,
            parameters: parameters.map_err(|error| unreadable("parameters", &error))?,
            name: self.name,
            description: self.description,
            package: self.package,
            rego: self.rego,
            template: Some(self.template).filter(|template| !template.is_empty()),
            scope_id: self.scope_id,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            created_by: self.created_by,
            updated_by: self.updated_by,
            comment: self.comment,
            deleted: self.deleted,
        })
    }

    /// Of what the row keeps, not of what came: a version that is restored from the table, with
    /// times in microseconds, is the same version.
    fn digest(&self) -> Uuid {
        digest(&[
            self.id.as_bytes(),
            &self.version.to_be_bytes(),
            self.name.as_bytes(),
            self.description.as_bytes(),
            self.package.as_bytes(),
            self.rego.as_bytes(),
            self.template.as_bytes(),
            self.status.as_bytes(),
            self.mode.as_bytes(),
            self.severity.as_bytes(),
            self.fail_mode.as_bytes(),
            self.scope.as_bytes(),
            self.scope_id.as_bytes(),
            self.parameters.as_bytes(),
            &[u8::from(self.deleted)],
            &self.created_at.timestamp_micros().to_be_bytes(),
            self.created_by.as_bytes(),
            &self.updated_at.timestamp_micros().to_be_bytes(),
            self.updated_by.as_bytes(),
            self.comment.as_bytes(),
        ])
    }
}

impl StoredRow for RuleRow {
    const TABLE: Table = Table::Rules;

    #[expect(
        clippy::misnamed_getters,
        reason = "`id` is the policy's; what tells two rows apart is their content"
    )]
    fn id(&self) -> Uuid {
        self.content_id
    }

    fn timestamp(&self) -> DateTime<Utc> {
        self.updated_at
    }

    fn position(&self) -> StreamPosition {
        StreamPosition { epoch: self.stream_epoch, sequence: self.stream_sequence }
    }

    /// The table is one partition.
    fn partition(&self) -> (i32, u32) {
        (0, 0)
    }

    fn version_of(&self) -> Option<VersionOf> {
        Some(VersionOf {
            history: self.id.to_string(),
            name: self.name.clone(),
            version: self.version,
        })
    }
}

/// A row of `policy_enforcement`: one version of the switch.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns are documented in schemas/clickhouse")]
pub struct EnforcementRow {
    pub version: u64,
    pub mode: String,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    pub comment: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub content_id: Uuid,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub stream_epoch: DateTime<Utc>,
    pub stream_sequence: u64,
}

impl EnforcementRow {
    /// What stands for the name of a policy.
    pub(super) const NAME: &'static str = "enforcement";

    /// The row of a version.
    ///
    /// # Errors
    /// When its time is none that a table can hold.
    pub fn new(record: EnforcementRecord, at: StreamPosition) -> Result<Self, StoreError> {
        let updated_at = storable(record.updated_at)?;
        let mode = record.mode.as_str().to_owned();
        let content_id = digest(&[
            // The switch has no identity but its bucket: another bucket's version 1 is another one.
            &at.epoch.timestamp_micros().to_be_bytes(),
            &record.version.to_be_bytes(),
            mode.as_bytes(),
            &updated_at.timestamp_micros().to_be_bytes(),
            record.updated_by.as_bytes(),
            record.comment.as_bytes(),
        ]);
        Ok(Self {
            version: record.version,
            mode,
            updated_at,
            updated_by: record.updated_by,
            comment: record.comment,
            content_id,
            stream_epoch: at.epoch,
            stream_sequence: at.sequence,
        })
    }

    /// The record that it was made from, but for times finer than a microsecond.
    ///
    /// # Errors
    /// When the row holds what no record can.
    pub fn record(self) -> Result<EnforcementRecord, StoreError> {
        Ok(EnforcementRecord {
            mode: read_word("mode", &self.mode)?,
            version: self.version,
            updated_at: self.updated_at,
            updated_by: self.updated_by,
            comment: self.comment,
        })
    }
}

impl StoredRow for EnforcementRow {
    const TABLE: Table = Table::Enforcement;

    fn id(&self) -> Uuid {
        self.content_id
    }

    fn timestamp(&self) -> DateTime<Utc> {
        self.updated_at
    }

    fn position(&self) -> StreamPosition {
        StreamPosition { epoch: self.stream_epoch, sequence: self.stream_sequence }
    }

    /// The table is one partition.
    fn partition(&self) -> (i32, u32) {
        (0, 0)
    }

    fn version_of(&self) -> Option<VersionOf> {
        Some(VersionOf {
            history: self.stream_epoch.timestamp_micros().to_string(),
            name: Self::NAME.to_owned(),
            version: self.version,
        })
    }
}

/// One id of all parts. Each goes in with its length, so that no two lists run together alike.
fn digest(parts: &[&[u8]]) -> Uuid {
    let mut sum = Sha256::new();
    for part in parts {
        sum.update(part.len().to_be_bytes());
        sum.update(part);
    }
    let sum = sum.finalize();
    let mut id = [0; 16];
    id.iter_mut().zip(sum).for_each(|(to, from)| *to = from);
    Uuid::from_bytes(id)
}

/// The word that JSON has for a value of an enumeration; empty where there is none.
fn word(value: &impl Serialize) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => Ok(word),
        Ok(Value::Null) => Ok(String::new()),
        Ok(other) => Err(StoreError::Row(format!("{other} is no word"))),
        Err(error) => Err(StoreError::Row(error.to_string())),
    }
}

fn read_word<T: DeserializeOwned>(column: &str, word: &str) -> Result<T, StoreError> {
    let value = if word.is_empty() { Value::Null } else { Value::String(word.to_owned()) };
    serde_json::from_value(value).map_err(|error| unreadable(column, &error))
}

fn unreadable(column: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Row(format!("the column {column}: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(epoch: i64) -> StreamPosition {
        StreamPosition { epoch: DateTime::from_timestamp(epoch, 0).unwrap(), sequence: 7 }
    }

    fn record(change: &Value) -> PolicyRecord {
        let mut record = json!({
            "id": "0197a000-0000-7000-8000-000000000001", "name": "cost", "package": "p.cost",
            "rego": "package p.cost", "version": 3, "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-03-04T05:06:07.123456Z", "parameters": {"b": 1.5, "a": [null, "ü"]},
        });
        for (key, value) in change.as_object().unwrap() {
            record[key] = value.clone();
        }
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn a_record_comes_back_from_its_row() {
        let everything = json!({
            "description": "d", "rego": "", "template": "other", "status": "draft", "mode": "warn",
            "severity": "critical", "fail_mode": "closed", "scope": "session", "scope_id": "s-1",
            "created_by": "alice", "updated_by": "bob", "comment": "why", "deleted": true,
        });
        for change in [json!({}), everything] {
            let record = record(&change);
            assert_eq!(RuleRow::new(record.clone(), at(1)).unwrap().record().unwrap(), record);
        }
        let mut row = RuleRow::new(record(&json!({})), at(1)).unwrap();
        row.status = "asleep".into();
        let error = row.record().unwrap_err();
        assert!(error.to_string().contains("column status"), "{error}");
        let switch = EnforcementRecord {
            mode: crate::domain::EnforcementMode::Shadow,
            version: 2,
            updated_at: "2026-03-04T05:06:07Z".parse().unwrap(),
            updated_by: "alice".into(),
            comment: "trial".into(),
        };
        let row = EnforcementRow::new(switch.clone(), at(1)).unwrap();
        assert_eq!(row.record().unwrap(), switch);
    }

    #[test]
    fn an_id_is_of_the_content_and_nothing_else() {
        let id = |change: &Value, epoch| RuleRow::new(record(change), at(epoch)).unwrap().id();
        let same = id(&json!({}), 1);
        assert_eq!(id(&json!({}), 2), same, "a version that was restored in another bucket");
        let finer = json!({"updated_at": "2026-03-04T05:06:07.123456789Z"});
        assert_eq!(id(&finer, 1), same, "finer than the table");
        for change in [
            json!({"version": 4}),
            json!({"comment": "x"}),
            json!({"name": "cos", "description": "t"}),
            json!({"deleted": true}),
            json!({"parameters": {}}),
        ] {
            assert_ne!(id(&change, 1), same, "{change}");
        }
        let switch = EnforcementRecord {
            mode: crate::domain::EnforcementMode::On,
            version: 1,
            updated_at: "2026-03-04T05:06:07Z".parse().unwrap(),
            updated_by: String::new(),
            comment: String::new(),
        };
        let id = |epoch| EnforcementRow::new(switch.clone(), at(epoch)).unwrap().id();
        assert_ne!(id(1), id(2), "another bucket's switch");
    }

    #[test]
    fn times_that_no_table_can_hold_are_refused() {
        for field in ["created_at", "updated_at"] {
            let old = record(&json!({field: "1815-12-10T00:00:00Z"}));
            assert!(RuleRow::new(old, at(1)).is_err(), "{field}");
        }
    }
}
