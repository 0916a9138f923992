//! The same cases, answered by a worker.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Live;
use crate::bus::{self, Connection, Subjects};
use crate::config::Config;
use crate::contract::evaluate::{Choice, EvaluateReply, EvaluateRequest};
use crate::contract::fault::ServiceError;
use crate::suites::run::judged;
use crate::suites::{
    CaseReport, Job, Outcome, Plan, Prepared, Report, Said, SuiteError, SuiteReport,
};

/// How long a worker may take for one case.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Why a raw case can't be asked.
const RAW: &str = "raw: no worker takes what is written there";

/// Asks a worker case by case.
pub(super) async fn run(config: &Config, which: Live, plan: Plan) -> anyhow::Result<Report> {
    let begin = Instant::now();
    let connection = bus::connect_once(&config.nats, "test").await?;
    let subject = Subjects::new(&config.nats.subject_prefix).evaluate();
    let mut report = Report { invalid: plan.invalid, ..Report::default() };
    let bar = super::bar(plan.jobs.iter().map(|job| job.cases.len()).sum(), "cases");
    for job in plan.jobs {
        match suite(&connection, &subject, which, &job).await? {
            Ok(suite) => report.add(suite),
            Err(error) => report.invalid.push(error),
        }
        bar.inc(u64::try_from(job.cases.len()).unwrap_or(u64::MAX));
    }
    bar.finish_and_clear();
    // `test_` rules are run here: no worker runs them.
    let limits = super::limits(config);
    let tests: Vec<_> = tokio::task::spawn_blocking(move || {
        plan.rego.iter().map(|job| job.report(&limits, None)).collect()
    })
    .await?;
    for tests in tests {
        match tests {
            Ok(suite) => report.add(suite),
            Err(errors) => report.invalid.extend(errors),
        }
    }
    report.duration = begin.elapsed();
    Ok(report)
}

/// One suite, or why the worker can't try its policy.
async fn suite(
    connection: &Connection,
    subject: &str,
    which: Live,
    job: &Job,
) -> anyhow::Result<Result<SuiteReport, SuiteError>> {
    let begin = Instant::now();
    let mut cases = Vec::with_capacity(job.cases.len());
    for case in &job.cases {
        if case.case.raw {
            cases.push(skipped(case));
            continue;
        }
        let begin = Instant::now();
        let body = serde_json::to_vec(&request(which, job, case))?;
        let answer = connection.request(subject, body, TIMEOUT).await?;
        if answer.error_code.is_some() {
            return Ok(Err(refused(&job.file, case, &answer.payload)?));
        }
        let reply: EvaluateReply =
            serde_json::from_slice(&answer.payload).context("the worker's reply is unreadable")?;
        cases.push(answered(case, reply, begin.elapsed()));
    }
    Ok(Ok(SuiteReport {
        file: job.file.clone(),
        policy: job.policy.name.clone(),
        policy_file: (which == Live::File).then(|| job.policy.file.clone()),
        cases,
        duration: begin.elapsed(),
    }))
}

fn request(which: Live, job: &Job, case: &Prepared) -> EvaluateRequest {
    let written = &case.case;
    let object = |value: &serde_json::Value| value.as_object().cloned().unwrap_or_default();
    EvaluateRequest {
        rego: (which == Live::File).then(|| job.policy.rego.to_string()),
        policies: match which {
            Live::Stored => vec![Choice::Name(job.policy.name.clone())],
            Live::File => Vec::new(),
        },
        action: Some(written.action.clone()),
        resource: Some(written.resource.clone()),
        context: object(&written.context),
        // All of them, so that the settings which the stored policy has don't matter.
        parameters: object(&case.parameters),
        usage: written.usage.clone(),
        now: written.moment(),
        explain: true,
        ..EvaluateRequest::default()
    }
}

fn answered(case: &Prepared, reply: EvaluateReply, took: Duration) -> CaseReport {
    let Some(policy) = reply.policies.into_iter().next() else {
        let error = Some("the worker tried no policy".to_owned());
        return judged(case, Said { error, ..Said::default() }, took);
    };
    let said = Said {
        decision: policy.said.decision,
        deny_reasons: policy.said.deny_reasons.into_iter().collect(),
        warnings: policy.said.warnings.into_iter().collect(),
        error: policy.said.error,
    };
    let mut report = judged(case, said, took);
    if report.outcome == Outcome::Failed {
        report.rules = policy.rules;
        report.reads = policy.reads;
    }
    report
}

/// Why the worker refuses a case.
fn refused(file: &Path, case: &Prepared, payload: &[u8]) -> anyhow::Result<SuiteError> {
    let fault: ServiceError =
        serde_json::from_slice(payload).context("the worker's refusal is unreadable")?;
    let place = Some(fault.error.field).filter(|field| !field.is_empty());
    let place = place.map_or_else(String::new, |field| format!("{field}: "));
    let message =
        format!("{}: the worker refuses it: {place}{}", case.case.name, fault.error.message);
    Ok(SuiteError::at(file, case.case.line, message))
}

fn skipped(case: &Prepared) -> CaseReport {
    CaseReport {
        name: case.case.name.clone(),
        description: case.case.description.clone(),
        line: case.case.line,
        outcome: Outcome::Skipped,
        differences: Vec::new(),
        message: Some(RAW.to_owned()),
        got: None,
        rules: Vec::new(),
        reads: Vec::new(),
        duration_us: 0,
    }
}
