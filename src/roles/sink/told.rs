//! Who was told of violations: what notifications say comes into the violations' rows.
//!
//! It happens with the batch that brought a notification, before that is acknowledged, so a sink that
//! dies in between does it again. A notification that was faster than its violation is remembered and
//! tried again until the violation is there.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::runtime::metrics;
use crate::store::{Store, StoreError};

/// Violations waited for at once. Those beyond are found again by the next search.
const MOST: usize = 10_000;

/// How long between attempts, first and later.
const FIRST: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(60);

/// How often ClickHouse is searched for notifications that wait, for those that this process doesn't
/// know of: a sink before it was given them.
const SEARCH: Duration = Duration::from_secs(3_600);

/// Attempts in one go, so that batches are not kept waiting.
const AT_ONCE: usize = 200;

/// Notifications whose violations are not there yet.
#[derive(Debug)]
pub(super) struct Told {
    waited_for: BTreeMap<Uuid, Waited>,
    next_search: Instant,
    /// How long a violation may come after its notification.
    reach: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Waited {
    since: Instant,
    next: Instant,
}

impl Told {
    pub(super) fn new(reach: Duration) -> Self {
        Self { waited_for: BTreeMap::new(), next_search: Instant::now(), reach }
    }

    /// When there is something to do again.
    pub(super) fn due(&self) -> Instant {
        let next = self.waited_for.values().map(|waited| waited.next).min();
        next.map_or(self.next_search, |next| next.min(self.next_search))
    }

    /// Writes into these violations what was said about them. Those that are not there are waited for.
    pub(super) async fn apply(&mut self, store: &Store, ids: &[Uuid]) -> Result<(), StoreError> {
        self.try_these(store, ids, false).await
    }

    async fn try_these(
        &mut self,
        store: &Store,
        ids: &[Uuid],
        everywhere: bool,
    ) -> Result<(), StoreError> {
        let mut ids = ids.to_vec();
        ids.sort();
        ids.dedup();
        if ids.is_empty() {
            return Ok(());
        }
        let unknown = store.apply_notifications(&ids, everywhere).await?;
        self.settle(&ids, &unknown, Instant::now());
        Ok(())
    }

    /// Tries those again that were waited for long enough, and searches now and then.
    pub(super) async fn again(&mut self, store: &Store) -> Result<(), StoreError> {
        let now = Instant::now();
        if self.next_search <= now {
            let found = store.unapplied_notifications(self.reach, MOST).await?;
            self.next_search = now + SEARCH;
            for id in found {
                self.waited_for.entry(id).or_insert(Waited { since: now, next: now });
            }
        }
        for everywhere in [false, true] {
            let due: Vec<Uuid> = self
                .waited_for
                .iter()
                .filter(|(_, waited)| waited.next <= now)
                .filter(|(_, waited)| (now.duration_since(waited.since) >= LATER) == everywhere)
                .map(|(id, _)| *id)
                .take(AT_ONCE)
                .collect();
            self.try_these(store, &due, everywhere).await?;
        }
        Ok(())
    }

    fn settle(&mut self, tried: &[Uuid], unknown: &[Uuid], now: Instant) {
        let before: Vec<(Uuid, Option<Waited>)> =
            unknown.iter().map(|id| (*id, self.waited_for.get(id).copied())).collect();
        for id in tried {
            self.waited_for.remove(id);
        }
        for (id, before) in before {
            let since = before.map_or(now, |waited| waited.since);
            let age = now.duration_since(since);
            if age < self.reach && self.waited_for.len() < MOST {
                let next = now + age.clamp(FIRST, LATER);
                self.waited_for.insert(id, Waited { since, next });
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::notifications_unmatched().set(self.waited_for.len() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_there_is_tried_less_and_less_often_and_in_the_end_given_up() {
        let reach = Duration::from_secs(3_600);
        let mut told = Told::new(reach);
        told.next_search += SEARCH * 2;
        let (id, start) = (Uuid::now_v7(), Instant::now());
        let mut now = start;
        let mut attempts = 0;
        told.settle(&[id], &[id], now);
        while !told.waited_for.is_empty() {
            assert!(told.due() > now && told.due() <= now + LATER);
            now = told.due();
            told.settle(&[id], &[id], now);
            attempts += 1;
        }
        assert!(now - start >= reach, "{:?}", now - start);
        assert!((60..100).contains(&attempts), "{attempts}");
        told.settle(&[id], &[id], now);
        told.settle(&[id], &[], now);
        assert!(told.waited_for.is_empty(), "it was there");
    }

    #[tokio::test]
    async fn those_beyond_the_bound_are_left_to_the_next_search() {
        let mut told = Told::new(SEARCH);
        let ids: Vec<Uuid> = (0..MOST + 5).map(|_| Uuid::now_v7()).collect();
        told.settle(&ids, &ids, Instant::now());
        assert_eq!(told.waited_for.len(), MOST);
    }
}
