//! OPA's `input` as a check. What has the shape of a check is one; anything else becomes one without
//! losing anything: members stay where policies for OPA look for them, and what can't stand there is
//! in `input.opa.input`.

use serde_json::{Map, Value, json};

use crate::contract::parse::MAX_ACTION_BYTES;

/// The action of an input that has none.
pub(super) const ACTION: &str = "opa_query";

/// Members of the context by which decisions are found again.
const IDENTITY: [&str; 6] = ["agent", "user", "session_id", "run_id", "step_id", "project_id"];
/// Members that mean something else to a worker, so that an input's own must not stand there.
const OTHERS: [&str; 5] = ["timestamp", "parameters", "usage", "package", "opa"];

/// The check for an input. `path` is the document that was asked for, with dots; `package` the policy
/// to add; `caller` whose token it was.
pub(super) fn check(
    input: Option<Value>,
    path: &str,
    package: Option<&str>,
    caller: &str,
) -> Map<String, Value> {
    let mut lost = false;
    let mut request = Map::new();
    let mut context = Map::new();
    if let Some(Value::Object(members)) = &input {
        if let Some(Value::Object(given)) = members.get("context") {
            context.clone_from(given);
        }
        for (key, value) in members {
            match (key.as_str(), value) {
                ("action", Value::String(action))
                    if !action.trim().is_empty() && action.len() <= MAX_ACTION_BYTES => {}
                ("resource", Value::Object(_) | Value::String(_))
                | ("context", Value::Object(_)) => (),
                ("action" | "resource" | "context", _) => {
                    lost = true;
                    continue;
                }
                (other, _) if OTHERS.contains(&other) => {
                    lost = true;
                    continue;
                }
                // The context's member of this name stands in its place.
                (other, value) => lost |= context.get(other).is_some_and(|given| given != value),
            }
            if key != "context" {
                request.insert(key.clone(), value.clone());
            }
        }
        for key in IDENTITY {
            let given = members.get(key).filter(|given| given.is_string() || given.is_number());
            if let (Some(given), false) = (given, context.contains_key(key)) {
                context.insert(key.to_owned(), given.clone());
            }
        }
    } else {
        lost = input.is_some();
    }
    lost |= context.contains_key("opa");
    let mut opa = Map::new();
    opa.insert("path".into(), json!(path));
    opa.insert("caller".into(), json!(caller));
    if let (true, Some(whole)) = (lost, input) {
        opa.insert("input".into(), whole);
    }
    context.insert("opa".into(), Value::Object(opa));
    request.entry("action").or_insert_with(|| json!(ACTION));
    request.entry("resource").or_insert_with(|| json!(path));
    request.insert("context".into(), Value::Object(context));
    if let Some(package) = package {
        request.insert("package".into(), json!(package));
    }
    request
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::contract::{RequestBounds, parse_check};
    use crate::domain::input;

    const BOUNDS: RequestBounds = RequestBounds { bytes: 1 << 20, nesting: 64, batch: 1 };

    /// What policies see of an input.
    fn seen(sent: Option<Value>) -> Value {
        let request = check(sent, "data.a.b", Some("a.b"), "tester");
        let body = serde_json::to_vec(&request).unwrap();
        let check = parse_check(&body, &BOUNDS).unwrap();
        assert_eq!(check.package.as_deref(), Some("a.b"));
        Value::Object(input::build(&check, chrono::DateTime::UNIX_EPOCH))
    }

    #[test]
    fn a_check_is_a_check() {
        let sent = json!({"action": "llm_call", "resource": {"model": "gpt-4"},
            "context": {"agent": "planner", "budget": {"remaining_usd": 0.1}}});
        let seen = seen(Some(sent));
        assert_eq!(seen["action"], "llm_call");
        assert_eq!(seen["model"], "gpt-4");
        assert_eq!(seen["budget"]["remaining_usd"], 0.1);
        assert_eq!(seen["opa"], json!({"path": "data.a.b", "caller": "tester"}));
    }

    #[test]
    fn any_other_object_keeps_its_members_in_their_places() {
        let sent = json!({"method": "GET", "path": ["finance", "alice"], "user": "alice"});
        let seen = seen(Some(sent.clone()));
        for key in ["method", "path", "user"] {
            assert_eq!(seen[key], sent[key]);
        }
        assert_eq!(seen["action"], ACTION);
        assert_eq!(seen["resource"], "data.a.b");
        assert_eq!(seen["context"]["user"], "alice", "who asks is found again");
        assert!(seen["opa"].get("input").is_none(), "nothing is there twice");
    }

    #[test]
    fn what_can_not_stand_in_its_place_is_kept_whole() {
        for sent in [
            json!({"action": {"name": "read"}, "resource": 7, "context": "c"}),
            json!({"package": "c.d", "timestamp": "then", "usage": {"calls": 0}}),
            json!({"user": "a", "context": {"user": "b"}}),
            json!({"context": {"opa": {"caller": "somebody else"}}}),
            json!([1, 2]),
            json!("text"),
            Value::Null,
        ] {
            let seen = seen(Some(sent.clone()));
            assert_eq!(seen["opa"]["input"], sent);
            assert_eq!(seen["opa"]["caller"], "tester");
            assert_ne!(seen["timestamp"], "then");
        }
        assert!(seen(None)["opa"].get("input").is_none());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            proptest::sample::select(
                [&IDENTITY[..], &OTHERS, &["action", "resource", "context"]].concat()
            )
            .prop_map(str::to_owned),
            "[a-z]{1,4}",
        ];
        leaf.prop_recursive(3, 24, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key.clone(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever is sent makes a check that a worker takes, and a policy can read all of it.
        #[test]
        fn nothing_that_was_sent_is_lost(sent in any_json()) {
            let seen = seen(Some(sent.clone()));
            if seen["opa"].get("input") == Some(&sent) {
                return Ok(());
            }
            let members = sent.as_object().expect("anything else is kept whole");
            for (key, value) in members {
                if key == "context" {
                    for (key, value) in value.as_object().unwrap() {
                        prop_assert_eq!(&seen["context"][key], value);
                    }
                } else {
                    prop_assert_eq!(&seen[key], value);
                }
            }
        }
    }
}
