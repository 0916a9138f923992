//! What all changes share: who, why, on top of what; trying first; what came of it.

use clap::Args;
use serde::Serialize;

use super::wait::{WaitFlag, Waited};
use crate::cli::ask::{Desk, Source};
use crate::cli::exit::Exit;
use crate::cli::print::{self, DIM, GOOD, STRONG, WARN, styled};
use crate::cli::{findings, words};
use crate::contract::admin::{Authored, ChangeReply, PolicyDraft};
use crate::domain::PolicyRecord;
use crate::roles::policies_diff::{Side, unified};

/// Flags of every change.
#[derive(Args, Debug)]
pub(crate) struct ChangeFlags {
    #[command(flatten)]
    pub(crate) by: ByFlags,
    /// Refuse when the policy has another version by now
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
    /// Check all and show what would differ, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) wait: WaitFlag,
}

/// Who makes a change, and why.
#[derive(Args, Clone, Debug)]
pub(crate) struct ByFlags {
    /// Why; kept with the version
    #[arg(long, short, value_name = "WHY", default_value = "", hide_default_value = true)]
    message: String,
    /// Who; kept with the version [default: user@host]
    #[arg(long, value_name = "WHO")]
    author: Option<String>,
}

impl ByFlags {
    /// As the request says it.
    pub(crate) fn authored(&self, if_version: Option<u64>, dry_run: bool) -> Authored {
        Authored {
            author: self.author.clone().unwrap_or_else(user_at_host),
            comment: self.message.clone(),
            if_version,
            dry_run,
        }
    }
}

impl ChangeFlags {
    /// As the request says it, on top of the given version unless the flags name one.
    pub(crate) fn authored(&self, read: Option<u64>) -> Authored {
        self.by.authored(self.if_version.or(read), self.dry_run)
    }

    /// Waits if asked to, and shows what came of the change.
    pub(crate) async fn finish(
        &self,
        desk: &Desk,
        reply: ChangeReply,
        source: &Source,
        json: bool,
    ) -> anyhow::Result<Exit> {
        let waited =
            if reply.dry_run { None } else { self.wait.until(desk, reply.sequence).await? };
        let exit = waited.as_ref().map_or(Exit::Ok, Waited::exit);
        if json {
            print::json(&Finished { reply: &reply, diff: diff(&reply), waited })?;
            return Ok(exit);
        }
        findings::show(&reply.findings, source);
        print::line(outcome(&reply));
        if reply.dry_run {
            print::diff(&diff(&reply));
        }
        if let Some(waited) = waited {
            waited.show();
        }
        Ok(exit)
    }
}

/// A change as programs read it.
#[derive(Serialize)]
struct Finished<'a> {
    #[serde(flatten)]
    reply: &'a ChangeReply,
    diff: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited: Option<Waited>,
}

/// Who runs the command, as far as the environment says.
fn user_at_host() -> String {
    let user = ["USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let user = user.unwrap_or_else(|| "unknown".to_owned());
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok());
    match host {
        Some(host) => format!("{user}@{host}"),
        None => user,
    }
}

/// What a change did, in one line.
fn outcome(reply: &ChangeReply) -> String {
    let record = &reply.policy.record;
    let name = styled(STRONG, &record.name);
    let before = reply.before.as_ref().map(|before| before.version);
    if !reply.changed {
        return format!("{name} v{}: {}", record.version, styled(DIM, "nothing to change"));
    }
    let (done, tried) = match (record.deleted, before) {
        (true, _) => ("deleted", "would be deleted"),
        (false, None) => ("created", "would be created"),
        (false, Some(_)) => ("changed", "would be changed"),
    };
    let said = if reply.dry_run { styled(WARN, tried) } else { styled(GOOD, done) };
    let version = match before {
        Some(before) => format!("v{before} → v{}", record.version),
        None => format!("v{}", record.version),
    };
    let how = if record.deleted { String::new() } else { format!("  {}", how(record)) };
    format!("{said}  {name} {version}{}", styled(DIM, how))
}

/// How a policy takes part, in a few words.
pub(crate) fn how(record: &PolicyRecord) -> String {
    let mode = words::word(record.mode);
    format!("{}, {mode}, {}", words::word(record.status), record.applies_to())
}

/// What a change changes.
pub(crate) fn diff(reply: &ChangeReply) -> String {
    let label = |record: &PolicyRecord| format!("{} v{}", record.name, record.version);
    let before = reply.before.as_deref().filter(|before| !before.deleted);
    let after = Some(&reply.policy.record).filter(|after| !after.deleted);
    let labels = (before.map(label).unwrap_or_default(), after.map(label).unwrap_or_default());
    let drafts = (before.map(PolicyDraft::from), after.map(PolicyDraft::from));
    unified(
        Side { label: &labels.0, policy: drafts.0.as_ref() },
        Side { label: &labels.1, policy: drafts.1.as_ref() },
    )
}
