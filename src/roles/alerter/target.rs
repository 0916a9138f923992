//! Where posts go: a URL, and the words by which it may be named. Whoever knows a webhook's URL can
//! post to it, so a URL is shown nowhere.

use std::fmt;

use http::Uri;
use sha2::{Digest, Sha256};

use super::AlerterError;
use crate::config::Alerter;

/// What a target understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// Slack's JSON, which others take as well.
    Slack,
    /// CloudEvents 1.0 in structured JSON.
    CloudEvents,
}

impl Channel {
    /// Its word in reports, metrics and health.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::CloudEvents => "cloudevents",
        }
    }

    /// The type of its bodies.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Slack => "application/json",
            Self::CloudEvents => "application/cloudevents+json; charset=utf-8",
        }
    }
}

/// One URL.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) channel: Channel,
    /// The URL: a secret.
    pub(super) uri: Uri,
    /// Scheme, host and port, for people.
    pub(super) name: String,
    /// Channel and number in the list: `slack-1`.
    pub(super) label: String,
    /// What tells the URL from others, and doesn't tell it.
    pub(super) key: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("label", &self.label).field("name", &self.name).finish()
    }
}

/// All targets of a configuration.
pub(super) fn targets(config: &Alerter) -> Result<Vec<Target>, AlerterError> {
    let mut found: Vec<Target> = Vec::new();
    let slack = config.slack_urls().map(|url| (Channel::Slack, url));
    let cloudevents = config.cloudevents_urls().map(|url| (Channel::CloudEvents, url));
    for (channel, url) in slack.chain(cloudevents) {
        let number = found.iter().filter(|target| target.channel == channel).count() + 1;
        let label = format!("{}-{number}", channel.as_str());
        let uri: Uri = url.parse().map_err(|_| AlerterError::Url { label: label.clone() })?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(AlerterError::Url { label });
        };
        let key: String = hex::encode(Sha256::digest(url.as_bytes())).chars().take(12).collect();
        if found.iter().any(|target| target.key == key && target.channel == channel) {
            continue;
        }
        let port = authority.port().map(|port| format!(":{port}")).unwrap_or_default();
        let name = format!("{scheme}://{}{port}", authority.host());
        found.push(Target { channel, name, label, key, uri });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_named_by_scheme_and_host_alone() {
        let config = Alerter {
            slack:
                "https://hooks.example.org/services/T0/s3cret, http://[::1]:8080/s3cret?x=s3cret"
                    .to_owned()
                    .into(),
            cloudevents: "http://127.0.0.1:9/s3cret,http://127.0.0.1:9/s3cret".to_owned().into(),
            ..Alerter::default()
        };
        let targets = targets(&config).unwrap();
        let names: Vec<_> = targets.iter().map(|t| (t.label.as_str(), t.name.as_str())).collect();
        assert_eq!(
            names,
            [
                ("slack-1", "https://hooks.example.org"),
                ("slack-2", "http://[::1]:8080"),
                ("cloudevents-1", "http://127.0.0.1:9"),
            ]
        );
        assert!(!format!("{targets:?}").contains("s3cret"));
    }
}
