//! An empty bucket is filled once, with the policies of the folder. A bucket that has ever held
//! anything is left alone, so that no start of a worker undoes a change.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::records::SEED_KEY;
use crate::bus::{Bucket, PutError};
use crate::config::Config;
use crate::contract::admin::{Authored, PolicyDraft};
use crate::domain::PolicyRecord;
use crate::roles::policies_folder::{self, FolderLimits};
use crate::roles::worker::WorkerError;
use crate::roles::worker::manage::admission::{Admission, record_of};

/// Who made the policies that came with the folder.
const AUTHOR: &str = "sluicegate";

/// The note that a bucket is being filled, or was. With it a worker that was stopped half-way is
/// succeeded by another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Note {
    done: bool,
    policies: usize,
    refused: Vec<String>,
}

/// Fills the bucket if it is empty, or if somebody began to and didn't finish.
///
/// # Errors
/// When the folder can't be read; a policy in it that is wrong by itself is left out and said.
pub(super) async fn fill(bucket: &Bucket, config: &Config) -> Result<(), WorkerError> {
    if !config.policies.seed {
        return Ok(());
    }
    let timeout = config.nats.request_timeout;
    loop {
        let Some(state) = bucket.state().await? else { return Err(WorkerError::NoBucket) };
        if state.sequence > 0 {
            let noted = bucket.history(SEED_KEY, timeout).await?;
            let note = noted.last().and_then(|held| held.value.as_ref());
            let note = note.and_then(|value| serde_json::from_slice::<Note>(value).ok());
            if note.is_none_or(|note| note.done) {
                return Ok(());
            }
        }
        match fill_from(bucket, config, state.sequence).await {
            // Another worker does it too; whoever is slower looks again.
            Err(PutError::Conflict) => (),
            Err(PutError::Bus(error)) => return Err(error.into()),
            Ok(outcome) => return outcome,
        }
        tokio::time::sleep(config.backoff.initial).await;
    }
}

async fn fill_from(
    bucket: &Bucket,
    config: &Config,
    sequence: u64,
) -> Result<Result<(), WorkerError>, PutError> {
    let drafts = match policies_folder::read(&config.policies.folder, FolderLimits::from(config)) {
        Ok(drafts) => drafts,
        Err(error) => return Ok(Err(error.into())),
    };
    let (records, refused) = admitted(config, drafts);
    for problem in &refused {
        tracing::error!("a policy of {} is left out: {problem}", config.policies.folder.display());
    }
    let note = |done| Note { done, policies: records.len(), refused: refused.clone() };
    let mut last = bucket.put(SEED_KEY, encoded(&note(false))?, sequence).await?;
    for record in records.values() {
        last = bucket.put(&record.name, encoded(record)?, last).await?;
    }
    bucket.put(SEED_KEY, encoded(&note(true))?, last).await?;
    tracing::info!(
        policies = records.len(),
        folder = %config.policies.folder.display(),
        "the bucket was empty: filled from the folder"
    );
    Ok(Ok(()))
}

fn encoded(value: &impl Serialize) -> Result<Vec<u8>, PutError> {
    serde_json::to_vec(value).map_err(|error| {
        PutError::Bus(crate::bus::BusError::Request {
            what: "encode a policy",
            reason: error.to_string(),
        })
    })
}

/// The records of the drafts that are admitted, and what is wrong with the others.
fn admitted(
    config: &Config,
    drafts: Vec<PolicyDraft>,
) -> (BTreeMap<String, Arc<PolicyRecord>>, Vec<String>) {
    let change = Authored {
        author: AUTHOR.to_owned(),
        comment: format!("from the folder {}", config.policies.folder.display()),
        ..Authored::default()
    };
    let admission = Admission::new(config);
    let mut records = BTreeMap::new();
    let mut refused = Vec::new();
    // Policies with Rego of their own first: others may use it.
    let (own, templated): (Vec<_>, Vec<_>) =
        drafts.into_iter().partition(|draft| draft.template.is_none());
    for draft in own.into_iter().chain(templated) {
        let mut record = record_of(&draft, None, &change, Uuid::new_v4(), Utc::now());
        match admission.admit(&record, &records, None) {
            Ok(admitted) => {
                record.package = admitted.package().to_owned();
                records.insert(record.name.clone(), Arc::new(record));
            }
            Err(fault) => refused.push(format!("{}: {}", draft.name, fault.in_full())),
        }
    }
    (records, refused)
}
