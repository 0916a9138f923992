//! The alerter: posts violations to people and to other systems, and says on the audit stream who was
//! told.
//!
//! Each URL has a line of its own: a durable consumer, a gate that keeps equal violations and floods
//! from becoming posts, and posts that are tried again for a while. A violation is acknowledged when
//! the report about it is stored: told at least once, whoever dies.

mod gate;
#[cfg(test)]
mod gate_tests;
mod line;
mod message;
mod post;
mod report;
mod target;
mod text;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use self::gate::{Gate, Limits};
use self::line::{Courier, Line, Seen};
use self::message::Sender;
use self::post::Poster;
use self::report::Reports;
use self::target::{Target, targets};
use super::RoleContext;
use super::in_flight::InFlight;
use crate::bus::consumer::{Consumer, ConsumerSettings};
use crate::bus::{self, BusError, Connection, Publisher, Subjects};
use crate::config::{self, Config};

/// Violations that may be held back at one target; then they are summed up early.
const MOST_HELD: usize = 10_000;

/// How far back the first alerter of a name begins to post what it finds in the stream, at least.
const BEGIN: Duration = Duration::from_secs(3_600);

/// Bytes of the longest name in a report.
const LONGEST_NAME: usize = 128;

/// Why an alerter ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum AlerterError {
    /// Nobody is to be told.
    #[error(
        "there is nobody to tell: set alerter.slack or alerter.cloudevents to one or more URLs \
         (SLUICEGATE_ALERTER_SLACK, SLUICEGATE_ALERTER_CLOUDEVENTS)"
    )]
    NoTarget,
    /// A URL is none. It is a secret, so it isn't shown.
    #[error("the URL {label} of the alerter can't be used: http:// or https://, a host, a path")]
    Url {
        /// Channel and number in the list.
        label: String,
    },
    /// There are no root certificates to trust in.
    #[error("the root certificates of this system can't be read: {0}")]
    Roots(String),
    /// NATS.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A part of the alerter ended by a fault of the program.
    #[error("a part of the alerter failed: {0}")]
    Failed(#[from] tokio::task::JoinError),
}

impl AlerterError {
    /// Whether starting again may help without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Bus(error) => error.is_transient(),
            Self::Failed(_) => true,
            Self::NoTarget | Self::Url { .. } | Self::Roots(_) => false,
        }
    }
}

/// The parts of the health that are ready once the stream is read, or another alerter reads it.
#[must_use]
pub fn parts(config: &config::Alerter) -> Vec<String> {
    let targets = targets(config).unwrap_or_default();
    targets.iter().map(|target| format!("alerter-{}", target.label)).collect()
}

/// Who is told, for people: scheme, host and port of each URL, by which nobody could post.
#[must_use]
pub fn target_names(config: &config::Alerter) -> Vec<String> {
    let targets = targets(config).unwrap_or_default();
    targets
        .into_iter()
        .map(|target| format!("{} ({})", target.name, target.channel.as_str()))
        .collect()
}

/// Runs an alerter until it is told to stop; then it finishes what it has begun, within
/// `shutdown.drain`. What it can't finish stays in the stream, for the next one.
///
/// # Errors
/// When it can't start because of something that a person must change.
pub async fn run(context: RoleContext) -> Result<(), AlerterError> {
    let config = Arc::clone(&context.config);
    let targets = targets(&config.alerter)?;
    if targets.is_empty() {
        return Err(AlerterError::NoTarget);
    }
    let http = post::client()?;
    let connection = {
        let health = context.health.part("nats-alerter");
        let (retry, stop) = (context.retry(), &context.stop);
        match bus::connect(&config.nats, &context.name, "alerter", retry, &health, stop).await {
            Ok(connection) => connection,
            Err(_) if stop.is_cancelled() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    };
    let mut lines = JoinSet::new();
    for target in targets {
        let health = context.health.part(format!("alerter-{}-posts", target.label));
        health.ready();
        let settings = post::Settings {
            timeout: config.alerter.timeout,
            give_up: config.alerter.give_up,
            retry: context.retry(),
        };
        let poster = Poster::new(http.clone(), target, settings, health);
        lines.spawn(line(context.clone(), connection.clone(), poster));
    }
    let ended = async {
        while let Some(ended) = lines.join_next().await {
            ended?;
        }
        Ok(())
    };
    tokio::pin!(ended);
    tokio::select! {
        ended = &mut ended => return ended,
        () = context.stop.cancelled() => (),
    }
    if let Ok(result) = tokio::time::timeout(config.shutdown.drain, ended).await {
        result
    } else {
        tracing::warn!(
            "the alerter had to stop before every post was through (setting shutdown.drain); the \
             violations are posted by the next one"
        );
        Ok(())
    }
}

async fn line(context: RoleContext, connection: Connection, poster: Poster) {
    let config = Arc::clone(&context.config);
    let alerter = &config.alerter;
    let subjects = Subjects::new(&config.nats.subject_prefix);
    let health = context.health.part(format!("alerter-{}", poster.target.label));
    let settings = consumer_settings(&config, &poster.target, &subjects, &connection);
    let consumer = Consumer::new(&connection, settings);
    let acks = consumer.acks(config.nats.request_timeout);
    let in_flight = Arc::new(InFlight::new(acks, config.sink.ack_wait));
    let keeping = {
        let in_flight = Arc::clone(&in_flight);
        AbortOnDropHandle::new(tokio::spawn(async move { in_flight.keep().await }))
    };
    let courier = Courier {
        poster: Arc::new(poster),
        reports: Reports {
            publisher: Publisher::new(&connection),
            subjects: subjects.clone(),
            notifier: notifier(&context.name),
        },
        in_flight: Arc::clone(&in_flight),
        retry: context.retry(),
        stop: context.stop.clone(),
    };
    let line = Line {
        gate: Gate::new(Limits {
            dedup_window: alerter.dedup_window,
            rate_limit: alerter.rate_limit.max(1),
            rate_window: alerter.rate_window,
            most_held: MOST_HELD,
        }),
        seen: Seen::new((MOST_HELD + alerter.max_in_flight).saturating_mul(2)),
        posts: JoinSet::new(),
        sender: Sender {
            source: format!("urn:sluicegate:{}", config.nats.subject_prefix),
            rate_limit: alerter.rate_limit,
            rate_window: alerter.rate_window,
        },
        context,
        connection,
        subjects,
        consumer,
        in_flight,
        courier,
        health,
    };
    let mut consumer = line.run().await;
    drop(keeping);
    consumer.release().await;
}

fn consumer_settings(
    config: &Config,
    target: &Target,
    subjects: &Subjects,
    connection: &Connection,
) -> ConsumerSettings {
    let alerter = &config.alerter;
    let largest = super::bytes(config.stream.max_message_size).max(connection.max_payload());
    let pull = alerter.max_in_flight.clamp(1, 256);
    ConsumerSettings {
        stream: config.stream.name.clone(),
        name: format!("{}-{}-{}", alerter.consumer, target.channel.as_str(), target.key),
        filter: subjects.violations(),
        ack_wait: config.sink.ack_wait,
        max_ack_pending: alerter.max_in_flight.saturating_add(MOST_HELD + 2 * pull),
        takeover: config.sink.takeover,
        pull_messages: pull,
        pull_bytes: largest.saturating_mul(2),
        // Nobody wants to hear on the first day of what happened in the fortnight before.
        begin: Some(alerter.give_up.max(BEGIN)),
        rewind: false,
        shared: false,
    }
}

/// Who reports: bounded as the table is.
fn notifier(name: &str) -> String {
    let mut notifier = format!("sluicegate-alerter {name}");
    while notifier.len() > LONGEST_NAME {
        notifier.pop();
    }
    notifier
}
