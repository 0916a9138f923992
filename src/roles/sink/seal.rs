//! Sealing: every now and then the rows that arrived since get a link in their table's chain.
//!
//! A range of the stream is sealed once everything in it is settled: stored, put aside, or known. The
//! link goes first to the bucket, on top of the one that was looked at, and then to ClickHouse. So two
//! sinks never make two links of one number, and a link that a sink could not store before it died is made
//! again by the next one from the same rows. Trouble here never stops storing: it is said in the health.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::bus::{BusError, Heads, PutError};
use crate::roles::retained;
use crate::runtime::health::Reporter;
use crate::runtime::metrics;
use crate::store::chain::{Chained, Index, Link, Range, Signed, Signer, Trusted};
use crate::store::{Store, StoreError, StreamPosition};

/// Seals the rows of one table.
pub(super) struct Sealer {
    pub(super) chained: Chained,
    pub(super) store: Store,
    pub(super) heads: Heads,
    pub(super) signer: Option<Signer>,
    /// The keys whose links are believed.
    pub(super) trusted: Trusted,
    pub(super) interval: Duration,
    /// How long rows are kept.
    pub(super) keep: Duration,
    /// How long NATS is waited for.
    pub(super) patience: Duration,
    /// Rows of one link.
    pub(super) rows: u64,
    pub(super) settled: watch::Receiver<Option<Sealable>>,
    pub(super) health: Reporter,
    pub(super) stop: CancellationToken,
    pub(super) memory: Memory,
}

/// Up to where a table's rows are settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealable {
    /// Everything up to here is stored or put aside.
    pub(super) at: StreamPosition,
    /// Whether this process is the one that reads.
    pub(super) reads: bool,
}

/// What a sealer remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The newest link that is known to be in ClickHouse.
    stored: String,
    /// The newest link at the look before.
    seen: String,
    /// The link of the greatest number that was ever seen in the bucket, or made: the chain never ends
    /// before it.
    highest: Option<Reached>,
    /// Whether the bucket's earlier values were looked at for it.
    looked_back: bool,
    /// Whether the bucket knows how long rows are kept.
    retention_noted: bool,
    /// What a person should know, for as long as this process lives.
    grievance: Option<String>,
}

/// How far a chain has come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reached {
    number: u64,
    digest: String,
    epoch: DateTime<Utc>,
    last: u64,
}

impl Reached {
    fn of(link: &Link) -> Self {
        Self {
            number: link.number,
            digest: link.digest.clone(),
            epoch: link.epoch,
            last: link.last_sequence,
        }
    }
}

/// Why nothing could be sealed now.
#[derive(Debug, thiserror::Error)]
enum SealError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another sink was faster: the next look sees its link.
    #[error("another sink seals")]
    Overtaken,
    #[error("the newest link in the bucket of chains can't be read: {0}")]
    Unreadable(String),
    /// What was sealed may have been altered since: sealing it again would cover that up.
    #[error(
        "the chain had come to link {had} and was taken back{to}: run `sluicegate audit verify`; if NATS \
         and ClickHouse were both restored from a backup, purge the chain's key in the bucket \
         (chain.bucket) and start the sinks anew"
    )]
    TakenBack { had: u64, to: String },
    /// The bucket is lost, and the end of the chain in ClickHouse is none of ours.
    #[error(
        "the bucket of chains lost the newest link, and no sink wrote link {0}, the newest in ClickHouse: \
         run `sluicegate audit verify`"
    )]
    Foreign(u64),
}

impl From<PutError> for SealError {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Conflict => Self::Overtaken,
            PutError::Bus(error) => Self::Bus(error),
            PutError::Refused(reason) => Self::Unreadable(reason),
        }
    }
}

/// The newest link and what the next one must be written on top of.
struct Newest {
    link: Option<Link>,
    revision: u64,
}

impl Sealer {
    /// Seals until told to stop.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.health.ready();
        loop {
            tokio::select! {
                _ = ticks.tick() => (),
                () = self.stop.cancelled() => return,
            }
            // Nothing is settled in a stream of which nothing was acknowledged: rows of the one before
            // it may be on their way.
            let settled = *self.settled.borrow();
            let Some(settled) = settled.filter(|settled| settled.at.sequence > 0) else {
                self.health.ready();
                continue;
            };
            match self.seal(settled).await {
                Ok(()) | Err(SealError::Overtaken) => match &self.memory.grievance {
                    Some(grievance) => self.health.degraded(grievance.clone()),
                    None => self.health.ready(),
                },
                Err(error) => self.health.degraded(format!("rows wait to be sealed: {error}")),
            }
        }
    }

    /// Seals everything up to here.
    async fn seal(&mut self, Sealable { at: settled, reads }: Sealable) -> Result<(), SealError> {
        self.show_lag(self.expected(settled));
        self.look_back().await?;
        let mut newest = self.newest(settled).await?;
        self.never_back(newest.link.as_ref())?;
        self.note_retention().await?;
        // Whoever stands by, or doesn't know yet that he reads, leaves it to the one who does, as long as
        // that one does it.
        let digest = newest.link.as_ref().map(|link| link.digest.clone()).unwrap_or_default();
        let moves = std::mem::replace(&mut self.memory.seen, digest.clone()) != digest;
        if moves && !reads {
            return Ok(());
        }
        for mut range in self.open_ranges(newest.link.as_ref(), settled).await? {
            while range.first <= range.last {
                if self.stop.is_cancelled() {
                    return Ok(());
                }
                let part = self.part(range).await?;
                self.show_lag(range);
                newest = self.add(newest, part).await?;
                range.first = part.last.saturating_add(1);
            }
        }
        self.show_lag(Range { epoch: settled.epoch, first: 1, last: 0 });
        Ok(())
    }

    /// What isn't sealed yet as far as this process knows, for as long as it can't look.
    fn expected(&self, settled: StreamPosition) -> Range {
        let reached = self.memory.highest.as_ref().filter(|at| at.epoch == settled.epoch);
        let first = reached.map_or(0, |at| at.last).saturating_add(1);
        Range { epoch: settled.epoch, first, last: settled.sequence }
    }

    /// Looks once at the values that the bucket had before: the newest should be the greatest.
    async fn look_back(&mut self) -> Result<(), SealError> {
        if self.memory.looked_back {
            return Ok(());
        }
        for value in self.heads.history(self.chained.label(), self.patience).await? {
            if let Ok(link) = serde_json::from_slice::<Link>(&value) {
                self.reached(&link);
            }
        }
        self.memory.looked_back = true;
        Ok(())
    }

    /// Verification must know under which settings rows were dropped.
    async fn note_retention(&mut self) -> Result<(), SealError> {
        if !self.memory.retention_noted {
            retained::note(&self.heads, self.chained, self.keep).await?;
            self.memory.retention_noted = true;
        }
        Ok(())
    }

    fn reached(&mut self, link: &Link) {
        if self.memory.highest.as_ref().is_none_or(|highest| highest.number < link.number) {
            self.memory.highest = Some(Reached::of(link));
        }
    }

    /// A chain only grows. Whoever takes it back wants rows that he altered to be sealed again.
    fn never_back(&mut self, newest: Option<&Link>) -> Result<(), SealError> {
        if let Some(highest) = &self.memory.highest {
            let same = newest.is_some_and(|link| link.digest == highest.digest);
            if !same && newest.is_none_or(|link| link.number <= highest.number) {
                let to =
                    newest.map_or_else(String::new, |link| format!(" to link {}", link.number));
                return Err(SealError::TakenBack { had: highest.number, to });
            }
        }
        if let Some(link) = newest {
            self.reached(link);
        }
        Ok(())
    }

    /// The newest link, which is in the bucket and in ClickHouse afterwards.
    async fn newest(&mut self, settled: StreamPosition) -> Result<Newest, SealError> {
        let head = self.heads.newest(self.chained.label()).await?;
        if head.revision == 0 {
            // Somebody may have deleted the bucket.
            self.heads.make().await?;
        }
        let link = match &head.value {
            Some(value) => Some(
                serde_json::from_slice::<Link>(value)
                    .map_err(|error| SealError::Unreadable(error.to_string()))?,
            ),
            None => None,
        };
        if let Some(link) = &link
            && link.digest == self.memory.stored
        {
            return Ok(Newest { link: Some(link.clone()), revision: head.revision });
        }
        let stored = self.store.newest_link(self.chained).await?;
        match (link, stored) {
            (None, None) => Ok(Newest { link: None, revision: head.revision }),
            (None, Some(stored)) => {
                if !self.is_ours(&stored).await? {
                    return Err(SealError::Foreign(stored.number));
                }
                self.complain(format!(
                    "the bucket of chains lost the newest link: the chain goes on from link {} in \
                     ClickHouse; compare it with an anchor (`sluicegate audit verify --anchor`)",
                    stored.number
                ));
                self.adopt(stored, head.revision).await
            }
            (Some(link), stored) => {
                let ahead = stored.filter(|stored| stored.number > link.number);
                if ahead.is_none() && !self.is_stored(&link).await? {
                    self.restore(&link).await?;
                }
                match ahead {
                    Some(ahead) => self.catch_up(link, ahead, head.revision, settled).await,
                    None => {
                        self.memory.stored.clone_from(&link.digest);
                        Ok(Newest { link: Some(link), revision: head.revision })
                    }
                }
            }
        }
    }

    async fn is_stored(&self, link: &Link) -> Result<bool, StoreError> {
        let stored = self.store.links(self.chained, link.number).await?;
        Ok(stored.iter().any(|other| other.digest == link.digest))
    }

    /// ClickHouse lacks the bucket's newest link: the sink that made it ended between the two, or
    /// somebody deleted it. It says which rows it covers, so its index is made again.
    async fn restore(&mut self, link: &Link) -> Result<(), SealError> {
        let rows = self.store.sealed_rows(self.chained, link.range()).await?;
        if link.covers(&rows) {
            tracing::warn!(chain = link.chain, number = link.number, "a link is stored again");
            self.store.insert_link(link, &Index::new(&rows)).await?;
            return Ok(());
        }
        // The link is the truth: it is stored without an index, and verification reports its range.
        self.complain(format!(
            "link {} of {} is missing in ClickHouse and its rows are not those that were sealed: run \
             `sluicegate audit verify`",
            link.number, link.chain
        ));
        self.store.insert_link(link, &Index::default()).await?;
        Ok(())
    }

    /// ClickHouse is ahead of the bucket: the bucket lost its newest words, or somebody wrote links of
    /// his own. They are followed as far as they could have been ours.
    async fn catch_up(
        &mut self,
        mut link: Link,
        ahead: Link,
        revision: u64,
        settled: StreamPosition,
    ) -> Result<Newest, SealError> {
        let first = link.number.saturating_add(1);
        let before = link.number;
        for next in self.store.links(self.chained, first).await? {
            let goes_on = next.number <= ahead.number && could_follow(&link, &next, settled);
            if !goes_on || !self.is_ours(&next).await? {
                break;
            }
            link = next;
        }
        if link.number == before {
            self.complain(format!(
                "ClickHouse has a link {} of {} that no sink wrote: run `sluicegate audit verify`",
                ahead.number, ahead.chain
            ));
            return Ok(Newest { link: Some(link), revision });
        }
        self.complain(format!(
            "the bucket of chains had lost links {first} to {} of {}; the chain goes on from ClickHouse",
            link.number, link.chain
        ));
        self.adopt(link, revision).await
    }

    /// A link of ours is signed by a key that is believed, and covers the rows that there are.
    async fn is_ours(&self, link: &Link) -> Result<bool, StoreError> {
        let signed = match self.trusted.check(&link.calculated(), &link.signature) {
            Signed::Yes | Signed::Unsigned | Signed::Unknown => true,
            Signed::Missing | Signed::Wrong => {
                let ours = self.signer.as_ref().map(|signer| signer.sign(&link.calculated()));
                ours.is_some_and(|ours| ours == link.signature)
            }
        };
        if !link.is_whole() || !signed {
            return Ok(false);
        }
        Ok(link.covers(&self.store.sealed_rows(self.chained, link.range()).await?))
    }

    async fn adopt(&mut self, link: Link, revision: u64) -> Result<Newest, SealError> {
        // Before it is written: the next process only knows what the bucket says.
        self.never_back(Some(&link))?;
        let revision = self.put(&link, revision).await?;
        self.memory.stored.clone_from(&link.digest);
        Ok(Newest { link: Some(link), revision })
    }

    /// What isn't sealed yet, in the order in which it is. Whatever stream the chain came to last, each
    /// stream's own range goes on where it ended.
    async fn open_ranges(
        &self,
        newest: Option<&Link>,
        settled: StreamPosition,
    ) -> Result<Vec<Range>, StoreError> {
        let until = |first: u64| Range { epoch: settled.epoch, first, last: settled.sequence };
        if let Some(link) = newest
            && link.epoch == settled.epoch
        {
            return Ok(vec![until(link.last_sequence.saturating_add(1))]);
        }
        // The stream is a new one, or the chain is: what was stored of the others can't grow any more.
        let mut ranges = Vec::new();
        for rows in self.store.epochs(self.chained).await? {
            if rows.epoch != settled.epoch {
                let sealed = self.store.sealed_up_to(self.chained, rows.epoch).await?;
                let first = sealed.saturating_add(1);
                ranges.push(Range { epoch: rows.epoch, first, last: rows.last });
            }
        }
        let sealed = self.store.sealed_up_to(self.chained, settled.epoch).await?;
        ranges.push(until(sealed.saturating_add(1)));
        Ok(ranges)
    }

    /// The beginning of a range that one link may cover: a sequence is that of one row at most.
    async fn part(&self, range: Range) -> Result<Range, StoreError> {
        let found = self.store.rows_from(self.chained, range).await?;
        let last = match found.rows {
            0 => range.last,
            _ => found.first.saturating_add(self.rows.saturating_sub(1)).min(range.last),
        };
        Ok(Range { last, ..range })
    }

    async fn add(&mut self, newest: Newest, range: Range) -> Result<Newest, SealError> {
        let rows = self.store.sealed_rows(self.chained, range).await?;
        let before = newest.link.as_ref();
        let link = Link::seal(self.chained, before, range, &rows, self.signer.as_ref());
        let revision = self.put(&link, newest.revision).await?;
        // Should this fail, the next look finds the link in the bucket and stores it.
        self.store.insert_link(&link, &Index::new(&rows)).await?;
        self.memory.stored.clone_from(&link.digest);
        self.reached(&link);
        metrics::chain_links(self.chained.label()).increment(1);
        metrics::chain_rows(self.chained.label()).increment(link.rows);
        tracing::debug!(chain = link.chain, number = link.number, rows = link.rows, "sealed");
        Ok(Newest { link: Some(link), revision })
    }

    async fn put(&self, link: &Link, revision: u64) -> Result<u64, SealError> {
        let value =
            serde_json::to_vec(link).map_err(|error| SealError::Unreadable(error.to_string()))?;
        Ok(self.heads.put(self.chained.label(), value, revision).await?)
    }

    fn complain(&mut self, grievance: String) {
        tracing::error!(chain = self.chained.label(), "{grievance}");
        self.memory.grievance = Some(grievance);
    }

    fn show_lag(&self, range: Range) {
        let lag = range.last.saturating_add(1).saturating_sub(range.first);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::chain_lag(self.chained.label()).set(lag as f64);
    }
}

/// Whether a link can be the one after another, from what is settled.
fn could_follow(before: &Link, link: &Link, settled: StreamPosition) -> bool {
    let goes_on =
        link.epoch != before.epoch || link.first_sequence == before.last_sequence.saturating_add(1);
    let is_settled = link.epoch != settled.epoch || link.last_sequence <= settled.sequence;
    link.follows(before) && goes_on && is_settled && link.first_sequence <= link.last_sequence
}
