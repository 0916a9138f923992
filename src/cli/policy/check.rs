//! `sluicegate policy check`: whether files would be admitted, without changing anything.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::put::{name_of, source};
use crate::cli::ask::{Desk, Refusal, Source};
use crate::cli::exit::Exit;
use crate::cli::findings;
use crate::cli::print::{self, BAD, GOOD, STRONG, WARN, styled};
use crate::config::Config;
use crate::contract::admin::{Authored, ChangeReply, PolicyDraft, PutRequest, Verb};
use crate::contract::fault::ServiceErrorDetail;
use crate::domain::Finding;

/// Check whether Rego files would be admitted; changes nothing
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy check cost_control.rego
  sluicegate policy check policies/*.rego --json

Exit code 0 means that all would be admitted, 1 that one would be refused.")]
pub(crate) struct Check {
    /// The files; each is checked under the name that it says
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// What is said of one file.
#[derive(Serialize)]
struct Checked {
    file: String,
    admitted: bool,
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<ServiceErrorDetail>,
}

pub(crate) async fn run(command: Check, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let desk = Desk::open(config).await?;
    let mut all = Vec::with_capacity(command.files.len());
    for file in &command.files {
        let source = source(file)?;
        let checked = match admitted(&desk, name_of(file)?, &source).await {
            Ok(findings) => {
                if !json {
                    let said = match findings::count(&findings) {
                        (_, 0) => styled(GOOD, "fine"),
                        (_, 1) => styled(WARN, "fine, with a warning"),
                        (_, warnings) => styled(WARN, format!("fine, with {warnings} warnings")),
                    };
                    findings::show(&findings, &source);
                    print::line(format!("{}: {said}", styled(STRONG, &source.name)));
                }
                Checked { file: source.name, admitted: true, findings, refused: None }
            }
            Err(error) => {
                let refusal = error.downcast::<Refusal>()?.about(source.clone());
                if !json {
                    for line in refusal.lines() {
                        print::line(line);
                    }
                    let refused = styled(BAD, "would be refused");
                    print::line(format!("{}: {refused}", styled(STRONG, &source.name)));
                }
                let detail = refusal.detail().clone();
                let findings = detail.findings.clone();
                Checked { file: source.name, admitted: false, findings, refused: Some(detail) }
            }
        };
        all.push(checked);
    }
    if json {
        print::json(&serde_json::json!({"files": all}))?;
    }
    let fine = all.iter().all(|checked| checked.admitted);
    Ok(if fine { Exit::Ok } else { Exit::Failed })
}

/// Tries to store it as it would be stored, with the settings that are stored.
async fn admitted(desk: &Desk, name: String, source: &Source) -> anyhow::Result<Vec<Finding>> {
    let stored = desk.find(&name).await?;
    let if_version = stored.as_ref().map(|view| view.record.version);
    let mut policy = stored.map_or_else(
        || PolicyDraft { name, ..PolicyDraft::default() },
        |view| PolicyDraft::from(&view.record),
    );
    policy.template = None;
    policy.rego.clone_from(&source.text);
    let change = Authored { if_version, dry_run: true, ..Authored::default() };
    let reply: ChangeReply = desk.admin(Verb::Put, &PutRequest { policy, change }).await?;
    Ok(reply.findings)
}
