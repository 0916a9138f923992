//! `sluicegate status`: the whole system at a glance.

use chrono::Utc;
use serde_json::{Value, json};
use sluicegate::store::{DecisionRow, Store, StreamPosition, migrate};

use crate::store::decision;
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

#[tokio::test]
async fn calls_that_went_on_unchecked_are_counted_and_named() {
    let fleet = Fleet::new();
    let config = ClickHouse::shared().config();
    let store = Store::connect(&config);
    migrate(&store).await.unwrap();
    let clickhouse = (config.url.as_str(), config.database.as_str());
    let (_worker, _agent, _audit) = fleet.start().await;
    let row = |sequence, unchecked: &str, hours| {
        let change = json!({
            "timestamp": Utc::now() - chrono::TimeDelta::hours(hours), "unchecked": unchecked,
            "decision": "allow", "would_deny": if unchecked == "timeout" { vec!["d"] } else { vec![] },
        });
        let at = StreamPosition { epoch: Utc::now(), sequence };
        DecisionRow::new(decision(&change), at).unwrap()
    };
    let checked: Vec<DecisionRow> = (1..=6).map(|n| row(n, "", 0)).collect();
    store.insert(&checked.iter().collect::<Vec<_>>(), "checked").await.unwrap();
    let said = poll("nothing wants a look", || {
        let said = status(&fleet.nats.url(), clickhouse, &["--json"]);
        about(&said).is_empty().then_some(said)
    });
    assert_eq!(said.json()["clickhouse"]["coverage"]["last_hour"]["checked"], 6);

    let unchecked = [row(7, "timeout", 0), row(8, "no_responders", 3), row(9, "timeout", 30)];
    store.insert(&unchecked.iter().collect::<Vec<_>>(), "unchecked").await.unwrap();
    let said = status(&fleet.nats.url(), clickhouse, &["--json"]);
    assert_eq!((said.code, about(&said)), (1, vec!["coverage".to_owned()]));
    let coverage = said.json()["clickhouse"]["coverage"].clone();
    assert_eq!(coverage["last_hour"]["unchecked"], 1);
    assert_eq!(coverage["last_day"]["causes"], json!({"no_responders": 1, "timeout": 1}));
    assert_eq!(coverage["last_day"]["would_deny"], 1);
    let said = status(&fleet.nats.url(), clickhouse, &[]);
    for words in [
        "coverage, last hour: 85.71 %, 6 checked, 1 unchecked",
        "75 % of the calls of the last 24 hours were checked",
        "no_responders 1, timeout 1",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }

    let database = format!("clickhouse.database={}", config.database);
    let servers = ["--clickhouse-url", &config.url, "--set", &database];
    let list = [&["audit", "--unchecked", "--since", "7d", "--json"][..], &servers].concat();
    let listed = Program::new(&list).run().ended_with(0);
    assert_eq!(listed.out.matches("\"duration_us\"").count(), 3, "{listed:?}");
}
