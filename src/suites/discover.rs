//! Finding suites, and the policies they are about.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::error::SuiteError;

/// Bytes of one file.
const MAX_BYTES: u64 = 4 << 20;
/// Suites in one run.
const MAX_SUITES: usize = 10_000;
/// Folders within folders.
const MAX_DEPTH: usize = 32;
/// How the name of a suite in YAML ends.
const YAML_ENDINGS: [&str; 4] = ["_tests.yaml", "_test.yaml", "_tests.yml", "_test.yml"];

/// Which language a suite is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Cases in YAML.
    Yaml,
    /// `test_` rules in Rego.
    Rego,
}

/// A suite's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Where it is.
    pub file: PathBuf,
    /// What it is in.
    pub source: Source,
}

/// Suites at these paths: a file each, or all below a folder. Sorted, each once.
///
/// # Errors
/// What isn't there, can't be read, or holds no tests.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Found>, SuiteError> {
    let mut found = Vec::new();
    for path in paths {
        let kind = std::fs::metadata(path)
            .map_err(|e| SuiteError::of(path, format!("can't be read: {e}")))?;
        if kind.is_dir() {
            let here = in_folder(path)?;
            if here.is_empty() {
                return Err(SuiteError::of(
                    path,
                    "the folder holds no tests: they are files whose names end in _tests.yaml, and \
                     .rego files with rules whose names begin with test_",
                ));
            }
            found.extend(here);
        } else if kind.is_file() {
            found.push(Found { file: path.clone(), source: source_of(path)? });
        } else {
            return Err(SuiteError::of(path, "is neither a file nor a folder"));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// What a file that was named is in; its name may be any.
fn source_of(path: &Path) -> Result<Source, SuiteError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => Ok(Source::Yaml),
        Some("rego") if has_test_rules(&read(path)?) => Ok(Source::Rego),
        Some("rego") => Err(SuiteError::of(
            path,
            "the file has no tests: they are rules whose names begin with test_; cases in YAML go \
             to a file beside it, whose name ends in _tests.yaml",
        )),
        _ => Err(SuiteError::of(
            path,
            "is no suite: give a .yaml file with cases, a .rego file with test_ rules, or a folder",
        )),
    }
}

/// All suites below a folder, in the order of their names.
///
/// # Errors
/// What can't be read, and more files than are looked at.
pub fn in_folder(folder: &Path) -> Result<Vec<Found>, SuiteError> {
    let mut found = Vec::new();
    let hidden = |name: &std::ffi::OsStr| name.to_str().is_none_or(|name| name.starts_with('.'));
    let files = WalkDir::new(folder)
        .max_depth(MAX_DEPTH)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !hidden(entry.file_name()));
    for entry in files {
        let entry = entry.map_err(|error| {
            SuiteError::of(error.path().unwrap_or(folder), format!("can't be read: {error}"))
        })?;
        if !entry.path().is_file() {
            continue;
        }
        let name = entry.file_name().to_string_lossy();
        let is_rego = Path::new(name.as_ref()).extension().is_some_and(|e| e == "rego");
        let source = if YAML_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            Source::Yaml
        } else if is_rego && has_test_rules(&read(entry.path())?) {
            Source::Rego
        } else {
            continue;
        };
        found.push(Found { file: entry.into_path(), source });
        if found.len() > MAX_SUITES {
            let problem = format!("holds more than {MAX_SUITES} suites; name a part of it");
            return Err(SuiteError::of(folder, problem));
        }
    }
    Ok(found)
}

/// Whether a Rego text has a rule whose name begins with `test_`.
#[must_use]
pub fn has_test_rules(rego: &str) -> bool {
    rego.lines().any(|line| line.starts_with("test_") || line.starts_with("todo_test_"))
}

/// Reads a file, up to a bound.
///
/// # Errors
/// When it is not there, too large, or no text.
pub fn read(file: &Path) -> Result<String, SuiteError> {
    let failed = |error: std::io::Error| SuiteError::of(file, format!("can't be read: {error}"));
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(failed)?;
    opened.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        let problem =
            format!("has more than {MAX_BYTES} bytes, which is all that is read; split it");
        return Err(SuiteError::of(file, problem));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        SuiteError::of(file, format!("isn't UTF-8: bad byte at {at}"))
    })
}

/// The file of the policy that a suite names: a path seen from the suite, or a name, for which the
/// suite's folder and then the policies' are looked in.
///
/// # Errors
/// Where it was looked for, and the nearest name there.
pub fn find_policy(
    suite: &Path,
    line: usize,
    policy: &str,
    policies: &Path,
) -> Result<PathBuf, SuiteError> {
    let beside = suite.parent().unwrap_or(Path::new("."));
    let is_path = policy.contains('/') || policy.ends_with(".rego");
    let places = if is_path {
        vec![beside.join(policy)]
    } else {
        vec![beside.join(format!("{policy}.rego")), policies.join(format!("{policy}.rego"))]
    };
    if let Some(file) = places.iter().find(|place| place.is_file()) {
        return Ok(file.clone());
    }
    let looked = places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" and ");
    let nearest = if is_path { None } else { nearest(policy, &[beside, policies]) };
    let hint = nearest.map_or_else(
        || "; name the folder of the policies with --policies, or write the file's path".to_owned(),
        |name| format!("; did you mean `{name}`?"),
    );
    let problem = format!("the policy `{policy}` is not there: looked for {looked}{hint}");
    Err(SuiteError::at(suite, line, problem))
}

fn nearest(policy: &str, folders: &[&Path]) -> Option<String> {
    let names: Vec<String> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|items| items.take(MAX_SUITES).filter_map(Result::ok))
        .map(|item| item.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rego"))
        .filter_map(|path| path.file_stem()?.to_str().map(ToOwned::to_owned))
        .collect();
    crate::domain::nearest(policy, names.iter().map(String::as_str)).map(ToOwned::to_owned)
}
