//! `sluicegate policy restore`: puts back the policies of a bucket that was emptied.

use anyhow::bail;
use clap::Args;

use super::change::ByFlags;
use super::wait::{WaitFlag, Waited};
use crate::cli::ask::Desk;
use crate::cli::exit::Exit;
use crate::cli::print::{self, DIM, GOOD, WARN, styled};
use crate::config::Config;
use crate::contract::admin::{RestoreReply, RestoreRequest, Verb};
use crate::domain::PolicyRecord;
use crate::store::Store;

/// Put back policies that the bucket has lost
#[derive(Args)]
#[command(after_help = "\
Workers keep their policies when somebody empties the bucket by hand. This writes what a worker still
has in force back to the bucket; what the bucket has stays as it is.

Examples:
  sluicegate policy restore
  sluicegate policy restore --from-clickhouse -m 'the bucket was deleted'")]
pub(crate) struct Restore {
    /// Take the newest versions from ClickHouse's table policy_rules instead
    #[arg(long)]
    from_clickhouse: bool,
    #[command(flatten)]
    by: ByFlags,
    #[command(flatten)]
    wait: WaitFlag,
}

pub(crate) async fn run(command: Restore, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let policies = if command.from_clickhouse { stored(config).await? } else { Vec::new() };
    let desk = Desk::open(config).await?;
    let mut total = RestoreReply::default();
    for policies in portions(policies, desk.max_request().min(largest(config))) {
        let request = RestoreRequest { policies, change: command.by.authored(None, false) };
        let reply: RestoreReply = desk.admin(Verb::Restore, &request).await?;
        total.restored.extend(reply.restored);
        total.present.extend(reply.present);
        total.sequence = total.sequence.max(reply.sequence);
    }
    let waited = command.wait.until(&desk, total.sequence).await?;
    if json {
        print::json(&serde_json::json!({
            "restored": total.restored, "present": total.present, "sequence": total.sequence,
            "waited": waited,
        }))?;
    } else {
        for name in &total.restored {
            print::line(format!("{}  {name}", styled(GOOD, "restored")));
        }
        if total.restored.is_empty() {
            print::line(styled(WARN, "nothing was missing"));
        }
        let present = total.present.len();
        print::line(styled(DIM, format!("{present} were there already")));
        if let Some(waited) = &waited {
            waited.show();
        }
    }
    Ok(waited.as_ref().map_or(Exit::Ok, Waited::exit))
}

/// Bytes of the largest request that workers take.
fn largest(config: &Config) -> usize {
    usize::try_from(config.worker.max_request_bytes.as_u64()).unwrap_or(usize::MAX)
}

/// Requests of at most so many bytes; a policy that is larger alone goes alone, and the worker says
/// what it thinks of it. Templates come before what uses them. One request at least: without
/// policies, workers restore their own.
fn portions(mut policies: Vec<PolicyRecord>, bytes: usize) -> Vec<Vec<PolicyRecord>> {
    /// For the members around the policies.
    const ROOM: usize = 8_192;

    policies.sort_by_key(|policy| policy.template.is_some());
    let most = bytes.saturating_sub(ROOM);
    let mut portions = vec![Vec::new()];
    let mut held = 0_usize;
    for policy in policies {
        let size = serde_json::to_vec(&policy).map_or(0, |text| text.len().saturating_add(1));
        if held > 0 && held.saturating_add(size) > most {
            portions.push(Vec::new());
            held = 0;
        }
        held = held.saturating_add(size);
        if let Some(last) = portions.last_mut() {
            last.push(policy);
        }
    }
    portions
}

/// The newest version of every policy that exists, from ClickHouse.
async fn stored(config: &Config) -> anyhow::Result<Vec<PolicyRecord>> {
    let store = Store::connect(&config.clickhouse);
    let mut policies = store.latest_policies().await?;
    policies.retain(|policy| !policy.deleted);
    if policies.is_empty() {
        bail!("ClickHouse at {} has no policies to put back", config.clickhouse.url);
    }
    Ok(policies)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn record(name: &str, template: Option<&str>, bytes: usize) -> PolicyRecord {
        serde_json::from_value(serde_json::json!({
            "id": uuid::Uuid::nil(), "name": name, "package": "p", "rego": "x".repeat(bytes),
            "template": template, "version": 1, "created_at": DateTime::UNIX_EPOCH,
            "updated_at": DateTime::UNIX_EPOCH,
        }))
        .unwrap()
    }

    #[test]
    fn requests_stay_small_and_templates_come_first() {
        assert_eq!(portions(Vec::new(), 100_000), [Vec::new()], "one request all the same");
        let policies = vec![
            record("user", Some("a"), 0),
            record("a", None, 60_000),
            record("b", None, 60_000),
            record("huge", None, 300_000),
        ];
        let portions = portions(policies, 100_000);
        let names: Vec<Vec<&str>> = portions
            .iter()
            .map(|portion| portion.iter().map(|policy| policy.name.as_str()).collect())
            .collect();
        assert_eq!(names, [vec!["a"], vec!["b"], vec!["huge"], vec!["user"]]);
    }
}
