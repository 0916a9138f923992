//! What is wrong with a configuration: all of it at once, each with its place and a way out.

use std::fmt;

use serde::Serialize;

use super::origin::Origin;

/// A configuration that can't be used. Its text lists every problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", list(.problems))]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) const fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Every problem that was found.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether trying again may help: never, a person must change the configuration.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        false
    }
}

/// One thing that is wrong. Neither text holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where: the files, variables and flags that had a part in it.
    pub places: Vec<Origin>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub way_out: String,
}

impl Problem {
    pub(super) fn new(place: Origin, what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { places: vec![place], what: what.into(), way_out: way_out.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, place) in self.places.iter().enumerate() {
            write!(f, "{}{place}", if n == 0 { "" } else { ", " })?;
        }
        let colon = if self.places.is_empty() { "" } else { ": " };
        write!(f, "{colon}{}\n    {}", self.what, self.way_out)
    }
}

fn list(problems: &[Problem]) -> String {
    let mut text = match problems.len() {
        1 => "the configuration has a problem:".to_owned(),
        n => format!("the configuration has {n} problems:"),
    };
    for problem in problems {
        text.push_str("\n  ");
        text.push_str(&problem.to_string());
    }
    text
}
