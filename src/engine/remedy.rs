//! What would have allowed it: the smallest change of a denied request that a policy lets through.
//!
//! Candidates come from what the policy read and compared; each is tried by a real evaluation, so
//! what is said is true of this policy. Never changed: the action, the caller's identity, and what
//! is the system's own (parameters, usage, the time).

use std::time::Instant;

use regorus::rvm::vm::RegoVM;
use serde_json::{Map, Value};

use super::compile::{Compiled, parse, with_stack};
use super::evaluate::{EvaluationLimits, say, stack_bytes};
use super::suggest::{self, Candidate, Candidates};
use super::trace::Trace;
use super::variant::Origin;
use super::warm::limited;
use crate::domain::Verdict;
pub(super) use crate::domain::trace::Change;

/// The smallest change that makes this policy allow what it denied: one, or two together. Empty
/// where none is found, where the policy didn't deny, or where its evaluation failed.
///
/// `input` and `trace` are those of the denial, `rego` the text that `compiled` was made of. At
/// most `most_evaluations` evaluations are spent, each within `limits`, and none is begun after the
/// deadline.
#[must_use]
pub fn remedy(
    compiled: &Compiled,
    rego: &str,
    input: &Map<String, Value>,
    limits: &EvaluationLimits,
    trace: &Trace,
    most_evaluations: usize,
    deadline: Instant,
) -> Vec<Change> {
    if trace.verdict != Verdict::Deny || trace.error.is_some() {
        return Vec::new();
    }
    let work = || {
        let origin = Origin::of(input)?;
        let module = parse("traced.rego", rego).ok()?;
        let candidates = suggest::candidates(&module, rego, trace, input, &origin);
        let mut trial = Trial { compiled, limits, vm: None, left: most_evaluations, deadline };
        search(&mut trial, &origin, &candidates)
    };
    with_stack("remedy", stack_bytes(limits.instructions), work).ok().flatten().unwrap_or_default()
}

/// Real evaluations, as many as are left.
struct Trial<'a> {
    compiled: &'a Compiled,
    limits: &'a EvaluationLimits,
    vm: Option<RegoVM>,
    left: usize,
    deadline: Instant,
}

impl Trial<'_> {
    /// Whether the policy allows an input; nothing when no evaluation is left.
    fn allows(&mut self, input: Map<String, Value>) -> Option<bool> {
        self.left = self.left.checked_sub(1)?;
        if Instant::now() >= self.deadline {
            return None;
        }
        let vm = self.vm.get_or_insert_with(|| limited(self.compiled.program.clone(), self.limits));
        let said = say(vm, regorus::Value::from(Value::Object(input)), self.limits);
        if said.is_err() {
            self.vm = None;
        }
        Some(said.is_ok_and(|said| said.verdict == Verdict::Allow))
    }
}

fn search(trial: &mut Trial<'_>, origin: &Origin, found: &Candidates) -> Option<Vec<Change>> {
    // Enough must be left for what is tried last.
    let reserve = found.granted.len().min(trial.left / 2);
    trial.left -= reserve;
    let own = one(trial, origin, &found.own).or_else(|| two(trial, origin, &found.own));
    trial.left += reserve;
    own.or_else(|| one(trial, origin, &found.granted))
}

fn one(trial: &mut Trial<'_>, origin: &Origin, candidates: &[Candidate]) -> Option<Vec<Change>> {
    for candidate in candidates {
        if trial.allows(origin.with(&[candidate.change()]))? {
            return Some(vec![candidate.described(origin)]);
        }
    }
    None
}

/// Pairs, those of the best candidates first.
fn two(trial: &mut Trial<'_>, origin: &Origin, candidates: &[Candidate]) -> Option<Vec<Change>> {
    for sum in 1..candidates.len().saturating_mul(2) {
        for at in sum.saturating_sub(candidates.len())..sum.div_ceil(2) {
            let (Some(first), Some(second)) = (candidates.get(at), candidates.get(sum - at)) else {
                continue;
            };
            if first.place != second.place
                && trial.allows(origin.with(&[first.change(), second.change()]))?
            {
                return Some(vec![first.described(origin), second.described(origin)]);
            }
        }
    }
    None
}

#[cfg(test)]
#[path = "remedy_tests.rs"]
mod tests;
