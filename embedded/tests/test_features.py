"""What the product's tables need of the engine, under the grants it runs with."""

from __future__ import annotations

from service import Service, until

EVENTS = """
CREATE TABLE events (
    id UUID, at DateTime64(6, 'UTC'), version UInt64, agent LowCardinality(String), body String,
    tags Array(String), level Enum8('low' = 1, 'high' = 2),
    INDEX by_body body TYPE bloom_filter(0.01) GRANULARITY 1,
    PROJECTION by_agent (SELECT agent, count() GROUP BY agent)
) ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(at) ORDER BY (at, id)
TTL toDateTime(at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 10000, deduplicate_merge_projection_mode = 'rebuild'
"""
ROWS = (
    "SELECT generateUUIDv7(), now64(6) - number, 1, concat('agent', toString(number % 3)), toString(number), [], 'low'"
)


def test_tables_as_the_sink_uses_them(service: Service) -> None:
    service.sql(EVENTS)
    service.sql(f"INSERT INTO events {ROWS} FROM numbers(50000)")
    service.sql("INSERT INTO events SELECT * REPLACE (2 AS version) FROM events LIMIT 1000")
    assert service.sql("SELECT count() FROM events FINAL") == "50000"
    assert "by_body" in service.sql("EXPLAIN indexes = 1 SELECT count() FROM events WHERE body = '77'")
    assert "ReadFromMergeTree (by_agent)" in service.sql("EXPLAIN SELECT agent, count() FROM events GROUP BY agent")
    old = "SELECT * REPLACE (now64(6) - INTERVAL 100 DAY AS at, 'old' AS agent) FROM events LIMIT 5"
    service.sql(f"INSERT INTO events {old}")
    service.sql("OPTIMIZE TABLE events FINAL")
    assert service.sql("SELECT count(), countIf(agent = 'old') FROM events") == "50000\t0"
    service.sql("ALTER TABLE events ADD COLUMN extra UInt8 DEFAULT 3")
    service.sql("ALTER TABLE events UPDATE extra = 4 WHERE agent = 'agent1' SETTINGS mutations_sync = 2")
    assert service.sql("SELECT uniqExact(extra) FROM events") == "2"
    service.sql("CREATE VIEW seen AS SELECT * FROM events FINAL")
    assert service.sql("SELECT count() FROM seen") == "50000"
    service.sql("DROP TABLE events SYNC")
    assert service.sql("SHOW TABLES") == "seen"


def test_views_that_refresh(service: Service) -> None:
    service.sql(EVENTS)
    service.sql("CREATE TABLE per_agent (agent String, n UInt64) ENGINE = MergeTree ORDER BY agent")
    service.sql(
        "CREATE MATERIALIZED VIEW refresh_per_agent REFRESH EVERY 1 SECOND TO per_agent AS "
        "SELECT agent, count() AS n FROM events FINAL GROUP BY agent"
    )
    service.sql(
        "CREATE MATERIALIZED VIEW bodies (body String) ENGINE = MergeTree ORDER BY body AS SELECT body FROM events"
    )
    service.sql(f"INSERT INTO events {ROWS} FROM numbers(300)")
    assert service.sql("SELECT count() FROM bodies") == "300"
    until("the view refreshes", lambda: service.sql("SELECT sum(n) FROM per_agent") == "300")
    assert service.sql("SELECT exception FROM system.view_refreshes") == ""
    service.sql("SYSTEM REFRESH VIEW refresh_per_agent")
    service.sql("SYSTEM STOP VIEW refresh_per_agent")
