//! Evaluation: each policy that applies, in a warmed VM of its own, within its limits.

use std::cell::OnceCell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use regorus::Value;
use regorus::rvm::vm::RegoVM;
use serde::Deserialize as _;
use serde_json::{Map, json};

use super::compile::Compiled;
use super::document;
use super::input_reads::Telling;
use super::memo::{Known, Memo, Seen};
use super::results::{self, Said, SayLimits};
use super::set::{Entry, PolicySet};
use super::warm::WarmVms;
use crate::domain::usage::{DEFAULT_WINDOW, LONGEST_WINDOW, UsageSeen};
use crate::domain::{
    CheckRequest, FailMode, Identity, Mode, Policy, PolicyOutcome, Scope, ScopeKind, Severity,
    did_you_mean,
};

/// Bytes of a package's name in an outcome, where the check names one that doesn't exist.
const MAX_NAME: usize = 128;

/// What one evaluation of one policy may cost and say.
#[derive(Clone, Copy, Debug)]
pub struct EvaluationLimits {
    /// Instructions of the VM.
    pub instructions: usize,
    /// Time.
    pub time: Duration,
    /// Bytes held at once.
    pub memory: u64,
    /// Reasons or warnings.
    pub reasons: usize,
    /// Bytes of one reason.
    pub reason_bytes: usize,
}

impl EvaluationLimits {
    const fn say(&self) -> SayLimits {
        SayLimits { count: self.reasons, bytes: self.reason_bytes }
    }
}

/// Calls of a check's action that were allowed within so many seconds, this one included: of the
/// one who asks, or of everyone in a scope. None where the caller doesn't say who it is.
pub type CountCalls<'a> = dyn Fn(Option<&Scope>, u64) -> Option<u64> + 'a;

/// One check to evaluate.
#[derive(Clone, Copy)]
pub struct Check<'a> {
    /// The request.
    pub request: &'a CheckRequest,
    /// Who asks.
    pub identity: &'a Identity,
    /// The input that all policies share, see [`crate::domain::input::build`].
    pub input: &'a Map<String, serde_json::Value>,
    /// How calls are counted; none where nothing is known.
    pub usage: Option<&'a CountCalls<'a>>,
    /// What it means that no policy has the package which the check names.
    pub fail_mode: FailMode,
    /// Whether enforcement is in shadow: every policy takes part as a draft does. To be combined
    /// with [`crate::domain::combine::combine_shadow`].
    pub shadow: bool,
}

/// Bytes of stack that a thread needs to evaluate within an instruction limit: the VM recurses on
/// the thread's stack with every call, below 1 KiB for each instruction it takes.
#[must_use]
pub fn stack_bytes(instructions: usize) -> usize {
    instructions.saturating_mul(2_048).clamp(8 << 20, 1 << 30)
}

/// Evaluates policies on one thread. VMs are kept warm, also over a change of the set.
pub struct Evaluator {
    limits: EvaluationLimits,
    warm: WarmVms,
    /// Those of programs that tell what they read.
    telling: WarmVms,
    memo: Memo,
    remembered: u64,
}

impl Evaluator {
    /// An evaluator for one thread.
    #[must_use]
    pub fn new(limits: EvaluationLimits) -> Self {
        Self::remembering(limits, 0)
    }

    /// One that remembers what policies said, by so many values of what they read.
    #[must_use]
    pub fn remembering(limits: EvaluationLimits, most: usize) -> Self {
        let (warm, telling) = (WarmVms::new(limits), WarmVms::new(limits));
        Self { limits, warm, telling, memo: Memo::new(most), remembered: 0 }
    }

    /// How often a policy was not run, because what it says was known.
    #[must_use]
    pub const fn remembered(&self) -> u64 {
        self.remembered
    }

    #[cfg(test)]
    pub(super) const fn memo(&self) -> &Memo {
        &self.memo
    }

    /// What each policy that applies says.
    pub fn evaluate(&mut self, set: &PolicySet, check: &Check<'_>) -> Vec<PolicyOutcome> {
        let package = check.request.package.as_deref();
        let applying = set.applying(check.identity, package);
        let mut outcomes = Vec::with_capacity(applying.len() + 1);
        // Made when a policy has to be run.
        let base = OnceCell::new();
        for index in applying {
            if let Some(entry) = set.entry(index) {
                outcomes.push(self.evaluate_one(entry, check, &base));
            }
        }
        if let Some(package) = package.filter(|package| !set.has_package(package)) {
            outcomes.push(unknown_package(set, package, check.fail_mode));
        }
        if check.shadow {
            for outcome in &mut outcomes {
                outcome.mode = Mode::Shadow;
            }
        }
        outcomes
    }

    fn evaluate_one(
        &mut self,
        entry: &Entry,
        check: &Check<'_>,
        base: &OnceCell<Value>,
    ) -> PolicyOutcome {
        let policy = entry.policy();
        let mut outcome = PolicyOutcome {
            name: policy.name.clone(),
            package: policy.package.clone(),
            version: policy.version,
            scope: policy.scope.to_string(),
            mode: entry.mode(),
            severity: policy.severity,
            fail_mode: policy.fail_mode,
            ..PolicyOutcome::default()
        };
        let usage = check.usage.and_then(|count| usage_of(policy, count));
        outcome.usage = usage.filter(|_| entry.names_usage());
        match self.say(entry, Seen { input: check.input, usage }, base) {
            Ok(said) => {
                outcome.verdict = said.verdict;
                outcome.deny_reasons.clone_from(&said.deny_reasons);
                outcome.warnings.clone_from(&said.warnings);
            }
            Err(error) => outcome.error = Some(error),
        }
        outcome
    }

    /// The other rules of the policy that owns a package, for the same check; none where no policy
    /// owns it, or it has no others.
    ///
    /// # Errors
    /// Why they could not be evaluated.
    pub fn document(
        &mut self,
        set: &PolicySet,
        package: &str,
        check: &Check<'_>,
    ) -> Result<Option<Map<String, serde_json::Value>>, String> {
        let Some(entry) = set.by_package(package).next() else { return Ok(None) };
        let Some(compiled) = entry.document()? else { return Ok(None) };
        let base = value_of(check.input);
        let usage = check.usage.and_then(|count| usage_of(entry.policy(), count));
        let value = self.run(compiled, input_of(entry, &base, usage))?;
        document::read(&value).map(Some)
    }

    fn say(
        &mut self,
        entry: &Entry,
        seen: Seen<'_>,
        base: &OnceCell<Value>,
    ) -> Result<Arc<Said>, String> {
        let compiled = entry.compiled().as_ref().map_err(Clone::clone)?;
        let telling = if self.memo.is_off() { None } else { compiled.telling() };
        let known = telling.map(|telling| self.memo.find(entry, &telling.places, seen));
        if let Some(Known::Said(said)) = known {
            self.remembered += 1;
            return Ok(said);
        }
        let input = input_of(entry, base.get_or_init(|| value_of(seen.input)), seen.usage);
        if let (Some(telling), Some(Known::No)) = (telling, known) {
            let vm = self.telling.of(compiled, &telling.program);
            let (value, read) = Telling::told(|| run(vm, input.clone()));
            let said = value.and_then(|value| results::read(&value, self.limits.say()));
            match (said, read) {
                (Ok(said), Some(read)) => {
                    let said = Arc::new(said);
                    self.memo.learn(entry, &telling.places, seen, &read, &said);
                    return Ok(said);
                }
                // Telling costs too: the program itself may be within its limits.
                _ => self.telling.remove(compiled),
            }
        }
        let value = self.run(compiled, input)?;
        results::read(&value, self.limits.say()).map(Arc::new)
    }

    fn run(&mut self, compiled: &Compiled, input: Value) -> Result<Value, String> {
        let value = run(self.warm.get(compiled), input);
        if value.is_err() {
            // A VM that failed may hold what made it fail: the next check gets a fresh one.
            self.warm.remove(compiled);
        }
        value
    }
}

/// An input as the VM reads it.
fn value_of(input: &Map<String, serde_json::Value>) -> Value {
    Value::deserialize(input).unwrap_or(Value::Undefined)
}

/// The input of one policy: what all share, with its parameters and its usage.
fn input_of(entry: &Entry, base: &Value, usage: Option<UsageSeen>) -> Value {
    let mut input = base.clone();
    if let Ok(members) = input.as_object_mut() {
        if let Some(usage) = usage {
            members.insert(Value::from("usage"), Value::from(json!(usage)));
        }
        members.insert(Value::from("parameters"), entry.parameters().clone());
    }
    input
}

/// Runs a policy once. A VM that failed must not be used again.
pub(super) fn say(
    vm: &mut RegoVM,
    input: Value,
    limits: &EvaluationLimits,
) -> Result<results::Said, String> {
    results::read(&run(vm, input)?, limits.say())
}

/// What a program's rules gave.
fn run(vm: &mut RegoVM, input: Value) -> Result<Value, String> {
    vm.set_input(input);
    // Some of regorus' builtins panic on odd arguments, for example `strings.count(s, "")`: that
    // must cost one policy its say, not the thread its life.
    let run = AssertUnwindSafe(|| vm.execute_entry_point_by_index(0));
    std::panic::catch_unwind(run)
        .map_err(|_| "a builtin function failed on its arguments".to_owned())?
        .map_err(|e| e.to_string())
}

/// What the system knows of the calls that a policy may want to limit.
fn usage_of(policy: &Policy, count: &CountCalls<'_>) -> Option<UsageSeen> {
    let window_seconds = window_of(&policy.parameters);
    let scoped = policy.scope.kind != ScopeKind::Global;
    let calls_in_window = count(None, window_seconds);
    let scope_calls_in_window =
        if scoped { count(Some(&policy.scope), window_seconds) } else { None };
    let known = calls_in_window.is_some() || scope_calls_in_window.is_some();
    known.then_some(UsageSeen { calls_in_window, scope_calls_in_window, window_seconds })
}

/// The window over which a policy wants calls counted: its own parameter, else the default.
fn window_of(parameters: &Map<String, serde_json::Value>) -> u64 {
    parameters
        .get("window_seconds")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(DEFAULT_WINDOW)
        .min(LONGEST_WINDOW)
}

/// The outcome for a package that no policy has. Not an error of the whole request: the other
/// policies must not be escaped by a misspelling.
fn unknown_package(set: &PolicySet, package: &str, fail_mode: FailMode) -> PolicyOutcome {
    let nearest = did_you_mean(package, set.packages());
    let name: String = package.chars().take(MAX_NAME).collect();
    PolicyOutcome {
        error: Some(format!("no policy has the package `{name}`{nearest}")),
        package: name.clone(),
        name,
        scope: "global".into(),
        mode: Mode::Enforce,
        severity: Severity::Critical,
        fail_mode,
        ..PolicyOutcome::default()
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
