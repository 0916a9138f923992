//! How many calls were checked before they went on.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use super::client::Store;
use super::error::StoreError;

/// Calls of a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Answered by a worker.
    pub checked: u64,
    /// Went on, or were refused, without.
    pub unchecked: u64,
    /// Unchecked ones by cause.
    pub causes: BTreeMap<String, u64>,
    /// Unchecked ones that would have been denied.
    pub would_deny: u64,
}

impl Calls {
    /// The share that was checked; none where there were no calls.
    #[must_use]
    pub fn coverage(&self) -> Option<f64> {
        let all = self.checked.saturating_add(self.unchecked);
        #[expect(clippy::cast_precision_loss, reason = "a share is a float")]
        (all > 0).then(|| self.checked as f64 / all as f64)
    }

    /// The share in percent, never rounded up to 100 where something is missing.
    #[must_use]
    pub fn percent(&self) -> Option<String> {
        let percent = (self.coverage()? * 10_000.0).floor() / 100.0;
        Some(format!("{percent} %"))
    }
}

/// Calls of the last hour and day, by the time they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Of the last hour.
    pub last_hour: Calls,
    /// Of the last 24 hours.
    pub last_day: Calls,
}

impl Store {
    /// How many calls of the last hour and day were checked.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn coverage(&self) -> Result<Coverage, StoreError> {
        #[derive(Row, Serialize, Deserialize)]
        struct Found {
            cause: String,
            hour: u64,
            day: u64,
            hour_would_deny: u64,
            day_would_deny: u64,
        }
        let query = self
            .exact(
                "SELECT unchecked::String AS cause, \
                        countIf(timestamp > now64(6, 'UTC') - INTERVAL 1 HOUR) AS hour, \
                        count() AS day, \
                        countIf(timestamp > now64(6, 'UTC') - INTERVAL 1 HOUR AND notEmpty(would_deny)) \
                            AS hour_would_deny, \
                        countIf(notEmpty(would_deny)) AS day_would_deny \
                 FROM policy_decisions FINAL \
                 WHERE timestamp > now64(6, 'UTC') - INTERVAL 1 DAY GROUP BY cause",
            )
            .fetch_all::<Found>();
        let mut coverage = Coverage::default();
        for found in self.within_query_timeout("reading the coverage", query).await? {
            let Found { cause, hour, day, hour_would_deny, day_would_deny } = found;
            coverage.last_hour.add(&cause, hour, hour_would_deny);
            coverage.last_day.add(&cause, day, day_would_deny);
        }
        Ok(coverage)
    }
}

impl Calls {
    fn add(&mut self, cause: &str, calls: u64, would_deny: u64) {
        if cause.is_empty() {
            self.checked += calls;
        } else if calls > 0 {
            self.unchecked += calls;
            self.would_deny += would_deny;
            self.causes.insert(cause.to_owned(), calls);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_whole_while_something_is_missing() {
        let calls = |checked, unchecked| Calls { checked, unchecked, ..Calls::default() };
        assert_eq!(calls(0, 0).percent(), None);
        assert_eq!(calls(5, 0).percent().unwrap(), "100 %");
        assert_eq!(calls(3, 1).percent().unwrap(), "75 %");
        assert_eq!(calls(999_999, 1).percent().unwrap(), "99.99 %");
        assert_eq!(calls(0, 7).percent().unwrap(), "0 %");
    }
}
