//! Values by the kind of their key: reading them from text and from TOML, and showing them.

use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use figment::value::{Num, Value};
use humantime_serde::re::humantime;
use serde_json::Value as Json;

use super::keys::nearest_of;
use super::secret::Secret;
use super::url;

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Text that nobody may see.
    Secret,
    Path,
    /// Text with URLs, whose credentials nobody may see.
    Url,
    /// Texts; separated by commas where there is but text.
    List,
    Flag,
    /// A whole number.
    Count,
    /// A number that needn't be whole.
    Factor,
    /// A duration.
    Span,
    /// A number of bytes.
    Size,
    /// An IP address and a port.
    Address,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// Why a value was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The value, if it may be shown, else its type.
    pub(super) found: String,
    /// What to write instead.
    pub(super) way_out: String,
}

impl Kind {
    /// What to write, with an example.
    pub(super) fn expects(self) -> String {
        match self {
            Self::Text => "text in quotes".into(),
            Self::Secret => "text in quotes (better in an environment variable)".into(),
            Self::Path => "a path in quotes".into(),
            Self::Url => "a URL in quotes".into(),
            Self::List => r#"a list of texts such as ["_INBOX.", "_R_."] (in variables and flags separated by commas: _INBOX.,_R_.)"#.into(),
            Self::Flag => "true or false".into(),
            Self::Count => "a whole number such as 1000".into(),
            Self::Factor => "a number such as 1.5".into(),
            Self::Span => "a duration such as 500ms, 5s or 2h".into(),
            Self::Size => "a size such as 512B, 256KiB or 10GiB".into(),
            Self::Address => "an IP address and a port such as 127.0.0.1:8181".into(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// Reads what a variable or a flag holds. Text stays text, also when it looks like a number.
    pub(super) fn read_text(self, text: &str) -> Result<Value, Refused> {
        let trimmed = text.trim();
        let value = match self {
            Self::Text | Self::Secret | Self::Path | Self::Url => return Ok(text.into()),
            Self::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                return Ok(items.map(Value::from).collect::<Vec<_>>().into());
            }
            Self::Flag => read_switch(trimmed).map(Value::from),
            Self::Count => trimmed.replace('_', "").parse::<u64>().ok().map(Value::from),
            Self::Factor => trimmed.parse::<f64>().ok().map(Value::from),
            Self::Span => humantime::parse_duration(trimmed).ok().map(|_| trimmed.into()),
            Self::Size => trimmed.parse::<ByteSize>().ok().map(|size| size.as_u64().into()),
            Self::Address => trimmed.parse::<SocketAddr>().ok().map(|_| trimmed.into()),
            Self::Choice(words) => words.contains(&trimmed).then(|| trimmed.into()),
        };
        value.ok_or_else(|| self.refuse_text(text))
    }

    /// Reads what a TOML file holds.
    pub(super) fn read_toml(self, value: &Value) -> Result<Value, Refused> {
        let taken = match (self, value) {
            (Self::Text | Self::Secret | Self::Path | Self::Url, Value::String(..))
            | (Self::Flag, Value::Bool(..)) => Some(value.clone()),
            (Self::Span | Self::Size | Self::Address | Self::Choice(_), Value::String(_, text)) => {
                return self.read_text(text);
            }
            (Self::List, Value::Array(_, items)) => {
                items.iter().all(|item| item.as_str().is_some()).then(|| value.clone())
            }
            (Self::Count | Self::Size, Value::Num(_, number)) => {
                whole(*number).and_then(|n| u64::try_from(n).ok()).map(Value::from)
            }
            (Self::Factor, Value::Num(_, number)) => {
                number.to_f64().map(Value::from).or_else(|| {
                    whole(*number).and_then(|n| i32::try_from(n).ok()).map(|n| f64::from(n).into())
                })
            }
            _ => None,
        };
        taken.ok_or_else(|| self.refuse_toml(value))
    }

    fn refuse_text(self, text: &str) -> Refused {
        let mut way_out = format!("expected {}", self.expects());
        match self {
            _ if text.trim().is_empty() => way_out.push_str("; or unset it"),
            Self::Span if text.trim().parse::<f64>().is_ok() => {
                way_out = format!("{way_out}; a number needs its unit: {}s", text.trim());
            }
            Self::Flag => way_out.push_str(" (also 1 or 0, yes or no, on or off)"),
            Self::Choice(words) => {
                if let Some(word) = nearest_of(text.trim(), words.iter().copied()) {
                    way_out = format!("{way_out}; did you mean {word}?");
                }
            }
            _ => (),
        }
        Refused { found: quoted(text), way_out }
    }

    fn refuse_toml(self, value: &Value) -> Refused {
        let way_out = match (self, value) {
            (Self::Span, Value::Num(_, number)) => match whole(*number) {
                Some(n) if n >= 0 => {
                    format!(r#"expected {}, in quotes; for seconds write "{n}s""#, self.expects())
                }
                _ => format!("expected {}, in quotes", self.expects()),
            },
            (Self::Flag | Self::Count | Self::Factor, Value::String(..)) => {
                format!("expected {}, without quotes", self.expects())
            }
            (Self::Span | Self::Size | Self::Address | Self::Choice(_), _) => {
                format!("expected {}, in quotes", self.expects())
            }
            _ => format!("expected {}", self.expects()),
        };
        Refused { found: self.describe(value), way_out }
    }

    /// The value where it may be seen, else its type.
    fn describe(self, value: &Value) -> String {
        let open = !matches!(self, Self::Secret | Self::Url);
        match value {
            Value::String(_, text) if open => quoted(text),
            Value::Bool(_, flag) if open => flag.to_string(),
            Value::Num(_, number) if open => whole(*number)
                .map(|n| n.to_string())
                .or_else(|| number.to_f64().map(|n| n.to_string()))
                .unwrap_or_else(|| "a number".into()),
            Value::String(..) | Value::Char(..) => "text".into(),
            Value::Bool(..) => "true or false".into(),
            Value::Num(..) => "a number".into(),
            Value::Empty(..) => "nothing".into(),
            Value::Dict(..) => "a table or a date".into(),
            Value::Array(..) => "a list".into(),
        }
    }

    /// The value as a person may see it, in the notation of the shipped file.
    pub(super) fn show(self, value: &Value) -> Json {
        match (self, value) {
            (Self::Secret, value) => {
                let empty = value.as_str().is_some_and(str::is_empty);
                Json::from(if empty { "" } else { Secret::HIDDEN })
            }
            (Self::Url, Value::String(_, text)) => url::hide_credentials(text).into(),
            (Self::Span, Value::String(_, text)) => {
                humantime::parse_duration(text).map_or_else(|_| text.clone(), show_duration).into()
            }
            (Self::Size, Value::String(_, text)) => text
                .parse::<ByteSize>()
                .map_or_else(|_| text.clone(), |size| show_size(size.as_u64()))
                .into(),
            (Self::Size, Value::Num(_, number)) => {
                whole(*number).and_then(|n| u64::try_from(n).ok()).map(show_size).into()
            }
            (_, Value::String(_, text)) => text.clone().into(),
            (_, Value::Bool(_, flag)) => (*flag).into(),
            (_, Value::Num(_, number)) => match whole(*number) {
                Some(n) => i64::try_from(n).map(Json::from).unwrap_or_default(),
                None => number.to_f64().map(Json::from).unwrap_or_default(),
            },
            (_, Value::Array(_, items)) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().into()
            }
            _ => Json::Null,
        }
    }
}

/// `true`, `false` and the other words that environments use for them, in any case.
pub(super) fn read_switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A duration in its largest whole unit, so that `400days` doesn't become a year and a month.
pub(super) fn show_duration(duration: Duration) -> String {
    const UNITS: &[(u128, &str)] = &[
        (86_400_000_000_000, "days"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    UNITS
        .iter()
        .find(|(unit, _)| nanos.is_multiple_of(*unit))
        .map_or_else(String::new, |(unit, name)| format!("{}{name}", nanos / unit))
}

/// A size in its largest whole unit.
pub(super) fn show_size(bytes: u64) -> String {
    const UNITS: &[(u32, &str)] =
        &[(60, "EiB"), (50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    UNITS
        .iter()
        .find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(|| format!("{bytes}B"), |(shift, name)| format!("{}{name}", bytes >> shift))
}

fn whole(number: Num) -> Option<i128> {
    number.to_i128().or_else(|| number.to_u128().and_then(|n| i128::try_from(n).ok()))
}

/// In quotes, on one line and not endless.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        format!("{text:?}")
    } else {
        format!("{:?} and more", text.chars().take(LONGEST).collect::<String>())
    }
}
