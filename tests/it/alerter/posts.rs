//! What is posted, what is tried again, what is given up.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use sluicegate::runtime::health::State;
use sluicegate::store::{Store, ViolationFilter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::receiver::{Answer, Receiver};
use super::{alerter, by_violation, reports, rig, settled, violate};
use crate::store::eventually;

#[tokio::test]
async fn every_violation_arrives_and_clickhouse_knows_who_was_told() {
    let (slack, events) = (Receiver::start().await, Receiver::start().await);
    let rig = rig(&[&slack], |config| {
        config.alerter.cloudevents = events.url().into();
    })
    .await;
    let (sink, alerter) = (rig.sink(), alerter(&rig));
    alerter.ready().await;
    let mut ids = BTreeSet::new();
    for n in 0..25 {
        let severity = if n % 2 == 0 { "warning" } else { "critical" };
        let policy = format!("p{}", n % 3);
        ids.insert(violate(&rig, &json!({"severity": severity, "policy_name": policy})).await);
    }
    let info = violate(&rig, &json!({"severity": "info"})).await;
    settled(&rig).await;
    for receiver in [&slack, &events] {
        let keys = receiver.keys();
        assert_eq!(keys.len(), 25, "each once");
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), ids);
    }
    let post = events.posts().remove(0);
    assert_eq!(post.content_type, "application/cloudevents+json; charset=utf-8");
    assert_eq!(post.path, "/services/s3cret");
    assert_eq!(post.body["id"], post.key.to_string());
    assert_eq!(post.body["source"], "urn:sluicegate:policy");
    assert_eq!(post.body["data"]["id"], post.key.to_string());
    let post = slack.posts().remove(0);
    assert_eq!(post.content_type, "application/json");
    assert!(post.body["text"].as_str().unwrap().contains("policy p"), "{post:?}");
    assert!(post.body["blocks"].to_string().contains(&post.key.to_string()));

    let store = Store::connect(&rig.config.clickhouse);
    let mut rows = Vec::new();
    eventually("ClickHouse knows", async || {
        rows = store.violations(&ViolationFilter::default()).await.unwrap_or_default();
        rows.iter().filter(|row| row.notification_details.contains("\"slack\"")).count() == 25
            && rows
                .iter()
                .filter(|row| row.notification_details.contains("\"cloudevents\""))
                .count()
                == 25
    })
    .await;
    assert_eq!(rows.len(), 26);
    for row in rows {
        assert_eq!(row.notified, row.id != info, "{row:?}");
        assert!(!row.notification_details.contains("s3cret"));
    }
    alerter.stopped().await;
    sink.stopped().await;
}

#[tokio::test]
async fn what_may_pass_is_tried_again_under_the_same_key() {
    let receiver = Receiver::start().await;
    let rig = rig(&[&receiver], |_| ()).await;
    let answers = [500, 503, 408, 429, 502].map(Answer::Status);
    receiver.script(answers);
    receiver.script([Answer::Hang, Answer::RetryAfter(429, "1")]);
    let alerter = alerter(&rig);
    let id = violate(&rig, &json!({})).await;
    let report = reports(&rig, 1).await.remove(0);
    assert_eq!(
        (report.violation_id, report.notified, report.channel.as_str()),
        (id, true, "slack")
    );
    assert_eq!(report.details["attempts"], 8);
    assert_eq!(report.details["status"], 200);
    assert_eq!(report.details["target"], receiver.name());
    let posts = receiver.posts();
    assert_eq!(receiver.keys(), vec![id; 8]);
    assert!(posts[7].at - posts[6].at >= Duration::from_secs(1), "Retry-After is honoured");
    assert!(posts[6].at - posts[5].at >= rig.config.alerter.timeout);
    settled(&rig).await;
    alerter.stopped().await;
}

#[tokio::test]
async fn what_is_refused_is_not_tried_again_and_no_redirect_is_followed() {
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let rig = rig(&[&receiver], |config| config.alerter.max_in_flight = 1).await;
    receiver.script([Answer::Status(404), Answer::Redirect(other.url()), Answer::Endless]);
    let alerter = alerter(&rig);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(violate(&rig, &json!({})).await);
    }
    let reports = by_violation(&rig, 3).await;
    let of = |n: usize| (reports[&ids[n]].notified, reports[&ids[n]].details.clone());
    assert!(!of(0).0);
    assert_eq!(of(0).1["error"], "the answer is 404");
    assert_eq!((of(1).0, &of(1).1["status"]), (false, &json!(302)));
    assert_eq!(
        (of(2).0, &of(2).1["attempts"]),
        (true, &json!(1)),
        "a body without an end is an answer"
    );
    assert_eq!(other.posts().len(), 0);
    assert_eq!(receiver.posts().len(), 3);
    settled(&rig).await;
    alerter.stopped().await;
}

#[tokio::test]
async fn who_can_t_be_reached_is_given_up_and_nobody_was_told() {
    // One that answers, but not in HTTP.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let garbage = format!("http://{}/s3cret", listener.local_addr().unwrap());
    let answering = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.read(&mut [0; 1_024]).await;
            let _ = client.write_all(b"\0\xff nonsense\r\n\r\n").await;
        }
    });
    let receiver = Receiver::start().await;
    let rig = rig(&[&receiver], |config| {
        config.alerter.slack =
            format!("http://127.0.0.1:1/s3cret,{garbage},http://nobody.invalid/s3cret").into();
        config.alerter.give_up = Duration::from_secs(1);
    })
    .await;
    let alerter = alerter(&rig);
    let start = Instant::now();
    let id = violate(&rig, &json!({})).await;
    for report in reports(&rig, 3).await {
        assert_eq!((report.violation_id, report.notified), (id, false));
        let said = serde_json::to_string(&report).unwrap();
        assert!(report.details["attempts"].as_u64().unwrap() > 1, "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        assert!(!report.details["error"].as_str().unwrap().is_empty());
    }
    assert!(start.elapsed() >= Duration::from_millis(500));
    settled(&rig).await;
    let health = alerter.health.snapshot();
    let State::Degraded(says) = &health["alerter-slack-1-posts"] else { panic!("{health:?}") };
    assert!(says.starts_with("http://127.0.0.1:1: ") && !says.contains("s3cret"), "{says}");
    assert!(alerter.health.is_ready(), "who can't be told makes no process useless");
    alerter.stopped().await;
    answering.abort();
}

#[tokio::test]
async fn a_target_that_hangs_holds_up_no_other() {
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    slow.always(Answer::Hang);
    let rig = rig(&[&slow, &quick], |config| {
        config.alerter.max_in_flight = 2;
        config.alerter.timeout = Duration::from_secs(30);
        config.alerter.rate_limit = 1_000;
        config.shutdown.drain = Duration::from_secs(1);
    })
    .await;
    let alerter = alerter(&rig);
    alerter.ready().await;
    let mut ids = BTreeSet::new();
    for _ in 0..40 {
        ids.insert(violate(&rig, &json!({})).await);
    }
    let told = reports(&rig, 40).await;
    assert_eq!(told.iter().map(|report| report.violation_id).collect::<BTreeSet<_>>(), ids);
    assert!(told.iter().all(|report| report.details["target"] == quick.name()));
    assert_eq!(slow.posts().len(), 2, "no more than may be in flight");
    alerter.stopped().await;
}

#[tokio::test]
async fn hostile_texts_make_no_mention_and_no_link() {
    let receiver = Receiver::start().await;
    let rig = rig(&[&receiver], |_| ()).await;
    let alerter = alerter(&rig);
    let hostile = "<!channel> <https://evil.example|Reset> @here [x](https://e)\u{202e}\n";
    let long = hostile.repeat(200);
    for text in [hostile, long.as_str()] {
        violate(
            &rig,
            &json!({"policy_name": text, "resource": text, "subject": text, "action": text,
                    "reasons": [text], "user": text, "session_id": text}),
        )
        .await;
    }
    settled(&rig).await;
    for post in receiver.posts() {
        let text = post.body["text"].as_str().unwrap();
        for markup in ["<", "](", "://", "@h", "\u{202e}", "\n"] {
            assert!(!text.contains(markup), "{markup:?} in {text}");
        }
        let blocks = post.body["blocks"].to_string();
        assert!(!blocks.contains("mrkdwn"), "{blocks}");
        assert!(blocks.len() < 20_000 && text.len() < 10_000);
    }
    assert_eq!(receiver.posts().len(), 2);
    alerter.stopped().await;
}
