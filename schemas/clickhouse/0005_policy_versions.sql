-- The history of policies and of the switch for enforcement, filled from the bucket `policies.bucket`.
--
-- A version is stored once, however often it is delivered: two copies of the same content have the same
-- content_id and merge. Should somebody write another content under a version that exists (a bucket
-- restored by hand, then changed), both stay: what was once written never changes.
--
-- The order of changes is that of stream_epoch and stream_sequence; clocks of different workers differ.
ALTER TABLE policy_rules
    ADD COLUMN IF NOT EXISTS content_id UUID COMMENT 'Digest of all that the version says',
    ADD COLUMN IF NOT EXISTS stream_epoch DateTime64(6, 'UTC') DEFAULT toDateTime64(0, 6, 'UTC') COMMENT 'Creation time of the bucket''s stream: what stream_sequence is relative to' CODEC(Delta, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS stream_sequence UInt64 DEFAULT 0 COMMENT 'Place of the version in the bucket''s stream' CODEC(Delta, ZSTD(1)),
    MODIFY ORDER BY (id, version, content_id);

ALTER TABLE policy_rules ADD INDEX IF NOT EXISTS by_content content_id TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE policy_rules ADD INDEX IF NOT EXISTS by_name name TYPE bloom_filter(0.01) GRANULARITY 1;

-- Every version of the switch for enforcement. A bucket made anew counts versions from one again.
CREATE TABLE IF NOT EXISTS policy_enforcement
(
    version         UInt64,
    mode            LowCardinality(String) COMMENT 'on, shadow or off',
    updated_at      DateTime64(6, 'UTC') COMMENT 'When it was switched',
    updated_by      String COMMENT 'Who switched it',
    comment         String COMMENT 'Why' CODEC(ZSTD(3)),
    content_id      UUID COMMENT 'Digest of all that the version says, and of stream_epoch',
    stream_epoch    DateTime64(6, 'UTC') COMMENT 'Creation time of the bucket''s stream',
    stream_sequence UInt64 COMMENT 'Place of the version in the bucket''s stream',
    inserted_at     DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(inserted_at)
ORDER BY (stream_epoch, version, content_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- Every version of every policy, exactly once.
CREATE VIEW IF NOT EXISTS policy_versions AS
SELECT *
FROM policy_rules FINAL;

-- Who changed which policy, when, why, and which fields: every version beside the one before it of the
-- same name.
CREATE VIEW IF NOT EXISTS policy_changes AS
SELECT
    updated_at,
    name,
    version,
    if(first, 0, before_version) AS previous_version,
    multiIf(deleted, 'deleted', first OR was_deleted, 'created', 'changed') AS change,
    if(first OR was_deleted OR deleted, [], arrayFilter((field, now, before) -> now != before,
        ['description', 'package', 'rego', 'template', 'status', 'mode', 'severity', 'fail_mode', 'scope', 'scope_id', 'parameters'],
        said, said_before)) AS changed_fields,
    status, mode, scope, scope_id,
    updated_by,
    comment,
    id,
    stream_epoch,
    stream_sequence
FROM
(
    SELECT
        *,
        [description, package::String, rego, template::String, status::String, mode::String, severity::String, fail_mode::String, scope::String, scope_id, parameters] AS said,
        lagInFrame(said, 1, said) OVER changes AS said_before,
        lagInFrame(version, 1, version) OVER changes AS before_version,
        lagInFrame(deleted, 1, false) OVER changes AS was_deleted,
        row_number() OVER (PARTITION BY name ORDER BY stream_epoch, stream_sequence, version) = 1 AS first
    FROM policy_rules FINAL
    WINDOW changes AS (PARTITION BY name ORDER BY stream_epoch, stream_sequence, version ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
);

-- Every version of the switch for enforcement, exactly once.
CREATE VIEW IF NOT EXISTS enforcement_changes AS
SELECT *
FROM policy_enforcement FINAL;
