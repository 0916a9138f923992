//! `sluicegate enforcement`: the switch for the whole system.

use serde_json::json;

use super::manage::{json, says};
use crate::worker::support::Fleet;

const STRICT: &str = "allow := false\ndeny_reasons := [\"because\"]";

#[tokio::test(flavor = "multi_thread")]
async fn it_acts_on_all_workers_and_says_what_it_means() {
    let fleet = Fleet::with_policies(&[("strict", STRICT)]);
    let (_worker, agent, _) = fleet.start().await;
    let said = says(&fleet, &["enforcement"]).await.ended_with(0);
    assert!(said.out.starts_with("enforcement is ON\n"), "{said:?}");
    assert_eq!(agent.act("a").await["allowed"], false);

    let shadow = ["enforcement", "shadow", "-m", "false denials", "--wait"];
    let said = says(&fleet, &shadow).await.ended_with(0);
    for part in ["SHADOW", "NOTHING IS DENIED", "false denials", "ada@", "in force on 1 worker"] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    assert_eq!(agent.act("a").await["allowed"], true);
    let said = says(&fleet, &["policy", "list"]).await.ended_with(0);
    assert!(said.out.contains("enforcement is in shadow: nothing is denied"), "{said:?}");

    let off = says(&fleet, &["enforcement", "off", "--wait"]).await.ended_with(0);
    assert!(off.out.contains("NOTHING IS CHECKED"), "{off:?}");
    assert_eq!(agent.act("a").await["enforced"], false);
    let stale = ["enforcement", "on", "--if-version", "1"];
    let said = says(&fleet, &stale).await.ended_with(1);
    assert!(said.err.contains("version 1 ") && said.err.contains("version 2"), "{said:?}");
    let on = json(&fleet, &["enforcement", "on", "--wait"]).await;
    assert_eq!((&on["enforcement"]["mode"], &on["changed"]), (&json!("on"), &json!(true)));
    assert_eq!(on["waited"]["behind"], json!([]));
    assert_eq!(agent.act("a").await["allowed"], false);
    let again = says(&fleet, &["enforcement", "on"]).await.ended_with(0);
    assert!(again.out.starts_with("enforcement is already ON"), "{again:?}");
    says(&fleet, &["enforcement", "onn"]).await.ended_with(64);
}
