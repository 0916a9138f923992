//! What a run found, for people and programs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::compare::{Difference, Said};
use super::coverage::PolicyCoverage;
use super::error::SuiteError;
use super::mutation::PolicyMutation;
use crate::domain::trace::{FiredRule, InputRead};

/// A whole run.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Report {
    /// Cases that met every expectation.
    pub passed: usize,
    /// Cases that didn't.
    pub failed: usize,
    /// Cases that could not be run here.
    pub skipped: usize,
    /// Time of the run.
    #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
    #[schemars(with = "f64")]
    pub duration: Duration,
    /// Suites that were run.
    pub suites: Vec<SuiteReport>,
    /// Lines of the policies, where they were wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Vec<PolicyCoverage>>,
    /// What small changes of the policies the tests notice, where that was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutation: Option<Vec<PolicyMutation>>,
    /// What the authors of the policies should look at; it fails nothing.
    #[serde(default, serialize_with = "problems", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Problem<'static>>")]
    pub hints: Vec<SuiteError>,
    /// What is wrong with suites that were not run.
    #[serde(serialize_with = "problems")]
    #[schemars(with = "Vec<Problem<'static>>")]
    pub invalid: Vec<SuiteError>,
}

/// One suite.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SuiteReport {
    /// Its file.
    pub file: PathBuf,
    /// The policy's name; for `test_` rules their package.
    pub policy: String,
    /// The policy's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_file: Option<PathBuf>,
    /// Its cases.
    pub cases: Vec<CaseReport>,
    /// Time of its run.
    #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
    #[schemars(with = "f64")]
    pub duration: Duration,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every expectation was met.
    Passed,
    /// One was not.
    Failed,
    /// It could not be run here.
    Skipped,
}

/// One case.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// What it shows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its line in the suite's file.
    pub line: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// The expectations that were not met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// Why it was skipped, or what stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the policy said; none for `test_` rules and for what was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<Said>,
    /// The definitions that held, of a failed case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<FiredRule>,
    /// What the policy read of the input, of a failed case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<InputRead>,
    /// Time of its evaluation, in microseconds.
    pub duration_us: u64,
}

impl Report {
    /// Takes in a suite that was run.
    pub fn add(&mut self, suite: SuiteReport) {
        for case in &suite.cases {
            match case.outcome {
                Outcome::Passed => self.passed += 1,
                Outcome::Failed => self.failed += 1,
                Outcome::Skipped => self.skipped += 1,
            }
        }
        self.suites.push(suite);
    }

    /// Cases that were run.
    #[must_use]
    pub const fn cases(&self) -> usize {
        self.passed + self.failed + self.skipped
    }
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1e6).round() / 1e3)
}

/// A suite that can't be run, or a hint.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SuiteProblem")]
struct Problem<'a> {
    /// The file; empty where it is about none.
    file: &'a Path,
    /// Line in it, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// Column of the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    /// What is wrong and what to do.
    message: &'a str,
}

fn problems<S: Serializer>(errors: &[SuiteError], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(errors.iter().map(|error| Problem {
        file: &error.file,
        line: error.line,
        column: error.column,
        message: &error.message,
    }))
}
