//! What the tests of clients share.

use std::time::Duration;

use async_nats::jetstream::{self, stream};
use sluicegate::client::{Client, Settings};

use crate::support::servers::PATIENCE;
use crate::worker::support::stream::Stored;
use crate::worker::support::{AuditStream, until};

/// Settings with which only a dead server leaves a check unchecked, however busy the machine.
pub(crate) fn patient(url: &str) -> Settings {
    Settings {
        url: url.to_owned(),
        timeout: PATIENCE,
        close_timeout: PATIENCE,
        ..Settings::default()
    }
}

/// Settings for tests in which nobody answers.
pub(crate) fn hasty(url: &str) -> Settings {
    Settings {
        url: url.to_owned(),
        timeout: Duration::from_millis(300),
        close_timeout: Duration::from_millis(100),
        probe_interval: Duration::from_millis(200),
        ..Settings::default()
    }
}

pub(crate) async fn client(settings: Settings) -> Client {
    Client::connect(settings).await.unwrap()
}

/// The stream that takes `policy.unchecked`: the audit's, where workers have made it, else one of
/// the test's own.
pub(crate) struct Reports {
    stream: AuditStream,
}

impl Reports {
    pub(crate) async fn open(url: &str) -> Self {
        let client = async_nats::connect(url).await.unwrap();
        let jetstream = jetstream::new(client);
        let mut name = "POLICY_AUDIT";
        let audit = jetstream.get_stream(name).await.ok();
        let takes = audit.is_some_and(|audit| {
            audit.cached_info().config.subjects.iter().any(|s| s == "policy.unchecked")
        });
        if !takes {
            name = "UNCHECKED";
            let config = stream::Config {
                name: name.to_owned(),
                subjects: vec!["policy.unchecked".to_owned()],
                ..stream::Config::default()
            };
            jetstream.get_or_create_stream(config).await.unwrap();
        }
        Self { stream: AuditStream::open(url, name).await }
    }

    /// All reports so far.
    pub(crate) async fn all(&self) -> Vec<Stored> {
        let all = self.stream.all().await;
        all.into_iter().filter(|stored| stored.subject == "policy.unchecked").collect()
    }

    /// Waits until there are so many, and returns them.
    pub(crate) async fn holds(&self, count: usize) -> Vec<Stored> {
        until(&format!("{count} reports"), async || {
            let all = self.all().await;
            (all.len() >= count).then_some(all)
        })
        .await
    }
}
