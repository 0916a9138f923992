//! A decision's policies, tried again one by one: one that can't be leaves the others explained.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use crate::cli::ask::{Desk, Refusal, Source};
use crate::cli::trace;
use crate::config::Config;
use crate::contract::evaluate::{Choice, ChosenVersion, EvaluatedPolicy};
use crate::contract::{DecisionEvent, EvaluateReply, EvaluateRequest, PolicyReply};
use crate::domain::PolicyRecord;
use crate::store::Store;

/// Requests at the same time.
const AT_ONCE: usize = 4;

/// A policy of a decision: what is recorded of it, and what it says now.
#[derive(Debug, Serialize)]
pub(super) struct Replayed {
    /// What it said then.
    pub(super) recorded: PolicyReply,
    /// What it says of the same input now, and why.
    pub(super) replay: Option<EvaluatedPolicy>,
    /// Whether both say the same; unknown where it couldn't be tried.
    pub(super) agrees: Option<bool>,
    /// What to know about the replay.
    pub(super) notes: Vec<String>,
    /// Its Rego.
    #[serde(skip)]
    pub(super) source: Source,
}

/// Tries all policies of a decision again.
pub(super) async fn all(
    desk: &Desk,
    config: &Config,
    event: &DecisionEvent,
) -> anyhow::Result<Vec<Replayed>> {
    let replays = event.policies.iter().map(|recorded| one(desk, config, event, recorded));
    stream::iter(replays).buffered(AT_ONCE).try_collect().await
}

async fn one(
    desk: &Desk,
    config: &Config,
    event: &DecisionEvent,
    recorded: &PolicyReply,
) -> anyhow::Result<Replayed> {
    let mut replayed = Replayed {
        recorded: recorded.clone(),
        replay: None,
        agrees: None,
        notes: Vec::new(),
        source: Source::default(),
    };
    if recorded.version == 0 {
        replayed.notes.push("there was no such policy: nothing to try again".to_owned());
        return Ok(replayed);
    }
    let usage = recorded.usage.map(serde_json::to_value).transpose()?;
    let request = EvaluateRequest {
        policies: vec![Choice::Version(ChosenVersion {
            policy: recorded.name.clone(),
            version: Some(recorded.version),
            usage: usage.clone(),
        })],
        input: Some(event.input.clone()),
        usage: usage.clone(),
        explain: true,
        ..EvaluateRequest::default()
    };
    match desk.evaluate(&request).await {
        Ok(reply) => {
            let stored = trace::stored(desk, &recorded.name, recorded.version).await;
            replayed.source = stored.source;
            // A decision names the versions of its policies, not those of their templates.
            let template = stored.template.filter(|t| t.updated_at > event.timestamp);
            if let Some(template) = template {
                replayed.notes.push(format!(
                    "its template {} has changed since: tried again with version {}, of {}",
                    template.name,
                    template.version,
                    template.updated_at.format("%Y-%m-%d %H:%M:%S UTC")
                ));
            }
            replayed.take(reply);
        }
        Err(error) => match error.downcast::<Refusal>() {
            Ok(refusal) => {
                from_history(desk, config, request, refusal, &mut replayed).await?;
            }
            Err(error) => return Err(error),
        },
    }
    replayed.judge(event, usage.is_some());
    Ok(replayed)
}

/// A version that workers have no more: its Rego from ClickHouse.
async fn from_history(
    desk: &Desk,
    config: &Config,
    mut request: EvaluateRequest,
    refusal: Refusal,
    replayed: &mut Replayed,
) -> anyhow::Result<()> {
    let PolicyReply { name, version, .. } = replayed.recorded.clone();
    let stored: Option<PolicyRecord> =
        Store::connect(&config.clickhouse).policy_version(&name, version).await?;
    let stored = stored.filter(|record| !record.rego.is_empty());
    let Some(record) = stored else {
        replayed.notes.push(format!(
            "can't be tried again: version {version} isn't available any more ({refusal})"
        ));
        return Ok(());
    };
    request.policies.clear();
    request.rego = Some(record.rego.clone());
    request.parameters = record.parameters;
    replayed.source = Source { name: format!("{name}.rego"), text: record.rego };
    match desk.evaluate(&request).await {
        Ok(reply) => {
            replayed.notes.push(format!("version {version} comes from ClickHouse's history"));
            replayed.take(reply);
        }
        Err(error) => {
            let refusal = error.downcast::<Refusal>()?;
            replayed.notes.push(format!(
                "can't be tried again: version {version} from ClickHouse's history is refused by \
                 today's worker ({refusal})"
            ));
        }
    }
    Ok(())
}

impl Replayed {
    /// Takes what it says now, under the name and mode that it had then.
    fn take(&mut self, reply: EvaluateReply) {
        self.replay = reply.policies.into_iter().next().map(|mut policy| {
            policy.said.name.clone_from(&self.recorded.name);
            policy.said.version = self.recorded.version;
            policy.said.scope.clone_from(&self.recorded.scope);
            policy.said.mode = self.recorded.mode;
            policy
        });
    }

    /// Compares both, and says what may have made a difference.
    fn judge(&mut self, event: &DecisionEvent, usage_known: bool) {
        let Some(replay) = &self.replay else { return };
        let (then, now) = (&self.recorded, &replay.said);
        let agrees = then.decision == now.decision
            && then.deny_reasons == now.deny_reasons
            && then.warnings == now.warnings
            && then.error.is_some() == now.error.is_some();
        self.agrees = Some(agrees);
        let reads_usage = replay
            .reads
            .iter()
            .any(|read| read.path == "input.usage" || read.path.starts_with("input.usage."));
        let blind = reads_usage && !usage_known;
        if blind {
            self.notes.push(
                "it reads input.usage, which was not recorded: tried again without it".to_owned(),
            );
        }
        if agrees {
            return;
        }
        let then = said(then);
        let now = said(now);
        self.notes.push(format!("recorded is {then}; tried again it says {now}"));
        if event.input.contains_key("shortened_from_bytes") {
            self.notes.push(
                "the recorded input was shortened, because the event was too large for the stream"
                    .to_owned(),
            );
        } else if !blind {
            self.notes.push(
                "a limit of the worker's, or another version of the program, may have made the \
                 difference"
                    .to_owned(),
            );
        }
    }
}

/// What a policy said, in a few words.
fn said(policy: &PolicyReply) -> String {
    if let Some(error) = &policy.error {
        return format!("the error \"{error}\"");
    }
    let mut text = policy.decision.as_str().to_owned();
    if !policy.deny_reasons.is_empty() {
        text.push_str(&format!(" ({})", policy.deny_reasons.join(", ")));
    }
    if !policy.warnings.is_empty() {
        text.push_str(&format!(", warnings {}", policy.warnings.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event() -> DecisionEvent {
        let policy = json!({"name": "a", "package": "a", "version": 1, "scope": "global",
            "mode": "enforce", "decision": "deny", "deny_reasons": ["x"], "warnings": []});
        serde_json::from_value(json!({"schema": 1, "id": uuid::Uuid::nil(),
            "timestamp": "2026-03-02T10:00:00Z", "worker": "w", "decision": "deny", "action": "a",
            "resource": "r", "input": {}, "policy_name": "a", "policy_package": "a",
            "policy_revision": "", "policies": [policy], "reason": "x", "deny_reasons": ["x"],
            "warnings": [], "would_deny": [], "enforced": true, "error": false,
            "error_message": "", "duration_us": 1}))
        .unwrap()
    }

    fn judged(reply: &Value, change: impl FnOnce(&mut DecisionEvent)) -> Replayed {
        let mut event = event();
        change(&mut event);
        let mut policy = json!({"parameters": {}, "duration_us": 1});
        for (key, value) in serde_json::to_value(&event.policies[0]).unwrap().as_object().unwrap() {
            policy[key] = value.clone();
        }
        for (key, value) in reply.as_object().unwrap() {
            policy[key] = value.clone();
        }
        let mut replayed = Replayed {
            recorded: event.policies[0].clone(),
            replay: Some(serde_json::from_value(policy).unwrap()),
            agrees: None,
            notes: Vec::new(),
            source: Source::default(),
        };
        replayed.judge(&event, false);
        replayed
    }

    #[test]
    fn what_agrees_needs_no_note() {
        let replayed = judged(&json!({}), |_| ());
        assert_eq!((replayed.agrees, replayed.notes.len()), (Some(true), 0));
    }

    #[test]
    fn what_disagrees_says_what_and_why() {
        let allowed = json!({"decision": "allow", "deny_reasons": []});
        let replayed = judged(&allowed, |_| ());
        assert_eq!(replayed.agrees, Some(false));
        let notes = replayed.notes.join("\n");
        assert!(notes.contains("recorded is deny (x); tried again it says allow"), "{notes}");
        assert!(notes.contains("a limit"), "{notes}");

        let mut reads = allowed.clone();
        reads["reads"] = json!([{"path": "input.usage.calls", "lines": [3]}]);
        let notes = judged(&reads, |_| ()).notes.join("\n");
        assert!(notes.contains("not recorded") && !notes.contains("a limit"), "{notes}");

        let shortened = |event: &mut DecisionEvent| {
            event.input.insert("shortened_from_bytes".into(), json!(2_000_000));
        };
        let notes = judged(&allowed, shortened).notes.join("\n");
        assert!(notes.contains("was shortened") && !notes.contains("a limit"), "{notes}");
    }
}
