//! The client for agents: asks before an operation, and never leaves it unseen when nobody answers.
//!
//! ```no_run
//! use serde_json::json;
//! use sluicegate::client::{Check, Client, Outcome, Settings};
//!
//! # async fn call_the_model() -> Result<f64, std::io::Error> { Ok(0.02) }
//! # async fn agent() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(Settings::from_env()?).await?;
//! let check = Check::new("llm_call", json!({"model": "gpt-4"}))
//!     .agent("planner")
//!     .session("s-1")
//!     .with("estimated_cost_usd", 0.5);
//!
//! // To know: a decision, always.
//! let decision = client.check(&check).await;
//! println!("{}: {}", decision.allowed, decision.reason);
//!
//! // To guard: an error if denied, and a report of how the operation ended.
//! let mut guard = client.guard(&check).await?;
//! match call_the_model().await {
//!     Ok(cost) => {
//!         guard.cost_usd(cost);
//!         guard.finish(Outcome::Ok);
//!     }
//!     Err(error) => guard.finish(Outcome::error(&error)),
//! }
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! **Nobody answers.** [`Client::check`] has no error to return. Without an answer that counts, the
//! decision follows [`Settings::fail_mode`], has `error` set, and says why in
//! [`Decision::unchecked`]. The call is remembered (in memory, and in a file with
//! [`Settings::spool_folder`]) and reported once NATS is back, so that the system still evaluates
//! and records it. [`Client::stats`] has the share of checked calls.
//!
//! **Nothing hangs.** A check takes at most [`Settings::timeout`], connecting included. After a few
//! failures in a row a breaker answers at once and lets one check through now and then to try.
//!
//! The module is a layer of its own: it shares messages with the server (`contract`, `domain`) and
//! no code beyond that, so the feature `client` alone builds it. It needs a tokio runtime.

mod admin;
mod batch;
mod breaker;
mod check;
mod connection;
mod decision;
mod error;
mod guard;
mod outcome;
mod report;
mod settings;
mod spool;
mod stats;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::contract::Subjects;
use crate::domain::FailMode;

pub use check::Check;
pub use decision::{Cause, Decision, Unchecked};
pub use error::{ClientError, Denied};
pub use guard::Guard;
pub use outcome::Outcome;
pub use settings::{Auth, Settings};
pub use stats::Stats;

use breaker::Breaker;
use connection::Link;
use error::Failure;
use outcome::Outcomes;
use report::Reports;
use spool::Spool;
use stats::Counters;

/// Asks workers. Cheap to clone; clones share one connection.
///
/// When the last clone is dropped, what is left to report stays in the spool's file, if there is
/// one, and is lost otherwise: [`Client::close`] first gives it time.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    subjects: Subjects,
    /// None while enforcement is disabled: then nothing is asked, and nobody.
    link: Option<Link>,
    breaker: Arc<Breaker>,
    turns: Semaphore,
    counters: Arc<Counters>,
    reports: Reports,
    spool: Arc<Spool>,
    outcomes: Outcomes,
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
    closed: AtomicBool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stats = self.stats();
        f.debug_struct("Client")
            .field("settings", &self.inner.settings)
            .field("stats", &stats)
            .finish()
    }
}

/// How long tasks that were told to end may take.
const ENDING: Duration = Duration::from_millis(200);

impl Client {
    /// A client with these settings. Returns at once: the connection is made beside, and made again
    /// whenever it is lost.
    ///
    /// # Errors
    /// When a setting has a value that can't work: a missing credentials file, a spool's folder that
    /// can't be written, or no tokio runtime to run in.
    pub async fn connect(settings: Settings) -> Result<Self, ClientError> {
        settings.validate()?;
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|error| ClientError::setting("runtime", error))?;
        let counters = Arc::new(Counters::default());
        let breaker = Arc::new(Breaker::new(settings.breaker_failures, settings.probe_interval));
        let subjects = Subjects::new(settings.subject_prefix.clone());
        let folder = settings.spool_folder.as_deref().filter(|_| settings.enabled);
        let spool = Arc::new(Spool::open(folder, settings.spool_bytes, Arc::clone(&counters))?);
        let (outcomes, queue) = Outcomes::new(settings.outcome_queue, Arc::clone(&counters));
        let mut tasks = Vec::new();
        let link = if settings.enabled {
            let link = Box::pin(Link::connect(&settings, Arc::clone(&breaker))).await?;
            let sender = spool::deliver(Arc::clone(&spool), link.clone(), subjects.unchecked());
            tasks.push(AbortOnDropHandle::new(runtime.spawn(sender)));
            let sender = outcome::deliver(queue, link.clone(), subjects.outcome());
            tasks.push(AbortOnDropHandle::new(runtime.spawn(sender)));
            Some(link)
        } else {
            None
        };
        let turns = Semaphore::new(settings.max_in_flight);
        let reports = Reports::new(Arc::clone(&spool), Arc::clone(&counters));
        let tasks = Mutex::new(tasks);
        let inner = Inner {
            settings,
            subjects,
            link,
            breaker,
            turns,
            counters,
            reports,
            spool,
            outcomes,
            tasks,
            closed: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The decision on a check. Always one: without an answer it follows the fail mode and says so
    /// in [`Decision::unchecked`].
    pub async fn check(&self, check: &Check) -> Decision {
        if self.inner.link.is_none() {
            return Decision::disabled();
        }
        match self.asked(check).await {
            Ok(decision) => {
                self.inner.counters.checked(1);
                decision
            }
            Err(failure) => self.unchecked(check, failure),
        }
    }

    /// Asks, and guards the operation if it is allowed.
    ///
    /// # Errors
    /// When it is denied: by policies, or because nobody answered and the client fails closed.
    pub async fn guard(&self, check: &Check) -> Result<Guard, Denied> {
        let decision = self.check(check).await;
        if decision.allowed {
            Ok(Guard::new(self.inner.outcomes.sender(&self.inner.settings), check, decision))
        } else {
            Err(Denied { action: check.action().to_owned(), decision: Box::new(decision) })
        }
    }

    /// What was checked, what wasn't and why, and what waits to be reported.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let waiting = self.inner.spool.len();
        self.inner.counters.stats(waiting, self.inner.breaker.is_open())
    }

    /// Gives what is left to report the time of [`Settings::close_timeout`], then ends the
    /// connection. Returns how many unchecked calls are still unreported; those of a spool with a
    /// file are reported by the next client that uses its folder.
    pub async fn close(&self) -> usize {
        let deadline = Instant::now() + self.inner.settings.close_timeout;
        self.inner.closed.store(true, Ordering::Relaxed);
        if let Some(link) = &self.inner.link {
            let left = async {
                self.inner.spool.emptied().await;
                self.inner.outcomes.emptied().await;
                link.flush().await;
            };
            // What is left at the deadline is what is returned.
            let _ = tokio::time::timeout_at(deadline, left).await;
            let tasks = std::mem::take(
                &mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner),
            );
            for task in &tasks {
                task.abort();
            }
            // They hold what the spool's file hangs on.
            let _ = tokio::time::timeout_at(deadline.max(Instant::now() + ENDING), join_all(tasks))
                .await;
            link.close().await;
        }
        self.inner.spool.len()
    }

    /// The worker's decision, or why there is none.
    async fn asked(&self, check: &Check) -> Result<Decision, Failure> {
        let body = check.encode(self.inner.settings.max_request_bytes)?;
        let subject = match self.inner.settings.agent.as_str() {
            "" => self.inner.subjects.check(),
            agent => self.inner.subjects.check_of(Some(agent)),
        };
        let reply = self.request(subject, body).await?;
        Decision::read(&reply).map_err(Failure::invalid_reply)
    }

    /// Sends checks.
    async fn request(&self, subject: String, body: Bytes) -> Result<Bytes, Failure> {
        self.request_within(subject, body, self.inner.settings.timeout).await
    }

    /// Sends a request, within the limits of time and number, and by leave of the breaker.
    async fn request_within(
        &self,
        subject: String,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Failure> {
        let Some(link) = &self.inner.link else {
            return Err(Failure::new(
                Cause::Disconnected,
                "enforcement is disabled in this client",
            ));
        };
        if self.inner.closed.load(Ordering::Relaxed) {
            return Err(Failure::new(Cause::Disconnected, "the client was closed"));
        }
        if !self.inner.breaker.admits(link.is_up()) {
            let said = link.complaint().map(|text| format!(" ({text})")).unwrap_or_default();
            let message = format!("the breaker is open: NATS or the workers did not answer{said}");
            return Err(Failure::new(Cause::CircuitOpen, message));
        }
        let outcome = self.sent(link, subject, body, timeout).await;
        match &outcome {
            Err(failure) if matches!(failure.cause, Cause::Timeout | Cause::Disconnected) => {
                self.inner.breaker.failed();
            }
            _ => self.inner.breaker.answered(),
        }
        outcome
    }

    async fn sent(
        &self,
        link: &Link,
        subject: String,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Failure> {
        let deadline = Instant::now() + timeout;
        let turn = tokio::time::timeout_at(deadline, self.inner.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            let most = self.inner.settings.max_in_flight;
            return Err(Failure::new(
                Cause::Timeout,
                format!(
                    "{most} checks were on their way already, all the time (setting max_in_flight)"
                ),
            ));
        };
        link.request(subject, body, deadline, timeout).await
    }

    /// The decision by the fail mode. The call is remembered, counted and, now and then, logged.
    fn unchecked(&self, check: &Check, failure: Failure) -> Decision {
        let allowed = self.inner.settings.fail_mode == FailMode::Open;
        let id = Uuid::now_v7();
        self.inner.counters.unchecked(failure.cause, 1);
        self.inner.reports.take(id, allowed, &failure, check);
        Decision::not_checked(id, allowed, failure)
    }

    /// How long anything but a check may take: reading policies is no agent's hot path.
    fn patience(&self) -> Duration {
        self.inner.settings.timeout.max(Duration::from_secs(5))
    }
}
