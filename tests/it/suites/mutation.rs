//! `sluicegate test --mutate`.

use std::path::Path;

use serde_json::{Value, json};

use super::command::POLICY;
use crate::worker::support::Program;

const WHOLE: &str = "\
policy: uploads
defaults: {action: upload, now: 2026-03-02T10:00:00Z}
table:
  columns: [name, action, resource, parameters, now, decision, deny_reasons, warnings]
  rows:
    - [limit, _, {megabytes: 100}, _, _, allow, [], []]
    - [above, _, {megabytes: 100.5}, _, _, deny, [too_large], []]
    - [other, _, {megabytes: 201}, {max: 200}, _, deny, [too_large], []]
    - [not_an_upload, read, {megabytes: 101}, _, _, allow, [], []]
    - [not_an_upload_either, read, file, _, _, allow, [], []]
    - [not_stated, _, file, _, _, allow, [], [size_not_stated]]
    - [night, _, {megabytes: 1}, _, 2026-03-02T05:59:59Z, deny, [at_night], []]
    - [morning, _, {megabytes: 1}, _, 2026-03-02T06:00:00Z, allow, [], []]
";

fn mutate(suite: &str, arguments: &[&str]) -> Program {
    Program::new(&[&["test", "--mutate"], arguments].concat())
        .file("policies/uploads.rego", POLICY)
        .file("policies/uploads_tests.yaml", suite)
}

fn survivors(report: &Value) -> Vec<(u64, String)> {
    let of = report["mutation"][0]["survivors"].as_array().unwrap();
    of.iter()
        .map(|s| (s["line"].as_u64().unwrap(), s["description"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn a_suite_without_gaps_notices_every_change() {
    let report = mutate(WHOLE, &["--json"]).run().ended_with(0).json();
    assert_eq!(survivors(&report), []);
    let mutation = &report["mutation"][0];
    assert!(mutation["mutants"].as_u64().unwrap() > 8, "{mutation}");
    assert_eq!((&mutation["caught"], &mutation["percent"]), (&mutation["mutants"], &json!(100.0)));
    let said = mutate(WHOLE, &[]).run().ended_with(0);
    assert!(said.out.contains("100.0%") && said.out.contains("noticed"), "{said:?}");
}

#[test]
fn a_planted_gap_is_found_with_its_line() {
    // Without the case at the limit, `>` may become `>=`.
    let gap: String =
        WHOLE.lines().filter(|line| !line.contains("[limit,")).map(|l| format!("{l}\n")).collect();
    let report = mutate(&gap, &["--json"]).run().ended_with(0).json();
    let line = POLICY.lines().position(|line| line.contains("input.parameters.max")).unwrap() + 1;
    let found = survivors(&report);
    assert!(
        found.iter().any(|(at, what)| *at == line as u64 && what.contains("`>` becomes `>=`")),
        "{found:?}"
    );
    let said = mutate(&gap, &[]).run().ended_with(0);
    assert!(said.out.contains("not noticed  `>` becomes `>=`"), "{said:?}");
    assert!(said.out.contains(&format!("policies/uploads.rego:{line}:")), "{said:?}");
}

#[test]
fn it_begins_where_all_tests_pass() {
    let wrong = WHOLE.replacen("allow, []", "deny, []", 1);
    let said = mutate(&wrong, &[]).run().ended_with(1);
    assert!(said.out.contains("no mutation: it begins where all tests pass"), "{said:?}");
    let report = mutate(&wrong, &["--json"]).run().ended_with(1).json();
    assert!(report.get("mutation").is_none());
}

/// The gaps that the shipped suites leave are changes that make no difference: a test of a type
/// before a builtin function that is undefined on other types, or before a comparison that is.
#[test]
fn the_shipped_suites_leave_no_gap_that_matters() {
    const SAME: [&str; 8] = [
        "`is_string(text)`",
        "`is_string(value)`",
        "`is_number(number)`",
        "`is_number(input.usage.window_seconds)`",
        "`is_array(list)`",
        "`json.is_valid(value)`",
        // `moment` asks for readable settings before anything asks for `overnight`.
        "`settings_readable`",
        // The text has five characters there: what is cut off after the fourth is the same.
        "`2` becomes `3`",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (suites, policies) = (root.join("tests/policy_tests"), root.join("policies"));
    let arguments = ["test", "--mutate", "--json", suites.to_str().unwrap(), "--policies"];
    let said = Program::new(&[&arguments[..], &[policies.to_str().unwrap()]].concat()).run();
    let report = said.ended_with(0).json();
    let policies = report["mutation"].as_array().unwrap();
    assert_eq!(policies.len(), 6);
    for policy in policies {
        for survivor in policy["survivors"].as_array().unwrap() {
            let what = survivor["description"].as_str().unwrap();
            assert!(SAME.iter().any(|same| what.contains(same)), "{}: {survivor}", policy["file"]);
        }
    }
}
