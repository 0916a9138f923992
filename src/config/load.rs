//! From the sources to one validated configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use figment::Figment;
use figment::providers::Serialized;

use super::env::{self, CONFIG_VARIABLE, PROFILE_VARIABLE};
use super::error::{ConfigError, Problem};
use super::files::{self, Named};
use super::intake::Intake;
use super::keys;
use super::model::Config;
use super::origin::{Origin, Row};
use super::validate::{Finding, findings};

/// What a configuration is made from, weakest first: defaults, main file, profile, environment,
/// flags. Nothing else is looked at, so that tests need neither the process's environment nor its
/// working folder.
#[derive(Clone, Default)]
pub struct Sources {
    /// The folder that relative paths start from; empty means the working folder.
    pub folder: PathBuf,
    /// The main file, which must exist; else `SLUICEGATE_CONFIG`, else `config/sluicegate.toml` if
    /// it exists.
    pub file: Option<PathBuf>,
    /// The profile: a file beside the main one, `sluicegate.<profile>.toml`; else `SLUICEGATE_PROFILE`.
    pub profile: Option<String>,
    /// Environment variables; those that don't concern us are passed over.
    pub env: BTreeMap<String, String>,
    /// Single keys set on the command line; later ones win.
    pub overrides: Vec<Override>,
}

/// One key set on the command line.
#[derive(Clone, PartialEq, Eq)]
pub struct Override {
    /// The flag that set it, for messages: `--set`, or a flag of its own such as `--nats-url`.
    pub flag: String,
    /// The key, for example `nats.url`.
    pub key: String,
    /// Its value, written as in an environment variable.
    pub value: String,
}

impl Override {
    /// A key set by a flag of its own.
    pub fn new(flag: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { flag: flag.into(), key: key.into(), value: value.into() }
    }
}

/// The value of `--set`: `key=value`.
impl FromStr for Override {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text.split_once('=') {
            Some((key, value)) => Ok(Self::new("--set", key.trim(), value)),
            None => Err(ConfigError::new(vec![Problem::new(
                Origin::Flag("--set".into()),
                "has no `=`",
                "write --set key=value, for example --set sink.batch_age=1s",
            )])),
        }
    }
}

/// Without the value, which may be a secret.
impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Override({} {})", self.flag, self.key)
    }
}

/// Without the variables' values, which may be secrets.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("folder", &self.folder)
            .field("file", &self.file)
            .field("profile", &self.profile)
            .field("env", &self.env.keys())
            .field("overrides", &self.overrides)
            .finish()
    }
}

impl Sources {
    /// This process's working folder and environment; flags are for the caller to add.
    ///
    /// # Errors
    /// When a variable that concerns us isn't UTF-8.
    pub fn from_process() -> Result<Self, ConfigError> {
        let mut sources = Self::default();
        let mut problems = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| env::concerns_us(name)) else {
                continue;
            };
            match value.into_string() {
                Ok(value) => {
                    sources.env.insert(name.to_owned(), value);
                }
                Err(_) => problems.push(Problem::new(
                    Origin::Variable(name.to_owned()),
                    "holds bytes that are not UTF-8",
                    "set it to UTF-8 text",
                )),
            }
        }
        if problems.is_empty() { Ok(sources) } else { Err(ConfigError::new(problems)) }
    }

    pub(super) fn named_file(&self) -> Option<Named> {
        let flag = self.file.as_ref().map(|path| path.to_string_lossy().into_owned());
        self.named(flag, "--config", CONFIG_VARIABLE)
    }

    pub(super) fn named_profile(&self) -> Option<Named> {
        self.named(self.profile.clone(), "--profile", PROFILE_VARIABLE)
    }

    /// What the flag says, else the variable; an empty variable says nothing.
    fn named(&self, flag: Option<String>, flag_name: &str, variable: &str) -> Option<Named> {
        match flag {
            Some(value) => Some(Named { value, by: Origin::Flag(flag_name.to_owned()) }),
            None => self
                .env
                .get(variable)
                .filter(|value| !value.is_empty())
                .map(|value| Named { value: value.clone(), by: Origin::Variable(variable.into()) }),
        }
    }
}

/// A validated configuration, and where each of its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The files that were read, weakest first.
    pub files: Vec<PathBuf>,
    /// The profile, where one was named.
    pub profile: Option<String>,
    rows: Vec<Row>,
}

impl Loaded {
    /// Every key with its value (secrets hidden) and where it came from, in the model's order.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Where the value of a key came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.rows.iter().find(|row| row.key == key).map(|row| &row.origin)
    }
}

/// Merges the sources and validates the result.
///
/// # Errors
/// With every problem of every source, when there is any: files that can't be read, unknown keys
/// and variables, values of the wrong kind, and values that can't be used or not together.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut intake = Intake::default();
    files::read(sources, &mut intake);
    env::read(&sources.env, &mut intake);
    for flag in &sources.overrides {
        read_override(flag, &mut intake);
    }

    // The only secrets that pass through serialisation here are the defaults', which are empty.
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    for layer in std::mem::take(&mut intake.layers) {
        figment = figment.merge(layer);
    }
    let rows = rows(&figment, &intake);
    let config = match figment.extract::<Config>() {
        Ok(config) => config,
        Err(error) => {
            // Each value was checked on the way in, so this is a mistake of ours; not the error's
            // text, which may show a secret.
            let place = Origin::Default;
            let what = format!("`{}` can't be taken", error.path.join("."));
            intake.problem(place, what, "please report this");
            return Err(ConfigError::new(intake.problems));
        }
    };
    // What a refused value would have meant is unknown: no complaint about what stands instead.
    let refused = &intake.refused;
    let found = findings(&config)
        .into_iter()
        .filter(|finding| !finding.keys.iter().any(|key| refused.contains(key)))
        .map(|finding| placed(finding, &rows));
    intake.problems.extend(found);
    if !intake.problems.is_empty() {
        return Err(ConfigError::new(intake.problems));
    }
    let profile = sources.named_profile().map(|profile| profile.value);
    Ok(Loaded { config, files: intake.files, profile, rows })
}

fn read_override(flag: &Override, intake: &mut Intake) {
    let origin = Origin::Flag(flag.flag.clone());
    if let Some(key) = keys::find(&flag.key) {
        intake.text(origin, key, &flag.value);
        return;
    }
    let way_out = keys::nearest(&flag.key).way_out(|key| format!("`{}`", key.path));
    intake.problem(origin, format!("there is no key `{}`", flag.key), way_out);
}

fn rows(figment: &Figment, intake: &Intake) -> Vec<Row> {
    keys::keys()
        .iter()
        .filter_map(|key| {
            let value = figment.find_value(key.path).ok()?;
            Some(Row {
                key: key.path,
                value: key.kind.show(&value),
                origin: intake.origin(key.path, figment.get_metadata(value.tag())),
                variable: key.variable(),
            })
        })
        .collect()
}

/// A finding with the places of those of its keys that somebody set.
fn placed(finding: Finding, rows: &[Row]) -> Problem {
    let set = rows
        .iter()
        .filter(|row| finding.keys.contains(&row.key) && row.origin != Origin::Default)
        .map(|row| row.origin.clone());
    Problem { places: set.collect(), what: finding.what, way_out: finding.way_out }
}
