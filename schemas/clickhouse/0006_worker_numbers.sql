-- Each run of a worker numbers its events from one, decisions and violations alike: what is missing can
-- be named. Rows from before have zero and the nil UUID.
ALTER TABLE policy_decisions
    ADD COLUMN IF NOT EXISTS worker_run UUID COMMENT 'The run of the worker' CODEC(ZSTD(1)) AFTER worker,
    ADD COLUMN IF NOT EXISTS worker_sequence UInt64 DEFAULT 0 COMMENT 'The event''s number in that run, from one' CODEC(Delta, ZSTD(1)) AFTER worker_run;

ALTER TABLE policy_violations
    ADD COLUMN IF NOT EXISTS worker_run UUID COMMENT 'The run of the worker' CODEC(ZSTD(1)) AFTER worker,
    ADD COLUMN IF NOT EXISTS worker_sequence UInt64 DEFAULT 0 COMMENT 'The event''s number in that run, from one' CODEC(Delta, ZSTD(1)) AFTER worker_run;

-- A view that selects everything knows the columns that there were when it was made.
CREATE OR REPLACE VIEW decisions AS
SELECT
    *,
    duration_ms,
    accurateCastOrNull(input_data, 'JSON') AS input
FROM policy_decisions FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1, type_json_skip_duplicated_paths = 1;

CREATE OR REPLACE VIEW violations AS
SELECT *
FROM policy_violations FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
