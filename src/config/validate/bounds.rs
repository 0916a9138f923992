//! Bounds of single numbers: above them somebody forgot a unit, or would wait for ever.

use std::time::Duration;

use bytesize::ByteSize;

use super::Findings;
use crate::config::model::Config;
use crate::config::value::{show_duration, show_size};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const PIB: u64 = 1 << 50;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// ClickHouse computes the end of a row's life as a `DateTime`, which ends in 2106: beyond it
/// the sum wraps around and the row is deleted at once.
const LONGEST_RETENTION: Duration = Duration::from_secs(50 * 365 * 86_400);

pub(super) fn check(c: &Config, findings: &mut Findings) {
    counts(c, findings);
    sizes(c, findings);
    durations(c, findings);

    let replicas = c.stream.replicas;
    findings.require(
        matches!(replicas, 1 | 3 | 5),
        "stream.replicas",
        &format!("is {replicas}"),
        "a NATS cluster keeps 1, 3 or 5 copies",
    );
    let multiplier = c.backoff.multiplier;
    findings.require(
        (1.0..=100.0).contains(&multiplier),
        "backoff.multiplier",
        &format!("is {multiplier}"),
        "a wait can't shrink: between 1.0 and 100.0",
    );
}

fn counts(c: &Config, findings: &mut Findings) {
    for (key, value, least, most) in [
        ("nats.subscription_capacity", c.nats.subscription_capacity, 1, 10_000_000),
        ("audit.max_in_flight", c.audit.max_in_flight, 1, 1_000_000),
        ("audit.retry_queue", c.audit.retry_queue, 1, 10_000_000),
        ("unchecked.max_in_flight", c.unchecked.max_in_flight, 1, 10_000),
        ("chain.rows", c.chain.rows, 1, 1_000_000),
        ("alerter.max_in_flight", c.alerter.max_in_flight, 1, 10_000),
        ("alerter.rate_limit", c.alerter.rate_limit, 1, 1_000_000),
        ("worker.evaluation_threads", c.worker.evaluation_threads, 0, 1_024),
        ("worker.queue", c.worker.queue, 1, 1_000_000),
        ("worker.max_batch", c.worker.max_batch, 1, 100_000),
        // The JSON parser's own limit is 128, and the event wraps the request in a few levels.
        ("worker.max_nesting", c.worker.max_nesting, 1, 120),
        ("limits.instructions", c.limits.instructions, 100, 100_000_000),
        ("limits.policy_nesting", c.limits.policy_nesting, 1, 32),
        ("limits.reasons", c.limits.reasons, 1, 10_000),
        ("policies.history", c.policies.history, 1, 64),
        ("policies.max_policies", c.policies.max_policies, 1, 1_000_000),
        ("policies.change_attempts", c.policies.change_attempts, 1, 10_000),
        ("worker.remedies_per_second", c.worker.remedies_per_second, 0, 100_000),
        ("worker.remembered", c.worker.remembered, 0, 10_000_000),
        ("worker.max_admin", c.worker.max_admin, 1, 1_024),
        ("sink.batch_rows", c.sink.batch_rows, 1, 1_000_000),
        ("http.max_batch", c.http.max_batch, 1, 100_000),
        ("http.max_connections", c.http.max_connections, 1, 1_000_000),
        ("http.max_exports", c.http.max_exports, 1, 1_000),
        ("http.max_tails", c.http.max_tails, 1, 100_000),
        ("http.rate_limit", c.http.rate_limit, 0, 10_000_000),
        ("http.rate_burst", c.http.rate_burst, 1, 10_000_000),
    ] {
        findings.require(
            (least..=most).contains(&value),
            key,
            &format!("is {value}"),
            &format!("between {least} and {most}"),
        );
    }
}

fn sizes(c: &Config, findings: &mut Findings) {
    for (key, ByteSize(value), least, most) in [
        ("stream.max_bytes", c.stream.max_bytes, MIB, PIB),
        // NATS itself takes no message above 64 MiB.
        ("stream.max_message_size", c.stream.max_message_size, KIB, 64 * MIB),
        ("stream.dead_letter_max_bytes", c.stream.dead_letter_max_bytes, MIB, PIB),
        ("audit.retry_queue_bytes", c.audit.retry_queue_bytes, MIB, 64 * GIB),
        ("audit.spill_max_bytes", c.audit.spill_max_bytes, 64 * MIB, PIB),
        ("worker.max_request_bytes", c.worker.max_request_bytes, KIB, 32 * MIB),
        ("limits.memory", c.limits.memory, MIB, 4 * GIB),
        ("limits.policy_bytes", c.limits.policy_bytes, KIB, 8 * MIB),
        ("limits.reason_bytes", c.limits.reason_bytes, 16, 64 * KIB),
        ("policies.max_bytes", c.policies.max_bytes, MIB, 64 * GIB),
        ("sink.batch_bytes", c.sink.batch_bytes, 64 * KIB, GIB),
        ("http.max_body", c.http.max_body, KIB, 64 * MIB),
        ("http.unchecked_bytes", c.http.unchecked_bytes, KIB, 64 * GIB),
    ] {
        findings.require(
            (least..=most).contains(&value),
            key,
            &format!("is {}", show_size(value)),
            &format!("between {} and {}", show_size(least), show_size(most)),
        );
    }
}

fn durations(c: &Config, findings: &mut Findings) {
    for (key, value, least, most) in [
        ("nats.connection_timeout", c.nats.connection_timeout, MS, HOUR),
        ("nats.request_timeout", c.nats.request_timeout, MS, HOUR),
        ("nats.ping_interval", c.nats.ping_interval, 100 * MS, HOUR),
        ("stream.max_age", c.stream.max_age, SECOND, LONGEST_RETENTION),
        ("stream.duplicate_window", c.stream.duplicate_window, SECOND, 7 * DAY),
        ("audit.acknowledge_timeout", c.audit.acknowledge_timeout, MS, HOUR),
        ("audit.checkpoint", c.audit.checkpoint, 100 * MS, HOUR),
        ("unchecked.max_age", c.unchecked.max_age, SECOND, 366 * DAY),
        ("unchecked.ack_wait", c.unchecked.ack_wait, 100 * MS, HOUR),
        ("chain.interval", c.chain.interval, 100 * MS, HOUR),
        ("alerter.timeout", c.alerter.timeout, MS, HOUR),
        ("alerter.give_up", c.alerter.give_up, MS, 7 * DAY),
        ("alerter.dedup_window", c.alerter.dedup_window, MS, DAY),
        ("alerter.rate_window", c.alerter.rate_window, 100 * MS, DAY),
        ("limits.time", c.limits.time, MS / 10, 10 * SECOND),
        ("policies.reconcile", c.policies.reconcile, 100 * MS, HOUR),
        ("policies.report", c.policies.report, 100 * MS, HOUR),
        ("clickhouse.connection_timeout", c.clickhouse.connection_timeout, MS, HOUR),
        ("clickhouse.insert_timeout", c.clickhouse.insert_timeout, MS, HOUR),
        ("clickhouse.query_timeout", c.clickhouse.query_timeout, MS, HOUR),
        ("sink.batch_age", c.sink.batch_age, MS, HOUR),
        ("sink.ack_wait", c.sink.ack_wait, 100 * MS, HOUR),
        ("sink.takeover", c.sink.takeover, 100 * MS, HOUR),
        ("retention.decisions", c.retention.decisions, DAY, LONGEST_RETENTION),
        ("retention.violations", c.retention.violations, DAY, LONGEST_RETENTION),
        ("retention.outcomes", c.retention.outcomes, DAY, LONGEST_RETENTION),
        ("http.request_timeout", c.http.request_timeout, MS, HOUR),
        ("http.idle_timeout", c.http.idle_timeout, 100 * MS, HOUR),
        ("http.check_timeout", c.http.check_timeout, MS, HOUR),
        ("backoff.initial", c.backoff.initial, MS, HOUR),
        ("backoff.max", c.backoff.max, MS, HOUR),
        ("shutdown.drain", c.shutdown.drain, MS, HOUR),
        ("embedded.ready_timeout", c.embedded.ready_timeout, MS, HOUR),
    ] {
        findings.require(
            (least..=most).contains(&value),
            key,
            &format!("is {}", show_duration(value)),
            &format!("between {} and {}", show_duration(least), show_duration(most)),
        );
    }
}
