//! The shape of the configuration and its defaults.
//!
//! Every field has a default, so an empty configuration is a valid one: the embedded stack on
//! loopback. The names here are the keys of `config/sluicegate.toml`; the environment variable of
//! `nats.url` is `SLUICEGATE_NATS_URL`, and so for every other key.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// The whole configuration, validated by [`super::load`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Who this process is.
    pub instance: Instance,
    /// How to reach NATS and which subjects to use.
    pub nats: Nats,
    /// The JetStream stream that holds the audit.
    pub stream: Stream,
    /// When a decision counts as recorded, and what happens when it can't be.
    pub audit: Audit,
    /// How workers take up calls that nobody answered.
    pub unchecked: Unchecked,
    /// The chain of digests over what ClickHouse holds.
    pub chain: Chain,
    /// The switch for the whole system and what a failing policy means.
    pub enforcement: Enforcement,
    /// The worker's intake.
    pub worker: Worker,
    /// What one evaluation may cost.
    pub limits: Limits,
    /// Where policies come from.
    pub policies: Policies,
    /// How to reach ClickHouse.
    pub clickhouse: ClickHouse,
    /// How the sink batches.
    pub sink: Sink,
    /// How long ClickHouse keeps rows.
    pub retention: Retention,
    /// Who is told of violations.
    pub alerter: Alerter,
    /// The console role's HTTP server.
    pub http: Http,
    /// Waiting between attempts at whatever may recover.
    pub backoff: Backoff,
    /// The order of leaving.
    pub shutdown: Shutdown,
    /// Logs.
    pub telemetry: Telemetry,
    /// The servers that `sluicegate up` starts by itself.
    pub embedded: Embedded,
}

/// Who this process is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// Name of this process in events, metrics and NATS connections; empty means host name and process id.
    pub name: String,
}

/// How to reach NATS and which subjects to use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nats {
    /// Server URLs, separated by commas.
    pub url: String,
    /// What every NATS subject of the product begins with: a name, or several joined by dots.
    pub subject_prefix: String,
    /// Queue group that shares the checks between workers.
    pub queue_group: String,
    /// Prefixes that a reply subject must have, so that a reply can't be sent into the audit stream or the JetStream API.
    pub reply_prefixes: Vec<String>,
    /// User name; empty for none.
    pub user: String,
    /// Password of the user.
    pub password: Secret,
    /// Token, where the server asks for one instead of a user.
    pub token: Secret,
    /// Path of a `.creds` file; empty for none.
    pub credentials_file: PathBuf,
    /// Refuse connections without TLS.
    pub require_tls: bool,
    /// Path of a PEM file with additional root certificates; empty for none.
    pub root_certificates: PathBuf,
    /// How long one attempt to connect may take.
    #[serde(with = "humantime_serde")]
    pub connection_timeout: Duration,
    /// How long one request to the JetStream API may take.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How often the client asks a server that says nothing whether it is still there; after three without an answer it looks for another.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// Messages that may wait in the client for one subscription before the client drops (and counts) them; times `worker.max_request_bytes` it is the memory that a flood may take.
    pub subscription_capacity: usize,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            subject_prefix: "policy".into(),
            queue_group: "sluicegate".into(),
            reply_prefixes: vec!["_INBOX.".into(), "_R_.".into()],
            user: String::new(),
            password: Secret::default(),
            token: Secret::default(),
            credentials_file: PathBuf::new(),
            require_tls: false,
            root_certificates: PathBuf::new(),
            connection_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
            subscription_capacity: 16_384,
        }
    }
}

/// The JetStream stream that holds the audit, and the one that holds dead letters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stream {
    /// Name of the audit stream.
    pub name: String,
    /// Name of the stream of dead letters.
    pub dead_letter_name: String,
    /// Bytes the audit stream may hold; a full stream refuses new events and forgets none.
    pub max_bytes: ByteSize,
    /// How long an event stays in the stream.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    /// Bytes of the largest event.
    pub max_message_size: ByteSize,
    /// How long message ids are remembered for deduplication.
    #[serde(with = "humantime_serde")]
    pub duplicate_window: Duration,
    /// Copies in a NATS cluster: 1, 3 or 5.
    pub replicas: usize,
    /// Bytes the stream of dead letters may hold.
    pub dead_letter_max_bytes: ByteSize,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            name: "POLICY_AUDIT".into(),
            dead_letter_name: "POLICY_DEADLETTER".into(),
            max_bytes: ByteSize::gib(10),
            max_age: days(14),
            max_message_size: ByteSize::mib(1),
            duplicate_window: Duration::from_secs(600),
            replicas: 1,
            dead_letter_max_bytes: ByteSize::mib(512),
        }
    }
}

/// When the reply to a check may leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledge {
    /// After the stream acknowledged the event.
    #[default]
    BeforeReply,
    /// At once; the event is published and retried behind it.
    AfterReply,
    /// At once; nothing is published.
    Off,
}

/// What a check gets whose event the stream didn't acknowledge in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnavailable {
    /// Its decision, with `audit: "pending"`.
    #[default]
    Allow,
    /// A denial.
    Deny,
}

/// When a decision counts as recorded, and what happens when it can't be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Audit {
    /// When the reply may leave.
    pub acknowledge: Acknowledge,
    /// How long a reply waits for the acknowledgement before it leaves as `pending`.
    #[serde(with = "humantime_serde")]
    pub acknowledge_timeout: Duration,
    /// Events that may await their acknowledgement at once.
    pub max_in_flight: usize,
    /// Events that may wait in memory to be sent again; beyond it the worker sheds checks.
    pub retry_queue: usize,
    /// Bytes of the events that may wait in memory to be sent again.
    pub retry_queue_bytes: ByteSize,
    /// What a check gets whose event was not acknowledged in time.
    pub on_unavailable: OnUnavailable,
    /// Folder of the files that hold events which wait to be sent again, so that they outlive the worker; empty for memory alone.
    pub spill_folder: PathBuf,
    /// Bytes that these files may hold; beyond it the worker sheds checks.
    pub spill_max_bytes: ByteSize,
    /// How often a worker records how many events it has numbered.
    #[serde(with = "humantime_serde")]
    pub checkpoint: Duration,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            acknowledge: Acknowledge::BeforeReply,
            acknowledge_timeout: Duration::from_secs(2),
            max_in_flight: 8_192,
            retry_queue: 100_000,
            retry_queue_bytes: ByteSize::mib(256),
            on_unavailable: OnUnavailable::Allow,
            spill_folder: ".sluicegate/spill".into(),
            spill_max_bytes: ByteSize::gib(1),
            checkpoint: Duration::from_secs(10),
        }
    }
}

/// How workers take up calls that nobody answered, when their clients report them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unchecked {
    /// Whether this worker evaluates and records them.
    pub enabled: bool,
    /// Reports that it works on at once.
    pub max_in_flight: usize,
    /// How far back a client's own time of a call counts; of older ones, and of those in the future, the time counts at which the stream took the report.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    /// How long the stream waits for an acknowledgement before another worker is given a report.
    #[serde(with = "humantime_serde")]
    pub ack_wait: Duration,
}

impl Default for Unchecked {
    fn default() -> Self {
        Self {
            enabled: true,
            max_in_flight: 256,
            max_age: days(30),
            ack_wait: Duration::from_secs(30),
        }
    }
}

/// The chain of digests over what ClickHouse holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Chain {
    /// How often the rows that arrived since are sealed.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Rows that one seal may cover.
    pub rows: usize,
    /// Name of the key-value bucket that holds the newest link of each table's chain.
    pub bucket: String,
    /// Path of the ed25519 private key (PKCS#8, PEM) that signs each link; empty for unsigned links.
    pub signing_key_file: PathBuf,
    /// Public keys, in hexadecimal, one of which must have signed each link for `audit verify` to be content; empty means that of `signing_key_file`.
    pub public_keys: Vec<String>,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            rows: 50_000,
            bucket: "policy_chain".into(),
            signing_key_file: PathBuf::new(),
            public_keys: Vec::new(),
        }
    }
}

/// What an evaluation that fails means for the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailMode {
    /// The policy is skipped, the decision says `error: true`.
    #[default]
    Open,
    /// The policy denies.
    Closed,
}

/// The switch for the whole system and what a failing policy means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Enforcement {
    /// Whether policies are evaluated; when not, everything is allowed and still recorded. Also `POLICY_ENFORCEMENT_ENABLED`.
    pub enabled: bool,
    /// What an evaluation error means for policies that don't say.
    pub fail_mode: FailMode,
}

impl Default for Enforcement {
    fn default() -> Self {
        Self { enabled: true, fail_mode: FailMode::Open }
    }
}

/// The worker's intake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Worker {
    /// Threads that evaluate policies; 0 means one per core.
    pub evaluation_threads: usize,
    /// Checks that may wait for an evaluation thread; beyond it the worker sheds.
    pub queue: usize,
    /// Bytes of the largest request.
    pub max_request_bytes: ByteSize,
    /// Checks in one batch message.
    pub max_batch: usize,
    /// Levels of nesting in a request.
    pub max_nesting: usize,
    /// Requests of management and trials that are worked on at once.
    pub max_admin: usize,
    /// Denials in a second for which the smallest change that would have allowed it is computed; the others carry only what the policy's author says.
    pub remedies_per_second: usize,
    /// Values of checks by which each thread that evaluates remembers what policies said; 0 remembers nothing.
    pub remembered: usize,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            evaluation_threads: 0,
            queue: 4_096,
            max_request_bytes: ByteSize::kib(256),
            max_batch: 1_000,
            max_nesting: 64,
            max_admin: 8,
            remedies_per_second: 20,
            remembered: 16_384,
        }
    }
}

/// What one evaluation of one policy may cost, and how large a policy may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Instructions of the Rego virtual machine per evaluation of a policy.
    pub instructions: usize,
    /// Time per evaluation of a policy.
    #[serde(with = "humantime_serde")]
    pub time: Duration,
    /// Memory an evaluation may hold at once.
    pub memory: ByteSize,
    /// Bytes of one policy's Rego.
    pub policy_bytes: ByteSize,
    /// Levels of nested brackets in a policy's Rego; parsing is exponential in it.
    pub policy_nesting: usize,
    /// Reasons or warnings one policy may give for one check.
    pub reasons: usize,
    /// Bytes of one reason.
    pub reason_bytes: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instructions: 25_000,
            time: Duration::from_millis(250),
            memory: ByteSize::mib(32),
            policy_bytes: ByteSize::kib(256),
            policy_nesting: 16,
            reasons: 100,
            reason_bytes: ByteSize::b(512),
        }
    }
}

/// Where policies come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policies {
    /// Name of the key-value bucket that holds the policies.
    pub bucket: String,
    /// Versions of a policy that the bucket keeps, 64 at most; ClickHouse keeps all.
    pub history: usize,
    /// Bytes that the bucket may hold.
    pub max_bytes: ByteSize,
    /// Policies that the bucket may hold.
    pub max_policies: usize,
    /// Folder of `*.rego` files and of `policies.toml`, which says which of them are active: with it an empty bucket is filled once.
    pub folder: PathBuf,
    /// Folder of the policies' suites: those that `sluicegate test` runs, and the console for one policy.
    pub suites: PathBuf,
    /// Whether an empty bucket is filled from the folder.
    pub seed: bool,
    /// How often a change is tried again on top of others' changes before it is given up.
    pub change_attempts: usize,
    /// How often a worker compares what it has in force with the bucket, beside being told of changes.
    #[serde(with = "humantime_serde")]
    pub reconcile: Duration,
    /// Name of the key-value bucket in which live workers say what they have in force.
    pub workers_bucket: String,
    /// How often a worker says so; one that is silent five times counts as gone.
    #[serde(with = "humantime_serde")]
    pub report: Duration,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            bucket: "policy_rules".into(),
            history: 64,
            max_bytes: ByteSize::mib(512),
            max_policies: 10_000,
            folder: "policies".into(),
            suites: "tests/policy_tests".into(),
            seed: true,
            change_attempts: 100,
            reconcile: Duration::from_secs(5),
            workers_bucket: "policy_workers".into(),
            report: Duration::from_secs(2),
        }
    }
}

/// How to reach ClickHouse over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClickHouse {
    /// URL of the HTTP interface.
    pub url: String,
    /// Database that holds the tables.
    pub database: String,
    /// User name.
    pub user: String,
    /// Password of the user.
    pub password: Secret,
    /// How long a connection may take to open.
    #[serde(with = "humantime_serde")]
    pub connection_timeout: Duration,
    /// How long an insert may take before its outcome counts as unknown and it is repeated.
    #[serde(with = "humantime_serde")]
    pub insert_timeout: Duration,
    /// How long a query may take.
    #[serde(with = "humantime_serde")]
    pub query_timeout: Duration,
    /// Whether inserts are compressed with LZ4.
    pub compression: bool,
}

impl Default for ClickHouse {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".into(),
            database: "sluicegate".into(),
            user: "default".into(),
            password: Secret::default(),
            connection_timeout: Duration::from_secs(5),
            insert_timeout: Duration::from_secs(30),
            query_timeout: Duration::from_secs(30),
            compression: true,
        }
    }
}

/// How the sink batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sink {
    /// Prefix of the durable consumers' names.
    pub consumer: String,
    /// Rows at which a batch is inserted.
    pub batch_rows: usize,
    /// Bytes of events at which a batch is inserted.
    pub batch_bytes: ByteSize,
    /// Age of its first event at which a batch is inserted.
    #[serde(with = "humantime_serde")]
    pub batch_age: Duration,
    /// How long the stream waits for an acknowledgement before it delivers again; progress is reported every third of it.
    #[serde(with = "humantime_serde")]
    pub ack_wait: Duration,
    /// How long a sink may be silent before another one takes over.
    #[serde(with = "humantime_serde")]
    pub takeover: Duration,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            consumer: "sluicegate-sink".into(),
            batch_rows: 20_000,
            batch_bytes: ByteSize::mib(32),
            batch_age: Duration::from_millis(500),
            ack_wait: Duration::from_secs(30),
            takeover: Duration::from_secs(5),
        }
    }
}

/// How long ClickHouse keeps rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// Rows of `policy_decisions`.
    #[serde(with = "humantime_serde")]
    pub decisions: Duration,
    /// Rows of `policy_violations`.
    #[serde(with = "humantime_serde")]
    pub violations: Duration,
    /// Rows of `policy_outcomes`.
    #[serde(with = "humantime_serde")]
    pub outcomes: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { decisions: days(400), violations: days(5 * 365 + 1), outcomes: days(400) }
    }
}

/// Who is told of violations: the alerter posts each to every URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alerter {
    /// What the durable names of the alerter's consumers begin with, one for each URL: several alerters of one name share the work.
    pub consumer: String,
    /// Severities that are posted.
    pub severities: Vec<String>,
    /// URLs that take Slack's JSON, separated by commas.
    pub slack: Secret,
    /// URLs that take CloudEvents 1.0 in structured JSON, separated by commas.
    pub cloudevents: Secret,
    /// How long one post may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How long a post is tried again before the violation is reported as not notified.
    #[serde(with = "humantime_serde")]
    pub give_up: Duration,
    /// Posts that may be under way at once to one URL.
    pub max_in_flight: usize,
    /// Time in which equal violations (same policy, subject, action, resource, reasons) are posted once.
    #[serde(with = "humantime_serde")]
    pub dedup_window: Duration,
    /// Posts per policy and URL in `rate_window`; the others are counted and summed up in one post.
    pub rate_limit: usize,
    /// The time that `rate_limit` is about.
    #[serde(with = "humantime_serde")]
    pub rate_window: Duration,
}

impl Default for Alerter {
    fn default() -> Self {
        Self {
            consumer: "sluicegate-alerter".into(),
            severities: vec!["warning".into(), "critical".into()],
            slack: Secret::default(),
            cloudevents: Secret::default(),
            timeout: Duration::from_secs(10),
            give_up: Duration::from_secs(3_600),
            max_in_flight: 64,
            dedup_window: Duration::from_secs(300),
            rate_limit: 30,
            rate_window: Duration::from_secs(60),
        }
    }
}

/// Who may do what over HTTP without a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anonymous {
    /// On loopback everything, as long as there are no tokens; otherwise nothing.
    #[default]
    Auto,
    /// Nothing.
    None,
    /// What a checker may.
    Checker,
    /// What a viewer may.
    Viewer,
    /// What an author may.
    Author,
    /// Everything.
    Admin,
}

/// The console role's HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Http {
    /// Address to listen on; another one than loopback needs tokens, or `anonymous`.
    pub listen: SocketAddr,
    /// Bearer tokens, `name:role:token` or `name:role:sha256:hex`, separated by commas; roles: checker, viewer, author, admin.
    pub tokens: Secret,
    /// Path of a file with one such token on each line; empty for none.
    pub tokens_file: PathBuf,
    /// What callers without a token may do.
    pub anonymous: Anonymous,
    /// Names by which clients may call this server, beside those of loopback; where it isn't empty, or on loopback, any other `Host` is refused.
    pub hosts: Vec<String>,
    /// URL under which clients reach this server, for the AuthZEN metadata; empty means what the client called.
    pub public_url: String,
    /// Bytes of the largest request body.
    pub max_body: ByteSize,
    /// Checks in one AuthZEN batch.
    pub max_batch: usize,
    /// Connections that may be open at once.
    pub max_connections: usize,
    /// Exports of the history that may be under way at once.
    pub max_exports: usize,
    /// Readers that may look at live events at once.
    pub max_tails: usize,
    /// Requests per second of each token, or each address where there is no token; 0 for no limit.
    pub rate_limit: usize,
    /// Requests that may come at once before `rate_limit` counts.
    pub rate_burst: usize,
    /// How long one request may take.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long a connection may say nothing between requests, or take for a request's head.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// How long the workers may take for one check before `fail_mode` answers it.
    #[serde(with = "humantime_serde")]
    pub check_timeout: Duration,
    /// What a check means that no worker answers.
    pub fail_mode: FailMode,
    /// Bytes of the reports of unchecked calls that may wait in memory until the stream takes them.
    pub unchecked_bytes: ByteSize,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8181)),
            tokens: Secret::default(),
            tokens_file: PathBuf::new(),
            anonymous: Anonymous::Auto,
            hosts: Vec::new(),
            public_url: String::new(),
            max_body: ByteSize::mib(1),
            max_batch: 1_000,
            max_connections: 1_024,
            max_exports: 2,
            max_tails: 64,
            rate_limit: 5_000,
            rate_burst: 10_000,
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            check_timeout: Duration::from_millis(900),
            fail_mode: FailMode::Open,
            unchecked_bytes: ByteSize::mib(64),
        }
    }
}

/// Waiting between attempts at whatever may recover: exponential, with jitter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backoff {
    /// First wait.
    #[serde(with = "humantime_serde")]
    pub initial: Duration,
    /// Longest wait.
    #[serde(with = "humantime_serde")]
    pub max: Duration,
    /// Factor from one wait to the next.
    pub multiplier: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(100), max: Duration::from_secs(5), multiplier: 2.0 }
    }
}

/// The order of leaving.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shutdown {
    /// How long a role may take to finish what it accepted.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain: Duration::from_secs(10) }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people; with colours on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Telemetry {
    /// Filter in the syntax of `tracing_subscriber::EnvFilter`, for example `info` or `sluicegate=debug`.
    pub log: String,
    /// How log lines look.
    pub format: LogFormat,
    /// Address where a worker or sink of its own shows `/livez`, `/readyz` and `/metrics`; empty for nowhere. The console shows them on `http.listen`.
    pub listen: String,
}

impl Telemetry {
    /// The address of `listen`, if it is set.
    #[must_use]
    pub fn listen_address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log: "info,async_nats=warn".into(), format: LogFormat::Text, listen: String::new() }
    }
}

/// The servers that `sluicegate up` starts by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Embedded {
    /// Folder of the servers' data.
    pub data: PathBuf,
    /// Path of the nats-server program; empty means the one on the PATH, else the one in `tools`.
    pub nats_server: PathBuf,
    /// Path of the clickhouse program; empty means the one on the PATH, else the engine in `tools`.
    pub clickhouse: PathBuf,
    /// Folder of the Python environment that `make up` fills with nats-server and ClickHouse's engine.
    pub tools: PathBuf,
    /// Folder of the Python package that puts ClickHouse's engine behind HTTP.
    pub chdb_server: PathBuf,
    /// How long a server may take to be ready.
    #[serde(with = "humantime_serde")]
    pub ready_timeout: Duration,
}

impl Default for Embedded {
    fn default() -> Self {
        Self {
            data: ".sluicegate/data".into(),
            nats_server: PathBuf::new(),
            clickhouse: PathBuf::new(),
            tools: ".sluicegate/tools".into(),
            chdb_server: "embedded".into(),
            ready_timeout: Duration::from_secs(30),
        }
    }
}

const fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}
