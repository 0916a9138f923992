//! How long rows were kept before, beside how long they are kept now. A row that was dropped under an
//! earlier setting stays gone when the setting is raised: verification must not call it deleted. The
//! record is in the bucket of chains, not in ClickHouse: there, whoever deletes rows could excuse it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::bus::{BusError, Heads, PutError};
use crate::config::Retention;
use crate::store::chain::Chained;

/// What the bucket knows of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retained {
    /// Seconds for which rows are kept; 0 for ever.
    keep_seconds: u64,
    /// Rows made before then were dropped under settings that are over.
    gone_before: Option<DateTime<Utc>>,
}

impl Retained {
    /// The record under another setting; none where it is the same.
    fn changed_to(self, keep_seconds: u64, now: DateTime<Utc>) -> Option<Self> {
        (keep_seconds != self.keep_seconds)
            .then(|| Self { keep_seconds, gone_before: self.gone_before(now) })
    }

    /// Rows made before may be gone: under the setting that is noted, or an earlier one.
    pub(super) fn gone_before(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        gone_before(Duration::from_secs(self.keep_seconds), now).max(self.gone_before)
    }
}

/// Rows made before are dropped when rows are kept so long; none where they are kept for ever.
pub(super) fn gone_before(keep: Duration, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let keep = Some(keep).filter(|keep| !keep.is_zero())?;
    now.checked_sub_signed(TimeDelta::from_std(keep).ok()?)
}

/// How long the configuration keeps rows of a table.
pub(super) const fn keeps(retention: &Retention, chained: Chained) -> Duration {
    match chained {
        Chained::Decisions => retention.decisions,
        Chained::Violations => retention.violations,
    }
}

/// What was noted of a table.
///
/// # Errors
/// When the server doesn't answer, or somebody wrote something else.
pub(super) async fn noted(heads: &Heads, chained: Chained) -> Result<Option<Retained>, BusError> {
    read(heads.newest(&key(chained)).await?.value.as_deref())
}

/// Notes the setting that was just applied, if another one was noted.
///
/// # Errors
/// As [`noted`]; when somebody else noted another one meanwhile.
pub(super) async fn note(heads: &Heads, chained: Chained, keep: Duration) -> Result<(), PutError> {
    let head = heads.newest(&key(chained)).await?;
    let keep_seconds = keep.as_secs();
    let next = match read(head.value.as_deref())? {
        Some(before) => before.changed_to(keep_seconds, Utc::now()),
        None => Some(Retained { keep_seconds, gone_before: None }),
    };
    let Some(next) = next else { return Ok(()) };
    let value = serde_json::to_vec(&next).map_err(|error| PutError::Refused(error.to_string()))?;
    heads.put(&key(chained), value, head.revision).await?;
    Ok(())
}

fn read(value: Option<&[u8]>) -> Result<Option<Retained>, BusError> {
    let unreadable = |error: serde_json::Error| BusError::Request {
        what: "read the retention in the bucket of chains",
        reason: error.to_string(),
    };
    value.map(|value| serde_json::from_slice(value).map_err(unreadable)).transpose()
}

fn key(chained: Chained) -> String {
    format!("retention.{}", chained.label())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_under_any_setting_stays_gone() {
        let day = |day: i64| DateTime::from_timestamp(day * 86_400, 0).unwrap();
        let days = |days: u64| days * 86_400;
        let first = Retained { keep_seconds: days(30), gone_before: None };
        assert_eq!(first.changed_to(days(30), day(1_000)), None);
        assert_eq!(first.gone_before(day(1_000)), Some(day(970)));
        let for_ever = first.changed_to(0, day(1_000)).unwrap();
        assert_eq!(for_ever.gone_before(day(5_000)), Some(day(970)), "no later row was dropped");
        let short = for_ever.changed_to(days(10), day(5_000)).unwrap();
        let long = short.changed_to(days(90), day(6_000)).unwrap();
        assert_eq!(long.gone_before(day(6_001)), Some(day(5_990)));
        assert_eq!(long.gone_before(day(7_000)), Some(day(6_910)));
        assert_eq!(gone_before(Duration::ZERO, day(5)), None);
    }
}
