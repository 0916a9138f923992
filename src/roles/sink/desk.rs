//! Where events go that can never be stored: one by one to the stream of dead letters, patiently,
//! while everything else goes on.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::batch::Source;
use super::line::Refusal;
use crate::bus::deadletter::{DeadLetter, DeadLetters};
use crate::roles::in_flight::InFlight;
use crate::runtime::health::Reporter;
use crate::runtime::metrics;
use crate::runtime::retry::{Retry, RetryPolicy};
use crate::store::{StreamPosition, Table};

/// Letters that may wait to be written; beyond it the sink waits with them.
const QUEUE: usize = 256;

/// Takes letters.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    table: Table,
    letters: mpsc::Sender<DeadLetter>,
}

/// Writes them.
pub(super) struct Clerk {
    pub(super) dead_letters: DeadLetters,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) health: Reporter,
    pub(super) retry: RetryPolicy,
}

impl Desk {
    pub(super) fn new(table: Table) -> (Self, mpsc::Receiver<DeadLetter>) {
        let (letters, received) = mpsc::channel(QUEUE);
        (Self { table, letters }, received)
    }

    /// Hands over an event that can't be stored.
    pub(super) async fn take(&self, source: Source, at: StreamPosition, refusal: Refusal) {
        tracing::error!(
            table = self.table.name(),
            subject = source.subject,
            sequence = at.sequence,
            reason = refusal.reason,
            detail = refusal.detail,
            "an event can't be stored and is put aside"
        );
        let letter = DeadLetter {
            table: self.table.label(),
            reason: refusal.reason,
            detail: refusal.detail,
            subject: source.subject,
            epoch: at.epoch,
            sequence: at.sequence,
            published: source.published,
            payload: source.payload,
        };
        // Nobody takes letters any more only when the sink is gone; then the event comes again.
        let _ = self.letters.send(letter).await;
    }
}

impl Clerk {
    /// Writes letters until nobody hands any over.
    pub(super) async fn run(self, mut letters: mpsc::Receiver<DeadLetter>) {
        self.health.ready();
        let mut written: u64 = 0;
        while let Some(letter) = letters.recv().await {
            self.write(&letter).await;
            let position = StreamPosition { epoch: letter.epoch, sequence: letter.sequence };
            self.in_flight.put_aside(position).await;
            metrics::sink_dead_letters(letter.reason).increment(1);
            written += 1;
            self.health.degraded(format!(
                "{written} events could not be stored and were put aside, the last because of: {}",
                letter.detail
            ));
        }
    }

    async fn write(&self, letter: &DeadLetter) {
        let mut retry = Retry::new(self.retry);
        while let Err(error) = self.dead_letters.publish(letter).await {
            self.health.waiting(format!("the stream of dead letters: {error}"));
            tokio::time::sleep(retry.next_delay()).await;
        }
    }
}
