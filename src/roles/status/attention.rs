//! What in the state of the system wants a look, and what to do about it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{ClickHouseStatus, NatsStatus};
use crate::config::Config;
use crate::contract::admin::WorkerStatus;
use crate::domain::EnforcementMode;

/// Parts that ClickHouse merges without trouble; many more mean that inserts are too small or too many.
const MANY_PARTS: u64 = 1_000;

/// One thing that wants a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attention {
    /// About what, in a word.
    pub about: &'static str,
    /// What is so, and the way out.
    pub message: String,
}

impl Attention {
    /// Whether something doesn't work, rather than may soon not.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        matches!(self.about, "clickhouse" | "workers" | "stream" | "sink" | "cluster" | "recording")
    }
}

/// Everything that wants a look, the worst first.
pub(super) fn find(
    config: &Config,
    nats: &NatsStatus,
    workers: &[WorkerStatus],
    clickhouse: &ClickHouseStatus,
    now: DateTime<Utc>,
) -> Vec<Attention> {
    let mut found = Found(Vec::new());
    if let Some(reason) = &clickhouse.unavailable {
        found.add(
            "clickhouse",
            format!("{}: {reason}; the stream holds what comes", clickhouse.url),
        );
    }
    of_workers(workers, &mut found);
    of_streams(config, nats, now, &mut found);
    of_coverage(clickhouse, &mut found);
    of_disks(clickhouse, &mut found);
    found.0
}

struct Found(Vec<Attention>);

impl Found {
    fn add(&mut self, about: &'static str, message: String) {
        self.0.push(Attention { about, message });
    }
}

fn of_workers(workers: &[WorkerStatus], found: &mut Found) {
    if workers.is_empty() {
        found.add("workers", "no worker reports: checks get no answer (sluicegate worker)".into());
    }
    let newest = workers.iter().map(|worker| worker.sequence).max().unwrap_or_default();
    for worker in workers {
        if worker.sequence < newest {
            found.add(
                "workers",
                format!("{} is behind in the policies (sluicegate policy workers)", worker.name),
            );
        }
        let audit = &worker.audit;
        if audit.waiting > 0 {
            let place = if audit.memory_only {
                "in memory alone, and end with it (setting audit.spill_folder)"
            } else {
                "in files"
            };
            found.add(
                "recording",
                format!("{} events of {} wait to be recorded, {place}", audit.waiting, worker.name),
            );
        }
        if audit.spill_max_bytes > 0 && audit.spilled_bytes > audit.spill_max_bytes / 5 * 4 {
            found.add(
                "recording",
                format!(
                    "the files of {} are {} % full; then it refuses checks (setting \
                     audit.spill_max_bytes)",
                    worker.name,
                    percent(audit.spilled_bytes, audit.spill_max_bytes)
                ),
            );
        }
        if audit.given_up > 0 {
            found.add(
                "recording",
                format!(
                    "{} gave up {} events that could never be stored (its log names them)",
                    worker.name, audit.given_up
                ),
            );
        }
        for problem in &worker.problems {
            found.add("policies", format!("{}: {problem}", worker.name));
        }
    }
    if let Some(off) = workers.iter().find(|worker| worker.enforcement != EnforcementMode::On) {
        found.add(
            "enforcement",
            format!(
                "enforcement is {}: nothing is denied (sluicegate enforcement on)",
                off.enforcement.as_str()
            ),
        );
    }
}

fn of_streams(config: &Config, nats: &NatsStatus, now: DateTime<Utc>, found: &mut Found) {
    let Some(audit) = &nats.audit else {
        found
            .add("stream", format!("there is no stream {}: a worker makes it", config.stream.name));
        return;
    };
    if let Some(limit) = audit.max_bytes {
        if audit.bytes > limit / 5 * 4 {
            found.add(
                "stream",
                format!(
                    "the audit stream is {} % full; once it is full, events are kept by the workers \
                     (setting stream.max_bytes)",
                    percent(audit.bytes, limit)
                ),
            );
        } else if nats.audit_expected_bytes.is_some_and(|expected| expected > limit) {
            found.add(
                "stream",
                "at this pace the audit stream is full before its oldest events expire (settings \
                 stream.max_bytes, stream.max_age)"
                    .into(),
            );
        }
    }
    for consumer in &audit.consumers {
        let waiting = consumer.pending.saturating_add(consumer.unacknowledged);
        if !consumer.active && waiting > 0 {
            // The consumer of a URL that is used no more waits as well.
            let role = if consumer.name.contains("alerter") {
                "alerter"
            } else if consumer.name.ends_with("-unchecked") {
                "worker"
            } else {
                "sink"
            };
            found.add(
                role,
                format!(
                    "nobody reads {} and {waiting} events wait for it (sluicegate {role})",
                    consumer.name
                ),
            );
        }
        // What is older than half the stream's memory and not read yet is in danger.
        let unread = audit.first.filter(|first| waiting > 0 && consumer.settled < first.sequence);
        if let (Some(first), Some(age)) = (unread, audit.max_age_seconds)
            && u64::try_from((now - first.time).num_seconds()).unwrap_or(0) > age / 2
        {
            found.add(
                "sink",
                format!(
                    "{} has events to read that are older than half of stream.max_age: past it they \
                     are lost",
                    consumer.name
                ),
            );
        }
    }
    for stream in [&nats.audit, &nats.dead_letters, &nats.policies].into_iter().flatten() {
        if !stream.lagging.is_empty() {
            found.add(
                "cluster",
                format!("{}: copies behind or away: {}", stream.name, stream.lagging.join(", ")),
            );
        }
    }
    let letters = nats.dead_letters.as_ref().map_or(0, |stream| stream.messages);
    if letters > 0 {
        found.add(
            "dead letters",
            format!("{letters} events could not be stored (sluicegate deadletter list)"),
        );
    }
}

fn of_coverage(clickhouse: &ClickHouseStatus, found: &mut Found) {
    let Some(calls) = clickhouse.coverage.as_ref().map(|coverage| &coverage.last_day) else {
        return;
    };
    let Some(percent) = calls.percent().filter(|_| calls.unchecked > 0) else { return };
    let causes: Vec<String> =
        calls.causes.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
    found.add(
        "coverage",
        format!(
            "{percent} of the calls of the last 24 hours were checked: {} went on or were refused without \
             an answer ({}), and {} of them would have been denied (sluicegate audit --unchecked)",
            calls.unchecked,
            causes.join(", "),
            calls.would_deny
        ),
    );
}

fn of_disks(clickhouse: &ClickHouseStatus, found: &mut Found) {
    for disk in &clickhouse.disks {
        if disk.total > 0 && disk.free < disk.total / 10 {
            found.add(
                "disk",
                format!(
                    "ClickHouse's disk {} has {} % left",
                    disk.name,
                    percent(disk.free, disk.total)
                ),
            );
        }
    }
    for table in clickhouse.tables.iter().filter(|table| table.parts > MANY_PARTS) {
        found.add(
            "parts",
            format!("{} has {} parts that wait to be merged", table.name, table.parts),
        );
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}
