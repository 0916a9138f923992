//! The roles as processes, replaced one after the other while agents ask; and roles that are told to
//! stop while a server is gone.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use sluicegate::config;

use crate::store::{eventually, outside};
use crate::support::servers::{ClickHouse, NatsServer, poll};
use crate::worker::support::{Agent, AuditStream, Crowd, Manner, Program, Running};

/// Servers and a database, and how programs reach them.
struct Site {
    nats: NatsServer,
    clickhouse: config::ClickHouse,
}

impl Site {
    fn on(clickhouse: &ClickHouse) -> Self {
        Self { nats: NatsServer::start(), clickhouse: clickhouse.config() }
    }

    fn program(&self, role: &str, more: &[&str]) -> Program {
        let mut arguments = vec![role];
        for setting in more {
            arguments.extend(["--set", setting]);
        }
        Program::new(&arguments)
            .env("SLUICEGATE_NATS_URL", &self.nats.url())
            .env("SLUICEGATE_CLICKHOUSE_URL", &self.clickhouse.url)
            .env("SLUICEGATE_CLICKHOUSE_DATABASE", &self.clickhouse.database)
            .env("SLUICEGATE_SINK_BATCH_AGE", "50ms")
            .env("SLUICEGATE_SINK_ACK_WAIT", "3s")
            .env("SLUICEGATE_SINK_TAKEOVER", "2s")
            .env("SLUICEGATE_BACKOFF_MAX", "250ms")
            .file("policies/kind.rego", "package kind\n\nimport rego.v1\n\nallow := true\n")
    }

    fn worker(&self, more: &[&str]) -> Running {
        Running::worker(self.program("worker", more))
    }

    /// A sink that reads, or stands by.
    fn sink(&self, more: &[&str]) -> Running {
        let mut sink = self.program("sink", more).start();
        sink.logs("sink-decisions");
        sink
    }

    async fn ids(&self, table: &str) -> Vec<String> {
        let sql = format!("SELECT toString(id) FROM {table}");
        outside(&self.clickhouse).query_raw(&sql).fetch_all().await.unwrap_or_default()
    }

    async fn audit(&self) -> AuditStream {
        AuditStream::open(&self.nats.url(), "POLICY_AUDIT").await
    }
}

/// Tells a role to stop; it must end well, within its deadline.
fn stopped(mut role: Running, said: &str) {
    let told = Instant::now();
    role.signal(Signal::SIGTERM);
    let status = role.wait();
    let (took, log) = (told.elapsed(), role.log());
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < Duration::from_secs(10), "{took:?}: {log}");
    assert!(log.contains(said), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_is_replaced_under_load() {
    let site = Site::on(ClickHouse::shared());
    let mut workers = vec![site.worker(&[]), site.worker(&[])];
    let mut sinks = vec![site.sink(&[]), site.sink(&[])];
    let manner = Manner { patience: Duration::from_secs(20), pause: Duration::from_millis(5) };
    let crowd = Crowd::asking(&[site.nats.url()], 3, 4, manner).await;
    for _round in 0..2 {
        for _ in 0..2 {
            workers.push(site.worker(&[]));
            crowd.answers_more(50).await;
            stopped(workers.remove(0), "every accepted check is answered and recorded");
            sinks.push(site.sink(&[]));
            crowd.answers_more(50).await;
            stopped(sinks.remove(0), "everything it was given is stored");
        }
    }
    crowd.answers_more(50).await;
    let all = crowd.end().await;
    for worker in workers {
        stopped(worker, "every accepted check is answered and recorded");
    }
    let wrong = (all.unanswered, all.nobody, all.refused, all.pending.len());
    assert_eq!(wrong, (0, 0, 0, 0), "of {}", all.recorded.len());
    let asked: BTreeSet<&String> = all.recorded.iter().collect();
    assert_eq!(asked.len(), all.recorded.len());
    eventually("every reply has its row", async || {
        let rows = site.ids("policy_decisions").await;
        rows.iter().collect::<BTreeSet<_>>().is_superset(&asked)
    })
    .await;
    for sink in sinks {
        stopped(sink, "everything it was given is stored");
    }
    let rows = site.ids("policy_decisions").await;
    assert_eq!(rows.len(), asked.len(), "not even copies that would merge");
    println!("{} checks, each answered, recorded and stored once", rows.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_without_clickhouse_leaves_its_events_in_the_stream() {
    let clickhouse = ClickHouse::start();
    let site = Site::on(&clickhouse);
    let worker = site.worker(&[]);
    let sink = site.sink(&["shutdown.drain=1s"]);
    let agent = Agent::connect(&site.nats.url()).await;
    let mut asked = BTreeSet::new();
    let mut ask = async || {
        let reply = agent.act("a").await;
        asked.insert(reply["decision_id"].as_str().unwrap().to_owned());
    };
    ask().await;
    eventually("it is stored", async || site.ids("policy_decisions").await.len() == 1).await;
    clickhouse.kill();
    for _ in 0..20 {
        ask().await;
    }
    stopped(sink, "the rest waits in the stream");
    clickhouse.restart();
    let sink = site.sink(&[]);
    eventually("all are stored", async || site.ids("policy_decisions").await.len() >= 21).await;
    stopped(sink, "everything it was given is stored");
    let rows = site.ids("policy_decisions").await;
    assert_eq!(rows.iter().cloned().collect::<BTreeSet<_>>(), asked);
    assert_eq!(rows.len(), 21, "each once");
    stopped(worker, "every accepted check is answered and recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_without_nats_end_at_their_deadline() {
    let site = Site::on(ClickHouse::shared());
    let worker = site.worker(&["shutdown.drain=1s"]);
    let sink = site.sink(&["shutdown.drain=1s"]);
    let agent = Agent::connect(&site.nats.url()).await;
    assert_eq!(agent.act("a").await["audit"], json!("recorded"));
    site.nats.kill();
    // Not together: each must keep to the time that it has from then on.
    for role in [worker, sink] {
        let told = Instant::now();
        stopped(role, "shutdown.drain");
        assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    }
    // And those that never saw one.
    for role in ["worker", "sink"] {
        let program = site.program(role, &["shutdown.drain=1s"]).start();
        poll("it waits for NATS", || program.log().contains("waiting").then_some(()));
        stopped(program, "waiting");
    }
    site.nats.restart();
    site.audit().await.holds(1).await;
}
