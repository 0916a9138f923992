//! A durable subscriber to violations, as a user writes one: it acknowledges each and tells copies by
//! their id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bus::consumer::{Consumer, ConsumerSettings, Delivery, Session};
use crate::bus::{BusError, Connection, Subjects};
use crate::config::Config;
use crate::contract::ViolationEvent;

/// The durable name of its consumer.
const NAME: &str = "chaos-subscriber";
/// How long the stream waits for an acknowledgement.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// Between two attempts to read.
const AGAIN: Duration = Duration::from_millis(200);

/// What a subscriber was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// By the id of the violation, the places in the stream that it came from.
    pub violations: BTreeMap<Uuid, BTreeSet<u64>>,
    /// Messages that came again, since their acknowledgement was lost.
    pub again: u64,
    /// Messages that were no violations.
    pub unreadable: u64,
}

/// A subscriber that runs.
#[derive(Debug)]
pub struct Subscriber {
    task: JoinHandle<Received>,
    stop: CancellationToken,
}

impl Subscriber {
    /// Subscribes.
    #[must_use]
    pub fn start(connection: &Connection, config: &Config) -> Self {
        let settings = ConsumerSettings {
            stream: config.stream.name.clone(),
            name: NAME.to_owned(),
            filter: Subjects::new(&config.nats.subject_prefix).violations(),
            ack_wait: ACK_WAIT,
            max_ack_pending: 1_000,
            takeover: config.sink.takeover,
            pull_messages: 100,
            pull_bytes: 8 << 20,
            begin: None,
            rewind: true,
            shared: false,
        };
        let stop = CancellationToken::new();
        let reading = Reading {
            consumer: Consumer::new(connection, settings),
            timeout: config.nats.request_timeout,
            received: Received::default(),
        };
        Self { task: tokio::spawn(reading.until(stop.clone())), stop }
    }

    /// Ends it, and gives what it was given.
    pub async fn finish(self) -> Received {
        self.stop.cancel();
        self.task.await.unwrap_or_default()
    }
}

struct Reading {
    consumer: Consumer,
    timeout: Duration,
    received: Received,
}

impl Reading {
    async fn until(mut self, stop: CancellationToken) -> Received {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                opened = self.consumer.open() => if let Ok(mut session) = opened {
                    // The session ends with an error: what it was is of no interest here.
                    _ = self.read(&mut session, &stop).await;
                    self.consumer.stop(session);
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(AGAIN) => (),
            }
        }
        self.received
    }

    async fn read(
        &mut self,
        session: &mut Session,
        stop: &CancellationToken,
    ) -> Result<(), BusError> {
        let acks = self.consumer.acks(self.timeout);
        loop {
            let delivery = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                delivery = session.next() => delivery?,
            };
            let Delivery::Message(message) = delivery else { continue };
            match serde_json::from_slice::<ViolationEvent>(&message.payload) {
                Ok(event) => {
                    let places = self.received.violations.entry(event.id).or_default();
                    if !places.insert(message.sequence) {
                        self.received.again += 1;
                    }
                }
                Err(_) => self.received.unreadable += 1,
            }
            acks.done_confirmed(&message.ticket).await?;
        }
    }
}
