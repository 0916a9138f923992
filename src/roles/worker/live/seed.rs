//! An empty bucket is filled once, with the policies of the folder. A bucket that has ever held
//! anything is left alone, so that no start of a worker undoes a change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::records::SEED_KEY;
use crate::bus::{Bucket, BusError, PutError};
use crate::config::Config;
use crate::contract::admin::Authored;
use crate::domain::PolicyRecord;
use crate::engine::Entry;
use crate::roles::policies_folder::{self, FolderError, FolderLimits};
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
    refused: Vec<LeftOut>,
}

/// A policy of the folder that didn't get into the bucket: its name, and why.
pub(super) type LeftOut = (String, String);

/// Fills the bucket if it is empty, or if somebody began to and didn't finish.
///
/// # Errors
/// When the folder can't be read. A policy in it that is wrong by itself is left out; returns why.
pub(super) async fn fill(bucket: &Bucket, config: &Config) -> Result<Vec<LeftOut>, WorkerError> {
    if !config.policies.seed {
        return Ok(Vec::new());
    }
    let timeout = config.nats.request_timeout;
    loop {
        let (held, sequence) = bucket.snapshot(timeout).await?;
        if sequence > 0 {
            let note = held.get(SEED_KEY).and_then(Option::as_ref);
            let note = note.and_then(|value| serde_json::from_slice::<Note>(value).ok());
            if note.is_none_or(|note| note.done) {
                return Ok(Vec::new());
            }
        }
        let held: BTreeSet<String> = held.into_keys().collect();
        match fill_from(bucket, config, sequence, &held).await {
            // Another worker does it too; whoever is slower looks again.
            Err(PutError::Conflict) => (),
            Err(PutError::Bus(error)) => return Err(error.into()),
            Err(PutError::Refused(reason)) => {
                return Err(
                    BusError::Request { what: "fill the bucket of policies", reason }.into()
                );
            }
            Ok(outcome) => return outcome,
        }
        tokio::time::sleep(config.backoff.initial).await;
    }
}

async fn fill_from(
    bucket: &Bucket,
    config: &Config,
    sequence: u64,
    held: &BTreeSet<String>,
) -> Result<Result<Vec<LeftOut>, WorkerError>, PutError> {
    let AdmittedFolder { records, refused, .. } = match admit_folder(config) {
        Ok(admitted) => admitted,
        Err(error) => return Ok(Err(error.into())),
    };
    let note = |done| Note { done, policies: records.len(), refused: refused.clone() };
    let mut last = bucket.put(SEED_KEY, encoded(&note(false))?, sequence).await?;
    // Whoever began may have come further, and somebody may have changed a policy since.
    for record in records.values().filter(|record| !held.contains(&record.name)) {
        last = bucket.put(&record.name, encoded(record)?, last).await?;
    }
    bucket.put(SEED_KEY, encoded(&note(true))?, last).await?;
    tracing::info!(
        policies = records.len(),
        folder = %config.policies.folder.display(),
        "the bucket was empty: filled from the folder"
    );
    Ok(Ok(refused))
}

fn encoded(value: &impl Serialize) -> Result<Vec<u8>, PutError> {
    serde_json::to_vec(value).map_err(|error| {
        PutError::Bus(crate::bus::BusError::Request {
            what: "encode a policy",
            reason: error.to_string(),
        })
    })
}

/// What of a folder may get into a bucket.
#[derive(Debug, Default)]
pub struct AdmittedFolder {
    /// The policies as the bucket would hold them, by name.
    pub records: BTreeMap<String, Arc<PolicyRecord>>,
    /// The same, compiled.
    pub entries: Vec<Entry>,
    /// Why the others are refused, by name.
    pub refused: Vec<LeftOut>,
}

/// Looks at the policies of the configured folder as at any that shall get into the bucket.
///
/// # Errors
/// When the folder or its settings can't be read as a whole.
pub fn admit_folder(config: &Config) -> Result<AdmittedFolder, FolderError> {
    let drafts = policies_folder::read(&config.policies.folder, FolderLimits::from(config))?;
    let change = Authored {
        author: AUTHOR.to_owned(),
        comment: format!("from the folder {}", config.policies.folder.display()),
        ..Authored::default()
    };
    let admission = Admission::new(config);
    let mut folder = AdmittedFolder::default();
    // Policies with Rego of their own first: others may use it.
    let (own, templated): (Vec<_>, Vec<_>) =
        drafts.into_iter().partition(|draft| draft.template.is_none());
    for draft in own.into_iter().chain(templated) {
        let mut record = record_of(&draft, None, &change, Uuid::new_v4(), Utc::now());
        match admission.admit(&record, &folder.records, None) {
            Ok(admitted) => {
                record.package = admitted.package().to_owned();
                folder.records.insert(record.name.clone(), Arc::new(record));
                folder.entries.push(admitted.entry);
            }
            Err(fault) => folder.refused.push((draft.name.clone(), fault.in_full())),
        }
    }
    Ok(folder)
}
