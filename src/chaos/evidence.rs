//! What there is after a run: in ClickHouse, in the stream, with a subscriber.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::error::ChaosError;
use super::fleet::Fleet;
use super::log::Log;
use super::receiver::Posted;
use super::subscriber::Received;
use crate::bus::overview::overview;
use crate::bus::replay::replay;
use crate::bus::{Connection, Subjects};
use crate::config::Config;
use crate::contract::{DecisionEvent, ViolationEvent};
use crate::roles::verify::{Report, Scope, verify};
use crate::store::{Census, Store};

/// How long it may take until the newest rows are sealed.
const SEALED: Duration = Duration::from_secs(15);
/// Between two looks.
const AGAIN: Duration = Duration::from_millis(500);

/// What there is after a run.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The rows.
    pub rows: Census,
    /// The events in the stream.
    pub stream: Events,
    /// What a durable subscriber was given.
    pub received: Received,
    /// What the alerter posted.
    pub posted: Posted,
    /// Dead letters.
    pub dead_letters: u64,
    /// What `audit verify` finds wrong; empty when its certificate says verified.
    pub certificate: Vec<String>,
}

/// The events in the stream, each with its sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Decisions.
    pub decisions: Vec<(Uuid, u64)>,
    /// Violations.
    pub violations: Vec<(Uuid, u64)>,
    /// Messages that can't be read.
    pub unreadable: u64,
}

/// Reads the rows and the stream.
///
/// # Errors
/// When ClickHouse or NATS don't answer.
pub async fn gather(
    connection: &Connection,
    fleet: &Fleet,
    received: Received,
    log: &Log,
) -> Result<Evidence, ChaosError> {
    let config = fleet.config();
    let rows = Store::connect(&config.clickhouse).census().await?;
    let (decisions, violations) = (rows.decisions.len(), rows.violations.len());
    log.note(format!("read {decisions} decisions and {violations} violations from ClickHouse"));
    let subjects = Subjects::new(&config.nats.subject_prefix);
    let silence = config.nats.request_timeout.saturating_mul(5);
    let stream = &config.stream.name;
    let mut events = Events::default();
    replay(connection, stream, &subjects.decisions(), silence, |message| {
        match serde_json::from_slice::<DecisionEvent>(&message.payload) {
            Ok(event) => events.decisions.push((event.id, message.sequence)),
            Err(_) => events.unreadable += 1,
        }
    })
    .await?;
    replay(connection, stream, &subjects.violations(), silence, |message| {
        match serde_json::from_slice::<ViolationEvent>(&message.payload) {
            Ok(event) => events.violations.push((event.id, message.sequence)),
            Err(_) => events.unreadable += 1,
        }
    })
    .await?;
    let (decisions, violations) = (events.decisions.len(), events.violations.len());
    log.note(format!("read {decisions} decisions and {violations} violations from the stream"));
    let certificate = certified(connection, config).await?;
    log.note(format!("audit verify has {} findings", certificate.len()));
    let letters = overview(connection, &config.stream.dead_letter_name, silence).await?;
    let dead_letters = letters.map_or(0, |letters| letters.messages);
    Ok(Evidence {
        rows,
        stream: events,
        received,
        posted: fleet.posted(),
        dead_letters,
        certificate,
    })
}

/// What `audit verify` finds wrong, once the newest rows are sealed.
async fn certified(connection: &Connection, config: &Config) -> Result<Vec<String>, ChaosError> {
    let store = Store::connect(&config.clickhouse);
    let scope = Scope { contents: true, ..Scope::default() };
    let start = Instant::now();
    loop {
        let report = Box::pin(verify(connection, &store, config, &scope, &|_| ())).await?;
        let open = uncovered(&report);
        if report.verified && open.is_empty() {
            return Ok(Vec::new());
        }
        if start.elapsed() >= SEALED {
            let named = report.findings.named.iter().map(|finding| {
                serde_json::to_string(finding).unwrap_or_else(|error| error.to_string())
            });
            let counted = report.findings.counted.iter();
            let counted = counted.map(|(kind, count)| format!("{kind:?}: {count}"));
            let verdict = format!("verdict: {:?}", report.verdict);
            return Ok([verdict].into_iter().chain(open).chain(counted).chain(named).collect());
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What the certificate doesn't speak of yet.
fn uncovered(report: &Report) -> Vec<String> {
    let chains = report.chains.iter().filter(|chain| chain.links == 0 || chain.rows_waiting > 0);
    let chains = chains.map(|chain| {
        format!(
            "chain {}: {} links, {} rows unsealed",
            chain.chain, chain.links, chain.rows_waiting
        )
    });
    let tables = report.stream.tables.iter().filter(|table| table.unsettled > 0);
    let tables =
        tables.map(|table| format!("{}: {} unsettled events", table.table, table.unsettled));
    chains.chain(tables).collect()
}
