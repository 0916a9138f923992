//! The sink over a real nats-server and ClickHouse's real engine: whatever is killed, each event
//! becomes one row.

mod chaos;
mod deaths;
mod flow;
mod notifications;
mod poison;
mod processes;
mod proxy;
mod replay;
mod rules;
mod sharing;
mod unchecked;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::kv;
use async_nats::jetstream::message::PublishMessage;
use bytesize::ByteSize;
use chrono::{DateTime, Utc};
use clickhouse::Client;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use sluicegate::bus::{self, Subjects};
use sluicegate::config::Config;
use sluicegate::domain::Verdict;
use sluicegate::roles::RoleContext;
use sluicegate::roles::sink::{Nobody, Observer, SinkError, run_observed};
use sluicegate::runtime::health::{Health, State};
use sluicegate::store::Table;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::{decision, eventually, outside};
use crate::support::servers::{ClickHouse, NatsServer};
use crate::worker::support::Fleet;

/// A NATS of its own, a database of its own.
pub(crate) struct Rig {
    pub(crate) nats: NatsServer,
    pub(crate) config: Config,
    clickhouse: Client,
    pub(crate) jetstream: jetstream::Context,
    pub(crate) subjects: Subjects,
}

/// A sink that runs in this process.
pub(crate) struct Running {
    task: JoinHandle<Result<(), SinkError>>,
    stop: CancellationToken,
    health: Health,
}

/// Quick in everything, so that a test sees in seconds what takes minutes.
fn config(nats: &NatsServer, clickhouse: &ClickHouse) -> Config {
    let mut config = Config::default();
    config.instance.name = "test".into();
    config.nats.url = nats.url();
    config.nats.request_timeout = Duration::from_secs(1);
    config.stream.max_bytes = ByteSize::mib(64);
    config.stream.dead_letter_max_bytes = ByteSize::mib(8);
    config.clickhouse = clickhouse.config();
    config.clickhouse.insert_timeout = Duration::from_secs(5);
    config.clickhouse.query_timeout = Duration::from_secs(5);
    config.sink.batch_rows = 50;
    config.sink.batch_age = Duration::from_millis(50);
    config.sink.ack_wait = Duration::from_secs(3);
    config.sink.takeover = Duration::from_secs(2);
    config.backoff.initial = Duration::from_millis(20);
    config.backoff.max = Duration::from_millis(250);
    config
}

pub(crate) async fn rig() -> Rig {
    rig_on(ClickHouse::shared(), |_| ()).await
}

pub(crate) async fn rig_on(clickhouse: &ClickHouse, change: impl FnOnce(&mut Config)) -> Rig {
    let nats = NatsServer::start();
    let mut config = config(&nats, clickhouse);
    change(&mut config);
    let client = async_nats::connect(nats.url()).await.unwrap();
    let rig = Rig {
        clickhouse: outside(&config.clickhouse),
        jetstream: jetstream::new(client),
        subjects: Subjects::new(&config.nats.subject_prefix),
        nats,
        config,
    };
    rig.ensure_streams().await;
    rig.bucket().await;
    rig
}

impl Rig {
    pub(crate) async fn connection(&self) -> bus::Connection {
        let (health, stop) = (Health::default().part("x"), CancellationToken::new());
        let retry = sluicegate::roles::retry_policy(&self.config.backoff);
        let connection = bus::connect(&self.config.nats, "t", "t", retry, &health, &stop);
        connection.await.unwrap()
    }

    async fn ensure_streams(&self) {
        let connection = self.connection().await;
        bus::stream::ensure(&connection, &self.config.stream, &self.subjects).await.unwrap();
    }

    /// The bucket of policies, as a worker makes it.
    pub(crate) async fn bucket(&self) -> kv::Store {
        let config = kv::Config {
            bucket: self.config.policies.bucket.clone(),
            history: 64,
            ..kv::Config::default()
        };
        self.jetstream.create_key_value(config).await.unwrap()
    }

    /// A fleet's configuration for a worker that feeds this sink.
    pub(crate) fn worker_config(&self, fleet: &Fleet) -> Config {
        let mut config = fleet.config.clone();
        config.nats.url.clone_from(&self.config().nats.url);
        config.stream = self.config().stream.clone();
        config
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Runs a statement in ClickHouse from outside.
    pub(crate) async fn execute(&self, sql: &str) {
        let query = self.clickhouse.query_raw(sql).execute();
        query.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) async fn delete_stream(&self, name: &str) {
        self.jetstream.delete_stream(name).await.unwrap();
    }

    /// Deletes the audit stream and waits until the sink has made it again.
    pub(crate) async fn recreate_stream(&self) {
        self.delete_stream(&self.config.stream.name).await;
        eventually("the sink makes the stream again", async || {
            self.info("decisions").await.is_some()
        })
        .await;
    }

    pub(crate) fn sink(&self) -> Running {
        self.observed(Arc::new(Nobody))
    }

    pub(crate) fn observed(&self, observer: Arc<dyn Observer>) -> Running {
        let (stop, health) = (CancellationToken::new(), Health::default());
        let context = RoleContext {
            config: Arc::new(self.config.clone()),
            name: "test".into(),
            health: health.clone(),
            stop: stop.clone(),
        };
        Running { task: tokio::spawn(run_observed(context, observer)), stop, health }
    }

    /// Publishes as a worker does: with the event's id, until the stream says it has it.
    pub(crate) async fn publish(&self, subject: &str, id: &str, payload: Vec<u8>) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let message = PublishMessage::build().message_id(id).payload(payload.clone().into());
            let sent = self.jetstream.send_publish(subject.to_owned(), message).await;
            if let Ok(pending) = sent
                && pending.await.is_ok()
            {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "can't publish");
        }
    }

    pub(crate) async fn decide(&self, change: &Value) -> Uuid {
        let event = decision(change);
        let subject = self.subjects.decision(Verdict::Deny, &event.action);
        self.publish(&subject, &event.id.to_string(), serde_json::to_vec(&event).unwrap()).await;
        event.id
    }

    /// That many decisions of now.
    pub(crate) async fn decisions(&self, count: usize) -> BTreeSet<Uuid> {
        let mut ids = BTreeSet::new();
        for _ in 0..count {
            ids.insert(self.decide(&json!({"timestamp": Utc::now()})).await);
        }
        ids
    }

    pub(crate) async fn number(&self, sql: &str) -> u64 {
        let query = self.clickhouse.query_raw(sql).fetch_one::<u64>();
        query.await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub(crate) async fn text(&self, sql: &str) -> String {
        let query = self.clickhouse.query_raw(sql).fetch_one::<String>();
        query.await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub(crate) async fn ids(&self, sql: &str) -> Vec<Uuid> {
        let rows = self.clickhouse.query_raw(sql).fetch_all::<String>().await.unwrap_or_default();
        rows.iter().map(|id| id.parse().unwrap()).collect()
    }

    /// Waits until these are in and everything is acknowledged, then counts copies. `FINAL` is not
    /// needed: not even unmerged copies are there.
    pub(crate) async fn stored_once(&self, ids: &BTreeSet<Uuid>) {
        let all = "SELECT toString(id) FROM policy_decisions";
        eventually("every decision is stored", async || {
            self.ids(all).await.iter().copied().collect::<BTreeSet<_>>().is_superset(ids)
        })
        .await;
        self.settled("decisions").await;
        let mut found = self.ids(all).await;
        found.sort();
        let expected: Vec<Uuid> = ids.iter().copied().collect();
        assert_eq!(found.len(), expected.len(), "copies");
        assert_eq!(found, expected);
    }

    async fn info(&self, table: &str) -> Option<jetstream::consumer::Info> {
        let stream = match table {
            "rules" | "enforcement" => format!("KV_{}", self.config.policies.bucket),
            _ => self.config.stream.name.clone(),
        };
        let stream = self.jetstream.get_stream(stream).await.ok()?;
        let name = format!("{}-{table}", self.config.sink.consumer);
        stream.consumer_info(name).await.ok()
    }

    /// Waits until the consumer has nothing left to deliver or to hear of.
    pub(crate) async fn settled(&self, table: &str) {
        eventually("everything is acknowledged", async || {
            self.info(table).await.is_some_and(|i| i.num_pending == 0 && i.num_ack_pending == 0)
        })
        .await;
    }
}

impl Running {
    /// Stops in order; everything must be finished then.
    pub(crate) async fn stopped(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// As sudden as a process can end without ending this one.
    pub(crate) async fn killed(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// Waits until a part says that it waits for something with these words.
    pub(crate) async fn waits_for(&self, part: &str, words: &str) {
        eventually(&format!("{part} waits for {words}"), async || {
            let says = self.health.snapshot().get(part).cloned();
            matches!(says, Some(State::Waiting(what)) if what.contains(words))
        })
        .await;
    }

    /// Waits until a part says that a person should look, with these words.
    pub(crate) async fn says(&self, part: &str, words: &str) {
        eventually(&format!("{part} says {words}"), async || {
            let says = self.health.snapshot().get(part).cloned();
            matches!(says, Some(State::Degraded(what)) if what.contains(words))
        })
        .await;
    }

    pub(crate) async fn ready(&self) {
        eventually("the sink is ready", async || self.health.is_ready()).await;
    }
}

/// Holds every sink that is watched at the point between insert and acknowledgement, for ever.
pub(crate) struct Hold {
    table: Table,
    reached: tokio::sync::Notify,
}

impl Hold {
    /// Waits until a sink is held.
    pub(crate) async fn reached(&self) {
        tokio::time::timeout(Duration::from_secs(30), self.reached.notified()).await.unwrap();
    }

    pub(crate) fn at(table: Table) -> Self {
        Self { table, reached: tokio::sync::Notify::new() }
    }
}

impl Observer for Hold {
    fn inserted(&self, table: Table, rows: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if table == self.table && rows > 0 {
                self.reached.notify_one();
                std::future::pending::<()>().await;
            }
        })
    }
}

pub(crate) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}
