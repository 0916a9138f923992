//! The policy under test, and cases made ready for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::case::Case;
use super::discover;
use super::error::SuiteError;
use super::format::Suite;
use crate::domain::Finding;
use crate::engine::{Admitted, CompileLimits, Compiled, examine, with_defaults};

/// A policy, read and compiled.
#[derive(Clone, Debug)]
pub struct PolicyUnderTest {
    /// Its name: the file's, without `.rego`.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// Its text.
    pub rego: Arc<str>,
    /// Its program.
    pub compiled: Compiled,
    /// What its author should look at.
    pub hints: Vec<SuiteError>,
}

/// A case made ready: what the policy reads.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The case.
    pub case: Case,
    /// The input, without `parameters`.
    pub input: Map<String, Value>,
    /// The settings with the defaults; as they are written where the case is raw.
    pub parameters: Value,
}

impl Prepared {
    /// The whole input that the policy reads.
    #[must_use]
    pub fn whole_input(&self) -> Map<String, Value> {
        let mut input = self.input.clone();
        input.insert("parameters".into(), self.parameters.clone());
        input
    }
}

impl PolicyUnderTest {
    /// Reads a policy's file, and examines it as a store of policies would, but for its own `test_`
    /// rules: they are tests too, and reported as such.
    ///
    /// # Errors
    /// Why it can't be read or is refused, and where.
    pub fn read(file: &Path, limits: &CompileLimits) -> Result<Self, Vec<SuiteError>> {
        let rego = discover::read(file).map_err(|error| vec![error])?;
        Self::of(file, rego, limits)
            .map_err(|findings| findings.into_iter().map(|f| refusal(file, f)).collect())
    }

    /// The same of a text that is at hand.
    ///
    /// # Errors
    /// Why it is refused, and where.
    pub fn of(file: &Path, rego: String, limits: &CompileLimits) -> Result<Self, Vec<Finding>> {
        let shown = file.file_name().unwrap_or_default().to_string_lossy();
        let Admitted { compiled, warnings } = examine(&shown, &rego, limits)?;
        let hints = warnings.into_iter().map(|f| refusal(file, f)).collect();
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, file: file.to_owned(), rego: rego.into(), compiled, hints })
    }

    /// Makes the cases of a suite ready. `at` is the clock of cases that don't set `now`.
    ///
    /// # Errors
    /// Parameters that the policy's schema refuses, each with the case's line.
    pub fn prepare(
        &self,
        suite: Suite,
        at: DateTime<Utc>,
    ) -> Result<Vec<Prepared>, Vec<SuiteError>> {
        let mut wrong = Vec::new();
        let mut prepared = Vec::with_capacity(suite.cases.len());
        for case in suite.cases {
            match self.parameters(&case) {
                Ok(parameters) => {
                    let input = case.input(at);
                    prepared.push(Prepared { case, input, parameters });
                }
                Err(problem) => {
                    let problem = format!("{}: {problem}", case.name);
                    wrong.push(SuiteError::at(&suite.file, case.line, problem));
                }
            }
        }
        if wrong.is_empty() { Ok(prepared) } else { Err(wrong) }
    }

    fn parameters(&self, case: &Case) -> Result<Value, String> {
        match &case.parameters {
            Value::Object(given) if !case.raw => {
                with_defaults(&self.compiled.metadata.parameters, given).map(Value::Object).map_err(
                    |error| {
                        format!(
                            "{error}; to hand the policy settings that no admission takes, say \
                             `raw: true` in the case"
                        )
                    },
                )
            }
            other => Ok(other.clone()),
        }
    }
}

/// What stands in the way of a policy.
pub(super) fn refusal(file: &Path, finding: Finding) -> SuiteError {
    let message = if finding.help.is_empty() {
        finding.message
    } else {
        format!("{}; {}", finding.message, finding.help)
    };
    SuiteError { line: finding.line, column: finding.column, ..SuiteError::of(file, message) }
}
