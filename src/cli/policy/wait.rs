//! `--wait`: until all live workers have a change in force.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::cli::ask::Desk;
use crate::cli::exit::Exit;
use crate::cli::print::{self, GOOD, WARN, styled};
use crate::contract::admin::{Verb, WorkerList};

/// Between two looks at the workers.
const LOOK: Duration = Duration::from_millis(25);

/// Whether to wait.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct WaitFlag {
    /// Return when all live workers have it in force; exit code 4 when one doesn't within the time,
    /// 5 seconds if none is given
    #[arg(
        long, value_name = "TIME", num_args = 0..=1, require_equals = true,
        default_missing_value = "5s", value_parser = humantime::parse_duration
    )]
    wait: Option<Duration>,
}

/// Who has a change in force, and who hasn't yet.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Waited {
    /// Workers that have it in force.
    pub(crate) in_force: Vec<String>,
    /// Workers that haven't, with the sequence that they are at.
    pub(crate) behind: Vec<Behind>,
    /// The sequence they should be at.
    pub(crate) sequence: u64,
}

/// A worker that hasn't a change in force.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Behind {
    worker: String,
    sequence: u64,
    problems: Vec<String>,
}

impl WaitFlag {
    /// Waits if it was asked to, until all live workers are at a sequence.
    pub(crate) async fn until(self, desk: &Desk, sequence: u64) -> anyhow::Result<Option<Waited>> {
        match self.wait {
            Some(time) => reached(desk, sequence, time).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Waits until all live workers are at a sequence, or the time is over.
pub(crate) async fn reached(desk: &Desk, sequence: u64, time: Duration) -> anyhow::Result<Waited> {
    let start = Instant::now();
    loop {
        let list: WorkerList = desk.admin(Verb::Workers, &serde_json::json!({})).await?;
        let waited = Waited::of(list, sequence);
        if waited.complete() || start.elapsed() >= time {
            return Ok(waited);
        }
        tokio::time::sleep(LOOK.min(time)).await;
    }
}

impl Waited {
    fn of(list: WorkerList, sequence: u64) -> Self {
        let mut waited = Self { sequence, ..Self::default() };
        for worker in list.workers {
            if worker.sequence >= sequence {
                waited.in_force.push(worker.name);
            } else {
                let (worker, sequence, problems) = (worker.name, worker.sequence, worker.problems);
                waited.behind.push(Behind { worker, sequence, problems });
            }
        }
        waited
    }

    /// Somebody has it, and nobody lacks it.
    fn complete(&self) -> bool {
        self.behind.is_empty() && !self.in_force.is_empty()
    }

    /// How a command ends that waited.
    pub(crate) fn exit(&self) -> Exit {
        if self.complete() { Exit::Ok } else { Exit::Unavailable }
    }

    /// Says it to people.
    pub(crate) fn show(&self) {
        if self.complete() {
            let count = self.in_force.len();
            let workers = if count == 1 { "worker" } else { "workers" };
            print::line(format!("{} on {count} {workers}", styled(GOOD, "in force")));
            return;
        }
        if self.in_force.is_empty() && self.behind.is_empty() {
            print::line(styled(WARN, "no worker reports what it has in force"));
        }
        for behind in &self.behind {
            let problems = match behind.problems.as_slice() {
                [] => String::new(),
                problems => format!(": {}", problems.join("; ")),
            };
            print::line(format!(
                "{}  {} is at sequence {} of {}{problems}",
                styled(WARN, "not in force"),
                behind.worker,
                behind.sequence,
                self.sequence
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::contract::admin::WorkerStatus;
    use crate::domain::EnforcementMode;

    fn list(workers: &[(&str, u64)]) -> WorkerList {
        let status = |(name, sequence): &(&str, u64)| WorkerStatus {
            name: (*name).to_owned(),
            version: String::new(),
            revision: String::new(),
            sequence: *sequence,
            policies: 0,
            taking_part: 0,
            enforcement: EnforcementMode::On,
            problems: Vec::new(),
            started_at: Utc::now(),
            reported_at: Utc::now(),
            audit: crate::contract::AuditStatus::default(),
        };
        WorkerList { workers: workers.iter().map(status).collect() }
    }

    #[test]
    fn all_live_workers_must_be_there_and_there_must_be_one() {
        assert_eq!(Waited::of(list(&[("a", 5), ("b", 6)]), 5).exit(), Exit::Ok);
        let waited = Waited::of(list(&[("a", 5), ("b", 4)]), 5);
        assert_eq!(waited.exit(), Exit::Unavailable);
        assert_eq!((waited.in_force.as_slice(), waited.behind.len()), (&["a".to_owned()][..], 1));
        assert_eq!(waited.behind[0].worker, "b");
        assert_eq!(Waited::of(list(&[]), 5).exit(), Exit::Unavailable);
    }
}
