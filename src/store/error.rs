//! What can go wrong with ClickHouse, and what to do about it.

use std::time::Duration;

/// A failure of ClickHouse, or of the way to it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No answer: refused, reset, or cut off. Whether the request was carried out is unknown.
    #[error("no answer from ClickHouse: {0}")]
    Unreachable(String),
    /// No answer in time. Whether the request was carried out is unknown.
    #[error("ClickHouse did not answer within {after:?}: {what}")]
    Timeout {
        /// What was asked for.
        what: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// ClickHouse answered with an error.
    #[error("ClickHouse refused: {message}")]
    Refused {
        /// ClickHouse's own number for it; `None` where something between answered.
        code: Option<u32>,
        /// Its words.
        message: String,
    },
    /// The tables are not those that this program knows.
    #[error("the tables in ClickHouse don't fit this program: {0}")]
    Schema(String),
    /// A row can't be written, or an answer can't be read.
    #[error("a row can't be converted: {0}")]
    Row(String),
    /// A migration that was applied is not the one in this program.
    #[error(
        "migration {version} ({name}) was applied with checksum {applied}, this program has {known}: \
         a migration must never change once applied; restore its file and add a new one instead"
    )]
    MigrationChanged {
        /// Its number.
        version: u32,
        /// Its name.
        name: String,
        /// The checksum that ClickHouse remembers.
        applied: String,
        /// The checksum of the program's file.
        known: String,
    },
    /// The database was migrated by a newer program.
    #[error(
        "the database is at migration {database}, this program knows only up to {program}: \
         use the newer program"
    )]
    DatabaseNewer {
        /// The newest migration in ClickHouse.
        database: u32,
        /// The newest migration in this program.
        program: u32,
    },
    /// The settings of the connection can't be used.
    #[error("{0}")]
    Settings(String),
}

/// What a failure means for whoever must go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Goes away by itself: try again, the same.
    Transient,
    /// The rows themselves are refused: trying again changes nothing, other rows may pass.
    Data,
    /// The tables are missing or different.
    Schema,
    /// A person must act: credentials, rights, settings.
    Permanent,
}

impl StoreError {
    /// What the failure means.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable(_) | Self::Timeout { .. } => ErrorClass::Transient,
            Self::Refused { code, .. } => code.map_or(ErrorClass::Transient, class_of_code),
            Self::Schema(_) => ErrorClass::Schema,
            Self::Row(_) => ErrorClass::Data,
            Self::MigrationChanged { .. } | Self::DatabaseNewer { .. } | Self::Settings(_) => {
                ErrorClass::Permanent
            }
        }
    }

    /// Whether trying again, the same, may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.class() == ErrorClass::Transient
    }

    /// ClickHouse's number for the failure, where it gave one.
    #[must_use]
    pub const fn code(&self) -> Option<u32> {
        match self {
            Self::Refused { code, .. } => *code,
            _ => None,
        }
    }

    pub(super) fn timeout(what: &'static str, after: Duration) -> Self {
        Self::Timeout { what, after }
    }
}

impl From<clickhouse::error::Error> for StoreError {
    fn from(error: clickhouse::error::Error) -> Self {
        use clickhouse::error::Error;
        match error {
            Error::BadResponse(message) => {
                Self::Refused { code: code_of(&message), message: shortened(message) }
            }
            Error::Network(source) => Self::Unreachable(with_causes(source.as_ref())),
            Error::TimedOut => Self::Unreachable("the time to send was over".into()),
            // An answer that can't be unpacked was cut off on the way.
            Error::Compression(source) | Error::Decompression(source) => {
                Self::Unreachable(with_causes(source.as_ref()))
            }
            Error::SchemaMismatch(message) => Self::Schema(message),
            Error::InvalidColumnsHeader(source) => Self::Schema(with_causes(source.as_ref())),
            Error::InvalidParams(source) => Self::Settings(with_causes(source.as_ref())),
            Error::Unsupported(message) => Self::Settings(message),
            Error::Other(source) => Self::Unreachable(with_causes(source.as_ref())),
            other => Self::Row(other.to_string()),
        }
    }
}

/// The number in `Code: 252. DB::Exception: …`.
fn code_of(message: &str) -> Option<u32> {
    let (_, rest) = message.split_once("Code: ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// Messages of ClickHouse may hold whole rows; logs and health need their beginning.
fn shortened(message: String) -> String {
    const LONGEST: usize = 1_000;
    if message.len() <= LONGEST {
        return message;
    }
    let mut short: String = message.chars().take(LONGEST).collect();
    short.push('…');
    short
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// Sorts ClickHouse's error numbers. What isn't listed as a matter of the rows is never treated as
/// one: a batch that waits can still be stored, one that is set aside needs a person.
const fn class_of_code(code: u32) -> ErrorClass {
    match code {
        // Parsing, conversion and ranges of values.
        6 | 26 | 27 | 38 | 41 | 53 | 69 | 70 | 72 | 117 | 128 | 130 | 131 | 190 | 321 | 349
        | 376 | 407 | 441 | 467 | 469 | 636 | 675 | 676 => ErrorClass::Data,
        // Columns, tables and databases that are not there or not so.
        8 | 10 | 16 | 20 | 47 | 50 | 60 | 81 | 122 | 218 => ErrorClass::Schema,
        // Users, rights, read-only profiles, unknown settings, syntax.
        46 | 62 | 115 | 164 | 192 | 193 | 194 | 195 | 291 | 344 | 452 | 497 | 516 => {
            ErrorClass::Permanent
        }
        // Time, memory, parts, replicas, keeper, and whatever we don't know.
        _ => ErrorClass::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> StoreError {
        StoreError::from(clickhouse::error::Error::BadResponse(message.into()))
    }

    #[test]
    fn classes_follow_the_code() {
        for (message, code, class) in [
            ("Code: 252. DB::Exception: Too many parts", Some(252), ErrorClass::Transient),
            ("Code: 241. DB::Exception: Memory limit", Some(241), ErrorClass::Transient),
            ("Code: 242. DB::Exception: Table is read only", Some(242), ErrorClass::Transient),
            ("Code: 27. DB::Exception: Cannot parse input", Some(27), ErrorClass::Data),
            ("Code: 469. DB::Exception: Constraint", Some(469), ErrorClass::Data),
            ("Code: 60. DB::Exception: Unknown table", Some(60), ErrorClass::Schema),
            ("Code: 516. DB::Exception: Authentication failed", Some(516), ErrorClass::Permanent),
            ("Code: 60", Some(60), ErrorClass::Schema),
            ("502 Bad Gateway", None, ErrorClass::Transient),
            ("Code: x", None, ErrorClass::Transient),
        ] {
            let error = refused(message);
            assert_eq!((error.code(), error.class()), (code, class), "{message}");
        }
        assert!(StoreError::timeout("insert", Duration::from_secs(1)).is_transient());
        assert!(!StoreError::Schema("x".into()).is_transient());
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let error = refused(&format!("Code: 27. {}", "é".repeat(5_000)));
        assert!(error.to_string().chars().count() < 1_100);
        assert_eq!(error.code(), Some(27));
    }
}
