-- What analysts read: exact (each decision and violation once) and with the input as paths.
--
--   SELECT input.budget.remaining_usd FROM decisions WHERE decision = 'deny'
--
-- A path that a row doesn't have is NULL. A path's type is that of each row's own value; to calculate
-- with it or to group by it, say what it is meant to be:
--
--   SELECT agent, sum(input.estimated_cost_usd::Float64) AS usd
--   FROM decisions
--   WHERE timestamp > now() - INTERVAL 1 DAY
--   GROUP BY agent
--   ORDER BY usd DESC
--
-- and where callers send numbers as text now and then: toFloat64OrNull(input.estimated_cost_usd::String).
-- A whole object is read with a caret: input.^context. Only the rows and columns that a query asks for
-- are parsed, so filter by time first. An input that ClickHouse's JSON can't hold reads as NULL here and
-- stays whole in input_data.
CREATE VIEW IF NOT EXISTS decisions AS
SELECT
    *,
    duration_ms,
    accurateCastOrNull(input_data, 'JSON') AS input
FROM policy_decisions FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1, type_json_skip_duplicated_paths = 1;

CREATE VIEW IF NOT EXISTS violations AS
SELECT *
FROM policy_violations FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
