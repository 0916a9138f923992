-- Every violation, one row each: one failed policy in one decision, with the decision's own words, so
-- that an alert needs no join.
--
-- Exactness, sort key and retention (`retention.violations`) as in policy_decisions. `version` is 0 as
-- the event says it; a later word about the same violation (that somebody was notified) is the same
-- row with a greater version, which wins whatever the order of arrival.
CREATE TABLE IF NOT EXISTS policy_violations
(
    id                   UUID COMMENT 'UUIDv7 of the violation' CODEC(ZSTD(1)),
    decision_id          UUID COMMENT 'policy_decisions.id' CODEC(ZSTD(1)),
    timestamp            DateTime64(6, 'UTC') COMMENT 'The worker''s clock when the check was taken' CODEC(DoubleDelta, ZSTD(1)),
    violation_type       LowCardinality(String) COMMENT 'policy_denied, policy_warned or policy_error',
    severity             LowCardinality(String) COMMENT 'info, warning or critical',
    policy_name          LowCardinality(String),
    policy_version       UInt64 CODEC(ZSTD(1)),
    action_taken         LowCardinality(String) COMMENT 'logged, blocked or alerted',
    reasons              Array(LowCardinality(String)) COMMENT 'Why the policy denied, or what went wrong',
    decision             LowCardinality(String) COMMENT 'What was decided of the check as a whole: allow or deny',
    action               LowCardinality(String),
    resource             String CODEC(ZSTD(3)),
    subject              String COMMENT 'Who asked: the agent, else the user' CODEC(ZSTD(3)),
    agent                String CODEC(ZSTD(3)),
    user                 String CODEC(ZSTD(3)),
    session_id           String CODEC(ZSTD(3)),
    run_id               String CODEC(ZSTD(3)),
    step_id              String CODEC(ZSTD(3)),
    project_id           String CODEC(ZSTD(3)),
    worker               LowCardinality(String),
    notified             Bool DEFAULT false COMMENT 'Whether somebody was told',
    notification_details String DEFAULT '' COMMENT 'Who was told, when and how, as JSON; empty until then' CODEC(ZSTD(3)),
    version              UInt64 DEFAULT 0 COMMENT 'Which word about this violation is the latest' CODEC(ZSTD(1)),
    stream_epoch         DateTime64(6, 'UTC') COMMENT 'Creation time of the stream' CODEC(Delta, ZSTD(1)),
    stream_sequence      UInt64 COMMENT 'Place of the event in the audit stream' CODEC(Delta, ZSTD(1)),
    inserted_at          DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta, ZSTD(1)),

    INDEX by_id       id          TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_decision decision_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_session  session_id  TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_run      run_id      TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_project  project_id  TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_user     user        TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_agent    agent       TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_policy   policy_name TYPE set(100) GRANULARITY 4,
    INDEX by_severity severity    TYPE set(3) GRANULARITY 4,
    INDEX by_reasons  reasons     TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_sequence stream_sequence TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(timestamp)
PRIMARY KEY timestamp
ORDER BY (timestamp, id)
SETTINGS non_replicated_deduplication_window = 10000,
         ttl_only_drop_parts = 1,
         materialize_ttl_recalculate_only = 1;
