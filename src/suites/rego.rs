//! Suites in Rego: `test_` rules, with the modules they are about.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::discover;
use super::error::SuiteError;
use super::filter::Filter;
use super::policy::refusal;
use super::report::{CaseReport, Outcome, SuiteReport};
use crate::domain::Finding;
use crate::engine::{EvaluationLimits, RegoTest, rego_tests};

/// Files that are looked at in one folder.
const MOST_FILES: usize = 10_000;

/// A file with `test_` rules, and the modules that it names.
#[derive(Clone, Debug)]
pub struct RegoJob {
    /// The file.
    pub file: PathBuf,
    /// Its package, without `data.`.
    pub package: String,
    /// File and text of every module that is needed, itself first.
    pub modules: Vec<(PathBuf, String)>,
    /// Its rules that are to be run.
    pub names: BTreeSet<String>,
}

impl RegoJob {
    /// Reads a file, and those beside it and among the policies that share its package or are
    /// named in it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(file: &Path, policies: &Path, filter: Option<&Filter>) -> Result<Self, SuiteError> {
        let rego = discover::read(file)?;
        let package = package_of(&rego).unwrap_or_default().to_owned();
        let names = names_of(&rego)
            .filter(|name| filter.is_none_or(|filter| filter.takes(&package, name)))
            .map(ToOwned::to_owned)
            .collect();
        let mut others = Vec::new();
        for folder in [file.parent().unwrap_or(Path::new(".")), policies] {
            others.extend(modules_in(folder, file)?);
        }
        let mut modules = vec![(file.to_owned(), rego)];
        // What a module names may name others.
        loop {
            let (needed, rest): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|(_, other)| is_needed(other, &package, &modules));
            others = rest;
            if needed.is_empty() {
                break;
            }
            for module in needed {
                // The one beside the test wins over one of the same package among the policies.
                let taken = package_of(&module.1);
                if !modules.iter().skip(1).any(|(_, other)| package_of(other) == taken) {
                    modules.push(module);
                }
            }
        }
        Ok(Self { file: file.to_owned(), package, modules, names })
    }

    /// A file whose text is at hand, with the modules that it needs.
    #[must_use]
    pub fn of((file, rego): (PathBuf, String), others: Vec<(PathBuf, String)>) -> Self {
        let package = package_of(&rego).unwrap_or_default().to_owned();
        let names = names_of(&rego).map(ToOwned::to_owned).collect();
        let modules = std::iter::once((file.clone(), rego)).chain(others).collect();
        Self { file, package, modules, names }
    }

    /// Runs its tests, on other modules than those that were read where these are given.
    ///
    /// # Errors
    /// What keeps a module from being read, with its place.
    pub fn run(
        &self,
        limits: &EvaluationLimits,
        modules: &[(PathBuf, String)],
        within: Option<Duration>,
    ) -> Result<Vec<RegoTest>, Vec<SuiteError>> {
        let named: Vec<(String, String)> =
            modules.iter().map(|(file, rego)| (file.display().to_string(), rego.clone())).collect();
        let own = self.file.display().to_string();
        let tests = rego_tests(&named, limits, within).map_err(|findings| {
            let error = |finding: Finding| {
                let file = finding.file.clone().unwrap_or_else(|| own.clone());
                refusal(Path::new(&file), finding)
            };
            findings.into_iter().map(error).collect::<Vec<_>>()
        })?;
        let wanted = |test: &RegoTest| test.file == own && self.names.contains(&test.name);
        Ok(tests.into_iter().filter(wanted).collect())
    }

    /// Runs its tests and reports them; those for which no time is left say so.
    ///
    /// # Errors
    /// What keeps a module from being read, with its place.
    pub fn report(
        &self,
        limits: &EvaluationLimits,
        within: Option<Duration>,
    ) -> Result<SuiteReport, Vec<SuiteError>> {
        let begin = Instant::now();
        let tests = self.run(limits, &self.modules, within)?;
        Ok(SuiteReport {
            file: self.file.clone(),
            policy: self.package.clone(),
            policy_file: self.modules.get(1).map(|(file, _)| file.clone()),
            cases: tests.into_iter().map(case).collect(),
            duration: begin.elapsed(),
        })
    }
}

fn case(test: RegoTest) -> CaseReport {
    CaseReport {
        name: test.name,
        description: String::new(),
        line: test.line,
        outcome: match (test.skipped, test.passed) {
            (true, _) => Outcome::Skipped,
            (false, true) => Outcome::Passed,
            (false, false) => Outcome::Failed,
        },
        differences: Vec::new(),
        message: test.error.or_else(|| test.skipped.then(|| "its name begins with todo_".into())),
        got: None,
        rules: Vec::new(),
        reads: Vec::new(),
        duration_us: test.duration_us,
    }
}

/// Other modules of a folder; files of tests are none.
fn modules_in(folder: &Path, except: &Path) -> Result<Vec<(PathBuf, String)>, SuiteError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(items) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut files: Vec<PathBuf> = items
        .take(MOST_FILES)
        .filter_map(|item| Some(item.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let same = path.file_name() == except.file_name();
            name.ends_with(".rego")
                && !name.ends_with("_test.rego")
                && !name.starts_with('.')
                && !same
        })
        .collect();
    files.sort();
    files.into_iter().map(|file| discover::read(&file).map(|rego| (file, rego))).collect()
}

/// Whether a file with `test_` rules is about the policy of a package. The policy's own file is not:
/// its text is another one than that at hand.
pub(super) fn is_about(file: &Path, rego: &str, package: &str) -> bool {
    let own = package_of(rego) == Some(package);
    let beside = file.to_string_lossy().ends_with("_test.rego");
    if own { beside } else { names_path(rego, &format!("data.{package}")) }
}

/// Whether a module shares the package of the tests, or is named by a module that is needed.
fn is_needed(rego: &str, package: &str, modules: &[(PathBuf, String)]) -> bool {
    let Some(own) = package_of(rego) else { return false };
    let path = format!("data.{own}");
    own == package || modules.iter().any(|(_, module)| names_path(module, &path))
}

/// Whether a text names a path, and not only a longer one that begins so.
fn names_path(rego: &str, path: &str) -> bool {
    rego.match_indices(path).any(|(at, _)| {
        let after = rego.get(at + path.len()..).and_then(|rest| rest.chars().next());
        !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn package_of(rego: &str) -> Option<&str> {
    let line = rego.lines().find_map(|line| line.strip_prefix("package "))?;
    line.split('#').next().map(str::trim)
}

/// Names of the rules that are tests.
fn names_of(rego: &str) -> impl Iterator<Item = &str> {
    rego.lines()
        .filter(|line| line.starts_with("test_") || line.starts_with("todo_test_"))
        .map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_names_are_read() {
        let rego =
            "# x\npackage a.b # c\n\ntest_x if true\ntest_y := true\n\ttest_z\ntodo_test_w\n";
        assert_eq!(package_of(rego), Some("a.b"));
        assert_eq!(names_of(rego).collect::<Vec<_>>(), ["test_x", "test_y", "todo_test_w"]);
        assert!(names_path("import data.a.b", "data.a.b") && names_path("data.a.b.c", "data.a.b"));
        assert!(!names_path("import data.a.bc", "data.a.b"));
    }
}
