//! Hostinger's edge, through its API (developers.hostinger.com).
//!
//! What the API does not say and this relies on: a firewall drops what no rule accepts; a machine has one firewall;
//! an edit is in force on a machine only after `sync`; `sync` and `activate` may be repeated.

mod change;
mod wire;

use std::net::IpAddr;

use enxame_core::config::Config;
use enxame_core::edge::{EdgeChange, EdgeFacts, FirewallFacts, MachineFacts};
use futures::future::LocalBoxFuture;
use reqwest::Method;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::client::{Ask, Client};
use super::error::Fault;
use super::{Edge, EdgeError, Observer};
use wire::{ActionState, Page, WireAction, WireFirewall, WireMachine};

/// A provider that counts its pages wrongly is left after these.
const MOST_PAGES: usize = 200;

/// The provider, by its API.
pub(super) struct Hostinger {
    client: Client,
}

impl Edge for Hostinger {
    fn look<'a>(&'a self, config: &'a Config) -> LocalBoxFuture<'a, Result<EdgeFacts, EdgeError>> {
        Box::pin(self.facts(config))
    }

    fn apply<'a>(
        &'a self,
        change: &'a EdgeChange,
        observer: &'a dyn Observer,
    ) -> LocalBoxFuture<'a, Result<(), EdgeError>> {
        Box::pin(change::Running::new(self, change, observer).run())
    }
}

impl Hostinger {
    /// The provider behind that client.
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    async fn facts(&self, config: &Config) -> Result<EdgeFacts, EdgeError> {
        let name = &config.firewall.edge.firewall;
        let firewalls = self.firewalls().await?;
        let id = match firewalls.iter().filter(|firewall| &firewall.name == name).collect::<Vec<_>>()[..] {
            [] => None,
            [only] => Some(only.id),
            ref several => {
                return Err(EdgeError::Ambiguous { name: name.clone(), count: several.len() });
            }
        };
        let machines = self.machines().await?;
        let firewall = match id {
            Some(id) => Some(self.firewall(id).await?),
            None => None,
        };
        let of_node = |address: IpAddr| machines.iter().find(|machine| machine.has(address));
        let nodes = config.nodes.iter().filter_map(|node| {
            let machine = of_node(node.address)?;
            let is_locked = machine.is_locked();
            let facts = MachineFacts { id: machine.id, firewall: machine.firewall_group_id, is_locked };
            Some((node.name.clone(), facts))
        });
        let is_node = |machine: &WireMachine| config.nodes.iter().any(|node| machine.has(node.address));
        let strangers = machines.iter().filter(|machine| id.is_some() && machine.firewall_group_id == id);
        let strangers = strangers.filter(|machine| !is_node(machine));
        Ok(EdgeFacts {
            provider: "hostinger".to_owned(),
            firewall,
            machines: nodes.collect(),
            strangers: strangers.map(|machine| (machine.id, machine.hostname.clone())).collect(),
            names: firewalls.into_iter().map(|firewall| (firewall.id, firewall.name)).collect(),
        })
    }

    async fn machines(&self) -> Result<Vec<WireMachine>, EdgeError> {
        self.get("/api/vps/v1/virtual-machines", "list the account's virtual machines").await
    }

    /// The firewall that is active for a machine.
    async fn firewall_of(&self, machine: u64) -> Result<Option<u64>, EdgeError> {
        let machines = self.machines().await?;
        Ok(machines.into_iter().find(|one| one.id == machine).and_then(|one| one.firewall_group_id))
    }

    /// All firewalls of the account, from all pages.
    async fn firewalls(&self) -> Result<Vec<WireFirewall>, EdgeError> {
        let mut all = Vec::new();
        for page in 1..=MOST_PAGES {
            let path = format!("/api/vps/v1/firewall?page={page}");
            let page: Page = self.get(&path, "list the account's firewalls").await?;
            let is_last = page.data.is_empty();
            all.extend(page.data);
            if is_last || page.meta.total.is_some_and(|total| all.len() >= total) {
                break;
            }
        }
        Ok(all)
    }

    async fn firewall(&self, id: u64) -> Result<FirewallFacts, EdgeError> {
        let path = format!("/api/vps/v1/firewall/{id}");
        let firewall: WireFirewall = self.get(&path, "read the firewall's rules").await?;
        let rules = firewall.rules.into_iter().map(Into::into).collect();
        Ok(FirewallFacts { id: firewall.id, is_synced: firewall.is_synced, rules })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, attempt: &str) -> Result<T, EdgeError> {
        self.client.ask(Ask { method: &Method::GET, path, body: None, attempt }).await
    }

    /// Takes a rule away; one that is gone already is no error.
    async fn delete_rule(&self, firewall: u64, rule: u64, attempt: &str) -> Result<(), EdgeError> {
        let path = format!("/api/vps/v1/firewall/{firewall}/rules/{rule}");
        let ask = Ask { method: &Method::DELETE, path: &path, body: None, attempt };
        match self.client.ask::<serde_json::Value>(ask).await {
            Err(EdgeError::Request { fault: Fault::Status { status: 404, .. }, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// `activate`, `deactivate` or `sync`, and waits until the provider has done it.
    async fn order(&self, verb: &str, firewall: u64, machine: u64, attempt: &str) -> Result<(), EdgeError> {
        let path = format!("/api/vps/v1/firewall/{firewall}/{verb}/{machine}");
        let ask = Ask { method: &Method::POST, path: &path, body: None, attempt };
        let mut action: WireAction = self.client.ask(ask).await?;
        let patience = self.client.patience;
        let end = Instant::now() + patience.action;
        loop {
            match action.state {
                ActionState::Success => return Ok(()),
                ActionState::Error => {
                    return Err(EdgeError::ActionFailed { attempt: attempt.to_owned(), action: action.id });
                }
                ActionState::Going if Instant::now() > end => {
                    let after = patience.action;
                    return Err(EdgeError::ActionIsSlow {
                        attempt: attempt.to_owned(),
                        action: action.id,
                        after,
                    });
                }
                ActionState::Going => {}
            }
            sleep(patience.poll).await;
            let path = format!("/api/vps/v1/virtual-machines/{machine}/actions/{}", action.id);
            action = self.get(&path, attempt).await?;
        }
    }
}
