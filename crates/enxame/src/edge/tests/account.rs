//! An account at the provider: what its firewalls and machines are, and how they behave.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

const MOMENT: &str = "2025-02-27T11:54:00Z";

/// A rule, in the provider's own words.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) id: u64,
    pub(super) action: &'static str,
    pub(super) fields: [String; 4],
}

impl Rule {
    pub(super) fn text(&self) -> String {
        let [protocol, port, _, from] = &self.fields;
        format!("{protocol} {port} {from}")
    }

    fn json(&self) -> Value {
        let [protocol, port, source, source_detail] = &self.fields;
        json!({"id": self.id, "action": self.action, "protocol": protocol, "port": port, "source": source,
               "source_detail": source_detail})
    }

    fn lets_in_ssh(&self, from: IpAddr) -> bool {
        let [protocol, port, source, detail] = &self.fields;
        let is_ssh = protocol == "SSH" || (protocol == "TCP" && port == "22") || protocol == "any";
        is_ssh && self.action == "accept" && (source == "any" || detail.parse() == Ok(from))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Firewall {
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Machine {
    pub(super) address: String,
    pub(super) firewall: Option<u64>,
    /// What filters its packets; `None`: nothing does. It drops what no rule accepts.
    pub(super) in_force: Option<Vec<Rule>>,
    is_synced: bool,
}

#[derive(Clone, Debug)]
struct Action {
    id: u64,
    machine: u64,
    name: &'static str,
    firewall: u64,
    polls_left: u32,
    state: &'static str,
}

/// The account.
#[derive(Default)]
pub(super) struct Account {
    pub(super) firewalls: BTreeMap<u64, Firewall>,
    pub(super) machines: BTreeMap<u64, Machine>,
    actions: Vec<Action>,
    next: u64,
    /// Every set of rules that was ever in force, with its machine.
    pub(super) history: Vec<(u64, Option<Vec<Rule>>)>,
    /// Actions that will end in an error: their name and machine.
    pub(super) failing: Vec<(&'static str, u64)>,
    /// What makes the rules in force those of a real network, where there is one.
    pub(super) enforce: Option<Enforce>,
}

pub(super) type Enforce = Box<dyn Fn(&BTreeMap<u64, Machine>) + Send>;

impl Account {
    pub(super) fn add_machine(&mut self, id: u64, address: &str) {
        let machine =
            Machine { address: address.to_owned(), firewall: None, in_force: None, is_synced: true };
        self.machines.insert(id, machine);
    }

    pub(super) fn add_firewall(&mut self, name: &str, rules: &[(&str, &str, &str)]) -> u64 {
        let id = self.number();
        self.firewalls.insert(id, Firewall { name: name.to_owned(), rules: Vec::new() });
        for (protocol, port, from) in rules {
            let source = if *from == "any" { "any" } else { "custom" };
            self.add_rule(id, [protocol, port, source, from].map(|text| (*text).to_owned()));
        }
        id
    }

    pub(super) fn add_rule(&mut self, firewall: u64, fields: [String; 4]) -> Value {
        let rule = Rule { id: self.number(), action: "accept", fields };
        let json = rule.json();
        self.firewalls.get_mut(&firewall).unwrap().rules.push(rule);
        self.edited(firewall);
        json
    }

    pub(super) fn delete_rule(&mut self, firewall: u64, rule: u64) -> Option<Value> {
        let rules = &mut self.firewalls.get_mut(&firewall)?.rules;
        let index = rules.iter().position(|one| one.id == rule)?;
        rules.remove(index);
        self.edited(firewall);
        Some(json!({"message": "Request accepted"}))
    }

    /// Every edit takes all its machines out of step.
    fn edited(&mut self, firewall: u64) {
        for machine in self.machines.values_mut().filter(|machine| machine.firewall == Some(firewall)) {
            machine.is_synced = false;
        }
    }

    /// Puts a firewall in front of a machine at once, for what was there before a test.
    pub(super) fn install(&mut self, firewall: u64, machine: u64) {
        self.take_effect("activate", firewall, machine);
    }

    pub(super) fn order(&mut self, name: &'static str, firewall: u64, machine: u64) -> Option<Value> {
        self.firewalls.get(&firewall)?;
        let current = self.machines.get(&machine)?.firewall;
        if name != "activate" && current != Some(firewall) {
            return None;
        }
        let action = Action { id: self.number(), machine, name, firewall, polls_left: 3, state: "created" };
        let json = action.json();
        self.actions.push(action);
        Some(json)
    }

    pub(super) fn poll(&mut self, machine: u64, id: u64) -> Option<Value> {
        let action = self.actions.iter_mut().find(|action| action.id == id && action.machine == machine)?;
        if action.polls_left > 0 {
            action.polls_left -= 1;
            action.state = if action.polls_left == 2 { "created" } else { "sent" };
            if action.polls_left == 0 {
                let (name, firewall) = (action.name, action.firewall);
                let fails = self.failing.iter().position(|one| *one == (name, machine));
                action.state = if fails.is_some() { "error" } else { "success" };
                let json = action.json();
                match fails {
                    Some(index) => drop(self.failing.remove(index)),
                    None => self.take_effect(name, firewall, machine),
                }
                return Some(json);
            }
        }
        Some(action.json())
    }

    fn take_effect(&mut self, name: &str, firewall: u64, id: u64) {
        let rules = self.firewalls[&firewall].rules.clone();
        let machine = self.machines.get_mut(&id).unwrap();
        (machine.firewall, machine.in_force) =
            if name == "deactivate" { (None, None) } else { (Some(firewall), Some(rules)) };
        machine.is_synced = true;
        self.history.push((id, machine.in_force.clone()));
        if let Some(enforce) = &self.enforce {
            enforce(&self.machines);
        }
    }

    pub(super) fn firewall_json(&self, id: u64) -> Option<Value> {
        let firewall = self.firewalls.get(&id)?;
        let mut machines = self.machines.values().filter(|machine| machine.firewall == Some(id));
        Some(json!({
            "id": id, "name": firewall.name, "is_synced": machines.all(|machine| machine.is_synced),
            "rules": firewall.rules.iter().map(Rule::json).collect::<Vec<_>>(),
            "created_at": MOMENT, "updated_at": MOMENT,
        }))
    }

    pub(super) fn machines_json(&self) -> Value {
        let machines = self.machines.iter().map(|(id, machine)| {
            json!({"id": id, "firewall_group_id": machine.firewall, "hostname": format!("srv{id}.example"),
                   "state": "running", "actions_lock": "unlocked",
                   "ipv4": [{"id": id, "address": machine.address, "ptr": null}], "ipv6": null})
        });
        machines.collect()
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        1000 + self.next
    }

    /// Whether that machine lets somebody in by SSH now.
    pub(super) fn lets_in_ssh(&self, machine: u64, from: IpAddr) -> bool {
        lets_in_ssh(self.machines[&machine].in_force.as_deref(), from)
    }

    /// What is in force for a machine, in order; `None`: nothing filters.
    pub(super) fn in_force(&self, machine: u64) -> Option<Vec<String>> {
        let mut texts: Vec<String> =
            self.machines[&machine].in_force.as_ref()?.iter().map(Rule::text).collect();
        texts.sort();
        Some(texts)
    }
}

impl Action {
    fn json(&self) -> Value {
        json!({"id": self.id, "name": format!("firewall_{}", self.name), "state": self.state,
               "created_at": MOMENT, "updated_at": MOMENT})
    }
}

/// Whether those rules let somebody in by SSH; no rules at all are no firewall.
pub(super) fn lets_in_ssh(in_force: Option<&[Rule]>, from: IpAddr) -> bool {
    in_force.is_none_or(|rules| rules.iter().any(|rule| rule.lets_in_ssh(from)))
}
