//! Three nats-servers on loopback that are one cluster. Each route goes through a way of its own,
//! which can be cut.

use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, stream};

use super::cut::Cut;
use super::servers::{NatsServer, PATIENCE, free_port};

const NODES: usize = 3;

/// Three servers. The node `n<i>` is at index i.
pub(crate) struct NatsCluster {
    pub(crate) nodes: Vec<NatsServer>,
    /// The way that one node takes to another: from, to, way.
    routes: Vec<(usize, usize, Cut)>,
}

impl NatsCluster {
    /// Starts all and waits until the cluster takes streams of three replicas.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same, with additional lines of configuration for each node.
    pub(crate) async fn start_with(lines: &str) -> Self {
        let ports: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
        let mut routes = Vec::new();
        for from in 0..NODES {
            for to in (0..NODES).filter(|to| *to != from) {
                let way = Cut::start(&format!("127.0.0.1:{}", ports[to])).await;
                routes.push((from, to, way));
            }
        }
        let nodes = (0..NODES)
            .map(|node| {
                let own = routes.iter().filter(|(from, ..)| *from == node);
                let urls: Vec<String> =
                    own.map(|(.., way)| format!("\"nats://{}\"", way.address())).collect();
                // A node that hangs is given up soon, as deploy/nats/cluster.conf has it.
                // What is told to the others leads nowhere: they know the way already, and must not
                // find one that can't be cut. Clients, too, keep to the servers that they name.
                let cluster = format!(
                    "server_name: n{node}\ncluster {{\n  name: test\n  listen: \"127.0.0.1:{}\"\n  \
                     routes: [{}]\n  cluster_advertise: \"127.0.0.1:1\"\n  no_advertise: true\n  \
                     connect_retries: 0\n  ping_interval: \"1s\"\n  ping_max: 2\n}}\n{lines}",
                    ports[node],
                    urls.join(", "),
                );
                NatsServer::start_with(&cluster)
            })
            .collect();
        let cluster = Self { nodes, routes };
        cluster.takes_streams().await;
        cluster
    }

    /// The URLs of all nodes, as a client is given them.
    pub(crate) fn url(&self) -> String {
        self.nodes.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }

    /// The same, for as many clients as there are nodes: each begins with another one.
    pub(crate) fn urls(&self) -> Vec<String> {
        let mut urls: Vec<String> = self.nodes.iter().map(NatsServer::url).collect();
        let each = (0..NODES).map(|_| {
            urls.rotate_left(1);
            urls.join(",")
        });
        each.collect()
    }

    /// A connection to any node that is there.
    pub(crate) async fn client(&self) -> async_nats::Client {
        ConnectOptions::new()
            .request_timeout(Some(Duration::from_secs(2)))
            .ping_interval(Duration::from_secs(1))
            .connection_timeout(Duration::from_secs(1))
            .retry_on_initial_connect()
            .connect(servers(&self.url()))
            .await
            .unwrap()
    }

    /// Which node leads a stream now.
    pub(crate) async fn leader(&self, stream: &str) -> usize {
        let jetstream = jetstream::new(self.client().await);
        eventually(&format!("the stream {stream} has a leader"), async || {
            let info = jetstream.get_stream(stream).await.ok()?.cached_info().clone();
            info.cluster?.leader?.strip_prefix('n')?.parse().ok()
        })
        .await
    }

    /// Waits until every replica of a stream is there and has what the leader has.
    pub(crate) async fn in_step(&self, stream: &str) {
        let jetstream = jetstream::new(self.client().await);
        eventually(&format!("the replicas of {stream} are in step"), async || {
            let info = jetstream.get_stream(stream).await.ok()?.cached_info().clone();
            let cluster = info.cluster?;
            let current = cluster.replicas.iter().filter(|peer| peer.current && !peer.offline);
            (cluster.leader.is_some() && current.count() == NODES - 1).then_some(())
        })
        .await;
    }

    /// Cuts every route from and to a node.
    pub(crate) fn cut(&self, node: usize) {
        self.each_route(node, Cut::cut);
    }

    /// Mends what was cut.
    pub(crate) fn mend(&self, node: usize) {
        self.each_route(node, Cut::mend);
    }

    fn each_route(&self, node: usize, act: fn(&Cut)) {
        self.routes
            .iter()
            .filter(|(from, to, _)| *from == node || *to == node)
            .for_each(|(.., way)| act(way));
    }

    async fn takes_streams(&self) {
        let jetstream = jetstream::new(self.client().await);
        let probe = || stream::Config {
            name: "PROBE".to_owned(),
            num_replicas: NODES,
            ..stream::Config::default()
        };
        eventually("the cluster takes streams", async || {
            jetstream.create_stream(probe()).await.ok()
        })
        .await;
        jetstream.delete_stream("PROBE").await.unwrap();
    }
}

/// The servers that a list of URLs names.
pub(crate) fn servers(urls: &str) -> Vec<&str> {
    urls.split(',').collect()
}

/// Looks again and again until there is an answer.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = look().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
