//! Operators who come through the tunnels: whether they get in again, and what would close behind them.

use std::net::IpAddr;

use super::Findings;
use super::access::refuse;
use crate::areas::Action;
use crate::areas::firewall::{self, Firewall, Service};
use crate::areas::tunnel::{self, INTERFACE, interface, key, operator};
use crate::change::Change;
use crate::config::{Config, NodeConfig};
use crate::facts::{ClusterFacts, KeyFacts, NodeFacts, Observed, SshSession};

/// How an operator who comes from outside gets into the tunnels, where there are to be any.
pub(super) fn how_in(config: &Config, facts: &NodeFacts) -> Option<&'static str> {
    config.operators().next()?;
    Some(if config.operators().any(|one| operator::is_let_in(facts, one)) {
        "connect the tunnel first (`enxame tunnel config NAME`), set the nodes' `ssh_host` to their addresses in the tunnels, and \
         apply over it; or add where you are to `ssh.allow_from`"
    } else {
        "let yourself in for one apply (`ssh.allow_from`, or without `ssh.allow_operator: false`), which makes the tunnels; then \
         connect (`enxame tunnel config NAME`), set the nodes' `ssh_host` to their addresses in the tunnels, and close it over them"
    })
}

/// Whether an operator who came through the tunnel gets in that way again. That he is here proves that it carries.
pub(super) fn session(
    (config, firewall): (&Config, &Firewall<'_>),
    node: &NodeConfig,
    session: SshSession,
    found: &mut Findings,
) {
    let from = session.from;
    // Where there are to be no tunnels any more, what takes them away is refused.
    let Some(openings) = firewall.in_the_tunnel(node, Some(session)) else { return };
    if firewall::admits(&openings, from, Service::Tcp(session.port)) {
        return;
    }
    let message = if config.nodes.iter().any(|node| node.tunnel.is_some_and(|address| from == address)) {
        format!("would not let you in any more: you come through {INTERFACE} from {from}, which is a node's")
    } else {
        format!(
            "would not let you in any more: you come through {INTERFACE} from {from}, which is no operator's address"
        )
    };
    let hint = "name yourself in `tunnel.operators` with that address; or apply from a public one that `ssh.allow_from` names";
    refuse(&node.name, message, hint, found);
}

/// Changes of the tunnel that an operator comes through: nothing puts them back when he is cut off.
pub(super) fn changes(facts: &ClusterFacts, changes: &[Change], found: &mut Findings) {
    for change in changes {
        let Action::Tunnel(action) = &change.action else { continue };
        let Some(seen) = facts.get(&change.node) else { continue };
        let Some(session) = seen.ssh_session.filter(|session| tunnel::carries(seen, *session)) else {
            continue;
        };
        let cut = match action {
            tunnel::Action::Key(action) => new_key(seen, action),
            tunnel::Action::Interface(action) => of_interface(seen, session.from, action),
            tunnel::Action::Removal(_) => {
                let hint = "come from a public address that `ssh.allow_from` names, with the node's own as `ssh_host` again";
                Some(("it goes".to_owned(), hint))
            }
        };
        if let Some((why, hint)) = cut {
            let message = format!("would cut you off: you come through {INTERFACE}, and {why}");
            refuse(&change.node, message, hint, found);
        }
    }
}

fn new_key(seen: &NodeFacts, action: &key::Action) -> Option<(String, &'static str)> {
    let is_kept = matches!(seen.tunnel.key, KeyFacts::Usable { .. }) && !action.renew;
    (!is_kept).then(|| {
        let hint = "with --allow-ssh-cut the node gets it; `enxame tunnel config NAME` then has it from its peers, for your own file";
        ("the node makes another key".to_owned(), hint)
    })
}

fn of_interface(
    seen: &NodeFacts,
    from: IpAddr,
    action: &interface::Action,
) -> Option<(String, &'static str)> {
    let Observed::Known(Some(device)) = &seen.tunnel.interface else { return None };
    if device.port != action.port {
        let hint = "apply from a public address that `ssh.allow_from` names; or --allow-ssh-cut, and write the new port into your \
                    own file";
        return Some((format!("its port becomes {}", action.port), hint));
    }
    if action.how == interface::How::Restart {
        let hint = "apply from a public address that `ssh.allow_from` names; or --allow-ssh-cut, and write the new address into \
                    your own file and as `ssh_host`";
        return Some(("the node's address in it becomes another".to_owned(), hint));
    }
    if device.public_key.as_ref() != seen.tunnel.key.public() && seen.tunnel.key.public().is_some() {
        let hint = "`enxame tunnel config NAME` has it already, for your own file; with --allow-ssh-cut it comes into force";
        return Some(("the key that the node has made comes into force".to_owned(), hint));
    }
    let key = operator::key_in_force(seen, from)?;
    let stays = |operator: &tunnel::conf::Operator| from == operator.address && operator.key == *key;
    let is_replaced = action.operators.iter().any(|operator| from == operator.address);
    (is_replaced && !action.operators.iter().any(stays)).then(|| {
        let hint = "write the new key as an operator of its own, with another address; connect with that, and then take the old one \
                    away";
        ("your key becomes another".to_owned(), hint)
    })
}
