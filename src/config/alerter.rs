//! Where the alerter posts to: lists of URLs that are secrets as a whole, since whoever knows a
//! webhook's URL can post to it.

use super::model::Alerter;

impl Alerter {
    /// The URLs that take Slack's JSON.
    pub fn slack_urls(&self) -> impl Iterator<Item = &str> {
        urls(self.slack.expose())
    }

    /// The URLs that take CloudEvents.
    pub fn cloudevents_urls(&self) -> impl Iterator<Item = &str> {
        urls(self.cloudevents.expose())
    }

    /// Whether there is anybody to tell.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.slack_urls().chain(self.cloudevents_urls()).next().is_some()
    }
}

fn urls(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|url| !url.is_empty())
}
