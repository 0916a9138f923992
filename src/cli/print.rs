//! Output: colours only on a terminal, JSON for programs, and a closed pipe is no error.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use serde::Serialize;

/// Good news.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Bad news.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Worth a look.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// Beside the point.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What to look at first.
pub(crate) const STRONG: Style = Style::new().bold();

/// A text in a style.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints a line, without colours where standard output is no terminal. False when nobody reads
/// any more, as in `sluicegate tail | head`.
pub(crate) fn line(text: impl std::fmt::Display) -> bool {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// Prints a line to standard error, without colours where that is no terminal.
pub(crate) fn aside(text: impl std::fmt::Display) {
    let mut err = anstream::stderr().lock();
    // Nothing can be done where even this can't be printed.
    let _ = writeln!(err, "{text}");
}

/// Prints a unified diff.
pub(crate) fn diff(text: &str) {
    for text in text.lines() {
        let style = match text.as_bytes() {
            [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => STRONG,
            [b'@', b'@', ..] => AnsiColor::Cyan.on_default(),
            [b'-', ..] => AnsiColor::Red.on_default(),
            [b'+', ..] => AnsiColor::Green.on_default(),
            _ => Style::new(),
        };
        line(styled(style, text));
    }
}

/// A table whose columns have these heads.
pub(crate) fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(heads.iter().map(|head| Cell::new(head).add_attribute(Attribute::Dim)));
    table
}

/// Prints one value as JSON: indented on a terminal, else on one line.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<bool> {
    use std::io::IsTerminal as _;

    let text = if std::io::stdout().is_terminal() {
        serde_json::to_string_pretty(value)?
    } else {
        serde_json::to_string(value)?
    };
    Ok(line(text))
}

/// Prints an error with its causes to standard error.
pub(crate) fn error(error: &anyhow::Error) {
    let mut err = anstream::stderr().lock();
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    // Nothing can be done where even this can't be printed.
    let _ = writeln!(err, "{}: {text}", styled(BAD, "error"));
}
