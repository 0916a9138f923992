//! `sluicegate status`: how the whole system stands.

use bytesize::ByteSize;
use chrono::{DateTime, Utc};
use clap::Args;
use comfy_table::{Cell, CellAlignment, Color};

use super::exit::Exit;
use super::print::{self, BAD, DIM, GOOD, STRONG, WARN, styled};
use crate::bus;
use crate::bus::overview::StreamOverview;
use crate::config::Config;
use crate::contract::admin::WorkerStatus;
use crate::domain::EnforcementMode;
use crate::roles::status::{ClickHouseStatus, NatsStatus, Status, status};

/// Show how the whole system stands: workers, streams, sinks, tables, and what wants a look
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate status
  sluicegate status --json | jq .attention

Exit code 0 means that nothing wants a look, 1 that something does, 4 that NATS doesn't answer.")]
pub(crate) struct StatusCommand {}

pub(crate) async fn run(
    _command: &StatusCommand,
    config: &Config,
    json: bool,
) -> anyhow::Result<Exit> {
    let connection = bus::connect_once(&config.nats, "status").await?;
    let status = Box::pin(status(config, &connection)).await?;
    let exit = if status.attention.is_empty() { Exit::Ok } else { Exit::Failed };
    if json {
        print::json(&status)?;
        return Ok(exit);
    }
    workers(&status.workers);
    streams(&status);
    tables(&status.clickhouse);
    print::line("");
    if status.attention.is_empty() {
        print::line(styled(GOOD, "all is well"));
    }
    for attention in &status.attention {
        let about = styled(if attention.is_bad() { BAD } else { WARN }, attention.about);
        print::line(format!("{about}  {}", attention.message));
    }
    Ok(exit)
}

fn workers(workers: &[WorkerStatus]) {
    print::line(styled(STRONG, "Workers"));
    if workers.is_empty() {
        print::line("  none reports");
        return;
    }
    let mut table = print::table(&[
        "name",
        "policies",
        "enforcement",
        "revision",
        "recorded",
        "waiting",
        "if it can't record",
        "up since (UTC)",
    ]);
    right(&mut table, &[4, 5]);
    for worker in workers {
        let enforcement = Cell::new(worker.enforcement.as_str());
        let revision: String = worker.revision.chars().take(12).collect();
        table.add_row([
            Cell::new(&worker.name),
            Cell::new(format!("{} of {}", worker.taking_part, worker.policies)),
            match worker.enforcement {
                EnforcementMode::On => enforcement.fg(Color::Green),
                _ => enforcement.fg(Color::Yellow),
            },
            Cell::new(revision),
            Cell::new(worker.audit.recorded),
            match worker.audit.waiting {
                0 => Cell::new(0),
                waiting => Cell::new(waiting).fg(Color::Yellow),
            },
            Cell::new(&worker.audit.on_unavailable),
            Cell::new(minute(worker.started_at)),
        ]);
    }
    print::line(table);
}

fn streams(status: &Status) {
    let NatsStatus { url, audit, audit_expected_bytes, dead_letters, policies } = &status.nats;
    print::line(format!("\n{} {}", styled(STRONG, "NATS"), styled(DIM, url)));
    let mut table = print::table(&[
        "stream",
        "messages",
        "bytes",
        "of",
        "oldest (UTC)",
        "copies",
        "at this pace",
    ]);
    right(&mut table, &[1, 2, 3]);
    for (stream, expected) in
        [(audit, *audit_expected_bytes), (dead_letters, None), (policies, None)]
    {
        let Some(stream) = stream else { continue };
        table.add_row(stream_row(stream, expected));
    }
    print::line(table);
    let consumers: Vec<_> =
        [audit, policies].into_iter().flatten().flat_map(|stream| &stream.consumers).collect();
    if consumers.is_empty() {
        print::line("  nobody has read the stream yet");
        return;
    }
    let mut table = print::table(&["reader", "waiting", "unacknowledged", "now"]);
    right(&mut table, &[1, 2]);
    for consumer in consumers {
        let now = if consumer.active {
            Cell::new("reads").fg(Color::Green)
        } else {
            Cell::new("nobody reads").fg(Color::Yellow)
        };
        let name = Cell::new(&consumer.name);
        let counts = [consumer.pending, consumer.unacknowledged].map(Cell::new);
        let [pending, unacknowledged] = counts;
        table.add_row([name, pending, unacknowledged, now]);
    }
    print::line(table);
}

fn stream_row(stream: &StreamOverview, expected: Option<u64>) -> Vec<Cell> {
    let limit = stream.max_bytes.map_or_else(|| "–".into(), size);
    let age = stream.max_age_seconds.map(|age| age / 86_400).filter(|days| *days > 0);
    let pace = match (expected, age) {
        (Some(bytes), Some(days)) => format!("{} after {days} days", size(bytes)),
        _ => String::new(),
    };
    let copies = match stream.lagging.len() {
        0 => stream.replicas.to_string(),
        lagging => format!("{}, {lagging} behind", stream.replicas),
    };
    vec![
        Cell::new(&stream.name),
        Cell::new(stream.messages),
        Cell::new(size(stream.bytes)),
        Cell::new(limit),
        Cell::new(stream.first.map(|first| minute(first.time)).unwrap_or_default()),
        Cell::new(copies),
        Cell::new(pace),
    ]
}

fn tables(clickhouse: &ClickHouseStatus) {
    let ClickHouseStatus { url, version, .. } = clickhouse;
    print::line(format!(
        "\n{} {}",
        styled(STRONG, "ClickHouse"),
        styled(DIM, format!("{version} {url}"))
    ));
    if let Some(reason) = &clickhouse.unavailable {
        print::line(format!("  {reason}"));
        return;
    }
    let mut table =
        print::table(&["table", "rows", "on disk", "oldest (UTC)", "last 24 h", "growth", "kept"]);
    right(&mut table, &[1, 2, 4, 5]);
    for found in &clickhouse.tables {
        let kept = match found.name.as_str() {
            "policy_decisions" => days(clickhouse.keep_decisions_seconds),
            "policy_violations" => days(clickhouse.keep_violations_seconds),
            "policy_outcomes" => days(clickhouse.keep_outcomes_seconds),
            _ => "for ever".to_owned(),
        };
        let growth = found.bytes_per_day().map(|bytes| format!("{}/day", size(bytes)));
        table.add_row([
            Cell::new(&found.name),
            Cell::new(found.rows),
            Cell::new(size(found.bytes)),
            Cell::new(found.span.map(|(oldest, _)| minute(oldest)).unwrap_or_default()),
            Cell::new(found.rows_last_day.map(|rows| rows.to_string()).unwrap_or_default()),
            Cell::new(growth.unwrap_or_default()),
            Cell::new(kept),
        ]);
    }
    print::line(table);
    if let Some(coverage) = &clickhouse.coverage {
        for (span, calls) in
            [("last hour", &coverage.last_hour), ("last 24 hours", &coverage.last_day)]
        {
            let Some(percent) = calls.percent() else { continue };
            print::line(format!(
                "coverage, {span}: {percent}, {} checked, {} unchecked",
                calls.checked, calls.unchecked
            ));
        }
    }
    for link in &clickhouse.chains {
        let signed = if link.signature.is_empty() { "unsigned" } else { "signed" };
        let digest: String = link.digest.chars().take(16).collect();
        print::line(format!(
            "chain {}: link {}, {signed}, {digest}…, {} UTC",
            link.chain,
            link.number,
            minute(link.sealed_at)
        ));
    }
    for disk in &clickhouse.disks {
        print::line(format!(
            "disk {}: {} free of {}",
            disk.name,
            size(disk.free),
            size(disk.total)
        ));
    }
}

fn right(table: &mut comfy_table::Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

fn days(seconds: u64) -> String {
    format!("{} days", seconds / 86_400)
}
