//! Reading what AuthZEN's clients send, and making checks of it.

use axum::http::{HeaderMap, header};
use serde_json::{Map, Value, json};

/// Types of subjects that are people; any other one is an agent.
const PEOPLE: [&str; 4] = ["user", "person", "human", "identity"];

/// What is wrong with a request, in a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) String);

fn wrong<T>(message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(message.into()))
}

/// The body, which must be a JSON object and be called one.
pub(super) fn object(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Wrong> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return wrong("the Content-Type must be application/json");
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return wrong("the request is empty");
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => wrong("the request must be a JSON object"),
        Err(error) => wrong(format!("the request isn't JSON: {error}")),
    }
}

/// The four entities of one evaluation, as sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Evaluation {
    subject: Map<String, Value>,
    action: Map<String, Value>,
    resource: Map<String, Value>,
    context: Map<String, Value>,
}

impl Evaluation {
    /// Reads an evaluation; what an item of a batch leaves out comes from the batch. An entity replaces
    /// the batch's whole, but for required members that only the batch's has.
    pub(super) fn read(
        members: &Map<String, Value>,
        defaults: Option<&Map<String, Value>>,
    ) -> Result<Self, Wrong> {
        let entity = |name: &str, required: &[&str]| {
            let own = optional(members, name)?;
            let general = defaults.map_or(Ok(None), |defaults| optional(defaults, name))?;
            let mut entity = match (own, general) {
                (Some(own), _) => own.clone(),
                (None, Some(general)) => general.clone(),
                (None, None) => return wrong(format!("{name} is required")),
            };
            for key in required {
                if let (false, Some(given)) =
                    (entity.contains_key(*key), general.and_then(|general| general.get(*key)))
                {
                    entity.insert((*key).to_owned(), given.clone());
                }
                match entity.get(*key) {
                    Some(Value::String(text)) if !text.is_empty() => (),
                    Some(Value::String(_)) => return wrong(format!("{name}.{key} is empty")),
                    Some(_) => return wrong(format!("{name}.{key} must be a string")),
                    None => return wrong(format!("{name}.{key} is required")),
                }
            }
            if entity.get("properties").is_some_and(|properties| !properties.is_object()) {
                return wrong(format!("{name}.properties must be an object"));
            }
            Ok(entity)
        };
        let context = match optional(members, "context")? {
            Some(own) => own.clone(),
            None => match defaults {
                Some(defaults) => optional(defaults, "context")?.cloned().unwrap_or_default(),
                None => Map::new(),
            },
        };
        Ok(Self {
            subject: entity("subject", &["type", "id"])?,
            action: entity("action", &["name"])?,
            resource: entity("resource", &["type", "id"])?,
            context,
        })
    }

    /// The check: who asks is the subject, whatever the context says. Policies see the evaluation as it
    /// was sent in `input.authzen`.
    pub(super) fn check(&self, caller: &str) -> Map<String, Value> {
        let text = |entity: &Map<String, Value>, key: &str| {
            entity.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let kind = text(&self.subject, "type");
        let who = if PEOPLE.contains(&kind.to_lowercase().as_str()) { "user" } else { "agent" };
        let mut context = self.context.clone();
        context.insert(who.to_owned(), json!(text(&self.subject, "id")));
        context.insert(
            "authzen".to_owned(),
            json!({
                "subject": self.subject,
                "action": self.action,
                "resource": self.resource,
                "context": self.context,
                "caller": caller,
            }),
        );
        // Policies of any door read a resource's members, such as `model` or `path`.
        let mut resource = match self.resource.get("properties") {
            Some(Value::Object(properties)) => properties.clone(),
            _ => Map::new(),
        };
        resource.extend(self.resource.clone());
        [
            ("action".to_owned(), json!(text(&self.action, "name"))),
            ("resource".to_owned(), Value::Object(resource)),
            ("context".to_owned(), Value::Object(context)),
        ]
        .into_iter()
        .collect()
    }
}

/// A member that is an object, if it is there.
pub(super) fn optional<'a>(
    members: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a Map<String, Value>>, Wrong> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => wrong(format!("{name} must be an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: Value) -> Map<String, Value> {
        let Value::Object(members) = value else { panic!("{value}") };
        members
    }

    fn whole() -> Value {
        json!({
            "subject": {"type": "user", "id": "alice", "properties": {"role": "admin"}},
            "action": {"name": "llm_call", "properties": {"soft": true}},
            "resource": {"type": "model", "id": "m-1", "properties": {"model": "gpt-4", "id": "x"}},
            "context": {"user": "mallory", "agent": "planner", "session_id": "s-1"},
            "ignored": 1,
        })
    }

    #[test]
    fn an_evaluation_is_a_check() {
        let check = Evaluation::read(&members(whole()), None).unwrap().check("pep");
        let check = Value::Object(check);
        assert_eq!(check["action"], "llm_call");
        assert_eq!(check["resource"]["model"], "gpt-4");
        assert_eq!(check["resource"]["id"], "m-1", "an entity's own members stand first");
        assert_eq!(check["resource"]["properties"]["id"], "x");
        assert_eq!(check["context"]["user"], "alice", "who asks is the subject");
        assert_eq!(check["context"]["agent"], "planner");
        assert_eq!(check["context"]["session_id"], "s-1");
        let authzen = &check["context"]["authzen"];
        assert_eq!(authzen["subject"]["properties"]["role"], "admin");
        assert_eq!(authzen["action"]["properties"]["soft"], true);
        assert_eq!(authzen["context"]["user"], "mallory", "and what was sent is kept");
        assert_eq!(authzen["caller"], "pep");
        assert!(check.get("ignored").is_none());

        let mut agent = whole();
        agent["subject"]["type"] = json!("service");
        let check = Value::Object(Evaluation::read(&members(agent), None).unwrap().check("pep"));
        assert_eq!(check["context"]["agent"], "alice");
        assert_eq!(check["context"]["user"], "mallory");
    }

    #[test]
    fn each_thing_that_is_wrong_is_named() {
        for (place, value, says) in [
            ("/subject", json!("alice"), "subject must be an object"),
            ("/subject/type", json!(7), "subject.type must be a string"),
            ("/subject/id", json!(""), "subject.id is empty"),
            ("/subject/properties", json!([]), "subject.properties must be an object"),
            ("/action/name", json!(123), "action.name must be a string"),
            ("/resource/type", Value::Null, "resource.type must be a string"),
            ("/context", json!("c"), "context must be an object"),
        ] {
            let mut request = whole();
            *request.pointer_mut(place).unwrap() = value;
            let Wrong(said) = Evaluation::read(&members(request), None).unwrap_err();
            assert_eq!(said, says);
        }
        for name in ["subject", "action", "resource"] {
            let mut request = members(whole());
            request.remove(name);
            let Wrong(said) = Evaluation::read(&request, None).unwrap_err();
            assert_eq!(said, format!("{name} is required"));
        }
    }

    #[test]
    fn an_item_replaces_entities_whole_but_for_what_is_required() {
        let defaults = members(json!({
            "subject": {"type": "user", "id": "alice", "properties": {"role": "admin"}},
            "action": {"name": "read"}, "resource": {"type": "record"}, "context": {"a": 1},
        }));
        let item = members(json!({
            "subject": {"id": "bob"}, "resource": {"id": "record-1"}, "context": {"b": 2},
        }));
        let read = Evaluation::read(&item, Some(&defaults)).unwrap();
        assert_eq!(Value::Object(read.subject), json!({"type": "user", "id": "bob"}));
        assert_eq!(Value::Object(read.resource), json!({"type": "record", "id": "record-1"}));
        assert_eq!(Value::Object(read.context), json!({"b": 2}));
        let Wrong(said) = Evaluation::read(&Map::new(), Some(&defaults)).unwrap_err();
        assert_eq!(said, "resource.id is required");
    }
}
