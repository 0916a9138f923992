//! `sluicegate audit verify`: the certificate.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::time;
use crate::bus;
use crate::cli::exit::Exit;
use crate::cli::print::{self, styled};
use crate::config::Config;
use crate::roles::verify::{
    ChainReport, Finding, Report, Scope, Signatures, Step, StreamReport, Verdict, WorkersReport,
    verify,
};
use crate::store::Store;
use crate::store::chain::{Chained, Link};

/// How long one question to ClickHouse may take here: it may be about years of rows.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Findings that are printed one by one; `--json` has more.
const PRINTED: usize = 50;

/// Verify the audit: chains, rows, stream and workers' numbers; prints a certificate
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate audit verify                                    everything there is
  sluicegate audit verify --since 24h
  sluicegate audit verify --contents                         also compare rows with the events in the stream
  sluicegate audit anchor --json > anchor.json && sluicegate audit verify --anchor anchor.json

Ends with 0 when everything that was looked at is as it should be, with 1 when something is not, or when
no row of the span is sealed.")]
pub(crate) struct Verify {
    /// Rows from here on: 30s, 15m, 2h, 7d ago, or a time such as 2026-03-02T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// Rows before
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// Compare what rows say with the bodies of the events that the stream still holds
    #[arg(long)]
    contents: bool,
    /// What `sluicegate audit anchor --json` printed: the chains must contain these links; may be repeated
    #[arg(long, value_name = "FILE")]
    anchor: Vec<PathBuf>,
}

pub(super) async fn run(command: Verify, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let mut anchors = Vec::new();
    for path in &command.anchor {
        let read = || format!("the anchor {}", path.display());
        let text = std::fs::read_to_string(path).with_context(read)?;
        let kept: super::anchor::Anchors = serde_json::from_str(&text).with_context(read)?;
        if let Some(other) = kept.anchors.iter().find(|link| !is_known(&link.chain)) {
            bail!("{}: there is no chain `{}`", path.display(), other.chain);
        }
        anchors.extend(kept.anchors);
    }
    let scope =
        Scope { since: command.since, until: command.until, contents: command.contents, anchors };
    let mut clickhouse = config.clickhouse.clone();
    clickhouse.query_timeout = clickhouse.query_timeout.max(PATIENCE);
    let store = Store::connect(&clickhouse);
    // Fails within seconds where nobody is there.
    Store::connect(&config.clickhouse).ping().await?;
    let connection = bus::connect_once(&config.nats, "verify").await?;
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg:28} {wide_bar:.green} {pos}/{len} {eta}")
    {
        bar.set_style(style);
    }
    let show = |step: Step| match step {
        Step::Links { chain, done, all } => {
            bar.set_message(format!("links of {chain}"));
            bar.set_length(all);
            bar.set_position(done);
        }
        Step::Events { done, all } => {
            bar.set_message("events of the stream");
            bar.set_length(all);
            bar.set_position(done);
        }
        Step::Numbers => bar.set_message("numbers of the workers"),
    };
    let report = Box::pin(verify(&connection, &store, config, &scope, &show)).await;
    bar.finish_and_clear();
    let report = report?;
    if json {
        print::json(&report)?;
    } else {
        certificate(&report);
    }
    Ok(if report.verified { Exit::Ok } else { Exit::Failed })
}

fn certificate(report: &Report) {
    let span = match (report.since, report.until) {
        (None, None) => "everything there is".to_owned(),
        (since, until) => format!(
            "rows from {} to {}",
            since.map_or_else(|| "the beginning".to_owned(), at),
            until.map_or_else(|| "now".to_owned(), at)
        ),
    };
    print::line(format!("Certificate of {}, about {span}", at(report.checked_at)));
    for chain in &report.chains {
        print::line("");
        show_chain(chain);
    }
    print::line("");
    show_stream(&report.stream);
    print::line("");
    show_workers(&report.workers);
    for note in &report.notes {
        print::line(styled(print::DIM, format!("note: {note}")));
    }
    show_findings(report);
}

fn show_chain(chain: &ChainReport) {
    print::line(styled(print::STRONG, format!("Chain of {}", chain.chain)));
    if chain.links == 0 {
        print::line("  no link yet");
        return;
    }
    let signatures = match chain.signatures {
        Signatures::Valid => "signatures valid",
        Signatures::Unsigned => "not signed",
        Signatures::NotVerified => "signed, and no key is configured to verify it by",
        Signatures::Invalid => "signatures missing or wrong",
    };
    print::line(format!(
        "  {} links, {} of them with their rows; {signatures}",
        chain.links, chain.links_checked
    ));
    let sealed =
        chain.head_sealed_at.map_or_else(String::new, |time| format!(", sealed {}", at(time)));
    print::line(format!("  newest: {} {}{sealed}", chain.head_number, chain.head_digest));
    print::line(format!(
        "  {} rows sealed: {} intact, {} gone because their time is over; {} wait to be sealed",
        chain.rows_sealed, chain.rows_intact, chain.rows_expired, chain.rows_waiting
    ));
    if let (Some(first), Some(last)) = (chain.first_timestamp, chain.last_timestamp) {
        print::line(format!("  of {} to {}", at(first), at(last)));
    }
    for range in &chain.ranges {
        print::line(format!(
            "  stream of {}: sequences {} to {}",
            at(range.epoch),
            range.first,
            range.last
        ));
    }
}

fn show_stream(stream: &StreamReport) {
    print::line(styled(print::STRONG, "Events that the stream holds"));
    let Some(epoch) = stream.epoch else {
        print::line("  there is no stream");
        return;
    };
    let what = if stream.contents { "bodies compared too" } else { "ids compared" };
    print::line(format!(
        "  stream of {}: sequences {} to {}, {what}",
        at(epoch),
        stream.first_sequence,
        stream.last_sequence
    ));
    for table in &stream.tables {
        print::line(format!(
            "  {}: {} events up to {}, {} with their row, {} dead letters, {} held twice, {} expired; {} newer ones not looked at",
            table.table,
            table.events,
            table.settled,
            table.stored,
            table.dead_letters,
            table.resent,
            table.expired,
            table.unsettled
        ));
    }
}

fn show_workers(workers: &WorkersReport) {
    print::line(styled(print::STRONG, "Numbers of the workers"));
    print::line(format!(
        "  {} runs, {} of them ended in order: {} numbers, {} with their row, {} dead letters, {} too new to judge",
        workers.runs,
        workers.ended,
        workers.numbers,
        workers.stored,
        workers.dead_letters,
        workers.unsettled
    ));
    if workers.reordered > 0 {
        print::line(format!(
            "  {} events came behind later ones, by {} numbers at most: in flight together, or sent again",
            workers.reordered, workers.largest_displacement
        ));
    }
    if workers.unnumbered > 0 {
        print::line(format!(
            "  {} rows are from programs that gave no numbers",
            workers.unnumbered
        ));
    }
}

fn show_findings(report: &Report) {
    let findings = &report.findings;
    if !findings.counted.is_empty() {
        print::line("");
        print::line(styled(print::STRONG, "Findings"));
    }
    for finding in findings.named.iter().take(PRINTED) {
        print::line(line(finding));
    }
    let shown = findings.named.len().min(PRINTED);
    let all: u64 = findings.counted.values().sum();
    if u64::try_from(shown).is_ok_and(|shown| shown < all) {
        print::line(format!("  in all: {}", summary(report)));
    }
    print::line("");
    print::line(match report.verdict {
        Verdict::Verified => styled(print::GOOD, "VERIFIED"),
        Verdict::Failed => format!("{}: {}", styled(print::BAD, "NOT VERIFIED"), summary(report)),
        Verdict::Nothing => format!(
            "{}: no row of this span is sealed (setting chain.interval), or there is none",
            styled(print::WARN, "NOTHING TO VERIFY")
        ),
    });
}

fn summary(report: &Report) -> String {
    let counted = report.findings.counted.iter();
    let parts: Vec<String> =
        counted.map(|(kind, count)| format!("{count} {}", word(kind))).collect();
    parts.join(", ")
}

fn word(kind: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(kind).unwrap_or_default();
    value.as_str().unwrap_or_default().replace('_', " ")
}

fn line(finding: &Finding) -> String {
    let style = if finding.kind.fails() { print::BAD } else { print::WARN };
    let mut text = format!("  {}", styled(style, word(&finding.kind)));
    if let Some(chain) = finding.chain {
        text.push_str(&format!(" {chain}"));
    }
    if let Some(link) = finding.link {
        text.push_str(&format!(" link {link}"));
    }
    if let Some(id) = finding.id {
        text.push_str(&format!(" {id}"));
    }
    if let Some(sequence) = finding.sequence {
        text.push_str(&format!(" at {sequence}"));
    }
    if let Some(run) = finding.worker_run {
        text.push_str(&format!(" run {run}"));
    }
    match finding.numbers {
        Some((first, last)) if first == last => text.push_str(&format!(" number {first}")),
        Some((first, last)) => text.push_str(&format!(" numbers {first} to {last}")),
        None => (),
    }
    format!("{text}: {}", finding.detail)
}

fn at(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// What is kept elsewhere of a link is the whole of it.
pub(super) fn describe(link: &Link) -> String {
    let signed = if link.signature.is_empty() { "not signed" } else { link.signature.as_str() };
    format!(
        "{} link {} {} sealed {}\n  signature {signed}",
        link.chain,
        link.number,
        link.digest,
        at(link.sealed_at)
    )
}

fn is_known(chain: &str) -> bool {
    Chained::ALL.iter().any(|known| known.label() == chain)
}
