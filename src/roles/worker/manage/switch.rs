//! The switch for the whole system, and putting back what was taken from the bucket by hand.

use chrono::{SubsecRound, Utc};

use super::super::live::ENFORCEMENT_KEY;
use super::{Manager, encoded};
use crate::contract::admin::{EnforcementReply, EnforcementRequest, RestoreReply, RestoreRequest};
use crate::contract::{FaultCode, RequestFault};
use crate::domain::{EnforcementRecord, PolicyRecord};

impl Manager {
    /// Reads or turns the switch.
    pub(super) async fn enforcement(
        &self,
        request: EnforcementRequest,
    ) -> Result<EnforcementReply, RequestFault> {
        let change = request.change;
        for _ in 0..self.inner.config.policies.change_attempts {
            let now = self.inner.live.current();
            let current = now.switch.clone();
            let unchanged = EnforcementReply {
                enforcement: current.clone(),
                changed: false,
                sequence: now.sequence,
            };
            let Some(mode) = request.mode else { return Ok(unchanged) };
            if let Some(expected) = change.if_version.filter(|version| *version != current.version)
            {
                let mut fault = RequestFault::new(
                    FaultCode::Conflict,
                    "change.if_version",
                    format!(
                        "the change starts from version {expected} of the switch, which is at \
                         version {} by now: {}",
                        current.version,
                        current.mode.as_str()
                    ),
                );
                fault.current_version = Some(current.version);
                return Err(fault);
            }
            if mode == current.mode {
                return Ok(unchanged);
            }
            let next = EnforcementRecord {
                mode,
                version: current.version.saturating_add(1),
                updated_at: Utc::now().trunc_subsecs(6),
                updated_by: change.author.clone(),
                comment: change.comment.clone(),
            };
            if change.dry_run {
                return Ok(EnforcementReply {
                    enforcement: next,
                    changed: true,
                    sequence: now.sequence,
                });
            }
            let value = encoded(&next)?;
            let written = self
                .write_value(ENFORCEMENT_KEY, value, now.sequence, |now| now.switch == next)
                .await?;
            if let Some(sequence) = written {
                return Ok(EnforcementReply { enforcement: next, changed: true, sequence });
            }
        }
        Err(self.too_busy())
    }

    /// Puts back records that the bucket lacks, as they were: with their versions, authors and
    /// comments. What the bucket has in the same or a newer version is left alone.
    pub(super) async fn restore(
        &self,
        request: RestoreRequest,
    ) -> Result<RestoreReply, RequestFault> {
        let wanted: Vec<PolicyRecord> = if request.policies.is_empty() {
            let now = self.inner.live.current();
            now.records.values().map(|record| (**record).clone()).collect()
        } else {
            request.policies
        };
        for record in wanted.iter().filter(|record| !record.deleted) {
            record.check().map_err(|fault| {
                RequestFault::new(
                    FaultCode::Refused,
                    format!("policies.{}.{}", record.name, fault.field),
                    fault.message,
                )
            })?;
        }
        let mut reply = RestoreReply::default();
        for record in &wanted {
            match self.put_back(record, request.change.dry_run).await? {
                true => reply.restored.push(record.name.clone()),
                false => reply.present.push(record.name.clone()),
            }
        }
        reply.sequence = self.inner.live.current().sequence;
        Ok(reply)
    }

    async fn put_back(&self, record: &PolicyRecord, dry_run: bool) -> Result<bool, RequestFault> {
        let unavailable = |error| super::unavailable(&error);
        for _ in 0..self.inner.config.policies.change_attempts {
            // The bucket is asked, not what is in force: that is what the bucket lacks.
            let state = self.inner.bucket.state().await.map_err(unavailable)?;
            let Some(state) = state else {
                return Err(RequestFault::unavailable("there is no bucket of policies; try again"));
            };
            let held = self.inner.bucket.history(&record.name, self.inner.timeout).await;
            let held = held.map_err(unavailable)?;
            let has = held
                .last()
                .and_then(|held| serde_json::from_slice::<PolicyRecord>(held.value.as_ref()?).ok());
            if has.is_some_and(|has| has.version >= record.version) {
                return Ok(false);
            }
            if dry_run {
                return Ok(true);
            }
            match self.inner.bucket.put(&record.name, encoded(record)?, state.sequence).await {
                Ok(sequence) => {
                    self.inner.live.reaches(sequence, self.inner.timeout).await;
                    return Ok(true);
                }
                Err(crate::bus::PutError::Conflict) => (),
                Err(crate::bus::PutError::Bus(error)) => return Err(unavailable(error)),
            }
        }
        Err(self.too_busy())
    }
}
