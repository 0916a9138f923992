-- Every version of every policy, append-only: a version that was once written never changes.
CREATE TABLE IF NOT EXISTS policy_rules
(
    id          UUID,
    version     UInt64,
    name        LowCardinality(String),
    description String CODEC(ZSTD(3)),
    package     LowCardinality(String),
    rego        String COMMENT 'The Rego; empty where template names another policy that has it' CODEC(ZSTD(3)),
    template    LowCardinality(String),
    status      LowCardinality(String) COMMENT 'active, inactive or draft',
    mode        LowCardinality(String) COMMENT 'enforce or warn',
    severity    LowCardinality(String) COMMENT 'info, warning or critical',
    fail_mode   LowCardinality(String) COMMENT 'open or closed',
    scope       LowCardinality(String) COMMENT 'global, session, project or user',
    scope_id    String,
    parameters  String COMMENT 'JSON' CODEC(ZSTD(3)),
    deleted     Bool DEFAULT false COMMENT 'Whether this version says that the policy is gone',
    created_at  DateTime64(6, 'UTC'),
    created_by  String,
    updated_at  DateTime64(6, 'UTC'),
    updated_by  String,
    comment     String CODEC(ZSTD(3)),
    inserted_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(inserted_at)
ORDER BY (id, version)
SETTINGS non_replicated_deduplication_window = 10000;
