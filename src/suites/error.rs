//! Why a suite can't be run.

use std::path::{Path, PathBuf};

/// A suite that can't be run as it is written: where, why, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", place(.file, *.line, *.column), .message)]
pub struct SuiteError {
    /// The file; empty where it is about none.
    pub file: PathBuf,
    /// Line in it, from 1.
    pub line: Option<usize>,
    /// Column of the line, from 1.
    pub column: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

fn place(file: &Path, line: Option<usize>, column: Option<usize>) -> String {
    let number = |n: Option<usize>| n.map_or_else(String::new, |n| format!(":{n}"));
    if file.as_os_str().is_empty() {
        return String::new();
    }
    format!("{}{}{}: ", file.display(), number(line), number(column.filter(|_| line.is_some())))
}

impl SuiteError {
    /// About a file as a whole.
    pub fn of(file: &Path, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, column: None, message: message.into() }
    }

    /// About one line of a file.
    pub fn at(file: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::of(file, message) }
    }

    /// Whether trying again could help: never, a file must be changed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        false
    }
}
