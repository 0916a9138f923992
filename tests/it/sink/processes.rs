//! Sinks as processes of their own: killed and paused as an operating system does it.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::chaos::{how_long, random};
use super::{Rig, rig};
use crate::store::eventually;

struct Process(Child);

impl Process {
    fn start(rig: &Rig) -> Self {
        let config = &rig.config;
        let child = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
            .arg("sink")
            .env("SLUICEGATE_NATS_URL", &config.nats.url)
            .env("SLUICEGATE_CLICKHOUSE_URL", &config.clickhouse.url)
            .env("SLUICEGATE_CLICKHOUSE_DATABASE", &config.clickhouse.database)
            .env("SLUICEGATE_STREAM_MAX_BYTES", "64MiB")
            .env("SLUICEGATE_STREAM_DEAD_LETTER_MAX_BYTES", "8MiB")
            .env("SLUICEGATE_SINK_BATCH_ROWS", config.sink.batch_rows.to_string())
            .env("SLUICEGATE_SINK_BATCH_AGE", "50ms")
            .env("SLUICEGATE_SINK_ACK_WAIT", "3s")
            .env("SLUICEGATE_SINK_TAKEOVER", "2s")
            .env("SLUICEGATE_BACKOFF_INITIAL", "20ms")
            .env("SLUICEGATE_BACKOFF_MAX", "250ms")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sinks_killed_and_paused_at_random() {
    let rig = rig().await;
    let mut sinks = vec![Process::start(&rig), Process::start(&rig)];
    let mut ids = BTreeSet::new();
    let end = Instant::now() + how_long();
    while Instant::now() < end {
        ids.extend(rig.decisions(usize::try_from(random(200)).unwrap()).await);
        let at = usize::try_from(random(2)).unwrap();
        if random(3) == 0 {
            // Long enough for the other one to take over what this one still means to insert.
            sinks[at].signal(Signal::SIGSTOP);
            ids.extend(rig.decisions(100).await);
            tokio::time::sleep(Duration::from_millis(random(5_000))).await;
            sinks[at].signal(Signal::SIGCONT);
        } else {
            drop(sinks.swap_remove(at));
            sinks.push(Process::start(&rig));
        }
    }
    let exact = "SELECT toString(id) FROM decisions";
    eventually("every decision is stored", async || {
        rig.ids(exact).await.iter().copied().collect::<BTreeSet<_>>().is_superset(&ids)
    })
    .await;
    rig.settled("decisions").await;
    let mut found = rig.ids(exact).await;
    found.sort();
    assert_eq!(found, ids.iter().copied().collect::<Vec<_>>(), "each exactly once");
    let copies = rig.number("SELECT count() FROM policy_decisions").await - ids.len() as u64;
    println!("{} decisions, {copies} copies not merged yet", ids.len());
}
