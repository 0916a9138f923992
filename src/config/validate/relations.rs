//! What must fit together.

use super::Findings;
use crate::config::model::{Acknowledge, Config, OnUnavailable};
use crate::config::value::{show_duration, show_size};

/// What an event holds beside the request: policies, reasons, ids.
const EVENT_OVERHEAD: u64 = 64 << 10;

pub(super) fn check(c: &Config, findings: &mut Findings) {
    sizes(c, findings);
    durations(c, findings);
    sign_in(c, findings);
    if c.stream.name == c.stream.dead_letter_name {
        findings.add(
            &["stream.name", "stream.dead_letter_name"],
            format!("`stream.name` and `stream.dead_letter_name` are both {:?}", c.stream.name),
            "two streams need two names",
        );
    }
    if c.audit.on_unavailable == OnUnavailable::Deny
        && c.audit.acknowledge != Acknowledge::BeforeReply
    {
        findings.add(
            &["audit.on_unavailable", "audit.acknowledge"],
            "`audit.on_unavailable` is deny, but with this `audit.acknowledge` the reply doesn't wait for the stream",
            "set audit.acknowledge = \"before_reply\", or audit.on_unavailable = \"allow\"",
        );
    }
    if !c.http.listen.ip().is_loopback() && !c.http.allow_remote {
        findings.add(
            &["http.listen", "http.allow_remote"],
            format!(
                "`http.listen` is {}: there is no sign-in yet, so whoever reaches that address sees health and metrics",
                c.http.listen
            ),
            "listen on 127.0.0.1 or [::1]; or, where the network itself keeps others out, set http.allow_remote = true",
        );
    }
}

fn sizes(c: &Config, findings: &mut Findings) {
    let message = c.stream.max_message_size.as_u64();
    // The event holds the request, which may grow when it is written anew (numbers and escapes
    // have several spellings), and the outcome.
    let event =
        c.worker.max_request_bytes.as_u64().saturating_mul(2).saturating_add(EVENT_OVERHEAD);
    if event > message {
        let largest = message.saturating_sub(EVENT_OVERHEAD) / 2;
        findings.add(
            &["worker.max_request_bytes", "stream.max_message_size"],
            format!(
                "the event of a request of `worker.max_request_bytes` ({}) may not fit into `stream.max_message_size` ({})",
                show_size(c.worker.max_request_bytes.as_u64()),
                show_size(message),
            ),
            format!(
                "allow requests of at most {}, or messages of at least {} (and the NATS server's max_payload with them)",
                show_size(largest),
                show_size(event),
            ),
        );
    }
    for (key, holder) in [
        ("stream.max_bytes", c.stream.max_bytes),
        ("stream.dead_letter_max_bytes", c.stream.dead_letter_max_bytes),
        ("audit.retry_queue_bytes", c.audit.retry_queue_bytes),
        ("sink.batch_bytes", c.sink.batch_bytes),
    ] {
        if holder.as_u64() < message {
            findings.add(
                &[key, "stream.max_message_size"],
                format!(
                    "`{key}` ({}) can't hold one event of `stream.max_message_size` ({})",
                    show_size(holder.as_u64()),
                    show_size(message),
                ),
                format!("at least {}", show_size(message)),
            );
        }
    }
}

fn durations(c: &Config, findings: &mut Findings) {
    for (shorter, a, longer, b, why) in [
        (
            "stream.duplicate_window",
            c.stream.duplicate_window,
            "stream.max_age",
            c.stream.max_age,
            "NATS remembers no message longer than it keeps it",
        ),
        (
            "backoff.initial",
            c.backoff.initial,
            "backoff.max",
            c.backoff.max,
            "the first wait can't be longer than the longest",
        ),
        (
            "sink.batch_age",
            c.sink.batch_age,
            "sink.ack_wait",
            c.sink.ack_wait,
            "a batch must be inserted before its events are delivered again",
        ),
    ] {
        if a > b {
            findings.add(
                &[shorter, longer],
                format!(
                    "`{shorter}` ({}) is longer than `{longer}` ({})",
                    show_duration(a),
                    show_duration(b)
                ),
                why,
            );
        }
    }
}

fn sign_in(c: &Config, findings: &mut Findings) {
    let nats = &c.nats;
    let ways: Vec<&'static str> = [
        ("nats.user", nats.user.is_empty()),
        ("nats.token", nats.token.is_empty()),
        ("nats.credentials_file", nats.credentials_file.as_os_str().is_empty()),
    ]
    .into_iter()
    .filter_map(|(key, empty)| (!empty).then_some(key))
    .collect();
    if ways.len() > 1 {
        let names: Vec<String> = ways.iter().map(|key| format!("`{key}`")).collect();
        findings.add(
            &ways,
            format!("{} are set: a connection signs in one way", names.join(" and ")),
            "keep one of them and leave the others empty",
        );
    }
    if !nats.password.is_empty() && nats.user.is_empty() {
        findings.add(
            &["nats.password", "nats.user"],
            "`nats.password` is set without `nats.user`",
            "set nats.user too, or use nats.token",
        );
    }
}
