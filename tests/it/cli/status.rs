//! `sluicegate status`: the whole system at a glance.

use serde_json::{Value, json};
use sluicegate::store::{Store, migrate};

use crate::support::servers::{ClickHouse, poll};
use crate::worker::support::program::Said;
use crate::worker::support::{Fleet, Program};

fn status(nats: &str, clickhouse: (&str, &str), arguments: &[&str]) -> Said {
    let (url, database) = clickhouse;
    let database = format!("clickhouse.database={database}");
    let servers = ["--nats-url", nats, "--clickhouse-url", url, "--set", &database];
    Program::new(&[&["status"], arguments, &servers].concat()).run()
}

fn about(said: &Said) -> Vec<String> {
    let told: Value = serde_json::from_str(&said.out).unwrap();
    let attention = told["attention"].as_array().unwrap();
    let about = attention.iter().map(|one| one["about"].as_str().unwrap().to_owned());
    // How full this machine's disk is isn't ours.
    about.filter(|about| about != "disk").collect()
}

#[tokio::test]
async fn what_wants_a_look_is_named_with_the_way_out() {
    let fleet = Fleet::new();
    let config = ClickHouse::shared().config();
    migrate(&Store::connect(&config)).await.unwrap();
    let clickhouse = (config.url.as_str(), config.database.as_str());

    // Nobody has started anything yet.
    let said = status(&fleet.nats.url(), clickhouse, &["--json"]);
    assert_eq!((said.code, about(&said)), (1, vec!["workers".to_owned(), "stream".to_owned()]));

    let (worker, agent, _audit) = fleet.start().await;
    agent.check(json!({"action": "a", "resource": "r"})).await;
    // The worker's word on the roll follows its first answer.
    let said = poll("nothing wants a look", || {
        let said = status(&fleet.nats.url(), clickhouse, &["--json"]);
        about(&said).is_empty().then_some(said)
    });
    let told: Value = serde_json::from_str(&said.out).unwrap();
    let roomy = told["attention"].as_array().unwrap().is_empty();
    assert_eq!(said.code, i32::from(!roomy), "{said:?}");
    assert!(told["nats"]["audit"]["messages"].as_u64() >= Some(1), "{told}");
    assert_eq!(told["nats"]["audit"]["max_bytes"], 256 << 20);
    assert_eq!(told["workers"][0]["name"], "worker-1");
    let tables = told["clickhouse"]["tables"].as_array().unwrap();
    assert!(tables.iter().any(|table| table["name"] == "policy_decisions"), "{told}");

    // For people; and a ClickHouse that is away is part of what is said.
    let said = status(&fleet.nats.url(), clickhouse, &[]);
    assert_eq!(said.code, i32::from(!roomy), "{said:?}");
    let well = if roomy { "all is well" } else { "disk" };
    for words in ["Workers", "worker-1", "POLICY_AUDIT", "policy_violations", well] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'), "no colours where there is no terminal");
    let said = status(&fleet.nats.url(), ("http://127.0.0.1:1", "x"), &[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("the stream holds what comes"), "{said:?}");

    drop(worker);
    fleet.nats.kill();
    let said = status(&fleet.nats.url(), clickhouse, &[]);
    assert_eq!(said.code, 4, "{said:?}");
}
