//! What a denied agent is told: what the policy's author says of the reasons, and the smallest change
//! of its request that would have been allowed, where that can be computed. Computing it costs some
//! hundred evaluations' time, so only so many denials a second get it, and it is done beside the
//! threads that evaluate: only the one who is denied waits for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::contract::evaluate::{Advice, Remedy};
use crate::domain::trace::Change;
use crate::domain::{Decision, Mode, PolicyOutcome, Verdict};
use crate::engine::{self, Compiled, Entry, EvaluationLimits, PolicySet};

/// Evaluations that are tried for one policy.
const MOST_EVALUATIONS: usize = 64;
/// Policies of one denial for which something is computed.
const MOST_POLICIES: usize = 4;
/// Time that is spent on one denial, about: one evaluation more may have begun.
const MOST_TIME: Duration = Duration::from_millis(20);
/// Searches at once; the memory of each thread that ever searched stays with it.
const AT_ONCE: usize = 2;
/// Time that is spent in a second, over all threads.
const MOST_TIME_PER_SECOND: Duration = Duration::from_millis(250);
/// Policies whose evaluation takes longer than this are too slow to be evaluated often.
const SLOW: Duration = Duration::from_millis(2);

/// What was spent since a moment.
#[derive(Debug)]
struct Spent {
    since: Instant,
    count: usize,
    time: Duration,
}

/// Remedies, so many a second.
#[derive(Debug)]
pub(super) struct Remedies {
    limits: EvaluationLimits,
    per_second: usize,
    spent: Mutex<Spent>,
    places: Semaphore,
}

impl Remedies {
    pub(super) fn new(limits: EvaluationLimits, per_second: usize) -> Self {
        let spent = Spent { since: Instant::now(), count: 0, time: Duration::ZERO };
        let places = Semaphore::new(AT_ONCE);
        Self { limits, per_second, spent: Mutex::new(spent), places }
    }

    /// What the authors say to a denial, and the search for more where there is time for one.
    /// `input` is what all policies share, `took` the time that they needed.
    pub(super) fn of(
        self: &Arc<Self>,
        decision: &Decision,
        set: &PolicySet,
        input: &Map<String, Value>,
        took: Duration,
    ) -> (Vec<Remedy>, Option<Search>) {
        if decision.verdict == Verdict::Allow {
            return (Vec::new(), None);
        }
        let denied = |policy: &&PolicyOutcome| {
            policy.verdict == Verdict::Deny && policy.mode == Mode::Enforce
        };
        let denying: Vec<(PolicyOutcome, Arc<Entry>)> = decision
            .policies
            .iter()
            .filter(denied)
            .filter_map(|outcome| Some((outcome.clone(), Arc::clone(set.by_name(&outcome.name)?))))
            .collect();
        let told = denying.iter().filter_map(|(outcome, entry)| remedy(outcome, entry, Vec::new()));
        let told = told.collect();
        let search = (took <= SLOW && self.may_compute()).then(|| Search {
            remedies: Arc::clone(self),
            denying,
            input: input.clone(),
        });
        (told, search)
    }

    fn may_compute(&self) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.since.elapsed() >= Duration::from_secs(1) {
            *spent = Spent { since: Instant::now(), count: 0, time: Duration::ZERO };
        }
        spent.count = spent.count.saturating_add(1);
        spent.count <= self.per_second && spent.time < MOST_TIME_PER_SECOND
    }
}

/// A search for what would have been allowed, beside the evaluation of other checks.
#[derive(Debug)]
pub(super) struct Search {
    remedies: Arc<Remedies>,
    denying: Vec<(PolicyOutcome, Arc<Entry>)>,
    input: Map<String, Value>,
}

impl Search {
    /// Searches on a thread of its own, as soon as there is a place for it. None where that takes
    /// too long: whoever is denied shouldn't wait for others.
    pub(super) async fn begin(self) -> Option<Vec<Remedy>> {
        let remedies = Arc::clone(&self.remedies);
        let place = tokio::time::timeout(MOST_TIME, remedies.places.acquire()).await;
        let _place = place.ok()?.ok()?;
        tokio::task::spawn_blocking(|| self.run()).await.ok()
    }

    /// Searches, about as long as may be, and gives what is to be told in all.
    fn run(self) -> Vec<Remedy> {
        let begin = Instant::now();
        let deadline = begin + MOST_TIME;
        let limits = &self.remedies.limits;
        let found = self.denying.iter().enumerate().filter_map(|(index, (outcome, entry))| {
            let compiled = entry.compiled().as_ref().ok()?;
            let changes = if index < MOST_POLICIES && Instant::now() < deadline {
                changes(compiled, entry, outcome, &self.input, limits, deadline)
            } else {
                Vec::new()
            };
            remedy(outcome, entry, changes)
        });
        let found = found.collect();
        let mut spent = self.remedies.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.time = spent.time.saturating_add(begin.elapsed());
        found
    }
}

/// What is told of one policy's denial, if there is anything to tell.
fn remedy(outcome: &PolicyOutcome, entry: &Entry, changes: Vec<Change>) -> Option<Remedy> {
    let advice = advice(entry.compiled().as_ref().ok()?, outcome);
    let remedy = Remedy { policy: outcome.name.clone(), advice, changes };
    (!remedy.advice.is_empty() || !remedy.changes.is_empty()).then_some(remedy)
}

/// The smallest change of the request that this policy would have allowed.
fn changes(
    compiled: &Compiled,
    entry: &Entry,
    outcome: &PolicyOutcome,
    input: &Map<String, Value>,
    limits: &EvaluationLimits,
    deadline: Instant,
) -> Vec<Change> {
    let mut whole = input.clone();
    whole.insert("parameters".to_owned(), Value::Object(entry.policy().parameters.clone()));
    if let Some(usage) = outcome.usage {
        whole.insert("usage".to_owned(), json!(usage));
    }
    let rego = &entry.policy().rego;
    let trace = engine::trace(compiled, rego, &whole, limits);
    engine::remedy(compiled, rego, &whole, limits, &trace, MOST_EVALUATIONS, deadline)
}

/// What the author says of the reasons that a policy gave.
pub(super) fn advice(compiled: &Compiled, outcome: &PolicyOutcome) -> Vec<Advice> {
    let told = |reason: &String| {
        let text = compiled.metadata.reasons.get(reason)?.clone();
        Some(Advice { reason: reason.clone(), text })
    };
    outcome.deny_reasons.iter().filter_map(told).collect()
}
