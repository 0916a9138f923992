//! How long rows live: a TTL per table, set from the configuration, changed without a rebuild.

use std::time::Duration;

use serde::Serialize;

use super::client::Store;
use super::error::StoreError;
use super::rows::Table;
use crate::config;

/// ClickHouse calculates a row's end in seconds that fit 32 bits: beyond the year 2106 they start
/// again at 1970, and the row would be deleted at once. So what is meant to outlive us has no TTL.
const FOR_EVER: Duration = Duration::from_secs(50 * 366 * 86_400);

/// A table's TTL that was just changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetentionChange {
    /// The table.
    pub table: &'static str,
    /// How long its rows live now; `None` for ever.
    pub keep: Option<Duration>,
}

/// Sets the TTL of every table that has another one than the configuration says. Zero, or more than
/// fifty years, means for ever. Existing rows follow, in the background.
///
/// # Errors
/// When ClickHouse fails.
pub async fn apply_retention(
    store: &Store,
    retention: &config::Retention,
) -> Result<Vec<RetentionChange>, StoreError> {
    let mut changes = Vec::new();
    for (table, keep) in [
        (Table::Decisions, retention.decisions),
        (Table::Violations, retention.violations),
        (Table::Notifications, retention.violations),
        (Table::Outcomes, retention.outcomes),
    ] {
        let keep = Some(keep).filter(|keep| !keep.is_zero() && *keep <= FOR_EVER);
        let wanted = keep.map(expression);
        let current = current(store, table).await?;
        if current == wanted {
            continue;
        }
        let name = table.name();
        let statement = wanted.as_ref().map_or_else(
            || format!("ALTER TABLE {name} REMOVE TTL"),
            |ttl| format!("ALTER TABLE {name} MODIFY TTL {ttl}"),
        );
        store.execute("changing the retention", &statement).await?;
        tracing::info!(table = name, from = current, to = wanted, "retention changed");
        changes.push(RetentionChange { table: name, keep });
    }
    Ok(changes)
}

/// In ClickHouse's own notation, so that it can be compared with what the server remembers.
fn expression(keep: Duration) -> String {
    format!("toDateTime(timestamp) + toIntervalSecond({})", keep.as_secs().max(1))
}

async fn current(store: &Store, table: Table) -> Result<Option<String>, StoreError> {
    let query = store
        .read(
            "SELECT engine_full FROM system.tables \
             WHERE database = currentDatabase() AND name = {table:String}",
        )
        .param("table", table.name())
        .fetch_optional::<String>();
    let engine = store.within_query_timeout("reading the retention", query).await?;
    engine
        .map(|engine| ttl_of(&engine))
        .ok_or_else(|| StoreError::Schema(format!("there is no table {}", table.name())))
}

/// The TTL in a table's engine clause, which stands between the keys and the settings.
fn ttl_of(engine: &str) -> Option<String> {
    let (_, rest) = engine.split_once(" TTL ")?;
    Some(rest.split_once(" SETTINGS ").map_or(rest, |(ttl, _)| ttl).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_ttl_in_an_engine_clause() {
        let engine = "ReplacingMergeTree(version) PARTITION BY toYYYYMM(timestamp) ORDER BY id";
        assert_eq!(ttl_of(engine), None);
        let ttl = expression(Duration::from_secs(60));
        assert_eq!(ttl_of(&format!("{engine} TTL {ttl}")), Some(ttl.clone()));
        assert_eq!(
            ttl_of(&format!("{engine} TTL {ttl} SETTINGS ttl_only_drop_parts = 1")),
            Some(ttl)
        );
    }
}
