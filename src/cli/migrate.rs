//! `sluicegate migrate`: ClickHouse's tables brought up to date. The sink does it too, at its start.

use super::exit::Exit;
use super::print::{self, GOOD, styled};
use crate::config::Config;
use crate::store::{Store, apply_retention, migrate};

pub(crate) async fn run(config: &Config, json: bool) -> anyhow::Result<Exit> {
    let store = Store::connect(&config.clickhouse);
    let applied = migrate(&store).await?;
    let retention = apply_retention(&store, &config.retention).await?;
    if json {
        print::json(&serde_json::json!({"applied": applied, "retention": retention}))?;
        return Ok(Exit::Ok);
    }
    for migration in &applied {
        let name = format!("{:04}_{}", migration.version, migration.name);
        print::line(format!("{}  {name}", styled(GOOD, "applied")));
    }
    for change in &retention {
        let kept = change.keep.map_or_else(
            || "for ever".to_owned(),
            |keep| format!("{} days", keep.as_secs() / 86_400),
        );
        print::line(format!("{}  {} keeps rows {kept}", styled(GOOD, "retention"), change.table));
    }
    if applied.is_empty() && retention.is_empty() {
        print::line(format!("{} is up to date", store.database()));
    }
    Ok(Exit::Ok)
}
