//! Answers at once when nobody has answered for a while, and finds out when somebody does again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far the wait between attempts grows.
const MOST_DOUBLINGS: u32 = 5;

/// Opens after some failures in a row. Open, it lets one call through after a wait that doubles with
/// each attempt that fails, and closes with the first answer.
pub(super) struct Breaker {
    failures: u32,
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Failures in a row.
    failed: u32,
    /// When the next call may try; none while closed.
    next: Option<Instant>,
    /// Attempts that failed since it opened.
    attempts: u32,
    /// Whether a call was let through and has not been answered.
    trying: bool,
}

impl Breaker {
    pub(super) fn new(failures: u32, interval: Duration) -> Self {
        Self { failures, interval, state: Mutex::default() }
    }

    /// Whether a call may be made. Open and without a connection, none is: it could only wait.
    pub(super) fn admits(&self, connected: bool) -> bool {
        self.admits_at(Instant::now(), connected)
    }

    fn admits_at(&self, now: Instant, connected: bool) -> bool {
        let mut state = self.lock();
        match state.next {
            None => true,
            Some(next) if now < next || !connected => false,
            Some(_) => {
                // The others wait for what comes of it; if nothing does, one of them is the next.
                state.next = Some(now + self.wait(state.attempts));
                state.trying = true;
                true
            }
        }
    }

    /// A call was answered, whatever the answer.
    pub(super) fn answered(&self) {
        let mut state = self.lock();
        if state.next.is_some() {
            tracing::info!("checks are answered again");
        }
        *state = State::default();
    }

    /// A call was not answered.
    pub(super) fn failed(&self) {
        self.failed_at(Instant::now());
    }

    fn failed_at(&self, now: Instant) {
        let mut state = self.lock();
        state.failed = state.failed.saturating_add(1);
        match state.next {
            // Calls that were on their way when it opened fail too; they are no attempts.
            Some(_) if !state.trying => (),
            Some(_) => {
                state.trying = false;
                state.attempts = state.attempts.saturating_add(1);
                state.next = Some(now + self.wait(state.attempts));
            }
            None if state.failed >= self.failures => {
                state.next = Some(now + self.interval);
                tracing::warn!(
                    failures = state.failed,
                    "no check is sent until NATS answers again"
                );
            }
            None => (),
        }
    }

    /// The connection is back: the next call may try at once.
    pub(super) fn connected(&self) {
        let mut state = self.lock();
        state.attempts = 0;
        if let Some(next) = &mut state.next {
            *next = Instant::now();
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().next.is_some()
    }

    fn wait(&self, attempts: u32) -> Duration {
        self.interval.saturating_mul(1 << attempts.min(MOST_DOUBLINGS))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn opens_tries_one_at_a_time_and_closes() {
        let breaker = Breaker::new(3, SECOND);
        let start = Instant::now();
        breaker.failed_at(start);
        breaker.answered();
        for _ in 0..3 {
            assert!(breaker.admits_at(start, false), "closed, with failures that are not in a row");
            breaker.failed_at(start);
        }
        assert!(breaker.is_open() && !breaker.admits_at(start, true));
        assert!(
            !breaker.admits_at(start + SECOND, false),
            "without a connection it could only wait"
        );
        assert!(breaker.admits_at(start + SECOND, true));
        assert!(!breaker.admits_at(start + SECOND, true), "one at a time");
        assert!(
            breaker.admits_at(start + 2 * SECOND, true),
            "an attempt that was dropped blocks none"
        );
        breaker.answered();
        assert!(!breaker.is_open() && breaker.admits_at(start, true));
    }

    #[test]
    fn waits_longer_with_each_attempt_and_not_after_a_new_connection() {
        let breaker = Breaker::new(1, SECOND);
        let mut now = Instant::now();
        breaker.failed_at(now);
        now += SECOND;
        for attempt in 1..40 {
            assert!(breaker.admits_at(now, true));
            breaker.failed_at(now + SECOND);
            let wait = SECOND * (1 << attempt.min(5));
            assert!(!breaker.admits_at(now + wait, true), "attempt {attempt}");
            now += SECOND + wait;
        }
        assert!(breaker.admits_at(now, true));
        breaker.connected();
        assert!(breaker.admits(true));
    }
}
