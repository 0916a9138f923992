//! Logs to standard error: lines for people, or JSON for machines.

use std::ffi::OsStr;
use std::fmt;
use std::io::{IsTerminal as _, stderr};

use anstyle::{AnsiColor, Style};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Logs can't begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter has another syntax.
    #[error(
        "{filter:?} is not a log filter: {source}; write a level such as info, and levels for parts: info,sluicegate=debug"
    )]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
}

impl TelemetryError {
    /// Whether trying again may help: never, the filter must change.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        false
    }
}

/// Begins to log what passes the filter (`telemetry.log`; `RUST_LOG` is not looked at), as lines or
/// as JSON. When something logs already, as in tests, that stays.
///
/// # Errors
/// When the filter isn't one.
pub fn init(filter: &str, json: bool) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let outcome = if json {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        let coloured = colours(
            stderr().is_terminal(),
            std::env::var_os("NO_COLOR").as_deref(),
            std::env::var_os("TERM").as_deref(),
        );
        builder.with_ansi(coloured).event_format(Line).try_init()
    };
    // The only failure is a second beginning: the first one's logger stays.
    drop(outcome);
    Ok(())
}

/// Colours only where somebody sees them and didn't ask for none (<https://no-color.org>).
fn colours(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb")
}

/// `14:03:22.123 INFO  ready part="nats"`; other crates' lines begin with their name.
struct Line;

const DIM: Style = Style::new().dimmed();

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let time = chrono::Utc::now().format("%H:%M:%S%.3f");
        styled(&mut writer, DIM, format_args!("{time}"))?;
        writer.write_char(' ')?;
        let level = *metadata.level();
        styled(&mut writer, style(level), format_args!("{level:<5}"))?;
        writer.write_char(' ')?;
        if let Some(origin) = foreign(metadata.target()) {
            styled(&mut writer, DIM, format_args!("{origin}: "))?;
        }
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            styled(&mut writer, DIM, format_args!("{}", span.name()))?;
            let extensions = span.extensions();
            match extensions.get::<FormattedFields<N>>() {
                Some(fields) if !fields.is_empty() => write!(writer, "{{{fields}}}: ")?,
                _ => writer.write_str(": ")?,
            }
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The crate that a line comes from, unless it's ours.
fn foreign(target: &str) -> Option<&str> {
    let name = target.split("::").next().unwrap_or(target);
    (name != env!("CARGO_CRATE_NAME")).then_some(name)
}

fn style(level: Level) -> Style {
    match level {
        Level::ERROR => AnsiColor::Red.on_default().bold(),
        Level::WARN => AnsiColor::Yellow.on_default(),
        Level::INFO => AnsiColor::Green.on_default(),
        _ => DIM,
    }
}

fn styled(writer: &mut Writer<'_>, style: Style, text: fmt::Arguments<'_>) -> fmt::Result {
    if writer.has_ansi_escapes() {
        write!(writer, "{style}{text}{style:#}")
    } else {
        writer.write_fmt(text)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was written, for reading.
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(coloured: bool, log: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(coloured)
            .event_format(Line)
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_are_short_and_whole() {
        let line = logged(false, || {
            let _span = tracing::info_span!("check", id = 7).entered();
            tracing::warn!(part = "nats", "waiting: NATS");
        });
        let (time, rest) = line.split_at("14:03:22.123".len());
        assert!(time.chars().all(|c| c.is_ascii_digit() || ".:".contains(c)), "{line}");
        assert_eq!(rest, " WARN  check{id=7}: waiting: NATS part=\"nats\"\n");
        let line = logged(false, || tracing::info!(target: "async_nats::connector", "connected"));
        assert!(line.ends_with(" INFO  async_nats: connected\n"), "{line}");
        let line = logged(true, || tracing::info!("x"));
        assert!(line.contains("\u{1b}[32mINFO \u{1b}[0m"), "{line:?}");
    }

    #[test]
    fn colours_only_on_a_terminal_that_wants_them() {
        let some = |text: &'static str| Some(OsStr::new(text));
        assert!(colours(true, None, some("xterm")));
        assert!(colours(true, some(""), None));
        assert!(!colours(false, None, None));
        assert!(!colours(true, some("1"), None));
        assert!(!colours(true, None, some("dumb")));
    }

    #[test]
    fn a_second_beginning_is_harmless_and_a_bad_filter_is_named() {
        init("off", false).unwrap();
        init("off", true).unwrap();
        let error = init("a=b=c", false).unwrap_err();
        assert!(error.to_string().contains("\"a=b=c\" is not a log filter"), "{error}");
        assert!(!error.is_transient());
    }
}
