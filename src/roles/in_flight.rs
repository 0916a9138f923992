//! Every event that this process was given and has not finished: who must be kept from being
//! delivered again, and acknowledged in the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::consumer::{Acks, Ticket};
use crate::store::StreamPosition;

/// The events in flight.
#[derive(Debug)]
pub(in crate::roles) struct InFlight {
    acks: Acks,
    held: Mutex<BTreeMap<StreamPosition, Held>>,
    /// How long an event may be silent.
    silence: Duration,
}

#[derive(Debug)]
struct Held {
    ticket: Ticket,
    /// When the server last heard of it.
    heard: Instant,
}

impl InFlight {
    pub(in crate::roles) fn new(acks: Acks, ack_wait: Duration) -> Self {
        Self { acks, held: Mutex::default(), silence: ack_wait / 3 }
    }

    /// Takes an event in; false if it is here already, and was only delivered again.
    pub(in crate::roles) fn take_in(&self, position: StreamPosition, ticket: Ticket) -> bool {
        let held = Held { ticket, heard: Instant::now() };
        self.held().insert(position, held).is_none()
    }

    /// Tells the server of every event that it has not heard of for a while, so that it delivers
    /// none of them again. Runs beside the rest, for as long as the sink does.
    pub(in crate::roles) async fn keep(&self) {
        // Twice as often as necessary: an event is never silent for longer than a third and a sixth.
        let mut ticks = tokio::time::interval(self.silence / 2);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for ticket in self.silent() {
                if let Err(error) = self.acks.working(&ticket).await {
                    tracing::debug!(%error, "could not report progress");
                }
            }
        }
    }

    fn silent(&self) -> Vec<Ticket> {
        let now = Instant::now();
        self.held()
            .values_mut()
            .filter(|held| now.duration_since(held.heard) * 2 >= self.silence)
            .map(|held| {
                held.heard = now;
                held.ticket.clone()
            })
            .collect()
    }

    /// Acknowledges events that are stored. The last is confirmed by the server, and with it the
    /// others. What gets lost comes again and is recognised then.
    pub(in crate::roles) async fn acknowledge(&self, positions: &[StreamPosition]) {
        let mut tickets = self.give_up(positions);
        let last = tickets.pop();
        for ticket in &tickets {
            if let Err(error) = self.acks.done(ticket).await {
                tracing::debug!(%error, "could not acknowledge");
            }
        }
        if let Some(ticket) = last
            && let Err(error) = self.acks.done_confirmed(&ticket).await
        {
            tracing::warn!(%error, "stored events may be delivered again");
        }
    }

    /// Acknowledges a message that is none of ours. Not confirmed: should it come again, it is passed
    /// over again.
    pub(in crate::roles) async fn pass_over(&self, position: StreamPosition) {
        for ticket in self.give_up(&[position]) {
            if let Err(error) = self.acks.done(&ticket).await {
                tracing::debug!(%error, "could not acknowledge");
            }
        }
    }

    /// Takes an event from the stream's care: it is kept elsewhere.
    pub(in crate::roles) async fn put_aside(&self, position: StreamPosition) {
        for ticket in self.give_up(&[position]) {
            if let Err(error) = self.acks.never(&ticket).await {
                tracing::debug!(%error, "could not terminate");
            }
        }
    }

    /// Gives events back that this process will not finish: they are delivered again at once, to
    /// whoever reads then.
    pub(in crate::roles) async fn give_back(&self, positions: &[StreamPosition]) {
        for ticket in self.give_up(positions) {
            if let Err(error) = self.acks.again(&ticket).await {
                tracing::debug!(%error, "could not give back");
            }
        }
    }

    fn give_up(&self, positions: &[StreamPosition]) -> Vec<Ticket> {
        let mut held = self.held();
        positions.iter().filter_map(|at| held.remove(at)).map(|held| held.ticket).collect()
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<StreamPosition, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
