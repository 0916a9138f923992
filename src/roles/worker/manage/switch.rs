//! The switch for the whole system.

use chrono::{SubsecRound, Utc};

use super::super::live::ENFORCEMENT_KEY;
use super::{Manager, check_authored, encoded};
use crate::contract::admin::{EnforcementReply, EnforcementRequest};
use crate::contract::{FaultCode, RequestFault};
use crate::domain::EnforcementRecord;

impl Manager {
    /// Reads or turns the switch.
    pub(super) async fn enforcement(
        &self,
        request: EnforcementRequest,
    ) -> Result<EnforcementReply, RequestFault> {
        let change = request.change;
        check_authored(&change)?;
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
            // A switch that somebody removed by hand is written again, also as it was.
            if mode == current.mode && now.switch_is_stored {
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
}
