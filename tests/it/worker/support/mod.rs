//! A NATS server, a folder of policies and workers on them; agents that ask; readers of the audit.

pub(crate) mod admin;
pub(crate) mod agent;
pub(crate) mod crowd;
pub(crate) mod fleet;
pub(crate) mod program;
pub(crate) mod stream;

use std::time::{Duration, Instant};

pub(crate) use admin::Admin;
pub(crate) use agent::Agent;
pub(crate) use crowd::{Crowd, Manner};
pub(crate) use fleet::{Fleet, Worker};
pub(crate) use program::{Program, Running};
pub(crate) use stream::AuditStream;

use crate::support::servers::PATIENCE;

/// Looks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = look().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Keys of an object, sorted.
pub(crate) fn keys(value: &serde_json::Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}
