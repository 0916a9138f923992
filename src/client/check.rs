//! What an agent is about to do, and how it becomes a message.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::decision::Cause;
use super::error::Failure;
use crate::domain::{CheckRequest, Identity};

/// Levels of nesting that are sent; no server takes more.
const MOST_LEVELS: usize = 127;
/// Bytes of each text that stays of a request that can't be sent.
const KEPT_BYTES: usize = 256;

/// An operation to be checked. Whatever it is given, it can be asked: what can't be sent becomes an
/// unchecked call with the cause [`Cause::Unserializable`].
#[derive(Clone, Debug)]
pub struct Check {
    request: CheckRequest,
    /// What could not be made JSON.
    fault: Option<String>,
}

impl Check {
    /// An action, such as `llm_call`, on a resource: an object, or a string.
    pub fn new(action: impl Into<String>, resource: impl Serialize) -> Self {
        let request = CheckRequest { action: action.into(), ..CheckRequest::default() };
        let mut check = Self { request, fault: None };
        check.request.resource = check.value("resource", resource);
        check
    }

    /// The agent.
    #[must_use]
    pub fn agent(self, agent: impl Into<String>) -> Self {
        self.text("agent", agent.into())
    }

    /// The person the agent works for.
    #[must_use]
    pub fn user(self, user: impl Into<String>) -> Self {
        self.text("user", user.into())
    }

    /// The session.
    #[must_use]
    pub fn session(self, id: impl Into<String>) -> Self {
        self.text("session_id", id.into())
    }

    /// The run.
    #[must_use]
    pub fn run(self, id: impl Into<String>) -> Self {
        self.text("run_id", id.into())
    }

    /// The step of the run.
    #[must_use]
    pub fn step(self, id: impl Into<String>) -> Self {
        self.text("step_id", id.into())
    }

    /// The project.
    #[must_use]
    pub fn project(self, id: impl Into<String>) -> Self {
        self.text("project_id", id.into())
    }

    /// A member of the context, for example `estimated_cost_usd`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        let value = self.value(&name, value);
        self.request.context.insert(name, value);
        self
    }

    /// Members of the context, over those that are there.
    #[must_use]
    pub fn context(mut self, members: Map<String, Value>) -> Self {
        self.request.context.extend(members);
        self
    }

    /// The package of a policy to add to those that apply, for example `cmbagent.cost_control`.
    #[must_use]
    pub fn package(mut self, package: impl Into<String>) -> Self {
        self.request.package = Some(package.into());
        self
    }

    /// The action.
    #[must_use]
    pub fn action(&self) -> &str {
        &self.request.action
    }

    fn text(mut self, name: &str, text: String) -> Self {
        self.request.context.insert(name.to_owned(), Value::String(text));
        self
    }

    fn value(&mut self, name: &str, value: impl Serialize) -> Value {
        serde_json::to_value(value).unwrap_or_else(|error| {
            self.fault.get_or_insert_with(|| format!("{name} can't be made JSON: {error}"));
            Value::Null
        })
    }

    pub(super) fn identity(&self) -> Identity {
        self.request.identity()
    }

    /// The message's bytes.
    pub(super) fn encode(&self, most_bytes: usize) -> Result<Bytes, Failure> {
        self.sendable()?;
        let body = serde_json::to_vec(&self.members())
            .map_err(|error| Failure::new(Cause::Unserializable, error.to_string()))?;
        fits(body.len(), most_bytes)?;
        Ok(body.into())
    }

    /// Whether it can be made JSON that any server takes.
    pub(super) fn sendable(&self) -> Result<(), Failure> {
        if let Some(fault) = &self.fault {
            return Err(Failure::new(Cause::Unserializable, fault.clone()));
        }
        let mut values = self.request.context.values().chain([&self.request.resource]);
        if values.any(|value| levels_above(value, MOST_LEVELS - 2)) {
            let message = format!("the request is nested deeper than {MOST_LEVELS} levels");
            return Err(Failure::new(Cause::Unserializable, message));
        }
        Ok(())
    }

    /// The request as it is sent.
    pub(super) fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("action".to_owned(), Value::String(self.request.action.clone()));
        members.insert("resource".to_owned(), self.request.resource.clone());
        members.insert("context".to_owned(), Value::Object(self.request.context.clone()));
        if let Some(package) = &self.request.package {
            members.insert("package".to_owned(), Value::String(package.clone()));
        }
        members
    }

    /// What stays of a request that can't be sent: what was to be done, by whom, in which run.
    pub(super) fn outline(&self) -> Map<String, Value> {
        let identity = self.identity();
        let context = [
            ("agent", identity.agent),
            ("user", identity.user),
            ("session_id", identity.session_id),
            ("run_id", identity.run_id),
            ("step_id", identity.step_id),
            ("project_id", identity.project_id),
        ];
        let context = context.into_iter().filter(|(_, text)| !text.is_empty());
        let context = context.map(|(name, text)| (name.to_owned(), Value::String(cut(text))));
        let mut members = Map::new();
        members.insert("action".to_owned(), Value::String(cut(self.request.action.clone())));
        members.insert("resource".to_owned(), Value::String("(it could not be sent)".to_owned()));
        members.insert("context".to_owned(), Value::Object(context.collect()));
        members
    }
}

/// Whether a body is within a limit of bytes.
pub(super) fn fits(bytes: usize, most: usize) -> Result<(), Failure> {
    if bytes <= most {
        return Ok(());
    }
    Err(Failure::new(
        Cause::Unserializable,
        format!(
            "the request has {bytes} bytes, at most {most} are sent; send names and sizes, not contents"
        ),
    ))
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(KEPT_BYTES));
    text
}

/// Whether a value is nested deeper than so many levels. Without recursion: it is the caller's.
fn levels_above(value: &Value, most: usize) -> bool {
    let mut open = vec![(value, 1)];
    while let Some((value, level)) = open.pop() {
        if level > most {
            return true;
        }
        match value {
            Value::Array(elements) => open.extend(elements.iter().map(|e| (e, level + 1))),
            Value::Object(members) => open.extend(members.values().map(|e| (e, level + 1))),
            _ => (),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::contract::{RequestBounds, parse_check};

    const BOUNDS: RequestBounds = RequestBounds { bytes: 1 << 20, nesting: 128, batch: 1 };

    #[test]
    fn the_server_reads_what_is_sent() {
        let check = Check::new("llm_call", json!({"model": "m"}))
            .agent("a")
            .user("u")
            .session("s")
            .run("r")
            .step("st")
            .project("p")
            .with("estimated_cost_usd", 0.5)
            .package("x.y");
        let read = parse_check(&check.encode(4096).unwrap(), &BOUNDS).unwrap();
        assert_eq!(read, check.request);
        assert_eq!(read.identity().project_id, "p");
    }

    #[test]
    fn what_can_not_be_sent_says_why_and_leaves_an_outline() {
        let keys = BTreeMap::from([(vec![1], 1)]);
        let mut deep = json!(1);
        for _ in 0..200 {
            deep = json!([deep]);
        }
        for (check, why) in [
            (Check::new("a", keys).agent("planner"), "resource can't be made JSON"),
            (Check::new("a", "r").with("deep", deep).agent("planner"), "nested deeper"),
            (Check::new("a", "x".repeat(5_000)).agent("planner"), "bytes, at most 4096"),
        ] {
            let failure = check.encode(4096).unwrap_err();
            assert_eq!(failure.cause, Cause::Unserializable);
            assert!(failure.message.contains(why), "{}", failure.message);
            let outline = serde_json::to_vec(&check.outline()).unwrap();
            let read = parse_check(&outline, &BOUNDS).unwrap();
            assert_eq!((read.action.as_str(), read.identity().agent.as_str()), ("a", "planner"));
        }
        let long = Check::new("é".repeat(1_000), "r").agent("ü".repeat(1_000)).outline();
        assert!(serde_json::to_vec(&long).unwrap().len() < 1_000);
    }

    proptest! {
        #[test]
        fn any_texts_are_read_back(action in "[^ ].{0,40}", resource in any::<String>(), agent in any::<String>()) {
            prop_assume!(!action.trim().is_empty());
            let check = Check::new(action, resource).agent(agent);
            let read = parse_check(&check.encode(1 << 20).unwrap(), &BOUNDS).unwrap();
            prop_assert_eq!(read, check.request);
        }
    }
}
