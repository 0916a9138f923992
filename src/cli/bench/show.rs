//! How figures look to people, and progress on a terminal.

use std::time::Duration;

use anyhow::bail;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use humantime_serde::re::humantime;
use indicatif::{ProgressBar, ProgressStyle};

/// A table with these heads; all columns but the first `texts` hold numbers.
pub(super) fn table(heads: &[&str], texts: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(heads.iter().map(|head| Cell::new(head).add_attribute(Attribute::Dim)));
    for column in table.column_iter_mut().skip(texts) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A figure to look at first.
pub(super) fn strong(text: impl std::fmt::Display) -> Cell {
    Cell::new(text).add_attribute(Attribute::Bold)
}

/// 1234567 as 1,234,567.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate, to the whole number.
pub(super) fn rate(rate: f64) -> String {
    count(whole(rate))
}

/// A time that is no whole number of microseconds.
pub(super) fn real_micros(us: f64) -> String {
    micros(whole(us))
}

/// As [`real_micros`], with one more digit where it is short.
pub(super) fn fine_micros(us: f64) -> String {
    if us < 1_000.0 { format!("{us:.1} µs") } else { real_micros(us) }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates and times are positive and far below 2^63"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// A time in the unit that suits it.
pub(super) fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.2} ms", Duration::from_micros(us).as_secs_f64() * 1e3),
        _ => format!("{:.2} s", Duration::from_micros(us).as_secs_f64()),
    }
}

/// How many times, or a dash where that says nothing.
pub(super) fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2} ×"))
}

/// A bar on standard error, only where that is a terminal.
pub(super) fn progress(length: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg:40} {wide_bar:.cyan/dim} {percent:>3}% {eta}")?;
    Ok(ProgressBar::new(length).with_style(style))
}

/// A duration of the command line, such as 500ms, 5s or 1m30s.
pub(super) fn duration(text: &str) -> anyhow::Result<Duration> {
    let duration = humantime::parse_duration(text)?;
    if duration > Duration::from_secs(3_600) {
        bail!("at most 1h");
    }
    Ok(duration)
}

/// A duration in which something can happen.
pub(super) fn positive_duration(text: &str) -> anyhow::Result<Duration> {
    let duration = duration(text)?;
    if duration < Duration::from_millis(10) {
        bail!("at least 10ms");
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(rate(18_345.6), "18,346");
        assert_eq!(micros(312), "312 µs");
        assert_eq!(micros(1_240), "1.24 ms");
        assert_eq!(fine_micros(31.27), "31.3 µs");
        assert_eq!(fine_micros(1_240.4), "1.24 ms");
        assert_eq!(micros(2_500_000), "2.50 s");
        assert_eq!(times(Some(0.336)), "0.34 ×");
        assert_eq!(times(None), "–");
        assert_eq!(duration("1m30s").unwrap(), Duration::from_secs(90));
        for bad in ["", "5", "2h", "x"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
