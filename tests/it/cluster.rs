//! A NATS cluster of three, streams and buckets with three replicas: whatever happens to a node, what
//! was acknowledged is there, once, and everything goes on by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use bytesize::ByteSize;
use serde_json::json;
use sluicegate::config::Config;
use sluicegate::roles::RoleContext;
use sluicegate::roles::sink::{self, SinkError};
use sluicegate::runtime::health::{Health, State};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::store::{eventually, outside};
use crate::support::cluster::{NatsCluster, servers};
use crate::support::servers::{ClickHouse, NatsServer};
use crate::worker::support::{Admin, Agent, AuditStream, Crowd, Manner, Worker};

const STREAM: &str = "POLICY_AUDIT";

/// Every stream of the product.
const STREAMS: [&str; 4] = [STREAM, "POLICY_DEADLETTER", "KV_policy_rules", "KV_policy_workers"];

/// A folder with one policy, and settings on these servers.
fn config(url: String, replicas: usize) -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.nats.url = url;
    config.nats.request_timeout = Duration::from_secs(2);
    config.nats.connection_timeout = Duration::from_secs(1);
    config.nats.ping_interval = Duration::from_secs(1);
    config.stream.replicas = replicas;
    config.stream.max_bytes = ByteSize::mib(64);
    config.stream.dead_letter_max_bytes = ByteSize::mib(8);
    config.policies.max_bytes = ByteSize::mib(8);
    config.policies.folder = folder.path().join("policies");
    config.audit.spill_folder = folder.path().join("spill");
    config.backoff.max = Duration::from_millis(250);
    config.policies.report = Duration::from_millis(500);
    config.limits.time = Duration::from_secs(2);
    config.worker.evaluation_threads = 2;
    config.sink.batch_age = Duration::from_millis(50);
    config.sink.ack_wait = Duration::from_secs(3);
    config.sink.takeover = Duration::from_secs(2);
    config.shutdown.drain = Duration::from_secs(30);
    std::fs::create_dir(&config.policies.folder).unwrap();
    (folder, config)
}

/// A cluster, a worker and a sink on it, and a crowd that asks.
struct Rig {
    cluster: NatsCluster,
    config: Config,
    worker: Worker,
    sink: JoinHandle<Result<(), SinkError>>,
    stop: CancellationToken,
    crowd: Crowd,
    admin: Admin,
    _folder: TempDir,
}

impl Rig {
    async fn start() -> Self {
        let cluster = NatsCluster::start().await;
        let (folder, mut config) = config(cluster.url(), 3);
        config.clickhouse = ClickHouse::shared().config();
        let worker = Worker::start("w", config.clone());
        worker.taking_checks().await;
        let stop = CancellationToken::new();
        let context = RoleContext {
            config: Arc::new(config.clone()),
            name: "s".to_owned(),
            health: Health::default(),
            stop: stop.clone(),
        };
        let sink = tokio::spawn(sink::run(context));
        let manner = Manner { patience: Duration::from_secs(4), pause: Duration::from_millis(20) };
        // At each node: wherever the worker hangs, somebody is there when it is cut off.
        let crowd = Crowd::asking(&cluster.urls(), 2, 3, manner).await;
        crowd.answers_more(100).await;
        let admin = Admin::new(
            &Agent { client: cluster.client().await, ..Agent::connect(&cluster.url()).await },
            "op",
        );
        Self { cluster, config, worker, sink, stop, crowd, admin, _folder: folder }
    }

    /// Waits until checks are answered again, and recorded ones, and until policies can be changed.
    async fn recovers(&self, what: &str) {
        let began = Instant::now();
        self.crowd.answers_recorded(200).await;
        println!("{what}: recorded again after {:?}", began.elapsed());
        let name = format!("p{}", what.replace(|c: char| !c.is_ascii_lowercase(), ""));
        eventually("a policy can be put", async || {
            // A change that took place without an answer is refused the second time.
            match self.admin.attempts("put", self.admin.put_of(&name, "allow := true")).await {
                Some(Ok(_)) => true,
                Some(Err(refusal)) => refusal.code == "409",
                None => false,
            }
        })
        .await;
        println!("{what}: a policy is changed after {:?}", began.elapsed());
    }

    /// Every reply has its event, once, and every event its row, once.
    async fn proves(self) {
        let tally = self.crowd.end().await;
        self.cluster.in_step(STREAM).await;
        self.worker.stop().await.unwrap();
        let audit = AuditStream::open(&self.config.nats.url, STREAM).await;
        let mut stored: BTreeMap<String, usize> = BTreeMap::new();
        for event in audit.all().await {
            *stored.entry(event.id).or_default() += 1;
        }
        let twice: Vec<_> = stored.iter().filter(|(_, count)| **count != 1).collect();
        assert_eq!(twice, [], "events that are not once in the stream");
        let lost: Vec<_> = tally.decided().filter(|id| !stored.contains_key(*id)).collect();
        assert!(lost.is_empty(), "answered, and not in the stream: {lost:?}");
        let (recorded, pending) = (tally.recorded.len(), tally.pending.len());
        println!(
            "{recorded} recorded, {pending} pending, {} unanswered, {} refused, {} with nobody there",
            tally.unanswered, tally.refused, tally.nobody
        );
        let clickhouse = outside(&self.config.clickhouse);
        let ids = async |sql: &str| -> Vec<String> {
            clickhouse.query_raw(sql).fetch_all::<String>().await.unwrap_or_default()
        };
        eventually("every event is a row", async || {
            let rows = ids("SELECT DISTINCT toString(id) FROM policy_decisions").await;
            stored.keys().all(|id| rows.contains(id))
        })
        .await;
        self.stop.cancel();
        self.sink.await.unwrap().unwrap();
        let rows = ids("SELECT toString(id) FROM decisions").await;
        assert_eq!(rows.len(), stored.len(), "each once, and nothing else");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_killed() {
    let rig = Rig::start().await;
    let leader = rig.cluster.leader(STREAM).await;
    rig.cluster.nodes[leader].kill();
    rig.recovers("the leader of the stream is killed").await;
    rig.cluster.nodes[leader].restart();
    rig.cluster.in_step(STREAM).await;

    let other = (rig.cluster.leader(STREAM).await + 1) % 3;
    rig.cluster.nodes[other].kill();
    rig.recovers("a follower is killed").await;
    rig.cluster.nodes[other].restart();
    rig.proves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_paused_and_one_that_is_cut_off() {
    let rig = Rig::start().await;
    let leader = rig.cluster.leader(STREAM).await;
    rig.cluster.nodes[leader].pause();
    rig.recovers("the leader of the stream is paused").await;
    rig.cluster.nodes[leader].resume();
    rig.recovers("the paused node goes on").await;
    rig.cluster.in_step(STREAM).await;

    let leader = rig.cluster.leader(STREAM).await;
    rig.cluster.cut(leader);
    // Who is connected to the node that is alone gets no acknowledgement there: the others lead on.
    rig.crowd.answers_more(200).await;
    rig.cluster.mend(leader);
    rig.recovers("the routes of the leader are mended").await;
    rig.proves().await;
}

/// The replicas of every stream that is there.
async fn replicas(url: &str) -> Vec<usize> {
    let jetstream = jetstream::new(async_nats::connect(servers(url)).await.unwrap());
    let mut replicas = Vec::new();
    for name in STREAMS {
        if let Ok(stream) = jetstream.get_stream(name).await {
            replicas.push(stream.cached_info().config.num_replicas);
        }
    }
    replicas
}

#[tokio::test]
async fn replicas_are_what_the_configuration_says() {
    let cluster = NatsCluster::start().await;
    let (_folder, mut config) = config(cluster.url(), 1);
    for count in [1, 3, 1] {
        config.stream.replicas = count;
        let worker = Worker::start("w", config.clone());
        worker.taking_checks().await;
        // The roll of workers is made beside, and checks don't wait for it.
        eventually("all have so many replicas", async || {
            replicas(&config.nats.url).await == [count; 4]
        })
        .await;
        let agent = Agent::connect(&config.nats.url).await;
        assert_eq!(agent.act("a").await["audit"], json!("recorded"), "with {count}");
        worker.stop().await.unwrap();
    }
    // Five copies don't fit three nodes.
    config.stream.replicas = 5;
    let worker = Worker::start("w", config);
    worker
        .part_is("stream", |state| match state {
            State::Waiting(what) => what.contains("than stream.replicas"),
            _ => false,
        })
        .await;
}

#[tokio::test]
async fn a_single_server_keeps_one_copy() {
    let nats = NatsServer::start();
    let (_folder, config) = config(nats.url(), 3);
    let error = Worker::start("w", config).ended().await.unwrap_err().to_string();
    assert!(error.contains("stream.replicas = 1"), "{error}");
}
