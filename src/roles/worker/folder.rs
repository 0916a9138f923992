//! Policies from a folder: `*.rego` files, and `policies.toml`, which says which are active.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::bytes;
use super::decide::fail_mode;
use crate::config::{self, Config};
use crate::domain::{FailMode, Policy, PolicyMode, Scope, ScopeKind, Severity, Status};
use crate::engine::{self, CompileLimits, Compiled, EngineError, Entry, PolicySet};

/// The file that says which policies are active.
const SETTINGS_FILE: &str = "policies.toml";
/// Bytes of that file at most.
const MAX_SETTINGS: u64 = 4 << 20;

/// Why a folder of policies can't be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Not there, or not readable.
    #[error("policies: {path} can't be read: {source} (setting policies.folder)")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The settings file is wrong.
    #[error("policies: {path}: {reason}")]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// More policies than the limit.
    #[error("policies: {folder} holds more than {limit} policies (setting policies.max_policies)")]
    TooMany {
        /// The folder.
        folder: PathBuf,
        /// How many may be.
        limit: usize,
    },
    /// Two policies that can't be in one set.
    #[error("policies: {0}")]
    Set(#[from] EngineError),
}

/// What a folder gave.
#[derive(Debug)]
pub struct Loaded {
    /// The policies; those that are wrong are in it too and fail at every check.
    pub set: PolicySet,
    /// What is wrong, policy by policy.
    pub problems: Vec<String>,
}

/// What `policies.toml` says of one policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    status: Status,
    mode: PolicyMode,
    scope: ScopeKind,
    scope_id: String,
    parameters: Map<String, Value>,
    fail_mode: Option<FailMode>,
    severity: Option<Severity>,
    version: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            status: Status::Inactive,
            mode: PolicyMode::Enforce,
            scope: ScopeKind::Global,
            scope_id: String::new(),
            parameters: Map::new(),
            fail_mode: None,
            severity: None,
            version: 1,
        }
    }
}

/// Reads and compiles the policies of the configured folder.
///
/// # Errors
/// When the folder or its settings can't be read as a whole. A policy that is wrong by itself is
/// a problem, not an error: the others must not fall with it.
pub fn load_folder(config: &Config) -> Result<Loaded, FolderError> {
    let folder = &config.policies.folder;
    let files = rego_files(folder, config.policies.max_policies)?;
    let mut settings = read_settings(&folder.join(SETTINGS_FILE))?;
    let mut problems = Vec::new();
    let mut entries: Vec<Entry> = Vec::with_capacity(files.len());
    let mut packages: BTreeMap<String, String> = BTreeMap::new();
    for (name, path) in &files {
        let settings = settings.remove(name).unwrap_or_default();
        let (policy, mut compiled) = read_policy(name, path, settings, config);
        if compiled.is_ok()
            && let Some(first) = packages.insert(policy.package.clone(), name.clone())
        {
            let error = EngineError::Duplicate {
                what: "package",
                value: policy.package.clone(),
                first: format!("{first}.rego"),
                second: format!("{name}.rego"),
            };
            compiled = Err(error.to_string());
        }
        if let Err(problem) = &compiled {
            problems.push(format!("{name}: {problem}"));
        }
        entries.push(Entry::new(policy, compiled));
    }
    if let Some(unknown) = settings.keys().next() {
        let names = files.iter().map(|(name, _)| name.as_str());
        let nearest = names
            .map(|name| (strsim::jaro_winkler(name, unknown), name))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(similarity, _)| *similarity > 0.8)
            .map_or_else(String::new, |(_, name)| format!("; did you mean [{name}]?"));
        return Err(FolderError::Settings {
            path: folder.join(SETTINGS_FILE),
            reason: format!("[{unknown}] names no file {unknown}.rego in the folder{nearest}"),
        });
    }
    Ok(Loaded { set: PolicySet::new(entries)?, problems })
}

/// Name and path of every policy, by name.
fn rego_files(folder: &Path, limit: usize) -> Result<Vec<(String, PathBuf)>, FolderError> {
    let unreadable = |source| FolderError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = item.map_err(unreadable)?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_rego = path.extension().is_some_and(|extension| extension == "rego");
        // Editors keep hidden copies beside the file; `x_test.rego` holds tests of `x.rego`.
        if !is_rego || name.starts_with('.') || name.ends_with("_test") || !path.is_file() {
            continue;
        }
        files.push((name.to_owned(), path));
        if files.len() > limit {
            return Err(FolderError::TooMany { folder: folder.to_owned(), limit });
        }
    }
    files.sort();
    Ok(files)
}

fn read_settings(path: &Path) -> Result<BTreeMap<String, Settings>, FolderError> {
    let text = match read_bounded(path, MAX_SETTINGS) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(FolderError::Read { path: path.to_owned(), source }),
    };
    toml::from_str(&text).map_err(|error| FolderError::Settings {
        path: path.to_owned(),
        reason: error.to_string().trim_end().to_owned(),
    })
}

fn read_bounded(path: &Path, limit: u64) -> std::io::Result<String> {
    use std::io::Read as _;

    let mut text = String::new();
    std::fs::File::open(path)?.take(limit.saturating_add(1)).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > limit {
        return Err(std::io::Error::other(format!("more than {limit} bytes")));
    }
    Ok(text)
}

/// A policy and its program, or what is wrong with it.
fn read_policy(
    name: &str,
    path: &Path,
    settings: Settings,
    config: &Config,
) -> (Policy, Result<Compiled, String>) {
    let limit = u64::try_from(bytes(config.limits.policy_bytes)).unwrap_or(u64::MAX);
    let (rego, compiled) = match read_bounded(path, limit) {
        Ok(rego) => {
            let compiled = compile(path, &rego, &settings, config);
            (rego, compiled)
        }
        Err(error) => (String::new(), Err(format!("{} can't be read: {error}", path.display()))),
    };
    let (compiled, parameters) = match compiled {
        Ok((compiled, parameters)) => (Ok(compiled), parameters),
        Err(problem) => (Err(problem), settings.parameters.clone()),
    };
    let metadata = compiled.as_ref().map(|c| c.metadata.clone()).unwrap_or_default();
    let policy = Policy {
        name: name.to_owned(),
        title: metadata.title,
        description: metadata.description,
        package: compiled.as_ref().map(|c| c.package.clone()).unwrap_or_default(),
        rego: rego.into(),
        template: None,
        status: settings.status,
        mode: settings.mode,
        severity: settings.severity.or(metadata.severity).unwrap_or_default(),
        fail_mode: settings.fail_mode.unwrap_or(default_fail_mode(config)),
        scope: Scope { kind: settings.scope, id: settings.scope_id },
        parameters,
        version: settings.version,
    };
    (policy, compiled)
}

const fn default_fail_mode(config: &Config) -> FailMode {
    let mode: config::FailMode = config.enforcement.fail_mode;
    fail_mode(mode)
}

fn compile(
    path: &Path,
    rego: &str,
    settings: &Settings,
    config: &Config,
) -> Result<(Compiled, Map<String, Value>), String> {
    match (settings.scope, settings.scope_id.is_empty()) {
        (ScopeKind::Global, false) => {
            return Err("scope_id is given, but the scope is global; set `scope` too".to_owned());
        }
        (ScopeKind::Session | ScopeKind::Project | ScopeKind::User, true) => {
            return Err("scope needs a scope_id: for which session, project or user?".to_owned());
        }
        _ => (),
    }
    let limits = CompileLimits {
        bytes: bytes(config.limits.policy_bytes),
        nesting: config.limits.policy_nesting,
    };
    let file = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let compiled = engine::compile(&file, rego, &limits).map_err(|e| e.to_string())?;
    let parameters = engine::with_defaults(&compiled.metadata.parameters, &settings.parameters)
        .map_err(|e| e.to_string())?;
    Ok((compiled, parameters))
}
