//! The alerter over a real nats-server and receivers that fail in every way.

mod deaths;
mod floods;
mod posts;
mod receiver;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt;
use serde_json::{Value, json};
use sluicegate::config::Config;
use sluicegate::contract::NotificationEvent;
use sluicegate::domain::Severity;
use sluicegate::roles::RoleContext;
use sluicegate::roles::alerter::{self, AlerterError};
use sluicegate::runtime::health::Health;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::receiver::Receiver;
use crate::sink::{Rig, rig_on};
use crate::store::eventually;
use crate::support::servers::ClickHouse;

/// An alerter that runs in this process.
struct Running {
    task: JoinHandle<Result<(), AlerterError>>,
    stop: CancellationToken,
    health: Health,
}

impl Running {
    async fn ready(&self) {
        eventually("the alerter is ready", async || self.health.is_ready()).await;
    }

    async fn stopped(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    async fn killed(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

async fn rig(slack: &[&Receiver], change: impl FnOnce(&mut Config)) -> Rig {
    let urls: Vec<String> = slack.iter().map(|receiver| receiver.url()).collect();
    rig_on(ClickHouse::shared(), |config| {
        config.alerter.slack = urls.join(", ").into();
        config.alerter.timeout = Duration::from_millis(500);
        config.alerter.give_up = Duration::from_secs(60);
        config.sink.ack_wait = Duration::from_secs(2);
        config.sink.takeover = Duration::from_secs(2);
        change(config);
    })
    .await
}

fn alerter(rig: &Rig) -> Running {
    let (stop, health) = (CancellationToken::new(), Health::default());
    let context = RoleContext {
        config: Arc::new(rig.config.clone()),
        name: "test".into(),
        health: health.clone(),
        stop: stop.clone(),
    };
    Running { task: tokio::spawn(alerter::run(context)), stop, health }
}

/// A violation as a worker publishes it; `change` overrides members.
async fn violate(rig: &Rig, change: &Value) -> Uuid {
    let id = Uuid::now_v7();
    let mut event = json!({
        "schema": 1, "id": id, "decision_id": Uuid::now_v7(), "timestamp": Utc::now(),
        "worker": "w", "violation_type": "policy_denied", "severity": "critical",
        "policy_name": "p", "policy_version": 3, "action_taken": "blocked", "reasons": ["r"],
        "decision": "deny", "action": "a", "resource": id, "subject": "planner",
    });
    for (key, value) in change.as_object().unwrap() {
        event[key] = value.clone();
    }
    let subject = rig.subjects.violation(Severity::Critical, "p");
    rig.publish(&subject, &id.to_string(), event.to_string().into_bytes()).await;
    id
}

/// What was reported so far, in order, once it is so much.
async fn reports(rig: &Rig, expected: usize) -> Vec<NotificationEvent> {
    let stream = rig.jetstream.get_stream(&rig.config.stream.name).await.unwrap();
    let config = async_nats::jetstream::consumer::pull::Config {
        filter_subject: rig.subjects.notification(),
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let mut found = Vec::new();
    while found.len() < expected {
        let next = tokio::time::timeout(Duration::from_secs(60), messages.next()).await;
        let message = next.expect("a report").unwrap().unwrap();
        found.push(serde_json::from_slice(&message.payload).unwrap());
    }
    found
}

/// The reports by violation.
async fn by_violation(rig: &Rig, expected: usize) -> BTreeMap<Uuid, NotificationEvent> {
    let all = reports(rig, expected).await;
    all.into_iter().map(|report| (report.violation_id, report)).collect()
}

/// Waits until nothing is left to deliver or to acknowledge for any target.
async fn settled(rig: &Rig) {
    let stream = rig.jetstream.get_stream(&rig.config.stream.name).await.unwrap();
    let alerter = &rig.config.alerter;
    let urls = [alerter.slack.expose(), alerter.cloudevents.expose()];
    let targets = urls.iter().flat_map(|urls| urls.split(',')).filter(|url| !url.trim().is_empty());
    let targets = targets.count();
    eventually("everything is acknowledged", async || {
        let last = stream.get_last_raw_message_by_subject(&rig.subjects.violations()).await;
        let last = last.map_or(0, |message| message.sequence);
        let consumers: Vec<_> = stream.consumers().collect().await;
        let ours = consumers.into_iter().flatten().filter(|info| info.name.contains("alerter"));
        // The floor too: a message that was just stored may not be among the pending ones yet.
        let done = ours.filter(|info| {
            let open = info.num_pending + info.num_ack_pending as u64;
            open == 0 && info.ack_floor.stream_sequence >= last
        });
        done.count() >= targets
    })
    .await;
}
