//! The policy under test, and cases made ready for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::case::Case;
use super::discover;
use super::error::SuiteError;
use super::format::Suite;
use crate::engine::{CompileLimits, Compiled, compile, with_defaults};

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
    /// Reads and compiles a policy's file.
    ///
    /// # Errors
    /// Why it can't be read or is refused, and where.
    pub fn read(file: &Path, limits: &CompileLimits) -> Result<Self, SuiteError> {
        Self::new(file, discover::read(file)?.into(), limits)
    }

    /// Compiles a policy's text; the file is where it is from.
    ///
    /// # Errors
    /// Why it is refused, and where.
    pub fn new(file: &Path, rego: Arc<str>, limits: &CompileLimits) -> Result<Self, SuiteError> {
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let shown = file.file_name().map(|name| name.to_string_lossy().into_owned());
        let compiled = compile(&shown.unwrap_or_default(), &rego, limits)
            .map_err(|error| SuiteError::of(file, error.to_string()))?;
        Ok(Self { name: name.unwrap_or_default(), file: file.to_owned(), rego, compiled })
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
