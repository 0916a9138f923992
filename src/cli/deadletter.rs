//! `sluicegate deadletter`: events that could not be stored.

use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use super::audit::time;
use super::exit::Exit;
use super::print::{self, BAD, DIM, GOOD, STRONG, styled};
use crate::bus::connect_once;
use crate::bus::letters::{Letter, LetterFilter, Letters, Replay};
use crate::config::Config;

/// Letters that one call may replay.
const MOST: usize = 1_000_000;

/// Bytes of a body that is no JSON which `show` prints.
const SHOWN: usize = 4_096;

/// Events that could not be stored, with the reason
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  sluicegate deadletter list --since 1d
  sluicegate deadletter show 7
  sluicegate deadletter replay --reason newer_schema --dry-run")]
pub(crate) enum Deadletter {
    /// List them, newest first
    #[command(after_help = "\
Examples:
  sluicegate deadletter list
  sluicegate deadletter list --reason newer_schema --since 1d
  sluicegate deadletter list --table violations --limit 1000 --json")]
    List(List),
    /// Show one: why, from where, and its body
    #[command(after_help = "\
Examples:
  sluicegate deadletter show 7
  sluicegate deadletter show 7 --raw | jq .")]
    Show(Show),
    /// Give them back to the audit stream once the cause is mended; the sink stores each once
    #[command(after_help = "\
A letter is removed when the audit stream has its event again. What can't be stored still becomes a
new letter. Of a letter whose body was cut the audit stream must still have the event.

Examples:
  sluicegate deadletter replay --reason newer_schema --dry-run
  sluicegate deadletter replay --reason newer_schema       after the sinks were upgraded
  sluicegate deadletter replay 7 8
  sluicegate deadletter replay --all --table decisions")]
    Replay(ReplayCommand),
}

#[derive(Args)]
pub(crate) struct Which {
    /// Only of this reason, such as newer_schema
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only of this table: decisions, violations, notifications, outcomes, rules, enforcement, checkpoints, unchecked
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Not older than this: 30s, 15m, 2h, 7d, or a time such as 2026-03-02T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<DateTime<Utc>>,
}

#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    which: Which,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT")]
    limit: usize,
}

#[derive(Args)]
pub(crate) struct Show {
    /// Its number, as `list` shows it
    number: u64,
    /// Print the body alone, byte by byte
    #[arg(long)]
    raw: bool,
}

#[derive(Args)]
pub(crate) struct ReplayCommand {
    /// Their numbers, as `list` shows them
    #[arg(value_name = "NUMBER", conflicts_with_all = ["all", "reason", "table", "since"])]
    numbers: Vec<u64>,
    /// All that the other options find
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: Which,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Which {
    fn filter(self) -> LetterFilter {
        LetterFilter { reason: self.reason, table: self.table, since: self.since }
    }
}

pub(crate) async fn run(command: Deadletter, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let connection = connect_once(&config.nats, "deadletter").await?;
    let letters = Letters::new(&connection, config);
    match command {
        Deadletter::List(command) => list(command, &letters, json).await,
        Deadletter::Show(command) => show(&command, &letters, json).await,
        Deadletter::Replay(command) => replay(command, &letters, json).await,
    }
}

async fn list(command: List, letters: &Letters, json: bool) -> anyhow::Result<Exit> {
    let (found, all) = letters.list(&command.which.filter(), command.limit).await?;
    if json {
        print::json(&json!({"letters": found, "found": all}))?;
        return Ok(Exit::Ok);
    }
    if found.is_empty() {
        print::line("no dead letters");
        return Ok(Exit::Ok);
    }
    let heads = ["number", "time (UTC)", "table", "reason", "detail", "NATS subject", "size"];
    let mut table = print::table(&heads);
    for letter in &found {
        table.add_row([
            letter.number.to_string(),
            letter.time.format("%m-%d %H:%M:%S").to_string(),
            plain(&letter.table),
            plain(&letter.reason),
            plain(&letter.detail),
            plain(&letter.subject),
            size(letter.size),
        ]);
    }
    print::line(table);
    let shown = u64::try_from(found.len()).unwrap_or(u64::MAX);
    if shown < all {
        print::line(styled(DIM, format!("{} more: --limit {all}", all - shown)));
    }
    Ok(Exit::Ok)
}

async fn show(command: &Show, letters: &Letters, json: bool) -> anyhow::Result<Exit> {
    let Some((letter, body)) = letters.get(command.number).await? else {
        bail!("there is no dead letter {} (any more)", command.number);
    };
    if command.raw {
        use std::io::Write as _;
        let mut out = std::io::stdout().lock();
        // A pipe that nobody reads any more is no error.
        let _ = out.write_all(&body).and_then(|()| out.flush());
        return Ok(Exit::Ok);
    }
    let parsed = serde_json::from_slice::<Value>(&body).ok();
    if json {
        let mut shown = serde_json::to_value(&letter)?;
        let body = parsed.unwrap_or_else(|| json!({"hex": hex::encode(&body)}));
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("body".into(), body);
        }
        print::json(&shown)?;
        return Ok(Exit::Ok);
    }
    let line = |name: &str, value: &str| {
        print::line(format!("{} {}", styled(DIM, format!("{name:<10}")), plain(value)));
    };
    print::line(format!(
        "{} {}",
        styled(STRONG, format!("dead letter {}", letter.number)),
        styled(BAD, plain(&letter.reason))
    ));
    line("why", &letter.detail);
    line("when", &letter.time.to_rfc3339());
    line("table", &letter.table);
    line("subject", &letter.subject);
    let number = letter.stream_sequence.map(|n| format!(", message {n}")).unwrap_or_default();
    let since = letter.stream_epoch.map(|t| format!(", created {t}")).unwrap_or_default();
    line("stream", &format!("{}{number}{since}", letter.stream));
    if let Some(published) = letter.published {
        line("published", &published.to_rfc3339());
    }
    let cut = letter.truncated_from.map(|bytes| format!(", the beginning of {}", size(bytes)));
    line("size", &format!("{}{}", size(letter.size), cut.unwrap_or_default()));
    print::line("");
    match parsed {
        Some(body) => {
            let body = serde_json::to_string_pretty(&body)?;
            print::line(body.lines().map(plain).collect::<Vec<_>>().join("\n"))
        }
        None => print::line(escaped(&body)),
    };
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Replayed {
    number: u64,
    #[serde(flatten)]
    replay: Replay,
}

async fn replay(command: ReplayCommand, letters: &Letters, json: bool) -> anyhow::Result<Exit> {
    let ReplayCommand { numbers, all, which, dry_run } = command;
    let numbers = if numbers.is_empty() {
        let filter = which.filter();
        if !all && filter == LetterFilter::default() {
            bail!("which letters? Name their numbers, or a --reason, or say --all");
        }
        let (found, _) = letters.list(&filter, MOST).await?;
        // In the order in which they were put aside.
        found.iter().rev().map(|letter: &Letter| letter.number).collect()
    } else {
        numbers
    };
    let style = ProgressStyle::with_template("{wide_bar:.cyan/dim} {human_pos}/{human_len} {eta}")?;
    let bar = ProgressBar::new(numbers.len().try_into().unwrap_or(u64::MAX)).with_style(style);
    let mut outcomes = Vec::new();
    for number in numbers {
        let replay = letters.replay(number, dry_run).await?;
        bar.inc(1);
        if let (false, Replay::Refused(why)) = (json, &replay) {
            bar.suspend(|| print::line(format!("{number}: {} {why}", styled(BAD, "refused:"))));
        }
        if let (false, Replay::Gone) = (json, &replay) {
            bar.suspend(|| print::line(format!("{number}: there is no such letter (any more)")));
        }
        outcomes.push(Replayed { number, replay });
    }
    bar.finish_and_clear();
    let good = outcomes
        .iter()
        .filter(|outcome| matches!(outcome.replay, Replay::Replayed | Replay::Possible))
        .count();
    let bad = outcomes.len() - good;
    if json {
        print::json(&json!({"letters": outcomes, "replayed": if dry_run { 0 } else { good },
                            "possible": if dry_run { good } else { 0 }, "refused": bad}))?;
    } else {
        let what = if dry_run { "could be replayed" } else { "replayed" };
        let rest = if bad > 0 { format!(", {bad} not") } else { String::new() };
        print::line(format!("{}{rest}", styled(GOOD, format!("{good} {what}"))));
    }
    Ok(if bad == 0 { Exit::Ok } else { Exit::Failed })
}

/// What others wrote, without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Bytes that are no JSON: what can be read as it is, the rest escaped, and not all of it.
fn escaped(body: &[u8]) -> String {
    let shown = body.get(..SHOWN).unwrap_or(body);
    let more = body.len() - shown.len();
    let text = shown.escape_ascii().to_string();
    if more > 0 { format!("{text}\n… {more} more bytes: --raw") } else { text }
}

fn size(bytes: usize) -> String {
    bytesize::ByteSize(u64::try_from(bytes).unwrap_or(u64::MAX)).display().iec().to_string()
}
