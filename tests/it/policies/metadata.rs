//! What the shipped policies say of themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};
use sluicegate::config::Config;
use sluicegate::domain::Status;
use sluicegate::engine::with_defaults;
use sluicegate::roles::worker::admit_folder;

/// The reasons and warnings that a policy's METADATA explains.
pub(super) struct Documented {
    pub(super) reasons: BTreeSet<String>,
    pub(super) warnings: BTreeSet<String>,
}

/// Reads what the engine doesn't: `custom.reasons` and `custom.warnings`.
pub(super) fn documented(name: &str) -> Documented {
    #[derive(Deserialize)]
    struct Annotations {
        custom: Custom,
    }
    #[derive(Deserialize)]
    struct Custom {
        #[serde(default)]
        reasons: BTreeMap<String, String>,
        #[serde(default)]
        warnings: BTreeMap<String, String>,
    }
    let rego = super::rego(name);
    let yaml: String = rego
        .lines()
        .skip_while(|line| *line != "# METADATA")
        .skip(1)
        .map_while(|line| line.strip_prefix('#'))
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    let Annotations { custom } = serde_saphyr::from_str(&yaml).unwrap();
    for (reason, words) in custom.reasons.iter().chain(&custom.warnings) {
        assert!(words.trim().len() > 20, "{name}: {reason} is explained in words");
    }
    Documented {
        reasons: custom.reasons.into_keys().collect(),
        warnings: custom.warnings.into_keys().collect(),
    }
}

#[test]
fn the_six_policies_of_the_contract_are_shipped() {
    assert_eq!(
        super::names(),
        [
            "compliance",
            "cost_control",
            "data_privacy",
            "default",
            "rate_limiting",
            "time_restrictions"
        ]
    );
}

#[test]
fn each_has_title_description_severity_and_parameters_with_valid_defaults() {
    for name in super::names() {
        let compiled = super::compiled(&name);
        let metadata = compiled.metadata;
        assert_eq!(compiled.package, format!("cmbagent.{name}"));
        assert!(!metadata.title.is_empty(), "{name}: title");
        assert!(!metadata.description.is_empty(), "{name}: description");
        assert!(metadata.severity.is_some(), "{name}: severity");
        let schema = metadata.parameters;
        assert_eq!(schema["type"], "object", "{name}");
        assert_eq!(schema["additionalProperties"], false, "{name}: a misspelling is named");
        let filled = with_defaults(&schema, &Map::new())
            .unwrap_or_else(|error| panic!("{name}: the defaults: {error}"));
        for (parameter, property) in schema["properties"].as_object().unwrap() {
            let words = property["description"].as_str().unwrap_or_default();
            assert!(!words.is_empty(), "{name}: {parameter} has a description");
            assert_eq!(filled.get(parameter), property.get("default"), "{name}: {parameter}");
            assert!(property.get("default").is_some(), "{name}: {parameter} has a default");
        }
        let misspelt = Map::from_iter([("no_such_thing".to_owned(), Value::Null)]);
        assert!(with_defaults(&schema, &misspelt).is_err(), "{name}");
    }
}

#[test]
fn every_reason_in_the_rego_is_explained_and_no_other() {
    for name in super::names() {
        let told = documented(&name);
        let rego = super::rego(&name);
        let given = |rule: &str| -> BTreeSet<String> {
            let begin = format!("{rule} contains \"");
            rego.lines()
                .filter_map(|line| line.strip_prefix(&begin)?.split('"').next())
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(given("deny_reasons"), told.reasons, "{name}");
        assert_eq!(given("warnings"), told.warnings, "{name}");
    }
}

#[test]
fn only_the_default_policy_ships_active() {
    let mut config = Config::default();
    config.policies.folder = super::folder();
    let loaded = admit_folder(&config).unwrap();
    assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
    let active: Vec<&str> = loaded
        .entries
        .iter()
        .filter(|entry| entry.policy().status != Status::Inactive)
        .map(|entry| entry.policy().name.as_str())
        .collect();
    assert_eq!(active, ["default"]);
}
