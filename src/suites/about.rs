//! All suites about one policy whose text is at hand, stored or not: its own `test_` rules, and what
//! the folders of suites hold about it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::discover::{self, Found, Source};
use super::error::SuiteError;
use super::format::{self, Suite};
use super::plan::Job;
use super::policy::PolicyUnderTest;
use super::rego::{self, RegoJob};
use super::report::Report;
use super::run::{self, Tester, on_deep_stack};
use crate::contract::RequestBounds;
use crate::domain::Finding;
use crate::engine::{CompileLimits, EvaluationLimits};

/// The name that a suite has which comes from no file.
const GIVEN: &str = "suite";

/// What to run.
#[derive(Clone, Debug)]
pub struct About {
    /// The policy's name, which suites call it by.
    pub policy: String,
    /// The policy whose Rego it uses, by which suites may call it too.
    pub template: Option<String>,
    /// Its text.
    pub rego: String,
    /// A suite in YAML to run instead of all others, whatever policy it names.
    pub given: Option<String>,
    /// Folders with suites; those that aren't there hold none.
    pub folders: Vec<PathBuf>,
    /// What a request may be.
    pub bounds: RequestBounds,
    /// What a policy may be.
    pub limits: CompileLimits,
    /// What an evaluation may cost.
    pub evaluation: EvaluationLimits,
    /// The clock of cases that don't set `now`.
    pub at: DateTime<Utc>,
    /// Time for all cases together; those after it are skipped and say so.
    pub patience: Duration,
}

impl About {
    /// Reads and runs them.
    ///
    /// # Errors
    /// What keeps the policy's text from being compiled. What is wrong with a suite is in the report.
    pub fn run(&self) -> Result<Report, Vec<Finding>> {
        let begin = Instant::now();
        let file = PathBuf::from(format!("{}.rego", self.policy));
        let policy = PolicyUnderTest::of(&file, self.rego.clone(), &self.limits)?;
        let mut report = Report::default();
        let (jobs, rego) = self.find(&policy, &mut report.invalid);
        let until = begin + self.patience;
        let ran = on_deep_stack(&self.evaluation, || {
            let mut tester = Tester::new(self.evaluation).until(until);
            jobs.iter().map(|job| run::suite(job, &mut tester, None)).collect::<Vec<_>>()
        });
        match ran {
            Ok(suites) => suites.into_iter().for_each(|suite| report.add(suite)),
            Err(error) => report.invalid.push(SuiteError::of(Path::new(""), error.to_string())),
        }
        for job in rego {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let problem = "not run: the time for all tests together was over";
                report.invalid.push(SuiteError::of(&job.file, problem));
                continue;
            }
            match job.report(&self.evaluation, Some(left)) {
                Ok(suite) => report.add(suite),
                Err(errors) => report.invalid.extend(errors),
            }
        }
        report.duration = begin.elapsed();
        Ok(report)
    }

    /// What there is about the policy; beside it what can't be run.
    fn find(
        &self,
        policy: &PolicyUnderTest,
        invalid: &mut Vec<SuiteError>,
    ) -> (Vec<Job>, Vec<RegoJob>) {
        if let Some(text) = &self.given {
            let job = self.parse(Path::new(GIVEN), text).and_then(|suite| self.job(policy, suite));
            return match job {
                Ok(job) => (vec![job], Vec::new()),
                Err(errors) => {
                    invalid.extend(errors);
                    (Vec::new(), Vec::new())
                }
            };
        }
        let own = (policy.file.clone(), self.rego.clone());
        let mut jobs = Vec::new();
        let mut rules = Vec::new();
        if discover::has_test_rules(&self.rego) {
            rules.push(RegoJob::of(own.clone(), Vec::new()));
        }
        for folder in outermost(&self.folders) {
            let found = match discover::in_folder(&folder) {
                Ok(found) => found,
                Err(error) => {
                    invalid.push(error);
                    continue;
                }
            };
            for Found { file, source } in found {
                let text = match discover::read(&file) {
                    Ok(text) => text,
                    Err(error) => {
                        invalid.push(error);
                        continue;
                    }
                };
                match source {
                    // To parse only what may be about it: one click reads all suites.
                    Source::Yaml if self.names().any(|name| text.contains(name)) => {
                        match self.parse(&file, &text) {
                            Ok(suite) if !self.is_meant(&suite) => (),
                            Ok(suite) => match self.job(policy, suite) {
                                Ok(job) => jobs.push(job),
                                Err(errors) => invalid.extend(errors),
                            },
                            // What can't be read may be anybody's.
                            Err(errors) if self.names().any(|name| is_named(&text, name)) => {
                                invalid.extend(errors);
                            }
                            Err(_) => (),
                        }
                    }
                    Source::Yaml => (),
                    Source::Rego => {
                        if rego::is_about(&file, &text, &policy.compiled.package) {
                            rules.push(RegoJob::of((file, text), vec![own.clone()]));
                        }
                    }
                }
            }
        }
        (jobs, rules)
    }

    fn parse(&self, file: &Path, text: &str) -> Result<Suite, Vec<SuiteError>> {
        format::parse(file, text, &self.bounds)
    }

    /// Whether a suite names the policy, by its name or by its file's path.
    fn is_meant(&self, suite: &Suite) -> bool {
        let named = Path::new(&suite.policy);
        let is_file = named.extension().is_some_and(|extension| extension == "rego");
        self.names().any(|name| {
            suite.policy == name || (is_file && named.file_stem().is_some_and(|stem| stem == name))
        })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.policy.as_str()).chain(self.template.as_deref())
    }

    fn job(&self, policy: &PolicyUnderTest, suite: Suite) -> Result<Job, Vec<SuiteError>> {
        let file = suite.file.clone();
        let cases = policy.prepare(suite, self.at)?;
        Ok(Job { file, policy: policy.clone(), cases })
    }
}

/// The folders that are there, without those inside another: their suites are found once.
fn outermost(folders: &[PathBuf]) -> Vec<PathBuf> {
    let there: Vec<PathBuf> = folders.iter().filter(|folder| folder.is_dir()).cloned().collect();
    let places: Vec<PathBuf> = there
        .iter()
        .map(|folder| folder.canonicalize().unwrap_or_else(|_| folder.clone()))
        .collect();
    let inside = |index: usize, place: &PathBuf| {
        places
            .iter()
            .enumerate()
            .any(|(other, outer)| place.starts_with(outer) && (place != outer || other < index))
    };
    let found = there.into_iter().zip(&places).enumerate();
    found
        .filter(|(index, (_, place))| !inside(*index, place))
        .map(|(_, (folder, _))| folder)
        .collect()
}

/// Whether a line says that a suite is about the policy.
fn is_named(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    text.lines().filter(|line| line.contains("policy")).any(|line| {
        line.match_indices(name).any(|(at, _)| {
            let before = line.get(..at).and_then(|part| part.chars().next_back());
            let after = line.get(at + name.len()..).and_then(|part| part.chars().next());
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_inside_others_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (outer, inner) = (folder.path().join("a"), folder.path().join("a/b"));
        std::fs::create_dir_all(&inner).unwrap();
        let missing = folder.path().join("c");
        let given = [inner.clone(), outer.clone(), missing, outer.join("b/.."), outer.clone()];
        assert_eq!(outermost(&given), [outer]);
        assert_eq!(outermost(std::slice::from_ref(&inner)), [inner]);
    }

    #[test]
    fn a_suite_that_cannot_be_read_is_about_the_policy_that_a_line_names() {
        assert!(is_named("policy: default\ncases: [", "default"));
        assert!(is_named("\"policy\": \"policies/default.rego\"\n", "default"));
        assert!(!is_named("policy: cost_control\ndefaults: [", "default"));
        assert!(!is_named("policy: default_2\n", "default"));
    }
}
