//! What the system itself knows of a caller: how many calls of one action it was allowed within a
//! sliding window. Policies read it as `input.usage`.

use std::collections::{HashMap, VecDeque};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::Scope;

/// Seconds of the longest window that is kept.
pub const LONGEST_WINDOW: u64 = 3_600;
/// Seconds of the window for policies that have no parameter `window_seconds`.
pub const DEFAULT_WINDOW: u64 = 60;

/// What a policy was told of the caller, as `input.usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageSeen {
    /// Calls of this action that the caller was allowed within the window, this one included; left
    /// out where the caller doesn't say who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_in_window: Option<u64>,
    /// The same of everyone in the policy's session, project or user together; left out where the
    /// policy is for everyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_calls_in_window: Option<u64>,
    /// Length of the window, in seconds.
    pub window_seconds: u64,
}

/// Calls of one subject and action.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageKey {
    /// The one who asks.
    pub subject: String,
    /// What it does.
    pub action: String,
}

impl UsageKey {
    /// The key under which the calls of all in a scope are counted. No agent's name begins with
    /// the unit separator.
    #[must_use]
    pub fn of_scope(scope: &Scope, action: &str) -> Self {
        Self { subject: format!("\u{1f}{scope}"), action: action.to_owned() }
    }
}

/// Counts calls by second. Bounded: `most_keys` subjects and actions, [`LONGEST_WINDOW`] seconds
/// of each.
#[derive(Debug)]
pub struct UsageCounter {
    calls: HashMap<UsageKey, VecDeque<(u64, u64)>>,
    most_keys: usize,
}

impl UsageCounter {
    /// An empty counter.
    #[must_use]
    pub fn new(most_keys: usize) -> Self {
        Self { calls: HashMap::new(), most_keys }
    }

    /// Adds calls at a second since 1970. Seconds may come late and out of order, from workers
    /// whose clocks differ.
    pub fn add(&mut self, key: UsageKey, second: u64, count: u64) {
        if !self.calls.contains_key(&key) && self.calls.len() >= self.most_keys {
            self.forget_before(second.saturating_sub(LONGEST_WINDOW));
            if self.calls.len() >= self.most_keys {
                return;
            }
        }
        let seconds = self.calls.entry(key).or_default();
        let at = seconds.partition_point(|(s, _)| *s < second);
        match seconds.get_mut(at) {
            Some((s, n)) if *s == second => *n = n.saturating_add(count),
            _ => seconds.insert(at, (second, count)),
        }
        let newest = seconds.back().map_or(second, |(s, _)| *s);
        while seconds.front().is_some_and(|(s, _)| s.saturating_add(LONGEST_WINDOW) < newest) {
            seconds.pop_front();
        }
    }

    /// Calls within the `window` seconds that end with `now`.
    #[must_use]
    pub fn count(&self, key: &UsageKey, now: u64, window: u64) -> u64 {
        let from = now.saturating_sub(window.min(LONGEST_WINDOW));
        self.calls.get(key).map_or(0, |seconds| {
            let until_now = seconds.iter().rev().skip_while(|(s, _)| *s > now);
            until_now.take_while(|(s, _)| *s > from).map(|(_, n)| n).sum()
        })
    }

    /// Forgets what is older than a second, and keys that have nothing left.
    pub fn forget_before(&mut self, second: u64) {
        self.calls.retain(|_, seconds| {
            while seconds.front().is_some_and(|(s, _)| *s < second) {
                seconds.pop_front();
            }
            !seconds.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(subject: &str) -> UsageKey {
        UsageKey { subject: subject.into(), action: "llm_call".into() }
    }

    #[test]
    fn keys_are_bounded_and_old_ones_make_room() {
        let mut counter = UsageCounter::new(2);
        counter.add(key("a"), 10, 1);
        counter.add(key("b"), 20, 1);
        counter.add(key("c"), 21, 1);
        assert_eq!(counter.count(&key("c"), 21, 60), 0, "no room, nothing forgotten");
        counter.add(key("c"), 10_000, 1);
        assert_eq!(counter.count(&key("c"), 10_000, 60), 1);
        assert_eq!(counter.count(&key("a"), 10_000, 60), 0);
    }

    proptest! {
        #[test]
        fn counts_like_a_list_would(
            calls in proptest::collection::vec((0_u64..200, 1_u64..4), 0..60),
            window in 1_u64..300,
        ) {
            let mut counter = UsageCounter::new(10);
            for (second, count) in &calls {
                counter.add(key("a"), 1_000 + second, *count);
            }
            let now = 1_200;
            let expected: u64 = calls.iter().filter(|(s, _)| 1_000 + s > now - window).map(|(_, n)| n).sum();
            prop_assert_eq!(counter.count(&key("a"), now, window), expected);
            // What came after the time in question doesn't count.
            let then = 1_100;
            let within = |s: &u64| (then - window.min(then)..then).contains(&(1_000 + s - 1));
            let expected: u64 = calls.iter().filter(|(s, _)| within(s)).map(|(_, n)| n).sum();
            prop_assert_eq!(counter.count(&key("a"), then, window), expected);
            prop_assert_eq!(counter.count(&key("b"), now, window), 0);
        }
    }
}
