//! A change at Hostinger's edge, in an order that keeps SSH open: new rules are in force before old ones go.
//!
//! Invariant: after a failure the machines have the firewall they had, and it the rules it had, or the error says not.

use enxame_core::edge::{Activation, EdgeChange, Machine, RuleFacts};
use enxame_core::names::NodeName;
use reqwest::Method;
use serde_json::{Value, json};

use super::wire::{self, WireFirewall, WireRule};
use super::{Ask, EdgeError, Hostinger, Observer};

/// A change that is being made.
pub(super) struct Running<'a> {
    edge: &'a Hostinger,
    change: &'a EdgeChange,
    observer: &'a dyn Observer,
    /// The firewall, as soon as there is one.
    firewall: Option<u64>,
    /// Whether a rule may have been made or taken away, or a machine told of the rules.
    is_touched: bool,
    /// The machines that may have been told of the rules.
    told: Vec<Machine>,
    /// The machines that may have got the firewall.
    activated: Vec<&'a Activation>,
}

impl<'a> Running<'a> {
    /// A change of which nothing is done yet.
    pub(super) fn new(edge: &'a Hostinger, change: &'a EdgeChange, observer: &'a dyn Observer) -> Self {
        Self {
            edge,
            change,
            observer,
            firewall: change.firewall,
            is_touched: false,
            told: Vec::new(),
            activated: Vec::new(),
        }
    }

    /// Makes the change, or puts back what was there.
    pub(super) async fn run(mut self) -> Result<(), EdgeError> {
        let Err(cause) = self.carry_out().await else { return Ok(()) };
        if !self.is_touched && self.activated.is_empty() {
            return Err(cause);
        }
        self.observer.tell("it failed; putting back what was there");
        let mut also = self.put_back().await;
        if let EdgeError::ActionIsSlow { action, .. } = &cause {
            also.push(format!("the provider's action {action} may still be carried out"));
        }
        let cause = Box::new(cause);
        Err(if also.is_empty() { EdgeError::PutBack(cause) } else { EdgeError::NotPutBack { cause, also } })
    }

    async fn carry_out(&mut self) -> Result<(), EdgeError> {
        let change = self.change;
        let id = match self.firewall {
            Some(id) => id,
            None => self.make_firewall().await?,
        };
        self.firewall = Some(id);
        for rule in &change.add {
            self.observer.tell(&format!("making rule {rule}"));
            self.is_touched = true;
            let attempt = format!("make the rule {rule}");
            let is_it = |one: &RuleFacts| one.meaning() == Some(*rule);
            self.make_rule(id, &wire::new_rule(rule), is_it, &attempt).await?;
        }
        if !change.add.is_empty() || change.is_out_of_sync {
            self.put_in_force(id, &change.sync).await?;
        }
        for one in &change.activate {
            self.observer.tell(&format!("putting the firewall in front of {}", one.node));
            self.activated.push(one);
            let attempt = format!("activate the firewall for {}", one.node);
            self.edge.order("activate", id, one.id, &attempt).await?;
            self.confirm(&one.node).await?;
        }
        for rule in &change.delete {
            self.observer.tell(&format!("taking away rule {rule}"));
            self.is_touched = true;
            self.edge.delete_rule(id, rule.id, &format!("take away the rule {rule}")).await?;
        }
        if !change.delete.is_empty() {
            self.put_in_force(id, &self.machines_with_it()).await?;
        }
        Ok(())
    }

    /// Those that had the firewall, and those that have got it.
    fn machines_with_it(&self) -> Vec<Machine> {
        let activated = self.activated.iter().map(|one| Machine { id: one.id, node: one.node.clone() });
        self.change.sync.iter().cloned().chain(activated).collect()
    }

    /// One machine after the other, so that a mistake reaches one only.
    async fn put_in_force(&mut self, id: u64, machines: &[Machine]) -> Result<(), EdgeError> {
        for machine in machines {
            self.is_touched = true;
            self.told.push(machine.clone());
            self.observer.tell(&format!("putting the rules in force for {}", machine.node));
            self.sync(id, machine).await?;
            self.confirm(&machine.node).await?;
        }
        Ok(())
    }

    async fn sync(&self, id: u64, machine: &Machine) -> Result<(), EdgeError> {
        let attempt = format!("synchronise the firewall for {}", machine.node);
        self.edge.order("sync", id, machine.id, &attempt).await
    }

    async fn confirm(&self, node: &NodeName) -> Result<(), EdgeError> {
        let refused = |why| EdgeError::Unconfirmed { node: node.to_string(), why };
        self.observer.confirm(node).await.map_err(refused)
    }

    async fn make_firewall(&self) -> Result<u64, EdgeError> {
        let name = &self.change.name;
        self.observer.tell(&format!("making the firewall {name}"));
        let body = json!({"name": name});
        let attempt = format!("make the firewall {name}");
        let ask =
            Ask { method: &Method::POST, path: "/api/vps/v1/firewall", body: Some(&body), attempt: &attempt };
        let client = &self.edge.client;
        let make = async || client.once::<WireFirewall>(ask).await;
        let find = async || {
            let all = self.edge.firewalls().await?;
            Ok(all.into_iter().find(|firewall| &firewall.name == name))
        };
        Ok(client.make(&attempt, make, find).await?.id)
    }

    async fn make_rule(
        &self,
        firewall: u64,
        body: &Value,
        is_it: impl Fn(&RuleFacts) -> bool,
        attempt: &str,
    ) -> Result<(), EdgeError> {
        let path = format!("/api/vps/v1/firewall/{firewall}/rules");
        let ask = Ask { method: &Method::POST, path: &path, body: Some(body), attempt };
        let client = &self.edge.client;
        let make = async || client.once::<WireRule>(ask).await.map(drop);
        let find = async || {
            let seen = self.edge.firewall(firewall).await?;
            Ok(seen.rules.iter().any(&is_it).then_some(()))
        };
        client.make(attempt, make, find).await
    }

    /// Puts back what was there, as much of it as can be; what could not, and why.
    async fn put_back(&self) -> Vec<String> {
        let Some(id) = self.firewall else { return Vec::new() };
        let mut failed = Vec::new();
        let mut note = |outcome: Result<(), EdgeError>| {
            failed.extend(outcome.err().map(|error| error.causes().join(": ")));
        };
        for one in self.activated.iter().rev() {
            note(self.put_back_firewall(id, one).await);
        }
        // A firewall that was made a moment ago is in front of nobody now, and the next apply goes on with it.
        if self.change.firewall.is_none() || !self.is_touched {
            return failed;
        }
        // Else the rules that are listed are not those that filtered: to put them in force may be what cuts SSH.
        let is_known = !self.change.is_out_of_sync;
        note(self.put_back_rules(id, is_known).await);
        let machines = self.change.sync.iter().filter(|machine| is_known || self.told.contains(machine));
        for machine in machines {
            note(self.sync(id, machine).await);
        }
        if !is_known {
            let why = "its rules had been edited and not put in force: what filtered before is not known, and what was added stays";
            failed.push(why.to_owned());
        }
        let lost = self.change.delete.iter().filter(|rule| !rule.accepts());
        failed.extend(lost.map(|rule| format!("the rule {rule} may be gone: the API makes none that drops")));
        failed
    }

    async fn put_back_rules(&self, id: u64, is_added_taken_away: bool) -> Result<(), EdgeError> {
        let there = self.edge.firewall(id).await?.rules;
        let is_there = |old: &RuleFacts| there.iter().any(|rule| rule.id == old.id);
        let gone = self.change.delete.iter().filter(|old| old.accepts() && !is_there(old));
        for old in gone {
            let is_it = |one: &RuleFacts| wire::old_rule(one) == wire::old_rule(old);
            let attempt = format!("make the rule {old} again");
            self.make_rule(id, &wire::old_rule(old), is_it, &attempt).await?;
        }
        if !is_added_taken_away {
            return Ok(());
        }
        // What we made says what no rule said before.
        let is_new =
            |rule: &&RuleFacts| rule.meaning().is_some_and(|meaning| self.change.add.contains(&meaning));
        for new in there.iter().filter(is_new) {
            self.edge.delete_rule(id, new.id, &format!("take away the rule {new} again")).await?;
        }
        Ok(())
    }

    async fn put_back_firewall(&self, id: u64, one: &Activation) -> Result<(), EdgeError> {
        match one.replaces {
            Some(former) => {
                let attempt = format!("activate the former firewall for {}", one.node);
                self.edge.order("activate", former, one.id, &attempt).await
            }
            // An order that failed may have left the machine without it.
            None if self.edge.firewall_of(one.id).await? == Some(id) => {
                let attempt = format!("deactivate the firewall for {}", one.node);
                self.edge.order("deactivate", id, one.id, &attempt).await
            }
            None => Ok(()),
        }
    }
}
