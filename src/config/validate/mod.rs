//! The whole configuration, checked: bounds of single values, names, and what must fit together.

mod alerter;
mod bounds;
mod names;
mod relations;

use super::error::{ConfigError, Problem};
use super::model::Config;

/// Something that can't be used, and the keys that have a part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) keys: Vec<&'static str>,
    pub(super) what: String,
    pub(super) way_out: String,
}

/// Everything about a configuration that can't be used.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    bounds::check(config, &mut findings);
    names::check(config, &mut findings);
    alerter::check(config, &mut findings);
    relations::check(config, &mut findings);
    findings.0
}

impl Config {
    /// Checks a configuration made in code as [`super::load`] checks a loaded one.
    ///
    /// # Errors
    /// With everything that can't be used.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let problems: Vec<Problem> = findings(self)
            .into_iter()
            .map(|finding| Problem {
                places: Vec::new(),
                what: finding.what,
                way_out: finding.way_out,
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::new(problems)) }
    }
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, keys: &[&'static str], what: impl Into<String>, way_out: impl Into<String>) {
        let keys = keys.to_vec();
        self.0.push(Finding { keys, what: what.into(), way_out: way_out.into() });
    }

    /// Adds a finding about one key unless the condition holds.
    fn require(&mut self, ok: bool, key: &'static str, is: &str, way_out: &str) {
        if !ok {
            self.add(&[key], format!("`{key}` {is}"), way_out);
        }
    }
}
