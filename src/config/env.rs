//! Environment variables: one per key, named after it, and `POLICY_ENFORCEMENT_ENABLED`.

use std::collections::BTreeMap;

use super::intake::Intake;
use super::keys::{self, VARIABLE_PREFIX};
use super::origin::Origin;

/// Names the profile.
pub const PROFILE_VARIABLE: &str = "SLUICEGATE_PROFILE";
/// Names the main file.
pub const CONFIG_VARIABLE: &str = "SLUICEGATE_CONFIG";
/// Sets `enforcement.enabled`; `SLUICEGATE_ENFORCEMENT_ENABLED` wins over it.
pub const ENFORCEMENT_VARIABLE: &str = "POLICY_ENFORCEMENT_ENABLED";

/// Variables with our prefix that are no keys: what to read, and what belongs to the embedded
/// ClickHouse engine, which is a process of its own.
const OTHERS: &[&str] =
    &[PROFILE_VARIABLE, CONFIG_VARIABLE, "SLUICEGATE_CHDB_USER", "SLUICEGATE_CHDB_PASSWORD"];
/// Variables that belong to our tests.
const TEST_PREFIX: &str = "SLUICEGATE_TEST_";

/// Whether the configuration reads a variable of this name, if only to refuse it.
pub(super) fn concerns_us(name: &str) -> bool {
    name == ENFORCEMENT_VARIABLE || name.starts_with(VARIABLE_PREFIX)
}

/// Reads all variables, the weaker first.
pub(super) fn read(variables: &BTreeMap<String, String>, intake: &mut Intake) {
    if let (Some(text), Some(key)) =
        (variables.get(ENFORCEMENT_VARIABLE), keys::find("enforcement.enabled"))
    {
        let origin = Origin::Variable(ENFORCEMENT_VARIABLE.into());
        intake.text(origin, key, text);
    }
    for (name, text) in variables.iter().filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)) {
        let origin = Origin::Variable(name.clone());
        if let Some(key) = keys::find_variable(name) {
            intake.text(origin, key, text);
        } else if !is_other(name, text) {
            let way_out = format!("{} (or unset it)", suggestion(name));
            intake.problem(origin, "there is no such variable", way_out);
        }
    }
}

fn is_other(name: &str, text: &str) -> bool {
    OTHERS.contains(&name) || name.starts_with(TEST_PREFIX) || is_service_link(name, text)
}

/// Kubernetes describes every service of a namespace to every pod in variables. Those of a service
/// called `sluicegate`, or `sluicegate-console`, begin like ours and are nobody's mistake.
fn is_service_link(name: &str, text: &str) -> bool {
    let protocol = |text: &str| ["TCP", "UDP", "SCTP"].iter().any(|p| text.starts_with(p));
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") {
        return true;
    }
    if name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") {
        return text.contains("://");
    }
    name.split_once("_PORT_").is_some_and(|(_, rest)| {
        rest.split_once('_')
            .is_some_and(|(port, rest)| port.chars().all(|c| c.is_ascii_digit()) && protocol(rest))
    })
}

/// The variable that an unknown one may have meant.
fn suggestion(name: &str) -> String {
    let others = [PROFILE_VARIABLE, CONFIG_VARIABLE].map(str::to_lowercase);
    match keys::nearest_of(&name.to_lowercase(), others.iter().map(String::as_str)) {
        Some(other) => format!("did you mean {}?", other.to_uppercase()),
        None => keys::nearest(name.strip_prefix(VARIABLE_PREFIX).unwrap_or(name))
            .way_out(keys::Key::variable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_service_links_are_nobodys_mistake() {
        for (name, text) in [
            ("SLUICEGATE_SERVICE_HOST", "10.0.0.1"),
            ("SLUICEGATE_CONSOLE_SERVICE_PORT", "8181"),
            ("SLUICEGATE_CONSOLE_SERVICE_PORT_HTTP", "8181"),
            ("SLUICEGATE_PORT", "tcp://10.0.0.1:8181"),
            ("SLUICEGATE_PORT_8181_TCP", "tcp://10.0.0.1:8181"),
            ("SLUICEGATE_PORT_8181_TCP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_service_link(name, text), "{name}");
        }
        assert!(!is_service_link("SLUICEGATE_HTTP_PORT", "8181"), "somebody's mistake");
        for key in keys::keys() {
            assert!(!is_service_link(&key.variable(), "5"), "{}", key.path);
        }
    }
}
