//! Takes up calls that nobody answered: reads what clients report of them, one report by one worker,
//! evaluates it beside the checks, and records what would have been decided.
//!
//! A report is acknowledged after the stream has acknowledged all events made of it. A worker that dies
//! before leaves it to another one, which makes the same events with the same ids: see ADR 16.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::decide::{Assessed, Decider, Reported, Unusable};
use crate::bus::consumer::{Consumer, ConsumerSettings, Delivered, Delivery, Session};
use crate::bus::deadletter::{DeadLetter, DeadLetters};
use crate::bus::{BusError, Connection, Publisher, Subjects};
use crate::engine::{Evaluator, stack_bytes};
use crate::roles::in_flight::InFlight;
use crate::roles::{RoleContext, bytes};
use crate::runtime::health::Reporter;
use crate::runtime::metrics;
use crate::runtime::retry::Retry;
use crate::store::StreamPosition;

/// What dead letters of reports are filed under.
const LABEL: &str = "unchecked";
/// How often the consumer's progress is asked for.
const PROGRESS: Duration = Duration::from_secs(5);
/// Reports that all workers together may have in hand.
const ALL_IN_FLIGHT: usize = 65_536;

/// A report on its way to the thread that evaluates, and back.
struct Job {
    reported: Reported,
    answer: oneshot::Sender<Result<Assessed, Unusable>>,
}

/// Takes up reports until told to stop.
pub(super) struct Unchecked {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

/// Reads reports.
struct Reader {
    context: RoleContext,
    consumer: Consumer,
    desk: Desk,
    room: Arc<Semaphore>,
    working: JoinSet<()>,
    stop: CancellationToken,
    health: Reporter,
}

/// What becomes of one report.
#[derive(Clone)]
struct Desk {
    context: RoleContext,
    in_flight: Arc<InFlight>,
    evaluating: flume::Sender<Job>,
    publisher: Publisher,
    dead_letters: DeadLetters,
    stop: CancellationToken,
}

enum End {
    Stopped,
    Lost(BusError),
}

impl Unchecked {
    /// Begins to take up reports. `connection` must be the one that may publish audit events.
    ///
    /// # Errors
    /// When there is no thread to evaluate on.
    pub(super) fn start(
        context: &RoleContext,
        connection: &Connection,
        subjects: &Subjects,
        decider: &Arc<Decider>,
    ) -> std::io::Result<Self> {
        let config = &context.config;
        let consumer = Consumer::new(connection, settings(context, connection, subjects));
        let acks = consumer.acks(config.nats.request_timeout);
        let in_flight = Arc::new(InFlight::new(acks, config.unchecked.ack_wait));
        let stop = CancellationToken::new();
        let desk = Desk {
            context: context.clone(),
            in_flight: Arc::clone(&in_flight),
            evaluating: evaluating(context, Arc::clone(decider))?,
            publisher: Publisher::new(connection),
            dead_letters: DeadLetters::new(connection, subjects.clone(), &config.stream.name),
            stop: stop.clone(),
        };
        let reader = Reader {
            context: context.clone(),
            consumer,
            desk,
            room: Arc::new(Semaphore::new(config.unchecked.max_in_flight)),
            working: JoinSet::new(),
            stop: stop.clone(),
            health: context.health.part("unchecked"),
        };
        reader.health.ready();
        let task = tokio::spawn(async move {
            let _keeping =
                AbortOnDropHandle::new(tokio::spawn(async move { in_flight.keep().await }));
            Box::pin(reader.run()).await;
        });
        Ok(Self { task, stop })
    }

    /// Takes up no more, and waits for what it has in hand.
    pub(super) async fn finished(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Unchecked {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn settings(
    context: &RoleContext,
    connection: &Connection,
    subjects: &Subjects,
) -> ConsumerSettings {
    let config = &context.config;
    let unchecked = &config.unchecked;
    let largest = bytes(config.stream.max_message_size).max(connection.max_payload());
    ConsumerSettings {
        stream: config.stream.name.clone(),
        // Workers that share the checks share these, too.
        name: format!("{}-{LABEL}", config.nats.queue_group),
        filter: subjects.unchecked(),
        ack_wait: unchecked.ack_wait,
        max_ack_pending: ALL_IN_FLIGHT,
        takeover: config.sink.takeover,
        pull_messages: (unchecked.max_in_flight / 2).max(1),
        pull_bytes: bytes(config.sink.batch_bytes).max(largest.saturating_mul(2)),
        begin: None,
        rewind: false,
        shared: true,
    }
}

/// A thread of its own, so that a flood of reports keeps no check waiting for one.
fn evaluating(context: &RoleContext, decider: Arc<Decider>) -> std::io::Result<flume::Sender<Job>> {
    let config = &context.config;
    let (queue, jobs) = flume::bounded::<Job>(config.unchecked.max_in_flight);
    let max_age = TimeDelta::from_std(config.unchecked.max_age).unwrap_or(TimeDelta::MAX);
    std::thread::Builder::new()
        .name("evaluate-unchecked".to_owned())
        .stack_size(stack_bytes(config.limits.instructions))
        .spawn(move || {
            let mut evaluator = Evaluator::new(decider.limits());
            while let Ok(Job { reported, answer }) = jobs.recv() {
                // Nobody waits for it any more only when the worker ends.
                let _ = answer.send(decider.assess(&reported, max_age, &mut evaluator));
            }
        })?;
    Ok(queue)
}

impl Reader {
    async fn run(mut self) {
        let mut retry = Retry::new(self.context.retry());
        while !self.stop.is_cancelled() {
            let ended = match Box::pin(self.open()).await {
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
                    // Checks are answered all the same: the worker is as ready as before.
                    self.health.degraded(format!(
                        "reports of unchecked calls can't be read and wait in the stream: {error}"
                    ));
                    let delay = tokio::time::sleep(retry.next_delay());
                    let _ = self.stop.run_until_cancelled(delay).await;
                }
            }
        }
        while self.working.join_next().await.is_some() {}
    }

    async fn open(&mut self) -> Result<Option<Session>, BusError> {
        let stop = self.stop.clone();
        // The stream is the recorder's to make.
        let opened = Box::pin(stop.run_until_cancelled(self.consumer.open())).await;
        let Some(session) = opened else { return Ok(None) };
        let session = session?;
        self.health.ready();
        Ok(Some(session))
    }

    async fn read(&mut self, session: &mut Session, retry: &mut Retry) -> End {
        let stop = self.stop.clone();
        let mut progress = tokio::time::interval(PROGRESS);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let room = self.room.available_permits() > 0;
            tokio::select! {
                () = stop.cancelled() => return End::Stopped,
                delivery = session.next(), if room => match delivery {
                    Ok(Delivery::Pinned) => (),
                    Ok(Delivery::Message(message)) => {
                        retry.reset();
                        self.take(*message, session);
                    }
                    Err(error) => return End::Lost(error),
                },
                Some(_) = self.working.join_next(), if !self.working.is_empty() => (),
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

    fn take(&mut self, message: Delivered, session: &Session) {
        let position = StreamPosition { epoch: session.epoch, sequence: message.sequence };
        if !self.desk.in_flight.take_in(position, message.ticket.clone()) {
            return;
        }
        // There is room: nobody else takes any.
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else { return };
        let desk = self.desk.clone();
        self.working.spawn(async move {
            desk.settle(message, position).await;
            drop(permit);
        });
    }
}

impl Desk {
    /// Records what becomes of a report, then acknowledges it; or gives it back when told to stop before.
    async fn settle(&self, message: Delivered, position: StreamPosition) {
        let (answer, assessed) = oneshot::channel();
        let job = Job { reported: Reported::from(&message), answer };
        if self.evaluating.send_async(job).await.is_err() {
            return;
        }
        let settled = match assessed.await {
            Ok(Ok(assessed)) => match self.record(assessed).await {
                Ok(settled) => settled,
                Err(unusable) => self.put_aside(&message, position, unusable).await,
            },
            Ok(Err(unusable)) => self.put_aside(&message, position, unusable).await,
            Err(_) => return,
        };
        match settled {
            Settled::Recorded => self.in_flight.acknowledge(&[position]).await,
            Settled::PutAside => self.in_flight.put_aside(position).await,
            Settled::NotYet => self.in_flight.give_back(&[position]).await,
        }
    }

    /// Publishes the events until the stream has acknowledged all of them.
    async fn record(&self, assessed: Assessed) -> Result<Settled, Unusable> {
        let Assessed { events, cause, would_deny } = assessed;
        let mut retry = Retry::new(self.context.retry());
        let mut known = false;
        for event in &events {
            loop {
                let Err(error) = self
                    .publisher
                    .publish_as(&event.subject, &event.message_id, event.id, event.payload.clone())
                    .await
                    .map(|duplicate| known |= duplicate)
                else {
                    break;
                };
                if let BusError::TooLarge { bytes, .. } = error {
                    let detail = format!("an event made of it has {bytes} bytes");
                    return Err(Unusable { reason: "too_large", detail });
                }
                tracing::debug!(%error, id = %event.id, "the event of an unchecked call waits");
                if !self.pause(&mut retry).await {
                    return Ok(Settled::NotYet);
                }
            }
        }
        // What another worker had recorded, it has counted.
        if !known {
            metrics::unchecked_calls(cause).increment(1);
            if would_deny {
                metrics::unchecked_would_deny().increment(1);
            }
        }
        Ok(Settled::Recorded)
    }

    async fn put_aside(
        &self,
        message: &Delivered,
        position: StreamPosition,
        unusable: Unusable,
    ) -> Settled {
        tracing::error!(
            subject = message.subject,
            sequence = message.sequence,
            reason = unusable.reason,
            detail = unusable.detail,
            "nothing can be made of a report of an unchecked call; it is put aside"
        );
        let letter = DeadLetter {
            table: LABEL,
            reason: unusable.reason,
            detail: unusable.detail,
            subject: message.subject.clone(),
            epoch: position.epoch,
            sequence: position.sequence,
            published: message.published,
            payload: message.payload.clone(),
        };
        let mut retry = Retry::new(self.context.retry());
        while let Err(error) = self.dead_letters.publish(&letter).await {
            tracing::warn!(%error, "the stream of dead letters takes nothing");
            if !self.pause(&mut retry).await {
                return Settled::NotYet;
            }
        }
        metrics::unchecked_put_aside(letter.reason).increment(1);
        Settled::PutAside
    }

    /// Waits before the next attempt; false when there shall be none.
    async fn pause(&self, retry: &mut Retry) -> bool {
        let delay = tokio::time::sleep(retry.next_delay());
        self.stop.run_until_cancelled(delay).await.is_some()
    }
}

/// What became of a report.
enum Settled {
    /// Its events are in the stream.
    Recorded,
    /// It is a dead letter.
    PutAside,
    /// Neither: somebody else shall do it.
    NotYet,
}
