//! `sluicegate test`: what policies are expected to say, and whether they do.

mod live;
mod show;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::Utc;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::Exit;
use crate::config::Config;
use crate::contract::RequestBounds;
use crate::engine::{CompileLimits, EvaluationLimits};
use crate::suites::run::{self, Tester, on_deep_stack};
use crate::suites::{Coverage, Filter, Mutation, Plan, PolicyMutation, Reading, Report, junit};

/// Time of one evaluation. The clock bounds what a worker does; here instructions and memory do,
/// so that a busy machine fails no test.
const PATIENCE: Duration = Duration::from_secs(10);

/// Test policies: suites of cases in YAML, and `test_` rules in Rego
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate test
  sluicegate test policies/large_uploads_tests.yaml --watch
  sluicegate test --filter 'budget*' --verbose
  sluicegate test --coverage-threshold 100 --junit target/policies.xml
  sluicegate test --mutate
  sluicegate test --live --nats-url nats://nats.lab.example:4222

A suite in YAML names its policy, found beside it or in the policies' folder:
  policy: large_uploads
  tests:
    - name: too_large
      action: upload
      resource: {megabytes: 101}
      expected: {decision: deny, deny_reasons: [upload_too_large]}

Exit code 0 means that all passed, 1 that a test failed or the coverage is too low, 3 that a suite
can't be run; see `sluicegate --help` for the others.")]
pub(crate) struct Test {
    /// Suites: .yaml files, .rego files with test_ rules, or folders that hold either [default: key
    /// policies.suites if that folder is there, else the policies' folder]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder of the policies that suites name [default: key policies.folder]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Only cases whose name contains a text, or matches a pattern with * and ?; `policy/name`
    /// picks one policy's
    #[arg(long, short, value_name = "NAME")]
    filter: Option<String>,
    /// List the cases that pass too
    #[arg(long, short)]
    verbose: bool,
    /// Also write the result as JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also say which lines of the policies the cases go through
    #[arg(long, conflicts_with = "live")]
    coverage: bool,
    /// Fail where fewer lines of any policy are covered; implies --coverage
    #[arg(long, value_name = "PERCENT", value_parser = percentage, conflicts_with = "live")]
    coverage_threshold: Option<f64>,
    /// Change the policies in small ways, one at a time, and say which changes no test notices
    #[arg(long, conflicts_with = "live")]
    mutate: bool,
    /// Run again whenever a suite or a policy changes, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
    /// Ask a worker by NATS instead of evaluating here: its stored policy, or the policy's file
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "stored")]
    live: Option<Live>,
}

/// Which policy a worker tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Live {
    /// The worker's own of that name
    Stored,
    /// The text of the file beside the suite
    File,
}

pub(crate) async fn run(command: Test, config: &Config, json: bool) -> anyhow::Result<Exit> {
    if command.watch {
        watch::run(&command, config, json).await
    } else {
        let plan = plan(&command, config)?;
        once(&command, config, json, plan).await
    }
}

/// Where suites are looked for.
fn paths(command: &Test, config: &Config, policies: &Path) -> Vec<PathBuf> {
    let suites = &config.policies.suites;
    if !command.paths.is_empty() {
        command.paths.clone()
    } else if suites.is_dir() {
        vec![suites.clone()]
    } else {
        vec![policies.to_owned()]
    }
}

/// Reads what is to be run.
fn plan(command: &Test, config: &Config) -> anyhow::Result<Plan> {
    let policies = command.policies.clone().unwrap_or_else(|| config.policies.folder.clone());
    let paths = paths(command, config, &policies);
    let filter = command.filter.as_deref().map(Filter::new).transpose();
    let filter = filter.map_err(|problem| anyhow::anyhow!("--filter: {problem}"))?;
    Ok(Plan::make(&Reading {
        paths,
        policies,
        filter,
        bounds: RequestBounds {
            bytes: size(config.worker.max_request_bytes),
            nesting: config.worker.max_nesting,
            batch: config.worker.max_batch,
        },
        limits: CompileLimits {
            bytes: size(config.limits.policy_bytes),
            nesting: config.limits.policy_nesting,
        },
        at: Utc::now(),
    }))
}

/// Runs it, shows it, and says how it went.
async fn once(command: &Test, config: &Config, json: bool, plan: Plan) -> anyhow::Result<Exit> {
    let report = match command.live {
        Some(which) => live::run(config, which, plan).await?,
        None => here(command, limits(config), plan).await?,
    };
    if let Some(file) = &command.junit {
        let xml = junit::xml(&report).context("the JUnit XML can't be made")?;
        std::fs::write(file, xml)
            .with_context(|| format!("--junit {} can't be written", file.display()))?;
    }
    if json {
        super::print::json(&report)?;
    } else {
        show::report(&report, command.verbose);
        if let Some(coverage) = &report.coverage {
            show::coverage(coverage, command.coverage_threshold);
        }
        if let Some(mutation) = &report.mutation {
            show::mutation(mutation);
        } else if command.mutate {
            show::no_mutation();
        }
        show::sum(&report);
    }
    let threshold = command.coverage_threshold.unwrap_or_default();
    let thin = report.coverage.iter().flatten().any(|policy| policy.percent < threshold);
    Ok(if !report.invalid.is_empty() {
        Exit::Refused
    } else if report.failed > 0 || thin {
        Exit::Failed
    } else {
        Exit::Ok
    })
}

/// Runs it on the engine in this process.
async fn here(command: &Test, limits: EvaluationLimits, plan: Plan) -> anyhow::Result<Report> {
    let wanted = command.coverage || command.coverage_threshold.is_some();
    let mutate = command.mutate;
    let work = move || -> std::io::Result<Report> {
        let begin = Instant::now();
        let mut report = Report::default();
        let mut tester = Tester::new(limits);
        let mut coverage = wanted.then(Coverage::default);
        for job in &plan.jobs {
            report.add(run::suite(job, &mut tester, coverage.as_mut()));
        }
        report.invalid.clone_from(&plan.invalid);
        report.hints.clone_from(&plan.hints);
        for job in &plan.rego {
            match job.report(&limits, None) {
                Ok(suite) => report.add(suite),
                Err(errors) => report.invalid.extend(errors),
            }
        }
        report.coverage = coverage.map(|coverage| coverage.policies());
        // A test that fails already notices nothing.
        if mutate && report.failed == 0 && report.invalid.is_empty() {
            report.mutation = Some(mutation(&plan, &limits)?);
        }
        report.duration = begin.elapsed();
        Ok(report)
    };
    let ran = tokio::task::spawn_blocking(move || on_deep_stack(&limits, work)).await?;
    ran.and_then(|report| report).context("the tests could not be run")
}

/// Runs the tests on mutants.
fn mutation(plan: &Plan, limits: &EvaluationLimits) -> std::io::Result<Vec<PolicyMutation>> {
    let mutation = Mutation::of(plan);
    let bar = bar(mutation.count(), "mutants");
    let found = mutation.run(limits, &|| bar.inc(1));
    bar.finish_and_clear();
    found
}

/// How far long work is, where somebody watches.
fn bar(count: usize, of: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX)).with_message(of);
    match ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}  {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn percentage(text: &str) -> Result<f64, String> {
    let number: f64 = text.trim_end_matches('%').parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=100.0).contains(&number) {
        Ok(number)
    } else {
        Err("must be from 0 to 100".to_owned())
    }
}

fn limits(config: &Config) -> EvaluationLimits {
    EvaluationLimits {
        instructions: config.limits.instructions,
        time: config.limits.time.max(PATIENCE),
        memory: config.limits.memory.as_u64(),
        reasons: config.limits.reasons,
        reason_bytes: size(config.limits.reason_bytes),
    }
}

fn size(size: bytesize::ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}
