//! What differs between two versions of a policy, as a unified diff: settings first, then Rego,
//! like two files, so that line numbers are those of the Rego.

use std::time::Duration;

use serde::Serialize;
use similar::{TextDiff, TextDiffConfig};

use crate::contract::admin::PolicyDraft;

/// Beyond it the diff is less fine, not late.
const FINE_FOR: Duration = Duration::from_millis(300);

/// One side of a diff.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What it is called, such as `cost_control v3`.
    pub label: &'a str,
    /// The policy; none where there is none yet, or none any more.
    pub policy: Option<&'a PolicyDraft>,
}

/// Both as a unified diff; empty where nothing that can be set differs.
#[must_use]
pub fn unified(from: Side<'_>, to: Side<'_>) -> String {
    let part = |what: &str, texts: (&str, &str)| {
        let label = |side: Side<'_>| match side.policy {
            Some(_) => format!("{} {what}", side.label),
            None => "/dev/null".to_owned(),
        };
        text(&label(from), &label(to), texts.0, texts.1)
    };
    let settings = |side: Side<'_>| side.policy.map(settings).unwrap_or_default();
    let rego = |side: Side<'_>| side.policy.map_or("", |policy| policy.rego.as_str()).to_owned();
    let mut unified = part("settings", (&settings(from), &settings(to)));
    unified.push_str(&part("rego", (&rego(from), &rego(to))));
    unified
}

/// Two texts as a unified diff; empty where they are the same.
#[must_use]
pub fn text(from_label: &str, to_label: &str, from: &str, to: &str) -> String {
    if from == to {
        return String::new();
    }
    let mut config = TextDiffConfig::default();
    config.timeout(FINE_FOR);
    let diff: TextDiff<'_, '_, str> = config.diff_lines(from, to);
    diff.unified_diff().context_radius(3).header(from_label, to_label).to_string()
}

/// What can be set beside the Rego, a line for each; what isn't set has none.
fn settings(policy: &PolicyDraft) -> String {
    let given = [
        ("description", json(&policy.description)),
        ("template", json(&policy.template)),
        ("status", json(&policy.status)),
        ("mode", json(&policy.mode)),
        ("severity", json(&policy.severity)),
        ("fail_mode", json(&policy.fail_mode)),
        ("scope", json(&policy.scope)),
        ("scope_id", json(&policy.scope_id)),
    ];
    let set = given.into_iter().filter(|(_, value)| value != "\"\"" && value != "null");
    let mut lines: Vec<String> = set.map(|(name, value)| format!("{name} = {value}\n")).collect();
    let mut parameters: Vec<String> = policy
        .parameters
        .iter()
        .map(|(name, value)| format!("parameters.{name} = {value}\n"))
        .collect();
    parameters.sort();
    lines.append(&mut parameters);
    lines.concat()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{ScopeKind, Status};

    fn side<'a>(label: &'a str, policy: &'a PolicyDraft) -> Side<'a> {
        Side { label, policy: Some(policy) }
    }

    #[test]
    fn settings_and_rego_are_two_files() {
        let before = PolicyDraft {
            name: "rate".into(),
            rego: "package rate\n\na := 1\nb := 2\n".into(),
            ..PolicyDraft::default()
        };
        let after = PolicyDraft {
            rego: "package rate\n\na := 1\nb := 3\n".into(),
            status: Status::Active,
            scope: ScopeKind::Session,
            scope_id: "s-1".into(),
            parameters: json!({"n": null, "m": {"x": [1]}}).as_object().unwrap().clone(),
            ..before.clone()
        };
        let diff = unified(side("rate v1", &before), side("rate v2", &after));
        let expected = "\
--- rate v1 settings
+++ rate v2 settings
@@ -1,3 +1,6 @@
-status = \"inactive\"
+status = \"active\"
 mode = \"enforce\"
-scope = \"global\"
+scope = \"session\"
+scope_id = \"s-1\"
+parameters.m = {\"x\":[1]}
+parameters.n = null
--- rate v1 rego
+++ rate v2 rego
@@ -1,4 +1,4 @@
 package rate
 
 a := 1
-b := 2
+b := 3
";
        assert_eq!(diff, expected);
        assert_eq!(unified(side("rate v2", &after), side("rate v2", &after)), "");
    }

    #[test]
    fn a_policy_that_is_new_or_gone() {
        let policy = PolicyDraft { template: Some("rate".into()), ..PolicyDraft::default() };
        let none = Side { label: "rate", policy: None };
        let new = unified(none, side("rate v1", &policy));
        assert!(new.starts_with("--- /dev/null\n+++ rate v1 settings\n@@ -0,0 +1,4 @@\n"), "{new}");
        assert!(!new.contains("rego"), "{new}");
        let gone = unified(side("rate v1", &policy), none);
        assert!(gone.contains("+++ /dev/null") && gone.contains("-template = \"rate\""), "{gone}");
    }
}
