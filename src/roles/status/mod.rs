//! How the whole system stands, asked from outside: streams, workers, sinks, tables, and what of it
//! wants a look.

mod attention;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

pub use attention::Attention;

use crate::bus::overview::{StreamOverview, overview};
use crate::bus::subjects::bucket_stream;
use crate::bus::{BusError, Connection, Roll};
use crate::config::Config;
use crate::contract::admin::WorkerStatus;
use crate::store::chain::{Chained, Link};
use crate::store::{Coverage, Disk, Store, TableSize};

/// How the whole system stands.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// When it was asked.
    pub at: DateTime<Utc>,
    /// NATS.
    pub nats: NatsStatus,
    /// Workers that live, by name.
    pub workers: Vec<WorkerStatus>,
    /// ClickHouse.
    pub clickhouse: ClickHouseStatus,
    /// What wants a look; empty when all is well.
    pub attention: Vec<Attention>,
}

/// What NATS holds.
#[derive(Clone, Debug, Serialize)]
pub struct NatsStatus {
    /// Its URL.
    pub url: String,
    /// The audit stream; none while nobody has made it.
    pub audit: Option<StreamOverview>,
    /// Bytes that the audit stream will hold once its oldest messages reach their age, at the pace of
    /// those that it holds now.
    pub audit_expected_bytes: Option<u64>,
    /// The stream of dead letters.
    pub dead_letters: Option<StreamOverview>,
    /// The stream of the bucket of policies.
    pub policies: Option<StreamOverview>,
}

/// What ClickHouse holds.
#[derive(Clone, Debug, Serialize)]
pub struct ClickHouseStatus {
    /// Its URL.
    pub url: String,
    /// Its version.
    pub version: String,
    /// Why it can't be asked; nothing else is known then.
    pub unavailable: Option<String>,
    /// The tables.
    pub tables: Vec<TableSize>,
    /// How long rows of `policy_decisions` are kept, in seconds.
    pub keep_decisions_seconds: u64,
    /// How long rows of `policy_violations` are kept, in seconds.
    pub keep_violations_seconds: u64,
    /// How long rows of `policy_outcomes` are kept, in seconds.
    pub keep_outcomes_seconds: u64,
    /// Calls that were checked before they went on, and those that were not; none where that can't be
    /// said.
    pub coverage: Option<Coverage>,
    /// Its disks.
    pub disks: Vec<Disk>,
    /// The newest link of each chain of digests.
    pub chains: Vec<Link>,
}

/// Asks everybody.
///
/// # Errors
/// When NATS doesn't answer; a ClickHouse that doesn't is part of the status.
pub async fn status(config: &Config, connection: &Connection) -> Result<Status, BusError> {
    let timeout = config.nats.request_timeout;
    let store = Store::connect(&config.clickhouse);
    let (nats, workers, clickhouse) = tokio::join!(
        of_nats(config, connection, timeout),
        workers(config, connection, timeout),
        of_clickhouse(config, &store),
    );
    let (nats, workers) = (nats?, workers?);
    let at = Utc::now();
    let attention = attention::find(config, &nats, &workers, &clickhouse, at);
    Ok(Status { at, nats, workers, clickhouse, attention })
}

async fn of_nats(
    config: &Config,
    connection: &Connection,
    timeout: Duration,
) -> Result<NatsStatus, BusError> {
    let bucket = bucket_stream(&config.policies.bucket);
    let (audit, dead_letters, policies) = tokio::try_join!(
        overview(connection, &config.stream.name, timeout),
        overview(connection, &config.stream.dead_letter_name, timeout),
        overview(connection, &bucket, timeout),
    )?;
    Ok(NatsStatus {
        url: connection.url.clone(),
        audit_expected_bytes: audit.as_ref().and_then(expected_bytes),
        audit,
        dead_letters,
        policies,
    })
}

/// What a stream will hold at the pace of its messages; none where a minute's worth says nothing yet.
fn expected_bytes(stream: &StreamOverview) -> Option<u64> {
    let (first, last) = (stream.first?, stream.last?);
    let span = u64::try_from((last.time - first.time).num_seconds()).ok()?;
    let age = stream.max_age_seconds?;
    if span < 60 {
        return None;
    }
    let bytes = u128::from(stream.bytes) * u128::from(age) / u128::from(span);
    u64::try_from(bytes).ok()
}

/// The workers on the roll. A roll that isn't there has nobody on it.
async fn workers(
    config: &Config,
    connection: &Connection,
    timeout: Duration,
) -> Result<Vec<WorkerStatus>, BusError> {
    let words = Roll::open(connection, config).all(timeout).await?;
    let mut workers: Vec<WorkerStatus> =
        words.iter().filter_map(|word| serde_json::from_slice(word).ok()).collect();
    workers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(workers)
}

async fn of_clickhouse(config: &Config, store: &Store) -> ClickHouseStatus {
    let mut status = ClickHouseStatus {
        url: store.url().to_owned(),
        version: String::new(),
        unavailable: None,
        tables: Vec::new(),
        keep_decisions_seconds: config.retention.decisions.as_secs(),
        keep_violations_seconds: config.retention.violations.as_secs(),
        keep_outcomes_seconds: config.retention.outcomes.as_secs(),
        coverage: None,
        disks: Vec::new(),
        chains: Vec::new(),
    };
    let asked = async {
        let version = store.ping().await?;
        let (tables, disks) = tokio::try_join!(store.table_sizes(), store.disks())?;
        let mut chains = Vec::new();
        for chained in Chained::ALL {
            // Before the first sink has come there is no such table.
            chains.extend(store.newest_link(chained).await.unwrap_or_default());
        }
        // Nor the columns that it is asked of.
        let coverage = store.coverage().await.ok();
        Ok::<_, crate::store::StoreError>((version, tables, disks, chains, coverage))
    };
    match asked.await {
        Ok((version, tables, disks, chains, coverage)) => {
            status.chains = chains;
            status.coverage = coverage;
            status.version = version;
            status.tables = tables;
            status.disks = disks;
        }
        Err(error) => status.unavailable = Some(error.to_string()),
    }
    status
}

#[cfg(test)]
mod tests {
    use crate::bus::overview::Place;

    use super::*;

    #[test]
    fn what_a_stream_will_hold_is_said_once_there_is_a_pace() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let mut stream = StreamOverview {
            name: "S".into(),
            messages: 10,
            bytes: 1_000,
            max_bytes: Some(5_000),
            max_age_seconds: Some(6_000),
            created: at(0),
            first: Some(Place { sequence: 1, time: at(100) }),
            last: Some(Place { sequence: 10, time: at(159) }),
            replicas: 1,
            lagging: vec![],
            consumers: vec![],
        };
        assert_eq!(expected_bytes(&stream), None, "less than a minute");
        stream.last = Some(Place { sequence: 10, time: at(700) });
        assert_eq!(expected_bytes(&stream), Some(10_000));
        stream.max_age_seconds = None;
        assert_eq!(expected_bytes(&stream), None, "kept for ever");
    }
}
