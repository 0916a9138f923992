-- How guarded calls ended, as their clients say: one row for each outcome. A client tells it without
-- waiting, so an outcome may be missing; and a decision may have several.
--
-- Retention is `retention.outcomes`.
CREATE TABLE IF NOT EXISTS policy_outcomes
(
    id               UUID COMMENT 'UUIDv7 of the outcome, made by the client' CODEC(ZSTD(1)),
    decision_id      UUID COMMENT 'policy_decisions.id' CODEC(ZSTD(1)),
    timestamp        DateTime64(6, 'UTC') COMMENT 'The client''s clock when the call ended' CODEC(DoubleDelta, ZSTD(1)),
    outcome          LowCardinality(String) COMMENT 'ok, error or cancelled',
    exception_type   LowCardinality(String) COMMENT 'Type of what was raised; empty where nothing was',
    duration_seconds Float64 COMMENT 'Time that the call took' CODEC(ZSTD(1)),
    cost_usd         Nullable(Float64) COMMENT 'What it cost; NULL where that is not known' CODEC(ZSTD(1)),
    client           LowCardinality(String) COMMENT 'Name and version of the client',
    action           LowCardinality(String) COMMENT 'What the agent did, as the client says',
    agent            String CODEC(ZSTD(3)),
    user             String CODEC(ZSTD(3)),
    session_id       String CODEC(ZSTD(3)),
    run_id           String CODEC(ZSTD(3)),
    step_id          String CODEC(ZSTD(3)),
    project_id       String CODEC(ZSTD(3)),
    stream_epoch     DateTime64(6, 'UTC') COMMENT 'Creation time of the stream' CODEC(Delta, ZSTD(1)),
    stream_sequence  UInt64 COMMENT 'Place of the event in the audit stream' CODEC(Delta, ZSTD(1)),
    inserted_at      DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta, ZSTD(1)),

    INDEX by_id       id          TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_decision decision_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_outcome  outcome     TYPE set(4) GRANULARITY 4,
    INDEX by_sequence stream_sequence TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toYYYYMM(timestamp)
PRIMARY KEY timestamp
ORDER BY (timestamp, id)
SETTINGS non_replicated_deduplication_window = 10000,
         ttl_only_drop_parts = 1,
         materialize_ttl_recalculate_only = 1;

-- Every outcome, exactly once.
CREATE VIEW IF NOT EXISTS outcomes AS
SELECT *
FROM policy_outcomes FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Outcomes of decisions that are not in the table: not yet, expired, or never made.
CREATE VIEW IF NOT EXISTS unknown_outcomes AS
SELECT *
FROM policy_outcomes FINAL
WHERE decision_id NOT IN (SELECT id FROM policy_decisions)
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Each decision beside its outcome: a row for each outcome, and one for a decision of which none is known
-- (`outcome` is empty, `ended` is 1970). Filter by both times: each bounds what is read of one table.
CREATE VIEW IF NOT EXISTS decision_outcomes AS
SELECT
    d.id AS decision_id,
    d.timestamp AS timestamp,
    d.decision AS decision,
    d.unchecked AS unchecked,
    d.action AS action,
    d.resource AS resource,
    d.agent AS agent,
    d.user AS user,
    d.session_id AS session_id,
    d.run_id AS run_id,
    d.step_id AS step_id,
    d.project_id AS project_id,
    d.policies AS policies,
    d.deny_reasons AS deny_reasons,
    d.warnings AS warnings,
    d.would_deny AS would_deny,
    o.id AS outcome_id,
    o.outcome AS outcome,
    o.exception_type AS exception_type,
    o.timestamp AS ended,
    o.duration_seconds AS duration_seconds,
    o.cost_usd AS cost_usd
FROM (SELECT * FROM policy_decisions FINAL) AS d
LEFT JOIN (SELECT * FROM policy_outcomes FINAL) AS o ON o.decision_id = d.id
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- How many calls a worker answered, and how many went on, or were refused, without one.
CREATE VIEW IF NOT EXISTS enforcement_coverage AS
SELECT
    toStartOfHour(d.timestamp) AS hour,
    countIf(d.unchecked = '') AS checked,
    countIf(d.unchecked != '') AS unchecked,
    countIf(d.unchecked = '') / count() AS coverage,
    countIf(d.unchecked != '' AND d.decision = 'deny') AS refused,
    countIf(d.unchecked != '' AND notEmpty(d.would_deny)) AS would_have_been_denied,
    arraySort(groupUniqArrayIf(d.unchecked, d.unchecked != '')) AS causes
FROM policy_decisions AS d FINAL
GROUP BY hour
SETTINGS do_not_merge_across_partitions_select_final = 1;
