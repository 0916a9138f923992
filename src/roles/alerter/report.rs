//! Saying who was told: on the audit stream, from where the sink writes it into the violation.

use bytes::Bytes;
use chrono::Utc;
use serde_json::{Map, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::gate::Why;
use super::post::Outcome;
use super::target::Target;
use crate::bus::{BusError, Publisher, Subjects};
use crate::contract::{EVENT_SCHEMA, NotificationEvent};

/// Publishes reports.
#[derive(Clone, Debug)]
pub(super) struct Reports {
    pub(super) publisher: Publisher,
    pub(super) subjects: Subjects,
    /// Who reports.
    pub(super) notifier: String,
}

impl Reports {
    /// Reports what became of one violation at one target. `by` is the post that told of it.
    pub(super) async fn publish(
        &self,
        violation: Uuid,
        target: &Target,
        outcome: &Outcome,
        why: Option<Why>,
        by: Uuid,
    ) -> Result<(), BusError> {
        let id = id(violation, target);
        let mut details = Map::new();
        details.insert("target".into(), target.name.clone().into());
        details.insert("attempts".into(), outcome.attempts.into());
        if let Some(status) = outcome.status {
            details.insert("status".into(), status.into());
        }
        if let Some(error) = &outcome.error {
            details.insert("error".into(), error.clone().into());
        }
        if let Some(why) = why {
            let (word, of) = match why {
                Why::Duplicate(of) => ("duplicate", Some(of)),
                Why::RateLimited => ("rate_limited", None),
            };
            details.insert("suppressed".into(), word.into());
            details.insert("summed_up_by".into(), json!(by));
            if let Some(of) = of {
                details.insert("duplicate_of".into(), json!(of));
            }
        }
        let event = NotificationEvent {
            schema: EVENT_SCHEMA,
            id,
            violation_id: violation,
            timestamp: Utc::now(),
            notifier: self.notifier.clone(),
            notified: outcome.notified,
            channel: target.channel.as_str().to_owned(),
            details,
        };
        let payload = serde_json::to_vec(&event).unwrap_or_default();
        let subject = self.subjects.notification();
        self.publisher.publish(&subject, &id.to_string(), Bytes::from(payload)).await.map(|_| ())
    }
}

/// One for each violation and URL: said twice, it counts once.
fn id(violation: Uuid, target: &Target) -> Uuid {
    let mut digest = Sha256::new();
    for part in [violation.as_bytes().as_slice(), target.key.as_bytes()] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.finalize()).for_each(|(to, from)| *to = from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Alerter;
    use crate::roles::alerter::target::targets;

    #[test]
    fn the_id_of_a_report_follows_from_violation_and_url() {
        let config = |slack: &str| Alerter { slack: slack.to_owned().into(), ..Alerter::default() };
        let [a, b] =
            ["http://a/x", "http://a/y"].map(|url| targets(&config(url)).unwrap().remove(0));
        let violation = Uuid::now_v7();
        assert_eq!(id(violation, &a), id(violation, &a.clone()));
        assert_ne!(id(violation, &a), id(violation, &b));
        assert_ne!(id(violation, &a), id(Uuid::now_v7(), &a));
    }
}
