//! Messages have a largest size. A decision must be answered and recorded all the same, so what
//! doesn't fit is shortened, and says so.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::contract::batch::BatchItem;
use crate::contract::check::PolicyReply;
use crate::contract::{BatchReply, CheckReply, DecisionEvent, PackageDocument};

/// Bytes that are set aside for a message: most fit, and none of those grows while it is written.
const USUAL: usize = 3 << 10;

/// As JSON.
pub(super) fn encode(message: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut encoded = Vec::with_capacity(USUAL);
    serde_json::to_writer(&mut encoded, message)?;
    Ok(encoded)
}

/// The event as JSON of at most `largest` bytes: without the lifted copies of the context first,
/// then without context and resource, then with fewer reasons.
pub(super) fn event(
    event: &mut DecisionEvent,
    largest: usize,
) -> Result<Vec<u8>, serde_json::Error> {
    let encoded = encode(event)?;
    if encoded.len() <= largest {
        return Ok(encoded);
    }
    let bytes = encoded.len();
    let members: Map<String, Value> = ["action", "resource", "context", "timestamp"]
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), event.input.remove(*key)?)))
        .collect();
    event.input = members;
    event.input.insert("shortened_from_bytes".to_owned(), json!(bytes));
    let encoded = serde_json::to_vec(event)?;
    if encoded.len() <= largest {
        return Ok(encoded);
    }
    event.input.remove("resource");
    event.input.remove("context");
    shorten_text(&mut event.resource);
    shorten_text(&mut event.error_message);
    for text in [
        &mut event.who.subject,
        &mut event.who.agent,
        &mut event.who.user,
        &mut event.who.session_id,
        &mut event.who.run_id,
        &mut event.who.step_id,
        &mut event.who.project_id,
    ] {
        shorten_text(text);
    }
    let lists = [&mut event.deny_reasons, &mut event.warnings, &mut event.would_deny];
    shorten(&mut event.policies, lists, &mut event.reason);
    serde_json::to_vec(event)
}

/// The reply as JSON of at most `largest` bytes, without the other rules or with fewer reasons if
/// need be.
pub(super) fn reply(reply: &mut CheckReply, largest: usize) -> Result<Vec<u8>, serde_json::Error> {
    let encoded = encode(reply)?;
    if encoded.len() <= largest {
        return Ok(encoded);
    }
    if let Some(document) = &mut reply.document {
        let bytes = encoded.len();
        let error =
            format!("with the rules the answer has {bytes} bytes, at most {largest} can be sent");
        *document = PackageDocument { rules: Map::new(), error };
        let encoded = serde_json::to_vec(reply)?;
        if encoded.len() <= largest {
            return Ok(encoded);
        }
    }
    reply.remedy.clear();
    let mut none = Vec::new();
    let lists = [&mut reply.deny_reasons, &mut reply.warnings, &mut none];
    shorten(&mut reply.policies, lists, &mut reply.reason);
    shorten_text(&mut reply.error_message);
    serde_json::to_vec(reply)
}

/// The replies of a batch as JSON of at most `largest` bytes: of each policy only the verdict
/// first, then without policies, then with only the first reason.
pub(super) fn batch(reply: &mut BatchReply, largest: usize) -> Result<Vec<u8>, serde_json::Error> {
    const STEPS: [fn(&mut CheckReply); 3] = [
        |reply| {
            reply.remedy.clear();
            verdicts_only(&mut reply.policies);
        },
        |reply| reply.policies.clear(),
        |reply| {
            reply.deny_reasons.truncate(1);
            reply.warnings.truncate(1);
            reply.reason = reply.deny_reasons.first().cloned().unwrap_or_default();
            shorten_text(&mut reply.error_message);
        },
    ];
    let mut encoded = serde_json::to_vec(reply)?;
    for step in STEPS {
        if encoded.len() <= largest {
            break;
        }
        for item in &mut reply.decisions {
            if let BatchItem::Decision(decision) = item {
                step(decision);
            }
        }
        encoded = serde_json::to_vec(reply)?;
    }
    Ok(encoded)
}

/// Keeps the first reasons of all, and of each policy only the verdict.
fn shorten(policies: &mut Vec<PolicyReply>, lists: [&mut Vec<String>; 3], reason: &mut String) {
    const KEEP: usize = 100;
    verdicts_only(policies);
    policies.truncate(KEEP);
    for list in lists {
        list.truncate(KEEP);
    }
    shorten_text(reason);
}

fn verdicts_only(policies: &mut [PolicyReply]) {
    for policy in policies {
        policy.deny_reasons.clear();
        policy.warnings.clear();
        policy.error = policy.error.take().map(|mut error| {
            shorten_text(&mut error);
            error
        });
    }
}

fn shorten_text(text: &mut String) {
    const KEEP: usize = 1_024;
    if text.len() > KEEP {
        let end = text.floor_char_boundary(KEEP);
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::contract::event::Who;

    fn huge(context: &str) -> DecisionEvent {
        let policy = |i: usize| PolicyReply {
            name: format!("p{i}"),
            package: String::new(),
            version: 1,
            scope: "global".into(),
            mode: crate::domain::Mode::Enforce,
            decision: crate::domain::Verdict::Deny,
            deny_reasons: vec!["r".repeat(512); 100],
            warnings: vec![],
            error: None,
            usage: None,
        };
        let input = json!({"action": "a", "resource": context, "context": {"x": context},
            "x": context, "timestamp": ""});
        DecisionEvent {
            schema: 1,
            id: Uuid::nil(),
            timestamp: chrono::DateTime::UNIX_EPOCH,
            worker: "w".into(),
            number: crate::contract::event::Number::default(),
            decision: crate::domain::Verdict::Deny,
            action: "a".into(),
            resource: context.into(),
            who: Who { session_id: context.into(), ..Who::default() },
            input: input.as_object().cloned().unwrap(),
            policy_name: String::new(),
            policy_package: String::new(),
            policy_revision: String::new(),
            policies: (0..200).map(policy).collect(),
            reason: "r".repeat(200_000),
            deny_reasons: vec!["r".repeat(512); 3_000],
            warnings: vec![],
            would_deny: vec![],
            enforced: true,
            error: false,
            error_message: String::new(),
            unchecked: String::new(),
            duration_us: 1,
        }
    }

    #[test]
    fn whatever_the_event_it_fits_and_says_so() {
        let largest = 256 * 1_024;
        let encoded = event(&mut huge(&"x".repeat(300_000)), largest).unwrap();
        assert!(encoded.len() <= largest, "{}", encoded.len());
        let value: Value = serde_json::from_slice(&encoded).unwrap();
        assert!(value["input"]["shortened_from_bytes"].as_u64() > Some(300_000));
        assert_eq!(value["decision"], "deny");
    }

    #[test]
    fn what_fits_is_left_alone() {
        let mut small = huge("x");
        small.policies.clear();
        small.deny_reasons.clear();
        let before = small.clone();
        event(&mut small, 1 << 20).unwrap();
        assert_eq!(small, before);
    }
}
