//! The process's metrics: all names, units and labels in one place, and how to show them to
//! Prometheus.
//!
//! Call [`install`] first: what is asked for earlier counts nowhere. A function here looks its
//! metric up each time (some hundred nanoseconds); a hot path keeps what it returns.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, SharedString, Unit};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Durations, in seconds.
const SECONDS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Rows of a batch.
const ROWS: &[f64] =
    &[1.0, 10.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0, 100_000.0];
/// How often the samples of histograms are gathered when nobody asks for them, so that they don't
/// pile up in memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// Metrics can't begin.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Something else in this process records metrics.
    #[error("can't install the metrics recorder: {0}; install it once, through runtime::metrics")]
    Recorder(#[from] BuildError),
    /// The upkeep couldn't be started.
    #[error("can't start the thread that keeps the metrics: {0}")]
    Upkeep(#[from] std::io::Error),
}

impl MetricsError {
    /// Whether trying again may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Upkeep(_))
    }
}

/// The installed metrics.
#[derive(Clone)]
pub struct Handle(PrometheusHandle);

impl Handle {
    /// All metrics in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("metrics::Handle")
    }
}

/// Begins to record metrics in this process. Every further call returns the same metrics.
///
/// # Errors
/// When something else in this process records metrics, or no thread can be started.
pub fn install() -> Result<Handle, MetricsError> {
    static INSTALLED: Mutex<Option<Handle>> = Mutex::new(None);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_rows".into()), ROWS)?
        .install_recorder()?;
    let handle = Handle(recorder.clone());
    *installed = Some(handle.clone());
    describe();
    start_at_zero();
    // A thread of its own: it outlives the runtimes of tests, and no busy runtime delays it.
    std::thread::Builder::new().name("metrics-upkeep".into()).spawn(move || {
        loop {
            std::thread::sleep(UPKEEP);
            recorder.run_upkeep();
        }
    })?;
    Ok(handle)
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric's name and what it tells.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    help: &'static str,
}

/// A value of a label.
pub trait Label {
    /// As Prometheus sees it.
    fn shown(self) -> SharedString;
}

impl Label for &str {
    fn shown(self) -> SharedString {
        self.to_owned().into()
    }
}

/// Defines a function for each metric, and the list of them all. A metric's documentation is its
/// help text too.
macro_rules! metrics {
    ($(
        #[doc = $help:literal]
        $function:ident: $kind:ident($register:ident) $name:literal $unit:ident
        $({ $($label:ident: $type:ty),* })?;
    )*) => {
        $(
            #[doc = $help]
            pub fn $function($($($label: $type),*)?) -> $kind {
                metrics::$register!($name $($(, stringify!($label) => $label.shown())*)?)
            }
        )*

        const ALL: &[Metric] = &[$(
            Metric { name: $name, kind: Kind::$kind, unit: Unit::$unit, help: $help },
        )*];
    };
}

metrics! {
    /// Checks answered, by outcome.
    checks: Counter(counter) "sluicegate_checks_total" Count { outcome: CheckOutcome };
    /// Evaluations, by policy and outcome.
    policy_decisions: Counter(counter) "sluicegate_policy_decisions_total" Count { policy: &str, outcome: PolicyOutcome };
    /// From the receipt of a check to its reply.
    check_duration: Histogram(histogram) "sluicegate_check_duration_seconds" Seconds;
    /// Evaluation of all policies that apply to one check.
    evaluation_duration: Histogram(histogram) "sluicegate_evaluation_duration_seconds" Seconds;
    /// Evaluations of a policy that needed no run: what it says of what it reads was known.
    remembered: Counter(counter) "sluicegate_policy_evaluations_remembered_total" Count;
    /// From the publication of an event to the stream's acknowledgement.
    audit_acknowledge: Histogram(histogram) "sluicegate_audit_acknowledge_seconds" Seconds;
    /// Events that wait in memory to be sent again.
    audit_pending: Gauge(gauge) "sluicegate_audit_pending" Count;
    /// Bytes of the files that hold events which wait to be sent again.
    audit_spill_bytes: Gauge(gauge) "sluicegate_audit_spill_bytes" Bytes;
    /// Attempts to keep events in a file that failed: they are in memory alone.
    audit_spill_failures: Counter(counter) "sluicegate_audit_spill_failures_total" Count;
    /// Bytes of such files that somebody altered, and which are lost.
    audit_spill_damaged_bytes: Counter(counter) "sluicegate_audit_spill_damaged_bytes_total" Bytes;
    /// Kept events that the stream has taken at last.
    audit_resent: Counter(counter) "sluicegate_audit_resent_total" Count;
    /// Events that the stream can never take, and which are lost.
    audit_given_up: Counter(counter) "sluicegate_audit_given_up_total" Count;
    /// Allowed checks that were denied because their event was not acknowledged in time.
    audit_denied: Counter(counter) "sluicegate_audit_denied_total" Count;
    /// Events that await the stream's acknowledgement.
    audit_in_flight: Gauge(gauge) "sluicegate_audit_in_flight" Count;
    /// Attempts to publish an event that failed and are repeated.
    audit_publish_failures: Counter(counter) "sluicegate_audit_publish_failures_total" Count;
    /// Events whose id the stream knew before they were first sent: somebody else publishes there.
    audit_duplicates: Counter(counter) "sluicegate_audit_duplicates_total" Count;
    /// Checks allowed without the policies' full say, by reason.
    fail_open: Counter(counter) "sluicegate_fail_open_total" Count { reason: FailOpenReason };
    /// Times the client dropped messages because a subscription was full.
    slow_consumer: Counter(counter) "sluicegate_slow_consumer_total" Count;
    /// Requests that the client dropped because a subscription was full: nobody answers them.
    requests_dropped: Counter(counter) "sluicegate_requests_dropped_total" Count;
    /// Changes of the policy set, by result.
    policy_reloads: Counter(counter) "sluicegate_policy_reloads_total" Count { result: ReloadResult };
    /// Policies in force.
    policies_active: Gauge(gauge) "sluicegate_policies_active" Count;
    /// How policies take part: 1 at the mode in force, 0 at the others.
    enforcement_mode: Gauge(gauge) "sluicegate_enforcement_mode" Count { mode: &str };
    /// Events in the audit stream.
    stream_messages: Gauge(gauge) "sluicegate_stream_messages" Count;
    /// Bytes of the audit stream.
    stream_bytes: Gauge(gauge) "sluicegate_stream_bytes" Bytes;
    /// Events that a consumer of the audit stream has yet to be given or to acknowledge.
    stream_lag: Gauge(gauge) "sluicegate_stream_lag_messages" Count { consumer: &str };
    /// Age of the oldest event in the audit stream.
    stream_oldest_age: Gauge(gauge) "sluicegate_stream_oldest_age_seconds" Seconds;
    /// Links added to the chain over a table's rows.
    chain_links: Counter(counter) "sluicegate_chain_links_total" Count { chain: &str };
    /// Rows that these links cover.
    chain_rows: Counter(counter) "sluicegate_chain_rows_total" Count { chain: &str };
    /// Sequences of the audit stream that are stored and not yet covered by a chain.
    chain_lag: Gauge(gauge) "sluicegate_chain_lag_messages" Count { chain: &str };
    /// Inserts, by table and result.
    sink_batches: Counter(counter) "sluicegate_sink_batches_total" Count { table: &str, result: BatchResult };
    /// Rows inserted, by table.
    sink_rows: Counter(counter) "sluicegate_sink_rows_total" Count { table: &str };
    /// Rows of one insert.
    sink_batch_rows: Histogram(histogram) "sluicegate_sink_batch_rows" Count;
    /// One insert, by table.
    sink_insert_duration: Histogram(histogram) "sluicegate_sink_insert_duration_seconds" Seconds { table: &str };
    /// Events delivered again that were in the table already, by table.
    sink_duplicates: Counter(counter) "sluicegate_sink_duplicates_total" Count { table: &str };
    /// Events that can never be inserted, by reason.
    sink_dead_letters: Counter(counter) "sluicegate_sink_dead_letters_total" Count { reason: &str };
    /// Versions of policies, or of the switch for enforcement, that had left the bucket before the sink read them.
    policy_version_gaps: Counter(counter) "sluicegate_policy_version_gaps_total" Count;
    /// Violations that notifications speak of and that ClickHouse does not have (yet).
    notifications_unmatched: Gauge(gauge) "sluicegate_notifications_unmatched" Count;
    /// Attempts to post violations, by channel and outcome.
    alerter_posts: Counter(counter) "sluicegate_alerter_posts_total" Count { channel: &str, outcome: PostOutcome };
    /// Violations without a post of their own, told in one that sums them up, by channel and reason.
    alerter_suppressed: Counter(counter) "sluicegate_alerter_suppressed_total" Count { channel: &str, reason: &str };
    /// HTTP requests, by route and status.
    http_requests: Counter(counter) "sluicegate_http_requests_total" Count { route: &str, status: &str };
    /// From the head of an HTTP request to its answer, by route.
    http_request_duration: Histogram(histogram) "sluicegate_http_request_duration_seconds" Seconds { route: &str };
    /// Open HTTP connections.
    http_connections: Gauge(gauge) "sluicegate_http_connections" Count;
    /// Checks over HTTP that no worker answered, by cause: the fail mode did.
    http_unchecked: Counter(counter) "sluicegate_http_unchecked_total" Count { cause: &str };
    /// Reports of such checks that could not be kept until the stream took them.
    http_unchecked_lost: Counter(counter) "sluicegate_http_unchecked_lost_total" Count;
    /// Reports of such checks that wait in memory.
    http_unchecked_waiting: Gauge(gauge) "sluicegate_http_unchecked_waiting" Count;
    /// Calls that nobody answered, evaluated afterwards, by cause.
    unchecked_calls: Counter(counter) "sluicegate_unchecked_total" Count { cause: &str };
    /// Those of them that would have been denied.
    unchecked_would_deny: Counter(counter) "sluicegate_unchecked_would_deny_total" Count;
    /// Reports of such calls of which nothing could be made, by reason.
    unchecked_put_aside: Counter(counter) "sluicegate_unchecked_dead_letters_total" Count { reason: &str };
    /// 1, with the version of this program.
    build_info: Gauge(gauge) "sluicegate_build_info" Count { version: &str };
}

/// Defines the values of a label.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$value_doc])* $value,)* }

        impl $name {
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$value),*];

            /// The value as Prometheus sees it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text,)* }
            }
        }

        impl Label for $name {
            fn shown(self) -> SharedString {
                SharedString::const_str(self.as_str())
            }
        }
    };
}

label! {
    /// How a check ended.
    CheckOutcome {
        /// Allowed.
        Allow = "allow",
        /// Denied.
        Deny = "deny",
        /// Allowed, while a policy could not be evaluated.
        Error = "error",
        /// Was no check.
        Malformed = "malformed",
        /// Came when there was no room for it.
        Shed = "shed",
    }
}
label! {
    /// What one policy said of one check.
    PolicyOutcome {
        /// Allowed it.
        Allow = "allow",
        /// Denied it.
        Deny = "deny",
        /// Warned.
        Warn = "warn",
        /// Would have denied it, had it been active.
        ShadowDeny = "shadow_deny",
        /// Could not be evaluated.
        Error = "error",
    }
}
label! {
    /// Why a check was allowed without the policies' full say.
    FailOpenReason {
        /// A policy could not be evaluated.
        PolicyError = "policy_error",
        /// The audit stream did not take the event in time.
        AuditUnavailable = "audit_unavailable",
        /// Enforcement is switched off.
        EnforcementOff = "enforcement_off",
    }
}
label! {
    /// What became of a change of the policy set.
    ReloadResult {
        /// It is in force.
        Ok = "ok",
        /// The set before it stays in force.
        Refused = "refused",
    }
}
label! {
    /// What became of an insert.
    BatchResult {
        /// Its rows are in the table.
        Ok = "ok",
        /// It failed, or its outcome is unknown, and is repeated.
        Error = "error",
    }
}
label! {
    /// What became of an attempt to post.
    PostOutcome {
        /// It was taken.
        Ok = "ok",
        /// It failed and is repeated.
        Retried = "retried",
        /// It was refused, or failed for too long: given up.
        Failed = "failed",
    }
}

fn describe() {
    for Metric { name, kind, unit, help } in ALL {
        let help = help.trim();
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *unit, help),
            Kind::Gauge => metrics::describe_gauge!(*name, *unit, help),
            Kind::Histogram => metrics::describe_histogram!(*name, *unit, help),
        }
    }
}

/// Counters exist before they first count: a rate can be computed and an alert can tell 0 from
/// nothing. Gauges don't: 0 would be a claim.
fn start_at_zero() {
    CheckOutcome::ALL.iter().for_each(|outcome| checks(*outcome).increment(0));
    FailOpenReason::ALL.iter().for_each(|reason| fail_open(*reason).increment(0));
    ReloadResult::ALL.iter().for_each(|result| policy_reloads(*result).increment(0));
    let more = [
        audit_publish_failures(),
        audit_duplicates(),
        audit_spill_failures(),
        audit_spill_damaged_bytes(),
        audit_resent(),
        audit_given_up(),
        audit_denied(),
        slow_consumer(),
        requests_dropped(),
        http_unchecked_lost(),
        unchecked_would_deny(),
    ];
    for counter in more.into_iter().chain([policy_version_gaps()]) {
        counter.increment(0);
    }
    build_info(env!("CARGO_PKG_VERSION")).set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_shown_under_its_name_with_help_and_labels() {
        let handle = install().unwrap();
        checks(CheckOutcome::Deny).increment(2);
        policy_decisions("cost_control", PolicyOutcome::ShadowDeny).increment(1);
        check_duration().record(0.000_03);
        evaluation_duration().record(0.1);
        remembered().increment(1);
        audit_acknowledge().record(0.1);
        audit_pending().set(1.0);
        audit_in_flight().increment(1.0);
        audit_spill_bytes().set(1.0);
        policies_active().set(6.0);
        enforcement_mode("on").set(1.0);
        stream_messages().set(1.0);
        stream_bytes().set(1.0);
        stream_lag("sluicegate-sink").set(3.0);
        stream_oldest_age().set(1.0);
        chain_links("decisions").increment(1);
        chain_rows("decisions").increment(1);
        chain_lag("decisions").set(0.0);
        sink_batches("policy_decisions", BatchResult::Ok).increment(1);
        sink_rows("policy_decisions").increment(1);
        sink_batch_rows().record(700.0);
        sink_insert_duration("policy_decisions").record(1.0);
        sink_duplicates("policy_decisions").increment(1);
        sink_dead_letters("unparsable").increment(1);
        policy_version_gaps().increment(1);
        notifications_unmatched().set(1.0);
        alerter_posts("slack", PostOutcome::Ok).increment(1);
        alerter_suppressed("slack", "duplicate").increment(1);
        http_requests("/v1/data/{*path}", "200").increment(1);
        http_request_duration("/v1/data/{*path}").record(0.001);
        http_connections().set(1.0);
        http_unchecked("timeout").increment(1);
        http_unchecked_waiting().set(1.0);
        unchecked_calls("timeout").increment(1);
        unchecked_put_aside("not_json").increment(1);
        let again = install().unwrap();
        let text = again.render();
        for metric in ALL {
            assert!(
                text.contains(&format!("# HELP {} {}", metric.name, metric.help.trim())),
                "{text}"
            );
            let kind = format!("{:?}", metric.kind).to_lowercase();
            assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{text}");
        }
        for line in [
            "sluicegate_checks_total{outcome=\"shed\"} 0",
            "sluicegate_policy_decisions_total{policy=\"cost_control\",outcome=\"shadow_deny\"} 1",
            "sluicegate_check_duration_seconds_bucket{le=\"0.000025\"} 0",
            "sluicegate_check_duration_seconds_bucket{le=\"0.00005\"} 1",
            "sluicegate_sink_batch_rows_bucket{le=\"1000\"} 1",
            "sluicegate_stream_lag_messages{consumer=\"sluicegate-sink\"} 3",
            concat!("sluicegate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        // The two are one: both show everything.
        assert_eq!(handle.render().lines().count(), text.lines().count());
    }
}
