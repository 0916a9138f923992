//! What a verification found: the certificate.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::store::chain::Range;

/// Findings that a report names one by one; all are counted.
const NAMED: usize = 1_000;

/// What is wrong, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A row says something else than when it was sealed.
    Altered,
    /// A row that was sealed is gone.
    Deleted,
    /// A row is there that was not when its range was sealed, or that the stream never had.
    Inserted,
    /// A row stands at another place of the stream than when it was sealed.
    Moved,
    /// Rows of a range are not those that were sealed; which of them can't be told.
    RowsDiffer,
    /// A link is gone.
    LinkDeleted,
    /// A link says something else than its digest, or doesn't follow the one before.
    LinkAltered,
    /// A link is there that is none of the chain.
    LinkInserted,
    /// A link has no signature that is believed.
    Signature,
    /// Links leave a part of a stream out, or cover it twice.
    Range,
    /// The bucket of chains doesn't know a chain's newest link.
    Head,
    /// A link that was kept elsewhere is not in the chain.
    Anchor,
    /// An event that the stream holds has no row and was not put aside.
    Missing,
    /// A row says something else than the event in the stream.
    Contents,
    /// One id has several rows.
    DuplicateId,
    /// Several rows have one place of the stream.
    SharedSequence,
    /// There is no stream to compare rows with.
    StreamMissing,
    /// The stream holds events that nobody reads.
    NoConsumer,
    /// Events that should have been stored long since are not.
    Overdue,
    /// Rows that should have been sealed long since are not.
    Unsealed,
    /// The bucket of chains once had a later link than it has now.
    RolledBack,
    /// A number that a worker gave to an event has no row.
    NumberMissing,
    /// A number that a worker gave once has several rows.
    NumberTwice,
    /// A number of a run that was killed or still runs: in flight when it ended, or kept by its worker.
    Unaccounted,
    /// A worker gave an event up that could never be stored.
    GivenUp,
    /// A link is in the bucket of chains and not yet in ClickHouse.
    NotStoredYet,
}

impl Kind {
    /// Whether it keeps the audit from being verified.
    #[must_use]
    pub const fn fails(self) -> bool {
        !matches!(self, Self::Unaccounted | Self::GivenUp | Self::NotStoredYet)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// The chain or table: `decisions` or `violations`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<&'static str>,
    /// The link's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<u64>,
    /// The row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Its place in the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The run of a worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_run: Option<Uuid>,
    /// Numbers of that run, the first and the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<(u64, u64)>,
    /// In a sentence.
    pub detail: String,
}

impl Finding {
    /// A finding that names nothing yet.
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            chain: None,
            link: None,
            id: None,
            sequence: None,
            worker_run: None,
            numbers: None,
            detail: detail.into(),
        }
    }

    pub(super) const fn in_chain(mut self, chain: &'static str) -> Self {
        self.chain = Some(chain);
        self
    }

    pub(super) const fn in_link(mut self, number: u64) -> Self {
        self.link = Some(number);
        self
    }

    pub(super) const fn row(mut self, id: Uuid, sequence: u64) -> Self {
        self.id = Some(id);
        self.sequence = Some(sequence);
        self
    }

    pub(super) const fn at(mut self, sequence: u64) -> Self {
        self.sequence = Some(sequence);
        self
    }

    pub(super) const fn numbered(mut self, run: Uuid, first: u64, last: u64) -> Self {
        self.worker_run = Some(run);
        self.numbers = Some((first, last));
        self
    }
}

/// Everything that is wrong: counted whole, named up to a bound.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// How many of each kind.
    pub counted: BTreeMap<Kind, u64>,
    /// The first of them, one by one.
    pub named: Vec<Finding>,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        self.add_many(finding, 1);
    }

    /// One finding that stands for so many.
    pub(super) fn add_many(&mut self, finding: Finding, count: u64) {
        *self.counted.entry(finding.kind).or_default() += count;
        // What fails comes first: it may push out what doesn't.
        if self.named.len() < NAMED {
            self.named.push(finding);
        } else if finding.kind.fails()
            && let Some(place) = self.named.iter_mut().find(|named| !named.kind.fails())
        {
            *place = finding;
        }
    }

    /// Takes back findings of a kind about rows that turned out to be something else.
    pub(super) fn withdraw(&mut self, kind: Kind, ids: &std::collections::HashSet<Uuid>) {
        let before = self.named.len();
        self.named.retain(|f| f.kind != kind || !f.id.is_some_and(|id| ids.contains(&id)));
        let gone = u64::try_from(before - self.named.len()).unwrap_or(0);
        if let Some(count) = self.counted.get_mut(&kind) {
            *count = count.saturating_sub(gone);
        }
        self.counted.retain(|_, count| *count > 0);
    }

    /// Whether nothing was found that keeps the audit from being verified.
    #[must_use]
    pub fn verified(&self) -> bool {
        !self.counted.iter().any(|(kind, count)| kind.fails() && *count > 0)
    }

    /// How many of a kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.counted.get(&kind).copied().unwrap_or_default()
    }

    /// Those of a kind that are named.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Finding> {
        self.named.iter().filter(move |finding| finding.kind == kind)
    }
}

/// How links are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signatures {
    /// Each by a key that is believed.
    Valid,
    /// There are none, and no key is configured.
    #[default]
    Unsigned,
    /// There are some, and no key is configured by which they could be verified.
    NotVerified,
    /// One or more are missing or wrong.
    Invalid,
}

/// One chain.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChainReport {
    /// `decisions` or `violations`.
    pub chain: &'static str,
    /// Links that make the chain.
    pub links: u64,
    /// Links whose rows were looked at: those of the span that was asked for.
    pub links_checked: u64,
    /// How they are signed.
    pub signatures: Signatures,
    /// The newest link's number.
    pub head_number: u64,
    /// Its digest.
    pub head_digest: String,
    /// When it was sealed.
    pub head_sealed_at: Option<DateTime<Utc>>,
    /// Rows that the checked links cover.
    pub rows_sealed: u64,
    /// Of these: rows that are as they were sealed.
    pub rows_intact: u64,
    /// Of these: rows whose time of retention is over and that are gone.
    pub rows_expired: u64,
    /// The earliest time of a checked row.
    pub first_timestamp: Option<DateTime<Utc>>,
    /// The latest.
    pub last_timestamp: Option<DateTime<Utc>>,
    /// What the chain covers of each stream.
    pub ranges: Vec<Range>,
    /// Rows of the newest stream that are not sealed yet.
    pub rows_waiting: u64,
}

/// One table against what the stream holds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TableReport {
    /// `decisions` or `violations`.
    pub table: &'static str,
    /// Up to where everything must be stored.
    pub settled: u64,
    /// Events of the stream up to there.
    pub events: u64,
    /// Of these: events that have their row.
    pub stored: u64,
    /// Of these: events that were put aside as dead letters.
    pub dead_letters: u64,
    /// Of these: events that the stream holds a second time; the other one has the row.
    pub resent: u64,
    /// Of these: events whose row is gone because its time is over.
    pub expired: u64,
    /// Events behind that: not looked at.
    pub unsettled: u64,
}

/// The stream.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StreamReport {
    /// When it was created.
    pub epoch: Option<DateTime<Utc>>,
    /// The first sequence that it still holds.
    pub first_sequence: u64,
    /// The last.
    pub last_sequence: u64,
    /// Whether the events' bodies were compared with the rows too.
    pub contents: bool,
    /// Table by table.
    pub tables: Vec<TableReport>,
}

/// The numbers that workers gave.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WorkersReport {
    /// Runs of workers that have rows in the span.
    pub runs: u64,
    /// Of these: runs that ended in order.
    pub ended: u64,
    /// Numbers that were looked at.
    pub numbers: u64,
    /// Of these: numbers with a row.
    pub stored: u64,
    /// Of these: numbers of dead letters.
    pub dead_letters: u64,
    /// Of these: numbers that can't be judged yet: the newest.
    pub unsettled: u64,
    /// Rows that are not numbered, from programs that didn't count.
    pub unnumbered: u64,
    /// Rows that the stream has behind one of a greater number of the same run.
    pub reordered: u64,
    /// By how many numbers at most.
    pub largest_displacement: u64,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that was looked at is as it should be.
    Verified,
    /// Something isn't.
    Failed,
    /// There is no row in the span, or none that is sealed yet.
    Nothing,
}

/// The certificate.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What comes of it.
    pub verdict: Verdict,
    /// Whether the verdict is that everything is as it should be.
    pub verified: bool,
    /// When it was looked at.
    pub checked_at: DateTime<Utc>,
    /// Rows from here on; none for all.
    pub since: Option<DateTime<Utc>>,
    /// Rows before; none for all.
    pub until: Option<DateTime<Utc>>,
    /// The keys that are believed, in hexadecimal.
    pub public_keys: Vec<String>,
    /// The chains.
    pub chains: Vec<ChainReport>,
    /// The stream.
    pub stream: StreamReport,
    /// The workers' numbers.
    pub workers: WorkersReport,
    /// What is wrong.
    pub findings: Findings,
    /// What was not looked at, and why.
    pub notes: Vec<String>,
}

impl Report {
    /// The verdict over what was found, and over how much there was to look at.
    pub(super) fn judge(&self) -> Verdict {
        let sealed = self.chains.iter().any(|chain| chain.rows_sealed > 0);
        if !self.findings.verified() {
            Verdict::Failed
        } else if sealed {
            Verdict::Verified
        } else {
            Verdict::Nothing
        }
    }
}
