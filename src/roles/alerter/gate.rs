//! What is posted, and what is summed up: equal violations within a while are posted once, and each
//! policy has so many posts in a while. The rest is held back and told in one post for each policy.
//!
//! Nothing that is held is forgotten: it counts as told when the post that sums it up is through. The
//! time is passed in, so that all of this can be tested without waiting.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use crate::contract::ViolationEvent;
use crate::domain::ViolationType;

/// Kinds of violations remembered at once; beyond it the oldest is forgotten, and is posted again.
const MOST_KINDS: usize = 10_000;

/// What stands for all policies that don't exist.
const UNKNOWN: &str = "unknown";

/// Violations that one summary names.
const EXAMPLES: usize = 5;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Time in which equal violations are posted once.
    pub(super) dedup_window: Duration,
    /// Posts of a policy in `rate_window`.
    pub(super) rate_limit: usize,
    /// The time that `rate_limit` is about.
    pub(super) rate_window: Duration,
    /// Violations that may be held back at once; beyond it they are summed up early.
    pub(super) most_held: usize,
}

/// Why a violation has no post of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// An equal one was posted: this one.
    Duplicate(Uuid),
    /// Its policy had too many posts.
    RateLimited,
}

/// A violation that is held back, with what is needed to settle it.
#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) item: T,
    pub(super) why: Why,
}

/// The violations of one policy that were held back.
#[derive(Debug)]
pub(super) struct Summary<T> {
    /// Id of the summary.
    pub(super) id: Uuid,
    pub(super) policy: String,
    pub(super) held: Vec<Held<T>>,
    /// Times of the first and of the last.
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
    /// Some of them.
    pub(super) examples: Vec<ViolationEvent>,
}

impl<T> Summary<T> {
    /// How many are equal to posted ones.
    pub(super) fn duplicates(&self) -> usize {
        self.held.iter().filter(|held| matches!(held.why, Why::Duplicate(_))).count()
    }
}

/// Decides for one target.
#[derive(Debug)]
pub(super) struct Gate<T> {
    limits: Limits,
    kinds: HashMap<[u8; 32], Kind>,
    /// The kinds by age.
    ages: VecDeque<([u8; 32], Instant)>,
    policies: BTreeMap<String, OfPolicy<T>>,
    held: usize,
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    posted: Uuid,
    until: Instant,
}

#[derive(Debug)]
struct OfPolicy<T> {
    /// End of the time that `posts` is about.
    until: Instant,
    posts: usize,
    held: Option<(Instant, Summary<T>)>,
}

impl<T> Gate<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            kinds: HashMap::new(),
            ages: VecDeque::new(),
            policies: BTreeMap::new(),
            held: 0,
        }
    }

    /// Gives back what is to be posted now; else it is held, and why is said.
    pub(super) fn pass(
        &mut self,
        violation: &ViolationEvent,
        item: T,
        now: Instant,
    ) -> Result<T, Why> {
        self.forget(now);
        let limits = self.limits;
        let kind = kind(violation);
        let policy = self
            .policies
            .entry(policy(violation).to_owned())
            .or_insert_with(|| OfPolicy { until: now + limits.rate_window, posts: 0, held: None });
        if policy.until <= now {
            (policy.until, policy.posts) = (now + limits.rate_window, 0);
        }
        let (why, due) = match self.kinds.get(&kind) {
            Some(known) => (Why::Duplicate(known.posted), known.until),
            None if policy.posts >= limits.rate_limit => (Why::RateLimited, policy.until),
            None => {
                policy.posts += 1;
                let until = now + limits.dedup_window;
                self.kinds.insert(kind, Kind { posted: violation.id, until });
                self.ages.push_back((kind, until));
                return Ok(item);
            }
        };
        let (first_due, summary) =
            policy.held.get_or_insert_with(|| (due, Summary::new(violation)));
        *first_due = due.min(*first_due);
        summary.add(violation, Held { item, why });
        self.held += 1;
        Err(why)
    }

    /// When a summary is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = |policy: &OfPolicy<T>| policy.held.as_ref().map(|(due, _)| *due);
        self.policies.values().filter_map(due).min()
    }

    /// The summaries that are due; all of them when too much is held.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Summary<T>> {
        let all = self.held >= self.limits.most_held;
        self.take(|due| all || due <= now)
    }

    /// All summaries, due or not.
    pub(super) fn flush(&mut self) -> Vec<Summary<T>> {
        self.take(|_| true)
    }

    fn take(&mut self, is_due: impl Fn(Instant) -> bool) -> Vec<Summary<T>> {
        let mut found = Vec::new();
        for policy in self.policies.values_mut() {
            if let Some((_, summary)) = policy.held.take_if(|(due, _)| is_due(*due)) {
                self.held -= summary.held.len();
                found.push(summary);
            }
        }
        found
    }

    fn forget(&mut self, now: Instant) {
        while let Some((kind, until)) = self.ages.front()
            && (*until <= now || self.ages.len() > MOST_KINDS)
        {
            self.kinds.remove(kind);
            self.ages.pop_front();
        }
        if self.policies.len() > MOST_KINDS {
            self.policies.retain(|_, policy| policy.until > now || policy.held.is_some());
        }
    }
}

impl<T> Summary<T> {
    fn new(first: &ViolationEvent) -> Self {
        Self {
            id: Uuid::now_v7(),
            policy: policy(first).to_owned(),
            held: Vec::new(),
            from: first.timestamp,
            to: first.timestamp,
            examples: Vec::new(),
        }
    }

    fn add(&mut self, violation: &ViolationEvent, held: Held<T>) {
        self.from = self.from.min(violation.timestamp);
        self.to = self.to.max(violation.timestamp);
        let new = |example: &ViolationEvent| kind(example) != kind(violation);
        if self.examples.len() < EXAMPLES && self.examples.iter().all(new) {
            self.examples.push(violation.clone());
        }
        self.held.push(held);
    }
}

/// The policy whose posts are counted. Policies that don't exist share one place: their names are what
/// callers write, and each would be a new one with posts of its own.
fn policy(violation: &ViolationEvent) -> &str {
    if is_unknown(violation) { UNKNOWN } else { &violation.policy_name }
}

/// Whether a caller named a policy that doesn't exist: only then there is no version.
fn is_unknown(violation: &ViolationEvent) -> bool {
    violation.violation_type == ViolationType::PolicyError && violation.policy_version == 0
}

/// What makes violations equal.
fn kind(violation: &ViolationEvent) -> [u8; 32] {
    let mut digest = Sha256::new();
    let who = &violation.who;
    // The reasons have the name in them.
    let reasons = if is_unknown(violation) { &[][..] } else { &violation.reasons };
    let texts = [
        policy(violation),
        violation.severity.as_str(),
        who.subject.as_str(),
        violation.action.as_str(),
        violation.resource.as_str(),
    ];
    for text in texts.into_iter().chain(reasons.iter().map(String::as_str)) {
        // With its length, so that no two lists run together alike.
        digest.update(text.len().to_be_bytes());
        digest.update(text);
    }
    digest.finalize().into()
}
