//! Running cases on the engine, as a worker runs a policy.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::compare::{Said, differences};
use super::plan::Job;
use super::policy::Prepared;
use super::report::{CaseReport, Outcome, SuiteReport};
use crate::domain::{
    CheckRequest, FailMode, Identity, Policy, PolicyMode, PolicyOutcome, Scope, Severity, Status,
};
use crate::engine::{Check, Compiled, Entry, EvaluationLimits, Evaluator, PolicySet, stack_bytes};

/// Runs something on a thread whose stack is as deep as evaluations within these limits need.
///
/// # Errors
/// When there is no such thread, or it panicked.
pub fn on_deep_stack<T: Send>(
    limits: &EvaluationLimits,
    work: impl FnOnce() -> T + Send,
) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("suites".to_owned())
            .stack_size(stack_bytes(limits.instructions))
            .spawn_scoped(scope, work)?
            .join()
            .map_err(|_| std::io::Error::other("the thread that ran the tests panicked"))
    })
}

/// Asks policies on one thread, see [`on_deep_stack`].
pub struct Tester {
    limits: EvaluationLimits,
    evaluator: Evaluator,
}

impl Tester {
    /// A tester within these limits for one evaluation.
    #[must_use]
    pub fn new(limits: EvaluationLimits) -> Self {
        Self { limits, evaluator: Evaluator::new(limits) }
    }

    /// What a program says of a case.
    pub fn ask(&mut self, name: &str, compiled: &Compiled, case: &Prepared) -> Said {
        let failed = |error: String| Said { error: Some(error), ..Said::default() };
        let Value::Object(parameters) = &case.parameters else {
            return failed("settings that are no object can't be evaluated".to_owned());
        };
        let policy = Policy {
            name: name.to_owned(),
            title: String::new(),
            description: String::new(),
            package: compiled.package.clone(),
            rego: "".into(),
            template: None,
            status: Status::Active,
            mode: PolicyMode::Enforce,
            severity: Severity::Warning,
            fail_mode: FailMode::Open,
            scope: Scope::default(),
            parameters: parameters.clone(),
            version: 1,
        };
        let set = match PolicySet::new([Entry::new(policy, Ok(compiled.clone()))]) {
            Ok(set) => set,
            Err(error) => return failed(error.to_string()),
        };
        let check = Check {
            request: &CheckRequest::default(),
            identity: &Identity::default(),
            input: &case.input,
            usage: None,
            fail_mode: FailMode::Open,
            shadow: false,
        };
        self.evaluator
            .evaluate(&set, &check)
            .pop()
            .map_or_else(|| failed("the policy was not evaluated".to_owned()), Said::from)
    }

    /// The limits of one evaluation.
    #[must_use]
    pub const fn limits(&self) -> &EvaluationLimits {
        &self.limits
    }
}

impl From<PolicyOutcome> for Said {
    fn from(outcome: PolicyOutcome) -> Self {
        let set = |texts: Vec<String>| texts.into_iter().collect::<BTreeSet<_>>();
        Self {
            decision: outcome.verdict,
            deny_reasons: set(outcome.deny_reasons),
            warnings: set(outcome.warnings),
            error: outcome.error,
        }
    }
}

/// Runs the cases of one suite.
pub fn suite(job: &Job, tester: &mut Tester) -> SuiteReport {
    let begin = Instant::now();
    let cases = job
        .cases
        .iter()
        .map(|case| {
            let begin = Instant::now();
            let said = tester.ask(&job.policy.name, &job.policy.compiled, case);
            judged(case, said, begin.elapsed())
        })
        .collect();
    SuiteReport {
        file: job.file.clone(),
        policy: job.policy.name.clone(),
        policy_file: Some(job.policy.file.clone()),
        cases,
        duration: begin.elapsed(),
    }
}

/// The report of a case of which this was said.
#[must_use]
pub fn judged(case: &Prepared, said: Said, took: Duration) -> CaseReport {
    let differences = differences(&case.case.expected, &said);
    CaseReport {
        name: case.case.name.clone(),
        description: case.case.description.trim().to_owned(),
        line: case.case.line,
        outcome: if differences.is_empty() { Outcome::Passed } else { Outcome::Failed },
        differences,
        message: None,
        got: Some(said),
        rules: Vec::new(),
        reads: Vec::new(),
        duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    }
}
