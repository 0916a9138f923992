//! Storing batches, each event once.
//!
//! In this order: look up what may be stored already, insert the rest under a token made of its ids,
//! repeat the same until it is in, then acknowledge.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::batch::{Batch, Item, by_partition, token, unique};
use super::desk::Desk;
use super::gaps::{Suspects, jumps};
use super::line::{Line, Refusal};
use super::observe::Observer;
use super::prepare::{prepare, waiting_for};
use super::told::Told;
use crate::config::Retention;
use crate::roles::in_flight::InFlight;
use crate::runtime::health::Reporter;
use crate::runtime::metrics::{self, BatchResult};
use crate::runtime::retry::{Retry, RetryPolicy};
use crate::store::{ErrorClass, Store, StoreError, StreamPosition, VersionOf};

/// Rows that ClickHouse may refuse one after the other without taking any in between, before it is taken
/// to be the tables' fault and not the rows': then nothing more is put aside, and the sink waits.
const TOO_MANY_REFUSED: usize = 32;

/// Stores the batches of one table, one after the other.
pub(super) struct Inserter {
    pub(super) store: Store,
    pub(super) retention: Retention,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) desk: Desk,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) health: Reporter,
    pub(super) retry: RetryPolicy,
    pub(super) settings: Settings,
    pub(super) marks: Marks,
    /// Rows refused since one was taken.
    pub(super) refused_in_a_row: usize,
    /// Up to where it is known of every message what became of it.
    pub(super) settled: watch::Receiver<Option<StreamPosition>>,
    /// Versions that may be missing.
    pub(super) suspects: Suspects,
    /// Notifications whose violations are not there yet.
    pub(super) told: Told,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// After this time what was looked up may have changed: another process may have been given the
    /// same events.
    pub(super) stale: Duration,
    /// How long after becoming the one that reads everything is looked up: an insert of the one before
    /// may still be on its way.
    pub(super) unsettled: Duration,
    /// How far back rows may have been made whose events are still in the stream.
    pub(super) reach: Duration,
}

/// What is known to be stored: the greatest sequence of each epoch.
#[derive(Debug)]
pub(super) struct Marks {
    generation: u64,
    since: Instant,
    greatest: BTreeMap<DateTime<Utc>, Option<u64>>,
}

impl Default for Marks {
    fn default() -> Self {
        Self { generation: 0, since: Instant::now(), greatest: BTreeMap::new() }
    }
}

impl Inserter {
    /// Stores batches until nobody hands any over.
    pub(super) async fn run<R: Line>(mut self, mut batches: mpsc::Receiver<Batch<R>>) {
        // The tables are there, or we wouldn't be.
        self.health.ready();
        loop {
            tokio::select! {
                batch = batches.recv() => match batch {
                    Some(batch) => self.settle(batch).await,
                    None => return,
                },
                Ok(()) = self.settled.changed(), if !self.suspects.is_empty() => {
                    self.confirm_gaps::<R>().await;
                }
                () = tokio::time::sleep_until(self.told.due()), if R::BY_OTHERS => {
                    self.tell_again().await;
                }
            }
        }
    }

    async fn settle<R: Line>(&mut self, batch: Batch<R>) {
        let mut positions: Vec<StreamPosition> = batch.items.iter().map(Item::position).collect();
        self.know_marks::<R>(batch.generation, &positions).await;

        let speak_of: Vec<Uuid> =
            batch.items.iter().filter_map(|item| item.row.speaks_of()).collect();
        let (mut items, doubled) = unique(batch.items);
        metrics::sink_duplicates(R::TABLE.name()).increment(count(doubled));
        let all = self.must_look_up(&items);
        items = self.without_stored(items, all).await;
        self.suspect_gaps(&items).await;
        let mut stored = 0;
        for part in by_partition(items) {
            let (rows, refused) = self.store_part(part).await;
            stored += rows;
            for (item, refusal) in refused {
                let at = item.position();
                positions.retain(|position| *position != at);
                self.desk.take(item.source, at, refusal).await;
            }
        }
        self.tell(&speak_of).await;
        self.observer.inserted(R::TABLE, stored).await;
        self.in_flight.acknowledge(&positions).await;
        self.marks.raise(&positions);
    }

    /// Reads the marks where they may have changed: after another process may have been the one that
    /// reads, and for a stream that is new to us.
    async fn know_marks<R: Line>(&mut self, generation: u64, positions: &[StreamPosition]) {
        if self.marks.generation != generation {
            self.marks = Marks { generation, ..Marks::default() };
        }
        for position in positions {
            if !self.marks.greatest.contains_key(&position.epoch) {
                let mark = self.mark::<R>(position.epoch).await;
                tracing::debug!(table = R::TABLE.name(), ?mark, epoch = %position.epoch, "stored so far");
                self.marks.greatest.insert(position.epoch, mark);
            }
        }
    }

    async fn mark<R: Line>(&self, epoch: DateTime<Utc>) -> Option<u64> {
        let mut retry = Retry::new(self.retry);
        loop {
            let since = Utc::now() - self.settings.reach;
            match self.store.high_water_mark(R::TABLE, epoch, since).await {
                Ok(mark) => return mark,
                Err(error) => self.wait_out(&error, &mut retry).await,
            }
        }
    }

    /// The sequence triggers the question; it never answers it. A stream that was rewound gives old
    /// sequences to new events.
    fn must_look_up<R: Line>(&self, items: &[Item<R>]) -> bool {
        R::BY_OTHERS
            || self.marks.since.elapsed() < self.settings.unsettled
            || items.iter().any(|item| item.doubtful || self.marks.reaches(item.position()))
    }

    /// The items that are not in the table. Those whose id somebody else made are looked up in any case,
    /// the others only where all are.
    async fn without_stored<R: Line>(&self, mut items: Vec<Item<R>>, all: bool) -> Vec<Item<R>> {
        let mut stored = HashSet::new();
        let (mut ours, mut others) = (LookUp::default(), LookUp::default());
        for row in items.iter().map(|item| &item.row) {
            match row.may_stand() {
                Some(times) => others.add(row.id(), times),
                None if all => ours.add(row.id(), row.timestamp()..=row.timestamp()),
                None => (),
            }
        }
        for LookUp { ids, times } in [ours, others] {
            let Some(times) = times else { continue };
            let mut retry = Retry::new(self.retry);
            stored.extend(loop {
                match self.store.existing_ids(R::TABLE, &ids, times.clone()).await {
                    Ok(stored) => break stored,
                    Err(error) => self.wait_out(&error, &mut retry).await,
                }
            });
        }
        metrics::sink_duplicates(R::TABLE.name()).increment(count(stored.len()));
        items.retain(|item| !stored.contains(&item.row.id()));
        items
    }

    /// Takes note of the versions that the history lacks before these: a bucket keeps a number of
    /// versions of each policy, and a sink that was away for longer never sees the others. What comes
    /// again is stored already, and so is looked at once.
    async fn suspect_gaps<R: Line>(&mut self, items: &[Item<R>]) {
        let rows: Vec<&R> = items.iter().map(|item| &item.row).collect();
        let versions = rows.iter().filter_map(|row| Some((row.version_of()?, row.position())));
        let new: Vec<(VersionOf, StreamPosition)> = versions.collect();
        if new.is_empty() {
            return;
        }
        let mut retry = Retry::new(self.retry);
        let known = loop {
            match self.store.greatest_versions(&rows).await {
                Ok(known) => break known,
                Err(error) => self.wait_out(&error, &mut retry).await,
            }
        };
        self.suspects.add(jumps(&known, &new));
    }

    /// Reports the versions that can't come any more.
    async fn confirm_gaps<R: Line>(&mut self) {
        let Some(settled) = *self.settled.borrow_and_update() else { return };
        for gap in self.suspects.settled(settled) {
            let mut retry = Retry::new(self.retry);
            let stored = loop {
                match self.store.count_versions(R::TABLE, &gap.of, gap.from..=gap.to).await {
                    Ok(stored) => break stored,
                    Err(error) => self.wait_out(&error, &mut retry).await,
                }
            };
            self.health.ready();
            gap.report(stored);
        }
    }

    /// Writes what was said of these violations into their rows.
    async fn tell(&mut self, violations: &[Uuid]) {
        let mut retry = Retry::new(self.retry);
        while let Err(error) = self.told.apply(&self.store, violations).await {
            self.wait_out(&error, &mut retry).await;
        }
    }

    /// The same for what was said before its violation was there.
    async fn tell_again(&mut self) {
        let mut retry = Retry::new(self.retry);
        while let Err(error) = self.told.again(&self.store).await {
            self.wait_out(&error, &mut retry).await;
        }
        self.health.ready();
    }

    /// Stores the items of one partition. Gives back how many are in, and those that ClickHouse will
    /// never take: found by halving what it refuses.
    async fn store_part<R: Line>(
        &mut self,
        part: Vec<Item<R>>,
    ) -> (usize, Vec<(Item<R>, Refusal)>) {
        let mut retry = Retry::new(self.retry);
        let mut stored = 0;
        let mut refused = Vec::new();
        let mut pieces = vec![part];
        while let Some(piece) = pieces.pop() {
            match self.insert_piece(piece).await {
                Ok(rows) => {
                    stored += rows;
                    self.refused_in_a_row = 0;
                }
                Err((error, piece)) if piece.len() == 1 => {
                    if self.refused_in_a_row < TOO_MANY_REFUSED {
                        self.refused_in_a_row += 1;
                        let refusal = Refusal::by_clickhouse(&error);
                        refused.extend(piece.into_iter().map(|item| (item, refusal.clone())));
                    } else {
                        // What was just refused is as innocent: all of it is tried again.
                        let again = refused.drain(..).map(|(item, _)| item).chain(piece);
                        pieces.push(again.collect());
                        self.wait_out(&error, &mut retry).await;
                    }
                }
                Err((_, mut piece)) => {
                    let second = piece.split_off(piece.len() / 2);
                    pieces.push(second);
                    pieces.push(piece);
                }
            }
        }
        (stored, refused)
    }

    /// Inserts items as one block, for as long as it takes. Gives them back only when ClickHouse
    /// refuses what is in them.
    async fn insert_piece<R: Line>(
        &self,
        mut items: Vec<Item<R>>,
    ) -> Result<usize, (StoreError, Vec<Item<R>>)> {
        let table = R::TABLE.name();
        let mut retry = Retry::new(self.retry);
        let mut looked_up = Instant::now();
        while !items.is_empty() {
            let start = Instant::now();
            let token = token(items.iter().map(|item| item.row.id()));
            let rows: Vec<&R> = items.iter().map(|item| &item.row).collect();
            let result = self.store.insert(&rows, &token).await;
            metrics::sink_insert_duration(table).record(start.elapsed().as_secs_f64());
            let Err(error) = result else {
                metrics::sink_batches(table, BatchResult::Ok).increment(1);
                metrics::sink_rows(table).increment(count(items.len()));
                #[expect(clippy::cast_precision_loss, reason = "a histogram takes floats")]
                metrics::sink_batch_rows().record(items.len() as f64);
                self.health.ready();
                return Ok(items.len());
            };
            metrics::sink_batches(table, BatchResult::Error).increment(1);
            if error.class() == ErrorClass::Data {
                return Err((error, items));
            }
            self.wait_out(&error, &mut retry).await;
            // The same rows under the same token, as long as nobody else can have been given them.
            if looked_up.elapsed() > self.settings.stale {
                items = self.without_stored(items, true).await;
                looked_up = Instant::now();
            }
        }
        Ok(0)
    }

    /// Says what is waited for, mends what can be mended, and waits.
    async fn wait_out(&self, error: &StoreError, retry: &mut Retry) {
        self.health.waiting(waiting_for(&self.store, error));
        if matches!(error.class(), ErrorClass::Schema | ErrorClass::Data)
            && let Err(error) = prepare(&self.store, &self.retention).await
        {
            self.health.waiting(waiting_for(&self.store, &error));
        }
        tokio::time::sleep(retry.next_delay()).await;
    }
}

/// Ids that may be in the table, and the times among which they are looked for.
#[derive(Default)]
struct LookUp {
    ids: Vec<Uuid>,
    times: Option<RangeInclusive<DateTime<Utc>>>,
}

impl LookUp {
    fn add(&mut self, id: Uuid, times: RangeInclusive<DateTime<Utc>>) {
        self.ids.push(id);
        let (first, last) = times.into_inner();
        self.times = Some(match self.times.take() {
            Some(all) => first.min(*all.start())..=last.max(*all.end()),
            None => first..=last,
        });
    }
}

impl Marks {
    /// Whether an event may be stored by what its sequence says. In a stream of which nothing is
    /// stored, any may: an earlier one may have held it.
    fn reaches(&self, position: StreamPosition) -> bool {
        match self.greatest.get(&position.epoch) {
            Some(Some(greatest)) => position.sequence <= *greatest,
            Some(None) | None => true,
        }
    }

    fn raise(&mut self, positions: &[StreamPosition]) {
        for position in positions {
            let greatest = self.greatest.entry(position.epoch).or_default();
            *greatest = (*greatest).max(Some(position.sequence));
        }
    }
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_ask_for_a_look_up_where_an_event_may_be_stored() {
        let at = |epoch, sequence| StreamPosition {
            epoch: DateTime::from_timestamp(epoch, 0).unwrap(),
            sequence,
        };
        let mut marks = Marks::default();
        assert!(marks.reaches(at(1, 5)), "nothing is known of this stream");
        marks.greatest.insert(at(1, 0).epoch, None);
        assert!(marks.reaches(at(1, 5)), "nothing is stored of this stream");
        marks.raise(&[at(1, 7), at(1, 5)]);
        assert!(marks.reaches(at(1, 7)));
        assert!(!marks.reaches(at(1, 8)));
        assert!(marks.reaches(at(2, 8)), "another stream");
        marks.raise(&[at(1, 3)]);
        assert!(marks.reaches(at(1, 7)), "a mark never falls");
    }
}
