//! `sluicegate bench eval`: what evaluation alone costs, in this process.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use chrono::Utc;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::eval_report::{Case, Report, Side};
use super::{show, workload};
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::config::Config;
use crate::contract::{RequestBounds, parse_check};
use crate::domain::{FailMode, Policy, Status, combine, input};
use crate::engine::{
    Check, CompileLimits, EngineError, Entry, EvaluationLimits, Evaluator, PolicySet, RuleByRule,
    compile,
};
use crate::roles::worker;
use crate::runtime::shutdown;

/// Those that are active by default: the ones that peers were measured with.
const POLICIES: [&str; 4] = ["default", "cost_control", "data_privacy", "rate_limiting"];
/// Length of a turn.
const TURN: Duration = Duration::from_millis(50);
/// Checks between two looks at the clock.
const TOGETHER: usize = 16;

/// What evaluation alone costs, without NATS
///
/// Decides checks in this process as a worker does, from the request's bytes to the combined
/// decision, without recording and without a reply. The baseline is regorus' register VM, warm and
/// without limits, which parses the same input and evaluates the policies' rules one after the other.
/// Both take turns.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate bench eval
  sluicegate bench eval --policies cost_control --duration 10s
  sluicegate bench eval --request request.json --json")]
pub(crate) struct EvalBench {
    /// Policies of the folder policies.folder, evaluated with the parameters that they have there
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values_t = POLICIES.map(ToOwned::to_owned))]
    policies: Vec<String>,
    /// How long each side is measured with each workload
    #[arg(long, short, default_value = "3s", value_name = "TIME", value_parser = show::positive_duration)]
    duration: Duration,
    /// Evaluate this only: a file with a check as JSON
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
}

pub(crate) async fn run(command: EvalBench, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let stop = shutdown::on_signal()?;
    let policies = read(&command, config)?;
    let mut workloads = vec![("one", vec![one(command.request.as_deref())?])];
    if command.request.is_none() {
        workloads.push(("mixed", workload::mixed("bench-eval")));
    }
    let length = u64::try_from(command.duration.as_millis())?.saturating_mul(2);
    let progress = show::progress(length.saturating_mul(u64::try_from(workloads.len())?))?;
    let limits = worker::evaluation_limits(config);
    let compile_limits = worker::compile_limits(config);
    let bounds = bounds(config);
    let remembered = config.worker.remembered;
    let moved = progress.clone();
    let duration = command.duration;
    let work = move || -> anyhow::Result<Vec<Case>> {
        let mut cases = Vec::new();
        for (name, requests) in &workloads {
            moved.set_message(format!("{name}: {} requests", requests.len()));
            let measuring = Measuring {
                limits,
                compile: compile_limits,
                remembered,
                bounds,
                duration,
                stop: &stop,
                progress: &moved,
            };
            cases.push(measuring.case(name, requests, &policies)?);
        }
        Ok(cases)
    };
    let cases = tokio::task::spawn_blocking(move || on_deep_stack(&limits, work)).await???;
    progress.finish_and_clear();
    let report = Report::new(command.policies, duration, cases);
    if json {
        print::json(&report)?;
    } else {
        report.show();
    }
    Ok(if report.measured() { Exit::Ok } else { Exit::Failed })
}

/// Evaluations recurse on the thread's stack.
fn on_deep_stack<T: Send>(
    limits: &EvaluationLimits,
    work: impl FnOnce() -> T + Send,
) -> anyhow::Result<T> {
    crate::suites::run::on_deep_stack(limits, work).context("no thread to evaluate on")
}

fn bounds(config: &Config) -> RequestBounds {
    RequestBounds {
        bytes: crate::roles::bytes(config.worker.max_request_bytes),
        nesting: config.worker.max_nesting,
        batch: config.worker.max_batch,
    }
}

/// The requests as bytes: one, as the default of `bench check`, or the one given.
fn one(file: Option<&Path>) -> anyhow::Result<Value> {
    let Some(path) = file else { return Ok(super::check::default_check("bench-eval")) };
    let said = || format!("--request {}", path.display());
    serde_json::from_slice(&std::fs::read(path).with_context(said)?).with_context(said)
}

/// The policies of the folder that were named, active.
fn read(command: &EvalBench, config: &Config) -> anyhow::Result<Vec<Policy>> {
    let mut config = config.clone();
    config.worker.remedies_per_second = 0;
    let folder = worker::admit_folder(&config)?;
    let mut policies = Vec::with_capacity(command.policies.len());
    for name in &command.policies {
        let entry = folder.entries.iter().find(|entry| entry.policy().name == *name);
        let Some(entry) = entry else {
            let refused = folder.refused.iter().find(|(refused, _)| refused == name);
            match refused {
                Some((_, why)) => bail!("--policies {name}: {why}"),
                None => bail!(
                    "--policies {name}: there is no {name}.rego in {} (setting policies.folder)",
                    config.policies.folder.display()
                ),
            }
        };
        policies.push(Policy { status: Status::Active, ..entry.policy().clone() });
    }
    Ok(policies)
}

/// What one workload is measured with.
struct Measuring<'a> {
    limits: EvaluationLimits,
    compile: CompileLimits,
    remembered: usize,
    bounds: RequestBounds,
    duration: Duration,
    stop: &'a CancellationToken,
    progress: &'a ProgressBar,
}

impl Measuring<'_> {
    fn case(&self, name: &str, requests: &[Value], policies: &[Policy]) -> anyhow::Result<Case> {
        let bytes: Vec<Vec<u8>> =
            requests.iter().map(serde_json::to_vec).collect::<Result<_, _>>()?;
        let mut ours = self.ours(policies)?;
        let pairs: Vec<(&str, &Map<String, Value>)> =
            policies.iter().map(|policy| (&*policy.rego, &policy.parameters)).collect();
        let mut rules = RuleByRule::new(&pairs)?;
        let entry_points = rules.rules();
        // What the baseline parses is what our policies see.
        let inputs: Vec<String> =
            bytes.iter().map(|body| self.input(body)).collect::<anyhow::Result<_>>()?;
        let mut baseline = |number: usize| -> anyhow::Result<()> {
            let input = inputs.get(number % inputs.len()).map_or("", String::as_str);
            rules.evaluate(input).map(|_| ()).map_err(|error| anyhow::anyhow!(error))
        };
        let mut ours = |number: usize| -> anyhow::Result<()> {
            let body = bytes.get(number % bytes.len()).map_or(&[][..], Vec::as_slice);
            ours(body)
        };
        let (mut base, mut own) = (Side::new()?, Side::new()?);
        // Warm, uncounted.
        self.turn(&mut baseline, &mut Side::new()?)?;
        self.turn(&mut ours, &mut Side::new()?)?;
        while own.took < self.duration && !self.stop.is_cancelled() {
            self.turn(&mut baseline, &mut base)?;
            self.turn(&mut ours, &mut own)?;
        }
        let mean = bytes.iter().map(Vec::len).sum::<usize>() / bytes.len().max(1);
        Ok(Case::new(name, requests.len(), mean, entry_points, &own, &base))
    }

    /// Counts evaluations for the length of a turn.
    fn turn(
        &self,
        evaluate: &mut impl FnMut(usize) -> anyhow::Result<()>,
        side: &mut Side,
    ) -> anyhow::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < TURN {
            let from = Instant::now();
            for _ in 0..TOGETHER {
                evaluate(side.next())?;
            }
            side.note(from.elapsed(), TOGETHER);
        }
        self.progress.inc(u64::try_from(TURN.as_millis()).unwrap_or_default());
        Ok(())
    }

    fn input(&self, body: &[u8]) -> anyhow::Result<String> {
        let request =
            parse_check(body, &self.bounds).map_err(|fault| anyhow::anyhow!("{fault}"))?;
        Ok(serde_json::to_string(&input::build(&request, Utc::now()))?)
    }

    /// Decides a request's bytes as a worker does.
    fn ours(&self, policies: &[Policy]) -> anyhow::Result<impl FnMut(&[u8]) -> anyhow::Result<()>> {
        let entries = policies.iter().map(|policy| {
            let file = format!("{}.rego", policy.name);
            let compiled = compile(&file, &policy.rego, &self.compile)?;
            Ok(Entry::new(policy.clone(), Ok(compiled)))
        });
        let set = PolicySet::new(entries.collect::<Result<Vec<_>, EngineError>>()?)?;
        let mut evaluator = Evaluator::remembering(self.limits, self.remembered);
        let bounds = self.bounds;
        let mut calls = 0;
        Ok(move |body: &[u8]| {
            let request = parse_check(body, &bounds).map_err(|fault| anyhow::anyhow!("{fault}"))?;
            let identity = request.identity();
            let input = input::build(&request, Utc::now());
            calls += 1;
            // Nobody's count of calls stands still.
            let seen = calls % 1_000;
            let check = Check {
                request: &request,
                identity: &identity,
                input: &input,
                usage: Some(&move |_, _| Some(seen)),
                fail_mode: FailMode::Open,
                shadow: false,
            };
            let outcomes = evaluator.evaluate(&set, &check);
            let decision = combine(outcomes, None);
            if decision.error {
                bail!("a policy failed: {}", decision.error_message);
            }
            std::hint::black_box(decision);
            Ok(())
        })
    }
}
