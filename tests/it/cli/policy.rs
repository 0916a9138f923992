//! `sluicegate policy`: one policy at a time.

use std::fs;

use serde_json::json;

use super::manage::{LIMITED, command, json, rego, run, says};
use crate::support::servers::PATIENCE;
use crate::worker::support::{Fleet, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_becomes_a_policy_and_its_versions() {
    let fleet = Fleet::new();
    let (_worker, agent, _) = fleet.start().await;
    let put = ["policy", "put", "limited.rego", "--status", "active", "-m", "first", "--wait"];
    let said = run(command(&fleet, &put).file("limited.rego", LIMITED)).await.ended_with(0);
    assert!(said.out.starts_with("created  limited v1  active, enforce, global\n"), "{said:?}");
    assert!(said.out.ends_with("in force on 1 worker\n"), "{said:?}");
    // It is in force when the command has ended.
    let large = json!({"action": "a", "resource": {"size": 11}});
    assert_eq!(agent.check(large.clone()).await["decision"], "deny");

    // What isn't said stays.
    let softer = LIMITED.replace("default: 10", "default: 12");
    let put = ["policy", "put", "other.rego", "--name", "limited", "--author", "bob"];
    let said = run(command(&fleet, &put).file("other.rego", &softer)).await.ended_with(0);
    assert!(said.out.contains("limited v1 → v2  active"), "{said:?}");
    let said = run(command(&fleet, &put).file("other.rego", &softer)).await.ended_with(0);
    assert!(said.out.contains("limited v2: nothing to change"), "{said:?}");

    let versions = json(&fleet, &["policy", "versions", "limited"]).await;
    let told: Vec<_> = versions["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| (v["version"].as_u64().unwrap(), v["updated_by"].as_str().unwrap()))
        .collect();
    assert_eq!(told[0], (2, "bob"));
    assert!(told[1].1.starts_with("ada@"), "{told:?}");
    assert_eq!(versions["versions"][1]["comment"], "first");
    assert_eq!(versions["versions"][0]["description"], "", "what the METADATA says isn't pinned");
    let said = says(&fleet, &["policy", "versions", "limited"]).await.ended_with(0);
    assert!(said.out.contains("bob") && said.out.contains("first"), "{said:?}");

    let said = says(&fleet, &["policy", "diff", "limited"]).await.ended_with(0);
    assert!(said.out.contains("--- limited v1 rego\n+++ limited v2 rego\n"), "{said:?}");
    assert!(said.out.contains("-#         default: 10\n+#         default: 12\n"), "{said:?}");
    let file = ["policy", "diff", "limited", "1", "--file", "x.rego"];
    let said = run(command(&fleet, &file).file("x.rego", &softer)).await.ended_with(0);
    assert!(said.out.contains("--- limited v1 rego\n+++ x.rego\n"), "{said:?}");

    let back = ["policy", "rollback", "limited", "1", "--wait"];
    let said = says(&fleet, &back).await.ended_with(0);
    assert!(said.out.contains("limited v2 → v3"), "{said:?}");
    let stored = says(&fleet, &["policy", "show", "limited", "--rego"]).await.ended_with(0);
    assert_eq!(stored.out, LIMITED);
}

#[tokio::test(flavor = "multi_thread")]
async fn shown_as_lists_and_in_full() {
    let fleet = Fleet::new();
    fleet.rego("limited", LIMITED);
    let _worker = fleet.worker().await;
    let said = says(&fleet, &["policy", "show", "limited"]).await.ended_with(0);
    for part in [
        "A limit",
        "Denies what is larger",
        "critical",
        "limit",
        "10",
        "default",
        "The largest size",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert!(said.out.contains("Make it smaller."), "{}", said.out);
    assert!(!said.out.contains('\u{1b}'), "{said:?}");

    let create = ["policy", "create", "small", "--template", "limited", "--scope", "session"];
    let with = ["--scope-id", "s-1", "--param", "limit=2", "--enable", "--wait"];
    says(&fleet, &[&create[..], &with].concat()).await.ended_with(0);
    let list = says(&fleet, &["policy", "list"]).await.ended_with(0).out;
    assert!(list.contains("small (limited)") && list.contains("session:s-1"), "{list}");
    let names = |list: &serde_json::Value| -> Vec<String> {
        let policies = list["policies"].as_array().unwrap();
        policies.iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
    };
    let active = json(&fleet, &["policy", "list", "--status", "active"]).await;
    assert_eq!(names(&active), ["small"]);
    let global = json(&fleet, &["policy", "list", "--scope", "global"]).await;
    assert_eq!(names(&global), ["limited"]);
    let effective = ["policy", "effective", "-c", "session_id=s-1"];
    assert_eq!(names(&json(&fleet, &effective).await), ["small"]);
    let nobody = says(&fleet, &["policy", "effective"]).await.ended_with(0).out;
    assert!(nobody.starts_with("no policy applies"), "{nobody}");
    let named = json(&fleet, &["policy", "effective", "-p", "limited"]).await;
    assert_eq!(names(&named), ["limited"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_one_by_one() {
    let fleet = Fleet::new();
    fleet.rego("limited", LIMITED);
    let _worker = fleet.worker().await;
    let set = ["policy", "set", "limited", "--mode", "warn", "--param", "limit=3"];
    says(&fleet, &set).await.ended_with(0);
    let enable = ["policy", "enable", "limited", "--scope", "user", "--scope-id", "alice"];
    let said = says(&fleet, &enable).await.ended_with(0);
    assert!(said.out.contains("active, warn, user:alice"), "{said:?}");
    let shown = json(&fleet, &["policy", "show", "limited"]).await;
    assert_eq!(shown["parameters"], json!({"limit": 3}));
    let set = ["policy", "set", "limited", "--unset-param", "limit", "--scope", "global"];
    says(&fleet, &set).await.ended_with(0);
    let said = says(&fleet, &["policy", "disable", "limited"]).await.ended_with(0);
    assert!(said.out.contains("inactive, warn, global"), "{said:?}");
    assert_eq!(json(&fleet, &["policy", "show", "limited"]).await["parameters"], json!({}));

    // Tried first: nothing changes.
    let tried = ["policy", "enable", "limited", "--draft", "--param", "limit=4", "--dry-run"];
    let said = says(&fleet, &tried).await.ended_with(0);
    assert!(said.out.starts_with("would be changed  limited v5 → v6  draft"), "{said:?}");
    assert!(said.out.contains("-status = \"inactive\"\n+status = \"draft\"\n"), "{said:?}");
    assert!(said.out.contains("+parameters.limit = 4\n"), "{said:?}");
    assert!(!said.out.contains("description"), "{said:?}");
    assert_eq!(json(&fleet, &["policy", "show", "limited"]).await["version"], 5);

    let said = says(&fleet, &["policy", "delete", "limited"]).await.ended_with(1);
    assert!(said.err.contains("--yes"), "{said:?}");
    let said = says(&fleet, &["policy", "delete", "limited", "--yes"]).await.ended_with(0);
    assert!(said.out.starts_with("deleted  limited v5 → v6"), "{said:?}");
    says(&fleet, &["policy", "show", "limited"]).await.ended_with(1);
    // A deleted policy comes back.
    says(&fleet, &["policy", "rollback", "limited", "2"]).await.ended_with(0);
    let back = json(&fleet, &["policy", "show", "limited"]).await;
    assert_eq!((&back["version"], &back["parameters"]["limit"]), (&json!(7), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_and_where() {
    let fleet = Fleet::new();
    fleet.rego("limited", LIMITED);
    let _worker = fleet.worker().await;
    // A version that somebody else has changed: both are named.
    says(&fleet, &["policy", "enable", "limited"]).await.ended_with(0);
    let stale = ["policy", "disable", "limited", "--if-version", "1"];
    let said = says(&fleet, &stale).await.ended_with(1);
    assert!(said.err.contains("version 1 ") && said.err.contains("version 2 "), "{said:?}");
    let said = says(&fleet, &[&stale[..], &["--json"]].concat()).await.ended_with(1);
    let error = &said.json()["error"];
    assert_eq!((&error["code"], &error["current_version"]), (&json!(409), &json!(2)));
    let again = ["policy", "create", "limited", "--template", "x"];
    let said = says(&fleet, &again).await.ended_with(1);
    assert!(said.err.contains("exists"), "{said:?}");

    let set = ["policy", "set", "limited", "--param", "limit=many"];
    let said = says(&fleet, &set).await.ended_with(1);
    assert!(said.err.contains("parameters") && said.err.contains("limit"), "{said:?}");
    let said = says(&fleet, &["policy", "show", "limitde"]).await.ended_with(1);
    assert!(said.err.contains("did you mean `limited`?"), "{said:?}");
    let said = says(&fleet, &["policy", "enable", "limited", "--scope", "user"]).await;
    assert!(said.ended_with(1).err.contains("scope_id"));

    let bad = rego("bad", "allow := fals(");
    let put = command(&fleet, &["policy", "put", "bad.rego"]).file("bad.rego", &bad);
    let said = run(put).await.ended_with(1);
    assert!(said.err.contains("bad.rego") && said.out.is_empty(), "{said:?}");
    let check = command(&fleet, &["policy", "check", "bad.rego", "good.rego"])
        .file("bad.rego", &bad)
        .file("good.rego", &rego("good", "allow := true"));
    let said = run(check).await.ended_with(1);
    assert!(said.out.contains("bad.rego: would be refused"), "{said:?}");
    assert!(said.out.contains("good.rego: fine"), "{said:?}");
    let list = json(&fleet, &["policy", "list"]).await;
    assert_eq!(list["policies"].as_array().unwrap().len(), 1, "{list}");
    let check = command(&fleet, &["policy", "check", "bad.rego", "--json"]).file("bad.rego", &bad);
    let said = run(check).await.ended_with(1).json();
    assert_eq!(said["files"][0]["admitted"], false);
    says(&fleet, &["policy", "put", "nowhere.rego"]).await.ended_with(1);
    // Nothing to set is a mistake, not a version.
    says(&fleet, &["policy", "set", "limited"]).await.ended_with(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers() {
    let fleet = Fleet::new();
    let said = says(&fleet, &["policy", "list"]).await.ended_with(4);
    assert!(said.err.contains("is a worker running?"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_names_the_workers_that_lag() {
    let fleet = Fleet::new();
    fleet.rego("limited", LIMITED);
    let first = fleet.spawn("worker-1", fleet.config.clone());
    first.taking_checks().await;
    let second = fleet.spawn("worker-2", fleet.config.clone());
    second.taking_checks().await;
    until("both report", async || {
        let list = json(&fleet, &["policy", "workers"]).await;
        (list["workers"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    let said = says(&fleet, &["policy", "workers"]).await.ended_with(0);
    assert!(said.out.contains("worker-1") && said.out.contains("worker-2"), "{said:?}");
    let enable = ["policy", "enable", "limited", "--wait=20s"];
    let said = says(&fleet, &enable).await.ended_with(0);
    assert!(said.out.contains("in force on 2 workers"), "{said:?}");

    // One that reports and doesn't move: its report is written by hand.
    let list = json(&fleet, &["policy", "workers"]).await;
    let mut status = list["workers"][0].clone();
    status["name"] = json!("stuck");
    status["sequence"] = json!(1);
    status["problems"] = json!(["no way"]);
    let agent = fleet.agent().await;
    let roll = async_nats::jetstream::new(agent.client.clone())
        .get_key_value(&fleet.config.policies.workers_bucket)
        .await
        .unwrap();
    roll.put("stuck", status.to_string().into()).await.unwrap();
    let disable = ["policy", "disable", "limited", "--wait=100ms"];
    let said = says(&fleet, &disable).await.ended_with(4);
    assert!(said.out.contains("not in force  stuck is at sequence 1 of "), "{said:?}");
    assert!(said.out.contains("no way"), "{said:?}");
    let start = std::time::Instant::now();
    let enable = ["policy", "enable", "limited", "--wait=100ms", "--json"];
    let said = says(&fleet, &enable).await.ended_with(4).json();
    assert_eq!(said["waited"]["behind"][0]["worker"], "stuck");
    assert!(start.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_lost_policies_gets_them_back() {
    let fleet = Fleet::new();
    fleet.rego("limited", LIMITED);
    let (_worker, agent, _) = fleet.start().await;
    says(&fleet, &["policy", "enable", "limited"]).await.ended_with(0);
    let said = says(&fleet, &["policy", "restore"]).await.ended_with(0);
    assert!(said.out.starts_with("nothing was missing"), "{said:?}");
    let bucket = crate::worker::support::admin::bucket(&agent).await;
    bucket.purge("limited").await.unwrap();
    let said = says(&fleet, &["policy", "restore", "-m", "purged by hand"]).await.ended_with(0);
    assert!(said.out.contains("restored  limited"), "{said:?}");
    let record = bucket.get("limited").await.unwrap().unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!((&record["version"], &record["status"]), (&json!(2), &json!("active")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rego_comes_back_as_it_went_in() {
    let fleet = Fleet::new();
    let _worker = fleet.worker().await;
    for (name, text) in
        [("a", rego("a", "allow := true")), ("b", "package b\n\nallow := true".to_owned())]
    {
        let file = format!("{name}.rego");
        let put = command(&fleet, &["policy", "put", &file]).file(&file, &text);
        run(put).await.ended_with(0);
        let shown = says(&fleet, &["policy", "show", name, "--rego"]).await.ended_with(0);
        assert_eq!(shown.out.trim_end(), text.trim_end());
        let folder = fleet.folder().join(format!("out-{name}"));
        let export = ["policy", "export", folder.to_str().unwrap()];
        says(&fleet, &export).await.ended_with(0);
        assert_eq!(fs::read_to_string(folder.join(&file)).unwrap(), text);
    }
}
