use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::domain::{FailMode, PolicyMode, ScopeKind, Severity, Status};

/// Names and texts.
type Files<'a> = &'a [(&'a str, &'a str)];

const LIMITS: FolderLimits = FolderLimits { policies: 100, policy_bytes: 10_000 };

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn refused(files: &[(&str, &str)]) -> String {
    read(folder(files).path(), LIMITS).unwrap_err().to_string()
}

#[test]
fn files_and_sections_make_drafts() {
    let folder = folder(&[
        ("rate.rego", "package rate"),
        ("rate_test.rego", "package rate_test"),
        (".rate.rego", "an editor's"),
        ("notes.txt", "no policy"),
        (
            "policies.toml",
            "[rate]\nstatus = \"active\"\nmode = \"warn\"\nversion = 3\nfail_mode = \"closed\"\n\
             severity = \"critical\"\nparameters = { n = 1, day = 2026-03-02 }\n\
             [rate-s-1]\ntemplate = \"rate\"\ndescription = \"for one\"\nscope = \"session\"\n\
             scope_id = \"s-1\"\nparameters_json = '{\"x\": null}'\n",
        ),
    ]);
    let drafts = read(folder.path(), LIMITS).unwrap();
    let expected = [
        PolicyDraft {
            name: "rate".into(),
            rego: "package rate".into(),
            status: Status::Active,
            mode: PolicyMode::Warn,
            severity: Some(Severity::Critical),
            fail_mode: Some(FailMode::Closed),
            parameters: object(json!({"n": 1, "day": "2026-03-02"})),
            ..PolicyDraft::default()
        },
        PolicyDraft {
            name: "rate-s-1".into(),
            template: Some("rate".into()),
            description: "for one".into(),
            scope: ScopeKind::Session,
            scope_id: "s-1".into(),
            parameters: object(json!({"x": null})),
            ..PolicyDraft::default()
        },
    ];
    assert_eq!(drafts, expected);
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn what_is_wrong_names_file_line_and_the_nearest_name() {
    let rego = ("rate.rego", "package rate");
    let cases: [(Files, &[&str]); 9] = [
        (
            &[rego, ("policies.toml", "[rate]\nstatus = \"active\"\nmodus = \"warn\"")],
            &["policies.toml:3:", "`modus`", "did you mean `mode`?"],
        ),
        (
            &[rego, ("policies.toml", "[rate]\n\nstatus = \"activ\"")],
            &["policies.toml:3:", "`activ`", "did you mean `active`?"],
        ),
        (
            &[rego, ("policies.toml", "\n[raet]\nstatus = \"active\"")],
            &["policies.toml:2:", "no file raet.rego", "did you mean [rate]?"],
        ),
        (
            &[rego, ("policies.toml", "[rate]\nstatus = \"active\"\ntemplate = \"x\"")],
            &["policies.toml:3:", "rate.rego too"],
        ),
        (
            &[rego, ("policies.toml", "[rate]\nscope_id = \"s-1\"")],
            &["policies.toml:2:", "[rate] scope_id is given, but the scope is global"],
        ),
        (&[("a b.rego", "package x")], &["policies.toml", "[a b] name `a b` can't be a name"]),
        (&[rego, ("policies.toml", "[rate\n")], &["policies.toml:1:"]),
        (
            &[rego, ("policies.toml", "[rate]\nparameters = { n = nan }")],
            &["policies.toml:2:", "JSON has no such number"],
        ),
        (
            &[rego, ("policies.toml", "[rate]\nparameters_json = \"[1]\"")],
            &["policies.toml:2:", "parameters_json is no JSON object"],
        ),
    ];
    for (files, parts) in cases {
        let error = refused(files);
        for part in parts {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
    let large = "x".repeat(10_001);
    let error = refused(&[("large.rego", &large)]);
    assert!(error.contains("large.rego") && error.contains("limits.policy_bytes"), "{error}");
    let two: &[(&str, &str)] = &[rego, ("policies.toml", "[a]\ntemplate = \"rate\"")];
    let one = FolderLimits { policies: 1, ..LIMITS };
    assert!(matches!(read(folder(two).path(), one), Err(FolderError::TooMany { limit: 1, .. })));
    let error = read(Path::new("/no/such/folder"), LIMITS).unwrap_err().to_string();
    assert!(error.contains("/no/such/folder can't be read"), "{error}");
}

#[test]
fn a_folder_that_holds_something_is_replaced_only_when_asked() {
    let folder = folder(&[
        ("old.rego", "package old"),
        ("old_test.rego", "package old_test"),
        ("README", "ours"),
        ("policies.toml", "[old]\n"),
    ]);
    let new = as_record(&PolicyDraft { name: "new".into(), ..PolicyDraft::default() }, "package n");
    let error = write(folder.path(), std::slice::from_ref(&new), false).unwrap_err();
    assert!(matches!(error, FolderError::NotEmpty(_)), "{error}");
    assert_eq!(read(folder.path(), LIMITS).unwrap().len(), 1, "nothing has changed");
    let gone = PolicyRecord { name: "gone".into(), deleted: true, ..new.clone() };
    let written = write(folder.path(), &[new, gone], true).unwrap();
    assert_eq!(written.files, ["new.rego", "policies.toml"]);
    assert_eq!(written.removed, ["old.rego"]);
    assert!(folder.path().join("README").exists() && folder.path().join("old_test.rego").exists());
    let names: Vec<String> =
        read(folder.path(), LIMITS).unwrap().into_iter().map(|draft| draft.name).collect();
    assert_eq!(names, ["new"]);
}

#[test]
fn a_name_that_leads_elsewhere_is_not_written() {
    let folder = folder(&[]);
    let draft = PolicyDraft { name: "../evil".into(), ..PolicyDraft::default() };
    let error = write(folder.path(), &[as_record(&draft, "package x")], false).unwrap_err();
    assert!(matches!(error, FolderError::Policy { .. }), "{error}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        proptest::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn any_draft()(
        name in "[a-zA-Z0-9][a-zA-Z0-9_-]{0,12}(_test)?",
        description in ".{0,20}",
        rego in "[^\0]{1,60}",
        template in proptest::option::of("[a-z]{3}"),
        status in prop_oneof![Just(Status::Active), Just(Status::Inactive), Just(Status::Draft)],
        mode in prop_oneof![Just(PolicyMode::Enforce), Just(PolicyMode::Warn)],
        severity in proptest::option::of(prop_oneof![Just(Severity::Info), Just(Severity::Critical)]),
        fail_mode in proptest::option::of(prop_oneof![Just(FailMode::Open), Just(FailMode::Closed)]),
        scope_id in proptest::option::of(".{1,9}"),
        parameters in proptest::collection::btree_map(any::<String>(), any_json(), 0..4),
    ) -> PolicyDraft {
        let template = template.filter(|template| *template != name);
        PolicyDraft {
            rego: if template.is_some() { String::new() } else { rego },
            scope: if scope_id.is_some() { ScopeKind::Project } else { ScopeKind::Global },
            scope_id: scope_id.unwrap_or_default(),
            parameters: parameters.into_iter().collect(),
            name, description, template, status, mode, severity, fail_mode,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is written reads back as the same, whatever it is.
    #[test]
    fn written_policies_read_back(drafts in proptest::collection::vec(any_draft(), 0..5)) {
        let unique: BTreeMap<String, PolicyDraft> =
            drafts.into_iter().map(|draft| (draft.name.to_lowercase(), draft)).collect();
        let mut drafts: Vec<PolicyDraft> = unique.into_values().collect();
        drafts.sort_by(|a, b| a.name.cmp(&b.name));
        let records: Vec<PolicyRecord> =
            drafts.iter().map(|draft| as_record(draft, &draft.rego)).collect();
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &records, false).unwrap();
        prop_assert_eq!(read(folder.path(), LIMITS).unwrap(), drafts.clone());
        write(folder.path(), &records, true).unwrap();
        prop_assert_eq!(read(folder.path(), LIMITS).unwrap(), drafts);
    }

    #[test]
    fn no_settings_make_it_panic(text in r#"([\[\]{}=".,\n]|rate|status|template|[0-9]){0,40}"#) {
        let folder = folder(&[("rate.rego", "package rate"), ("policies.toml", &text)]);
        let _ = read(folder.path(), LIMITS);
    }
}
