//! All ways of a run, by who goes them and to which server.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::error::ChaosError;
use super::proxy::{Proxy, State};
use super::schedule::{Component, Way};

/// Who goes a way: those of [`Way`], or this process itself, whose ways are never cut.
type Traveller = Option<Way>;

/// All ways.
#[derive(Debug)]
pub(super) struct Ways(BTreeMap<(Traveller, Component), Proxy>);

impl Ways {
    /// Opens a way for everybody to every server that they need.
    pub(super) async fn open(servers: &[Component]) -> Result<Self, ChaosError> {
        let mut ways = BTreeMap::new();
        for server in servers {
            let travellers: &[Traveller] = match server {
                Component::Nats(_) => &[
                    None,
                    Some(Way::ClientsToNats),
                    Some(Way::WorkersToNats),
                    Some(Way::SinksToNats),
                    Some(Way::AlerterToNats),
                ],
                Component::ClickHouse => &[None, Some(Way::SinksToClickHouse)],
                _ => &[],
            };
            for traveller in travellers {
                ways.insert((*traveller, *server), Proxy::start().await?);
            }
        }
        Ok(Self(ways))
    }

    /// A server listens here from now on.
    pub(super) fn lead_to(&self, server: Component, address: SocketAddr) {
        for ((_, to), proxy) in &self.0 {
            if *to == server {
                proxy.lead_to(address);
            }
        }
    }

    /// Changes a way to all servers that it leads to.
    pub(super) fn set(&self, way: Way, state: State) {
        for ((traveller, _), proxy) in &self.0 {
            if *traveller == Some(way) {
                proxy.set(state);
            }
        }
    }

    /// The URLs of NATS for one who goes this way.
    pub(super) fn nats_url(&self, traveller: Traveller) -> String {
        let of_way = self
            .0
            .iter()
            .filter(|((who, to), _)| *who == traveller && matches!(to, Component::Nats(_)));
        let urls: Vec<String> =
            of_way.map(|(_, proxy)| format!("nats://{}", proxy.address())).collect();
        urls.join(",")
    }

    /// The URL of ClickHouse for one who goes this way.
    pub(super) fn clickhouse_url(&self, traveller: Traveller) -> String {
        let proxy = self.0.get(&(traveller, Component::ClickHouse));
        proxy.map_or_else(String::new, |proxy| format!("http://{}", proxy.address()))
    }
}
