//! Rows from the bucket of policies: each message of its stream is a version of a policy, or of the
//! switch for enforcement.

use super::line::{Line, Origin, Refusal};
use crate::bus::Subjects;
use crate::bus::consumer::Delivered;
use crate::bus::subjects::{bucket_key, bucket_stream, key_of};
use crate::config::Config;
use crate::domain::{EnforcementRecord, PolicyRecord};
use crate::store::{EnforcementRow, RuleRow, StreamPosition};

/// The key of the switch. Other keys that begin alike are none of ours.
const SWITCH: &str = "_enforcement";
const NO_POLICY: char = '_';

impl Line for RuleRow {
    fn origin(config: &Config, _: &Subjects) -> Origin {
        bucket(config, ">")
    }

    fn read(message: &Delivered, at: StreamPosition) -> Result<Option<Self>, Refusal> {
        let Some(key) = key_of(&message.subject) else { return Ok(None) };
        if message.marker || key.starts_with(NO_POLICY) {
            return Ok(None);
        }
        let record: PolicyRecord = serde_json::from_slice(&message.payload)
            .map_err(|error| Refusal::unreadable(&error, "not_a_record"))?;
        check(&record, key)?;
        Self::new(record, at).map(Some).map_err(|error| Refusal::unstorable(&error))
    }
}

impl Line for EnforcementRow {
    fn origin(config: &Config, _: &Subjects) -> Origin {
        bucket(config, SWITCH)
    }

    fn read(message: &Delivered, at: StreamPosition) -> Result<Option<Self>, Refusal> {
        if message.marker {
            return Ok(None);
        }
        let record: EnforcementRecord = serde_json::from_slice(&message.payload)
            .map_err(|error| Refusal::unreadable(&error, "not_a_record"))?;
        Self::new(record, at).map(Some).map_err(|error| Refusal::unstorable(&error))
    }
}

/// Nothing but what the product itself writes is a version: what was written by hand would else be
/// taken for it, and restored.
fn check(record: &PolicyRecord, key: &str) -> Result<(), Refusal> {
    let invalid = |detail: String| Refusal::new("invalid_record", detail);
    if record.name != key {
        let name: String = record.name.chars().take(128).collect();
        return Err(invalid(format!("`name` is `{name}`, but the key is `{key}`")));
    }
    match record.check() {
        // Of a policy that is gone, nothing but its name need be left.
        Err(fault) if !record.deleted || fault.field == "name" => {
            Err(invalid(format!("`{}` {}", fault.field, fault.message)))
        }
        _ => Ok(()),
    }
}

fn bucket(config: &Config, keys: &str) -> Origin {
    let bucket = &config.policies.bucket;
    Origin {
        stream: bucket_stream(bucket),
        filter: bucket_key(bucket, keys),
        made_by: "the stream of the bucket policies.bucket, which a worker makes",
    }
}
