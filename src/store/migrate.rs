//! Numbered SQL files, applied in order and remembered in `schema_migrations`.
//!
//! Several processes may do this at once: every statement is one that changes nothing when repeated
//! (a test reads them all), and the record of a migration is one row however often it is written.

use std::collections::BTreeMap;

use clickhouse::Row;
use clickhouse::sql::Identifier;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::client::Store;
use super::error::StoreError;
use super::statements::statements;

/// One numbered file of `schemas/clickhouse`.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number, from the file's name.
    pub version: u32,
    /// The rest of the file's name.
    pub name: &'static str,
    /// The file.
    pub sql: &'static str,
}

macro_rules! migration {
    ($version:literal, $number:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../schemas/clickhouse/", $number, "_", $name, ".sql")),
        }
    };
}

/// All migrations, in order.
pub const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001", "policy_decisions"),
    migration!(2, "0002", "policy_violations"),
    migration!(3, "0003", "policy_rules"),
    migration!(4, "0004", "views"),
    migration!(5, "0005", "policy_versions"),
    migration!(6, "0006", "worker_numbers"),
    migration!(7, "0007", "audit_chain"),
    migration!(8, "0008", "policy_notifications"),
    migration!(9, "0009", "unchecked"),
    migration!(10, "0010", "policy_outcomes"),
];

/// A migration that was just applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
}

const MIGRATIONS_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version    UInt32,
    name       String,
    checksum   String COMMENT 'SHA-256 of the file',
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (version, checksum)
SETTINGS non_replicated_deduplication_window = 10000";

/// `TABLE_ALREADY_EXISTS` and `DATABASE_ALREADY_EXISTS`: another process was between our question and our answer.
const LOST_RACE: [u32; 2] = [57, 82];

#[derive(Debug, Row, Serialize, Deserialize)]
struct Record {
    version: u32,
    name: String,
    checksum: String,
}

impl Migration {
    /// What tells one content of the file from another, whatever ends its lines.
    #[must_use]
    pub fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.sql.replace("\r\n", "\n")))
    }
}

/// Creates the database where it is missing and applies what it lacks. Returns what was applied by
/// this call; nothing when all was there.
///
/// # Errors
/// When ClickHouse fails, when an applied migration is not the one of this program, or when the
/// database was migrated by a newer program.
pub async fn migrate(store: &Store) -> Result<Vec<Applied>, StoreError> {
    apply(store, MIGRATIONS).await
}

async fn apply(store: &Store, migrations: &[Migration]) -> Result<Vec<Applied>, StoreError> {
    create_database(store).await?;
    repeatable(store, MIGRATIONS_TABLE).await?;
    let recorded = recorded(store).await?;
    check(&recorded, migrations)?;
    let mut applied = Vec::new();
    for migration in migrations.iter().filter(|m| !recorded.contains_key(&m.version)) {
        for statement in statements(migration.sql) {
            repeatable(store, statement).await?;
        }
        record(store, migration).await?;
        tracing::info!(version = migration.version, name = migration.name, "migration applied");
        applied.push(Applied { version: migration.version, name: migration.name.to_owned() });
    }
    if !applied.is_empty() {
        store.client().clear_cached_metadata().await;
    }
    Ok(applied)
}

/// Asks first, so that a user without the right to create databases can use one that exists.
async fn create_database(store: &Store) -> Result<(), StoreError> {
    let exists = store
        .server()
        .query_raw("SELECT count() FROM system.databases WHERE name = {name:String}")
        .param("name", store.database())
        .fetch_one::<u64>();
    if store.within_query_timeout("looking for the database", exists).await? > 0 {
        return Ok(());
    }
    let create = store
        .server()
        .query("CREATE DATABASE IF NOT EXISTS ?")
        .bind(Identifier(store.database()))
        .execute();
    unless_race_lost(store.within_query_timeout("creating the database", create).await)
}

async fn repeatable(store: &Store, statement: &str) -> Result<(), StoreError> {
    unless_race_lost(store.execute("migrating", statement).await)
}

fn unless_race_lost(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(error) if error.code().is_some_and(|code| LOST_RACE.contains(&code)) => Ok(()),
        other => other,
    }
}

/// Checksums of the applied migrations by version. Where two programs with different files raced,
/// a version has two: both are kept, and at least one of them is refused.
async fn recorded(store: &Store) -> Result<BTreeMap<u32, Vec<Record>>, StoreError> {
    let query = store.read(
        "SELECT DISTINCT version, name, checksum FROM schema_migrations ORDER BY version, checksum",
    );
    let rows =
        store.within_query_timeout("reading migrations", query.fetch_all::<Record>()).await?;
    let mut recorded: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
    for row in rows {
        recorded.entry(row.version).or_default().push(row);
    }
    Ok(recorded)
}

fn check(
    recorded: &BTreeMap<u32, Vec<Record>>,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let newest = migrations.iter().map(|m| m.version).max().unwrap_or(0);
    if let Some((database, _)) = recorded.last_key_value()
        && *database > newest
    {
        return Err(StoreError::DatabaseNewer { database: *database, program: newest });
    }
    for migration in migrations {
        let known = migration.checksum();
        let records = recorded.get(&migration.version).map_or(&[][..], Vec::as_slice);
        if let Some(other) = records.iter().find(|record| record.checksum != known) {
            return Err(StoreError::MigrationChanged {
                version: migration.version,
                name: migration.name.to_owned(),
                applied: other.checksum.clone(),
                known,
            });
        }
    }
    Ok(())
}

async fn record(store: &Store, migration: &Migration) -> Result<(), StoreError> {
    let row = Record {
        version: migration.version,
        name: migration.name.to_owned(),
        checksum: migration.checksum(),
    };
    let token = format!("migration-{}-{}", row.version, row.checksum);
    store.insert_rows("schema_migrations", &[&row], &token).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Checksums of released migrations. A file that was released never changes: add a new one.
    const CHECKSUMS: &[(u32, &str)] = &[
        (1, "b1365e76b0ade63a55379d161dde2aec67b86f006d1520cfd801d03e9c6e8bee"),
        (2, "3d12e3911a8729ba3236775f88bbadcc11790c41dd6a23f88a6bcd18a1096641"),
        (3, "4cb9f99c45ede698edab59bb9032984205e35fdce12921ad6c1cb06699197669"),
        (4, "1603f957cf5e20b8d79980a7c03186bfec5b9042014bb98471c22a35103fde7b"),
        (5, "3080a85fc1b2fb63c10cb5f5b6b4024b0a3569f0493f1e57e602a243d8ec21c5"),
        (6, "caa525f88ad77024422dbf137debe67e40da66ac63e53942dcc1370e543b3625"),
        (7, "37c1e16b3d71a4815ce95c775e2999d6b032919b84ee2ec4b688505679a05083"),
        (8, "be3629a1eab0ebde7264a3a95bd105f3daff26434b94df0a7efd75085e184b67"),
        (9, "e9ce45815e218022b9af640e725da8947e5c624856befaff8e1a6f35e6c0ec68"),
        (10, "dce27a993eb6cc59b22fdf8cf16ce25a3b11405bf794b5fa35efc07c9a027f29"),
    ];

    #[test]
    fn every_file_is_in_the_list_and_in_order() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/clickhouse");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        let listed: Vec<String> =
            MIGRATIONS.iter().map(|m| format!("{:04}_{}.sql", m.version, m.name)).collect();
        assert_eq!(files.into_iter().collect::<Vec<_>>(), listed);
        for (place, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, place, "numbers follow each other without a gap");
        }
    }

    #[test]
    fn released_files_have_not_changed() {
        for (version, checksum) in CHECKSUMS {
            let migration = MIGRATIONS.iter().find(|m| m.version == *version).unwrap();
            assert_eq!(migration.checksum(), *checksum, "{} changed after release", migration.name);
        }
        assert_eq!(CHECKSUMS.len(), MIGRATIONS.len(), "a new migration needs its checksum here");
    }

    #[test]
    fn every_statement_may_be_repeated() {
        for migration in MIGRATIONS {
            for statement in statements(migration.sql) {
                let words: Vec<&str> = statement
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("--"))
                    .flat_map(str::split_whitespace)
                    .take(8)
                    .collect();
                let head = words.join(" ");
                assert!(
                    head.contains("IF NOT EXISTS")
                        || head.contains("IF EXISTS")
                        || head.contains("OR REPLACE"),
                    "{}: `{head}` can't be repeated",
                    migration.name
                );
            }
        }
    }

    #[test]
    fn line_endings_don_t_change_the_checksum() {
        let unix = Migration { version: 1, name: "a", sql: "SELECT 1\n;\n" };
        let windows = Migration { sql: "SELECT 1\r\n;\r\n", ..unix };
        assert_eq!(unix.checksum(), windows.checksum());
    }

    fn records(entries: &[(u32, &str)]) -> BTreeMap<u32, Vec<Record>> {
        let mut map: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
        for (version, checksum) in entries {
            map.entry(*version).or_default().push(Record {
                version: *version,
                name: "a".into(),
                checksum: (*checksum).into(),
            });
        }
        map
    }

    #[test]
    fn a_changed_migration_and_a_newer_database_are_refused() {
        let known = Migration { version: 1, name: "a", sql: "SELECT 1" };
        let checksum = known.checksum();
        assert!(check(&records(&[]), &[known]).is_ok());
        assert!(check(&records(&[(1, &checksum)]), &[known]).is_ok());
        let changed = check(&records(&[(1, "other")]), &[known]).unwrap_err();
        assert!(matches!(changed, StoreError::MigrationChanged { version: 1, .. }), "{changed}");
        let newer = check(&records(&[(1, &checksum), (2, "x")]), &[known]).unwrap_err();
        assert!(matches!(newer, StoreError::DatabaseNewer { database: 2, program: 1 }), "{newer}");
    }
}
