//! Dead letters are found, shown, and replayed once their cause is mended: each event is one row.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate::config::Config;
use sluicegate::domain::Verdict;
use sluicegate::roles::verify::{Finding, Scope, verify};
use sluicegate::store::Store;
use uuid::Uuid;

use super::{Rig, rig, rig_on};
use crate::store::{decision, eventually};
use crate::support::servers::ClickHouse;
use crate::worker::support::Program;
use crate::worker::support::program::Said;

impl Rig {
    async fn deadletter(&self, arguments: &[&str]) -> Said {
        let arguments = [&["deadletter"], arguments].concat();
        let program = Program::new(&arguments)
            .env("SLUICEGATE_NATS_URL", &self.config.nats.url)
            .env("SLUICEGATE_STREAM_MAX_BYTES", "64MiB");
        tokio::task::spawn_blocking(move || program.run()).await.unwrap()
    }

    async fn letters(&self, arguments: &[&str]) -> Vec<Value> {
        let said = self.deadletter(&[&["list", "--json"], arguments].concat()).await.ended_with(0);
        said.json()["letters"].as_array().unwrap().clone()
    }

    /// Waits until there are so many.
    async fn put_aside(&self, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        eventually("letters are written", async || {
            found = self.letters(&[]).await;
            found.len() >= count
        })
        .await;
        assert_eq!(found.len(), count, "{found:?}");
        found
    }

    /// What verification finds, and how many events stand at two places.
    async fn verified(&self) -> (Vec<Finding>, u64) {
        let store = Store::connect(&self.config.clickhouse);
        let scope = Scope { contents: true, ..Scope::default() };
        let connection = self.connection().await;
        let report = verify(&connection, &store, &self.config, &scope, &|_| ()).await.unwrap();
        (report.findings.named, report.stream.tables[0].resent)
    }

    async fn alter(&self, what: &str) {
        let sql = format!("ALTER TABLE policy_decisions {what}");
        self.clickhouse.query_raw(&sql).execute().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_clickhouse_refused_are_stored_once_when_replayed() {
    let quick = |config: &mut Config| config.chain.interval = Duration::from_millis(200);
    let rig = rig_on(ClickHouse::shared(), quick).await;
    let sink = rig.sink();
    let mut ids = rig.decisions(5).await;
    rig.stored_once(&ids).await;
    rig.alter("ADD CONSTRAINT c CHECK worker != 'bad'").await;
    for _ in 0..6 {
        ids.insert(rig.decide(&json!({"worker": "bad", "timestamp": chrono::Utc::now()})).await);
    }
    let letters = rig.put_aside(6).await;
    let times: Vec<_> = letters.iter().map(|letter| letter["number"].as_u64().unwrap()).collect();
    assert_eq!(times, [6, 5, 4, 3, 2, 1], "newest first");
    assert_eq!(letters[0]["reason"], "refused_by_clickhouse");
    assert_eq!(letters[0]["table"], "decisions");
    assert!(letters[0]["detail"].as_str().unwrap().contains("violated"));

    let which = ["replay", "--reason", "refused_by_clickhouse"];
    let said = rig.deadletter(&[&which[..], &["--dry-run"]].concat()).await.ended_with(0);
    assert!(said.out.contains("6 could be replayed"), "{said:?}");
    assert_eq!(rig.letters(&[]).await.len(), 6);
    assert!(rig.deadletter(&["replay"]).await.ended_with(1).err.contains("--all"));

    // Not mended yet: what can't be stored becomes a letter again.
    rig.deadletter(&["replay", "1"]).await.ended_with(0);
    eventually("it is put aside again", async || {
        rig.letters(&[]).await.first().is_some_and(|letter| letter["number"] == 7)
    })
    .await;
    rig.deadletter(&["replay", "1"]).await.ended_with(1);
    rig.settled("decisions").await;
    assert_eq!(rig.verified().await, (vec![], 1), "what was given back in vain is put aside");

    rig.alter("DROP CONSTRAINT c").await;
    // Two at once: whatever they do together, each event is stored once.
    let (first, second) = tokio::join!(rig.deadletter(&which), rig.deadletter(&which));
    assert!(
        first.out.contains("replayed") && second.out.contains("replayed"),
        "{first:?} {second:?}"
    );
    rig.stored_once(&ids).await;
    assert!(rig.letters(&[]).await.is_empty());
    let (findings, resent) = rig.verified().await;
    assert!(findings.is_empty() && resent >= 6, "{resent}: {findings:#?}");
    let said = rig.deadletter(&["list"]).await.ended_with(0);
    assert_eq!(said.out, "no dead letters\n");
    sink.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_versions_wrote_is_stored_or_put_aside_and_shown() {
    let rig = rig().await;
    let subject = rig.subjects.decision(Verdict::Allow, "x");
    // An older program: none of what was added since.
    let mut older =
        serde_json::to_value(decision(&json!({"timestamp": chrono::Utc::now()}))).unwrap();
    let old = older.as_object_mut().unwrap();
    for new in ["worker_run", "worker_sequence", "run_id", "step_id", "project_id"] {
        assert!(old.remove(new).is_some(), "{new}");
    }
    let id: Uuid = older["id"].as_str().unwrap().parse().unwrap();
    rig.publish(&subject, "older", older.to_string().into_bytes()).await;
    let mut newer = serde_json::to_value(decision(&json!({}))).unwrap();
    newer["schema"] = json!(2);
    newer["novel"] = json!("\u{9b}31m");
    rig.publish(&subject, "newer", newer.to_string().into_bytes()).await;
    rig.publish(&subject, "bytes", b"\xff\xfe\x1b[31mred".to_vec()).await;
    let sink = rig.sink();
    rig.stored_once(&BTreeSet::from([id])).await;
    rig.put_aside(2).await;

    let of = async |reason| {
        let letters = rig.letters(&["--reason", reason]).await;
        assert_eq!(letters.len(), 1, "{reason}");
        letters[0]["number"].to_string()
    };
    let (newer_number, bytes) = (of("newer_schema").await, of("not_json").await);
    let said = rig.deadletter(&["show", &newer_number]).await.ended_with(0);
    for part in ["newer_schema", "a newer sink can store it", &subject, "\"novel\"", "POLICY_AUDIT"]
    {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    assert!(!said.out.contains('\u{9b}'), "nothing that a terminal obeys");
    let said = rig.deadletter(&["show", &newer_number, "--raw"]).await.ended_with(0);
    assert_eq!(said.json(), newer);
    let said = rig.deadletter(&["show", &bytes]).await.ended_with(0);
    assert!(said.out.contains(r"\xff\xfe\x1b[31mred"), "{said:?}");
    let said = rig.deadletter(&["show", &bytes, "--json"]).await.ended_with(0).json();
    assert_eq!(said["body"]["hex"], "fffe1b5b33316d726564");
    rig.deadletter(&["show", "99"]).await.ended_with(1);
    assert!(rig.letters(&["--table", "violations"]).await.is_empty());
    assert_eq!(rig.letters(&["--limit", "1", "--since", "1h"]).await.len(), 1);
    let said = rig.deadletter(&["list"]).await.ended_with(0);
    assert!(said.out.contains("newer_schema") && said.out.contains("NATS subject"), "{said:?}");
    sink.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_was_cut_is_replayed_from_the_stream_while_it_has_it() {
    let rig = rig().await;
    let subject = rig.subjects.decision(Verdict::Allow, "x");
    let largest = 1_024 * 1_024 - 200;
    rig.publish(&subject, "huge", vec![b'['; largest]).await;
    let sink = rig.sink();
    let letter = rig.put_aside(1).await.remove(0);
    assert_eq!(letter["truncated_from"], largest);
    // It is as bad as before, and whole: so it becomes a letter of the same size.
    rig.deadletter(&["replay", "1"]).await.ended_with(0);
    eventually("it comes again", async || {
        rig.letters(&[]).await.first().is_some_and(|letter| letter["number"] == 2)
    })
    .await;
    let letter = rig.put_aside(1).await.remove(0);
    assert_eq!(
        (&letter["truncated_from"], &letter["stream_sequence"]),
        (&json!(largest), &json!(2))
    );
    rig.settled("decisions").await;
    let stream = rig.jetstream.get_stream(&rig.config.stream.name).await.unwrap();
    stream.purge().await.unwrap();
    let said = rig.deadletter(&["replay", "--all"]).await.ended_with(1);
    assert!(said.out.contains("only its beginning is kept"), "{said:?}");
    assert_eq!(rig.letters(&[]).await.len(), 1, "it stays");
    sink.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_from_the_bucket_or_from_elsewhere_is_not_put_back() {
    let rig = rig().await;
    let bucket = rig.bucket().await;
    bucket.put("cost", "not a policy".into()).await.unwrap();
    let sink = rig.sink();
    rig.put_aside(1).await;
    // Somebody else's letter, which would be published wherever it says.
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Sluicegate-Stream", rig.config.stream.name.as_str());
    headers.insert("Sluicegate-Subject", "$JS.API.STREAM.DELETE.POLICY_AUDIT");
    let forged = rig.subjects.dead_letter("decisions");
    rig.jetstream.publish_with_headers(forged, headers, "".into()).await.unwrap().await.unwrap();
    let said = rig.deadletter(&["replay", "--all"]).await.ended_with(1);
    assert!(said.out.contains("sluicegate policy put"), "{said:?}");
    assert!(said.out.contains("the audit stream has no subject"), "{said:?}");
    assert_eq!(rig.letters(&[]).await.len(), 2);
    sink.stopped().await;
}
