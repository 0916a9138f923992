//! `sluicegate audit export`: everything that a filter finds, in a file.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::Utc;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::fs::OpenOptions;
use tokio::io::BufWriter;

use super::Filters;
use crate::cli::exit::Exit;
use crate::cli::print::{self, GOOD, styled};
use crate::config::Config;
use crate::roles::export::{ExportProgress, Exported, write};
use crate::store::{Export, ExportFormat, ExportOf, Store, StoreError, ViolationFilter};

/// ClickHouse's code for a query that took longer than `max_execution_time`.
const TIMEOUT_EXCEEDED: u32 = 159;

/// Write decisions, violations or outcomes to a file: Parquet, JSON lines or CSV
#[derive(Args)]
#[command(after_help = "\
Every row once, oldest first, with all columns of the table (docs/analytics.md), up to now where --until
says nothing else. The file is written beside its place and moved there when it is complete; only you
can read it.

Examples:
  sluicegate audit export --since 30d --format parquet -o decisions.parquet
  sluicegate audit export --decision deny --format csv -o denials.csv
  sluicegate audit export --violations --since 7d --format jsonl -o - | jq .policy_name
  sluicegate audit export --outcomes --since 7d --format parquet -o outcomes.parquet")]
pub(super) struct ExportCommand {
    #[command(flatten)]
    filters: Filters,
    /// Violations instead of decisions
    #[arg(long, conflicts_with_all = ["decision", "action", "run", "project", "reason", "errors", "unchecked"])]
    violations: bool,
    /// How guarded calls ended, instead of decisions
    #[arg(long, conflicts_with_all = ["violations", "decision", "policy", "reason", "errors", "unchecked"])]
    outcomes: bool,
    /// The file's format
    #[arg(long, short = 'f')]
    format: Format,
    /// Where to write it; - for standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Apache Parquet
    Parquet,
    /// One JSON object per line
    Jsonl,
    /// Comma-separated values with a line of column names
    Csv,
}

pub(super) async fn run(
    command: ExportCommand,
    config: &Config,
    json: bool,
) -> anyhow::Result<Exit> {
    let ExportCommand { mut filters, violations, outcomes, format, output, force } = command;
    // What comes while it is written would be in it or not, by chance.
    filters.until.get_or_insert_with(Utc::now);
    let of = if violations {
        ExportOf::Violations(ViolationFilter {
            since: filters.since,
            until: filters.until,
            policy: filters.policy,
            agent: filters.agent,
            user: filters.user,
            session_id: filters.session,
            ..ViolationFilter::default()
        })
    } else if outcomes {
        ExportOf::Outcomes(filters.decisions(None))
    } else {
        ExportOf::Decisions(filters.decisions(None))
    };
    let format = match format {
        Format::Parquet => ExportFormat::Parquet,
        Format::Jsonl => ExportFormat::JsonLines,
        Format::Csv => ExportFormat::Csv,
    };
    let standard = output == Path::new("-");
    if standard && matches!(format, ExportFormat::Parquet) && std::io::stdout().is_terminal() {
        bail!("Parquet is no text for a terminal: write it to a file with --output FILE");
    }
    if !standard && !force && output.exists() {
        bail!("{} is there already: choose another name, or --force", output.display());
    }
    let store = Store::connect(&config.clickhouse);
    let rows = match store.count_export(&of).await {
        Ok(rows) => Some(rows),
        // Too many to be counted in time can be exported all the same.
        Err(
            StoreError::Timeout { .. } | StoreError::Refused { code: Some(TIMEOUT_EXCEEDED), .. },
        ) => None,
        Err(error) => return Err(error.into()),
    };
    let bar = bar(rows)?;
    let export = store.export(&of, format)?;
    let patience = config.clickhouse.query_timeout;
    let tell = |progress: ExportProgress| {
        bar.set_position(progress.rows.min(rows.unwrap_or(u64::MAX)));
        bar.set_message(bytesize::ByteSize(progress.bytes).display().iec().to_string());
    };
    let exported = if standard {
        write(export, BufWriter::new(tokio::io::stdout()), patience, tell).await?
    } else {
        let part = part(&output);
        match to_file(export, &part, &output, patience, tell).await {
            Ok(exported) => exported,
            Err(error) => {
                // What is left of it is of no use.
                let _ = tokio::fs::remove_file(&part).await;
                return Err(error);
            }
        }
    };
    bar.finish_and_clear();
    if !standard {
        show(&output, rows, &exported, json)?;
    }
    Ok(Exit::Ok)
}

/// Writes all of it beside its place, makes sure that it is on the disk, and moves it there. It holds what
/// agents were about to do: for nobody else to read.
async fn to_file(
    export: Export,
    part: &Path,
    output: &Path,
    patience: Duration,
    tell: impl FnMut(ExportProgress),
) -> anyhow::Result<Exported> {
    let named = |path: &Path| path.display().to_string();
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(part).await;
    let mut file = file.with_context(|| named(part))?;
    let exported = write(export, BufWriter::new(&mut file), patience, tell).await?;
    file.sync_all().await.with_context(|| named(part))?;
    tokio::fs::rename(part, output).await.with_context(|| named(output))?;
    Ok(exported)
}

fn show(output: &Path, rows: Option<u64>, exported: &Exported, json: bool) -> anyhow::Result<()> {
    if json {
        let found = serde_json::json!({
            "file": output, "rows": rows, "bytes": exported.bytes, "sha256": exported.sha256,
        });
        print::json(&found)?;
    } else {
        let size = bytesize::ByteSize(exported.bytes).display().iec().to_string();
        let rows = rows.map(|rows| format!("{rows} rows, ")).unwrap_or_default();
        print::line(format!("{}  {rows}{size}, {}", styled(GOOD, "written"), output.display()));
        print::line(format!("sha256   {}", exported.sha256));
    }
    Ok(())
}

/// Beside the file, so that it is moved within one file system.
fn part(output: &Path) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    output.with_file_name(name)
}

/// A bar on standard error, only where that is a terminal.
fn bar(rows: Option<u64>) -> anyhow::Result<ProgressBar> {
    Ok(match rows {
        Some(rows) => ProgressBar::new(rows).with_style(ProgressStyle::with_template(
            "{msg:>10} {wide_bar:.cyan/dim} {human_pos}/{human_len} rows {eta}",
        )?),
        None => ProgressBar::new_spinner()
            .with_style(ProgressStyle::with_template("{msg:>10} {spinner} {human_pos} rows read")?),
    })
}
