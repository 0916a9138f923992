//! Exponential backoff with jitter: the only place that uses the `backoff` crate, which is no
//! longer maintained, so that replacing it touches one file.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// The bounds of a backoff: first wait, longest wait, and the factor from one to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// First wait.
    pub initial: Duration,
    /// Longest wait.
    pub max: Duration,
    /// Factor from one wait to the next; below 1 counts as 1.
    pub multiplier: f64,
}

/// A sequence of waits that grows until [`Retry::reset`]. It never gives up: who has a deadline
/// keeps it beside.
#[derive(Debug)]
pub struct Retry {
    inner: ExponentialBackoff,
    longest: Duration,
    attempts: u32,
}

impl Retry {
    /// Starts at the policy's first wait.
    #[must_use]
    pub fn new(policy: RetryPolicy) -> Self {
        let inner = ExponentialBackoff {
            current_interval: policy.initial,
            initial_interval: policy.initial,
            max_interval: policy.max,
            multiplier: policy.multiplier.max(1.0),
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { inner, longest: policy.max, attempts: 0 }
    }

    /// The next wait, with jitter, never above the policy's longest.
    pub fn next_delay(&mut self) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        self.inner.next_backoff().map_or(self.longest, |delay| delay.min(self.longest))
    }

    /// Begins again with the first wait, after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
        self.inner.reset();
    }

    /// Waits taken since the last success.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(2),
        multiplier: 2.0,
    };

    #[test]
    fn waits_grow_to_the_longest_and_never_end() {
        let mut retry = Retry::new(POLICY);
        let waits: Vec<Duration> = (0..50).map(|_| retry.next_delay()).collect();
        assert!(waits[0] <= Duration::from_millis(150), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= POLICY.max), "{waits:?}");
        assert!(waits[49] >= Duration::from_secs(1), "{waits:?}");
        assert_eq!(retry.attempts(), 50);
    }

    #[test]
    fn reset_begins_again() {
        let mut retry = Retry::new(POLICY);
        for _ in 0..20 {
            retry.next_delay();
        }
        retry.reset();
        assert!(retry.next_delay() <= Duration::from_millis(150));
        assert_eq!(retry.attempts(), 1);
    }
}
