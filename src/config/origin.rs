//! Where a value came from, and the rows that `sluicegate config` prints.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::Value as Json;

/// Where a value came from. Later ones win over earlier ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Built in.
    Default,
    /// A file: the main one or a profile's.
    File {
        /// Its path, as it was given.
        path: PathBuf,
        /// The line of the key, counted from 1.
        line: Option<usize>,
    },
    /// An environment variable, by name.
    Variable(String),
    /// A flag of the command line, by name.
    Flag(String),
}

impl Origin {
    pub(super) fn file(path: &Path, line: Option<usize>) -> Self {
        Self::File { path: path.to_owned(), line }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One key of the merged configuration, as a person may see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Section and name, for example `nats.url`.
    pub key: &'static str,
    /// The value, with secrets and credentials hidden.
    pub value: Json,
    /// Where it came from.
    pub origin: Origin,
    /// The environment variable that sets it.
    pub variable: String,
}

impl Row {
    /// The value as it is written in TOML, with secrets and credentials hidden.
    #[must_use]
    pub fn shown(&self) -> String {
        // Strings, numbers and booleans are written alike in JSON and TOML.
        match &self.value {
            Json::Array(items) => {
                let items: Vec<String> = items.iter().map(Json::to_string).collect();
                format!("[{}]", items.join(", "))
            }
            value => value.to_string(),
        }
    }
}
