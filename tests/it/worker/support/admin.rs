//! Who manages policies over NATS, as any client would; and who writes into the bucket by hand.

use async_nats::jetstream::{self, kv};
use serde_json::{Value, json};

use super::agent::{Agent, Refusal, decided, refusal};

/// A person with an author's name.
#[derive(Clone)]
pub(crate) struct Admin {
    agent: Agent,
    author: String,
}

impl Admin {
    pub(crate) fn new(agent: &Agent, author: &str) -> Self {
        Self { agent: agent.clone(), author: author.to_owned() }
    }

    async fn ask(&self, verb: &str, request: &Value) -> async_nats::Message {
        self.agent.on(&format!("policy.admin.{verb}")).ask(request.to_string()).await
    }

    /// The answer to a request.
    pub(crate) async fn does(&self, verb: &str, request: Value) -> Value {
        decided(&self.ask(verb, &request).await)
    }

    /// The refusal of a request.
    pub(crate) async fn refused(&self, verb: &str, request: Value) -> Refusal {
        refusal(&self.ask(verb, &request).await)
    }

    /// The answer or the refusal.
    pub(crate) async fn tries(&self, verb: &str, request: Value) -> Result<Value, Refusal> {
        let message = self.ask(verb, &request).await;
        match super::agent::header(&message, "Nats-Service-Error-Code") {
            None => Ok(decided(&message)),
            Some(_) => Err(refusal(&message)),
        }
    }

    /// The answer or the refusal, if one comes.
    pub(crate) async fn attempts(
        &self,
        verb: &str,
        request: Value,
    ) -> Option<Result<Value, Refusal>> {
        let agent = self.agent.on(&format!("policy.admin.{verb}"));
        let message = agent.try_ask(&request, std::time::Duration::from_secs(5)).await.ok()?;
        Some(match super::agent::header(&message, "Nats-Service-Error-Code") {
            None => Ok(decided(&message)),
            Some(_) => Err(refusal(&message)),
        })
    }

    /// A new policy of package `test.<name>` with these rules, active.
    pub(crate) async fn puts(&self, name: &str, rules: &str) -> Value {
        self.does("put", self.put_of(name, rules)).await
    }

    /// The request that makes it.
    pub(crate) fn put_of(&self, name: &str, rules: &str) -> Value {
        json!({"policy": {"name": name, "rego": rego(name, rules), "status": "active"},
            "change": self.change()})
    }

    /// Changes members of a policy.
    pub(crate) async fn patches(&self, policy: &str, changes: Value) -> Value {
        let request = json!({"policy": policy, "changes": changes, "change": self.change()});
        self.does("patch", request).await
    }

    /// Who makes a change and why.
    pub(crate) fn change(&self) -> Value {
        json!({"author": self.author, "comment": "because"})
    }

    /// One policy as it is.
    pub(crate) async fn gets(&self, policy: &str) -> Value {
        self.does("get", json!({"policy": policy})).await
    }
}

/// Rego of package `test.<name>`.
pub(crate) fn rego(name: &str, rules: &str) -> String {
    format!("package test.{name}\n\nimport rego.v1\n\n{rules}\n")
}

/// The bucket, behind the back of the workers.
pub(crate) async fn bucket(agent: &Agent) -> kv::Store {
    jetstream::new(agent.client.clone()).get_key_value("policy_rules").await.unwrap()
}
