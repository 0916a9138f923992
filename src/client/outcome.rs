//! How guarded operations ended: told without waiting, in a bounded queue, lost if there is no room.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::connection::{Link, short};
use super::report::{CLIENT, SCHEMA, timestamp};
use super::settings::Settings;
use super::stats::Counters;
use crate::domain::Identity;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it should.
    Ok,
    /// It failed.
    Error {
        /// The type of the error, for example `std::io::Error`.
        exception_type: String,
    },
    /// It was given up before it ended.
    Cancelled,
}

impl Outcome {
    /// It failed with an error of this type. Only the type is told, never the text: that may hold
    /// what the audit should not.
    pub fn error<E: ?Sized>(_error: &E) -> Self {
        Self::Error { exception_type: std::any::type_name::<E>().to_owned() }
    }

    /// What a result says.
    pub fn of<T, E>(result: &Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(error) => Self::error(error),
        }
    }

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error { .. } => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The message on `policy.outcome`.
#[derive(Serialize)]
struct Event<'a> {
    schema: u32,
    id: Uuid,
    decision_id: Uuid,
    timestamp: String,
    outcome: &'static str,
    exception_type: String,
    duration_seconds: f64,
    cost_usd: Option<f64>,
    client: &'static str,
    action: &'a str,
    #[serde(flatten)]
    identity: Who<'a>,
}

#[derive(Serialize)]
struct Who<'a> {
    agent: &'a str,
    user: &'a str,
    session_id: &'a str,
    run_id: &'a str,
    step_id: &'a str,
    project_id: &'a str,
}

/// What is told of one operation.
pub(super) struct Told<'a> {
    pub(super) decision: Uuid,
    pub(super) outcome: &'a Outcome,
    pub(super) took: Duration,
    pub(super) cost_usd: Option<f64>,
    pub(super) action: &'a str,
    pub(super) identity: &'a Identity,
}

/// The queue's entry.
pub(super) struct Outcomes {
    sender: OutcomeSender,
}

/// Where guards leave their outcomes.
#[derive(Clone)]
pub(super) struct OutcomeSender {
    queue: Option<mpsc::Sender<(Uuid, Bytes)>>,
    /// How many wait.
    waiting: watch::Sender<usize>,
    counters: Arc<Counters>,
}

/// The queue's exit.
pub(super) struct OutcomeQueue {
    queue: mpsc::Receiver<(Uuid, Bytes)>,
    waiting: watch::Sender<usize>,
    counters: Arc<Counters>,
}

impl Outcomes {
    pub(super) fn new(room: usize, counters: Arc<Counters>) -> (Self, OutcomeQueue) {
        let (sender, queue) = mpsc::channel(room);
        let (waiting, _) = watch::channel(0);
        let exit =
            OutcomeQueue { queue, waiting: waiting.clone(), counters: Arc::clone(&counters) };
        (Self { sender: OutcomeSender { queue: Some(sender), waiting, counters } }, exit)
    }

    /// For a guard. Nothing is told where the settings say so.
    pub(super) fn sender(&self, settings: &Settings) -> OutcomeSender {
        let mut sender = self.sender.clone();
        if !settings.outcomes || !settings.enabled {
            sender.queue = None;
        }
        sender
    }

    /// Waits until all are sent.
    pub(super) async fn emptied(&self) {
        // The sender is here: it can't be gone.
        let _ = self.sender.waiting.subscribe().wait_for(|waiting| *waiting == 0).await;
    }
}

impl OutcomeSender {
    /// Leaves an outcome, if there is room.
    pub(super) fn tell(&self, told: &Told<'_>) {
        let Some(queue) = &self.queue else { return };
        let id = Uuid::now_v7();
        let identity = told.identity;
        let event = Event {
            schema: SCHEMA,
            id,
            decision_id: told.decision,
            timestamp: timestamp(Utc::now()),
            outcome: told.outcome.as_str(),
            exception_type: match told.outcome {
                Outcome::Error { exception_type } => short(exception_type),
                Outcome::Ok | Outcome::Cancelled => String::new(),
            },
            duration_seconds: told.took.as_secs_f64(),
            cost_usd: told.cost_usd.filter(|cost| cost.is_finite()),
            client: CLIENT,
            action: told.action,
            identity: Who {
                agent: &identity.agent,
                user: &identity.user,
                session_id: &identity.session_id,
                run_id: &identity.run_id,
                step_id: &identity.step_id,
                project_id: &identity.project_id,
            },
        };
        let Ok(body) = serde_json::to_vec(&event) else { return };
        self.waiting.send_modify(|waiting| *waiting += 1);
        if queue.try_send((id, body.into())).is_err() {
            self.waiting.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
            self.counters.outcome_lost();
        }
    }
}

/// Sends outcomes while there is a connection, until the queue is closed.
pub(super) async fn deliver(mut exit: OutcomeQueue, link: Link, subject: String) {
    while let Some((id, body)) = exit.queue.recv().await {
        link.up().await;
        if link.publish(&subject, &id.to_string(), body).await {
            exit.counters.outcome();
        } else {
            exit.counters.outcome_lost();
        }
        exit.waiting.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
    }
}
