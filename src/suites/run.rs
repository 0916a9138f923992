//! Running cases on the engine, as a worker runs a policy.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::compare::{Said, differences};
use super::coverage::Coverage;
use super::plan::Job;
use super::policy::{PolicyUnderTest, Prepared};
use super::report::{CaseReport, Outcome, SuiteReport};
use crate::domain::{
    CheckRequest, FailMode, Identity, Policy, PolicyMode, PolicyOutcome, Scope, Severity, Status,
};
use crate::engine::{
    Check, Compiled, Entry, EvaluationLimits, Evaluator, PolicySet, Trace, stack_bytes, trace,
};

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
    until: Option<Instant>,
}

impl Tester {
    /// A tester within these limits for one evaluation.
    #[must_use]
    pub fn new(limits: EvaluationLimits) -> Self {
        Self { limits, evaluator: Evaluator::new(limits), until: None }
    }

    /// Cases that would begin after this moment are skipped.
    #[must_use]
    pub const fn until(mut self, until: Instant) -> Self {
        self.until = Some(until);
        self
    }

    fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// What a program says of a case. `rego` is the text that it was made of.
    pub fn ask(&mut self, name: &str, compiled: &Compiled, rego: &str, case: &Prepared) -> Said {
        let failed = |error: String| Said { error: Some(error), ..Said::default() };
        let Value::Object(parameters) = &case.parameters else {
            return self.trace(compiled, rego, case).into();
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

    /// What a program does with a case.
    #[must_use]
    pub fn trace(&self, compiled: &Compiled, rego: &str, case: &Prepared) -> Trace {
        trace(compiled, rego, &case.whole_input(), &self.limits)
    }
}

impl From<PolicyOutcome> for Said {
    fn from(outcome: PolicyOutcome) -> Self {
        Self {
            decision: outcome.verdict,
            deny_reasons: outcome.deny_reasons.into_iter().collect(),
            warnings: outcome.warnings.into_iter().collect(),
            error: outcome.error,
        }
    }
}

impl From<Trace> for Said {
    fn from(trace: Trace) -> Self {
        Self {
            decision: trace.verdict,
            deny_reasons: trace.deny_reasons.into_iter().collect(),
            warnings: trace.warnings.into_iter().collect(),
            error: trace.error,
        }
    }
}

/// Runs the cases of one suite; also notes the lines that they go through, where these are wanted.
pub fn suite(job: &Job, tester: &mut Tester, mut coverage: Option<&mut Coverage>) -> SuiteReport {
    let begin = Instant::now();
    let PolicyUnderTest { name, compiled, rego, file, .. } = &job.policy;
    let mut cases = Vec::with_capacity(job.cases.len());
    for case in &job.cases {
        if tester.is_late() {
            cases.push(left_out(case));
            continue;
        }
        let begin = Instant::now();
        let said = tester.ask(name, compiled, rego, case);
        let mut report = judged(case, said, begin.elapsed());
        let failed = report.outcome == Outcome::Failed;
        if failed || coverage.is_some() {
            let trace = tester.trace(compiled, rego, case);
            if let Some(coverage) = &mut coverage {
                coverage.add(file, trace.lines.covered, trace.lines.coverable);
            }
            if failed {
                report.rules = trace.rules;
                report.reads = trace.reads;
            }
        }
        cases.push(report);
    }
    SuiteReport {
        file: job.file.clone(),
        policy: name.clone(),
        policy_file: Some(file.clone()),
        cases,
        duration: begin.elapsed(),
    }
}

/// The report of a case for which there was no time.
fn left_out(case: &Prepared) -> CaseReport {
    CaseReport {
        outcome: Outcome::Skipped,
        differences: Vec::new(),
        message: Some("the time for all cases together was over before this one".to_owned()),
        got: None,
        ..judged(case, Said::default(), Duration::ZERO)
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
