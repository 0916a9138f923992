//! Putting back what was taken from the bucket by hand: policies as they were, with their versions,
//! authors and comments. What the bucket has in the same or a newer version is left alone.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::super::live::ENFORCEMENT_KEY;
use super::{Manager, apart, check_authored, encoded, unavailable};
use crate::bus::PutError;
use crate::contract::admin::{RestoreReply, RestoreRequest};
use crate::contract::{FaultCode, RequestFault};
use crate::domain::PolicyRecord;

/// The highest version that is believed: nobody changes a policy four thousand million times, and
/// the next version must have room.
const MOST_VERSIONS: u64 = u32::MAX as u64;

/// The newest value of every key.
type Held = HashMap<String, Option<Bytes>>;

impl Manager {
    /// Puts back records that the bucket lacks: those given, which are looked at as any that shall
    /// get in; or without any those in force here, and the switch.
    pub(super) async fn restore(
        &self,
        request: RestoreRequest,
    ) -> Result<RestoreReply, RequestFault> {
        check_authored(&request.change)?;
        let now = self.inner.live.current();
        let own = request.policies.is_empty();
        let records: Vec<PolicyRecord> = if own {
            now.records.values().map(|record| (**record).clone()).collect()
        } else {
            self.looked_at(request.policies).await?
        };
        for _ in 0..self.inner.config.policies.change_attempts {
            // The bucket is asked, not what is in force: the question is what the bucket lacks.
            let held = self.inner.bucket.snapshot(self.inner.timeout).await;
            let (held, mut last) = held.map_err(|e| unavailable(&e))?;
            let mut reply = RestoreReply { sequence: last, ..RestoreReply::default() };
            let (lacking, present): (Vec<&PolicyRecord>, Vec<&PolicyRecord>) =
                records.iter().partition(|record| lacks(&held, record));
            reply.present = present.iter().map(|record| record.name.clone()).collect();
            reply.restored = lacking.iter().map(|record| record.name.clone()).collect();
            if request.change.dry_run {
                return Ok(reply);
            }
            let mut values = Vec::with_capacity(lacking.len().saturating_add(1));
            for record in lacking {
                values.push((record.name.as_str(), encoded(record)?));
            }
            let switch = held.get(ENFORCEMENT_KEY).is_some_and(Option::is_some);
            if own && !switch && now.switch.version > 0 {
                values.push((ENFORCEMENT_KEY, encoded(&now.switch)?));
            }
            if let Some(sequence) = self.written(values, &mut last).await? {
                reply.sequence = sequence;
                self.inner.live.reaches(sequence, self.inner.timeout).await;
                return Ok(reply);
            }
        }
        Err(self.too_busy())
    }

    /// Writes values one after the other, each on top of the one before. None where somebody else
    /// wrote in between.
    async fn written(
        &self,
        values: Vec<(&str, Vec<u8>)>,
        last: &mut u64,
    ) -> Result<Option<u64>, RequestFault> {
        for (key, value) in values {
            match self.inner.bucket.put(key, value, *last).await {
                Ok(sequence) => *last = sequence,
                Err(PutError::Conflict) => return Ok(None),
                Err(error @ PutError::Refused(_)) => {
                    return Err(RequestFault::unavailable(error.to_string()));
                }
                Err(PutError::Bus(error)) => return Err(unavailable(&error)),
            }
        }
        Ok(Some(*last))
    }

    /// The given records in an order in which each can be admitted: those with Rego first.
    async fn looked_at(
        &self,
        mut records: Vec<PolicyRecord>,
    ) -> Result<Vec<PolicyRecord>, RequestFault> {
        let refused = |field: String, message: String| {
            RequestFault::new(FaultCode::Refused, format!("policies.{field}"), message)
        };
        if records.len() > self.inner.config.policies.max_policies {
            let message = "holds more policies than there may be (setting policies.max_policies)";
            return Err(RequestFault::field("policies", message));
        }
        for record in &records {
            let checked = if record.deleted { record.check_name() } else { record.check() };
            checked.map_err(|f| refused(format!("{}.{}", record.name, f.field), f.message))?;
            if record.version == 0 || record.version > MOST_VERSIONS {
                let message = format!("must be between 1 and {MOST_VERSIONS}");
                return Err(refused(format!("{}.version", record.name), message));
            }
        }
        records.sort_by_key(|record| record.template.is_some());
        let (admission, base) = (self.inner.admission, self.inner.live.current());
        let (_, limits) = admission.limits();
        apart(limits.instructions, move || {
            let mut known = base.records.clone();
            for record in &mut records {
                if !record.deleted {
                    let admitted = admission.admit(record, &known, None).map_err(|mut fault| {
                        fault.field = format!("policies.{}.{}", record.name, fault.field);
                        fault
                    })?;
                    record.package = admitted.package().to_owned();
                }
                known.insert(record.name.clone(), Arc::new(record.clone()));
            }
            Ok(records)
        })
        .await?
    }
}

/// Whether the bucket has nothing of a policy, or something older.
fn lacks(held: &Held, record: &PolicyRecord) -> bool {
    let value = held.get(&record.name).and_then(Option::as_ref);
    let has = value.and_then(|value| serde_json::from_slice::<PolicyRecord>(value).ok());
    has.is_none_or(|has| (has.version, has.updated_at) < (record.version, record.updated_at))
}
