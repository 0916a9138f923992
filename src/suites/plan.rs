//! What is to be run: the suites that were found, read, with their policies compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::discover::{self, Found, Source};
use super::error::SuiteError;
use super::filter::Filter;
use super::format;
use super::policy::{PolicyUnderTest, Prepared};
use super::rego::RegoJob;
use crate::contract::RequestBounds;
use crate::engine::CompileLimits;

/// How suites are read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Files and folders with suites.
    pub paths: Vec<PathBuf>,
    /// Folder of the policies.
    pub policies: PathBuf,
    /// Which cases; all where there is none.
    pub filter: Option<Filter>,
    /// What a request may be.
    pub bounds: RequestBounds,
    /// What a policy may be.
    pub limits: CompileLimits,
    /// The clock of cases that don't set `now`.
    pub at: DateTime<Utc>,
}

/// Cases in YAML with their policy.
#[derive(Clone, Debug)]
pub struct Job {
    /// The suite's file.
    pub file: PathBuf,
    /// Its policy.
    pub policy: PolicyUnderTest,
    /// Its cases, those that the filter takes.
    pub cases: Vec<Prepared>,
}

/// What is to be run, and what can't be.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Suites in YAML.
    pub jobs: Vec<Job>,
    /// Suites in Rego.
    pub rego: Vec<RegoJob>,
    /// What is wrong with the others.
    pub invalid: Vec<SuiteError>,
    /// What the authors of the policies should look at.
    pub hints: Vec<SuiteError>,
    /// Every file that was read or looked for.
    pub files: BTreeSet<PathBuf>,
}

impl Plan {
    /// Finds and reads suites and their policies. What can't be read is in the plan too: the
    /// others can be run.
    #[must_use]
    pub fn make(reading: &Reading) -> Self {
        let mut plan = Self::default();
        let found = match discover::find(&reading.paths) {
            Ok(found) => found,
            Err(error) => {
                plan.invalid.push(error);
                return plan;
            }
        };
        let mut policies = BTreeMap::new();
        for Found { file, source } in found {
            plan.files.insert(file.clone());
            match source {
                Source::Yaml => match plan.job(&file, reading, &mut policies) {
                    Ok(job) => plan.jobs.extend(Some(job).filter(|job| !job.cases.is_empty())),
                    Err(errors) => plan.invalid.extend(errors),
                },
                Source::Rego => {
                    match RegoJob::read(&file, &reading.policies, reading.filter.as_ref()) {
                        Ok(job) if job.names.is_empty() => (),
                        Ok(job) => {
                            plan.files.extend(job.modules.iter().map(|(file, _)| file.clone()));
                            plan.rego.push(job);
                        }
                        Err(error) => plan.invalid.push(error),
                    }
                }
            }
        }
        if plan.suites() == 0 && plan.invalid.is_empty() {
            let problem = "no test's name matches --filter; without it, `--json` lists the names";
            plan.invalid.push(SuiteError::of(Path::new(""), problem));
        }
        plan
    }

    fn job(
        &mut self,
        file: &Path,
        reading: &Reading,
        policies: &mut BTreeMap<PathBuf, PolicyUnderTest>,
    ) -> Result<Job, Vec<SuiteError>> {
        let one = |error| vec![error];
        let text = discover::read(file).map_err(one)?;
        let suite = format::parse(file, &text, &reading.bounds)?;
        let place =
            discover::find_policy(file, suite.policy_line, &suite.policy, &reading.policies)
                .map_err(one)?;
        self.files.insert(place.clone());
        let policy = match policies.get(&place) {
            Some(policy) => policy.clone(),
            None => PolicyUnderTest::read(&place, &reading.limits)?,
        };
        if policies.insert(place, policy.clone()).is_none() {
            self.hints.extend(policy.hints.clone());
        }
        let mut cases = policy.prepare(suite, reading.at)?;
        if let Some(filter) = &reading.filter {
            cases.retain(|case| filter.takes(&policy.name, &case.case.name));
        }
        Ok(Job { file: file.to_owned(), policy, cases })
    }

    /// Suites that can be run.
    #[must_use]
    pub fn suites(&self) -> usize {
        self.jobs.len() + self.rego.len()
    }

    /// Policies that they are about.
    #[must_use]
    pub fn policies(&self) -> usize {
        let of_cases = self.jobs.iter().map(|job| &job.policy.file);
        let of_rules = self.rego.iter().flat_map(|job| job.modules.iter().skip(1));
        of_cases.chain(of_rules.map(|(file, _)| file)).collect::<BTreeSet<_>>().len()
    }
}
