//! What the bucket says, as far as it can be believed. What is written by hand and is wrong, or
//! takes away what nobody deleted, changes nothing that is in force; it is a problem to be shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::bus::{BucketState, Held};
use crate::domain::{EnforcementMode, EnforcementRecord, PolicyRecord};

/// The key of the switch. No policy's name begins so.
pub(in crate::roles::worker) const ENFORCEMENT_KEY: &str = "_enforcement";
/// The key of the note that the bucket was filled.
pub(in crate::roles::worker) const SEED_KEY: &str = "_seed";
/// What to do about a policy that is in force and not in the bucket.
const VANISHED: &str = "is in force, but was removed from the bucket by hand: `sluicegate policy \
                        restore` puts it back, `sluicegate policy delete` deletes it for good";

/// What to do about a switch that is in force and not in the bucket.
const SWITCH_VANISHED: &str = "is in force, but was removed from the bucket by hand: `sluicegate \
                               enforcement on`, `shadow` or `off` sets it again";

/// The newest record of every policy, also of deleted ones, and the switch.
#[derive(Clone, Debug)]
pub(super) struct Records {
    policies: BTreeMap<String, Arc<PolicyRecord>>,
    enforcement: EnforcementRecord,
    problems: BTreeMap<String, String>,
    epoch: DateTime<Utc>,
    sequence: u64,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            policies: BTreeMap::new(),
            enforcement: EnforcementRecord {
                mode: EnforcementMode::On,
                version: 0,
                updated_at: DateTime::UNIX_EPOCH,
                updated_by: String::new(),
                comment: String::new(),
            },
            problems: BTreeMap::new(),
            epoch: DateTime::UNIX_EPOCH,
            sequence: 0,
        }
    }
}

impl Records {
    /// By name.
    pub(super) const fn policies(&self) -> &BTreeMap<String, Arc<PolicyRecord>> {
        &self.policies
    }

    pub(super) const fn enforcement(&self) -> &EnforcementRecord {
        &self.enforcement
    }

    /// Whether the bucket has the switch that is in force.
    pub(super) fn switch_is_stored(&self) -> bool {
        !self.problems.contains_key(ENFORCEMENT_KEY)
    }

    /// What is wrong, by key.
    pub(super) const fn problems(&self) -> &BTreeMap<String, String> {
        &self.problems
    }

    /// The newest sequence that was taken in.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether a bucket holds what was taken in. A bucket that was purged keeps its sequence, so the
    /// number of its messages counts too.
    pub(super) fn agrees_with(&self, bucket: &BucketState) -> bool {
        let missing = self.problems.values().filter(|problem| problem.as_str() == VANISHED).count();
        let live = self.policies.values().filter(|record| !record.deleted).count();
        let least = live.saturating_sub(missing);
        bucket.epoch == self.epoch
            && bucket.sequence == self.sequence
            && usize::try_from(bucket.messages).unwrap_or(usize::MAX) >= least
    }

    /// A reading begins, of a bucket that stands so.
    pub(super) fn begin(&mut self, bucket: &BucketState) {
        self.epoch = bucket.epoch;
        self.sequence = bucket.sequence;
        self.problems.clear();
    }

    /// All that was there at the beginning has been read: what was not among these keys is gone.
    pub(super) fn caught_up(&mut self, keys: &BTreeSet<String>) {
        for (name, record) in &self.policies {
            if !record.deleted && !keys.contains(name) {
                self.problems.insert(name.clone(), VANISHED.to_owned());
            }
        }
        if self.enforcement.version > 0 && !keys.contains(ENFORCEMENT_KEY) {
            self.problems.insert(ENFORCEMENT_KEY.to_owned(), SWITCH_VANISHED.to_owned());
        }
        let nothing = !keys.contains(SEED_KEY) && !keys.contains(ENFORCEMENT_KEY);
        if self.policies.is_empty() && self.sequence > 0 && nothing {
            self.problems.insert(
                String::new(),
                "the bucket was emptied by hand: `sluicegate policy restore --from-clickhouse` \
                 puts the policies back"
                    .to_owned(),
            );
        }
    }

    /// Takes in one message.
    pub(super) fn take(&mut self, held: Held) {
        self.sequence = self.sequence.max(held.sequence);
        if held.key == ENFORCEMENT_KEY {
            self.take_enforcement(held);
        } else if !held.key.starts_with('_') {
            match self.believable(&held) {
                Ok(Some(record)) => {
                    self.problems.remove(&held.key);
                    // The bucket is no longer empty.
                    self.problems.remove("");
                    self.policies.insert(held.key, Arc::new(record));
                }
                Ok(None) => {
                    self.problems.remove(&held.key);
                }
                Err(problem) => {
                    self.problems.insert(held.key, problem);
                }
            }
        }
    }

    /// The record of a message, none where it says what is known already.
    fn believable(&self, held: &Held) -> Result<Option<PolicyRecord>, String> {
        let known = self.policies.get(&held.key);
        let Some(value) = &held.value else {
            return match known {
                Some(record) if !record.deleted => Err(VANISHED.to_owned()),
                _ => Ok(None),
            };
        };
        let stays = if known.is_some() { "; what was in force before stays" } else { "" };
        let record: PolicyRecord = serde_json::from_slice(value)
            .map_err(|e| format!("the bucket holds no policy record under this key: {e}{stays}"))?;
        if record.name != held.key {
            return Err(format!(
                "the bucket holds the record of `{}` under this key{stays}",
                record.name
            ));
        }
        if !record.deleted
            && let Err(fault) = record.check()
        {
            return Err(format!(
                "the record in the bucket is wrong: {} {}{stays}",
                fault.field, fault.message
            ));
        }
        match known {
            Some(known) if record == **known => Ok(None),
            // Two servers' buckets may have made the same version: all workers take the later one.
            Some(known)
                if record.version == known.version && record.updated_at > known.updated_at =>
            {
                Ok(Some(record))
            }
            Some(known) if record.version <= known.version => Err(format!(
                "the bucket was set back by hand: it has version {} where version {} is in force; \
                 `sluicegate policy restore` brings the newer one back",
                record.version, known.version
            )),
            _ => Ok(Some(record)),
        }
    }

    fn take_enforcement(&mut self, held: Held) {
        let Some(value) = held.value else {
            self.problems.insert(held.key, SWITCH_VANISHED.to_owned());
            return;
        };
        match serde_json::from_slice::<EnforcementRecord>(&value) {
            Ok(record) if record.version >= self.enforcement.version => {
                self.problems.remove(&held.key);
                self.enforcement = record;
            }
            Ok(record) => {
                let problem = format!(
                    "was set back by hand to version {}; version {} stays in force",
                    record.version, self.enforcement.version
                );
                self.problems.insert(held.key, problem);
            }
            Err(error) => {
                let problem = format!("is no record of the switch ({error}); it stays as it was");
                self.problems.insert(held.key, problem);
            }
        }
    }
}
