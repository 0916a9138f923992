//! `sluicegate policy apply` and `policy export`: a folder owns the policies.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::manage::{LIMITED, json, rego, says};
use crate::worker::support::Fleet;

/// A folder of policies.
fn folder(fleet: &Fleet, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = fleet.folder().join(name);
    _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
    folder
}

fn text(folder: &Path) -> &str {
    folder.to_str().unwrap()
}

/// What becomes of each policy, as `apply` says it.
fn steps(said: &Value) -> Vec<(&str, &str)> {
    let policies = said["policies"].as_array().unwrap();
    policies.iter().map(|p| (p["name"].as_str().unwrap(), p["what"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_made_the_stored_policies() {
    let fleet = Fleet::new();
    let (_worker, agent, _) = fleet.start().await;
    // Any of them may be asked: what builds on a step must not meet one that doesn't know it yet.
    let others = ["worker-2", "worker-3"].map(|name| fleet.spawn(name, fleet.config.clone()));
    for other in &others {
        other.taking_checks().await;
    }
    let settings = "[limited]\nstatus = \"inactive\"\n\
        [a-user]\ntemplate = \"limited\"\nstatus = \"active\"\nscope = \"session\"\n\
        scope_id = \"s-1\"\nparameters = { limit = 5 }\n";
    let files = [("limited.rego", LIMITED), ("policies.toml", settings)];
    let dir = folder(&fleet, "one", &files);
    let dry = ["policy", "apply", "-f", text(&dir), "--dry-run"];
    let said = says(&fleet, &dry).await.ended_with(0);
    for part in [
        "create     limited\n",
        "create     a-user\n",
        "+template = \"limited\"\n",
        "2 to create, 0 to change, 0 to delete, 0 unchanged\n",
    ] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    let list = json(&fleet, &["policy", "list"]).await;
    assert_eq!(list["policies"], json!([]));

    let apply = ["policy", "apply", "-f", text(&dir), "-m", "as in git", "--wait"];
    let said = json(&fleet, &apply).await;
    // The template comes first, though its name comes later.
    assert_eq!(steps(&said), [("limited", "create"), ("a-user", "create")]);
    let large = json!({"action": "a", "resource": {"size": 6}, "context": {"session_id": "s-1"}});
    assert_eq!(agent.check(large).await["decision"], "deny");
    let said = says(&fleet, &apply).await.ended_with(0);
    assert!(said.out.contains("0 created, 0 changed, 0 deleted, 2 unchanged"), "{said:?}");
    let versions = json(&fleet, &["policy", "versions", "a-user"]).await;
    assert_eq!(versions["versions"].as_array().unwrap().len(), 1, "{versions}");
    assert_eq!(versions["versions"][0]["comment"], "as in git");

    // One changes, one is new, one goes, one stays by default.
    let settings = settings.replace("limit = 5", "limit = 7").replace("a-user", "b-user");
    let files = [("limited.rego", LIMITED), ("policies.toml", settings.as_str())];
    let dir = folder(&fleet, "two", &files);
    let apply = ["policy", "apply", "-f", text(&dir)];
    let said = json(&fleet, &apply).await;
    assert_eq!(steps(&said), [("limited", "unchanged"), ("b-user", "create")]);
    let prune = [&apply[..], &["--prune", "--wait"]].concat();
    let said = says(&fleet, &prune).await.ended_with(0);
    assert!(said.out.contains("delete     a-user v1\n"), "{said:?}");
    let list = json(&fleet, &["policy", "list"]).await;
    let names: Vec<_> = list["policies"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["b-user", "limited"]);

    // A policy gets another template, and the old one goes.
    let other = LIMITED.replace("package limited", "package other");
    let settings = settings.replace("\"limited\"", "\"other\"").replace("[limited]", "[other]");
    let files = [("other.rego", other.as_str()), ("policies.toml", settings.as_str())];
    let dir = folder(&fleet, "three", &files);
    let said = json(&fleet, &["policy", "apply", "-f", text(&dir), "--prune"]).await;
    let expected = [("other", "create"), ("b-user", "change"), ("limited", "delete")];
    assert_eq!(steps(&said), expected);
    assert_eq!(json(&fleet, &["policy", "show", "b-user"]).await["template"], "other");

    // Everything goes, users before their template.
    let empty = folder(&fleet, "empty", &[]);
    let said = json(&fleet, &["policy", "apply", "-f", text(&empty), "--prune"]).await;
    assert_eq!(steps(&said), [("b-user", "delete"), ("other", "delete")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_when_one_would_be_refused() {
    let fleet = Fleet::new();
    let _worker = fleet.worker().await;
    let fine = rego("fine", "allow := true");
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("a.rego", &fine), ("bad.rego", "package bad\n\nallow := fals(")], "bad.rego"),
        (
            &[
                ("limited.rego", LIMITED),
                (
                    "policies.toml",
                    "[user]\ntemplate = \"limited\"\nparameters = { limit = \"many\" }",
                ),
            ],
            "user: ",
        ),
        (
            &[
                ("limited.rego", LIMITED),
                ("policies.toml", "[u]\ntemplate = \"v\"\n[v]\ntemplate = \"limited\""),
            ],
            "uses a template itself",
        ),
        (
            &[("a.rego", &fine), ("policies.toml", "[u]\ntemplate = \"limitde\"")],
            "no policy is called `limitde`",
        ),
    ];
    for (files, reason) in cases {
        let dir = folder(&fleet, "refused", files);
        for more in [&[][..], &["--dry-run"]] {
            let apply = [&["policy", "apply", "-f", text(&dir)], more].concat();
            let said = says(&fleet, &apply).await.ended_with(1);
            assert!(said.out.contains(reason), "{reason}: {said:?}");
            assert!(said.out.contains("1 refused; nothing has been changed"), "{said:?}");
        }
    }
    let list = json(&fleet, &["policy", "list"]).await;
    assert_eq!(list["policies"], json!([]));

    let dir = folder(&fleet, "wrong", &[("a.rego", &fine), ("policies.toml", "[a]\nmodus = 1")]);
    let said = says(&fleet, &["policy", "apply", "-f", text(&dir)]).await.ended_with(1);
    assert!(said.err.contains("policies.toml:2") && said.err.contains("`mode`"), "{said:?}");
    // What uses a template keeps it.
    let both = [("limited.rego", LIMITED), ("policies.toml", "[user]\ntemplate = \"limited\"\n")];
    let dir = folder(&fleet, "both", &both);
    says(&fleet, &["policy", "apply", "-f", text(&dir)]).await.ended_with(0);
    fs::remove_file(dir.join("limited.rego")).unwrap();
    let prune = ["policy", "apply", "-f", text(&dir), "--prune"];
    let said = says(&fleet, &prune).await.ended_with(1);
    assert!(said.out.contains("would be deleted by --prune"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_applies_without_a_change() {
    let fleet = Fleet::with_shipped("[default]\nstatus = \"active\"\n");
    let _worker = fleet.worker().await;
    for arguments in [
        &["policy", "enable", "rate_limiting", "--param", "max_calls=20", "--mode", "warn"][..],
        &[
            "policy",
            "create",
            "calls-s-1",
            "--template",
            "rate_limiting",
            "--scope",
            "session",
            "--scope-id",
            "s-1",
            "--param",
            "max_calls=2",
            "--draft",
            "--severity",
            "critical",
        ],
        &["policy", "set", "cost_control", "--fail-mode", "closed", "--description", "\"quoted\""],
        &["policy", "delete", "compliance", "--yes"],
    ] {
        says(&fleet, arguments).await.ended_with(0);
    }
    let dir = fleet.folder().join("exported");
    let export = ["policy", "export", text(&dir)];
    let said = says(&fleet, &export).await.ended_with(0);
    assert!(said.out.contains("6 policies"), "{said:?}");
    assert!(!dir.join("compliance.rego").exists());
    let apply = ["policy", "apply", "-f", text(&dir), "--prune"];
    let said = json(&fleet, &apply).await;
    assert!(steps(&said).iter().all(|(_, what)| *what == "unchanged"), "{said}");
    assert_eq!(steps(&said).len(), 6);

    // A folder that holds something stays as it is, unless one insists.
    fs::write(dir.join("old.rego"), "package old").unwrap();
    fs::write(dir.join("README"), "ours").unwrap();
    let said = says(&fleet, &export).await.ended_with(1);
    assert!(said.err.contains("--force") && dir.join("old.rego").exists(), "{said:?}");
    let force = ["policy", "export", text(&dir), "--force", "--json"];
    let said = says(&fleet, &force).await.ended_with(0).json();
    assert_eq!((&said["removed"], &said["policies"]), (&json!(["old.rego"]), &json!(6)));
    assert!(dir.join("README").exists());
}
