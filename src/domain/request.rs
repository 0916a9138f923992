//! A permission check as an agent asks it.

use serde_json::{Map, Value};

/// One "may I?": an action on a resource in a context.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckRequest {
    /// What the agent is about to do, for example `llm_call`.
    pub action: String,
    /// What it is about to do it to: an object, or a string.
    pub resource: Value,
    /// Who asks, in which run, and whatever else policies may want to know.
    pub context: Map<String, Value>,
    /// Package of a policy to add to those that apply.
    pub package: Option<String>,
    /// Members of the request that the contract doesn't name; policies see them.
    pub extra: Map<String, Value>,
}

/// Who asked, and in which run of what: the columns by which decisions are found again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The agent.
    pub agent: String,
    /// The person the agent works for.
    pub user: String,
    /// The session.
    pub session_id: String,
    /// The run.
    pub run_id: String,
    /// The step of the run.
    pub step_id: String,
    /// The project.
    pub project_id: String,
}

impl Identity {
    /// The one who asks, as AuthZEN calls it: the agent, else the user.
    #[must_use]
    pub fn subject(&self) -> &str {
        if self.agent.is_empty() { &self.user } else { &self.agent }
    }
}

impl CheckRequest {
    /// Reads the identity from the context. Numbers count as their decimal text, since callers
    /// number their runs; anything else that isn't a string is left out.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let text = |key: &str| match self.context.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        Identity {
            agent: text("agent"),
            user: text("user"),
            session_id: text("session_id"),
            run_id: text("run_id"),
            step_id: text("step_id"),
            project_id: text("project_id"),
        }
    }

    /// The resource as one line of text for people and for a column: the string itself, or the
    /// member that names it (`path`, `url`, `model`, `name`, `id`), or its JSON.
    #[must_use]
    pub fn resource_text(&self) -> String {
        match &self.resource {
            Value::String(text) => text.clone(),
            Value::Object(members) => ["path", "url", "model", "name", "id"]
                .iter()
                .find_map(|key| members.get(*key).and_then(Value::as_str))
                .map_or_else(|| self.resource.to_string(), ToOwned::to_owned),
            other => other.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(resource: Value, context: Value) -> CheckRequest {
        let Value::Object(context) = context else { panic!("the context is an object") };
        CheckRequest { action: "llm_call".into(), resource, context, ..CheckRequest::default() }
    }

    #[test]
    fn identity_takes_strings_and_numbers_and_nothing_else() {
        let identity = request(
            json!({}),
            json!({"agent": "planner", "run_id": 42, "session_id": ["s"], "user": null}),
        )
        .identity();
        assert_eq!(identity.agent, "planner");
        assert_eq!(identity.run_id, "42");
        assert_eq!(identity.session_id, "");
        assert_eq!(identity.subject(), "planner");
    }

    #[test]
    fn subject_falls_back_to_the_user() {
        assert_eq!(request(json!({}), json!({"user": "alice"})).identity().subject(), "alice");
    }

    #[test]
    fn resource_text_prefers_what_names_the_resource() {
        let text = |resource| request(resource, json!({})).resource_text();
        assert_eq!(text(json!("/tmp/a")), "/tmp/a");
        assert_eq!(text(json!({"mode": "r", "path": "/tmp/a"})), "/tmp/a");
        assert_eq!(text(json!({"model": "gpt-4", "prompt_length": 3})), "gpt-4");
        assert_eq!(text(json!({"rows": 3})), r#"{"rows":3}"#);
    }
}
