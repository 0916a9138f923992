-- Calls that went on, or were refused, without an answer of a worker. Their clients report them, and a
-- worker evaluates them afterwards: `decision` is what the client told its caller, `would_deny` says why
-- it would have been denied. Rows from before were all checked.
ALTER TABLE policy_decisions
    ADD COLUMN IF NOT EXISTS unchecked LowCardinality(String) COMMENT 'Why no worker answered; empty for a check that was answered' AFTER error_message,
    ADD INDEX IF NOT EXISTS by_unchecked unchecked TYPE set(100) GRANULARITY 4;

-- A view that selects everything knows the columns that there were when it was made.
CREATE OR REPLACE VIEW decisions AS
SELECT
    *,
    duration_ms,
    accurateCastOrNull(input_data, 'JSON') AS input
FROM policy_decisions FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1, type_json_skip_duplicated_paths = 1;
