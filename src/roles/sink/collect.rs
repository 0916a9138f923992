//! Reading events and gathering them into batches.
//!
//! Reading never stops while there is room, so that the server keeps seeing this process and events
//! don't grow old in the client's buffer, unseen by whoever reports progress. A batch is frozen when
//! it is due and the inserter has room for it: a slow ClickHouse gets larger batches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::batch::{Batch, Item, Source};
use super::desk::Desk;
use super::line::{Line, Origin};
use super::seal::Sealable;
use crate::bus::consumer::{Consumer, Delivered, Delivery, Session};
use crate::bus::{self, BusError, Connection, Heads, Subjects};
use crate::roles::RoleContext;
use crate::roles::in_flight::InFlight;
use crate::runtime::health::Reporter;
use crate::runtime::metrics;
use crate::runtime::retry::Retry;
use crate::store::StreamPosition;

/// How often the consumer's progress is asked for at least.
pub(super) const PROGRESS: Duration = Duration::from_secs(5);

/// When a batch is due, and how much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    pub(super) age: Duration,
    /// How long the stream remembers ids.
    pub(super) remembers: TimeDelta,
}

/// Reads one consumer.
pub(super) struct Collector<R> {
    pub(super) context: RoleContext,
    pub(super) connection: Connection,
    pub(super) subjects: Subjects,
    pub(super) origin: Origin,
    pub(super) consumer: Consumer,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) desk: Desk,
    pub(super) batches: mpsc::Sender<Batch<R>>,
    /// Up to where it is known of every message what became of it.
    pub(super) settled: watch::Sender<Option<StreamPosition>>,
    /// The same, for whoever seals.
    pub(super) sealable: watch::Sender<Option<Sealable>>,
    /// How often both are asked for.
    pub(super) progress: Duration,
    pub(super) health: Reporter,
    pub(super) limits: Limits,
    pub(super) pending: Pending<R>,
}

/// Items that are in no batch yet.
#[derive(Debug)]
pub(super) struct Pending<R> {
    items: VecDeque<Item<R>>,
    bytes: usize,
    /// How often this process has become the one that reads.
    generation: u64,
}

/// How reading ended.
enum End {
    /// As asked.
    Stopped,
    /// The session is over; another may begin.
    Lost(BusError),
}

impl<R: Line> Collector<R> {
    /// Reads until told to stop, then hands over what it has. Gives the consumer back, to be released
    /// once everything is acknowledged.
    pub(super) async fn run(mut self) -> Consumer {
        let mut retry = Retry::new(self.context.retry());
        while !self.context.stop.is_cancelled() {
            let ended = match self.open().await {
                Ok(None) => End::Stopped,
                Ok(Some(mut session)) => {
                    let ended = self.read(&mut session, &mut retry).await;
                    self.consumer.stop(session);
                    ended
                }
                Err(error) => End::Lost(error),
            };
            match ended {
                End::Stopped => break,
                End::Lost(error) => {
                    self.health.waiting(self.waiting_for(&error));
                    self.pause(&mut retry).await;
                }
            }
        }
        while let Some(batch) = self.pending.freeze(&self.limits) {
            if self.batches.send(batch).await.is_err() {
                break;
            }
        }
        self.consumer
    }

    /// Begins to read; `None` when told to stop. The streams may be gone or not there yet: whoever
    /// comes first makes them.
    async fn open(&mut self) -> Result<Option<Session>, BusError> {
        let stop = self.context.stop.clone();
        let opening = async {
            let streams = &self.context.config.stream;
            bus::stream::ensure_exist(&self.connection, streams, &self.subjects).await?;
            Heads::ensure(&self.connection, &self.context.config).await?;
            self.consumer.open().await
        };
        let session = tokio::select! {
            session = opening => session?,
            () = stop.cancelled() => return Ok(None),
        };
        self.health.ready();
        tracing::info!(
            consumer = self.consumer.name(),
            stream_epoch = %session.epoch,
            "sink reads the stream, or stands by while another one does"
        );
        Ok(Some(session))
    }

    /// What health says while the stream can't be read.
    fn waiting_for(&self, error: &BusError) -> String {
        let url = &self.connection.url;
        match error {
            BusError::Stream { transient: true, .. } => {
                format!("NATS at {url}: {error} ({})", self.origin.made_by)
            }
            _ => format!("NATS at {url}: {error}"),
        }
    }

    /// While it waits to try again, frozen batches still find their way to the inserter.
    async fn pause(&mut self, retry: &mut Retry) {
        let over = Instant::now() + retry.next_delay();
        let stop = self.context.stop.clone();
        let batches = self.batches.clone();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(over) => return,
                () = stop.cancelled() => return,
                Ok(permit) = batches.reserve(), if self.pending.is_due(&self.limits) => {
                    if let Some(batch) = self.pending.freeze(&self.limits) {
                        permit.send(batch);
                    }
                }
            }
        }
    }

    async fn read(&mut self, session: &mut Session, retry: &mut Retry) -> End {
        let stop = self.context.stop.clone();
        let batches = self.batches.clone();
        let mut progress = tokio::time::interval(self.progress);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.pending.is_due(&self.limits);
            let next_due = self.pending.next_due(&self.limits);
            tokio::select! {
                () = stop.cancelled() => return End::Stopped,
                permit = batches.reserve(), if due => {
                    let Ok(permit) = permit else { return End::Stopped };
                    if let Some(batch) = self.pending.freeze(&self.limits) {
                        permit.send(batch);
                    }
                }
                delivery = session.next(), if self.pending.has_room(&self.limits) => {
                    match delivery {
                        Ok(Delivery::Pinned) => self.pinned(),
                        Ok(Delivery::Message(message)) => {
                            retry.reset();
                            self.take(*message, session).await;
                        }
                        Err(error) => return End::Lost(error),
                    }
                }
                () = sleep_until(next_due), if !due => (),
                _ = progress.tick() => {
                    if let Err(error) = self.report_progress(session).await {
                        return End::Lost(error);
                    }
                }
            }
        }
    }

    fn pinned(&mut self) {
        self.pending.generation += 1;
        tracing::info!(consumer = self.consumer.name(), "this sink is the one that reads");
    }

    async fn take(&mut self, message: Delivered, session: &Session) {
        let at = StreamPosition { epoch: session.epoch, sequence: message.sequence };
        if !self.in_flight.take_in(at, message.ticket.clone()) {
            return;
        }
        match R::read(&message, at) {
            Ok(Some(row)) => self.pending.push(Item::new(row, message, self.limits.remembers)),
            Ok(None) => self.in_flight.pass_over(at).await,
            Err(refusal) => {
                let source = Source {
                    subject: message.subject,
                    payload: message.payload,
                    published: message.published,
                };
                self.desk.take(source, at, refusal).await;
            }
        }
    }

    async fn report_progress(&self, session: &mut Session) -> Result<(), BusError> {
        let progress = session.progress().await?;
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::stream_lag(self.consumer.name()).set(progress.lag as f64);
        let settled = StreamPosition { epoch: session.epoch, sequence: progress.settled };
        self.settled.send_replace(Some(settled));
        self.sealable.send_replace(Some(Sealable { at: settled, reads: progress.reads }));
        Ok(())
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

impl<R> Default for Pending<R> {
    fn default() -> Self {
        Self { items: VecDeque::new(), bytes: 0, generation: 0 }
    }
}

impl<R: Line> Pending<R> {
    fn push(&mut self, item: Item<R>) {
        self.bytes += item.weight();
        self.items.push_back(item);
    }

    /// Twice a batch: one that is full, and one that grows behind it.
    fn has_room(&self, limits: &Limits) -> bool {
        self.items.len() < limits.rows * 2 && self.bytes < limits.bytes * 2
    }

    fn is_due(&self, limits: &Limits) -> bool {
        self.items.len() >= limits.rows
            || self.bytes >= limits.bytes
            || self.next_due(limits).is_some_and(|due| due <= Instant::now())
    }

    /// When the oldest item makes a batch due.
    fn next_due(&self, limits: &Limits) -> Option<Instant> {
        self.items.front().map(|item| item.arrived + limits.age)
    }

    /// The oldest items, as many as fit a batch. At least one, however large.
    fn freeze(&mut self, limits: &Limits) -> Option<Batch<R>> {
        let mut items = Vec::with_capacity(self.items.len().min(limits.rows));
        let mut bytes = 0;
        while let Some(item) = self.items.front() {
            let full = items.len() >= limits.rows || bytes + item.weight() > limits.bytes;
            if full && !items.is_empty() {
                break;
            }
            bytes += item.weight();
            items.extend(self.items.pop_front());
        }
        self.bytes -= bytes;
        (!items.is_empty()).then_some(Batch { items, generation: self.generation })
    }
}
