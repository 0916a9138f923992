//! What charts show of a span of time: decisions over time, and all of it together.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use clickhouse::Row;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client::Store;
use super::error::StoreError;
use super::tops::Tops;

/// Moments that a timeline has at most.
const MOST_MOMENTS: i64 = 120;
/// Lengths of a moment that people read easily, in seconds.
const LENGTHS: [i64; 14] =
    [1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 86_400, 604_800, 2_592_000];
/// What a moment and the whole have alike.
const COUNTS: &str = "\
countIf(decision = 'allow') AS allow, countIf(decision = 'deny') AS deny, \
countIf(notEmpty(would_deny)) AS would_deny, countIf(error) AS error, \
countIf(unchecked != '') AS unchecked, \
toUInt64(ifNotFinite(quantile(0.5)(duration_us), 0)) AS p50_us, \
toUInt64(ifNotFinite(quantile(0.95)(duration_us), 0)) AS p95_us, \
toUInt64(ifNotFinite(quantile(0.99)(duration_us), 0)) AS p99_us";
/// What a check says that its call will cost, in US dollars.
pub(super) const ESTIMATE: &str = "JSONExtractFloat(input_data, 'estimated_cost_usd')";

/// Decisions that were made within one moment of a timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Row, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// When it begins.
    #[serde(with = "super::query::micros")]
    #[schemars(with = "DateTime<Utc>")]
    pub at: DateTime<Utc>,
    /// Allowed.
    pub allow: u64,
    /// Denied.
    pub deny: u64,
    /// Drafts would have denied.
    pub would_deny: u64,
    /// A policy could not be evaluated.
    pub error: u64,
    /// No worker answered.
    pub unchecked: u64,
    /// Median time of the evaluation, in microseconds.
    pub p50_us: u64,
    /// 95th percentile of it.
    pub p95_us: u64,
    /// 99th percentile of it.
    pub p99_us: u64,
}

/// All decisions of a span of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Totals {
    /// All.
    pub decisions: u64,
    /// Allowed.
    pub allow: u64,
    /// Denied.
    pub deny: u64,
    /// Drafts would have denied.
    pub would_deny: u64,
    /// A policy could not be evaluated.
    pub error: u64,
    /// No worker answered.
    pub unchecked: u64,
    /// The share that a worker answered, from 0 to 1; none where there were no calls.
    pub coverage: Option<f64>,
    /// What allowed calls were to cost, as their checks said, in US dollars.
    pub estimated_cost_usd: f64,
    /// What calls did cost, as their outcomes said, in US dollars.
    pub actual_cost_usd: f64,
    /// Median time of the evaluation, in microseconds.
    pub p50_us: u64,
    /// 95th percentile of it.
    pub p95_us: u64,
    /// 99th percentile of it.
    pub p99_us: u64,
}

/// A span of time at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Overview {
    /// From then on.
    pub since: DateTime<Utc>,
    /// Until before then.
    pub until: DateTime<Utc>,
    /// Length of a moment, in seconds.
    pub bucket_seconds: i64,
    /// Decisions over time; moments without any are left out.
    pub timeline: Vec<Moment>,
    /// All of it.
    pub totals: Totals,
    /// Who and what stands out.
    #[serde(flatten)]
    pub tops: Tops,
}

/// What became of the checks that a policy took part in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denials {
    /// Denied by it.
    pub denied: u64,
    /// It would have denied as a draft.
    pub would_deny: u64,
}

#[derive(Row, Serialize, Deserialize)]
struct Whole {
    allow: u64,
    deny: u64,
    would_deny: u64,
    error: u64,
    unchecked: u64,
    p50_us: u64,
    p95_us: u64,
    p99_us: u64,
    estimated: f64,
}

impl Store {
    /// A span of time at a glance.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn overview(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Overview, StoreError> {
        let bucket_seconds = bucket_of(since, until);
        let (timeline, totals, tops) = tokio::try_join!(
            self.timeline(since, until, bucket_seconds),
            self.totals(since, until),
            self.tops(since, until),
        )?;
        Ok(Overview { since, until, bucket_seconds, timeline, totals, tops })
    }

    async fn timeline(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        bucket: i64,
    ) -> Result<Vec<Moment>, StoreError> {
        let sql = format!(
            "SELECT fromUnixTimestamp64Micro(toInt64(intDiv(toUnixTimestamp(timestamp), \
             {{bucket:Int64}}) * {{bucket:Int64}} * 1000000), 'UTC') AS at, {COUNTS} FROM policy_decisions FINAL WHERE {SPAN} GROUP BY at ORDER BY at"
        );
        let query = self.within(&sql, since, until).param("bucket", bucket).fetch_all::<Moment>();
        self.within_query_timeout("reading decisions over time", query).await
    }

    async fn totals(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Totals, StoreError> {
        let sql = format!(
            "SELECT {COUNTS}, sumIf({ESTIMATE}, decision = 'allow') AS estimated \
             FROM policy_decisions FINAL WHERE {SPAN}"
        );
        let whole = self.within(&sql, since, until).fetch_one::<Whole>();
        let spent =
            format!("SELECT ifNull(sum(cost_usd), 0) FROM policy_outcomes FINAL WHERE {SPAN}");
        let spent = self.within(&spent, since, until).fetch_one::<f64>();
        let (whole, actual_cost_usd) = tokio::try_join!(
            self.within_query_timeout("counting decisions", whole),
            self.within_query_timeout("adding up what calls cost", spent),
        )?;
        let decisions = whole.allow + whole.deny;
        #[expect(clippy::cast_precision_loss, reason = "a share is a float")]
        let coverage = (decisions > 0).then(|| 1.0 - whole.unchecked as f64 / decisions as f64);
        Ok(Totals {
            decisions,
            allow: whole.allow,
            deny: whole.deny,
            would_deny: whole.would_deny,
            error: whole.error,
            unchecked: whole.unchecked,
            coverage,
            estimated_cost_usd: whole.estimated,
            actual_cost_usd,
            p50_us: whole.p50_us,
            p95_us: whole.p95_us,
            p99_us: whole.p99_us,
        })
    }

    /// What each policy has denied since then, by name.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn denials_by_policy(
        &self,
        since: DateTime<Utc>,
    ) -> Result<BTreeMap<String, Denials>, StoreError> {
        #[derive(Row, Serialize, Deserialize)]
        struct Found {
            name: String,
            denied: u64,
            would_deny: u64,
        }
        let sql = format!(
            "SELECT JSONExtractString(said, 'name') AS name, \
                 countIf(JSONExtractString(said, 'mode') = 'enforce') AS denied, \
                 countIf(JSONExtractString(said, 'mode') = 'shadow') AS would_deny \
             FROM (SELECT arrayJoin(JSONExtractArrayRaw(policy_result)) AS said \
                 FROM policy_decisions FINAL \
                 WHERE {SPAN} AND (decision = 'deny' OR notEmpty(would_deny))) \
             WHERE JSONExtractString(said, 'decision') = 'deny' GROUP BY name"
        );
        let query = self.within(&sql, since, Utc::now()).fetch_all::<Found>();
        let found = self.within_query_timeout("counting denials", query).await?;
        let denials = |found: Found| {
            (found.name, Denials { denied: found.denied, would_deny: found.would_deny })
        };
        Ok(found.into_iter().map(denials).collect())
    }

    /// A query over a span of time, whose text says [`SPAN`].
    pub(super) fn within(
        &self,
        sql: &str,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> clickhouse::query::Query {
        self.exact(sql)
            .param("since", since.timestamp_micros())
            .param("until", until.timestamp_micros())
    }
}

/// The condition for a span of time.
pub(super) const SPAN: &str = "timestamp >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') \
                               AND timestamp < fromUnixTimestamp64Micro({until:Int64}, 'UTC')";

/// The shortest length of a moment by which a timeline has few enough.
fn bucket_of(since: DateTime<Utc>, until: DateTime<Utc>) -> i64 {
    let span = (until - since).num_seconds().max(1);
    let longest = span / MOST_MOMENTS + 1;
    LENGTHS.into_iter().find(|length| *length >= longest).unwrap_or(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timelines_have_lengths_that_people_read() {
        let bucket = |seconds: i64| {
            let since = DateTime::UNIX_EPOCH;
            bucket_of(since, since + chrono::TimeDelta::seconds(seconds))
        };
        assert_eq!(bucket(0), 1);
        assert_eq!(bucket(60), 1);
        assert_eq!(bucket(3_600), 60);
        assert_eq!(bucket(86_400), 1_800);
        assert_eq!(bucket(7 * 86_400), 10_800);
        assert_eq!(bucket(400 * 86_400), 604_800);
        for seconds in [1, 100, 10_000, 1_000_000, 1_000_000_000] {
            assert!(seconds / bucket(seconds) <= MOST_MOMENTS, "{seconds}");
        }
    }
}
