//! `sluicegate bench check`: checks by so many clients at once, and the same requests to an echo.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::check_report::{Report, Run};
use super::figures::Counts;
use super::load::{self, Phase, TIMEOUT, Target};
use super::{run_name, show, workload};
use crate::bus::bench::Echo;
use crate::bus::{self, Connection, Subjects};
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::config::{Config, Nats};
use crate::contract::fault::ServiceError;
use crate::runtime::shutdown;

/// How often echo and checks take turns, so that a machine that slows down does so for both.
const ROUNDS: u32 = 2;

/// How fast workers answer checks, beside a bare NATS request
///
/// A closed loop: each client asks, waits for the answer, and asks again; with --rate an open one. The
/// same clients also ask
/// a bare echo, which answers as many bytes over the same NATS and does nothing else; both take
/// turns in one run, so their ratio holds on any machine.
///
/// Every check is a real one: workers record it, and sinks carry it to ClickHouse. The default
/// request goes by agent `bench` and a session of its own, `bench-…`, which the result names.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate bench check                              16 clients, 5 s each for checks and echo
  sluicegate bench check --concurrency 1,16,64        one after the other, in one table
  sluicegate bench check --duration 30s --json > check.json
  sluicegate bench check --request request.json --connections 8
  sluicegate bench check --workload mixed --rate 2000 --concurrency 256

Ctrl-C ends it with what was measured by then.")]
pub(crate) struct CheckBench {
    /// Clients at once; several numbers are measured one after the other
    #[arg(long, short, default_value = "16", value_name = "CLIENTS", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=10_000))]
    concurrency: Vec<u16>,
    /// How long checks are measured, and as long again the echo
    #[arg(long, short, default_value = "5s", value_name = "TIME", value_parser = show::positive_duration)]
    duration: Duration,
    /// How long each of them runs before that, uncounted
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = show::duration)]
    warmup: Duration,
    /// NATS connections that the clients share
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// Checks in one message; latency is then that of a message
    #[arg(long, default_value_t = 1, value_name = "CHECKS", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    batch: u16,
    /// Ask this instead of the default request: a file with a check as JSON
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Ask these, one after the other: `mixed`, which is 4,096 checks as of a fleet, or a file with a
    /// check on each line, or a decision as `sluicegate audit export --format jsonl` writes it
    #[arg(long, value_name = "mixed|FILE", conflicts_with = "request")]
    workload: Option<Workload>,
    /// Checks that are due each second, whatever the answers do: an open loop, whose latencies count
    /// from when a check was due. --concurrency is then how many may be under way
    #[arg(long, value_name = "PER SECOND", value_parser = rate)]
    rate: Option<f64>,
}

/// Where the checks come from.
#[derive(Clone, Debug)]
enum Workload {
    Mixed,
    File(PathBuf),
}

impl std::str::FromStr for Workload {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "mixed" { Self::Mixed } else { Self::File(text.into()) })
    }
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mixed => f.write_str("mixed"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

fn rate(text: &str) -> anyhow::Result<f64> {
    let rate: f64 = text.parse()?;
    if !(0.1..=1e6).contains(&rate) {
        bail!("must be from 0.1 to 1000000");
    }
    Ok(rate)
}

pub(crate) async fn run(command: CheckBench, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let stop = shutdown::on_signal()?;
    let name = run_name();
    let session = format!("bench-{name}");
    let subjects = Subjects::new(&config.nats.subject_prefix);
    let subject = if command.batch > 1 { subjects.check_batch() } else { subjects.check() };
    let check = Arc::new(Target::new(subject, payloads(&command, &name)?));

    // The echo answers with what a worker answered, so that both replies cost the same to carry
    // and to read.
    let answering = bus::connect_once(&config.nats, "bench-echo").await?;
    let sample = match sample(&answering, &check).await? {
        Ok(sample) => sample,
        Err(refusal) => {
            print::line(refusal);
            return Ok(Exit::Refused);
        }
    };
    let echo = Arc::new(check.same_of(subjects.bench(&name)));
    let responder = Echo::start(&answering, echo.subject.clone(), sample.clone()).await?;

    let mut report = Report {
        request_bytes: check.bytes(),
        reply_bytes: sample.len(),
        batch: command.batch,
        workload: command.workload.as_ref().map(ToString::to_string),
        rate_per_second: command.rate,
        rounds: ROUNDS,
        duration_seconds: command.duration.as_secs_f64(),
        warmup_seconds: command.warmup.as_secs_f64(),
        session_id: (command.request.is_none() && command.workload.is_none()).then_some(session),
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        interrupted: false,
        runs: Vec::new(),
    };
    let progress = progress(&command)?;
    let targets = [&echo, &check];
    for clients in &command.concurrency {
        let run = measure(&command, *clients, &config.nats, targets, &stop, &progress).await?;
        report.runs.push(run);
        if stop.is_cancelled() {
            report.interrupted = true;
            break;
        }
    }
    progress.finish_and_clear();
    drop(responder);
    if json {
        print::json(&report)?;
    } else {
        report.show();
    }
    Ok(if report.answered() { Exit::Ok } else { Exit::Failed })
}

/// Echo and checks in turns, with so many clients.
async fn measure(
    command: &CheckBench,
    clients: u16,
    nats: &Nats,
    targets: [&Arc<Target>; 2],
    stop: &CancellationToken,
    progress: &ProgressBar,
) -> anyhow::Result<Run> {
    let mut connections = Vec::new();
    for _ in 0..command.connections.min(clients) {
        connections.push(bus::connect_once(nats, "bench").await?);
    }
    let phase = phase(command, clients);
    let counts = [Counts::new()?, Counts::new()?].map(|counts| Arc::new(Mutex::new(counts)));
    for round in 1..=ROUNDS {
        for ((target, counts), what) in targets.iter().zip(&counts).zip(["echo", "check"]) {
            if stop.is_cancelled() {
                break;
            }
            progress.set_message(format!("{clients} clients, {what} {round} of {ROUNDS}"));
            load::run(&connections, target, phase, counts, stop, progress).await;
        }
    }
    let [echo, check] = counts.each_ref().map(|counts| {
        let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        (counts.speed(), counts.outcomes())
    });
    Ok(Run::new(clients, connections.len(), check, echo.0))
}

fn phase(command: &CheckBench, clients: u16) -> Phase {
    Phase {
        clients: usize::from(clients),
        warmup: command.warmup / ROUNDS,
        measured: command.duration / ROUNDS,
        // A message carries a batch.
        rate: command.rate.map(|rate| rate / f64::from(command.batch)),
    }
}

fn progress(command: &CheckBench) -> anyhow::Result<ProgressBar> {
    let phases: Duration = command
        .concurrency
        .iter()
        .map(|clients| phase(command, *clients).length() * ROUNDS * 2)
        .sum();
    show::progress(u64::try_from(phases.as_millis()).unwrap_or(u64::MAX))
}

/// One check before all others: whether anybody answers, and how; the inner error is a refusal in
/// the worker's words.
async fn sample(connection: &Connection, check: &Target) -> anyhow::Result<Result<Bytes, String>> {
    let answer = connection.request(&check.subject, check.payload().to_vec(), TIMEOUT).await?;
    if answer.error_code.is_none() {
        return Ok(Ok(answer.payload));
    }
    let fault: ServiceError =
        serde_json::from_slice(&answer.payload).context("the worker's refusal is unreadable")?;
    let fault = fault.error;
    if fault.code != 400 {
        bail!("the worker can't take checks now: {}", fault.message);
    }
    let place = if fault.field.is_empty() { String::new() } else { format!("{}: ", fault.field) };
    Ok(Err(format!("the worker refuses this request: {place}{}", fault.message)))
}

/// The messages to send, one after the other.
fn payloads(command: &CheckBench, name: &str) -> anyhow::Result<Vec<Bytes>> {
    let session = format!("bench-{name}");
    let checks = match (&command.request, &command.workload) {
        (Some(path), _) => {
            let said = || format!("--request {}", path.display());
            let text = std::fs::read(path).with_context(said)?;
            if command.batch == 1 {
                // As it is: the worker judges it, not we.
                return Ok(vec![text.into()]);
            }
            vec![serde_json::from_slice(&text).with_context(said)?]
        }
        (None, Some(Workload::Mixed)) => workload::mixed(&session),
        (None, Some(Workload::File(path))) => {
            workload::read(path).with_context(|| format!("--workload {}", path.display()))?
        }
        (None, None) => vec![default_check(&session)],
    };
    let message = |checks: Vec<Value>| Ok(serde_json::to_vec(&json!({"checks": checks}))?.into());
    if command.batch > 1 {
        // The last one is filled up with the first, so that all are of one size.
        let (batch, count) = (usize::from(command.batch), checks.len());
        let batches = count.div_ceil(batch);
        let mut endless = checks.iter().cloned().cycle();
        return (0..batches).map(|_| message(endless.by_ref().take(batch).collect())).collect();
    }
    checks.iter().map(|check| Ok(serde_json::to_vec(check)?.into())).collect()
}

/// About 400 bytes, as agents send them; two rules of `cost_control` deny it where that is active.
pub(super) fn default_check(session: &str) -> Value {
    json!({
        "action": "llm_call",
        "resource": {"model": "gpt-4", "provider": "openai", "prompt_length": 1234, "max_tokens": 2048},
        "context": {
            "agent": "bench", "user": "alice", "session_id": session, "run_id": "run-20260302-17",
            "step_id": "step-4", "project_id": "galaxy-survey", "estimated_cost_usd": 0.5,
            "budget": {"limit_usd": 5.0, "spent_usd": 4.9, "remaining_usd": 0.1},
            "task_priority": "low", "task": "summarise the abstracts of the last query"
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: CheckBench,
    }

    fn payloads(line: &[&str]) -> Vec<Value> {
        let line = std::iter::once("bench").chain(line.iter().copied());
        let command = Line::try_parse_from(line).unwrap().bench;
        let payloads = super::payloads(&command, "0123456789ab").unwrap();
        payloads.iter().map(|payload| serde_json::from_slice(payload).unwrap()).collect()
    }

    #[test]
    fn the_default_request_is_of_the_size_that_agents_send() {
        let one = payloads(&[]);
        assert_eq!(one.len(), 1);
        assert!((380..=440).contains(&one[0].to_string().len()), "{}", one[0]);
        let many = payloads(&["--batch", "3"]);
        assert_eq!(many[0]["checks"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_workload_is_sent_whole_also_in_batches() {
        assert_eq!(payloads(&["--workload", "mixed"]).len(), 4_096);
        let batches = payloads(&["--workload", "mixed", "--batch", "100"]);
        assert_eq!(batches.len(), 41);
        assert!(batches.iter().all(|batch| batch["checks"].as_array().unwrap().len() == 100));
    }
}
