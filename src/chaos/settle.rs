//! After the faults: until everything is ready, nothing is kept back, everything is consumed and what
//! was consumed is where it belongs.

use std::time::{Duration, Instant};

use super::fleet::Fleet;
use crate::bus::Connection;
use crate::bus::overview::overview;
use crate::bus::subjects::bucket_stream;
use crate::store::Store;

/// Time between two looks.
const POLL: Duration = Duration::from_millis(200);
/// Looks in a row that must find nothing left: a message between two places is in neither.
const LOOKS: u32 = 3;
/// Metrics of a worker that are zero when it keeps nothing back.
const KEPT: [&str; 2] = ["sluicegate_audit_pending", "sluicegate_audit_in_flight"];

/// Waits until nothing is left to do.
///
/// # Errors
/// What was still left after so long.
pub async fn settle(
    fleet: &Fleet,
    connection: &Connection,
    patience: Duration,
) -> Result<(), String> {
    let start = Instant::now();
    let mut quiet = 0;
    loop {
        match left(fleet, connection).await {
            Ok(()) => quiet += 1,
            Err(left) if start.elapsed() >= patience => return Err(left),
            Err(_) => quiet = 0,
        }
        if quiet >= LOOKS {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn left(fleet: &Fleet, connection: &Connection) -> Result<(), String> {
    fleet.ask_all("readyz").await?;
    for metrics in fleet.ask_workers("metrics").await? {
        for name in KEPT {
            // What has never changed since the worker's start isn't there: it is zero.
            if let Some(kept) = value(&metrics, name).filter(|kept| *kept > 0.0) {
                return Err(format!("a worker's {name} is {kept}"));
            }
        }
    }
    let config = fleet.config();
    for stream in [config.stream.name.clone(), bucket_stream(&config.policies.bucket)] {
        let found = overview(connection, &stream, config.nats.request_timeout).await;
        let found = found.map_err(|error| error.to_string())?;
        let Some(found) = found else { return Err(format!("there is no stream {stream}")) };
        for consumer in found.consumers {
            if consumer.pending > 0 || consumer.unacknowledged > 0 {
                let (pending, waiting) = (consumer.pending, consumer.unacknowledged);
                let name = consumer.name;
                return Err(format!(
                    "{name} has {pending} messages to come and {waiting} to acknowledge"
                ));
            }
        }
    }
    // A notification that was faster than its violation is tried again, less and less often.
    let store = Store::connect(&config.clickhouse);
    let early = store.unapplied_notifications(config.stream.max_age, 1).await;
    match early.map_err(|error| error.to_string())?.first() {
        Some(id) => Err(format!("violation {id} doesn't say yet who was told of it")),
        None => Ok(()),
    }
}

/// The value of a metric without labels in the text that Prometheus reads.
pub(super) fn value(metrics: &str, name: &str) -> Option<f64> {
    metrics.lines().find_map(|line| {
        let (found, value) = line.split_once(' ')?;
        (found == name).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_metric_is_read() {
        let text = "# TYPE sluicegate_audit_pending gauge\nsluicegate_audit_pending 3\nother 4\n";
        assert_eq!(super::value(text, "sluicegate_audit_pending"), Some(3.0));
        assert_eq!(super::value(text, "sluicegate_audit"), None);
    }
}
