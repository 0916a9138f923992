-- Who was told of which violation, or wasn't: everything that alerting services said on the audit
-- stream, one row for each id.
--
-- The sink also writes it to the violation itself, as a newer version of its row: `notified`, and
-- `notification_details` with all that was said about it. What speaks of a violation that is not there
-- (yet) stays here: see the view unknown_notifications.
--
-- Retention is that of the violations (`retention.violations`).
CREATE TABLE IF NOT EXISTS policy_notifications
(
    id              UUID COMMENT 'Id of the notification, made by who sent it' CODEC(ZSTD(1)),
    violation_id    UUID COMMENT 'policy_violations.id' CODEC(ZSTD(1)),
    timestamp       DateTime64(6, 'UTC') COMMENT 'When somebody was told, by the clock of who says so' CODEC(DoubleDelta, ZSTD(1)),
    notifier        LowCardinality(String) COMMENT 'Who says so',
    notified        Bool COMMENT 'Whether somebody was told',
    channel         LowCardinality(String) COMMENT 'By what: slack, cloudevents, ...',
    details         String COMMENT 'Whatever else was said: attempts, status, error, as a JSON object' CODEC(ZSTD(3)),
    stream_epoch    DateTime64(6, 'UTC') COMMENT 'Creation time of the stream' CODEC(Delta, ZSTD(1)),
    stream_sequence UInt64 COMMENT 'Place of the event in the audit stream' CODEC(Delta, ZSTD(1)),
    inserted_at     DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta, ZSTD(1)),

    INDEX by_id        id           TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_violation violation_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_inserted  inserted_at  TYPE minmax GRANULARITY 1,
    INDEX by_sequence  stream_sequence TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toYYYYMM(timestamp)
PRIMARY KEY timestamp
ORDER BY (timestamp, id)
SETTINGS non_replicated_deduplication_window = 10000,
         ttl_only_drop_parts = 1,
         materialize_ttl_recalculate_only = 1;

-- Every notification, exactly once.
CREATE VIEW IF NOT EXISTS notifications AS
SELECT *
FROM policy_notifications FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Notifications of violations that are not in the table: not yet, expired, or never made.
CREATE VIEW IF NOT EXISTS unknown_notifications AS
SELECT *
FROM policy_notifications FINAL
WHERE violation_id NOT IN (SELECT id FROM policy_violations)
SETTINGS do_not_merge_across_partitions_select_final = 1;
