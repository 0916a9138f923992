//! One target's way through the violations: a consumer of its own, so that a target that is slow or
//! dead holds up no other one.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::gate::{Gate, Summary, Why};
use super::message::{Sender, Told};
use super::post::{Outcome, Poster};
use super::report::Reports;
use crate::bus::consumer::{Consumer, Delivered, Delivery, Session};
use crate::bus::{self, BusError, Connection, Subjects};
use crate::contract::ViolationEvent;
use crate::roles::RoleContext;
use crate::roles::in_flight::InFlight;
use crate::runtime::health::Reporter;
use crate::runtime::metrics;
use crate::runtime::retry::{Retry, RetryPolicy};
use crate::store::StreamPosition;

/// How often the consumer's progress is asked for.
const PROGRESS: Duration = Duration::from_secs(5);

/// Reports that are published at once.
const REPORTS: usize = 64;

/// A violation that is to be settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    position: StreamPosition,
    violation: Uuid,
}

/// Violations that this process has taken up, so that none is posted twice by it.
#[derive(Debug)]
pub(super) struct Seen {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
    most: usize,
}

/// Reads for one target.
pub(super) struct Line {
    pub(super) context: RoleContext,
    pub(super) connection: Connection,
    pub(super) subjects: Subjects,
    pub(super) consumer: Consumer,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) gate: Gate<Item>,
    pub(super) seen: Seen,
    pub(super) posts: JoinSet<()>,
    pub(super) sender: Sender,
    pub(super) courier: Courier,
    pub(super) health: Reporter,
}

/// Carries one post, and the reports about it.
#[derive(Clone)]
pub(super) struct Courier {
    pub(super) poster: Arc<Poster>,
    pub(super) reports: Reports,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) retry: RetryPolicy,
    pub(super) stop: CancellationToken,
}

enum End {
    Stopped,
    Lost(BusError),
}

impl Line {
    /// Reads until told to stop, then finishes what it has begun. Gives the consumer back, to be
    /// released once everything is acknowledged.
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
                    self.health.waiting(format!("NATS at {}: {error}", self.connection.url));
                    self.pause(retry.next_delay()).await;
                }
            }
        }
        for summary in self.gate.flush() {
            self.sum_up(summary);
        }
        while self.posts.join_next().await.is_some() {}
        self.consumer
    }

    async fn open(&mut self) -> Result<Option<Session>, BusError> {
        let stop = self.context.stop.clone();
        let opening = async {
            let settings = &self.context.config.stream;
            bus::stream::ensure_exist(&self.connection, settings, &self.subjects).await?;
            self.consumer.open().await
        };
        let session = tokio::select! {
            session = opening => session?,
            () = stop.cancelled() => return Ok(None),
        };
        self.health.ready();
        Ok(Some(session))
    }

    /// While it waits to try again, posts go on.
    async fn pause(&mut self, delay: Duration) {
        let over = Instant::now() + delay;
        let stop = self.context.stop.clone();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(over) => return,
                () = stop.cancelled() => return,
                () = next_due(&self.gate) => self.sum_up_due(),
                Some(_) = self.posts.join_next(), if !self.posts.is_empty() => (),
            }
        }
    }

    async fn read(&mut self, session: &mut Session, retry: &mut Retry) -> End {
        let stop = self.context.stop.clone();
        let most = self.context.config.alerter.max_in_flight.max(1);
        let mut progress = tokio::time::interval(PROGRESS);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut full_since: Option<Instant> = None;
        loop {
            let room = self.posts.len() < most;
            if !room {
                full_since.get_or_insert_with(Instant::now);
            } else if let Some(since) = full_since.take()
                && since.elapsed() >= self.context.config.sink.takeover / 2
                && let Err(error) = session.still_reads().await
            {
                return End::Lost(error);
            }
            tokio::select! {
                () = stop.cancelled() => return End::Stopped,
                delivery = session.next(), if room => match delivery {
                    Ok(Delivery::Pinned) => {
                        tracing::info!(consumer = self.consumer.name(), "this alerter is the one that reads");
                    }
                    Ok(Delivery::Message(message)) => {
                        retry.reset();
                        self.take(*message, session).await;
                    }
                    Err(error) => return End::Lost(error),
                },
                Some(_) = self.posts.join_next(), if !self.posts.is_empty() => (),
                () = next_due(&self.gate) => self.sum_up_due(),
                _ = progress.tick() => match session.progress().await {
                    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
                    Ok(progress) => {
                        metrics::stream_lag(self.consumer.name()).set(progress.lag as f64);
                    }
                    Err(error) => return End::Lost(error),
                },
            }
        }
    }

    async fn take(&mut self, message: Delivered, session: &Session) {
        let position = StreamPosition { epoch: session.epoch, sequence: message.sequence };
        if !self.in_flight.take_in(position, message.ticket.clone()) {
            return;
        }
        let violation = match serde_json::from_slice::<ViolationEvent>(&message.payload) {
            Ok(violation) => violation,
            Err(error) => {
                // The sink puts it aside, with the reason.
                tracing::warn!(sequence = message.sequence, %error, "not a violation; nobody is told");
                self.in_flight.pass_over(position).await;
                return;
            }
        };
        let wanted = &self.context.config.alerter.severities;
        let severity = violation.severity.as_str();
        if !wanted.iter().any(|wanted| wanted == severity) || !self.seen.add(violation.id) {
            self.in_flight.pass_over(position).await;
            return;
        }
        let item = Item { position, violation: violation.id };
        match self.gate.pass(&violation, item, Instant::now()) {
            Ok(item) => {
                let channel = self.courier.poster.target.channel;
                let body = self.sender.body::<Item>(channel, Told::Violation(&violation));
                self.carry(violation.id, body, vec![(item, None)]);
            }
            Err(why) => {
                let channel = self.courier.poster.target.channel.as_str();
                let reason = match why {
                    Why::Duplicate(_) => "duplicate",
                    Why::RateLimited => "rate_limited",
                };
                metrics::alerter_suppressed(channel, reason).increment(1);
                self.sum_up_due();
            }
        }
    }

    fn sum_up_due(&mut self) {
        for summary in self.gate.due(Instant::now()) {
            self.sum_up(summary);
        }
    }

    fn sum_up(&mut self, summary: Summary<Item>) {
        let ids: Vec<Uuid> = summary.held.iter().map(|held| held.item.violation).collect();
        let channel = self.courier.poster.target.channel;
        let body = self.sender.body(channel, Told::Summary(&summary, &ids));
        let items = summary.held.into_iter().map(|held| (held.item, Some(held.why))).collect();
        self.carry(summary.id, body, items);
    }

    fn carry(&mut self, id: Uuid, body: Vec<u8>, items: Vec<(Item, Option<Why>)>) {
        let courier = self.courier.clone();
        self.posts.spawn(async move { courier.carry(id, Bytes::from(body), items).await });
    }
}

impl Courier {
    /// Posts, reports, acknowledges, in this order: who dies in between does it again.
    async fn carry(self, id: Uuid, body: Bytes, items: Vec<(Item, Option<Why>)>) {
        let positions: Vec<StreamPosition> = items.iter().map(|(item, _)| item.position).collect();
        let Some(outcome) = self.poster.post(id, &body, &self.stop).await else {
            self.in_flight.give_back(&positions).await;
            return;
        };
        let reported: Vec<(StreamPosition, bool)> = futures::stream::iter(items)
            .map(|(item, why)| {
                let (courier, outcome) = (&self, &outcome);
                async move { (item.position, courier.report(item, outcome, why, id).await) }
            })
            .buffer_unordered(REPORTS)
            .collect()
            .await;
        let (done, not): (Vec<_>, Vec<_>) = reported.into_iter().partition(|(_, done)| *done);
        let positions = |of: Vec<(StreamPosition, bool)>| of.into_iter().map(|(at, _)| at);
        self.in_flight.acknowledge(&positions(done).collect::<Vec<_>>()).await;
        self.in_flight.give_back(&positions(not).collect::<Vec<_>>()).await;
    }

    /// Reports until the stream has it; false when stopped before.
    async fn report(&self, item: Item, outcome: &Outcome, why: Option<Why>, by: Uuid) -> bool {
        let mut retry = Retry::new(self.retry);
        let target = &self.poster.target;
        loop {
            let published = self.reports.publish(item.violation, target, outcome, why, by).await;
            let Err(error) = published else { return true };
            tracing::debug!(%error, violation = %item.violation, "could not report; tried again");
            tokio::select! {
                () = tokio::time::sleep(retry.next_delay()) => (),
                () = self.stop.cancelled() => return false,
            }
        }
    }
}

impl Seen {
    pub(super) fn new(most: usize) -> Self {
        Self { ids: HashSet::new(), order: VecDeque::new(), most }
    }

    /// Whether it is new; it is not any more.
    fn add(&mut self, id: Uuid) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

async fn next_due(gate: &Gate<Item>) {
    match gate.next_due() {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
