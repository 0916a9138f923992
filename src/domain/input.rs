//! The Rego `input` of a check: the request, the worker's time, and the context's members lifted
//! to the top so that policies read `input.budget` instead of `input.context.budget`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::request::CheckRequest;

/// Members of `input` that belong to the system; nothing lifted may take their place.
pub const RESERVED: [&str; 6] =
    ["action", "resource", "context", "timestamp", "parameters", "usage"];

/// The worker's clock as policies see it: RFC 3339 in UTC, with microseconds.
#[must_use]
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Builds the input that every policy shares; `parameters` are each policy's own and are added by
/// the engine.
///
/// Precedence at the top level: reserved names, then the context's members, then the request's
/// members that the contract doesn't name, then the aliases (`estimated_cost` is also readable as
/// `estimated_cost_usd`, and `resource.model` as `model`).
#[must_use]
pub fn build(request: &CheckRequest, at: DateTime<Utc>) -> Map<String, Value> {
    let mut input = Map::new();
    let free = |key: &str| !RESERVED.contains(&key);
    for (key, value) in request.extra.iter().filter(|(key, _)| free(key)) {
        input.insert(key.clone(), value.clone());
    }
    for (key, value) in request.context.iter().filter(|(key, _)| free(key)) {
        input.insert(key.clone(), value.clone());
    }
    let estimate = input.get("estimated_cost").cloned();
    if let (Some(cost), false) = (estimate, input.contains_key("estimated_cost_usd")) {
        input.insert("estimated_cost_usd".into(), cost);
    }
    let model = request.resource.get("model").cloned();
    if let (Some(model), false) = (model, input.contains_key("model")) {
        input.insert("model".into(), model);
    }
    input.insert("action".into(), Value::String(request.action.clone()));
    input.insert("resource".into(), request.resource.clone());
    input.insert("context".into(), Value::Object(request.context.clone()));
    input.insert("timestamp".into(), Value::String(timestamp(at)));
    input
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn request(body: &Value) -> CheckRequest {
        CheckRequest {
            action: body["action"].as_str().unwrap_or("act").into(),
            resource: body["resource"].clone(),
            context: body["context"].as_object().cloned().unwrap_or_default(),
            package: None,
            extra: body["extra"].as_object().cloned().unwrap_or_default(),
        }
    }

    fn built(body: Value) -> Value {
        Value::Object(build(&request(&body), DateTime::UNIX_EPOCH))
    }

    #[test]
    fn lifts_the_context_and_keeps_it() {
        let input = built(json!({"action": "llm_call", "resource": {"model": "gpt-4"},
            "context": {"budget": {"remaining_usd": 0.5}, "estimated_cost": 1.0}}));
        assert_eq!(input["budget"]["remaining_usd"], json!(0.5));
        assert_eq!(input["context"]["budget"]["remaining_usd"], json!(0.5));
        assert_eq!(input["estimated_cost_usd"], json!(1.0));
        assert_eq!(input["model"], json!("gpt-4"));
        assert_eq!(input["timestamp"], json!("1970-01-01T00:00:00.000000Z"));
    }

    #[test]
    fn aliases_never_replace_what_is_there() {
        let input = built(json!({"resource": {"model": "gpt-4"},
            "context": {"model": "local", "estimated_cost": 1.0, "estimated_cost_usd": 2.0}}));
        assert_eq!(input["model"], json!("local"));
        assert_eq!(input["estimated_cost_usd"], json!(2.0));
    }

    #[test]
    fn the_context_wins_over_members_nobody_named() {
        let input = built(json!({"resource": "x", "context": {"agent": "planner"},
            "extra": {"agent": "impostor", "trace": 7, "usage": {"calls_in_window": 0}}}));
        assert_eq!(input["agent"], json!("planner"));
        assert_eq!(input["trace"], json!(7));
        assert!(input.get("usage").is_none(), "only the system says what the usage is");
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn key() -> impl Strategy<Value = String> {
        prop_oneof![
            proptest::sample::select(
                [&RESERVED[..], &["model", "estimated_cost", "estimated_cost_usd", "agent"]]
                    .concat()
            )
            .prop_map(str::to_owned),
            "[a-z_]{1,6}",
        ]
    }

    fn members() -> impl Strategy<Value = Map<String, Value>> {
        proptest::collection::btree_map(key(), json_value(), 0..8)
            .prop_map(|members| members.into_iter().collect())
    }

    proptest! {
        /// Whatever the caller sends: the system's names hold the system's values, every other
        /// context member is readable at the top, and the context itself is untouched.
        #[test]
        fn reserved_names_hold_and_nothing_is_lost(
            action in ".{0,8}", resource in json_value(), context in members(), extra in members(),
        ) {
            let request = CheckRequest { action, resource, context, package: None, extra };
            let input = build(&request, DateTime::UNIX_EPOCH);
            prop_assert_eq!(&input["action"], &Value::String(request.action.clone()));
            prop_assert_eq!(&input["resource"], &request.resource);
            prop_assert_eq!(&input["context"], &Value::Object(request.context.clone()));
            prop_assert!(!input.contains_key("parameters") && !input.contains_key("usage"));
            for (key, value) in request.context.iter().filter(|(key, _)| !RESERVED.contains(&key.as_str())) {
                prop_assert_eq!(&input[key], value);
            }
            for (key, value) in request.extra.iter().filter(|(key, _)| !RESERVED.contains(&key.as_str())) {
                if !request.context.contains_key(key) {
                    prop_assert_eq!(&input[key], value);
                }
            }
        }
    }
}
