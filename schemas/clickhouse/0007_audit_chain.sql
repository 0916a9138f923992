-- How far each run of each worker has numbered its events, as its checkpoints said: with it the end of a
-- run can be told from a loss. Small, and kept for ever.
CREATE TABLE IF NOT EXISTS audit_workers
(
    id              UUID COMMENT 'UUIDv7 of the checkpoint' CODEC(ZSTD(1)),
    timestamp       DateTime64(6, 'UTC') COMMENT 'The worker''s clock' CODEC(DoubleDelta, ZSTD(1)),
    worker          LowCardinality(String),
    worker_run      UUID COMMENT 'UUIDv7 of the run' CODEC(ZSTD(1)),
    numbered        UInt64 COMMENT 'The greatest number given to an event' CODEC(Delta, ZSTD(1)),
    recorded        UInt64 COMMENT 'Events of the run that the stream had acknowledged' CODEC(Delta, ZSTD(1)),
    kept            UInt64 COMMENT 'Events of the run that waited to be sent again' CODEC(ZSTD(1)),
    given_up        Array(UInt64) COMMENT 'Numbers given up since the checkpoint before: events that can never be stored' CODEC(ZSTD(1)),
    last            Bool COMMENT 'Whether the run had ended: nothing of it was in flight any more',
    stream_epoch    DateTime64(6, 'UTC') COMMENT 'Creation time of the stream' CODEC(Delta, ZSTD(1)),
    stream_sequence UInt64 COMMENT 'Place of the checkpoint in the audit stream' CODEC(Delta, ZSTD(1)),
    inserted_at     DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta, ZSTD(1)),

    INDEX by_id id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(inserted_at)
ORDER BY (worker_run, timestamp, id)
SETTINGS non_replicated_deduplication_window = 10000;

-- The chain over the rows of policy_decisions and of policy_violations: each link covers the rows of one
-- range of the audit stream and names the link before it. docs/security.md has the format of the digests.
-- Kept for ever, also when the rows are gone. The last four columns name the rows that a link covers, in
-- the order of the stream; `index_digest` covers them.
CREATE TABLE IF NOT EXISTS audit_batches
(
    chain           LowCardinality(String) COMMENT 'decisions or violations',
    number          UInt64 COMMENT 'Place in the chain, from one',
    format          LowCardinality(String) COMMENT 'How rows are digested',
    epoch           DateTime64(6, 'UTC') COMMENT 'Creation time of the stream',
    first_sequence  UInt64 COMMENT 'The range of the stream: from here',
    last_sequence   UInt64 COMMENT 'to here, both included',
    rows            UInt64 COMMENT 'Rows of the table in it',
    first_timestamp DateTime64(6, 'UTC') COMMENT 'The earliest timestamp of these rows',
    last_timestamp  DateTime64(6, 'UTC') COMMENT 'The latest',
    rows_digest     String COMMENT 'SHA-256 over the digests of the rows, in hexadecimal' CODEC(ZSTD(1)),
    index_digest    String COMMENT 'SHA-256 over the last four columns' CODEC(ZSTD(1)),
    previous        String COMMENT 'Digest of the link before; empty for the first' CODEC(ZSTD(1)),
    sealed_at       DateTime64(6, 'UTC') COMMENT 'When the sink sealed it',
    digest          String COMMENT 'SHA-256 over all of the above' CODEC(ZSTD(1)),
    signature       String COMMENT 'ed25519 over the digest, in hexadecimal; empty where no key is configured' CODEC(ZSTD(1)),
    public_key      LowCardinality(String) COMMENT 'The key that verifies the signature',
    sequences       Array(UInt64) COMMENT 'Of each row: its stream_sequence' CODEC(Delta, ZSTD(3)),
    ids             Array(UUID) COMMENT 'its id' CODEC(ZSTD(3)),
    timestamps      Array(Int64) COMMENT 'its timestamp, in microseconds since 1970' CODEC(Delta, ZSTD(3)),
    prefixes        Array(UInt64) COMMENT 'the first eight bytes of its digest' CODEC(NONE),
    inserted_at     DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(inserted_at)
ORDER BY (chain, number, digest)
SETTINGS non_replicated_deduplication_window = 10000;
