//! Equal violations, and too many of them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::receiver::{Answer, Receiver};
use super::{alerter, by_violation, reports, rig, settled, violate};
use crate::store::eventually;

#[tokio::test]
async fn equal_violations_are_posted_once_and_counted_in_a_second_post() {
    let receiver = Receiver::start().await;
    let rig = rig(&[&receiver], |config| {
        config.alerter.dedup_window = Duration::from_secs(2);
    })
    .await;
    let alerter = alerter(&rig);
    alerter.ready().await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(violate(&rig, &json!({"resource": "same"})).await);
    }
    ids.push(violate(&rig, &json!({"resource": "other"})).await);
    let reports = by_violation(&rig, 7).await;
    let posts = receiver.posts();
    assert_eq!(posts.len(), 3, "the first, the other, and the rest");
    let summary = &posts[2];
    assert!(posts[2].at - posts[0].at >= Duration::from_millis(1_900));
    assert!(summary.body["text"].as_str().unwrap().contains("5 more of policy p"), "{summary:?}");
    for (n, id) in ids.iter().enumerate() {
        let details = &reports[id].details;
        assert!(reports[id].notified);
        if n == 0 || n == 6 {
            assert!(details.get("suppressed").is_none(), "{details:?}");
        } else {
            assert_eq!(details["suppressed"], "duplicate");
            assert_eq!(details["duplicate_of"], ids[0].to_string());
            assert_eq!(details["summed_up_by"], summary.key.to_string());
        }
    }
    settled(&rig).await;
    alerter.stopped().await;
}

#[tokio::test]
async fn a_flood_is_summed_up_and_none_of_it_is_lost() {
    let receiver = Receiver::start().await;
    let rig = rig(&[&receiver], |config| {
        config.alerter.rate_limit = 3;
        config.alerter.rate_window = Duration::from_secs(3);
        config.alerter.cloudevents = config.alerter.slack.clone();
        config.alerter.slack = String::new().into();
    })
    .await;
    let alerter = alerter(&rig);
    alerter.ready().await;
    let mut ids = BTreeSet::new();
    for _ in 0..300 {
        ids.insert(violate(&rig, &json!({})).await);
    }
    let reports = reports(&rig, 300).await;
    let reported: BTreeSet<_> = reports.iter().map(|report| report.violation_id).collect();
    assert_eq!(reported, ids);
    assert!(reports.iter().all(|report| report.notified));
    settled(&rig).await;
    let posts = receiver.posts();
    let mut told = BTreeSet::new();
    for post in &posts {
        if post.body["type"] == "sluicegate.violation.v1" {
            told.insert(post.key);
        } else {
            assert_eq!(post.body["type"], "sluicegate.violations.suppressed.v1");
            let suppressed = post.body["data"]["violation_ids"].as_array().unwrap();
            assert_eq!(post.body["data"]["rate_limited"], suppressed.len());
            told.extend(
                suppressed.iter().map(|id| id.as_str().unwrap().parse::<uuid::Uuid>().unwrap()),
            );
        }
    }
    assert_eq!(told, ids);
    assert!(posts.len() < 30, "{}", posts.len());
    alerter.stopped().await;
}

#[tokio::test]
async fn stopping_tells_what_is_held_and_gives_back_what_can_t_be_told() {
    let receiver = Receiver::start().await;
    let rig = rig(&[&receiver], |config| {
        config.alerter.rate_limit = 1;
        config.alerter.rate_window = Duration::from_secs(3_600);
    })
    .await;
    let first = alerter(&rig);
    first.ready().await;
    for _ in 0..5 {
        violate(&rig, &json!({})).await;
    }
    reports(&rig, 1).await;
    eventually("the others are held", async || in_flight(&rig).await == 4).await;
    first.stopped().await;
    assert_eq!(receiver.posts().len(), 2);
    reports(&rig, 5).await;
    assert_eq!(in_flight(&rig).await, 0);

    // Now nobody takes it: it is the next one's.
    receiver.always(Answer::Status(503));
    let second = alerter(&rig);
    let id = violate(&rig, &json!({"policy_name": "q"})).await;
    eventually("it is tried", async || receiver.keys().contains(&id)).await;
    second.stopped().await;
    receiver.always(Answer::Status(200));
    let third = alerter(&rig);
    let last = by_violation(&rig, 6).await.remove(&id).unwrap();
    assert!(last.notified);
    settled(&rig).await;
    third.stopped().await;
}

async fn in_flight(rig: &crate::sink::Rig) -> usize {
    use futures::StreamExt;
    let stream = rig.jetstream.get_stream(&rig.config.stream.name).await.unwrap();
    let consumers: Vec<_> = stream.consumers().collect().await;
    let ours = consumers.into_iter().flatten().filter(|info| info.name.contains("alerter"));
    ours.map(|info| info.num_ack_pending).sum()
}
