//! More than can be worked on: refused with a clear word or counted, in bounded memory, and over when
//! the flood is over.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::{Value, json};

use super::super::support::agent::header;
use super::super::support::{Admin, Agent, Fleet, Program, Running, until};
use crate::support::servers::free_port;

/// Connections that flood, and checks of each.
const FLOODS: usize = 4;
const CHECKS: usize = 12_000;
/// Bytes that each check carries: together far more than the worker may take.
const BALLAST: usize = 6_000;

/// A worker with little room for anything, in a process of its own.
struct Small {
    worker: Running,
    telemetry: SocketAddr,
}

impl Small {
    fn start(fleet: &Fleet, more: &[&str]) -> Self {
        let telemetry = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let settings = [
            format!("nats.url={}", fleet.nats.url()),
            format!("policies.folder={}", fleet.policies().display()),
            format!("telemetry.listen={telemetry}"),
            "worker.evaluation_threads=1".to_owned(),
            "worker.queue=16".to_owned(),
            "audit.max_in_flight=32".to_owned(),
            "audit.acknowledge_timeout=20s".to_owned(),
        ];
        let mut arguments = vec!["worker"];
        for setting in settings.iter().map(String::as_str).chain(more.iter().copied()) {
            arguments.extend(["--set", setting]);
        }
        Self { worker: Running::worker(Program::new(&arguments)), telemetry }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.telemetry).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn metric(&self, name: &str) -> usize {
        let metrics = self.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {metrics}")).parse().unwrap()
    }

    /// Bytes of memory that the process holds.
    fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.worker.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    }

    /// Whether the health says something of an overload.
    fn says_overloaded(&self) -> bool {
        let answer = self.get("/readyz");
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let part = &body["parts"]["checks"];
        assert_eq!(body["ready"], true, "overloaded is no reason to be taken for dead: {body}");
        part["state"] == "degraded" && part["detail"].as_str().unwrap().contains("overloaded")
    }
}

/// What became of a flood's checks.
#[derive(Default)]
struct Answers {
    decided: AtomicUsize,
    refused: AtomicUsize,
}

impl Answers {
    fn all(&self) -> usize {
        self.decided.load(Ordering::Relaxed) + self.refused.load(Ordering::Relaxed)
    }
}

/// Sends checks as fast as the connection takes them, without waiting for answers, which are counted.
async fn flood(agent: Agent, answers: Arc<Answers>) {
    let inbox = agent.client.new_inbox();
    let mut replies = agent.client.subscribe(inbox.clone()).await.unwrap();
    tokio::spawn(async move {
        while let Some(message) = replies.next().await {
            let counter = match header(&message, "Nats-Service-Error-Code").as_deref() {
                None => &answers.decided,
                Some("503") => &answers.refused,
                Some(other) => panic!("{other}: {message:?}"),
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let body = json!({"action": "a", "resource": "r", "context": {"x": "x".repeat(BALLAST)}});
    let body = bytes::Bytes::from(body.to_string());
    for number in 0..CHECKS {
        let sent = agent.client.publish_with_reply("policy.check", inbox.clone(), body.clone());
        sent.await.unwrap();
        // The server, too, gives up on connections that take too much at once.
        if number % 500 == 0 {
            agent.client.flush().await.unwrap();
        }
    }
    agent.client.flush().await.unwrap();
}

/// Floods a worker and looks at it meanwhile.
async fn flooded(fleet: &Fleet, small: &Small) -> Arc<Answers> {
    let answers = Arc::<Answers>::default();
    let begin = small.resident();
    let flooding = Arc::new(AtomicBool::new(true));
    let mut floods = Vec::new();
    for _ in 0..FLOODS {
        floods.push(tokio::spawn(flood(fleet.agent().await, Arc::clone(&answers))));
    }
    // Whoever manages is heard all the while.
    let manager = tokio::spawn(manage(fleet.agent().await, Arc::clone(&flooding)));
    let ended = async {
        for flood in floods {
            flood.await.unwrap();
        }
    };
    tokio::pin!(ended);
    let mut most = 0;
    loop {
        tokio::select! {
            () = &mut ended => break,
            () = tokio::time::sleep(Duration::from_millis(20)) => most = most.max(small.resident()),
        }
    }
    flooding.store(false, Ordering::Relaxed);
    let turned = manager.await.unwrap();
    assert!(turned > 0, "the switch was turned during the flood");
    let sent = FLOODS * CHECKS;
    until("every check is answered, refused or counted", async || {
        let dropped = small.metric("sluicegate_requests_dropped_total");
        (answers.all() + dropped >= sent).then_some(())
    })
    .await;
    let dropped = small.metric("sluicegate_requests_dropped_total");
    assert_eq!(answers.all() + dropped, sent, "each once");
    let grown = most.saturating_sub(begin) >> 20;
    println!(
        "{} decided, {} refused, {dropped} dropped; the switch turned {turned} times; {grown} MiB more",
        answers.decided.load(Ordering::Relaxed),
        answers.refused.load(Ordering::Relaxed),
    );
    assert!(grown < 120, "{grown} MiB more than before; the flood has 290");
    answers
}

/// Turns the switch on and off, and returns how often.
async fn manage(agent: Agent, flooding: Arc<AtomicBool>) -> usize {
    let admin = Admin::new(&agent, "alice");
    let mut turned = 0;
    while flooding.load(Ordering::Relaxed) {
        let mode = ["shadow", "on"][turned % 2];
        let request = json!({"mode": mode, "change": admin.change()});
        let answer = admin.attempts("enforcement", request).await;
        let answer = answer.expect("the switch is taken within its time").unwrap();
        assert_eq!(answer["enforcement"]["mode"], mode);
        turned += 1;
    }
    turned
}

/// The next check is answered at once, and the health forgets.
async fn recovers(fleet: &Fleet, small: &Small) {
    let agent = fleet.agent().await;
    let began = Instant::now();
    assert_eq!(agent.act("after").await["audit"], json!("recorded"));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    until("the health forgets", async || (!small.says_overloaded()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_in_bounded_memory() {
    let fleet = Fleet::with_policies(&[("kind", "allow := true")]);
    let small = Small::start(&fleet, &["nats.subscription_capacity=4096"]);
    let answers = flooded(&fleet, &small).await;
    assert!(small.says_overloaded());
    assert!(answers.refused.load(Ordering::Relaxed) > 1_000, "there was too much");
    assert!(small.metric("sluicegate_checks_total{outcome=\"shed\"}") > 1_000);
    recovers(&fleet, &small).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_client_drops_is_counted() {
    let fleet = Fleet::with_policies(&[("kind", "allow := true")]);
    // Hardly any wait in the client: nearly all of the flood is dropped.
    let small = Small::start(&fleet, &["nats.subscription_capacity=4"]);
    flooded(&fleet, &small).await;
    let dropped = small.metric("sluicegate_requests_dropped_total");
    let events = small.metric("sluicegate_slow_consumer_total");
    assert!(dropped > 100 && events > 0 && events <= dropped, "{events} events, {dropped} dropped");
    recovers(&fleet, &small).await;
}
