//! Mutation: a policy is changed in one small place, and a good suite notices. What no test
//! notices is a gap in the tests, or a line that makes no difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;

use super::compare::differences;
use super::coverage::percent;
use super::plan::Plan;
use super::policy::Prepared;
use super::rego::RegoJob;
use super::run::{Tester, on_deep_stack};
use crate::engine::{CompileLimits, Compiled, EvaluationLimits, Mutant, compile, mutants};

/// Bytes that a mutant may have more than its policy.
const MORE_BYTES: usize = 1_024;

/// What the tests of one policy notice.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PolicyMutation {
    /// The policy's file.
    pub file: PathBuf,
    /// Changes that were tried.
    pub mutants: usize,
    /// Changes that a test noticed.
    pub caught: usize,
    /// Their share, in percent.
    pub percent: f64,
    /// Changes that no test noticed, in the order of the text.
    pub survivors: Vec<Survivor>,
}

/// A change that no test noticed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Survivor {
    /// Line of the change, from 1.
    pub line: usize,
    /// Column of the line, from 1.
    pub column: usize,
    /// What was changed.
    pub description: String,
}

/// A policy with all that tests it.
struct Target<'a> {
    file: &'a Path,
    mutants: Vec<Mutant>,
    cases: Vec<&'a Prepared>,
    rules: Vec<&'a RegoJob>,
    limits: CompileLimits,
}

/// The mutants of every policy of a plan.
pub struct Mutation<'a> {
    targets: Vec<Target<'a>>,
}

impl<'a> Mutation<'a> {
    /// Makes the mutants.
    #[must_use]
    pub fn of(plan: &'a Plan) -> Self {
        let mut texts: BTreeMap<&Path, (&str, Vec<&Prepared>)> = BTreeMap::new();
        for job in &plan.jobs {
            let policy = &job.policy;
            let (_, cases) =
                texts.entry(&policy.file).or_insert_with(|| (&policy.rego, Vec::new()));
            cases.extend(&job.cases);
        }
        for job in &plan.rego {
            for (file, rego) in job.modules.iter().filter(|(file, _)| !is_only_tests(file)) {
                texts.entry(file).or_insert_with(|| (rego, Vec::new()));
            }
        }
        let target = |(file, (rego, cases)): (&'a Path, (&'a str, Vec<&'a Prepared>))| Target {
            file,
            mutants: mutants(&shown(file), rego),
            cases,
            rules: plan.rego.iter().filter(|job| job.modules.iter().any(|m| m.0 == file)).collect(),
            limits: CompileLimits { bytes: rego.len() + MORE_BYTES, nesting: usize::MAX },
        };
        Self { targets: texts.into_iter().map(target).collect() }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.targets.iter().map(|target| target.mutants.len()).sum()
    }

    /// Runs all tests on all of them, on every core; says after each that it is done.
    ///
    /// # Errors
    /// When a thread can't be started or panicked.
    pub fn run(
        &self,
        limits: &EvaluationLimits,
        done: &(dyn Fn() + Sync),
    ) -> std::io::Result<Vec<PolicyMutation>> {
        let work: Vec<(usize, &Mutant)> = self
            .targets
            .iter()
            .enumerate()
            .flat_map(|(index, target)| target.mutants.iter().map(move |mutant| (index, mutant)))
            .collect();
        let next = AtomicUsize::new(0);
        let survivors: Mutex<Vec<(usize, Survivor)>> = Mutex::new(Vec::new());
        let worker = || {
            let mut tester = Tester::new(*limits);
            while let Some((index, mutant)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                let caught =
                    self.targets.get(*index).is_none_or(|t| t.catches(mutant, &mut tester, limits));
                if !caught {
                    let survivor = Survivor {
                        line: mutant.line,
                        column: mutant.column,
                        description: mutant.description.clone(),
                    };
                    let mut all = survivors.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push((*index, survivor));
                }
                done();
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let running: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| on_deep_stack(limits, worker))).collect();
            running.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread panicked")))
            })
        })?;
        let survivors = survivors.into_inner().unwrap_or_else(PoisonError::into_inner);
        let report = |(index, target): (usize, &Target<'_>)| {
            let of_target = survivors.iter().filter(|(of, _)| *of == index);
            let mut survivors: Vec<Survivor> = of_target.map(|(_, s)| s.clone()).collect();
            survivors.sort();
            let (mutants, caught) =
                (target.mutants.len(), target.mutants.len().saturating_sub(survivors.len()));
            PolicyMutation {
                file: target.file.to_owned(),
                mutants,
                caught,
                percent: percent(caught, mutants),
                survivors,
            }
        };
        Ok(self.targets.iter().enumerate().map(report).collect())
    }
}

impl Target<'_> {
    /// Whether a test notices a change.
    fn catches(&self, mutant: &Mutant, tester: &mut Tester, limits: &EvaluationLimits) -> bool {
        let name = shown(self.file);
        let notices = |compiled: &Compiled, case: &&Prepared, tester: &mut Tester| {
            let said = tester.ask(&name, compiled, &mutant.rego, case);
            !differences(&case.case.expected, &said).is_empty()
        };
        // What doesn't compile would not be admitted.
        let Ok(compiled) = compile(&name, &mutant.rego, &self.limits) else { return true };
        self.cases.iter().any(|case| notices(&compiled, case, tester))
            || self.rules.iter().any(|job| {
                let mut modules = job.modules.clone();
                for (file, rego) in &mut modules {
                    if *file == self.file {
                        rego.clone_from(&mutant.rego);
                    }
                }
                let passes = |test: &crate::engine::RegoTest| test.passed || test.skipped;
                job.run(limits, &modules, None).map_or(true, |tests| !tests.iter().all(passes))
            })
    }
}

fn is_only_tests(file: &Path) -> bool {
    shown(file).ends_with("_test.rego")
}

fn shown(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
