//! Many checks in few messages.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::Client;
use super::check::{Check, fits};
use super::decision::{Cause, Decision};
use super::error::Failure;
use crate::contract::fault::ServiceError;

/// Checks in one message: their answers fit into one with the usual limit of a megabyte.
const MOST_CHECKS: usize = 200;

/// As in `schemas/check_batch_reply.json`, whatever else a newer server says.
#[derive(Deserialize)]
struct Reply {
    decisions: Vec<Value>,
}

impl Client {
    /// The decisions on many checks, in their order, in as few messages as the limits allow. Each
    /// check is answered on its own: what is said at [`Client::check`] holds for each of them.
    pub async fn check_many(&self, checks: &[Check]) -> Vec<Decision> {
        if self.inner.link.is_none() {
            return checks.iter().map(|_| Decision::disabled()).collect();
        }
        let mut decisions = Vec::with_capacity(checks.len());
        let mut message = Message::default();
        for check in checks {
            let body = check.encode(self.inner.settings.max_request_bytes);
            let body = body.and_then(|body| message.takes(&body, self).map(|room| (body, room)));
            match body {
                Ok((body, true)) => message.add(check, body),
                Ok((body, false)) => {
                    decisions.extend(self.ask_many(std::mem::take(&mut message)).await);
                    message.add(check, body);
                }
                Err(failure) => {
                    // In its place: what was gathered before is answered first.
                    decisions.extend(self.ask_many(std::mem::take(&mut message)).await);
                    decisions.push(self.unchecked(check, failure));
                }
            }
        }
        decisions.extend(self.ask_many(message).await);
        decisions
    }

    async fn ask_many(&self, message: Message<'_>) -> Vec<Decision> {
        if message.checks.is_empty() {
            return Vec::new();
        }
        let subject = match self.inner.settings.agent.as_str() {
            "" => self.inner.subjects.check_batch(),
            agent => self.inner.subjects.check_batch_of(Some(agent)),
        };
        let reply = self.request(subject, message.body()).await;
        let answers = reply.and_then(|reply| {
            let reply: Reply = serde_json::from_slice(&reply).map_err(|error| {
                Failure::invalid_reply(format!("the reply can't be read: {error}"))
            })?;
            let (asked, answered) = (message.checks.len(), reply.decisions.len());
            if asked == answered {
                return Ok(reply.decisions);
            }
            Err(Failure::invalid_reply(format!("{answered} answers to {asked} checks")))
        });
        match answers {
            Ok(answers) => {
                let answered = message.checks.iter().zip(answers);
                answered.map(|(check, answer)| self.one_of_many(check, answer)).collect()
            }
            Err(failure) => {
                let checks = message.checks.iter();
                checks.map(|check| self.unchecked(check, failure.clone())).collect()
            }
        }
    }

    fn one_of_many(&self, check: &Check, answer: Value) -> Decision {
        let fault = answer.get("error").filter(|error| error.is_object());
        let read = match fault.and_then(|_| ServiceError::deserialize(&answer).ok()) {
            Some(fault) => {
                let fault = fault.error;
                let mut failure = Failure::new(
                    Cause::ServiceError,
                    format!("{}: {}", fault.field, fault.message),
                );
                failure.code = Some(fault.code);
                failure.field = fault.field;
                Err(failure)
            }
            None => Decision::from_value(answer).map_err(Failure::invalid_reply),
        };
        match read {
            Ok(decision) => {
                self.inner.counters.checked(1);
                decision
            }
            Err(failure) => self.unchecked(check, failure),
        }
    }
}

/// A message in the making.
#[derive(Default)]
struct Message<'a> {
    checks: Vec<&'a Check>,
    bodies: Vec<Bytes>,
    bytes: usize,
}

const BEGIN: &[u8] = br#"{"checks":["#;
const END: &[u8] = b"]}";

impl<'a> Message<'a> {
    /// Whether there is room for one more; an error if even an empty message has none.
    fn takes(&self, body: &Bytes, client: &Client) -> Result<bool, Failure> {
        let most = client.inner.settings.max_request_bytes;
        let around = BEGIN.len() + END.len() + 1;
        fits(body.len() + around, most)?;
        Ok(self.checks.len() < MOST_CHECKS && self.bytes + body.len() + around <= most)
    }

    fn add(&mut self, check: &'a Check, body: Bytes) {
        self.bytes += body.len() + 1;
        self.checks.push(check);
        self.bodies.push(body);
    }

    fn body(&self) -> Bytes {
        let mut body = Vec::with_capacity(BEGIN.len() + self.bytes + END.len());
        body.extend_from_slice(BEGIN);
        for (index, check) in self.bodies.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(check);
        }
        body.extend_from_slice(END);
        body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_the_server_reads() {
        let checks = [Check::new("a", "r"), Check::new("b", "r")];
        let mut message = Message::default();
        for check in &checks {
            message.add(check, check.encode(1_000).unwrap());
        }
        let bounds = crate::contract::RequestBounds { bytes: 1_000, nesting: 9, batch: 2 };
        let read = crate::contract::parse_batch(&message.body(), &bounds).unwrap();
        let actions: Vec<&str> = read.iter().map(|c| c.as_ref().unwrap().action.as_str()).collect();
        assert_eq!(actions, ["a", "b"]);
        assert!(message.bytes + BEGIN.len() + END.len() >= message.body().len());
    }
}
