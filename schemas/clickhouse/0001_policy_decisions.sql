-- Every decision, one row each.
--
-- A decision may be inserted twice: the sink repeats what it doesn't know to have arrived. The sort
-- key holds only what never changes of an event, so two copies merge into one. Until they have
-- merged, a plain SELECT may see both: read the view `decisions`, which is exact.
--
-- Time leads the sort key because batches arrive in its order: parts then hardly overlap, which makes
-- FINAL nearly free, and "the newest hundred" reads a few granules.
--
-- Retention is a TTL that the sink sets from `retention.decisions`; whole parts are dropped, so a row
-- may outlive it by up to its month.
CREATE TABLE IF NOT EXISTS policy_decisions
(
    id               UUID COMMENT 'UUIDv7 of the decision' CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') COMMENT 'The worker''s clock when the check was taken' CODEC(DoubleDelta, ZSTD(1)),
    decision         LowCardinality(String) COMMENT 'allow or deny',
    action           LowCardinality(String) COMMENT 'What the agent was about to do',
    resource         String COMMENT 'What it was about to do it to, as one line of text' CODEC(ZSTD(3)),
    subject          String COMMENT 'Who asked: the agent, else the user' CODEC(ZSTD(3)),
    agent            String COMMENT 'The agent; empty where the caller named none' CODEC(ZSTD(3)),
    user             String COMMENT 'The person the agent works for' CODEC(ZSTD(3)),
    session_id       String COMMENT 'A UUID where the caller has one, its own word where not' CODEC(ZSTD(3)),
    run_id           String CODEC(ZSTD(3)),
    step_id          String CODEC(ZSTD(3)),
    project_id       String CODEC(ZSTD(3)),
    policy_name      LowCardinality(String) COMMENT 'The policy that decided; empty if none applied',
    policy_package   LowCardinality(String) COMMENT 'Its Rego package',
    policies         Array(LowCardinality(String)) COMMENT 'Every policy that applied, as name@version',
    policy_revision  LowCardinality(String) COMMENT 'Digest of the active policy set',
    policy_result    String COMMENT 'What each policy said, as a JSON array' CODEC(ZSTD(3)),
    decision_reason  String COMMENT 'One line that says why' CODEC(ZSTD(3)),
    deny_reasons     Array(LowCardinality(String)),
    warnings         Array(LowCardinality(String)),
    would_deny       Array(LowCardinality(String)) COMMENT 'Reasons for which drafts would have denied',
    enforced         Bool COMMENT 'Whether enforcement was on',
    error            Bool COMMENT 'Whether a policy could not be evaluated',
    error_message    String CODEC(ZSTD(3)),
    input_data       String COMMENT 'The input that the policies saw, as JSON; the view decisions has it as paths' CODEC(ZSTD(3)),
    duration_us      UInt64 COMMENT 'Time of the evaluation' CODEC(T64, ZSTD(1)),
    duration_ms      Float64 ALIAS duration_us / 1000,
    worker           LowCardinality(String),
    stream_epoch     DateTime64(6, 'UTC') COMMENT 'Creation time of the stream: what stream_sequence is relative to' CODEC(Delta, ZSTD(1)),
    stream_sequence  UInt64 COMMENT 'Place of the event in the audit stream; every number was given to one event' CODEC(Delta, ZSTD(1)),
    inserted_at      DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta, ZSTD(1)),

    INDEX by_id           id           TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_session      session_id   TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_run          run_id       TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_project      project_id   TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_user         user         TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_agent        agent        TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_subject      subject      TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_action       action       TYPE set(100) GRANULARITY 4,
    INDEX by_decision     decision     TYPE set(2) GRANULARITY 4,
    INDEX by_error        error        TYPE minmax GRANULARITY 4,
    INDEX by_policies     policies     TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_deny_reasons deny_reasons TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_would_deny   would_deny   TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_sequence     stream_sequence TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toYYYYMM(timestamp)
PRIMARY KEY timestamp
ORDER BY (timestamp, id)
SETTINGS non_replicated_deduplication_window = 10000, -- insert tokens remembered, so a repeated batch adds nothing
         ttl_only_drop_parts = 1,                     -- expiry drops parts, it never rewrites them
         materialize_ttl_recalculate_only = 1;        -- a changed retention recalculates dates, not data
