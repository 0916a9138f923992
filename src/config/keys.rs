//! The keys of the configuration: their names, what each takes, and the one nearest to a wrong name.
//!
//! The table repeats the model's names on purpose: it knows what serde can't say (that a string is
//! a duration, a secret or a URL). Tests hold the two together.

use super::value::Kind::{
    self, Address, Choice, Count, Factor, Flag, List, Path, Secret, Size, Span, Text, Url,
};

/// What the names of environment variables begin with.
pub const VARIABLE_PREFIX: &str = "SLUICEGATE_";

/// One key of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Section and name, for example `nats.url`.
    pub path: &'static str,
    pub(super) kind: Kind,
}

impl Key {
    /// The environment variable that sets it, for example `SLUICEGATE_NATS_URL`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.path.replace('.', "_").to_ascii_uppercase())
    }

    /// The section it stands in, for example `nats`.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(section, _)| section)
    }

    /// What it takes, with an example.
    #[must_use]
    pub fn expects(&self) -> String {
        self.kind.expects()
    }
}

/// All keys, in the model's order.
#[must_use]
pub const fn keys() -> &'static [Key] {
    KEYS
}

const fn key(path: &'static str, kind: Kind) -> Key {
    Key { path, kind }
}

const KEYS: &[Key] = &[
    key("instance.name", Text),
    key("nats.url", Url),
    key("nats.subject_prefix", Text),
    key("nats.queue_group", Text),
    key("nats.reply_prefixes", List),
    key("nats.user", Text),
    key("nats.password", Secret),
    key("nats.token", Secret),
    key("nats.credentials_file", Path),
    key("nats.require_tls", Flag),
    key("nats.root_certificates", Path),
    key("nats.connection_timeout", Span),
    key("nats.request_timeout", Span),
    key("nats.ping_interval", Span),
    key("nats.subscription_capacity", Count),
    key("stream.name", Text),
    key("stream.dead_letter_name", Text),
    key("stream.max_bytes", Size),
    key("stream.max_age", Span),
    key("stream.max_message_size", Size),
    key("stream.duplicate_window", Span),
    key("stream.replicas", Count),
    key("stream.dead_letter_max_bytes", Size),
    key("audit.acknowledge", Choice(&["before_reply", "after_reply", "off"])),
    key("audit.acknowledge_timeout", Span),
    key("audit.max_in_flight", Count),
    key("audit.retry_queue", Count),
    key("audit.retry_queue_bytes", Size),
    key("audit.on_unavailable", Choice(&["allow", "deny"])),
    key("audit.spill_folder", Path),
    key("audit.spill_max_bytes", Size),
    key("audit.checkpoint", Span),
    key("unchecked.enabled", Flag),
    key("unchecked.max_in_flight", Count),
    key("unchecked.max_age", Span),
    key("unchecked.ack_wait", Span),
    key("chain.interval", Span),
    key("chain.rows", Count),
    key("chain.bucket", Text),
    key("chain.signing_key_file", Path),
    key("chain.public_keys", List),
    key("enforcement.enabled", Flag),
    key("enforcement.fail_mode", Choice(&["open", "closed"])),
    key("worker.evaluation_threads", Count),
    key("worker.queue", Count),
    key("worker.max_request_bytes", Size),
    key("worker.max_batch", Count),
    key("worker.max_nesting", Count),
    key("worker.max_admin", Count),
    key("worker.remedies_per_second", Count),
    key("worker.remembered", Count),
    key("limits.instructions", Count),
    key("limits.time", Span),
    key("limits.memory", Size),
    key("limits.policy_bytes", Size),
    key("limits.policy_nesting", Count),
    key("limits.reasons", Count),
    key("limits.reason_bytes", Size),
    key("policies.bucket", Text),
    key("policies.history", Count),
    key("policies.max_bytes", Size),
    key("policies.max_policies", Count),
    key("policies.folder", Path),
    key("policies.suites", Path),
    key("policies.seed", Flag),
    key("policies.change_attempts", Count),
    key("policies.reconcile", Span),
    key("policies.workers_bucket", Text),
    key("policies.report", Span),
    key("clickhouse.url", Url),
    key("clickhouse.database", Text),
    key("clickhouse.user", Text),
    key("clickhouse.password", Secret),
    key("clickhouse.connection_timeout", Span),
    key("clickhouse.insert_timeout", Span),
    key("clickhouse.query_timeout", Span),
    key("clickhouse.compression", Flag),
    key("sink.consumer", Text),
    key("sink.batch_rows", Count),
    key("sink.batch_bytes", Size),
    key("sink.batch_age", Span),
    key("sink.ack_wait", Span),
    key("sink.takeover", Span),
    key("retention.decisions", Span),
    key("retention.violations", Span),
    key("retention.outcomes", Span),
    key("alerter.consumer", Text),
    key("alerter.severities", List),
    key("alerter.slack", Secret),
    key("alerter.cloudevents", Secret),
    key("alerter.timeout", Span),
    key("alerter.give_up", Span),
    key("alerter.max_in_flight", Count),
    key("alerter.dedup_window", Span),
    key("alerter.rate_limit", Count),
    key("alerter.rate_window", Span),
    key("http.listen", Address),
    key("http.tokens", Secret),
    key("http.tokens_file", Path),
    key("http.anonymous", Choice(&["auto", "none", "checker", "viewer", "author", "admin"])),
    key("http.hosts", List),
    key("http.public_url", Url),
    key("http.max_body", Size),
    key("http.max_batch", Count),
    key("http.max_connections", Count),
    key("http.max_exports", Count),
    key("http.max_tails", Count),
    key("http.rate_limit", Count),
    key("http.rate_burst", Count),
    key("http.request_timeout", Span),
    key("http.idle_timeout", Span),
    key("http.check_timeout", Span),
    key("http.fail_mode", Choice(&["open", "closed"])),
    key("http.unchecked_bytes", Size),
    key("backoff.initial", Span),
    key("backoff.max", Span),
    key("backoff.multiplier", Factor),
    key("shutdown.drain", Span),
    key("telemetry.log", Text),
    key("telemetry.format", Choice(&["text", "json"])),
    key("telemetry.listen", Text),
    key("embedded.data", Path),
    key("embedded.nats_server", Path),
    key("embedded.clickhouse", Path),
    key("embedded.tools", Path),
    key("embedded.chdb_server", Path),
    key("embedded.ready_timeout", Span),
];

/// The key of this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The key that this environment variable sets.
pub(super) fn find_variable(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.variable() == name)
}

/// Whether there is such a section.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.section() == name)
}

/// Valid keys in the place of an unknown one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nearest {
    /// One key, or those of the right name in other sections.
    pub(super) keys: Vec<&'static Key>,
    /// Near enough to have been meant.
    pub(super) close: bool,
}

impl Nearest {
    /// What to tell, with the keys in the spelling of their source.
    pub(super) fn way_out(&self, spelling: impl Fn(&Key) -> String) -> String {
        let names: Vec<String> = self.keys.iter().map(|key| spelling(key)).collect();
        let names = names.join(" or ");
        if self.close {
            format!("did you mean {names}?")
        } else {
            format!("the nearest one is {names}")
        }
    }
}

/// What it costs to have the right name in the wrong section: as much as two wrong letters.
const MOVED: usize = 2;

/// The keys nearest to an unknown path, or to the end of an unknown variable's name, in any section.
pub(super) fn nearest(unknown: &str) -> Nearest {
    let whole = plain(unknown);
    let last = unknown.rsplit('.').next().map(plain).unwrap_or_default();
    let name = |key: &Key| key.path.rsplit('.').next().unwrap_or(key.path);
    let distance = |key: &Key| {
        let renamed = strsim::damerau_levenshtein(&whole, &plain(key.path));
        let moved = strsim::damerau_levenshtein(&last, name(key)).saturating_add(MOVED);
        renamed.min(moved)
    };
    let distances: Vec<(usize, &Key)> = KEYS.iter().map(|key| (distance(key), key)).collect();
    let least = distances.iter().map(|(distance, _)| *distance).min().unwrap_or_default();
    let best = || distances.iter().filter(|(distance, _)| *distance == least).map(|(_, key)| *key);
    let mut keys: Vec<&Key> = best().filter(|key| name(key) == last).collect();
    if keys.is_empty() {
        keys = best().max_by_key(|key| likeness(&whole, &plain(key.path))).into_iter().collect();
    }
    Nearest { keys, close: least <= (whole.chars().count() / 3).max(2) }
}

/// Among names equally many letters away, the one that begins alike; in steps that can be ordered.
fn likeness(a: &str, b: &str) -> u32 {
    // In 0..=1, so neither sign nor size is lost.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    {
        (strsim::jaro_winkler(a, b) * 10_000.0) as u32
    }
}

/// One spelling for paths and variables: `nats.request-timeout` and `NATS_REQUEST_TIMEOUT` are alike.
fn plain(name: &str) -> String {
    name.replace(['.', '-'], "_").to_lowercase()
}

/// The name nearest to an unknown one, if near enough to have been meant.
pub(super) fn nearest_of<'a>(
    unknown: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let unknown = plain(unknown);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&unknown, name), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, name)| name)
}
