//! `sluicegate audit export`: everything that a filter finds, in a file.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::fs::File;
use tokio::io::BufWriter;

use super::Filters;
use crate::cli::exit::Exit;
use crate::cli::print::{self, GOOD, styled};
use crate::config::Config;
use crate::roles::export::{Exported, write};
use crate::store::{ExportFormat, ExportOf, Store, ViolationFilter};

/// Write decisions or violations to a file: Parquet, JSON lines or CSV
#[derive(Args)]
#[command(after_help = "\
Every row once, oldest first, with all columns of the table (docs/analytics.md). The file is written
beside its place and moved there when it is complete.

Examples:
  sluicegate audit export --since 30d --format parquet -o decisions.parquet
  sluicegate audit export --decision deny --format csv -o denials.csv
  sluicegate audit export --violations --since 7d --format jsonl -o - | jq .policy_name")]
pub(super) struct ExportCommand {
    #[command(flatten)]
    filters: Filters,
    /// Violations instead of decisions
    #[arg(long, conflicts_with_all = ["decision", "action", "run", "project", "reason", "errors"])]
    violations: bool,
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
    let ExportCommand { filters, violations, format, output, force } = command;
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
    let rows = store.count_export(&of).await?;
    let bar = bar(rows)?;
    let export = store.export(&of, format)?;
    let patience = config.clickhouse.query_timeout;
    let tell = |progress: crate::roles::export::ExportProgress| {
        bar.set_position(progress.rows.min(rows));
        bar.set_message(bytesize::ByteSize(progress.bytes).display().iec().to_string());
    };
    let exported = if standard {
        write(export, BufWriter::new(tokio::io::stdout()), patience, tell).await?
    } else {
        let part = part(&output);
        let file = File::create(&part).await.with_context(|| part.display().to_string())?;
        match write(export, BufWriter::new(file), patience, tell).await {
            Ok(exported) => {
                let moved = tokio::fs::rename(&part, &output).await;
                moved.with_context(|| output.display().to_string())?;
                exported
            }
            Err(error) => {
                // What is left of it is of no use.
                let _ = tokio::fs::remove_file(&part).await;
                return Err(error.into());
            }
        }
    };
    bar.finish_and_clear();
    if !standard {
        show(&output, rows, &exported, json)?;
    }
    Ok(Exit::Ok)
}

fn show(output: &Path, rows: u64, exported: &Exported, json: bool) -> anyhow::Result<()> {
    if json {
        let found = serde_json::json!({
            "file": output, "rows": rows, "bytes": exported.bytes, "sha256": exported.sha256,
        });
        print::json(&found)?;
    } else {
        let size = bytesize::ByteSize(exported.bytes).display().iec().to_string();
        print::line(format!(
            "{}  {rows} rows, {size}, {}",
            styled(GOOD, "written"),
            output.display()
        ));
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
fn bar(rows: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template(
        "{msg:>10} {wide_bar:.cyan/dim} {human_pos}/{human_len} rows {eta}",
    )?;
    Ok(ProgressBar::new(rows).with_style(style))
}
