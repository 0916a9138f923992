//! A worker that lost its connection, or the whole server, catches up when it is back.

use serde_json::json;

use super::super::support::admin::rego;
use super::super::support::{Admin, Fleet, until};
use crate::support::cut::Cut;

#[tokio::test]
async fn a_worker_that_was_cut_off_catches_up() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    let (_one, agent, _) = fleet.start().await;
    let way = Cut::start(fleet.nats.url().trim_start_matches("nats://")).await;
    let mut apart = fleet.config.clone();
    apart.nats.url = format!("nats://{}", way.address());
    let two = fleet.spawn("worker-2", apart);
    two.taking_checks().await;
    let admin = Admin::new(&agent, "alice");

    way.cut();
    for part in ["nats-responder", "nats-recorder"] {
        two.part_is(part, |state| !state.is_ready()).await;
    }
    let mut last = json!(null);
    for word in ["a", "b", "c"] {
        let rules = format!("allow := false\ndeny_reasons := [\"{word}\"]");
        last = admin.patches("gate", json!({"rego": rego("gate", &rules)})).await;
    }
    let status = async |name: &str| {
        let workers = admin.does("workers", json!({})).await["workers"].clone();
        workers.as_array().unwrap().iter().find(|worker| worker["name"] == name).cloned()
    };
    // It is named as one that has not followed, while it is still remembered.
    if let Some(status) = status("worker-2").await {
        assert!(status["sequence"].as_u64() < last["sequence"].as_u64(), "{status}");
    }
    way.mend();
    until("it has caught up", async || {
        let status = status("worker-2").await?;
        (status["sequence"].as_u64() >= last["sequence"].as_u64()).then_some(())
    })
    .await;
    let replies = futures::future::join_all((0..20).map(|_| agent.act("x"))).await;
    assert!(replies.iter().all(|reply| reply["deny_reasons"] == json!(["c"])), "{replies:?}");
}
