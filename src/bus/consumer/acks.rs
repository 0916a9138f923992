//! Telling the server what became of a message.

use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::AckKind;
use bytes::Bytes;

use crate::bus::connection::Connection;
use crate::bus::error::BusError;

/// By which one delivered message is acknowledged.
#[derive(Clone, Debug)]
pub struct Ticket(Subject);

impl Ticket {
    pub(super) const fn new(reply: Subject) -> Self {
        Self(reply)
    }
}

/// Acknowledges delivered messages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Acks {
    connection: Connection,
    timeout: Duration,
}

impl Acks {
    pub(super) fn new(connection: &Connection, timeout: Duration) -> Self {
        Self { connection: connection.clone(), timeout }
    }

    /// Done with it. Not confirmed: if it gets lost, the message comes again.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn done(&self, ticket: &Ticket) -> Result<(), BusError> {
        self.say(ticket, AckKind::Ack).await
    }

    /// Done with it, and the server says that it knows. What was acknowledged before over the same
    /// connection it knows then, too.
    ///
    /// # Errors
    /// When the server doesn't answer in time.
    pub async fn done_confirmed(&self, ticket: &Ticket) -> Result<(), BusError> {
        let request = async_nats::Request::new()
            .payload(Bytes::from(AckKind::Ack))
            .timeout(Some(self.timeout));
        self.connection
            .client
            .send_request(ticket.0.clone(), request)
            .await
            .map(|_| ())
            .map_err(|error| BusError::request("confirming an acknowledgement", &error))
    }

    /// Still at it: don't deliver again.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn working(&self, ticket: &Ticket) -> Result<(), BusError> {
        self.say(ticket, AckKind::Progress).await
    }

    /// Never deliver it again, though nothing was done with it.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn never(&self, ticket: &Ticket) -> Result<(), BusError> {
        self.say(ticket, AckKind::Term).await
    }

    /// Not done with it: deliver it again, to whoever reads.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn again(&self, ticket: &Ticket) -> Result<(), BusError> {
        self.say(ticket, AckKind::Nak(None)).await
    }

    async fn say(&self, ticket: &Ticket, what: AckKind) -> Result<(), BusError> {
        self.connection
            .client
            .publish(ticket.0.clone(), what.into())
            .await
            .map_err(|error| BusError::request("acknowledging", &error))
    }
}
