//! The usage that policies see, over all workers: each counts its own calls at once and tells the
//! others every tenth of a second. Counts of other workers are late by that much; a worker that
//! starts knows nothing of the time before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::bus::{BusError, Connection, Subjects};
use crate::domain::usage::{LONGEST_WINDOW, UsageCounter, UsageKey};

/// How often workers tell each other.
const INTERVAL: Duration = Duration::from_millis(100);
/// Subjects and actions that are counted at most.
const MOST_KEYS: usize = 100_000;
/// Counts in one message at most; the rest waits for the next.
const MOST_TOLD: usize = 2_000;

/// What one worker tells the others.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    worker: String,
    /// Subject, action, second since 1970, calls.
    calls: Vec<(String, String, u64, u64)>,
}

#[derive(Default)]
struct Untold(BTreeMap<(UsageKey, u64), u64>);

/// Counts of all workers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Usage {
    counter: Arc<Mutex<UsageCounter>>,
    untold: Arc<Mutex<Untold>>,
}

impl Usage {
    /// Starts counting and exchanging.
    pub(super) async fn start(
        connection: &Connection,
        subjects: &Subjects,
        worker: &str,
        stop: &CancellationToken,
    ) -> Result<Self, BusError> {
        let usage = Self {
            counter: Arc::new(Mutex::new(UsageCounter::new(MOST_KEYS))),
            untold: Arc::default(),
        };
        let subject = subjects.usage();
        let mut heard = connection.subscribe(&subject).await?;
        let (listening, own) = (usage.clone(), worker.to_owned());
        super::spawn_until(stop, async move {
            while let Some(payload) = heard.next().await {
                match serde_json::from_slice::<Told>(&payload) {
                    Ok(told) if told.worker != own => listening.hear(told),
                    Ok(_) => (),
                    Err(error) => tracing::debug!(%error, "another worker's usage can't be read"),
                }
            }
        });
        let (telling, connection, worker) = (usage.clone(), connection.clone(), worker.to_owned());
        super::spawn_until(stop, async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            loop {
                ticks.tick().await;
                telling.tell(&connection, &subject, &worker).await;
            }
        });
        Ok(usage)
    }

    /// Calls within the `window` seconds before a second.
    pub(super) fn count(&self, key: &UsageKey, second: u64, window: u64) -> u64 {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner).count(key, second, window)
    }

    /// Adds one call at a second, unless that is too long ago for any window.
    pub(super) fn add(&self, key: UsageKey, second: u64) {
        if second < now().saturating_sub(LONGEST_WINDOW) {
            return;
        }
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        *untold.0.entry((key.clone(), second)).or_default() += 1;
        drop(untold);
        self.counter.lock().unwrap_or_else(PoisonError::into_inner).add(key, second, 1);
    }

    fn hear(&self, told: Told) {
        let (mut counter, now) =
            (self.counter.lock().unwrap_or_else(PoisonError::into_inner), now());
        for (subject, action, second, calls) in told.calls.into_iter().take(MOST_TOLD) {
            // A clock that runs far ahead must not count into the future.
            counter.add(UsageKey { subject, action }, second.min(now), calls);
        }
    }

    async fn tell(&self, connection: &Connection, subject: &str, worker: &str) {
        let calls: Vec<_> = {
            let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
            let mut calls = Vec::new();
            while calls.len() < MOST_TOLD
                && let Some(((key, second), count)) = untold.0.pop_first()
            {
                calls.push((key.subject, key.action, second, count));
            }
            // While NATS is down they pile up: what is too old for any window is dropped.
            let oldest = now().saturating_sub(LONGEST_WINDOW);
            untold.0.retain(|(_, second), _| *second >= oldest);
            calls
        };
        if calls.is_empty() {
            return;
        }
        let told = Told { worker: worker.to_owned(), calls };
        let sent = match serde_json::to_vec(&told) {
            Ok(payload) => connection.publish(subject, payload).await.map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = sent {
            tracing::debug!(error, "usage could not be told to other workers");
        }
    }
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
