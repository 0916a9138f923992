//! Who is told of violations. The URLs are secrets: what is said of one names its place in the list.

use super::Findings;
use crate::config::model::Config;

const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];
const EXAMPLE: &str = "http:// or https://, a host, and what the service gave you behind it: https://hooks.slack.com/services/...";

pub(super) fn check(c: &Config, findings: &mut Findings) {
    const KEY: &str = "alerter.severities";
    let alerter = &c.alerter;
    findings.require(
        !alerter.severities.is_empty() || !alerter.is_configured(),
        KEY,
        "is empty: nobody would be told anything",
        "some of info, warning, critical; or leave alerter.slack and alerter.cloudevents empty",
    );
    for severity in &alerter.severities {
        findings.require(
            SEVERITIES.contains(&severity.as_str()),
            KEY,
            &format!("has {severity:?}"),
            "some of info, warning, critical",
        );
    }
    for (number, url) in (1..).zip(alerter.slack_urls()) {
        check_url("alerter.slack", number, url, findings);
    }
    for (number, url) in (1..).zip(alerter.cloudevents_urls()) {
        check_url("alerter.cloudevents", number, url, findings);
    }
}

fn check_url(key: &'static str, number: usize, url: &str, findings: &mut Findings) {
    let problem = match url.parse::<http::Uri>() {
        Err(_) => Some(("is no URL", EXAMPLE)),
        Ok(uri) => {
            let authority = uri.authority().map_or("", |authority| authority.as_str());
            if !matches!(uri.scheme_str(), Some("http" | "https")) {
                Some(("begins neither with http:// nor with https://", EXAMPLE))
            } else if authority.contains('@') {
                let way_out = "a token belongs into the path or the query, as the service gives it";
                Some(("has a user name or a password, which are not sent", way_out))
            } else if uri.host().is_none_or(str::is_empty) {
                Some(("names no host", EXAMPLE))
            } else {
                None
            }
        }
    };
    if let Some((what, way_out)) = problem {
        findings.require(false, key, &format!("number {number} {what}"), way_out);
    }
}
