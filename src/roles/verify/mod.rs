//! Verification of the audit: the chains over ClickHouse's rows, the rows against what the stream still
//! holds, and the numbers that workers gave to their events. Changes nothing.

mod chain;
mod compare;
mod ends;
mod numbers;
mod report;
mod stream;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use report::{
    ChainReport, Finding, Findings, Kind, Report, Signatures, StreamReport, TableReport, Verdict,
    WorkersReport,
};

use super::retained::{self, Retained};
use crate::bus::{BusError, Connection, Heads};
use crate::config::Config;
use crate::store::chain::{Chained, KeyError, Link, Trusted};
use crate::store::{Store, StoreError};

/// What waits longer than this to be stored or sealed is a finding, at the least.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// NATS.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// ClickHouse.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key of the configuration.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl VerifyError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Bus(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Key(error) => error.is_transient(),
        }
    }
}

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Rows from here on; none for all.
    pub since: Option<DateTime<Utc>>,
    /// Rows before; none for all.
    pub until: Option<DateTime<Utc>>,
    /// Whether the bodies of the events that the stream holds are compared with their rows.
    pub contents: bool,
    /// Links that were kept elsewhere, which the chains must contain.
    pub anchors: Vec<Link>,
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Links of a chain whose rows were looked at.
    Links {
        /// The chain.
        chain: &'static str,
        /// So many.
        done: u64,
        /// Of so many.
        all: u64,
    },
    /// Events of the stream.
    Events {
        /// So many sequences.
        done: u64,
        /// Of so many.
        all: u64,
    },
    /// The workers' numbers.
    Numbers,
}

/// Whom to tell how far it has come.
pub type OnStep<'a> = &'a (dyn Fn(Step) + Send + Sync);

/// What verification works with.
#[derive(Clone, Copy)]
struct Job<'a> {
    connection: &'a Connection,
    store: &'a Store,
    config: &'a Config,
    scope: &'a Scope,
    trusted: &'a Trusted,
    /// What the bucket knows of earlier retention.
    retained: &'a BTreeMap<Chained, Retained>,
    now: DateTime<Utc>,
    on_step: OnStep<'a>,
}

impl Job<'_> {
    /// Rows of this table made before may be gone.
    fn retained_since(&self, chained: Chained) -> DateTime<Utc> {
        let noted = self.retained.get(&chained).and_then(|noted| noted.gone_before(self.now));
        self.configured_since(chained).max(noted).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// The same, if the configuration had never been another.
    fn configured_since(&self, chained: Chained) -> Option<DateTime<Utc>> {
        retained::gone_before(retained::keeps(&self.config.retention, chained), self.now)
    }

    /// Whether what waits since then should be done long since. A sink that was just started, or is in the
    /// middle of a backlog, is given time.
    fn is_overdue(&self, since: DateTime<Utc>) -> bool {
        let patience = self.config.chain.interval.saturating_mul(20).max(PATIENCE);
        let patience = chrono::TimeDelta::from_std(patience).unwrap_or(chrono::TimeDelta::MAX);
        self.now.signed_duration_since(since) > patience
    }

    /// The earliest row that is asked for.
    fn since(&self) -> DateTime<Utc> {
        self.scope.since.unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// Verifies the audit.
///
/// # Errors
/// When NATS or ClickHouse doesn't answer, or a key of the configuration is none. What is wrong with the
/// audit is no error: the report says it.
pub async fn verify(
    connection: &Connection,
    store: &Store,
    config: &Config,
    scope: &Scope,
    on_step: OnStep<'_>,
) -> Result<Report, VerifyError> {
    let trusted = Trusted::of(&config.chain)?;
    let retained = retained(connection, config).await?;
    let (trusted, retained) = (&trusted, &retained);
    let job = Job { connection, store, config, scope, trusted, retained, now: Utc::now(), on_step };
    let mut report = Report {
        verdict: Verdict::Failed,
        verified: false,
        checked_at: job.now,
        since: scope.since,
        until: scope.until,
        public_keys: trusted.keys(),
        chains: Vec::new(),
        stream: StreamReport::default(),
        workers: WorkersReport::default(),
        findings: Findings::default(),
        notes: Vec::new(),
    };
    // Before the chains: what is stored since can't look like too much.
    let standing = stream::standing(&job).await?;
    for chained in Chained::ALL {
        let chain = chain::verify(&job, chained, &standing, &mut report).await?;
        report.chains.push(chain);
    }
    let dead = stream::dead_letters(&job).await?;
    stream::verify(&job, &standing, &dead, &mut report).await?;
    numbers::verify(&job, &standing, &dead, &mut report).await?;
    earlier_retention(&job, &mut report);
    report.verdict = report.judge();
    report.verified = report.verdict == Verdict::Verified;
    Ok(report)
}

async fn retained(
    connection: &Connection,
    config: &Config,
) -> Result<BTreeMap<Chained, Retained>, BusError> {
    let heads = Heads::open(connection, config);
    let mut all = BTreeMap::new();
    for chained in Chained::ALL {
        if let Some(noted) = retained::noted(&heads, chained).await? {
            all.insert(chained, noted);
        }
    }
    Ok(all)
}

/// What excuses rows that are gone must be seen.
fn earlier_retention(job: &Job<'_>, report: &mut Report) {
    for (chain, chained) in report.chains.iter().zip(Chained::ALL) {
        let since = job.retained_since(chained);
        if chain.rows_expired > 0 && job.configured_since(chained) < Some(since) {
            report.notes.push(format!(
                "rows of {} from before {} count as expired: the bucket of chains says that they were \
                 kept for a shorter time than the configuration says now",
                chain.chain,
                since.format("%Y-%m-%d %H:%M:%SZ")
            ));
        }
    }
}
