//! What a plan leaves undone because of nodes that do not answer, and what others left unfinished.

use std::collections::{BTreeMap, BTreeSet};

use super::{Plan, Unfinished, Withheld};
use crate::change::{Change, ChangeId, Risk};
use crate::config::Config;
use crate::facts::{ClusterFacts, NodeFacts};
use crate::gate::Shut;
use crate::procedures::Record;

/// What of a node that does not answer is not done.
pub(super) fn of_holes(config: &Config, facts: &ClusterFacts) -> Vec<Withheld> {
    let mut withheld: Vec<Withheld> = facts
        .holes()
        .filter(|(node, _)| config.node(node).is_some())
        .map(|(node, why)| Withheld {
            because_of: node.clone(),
            what: "look at it, and change what differs there".to_owned(),
            why: why.to_owned(),
            is_of_the_node_itself: true,
        })
        .collect();
    if let Some((node, _)) = facts.holes().next().filter(|_| may_hide_a_swarm(facts)) {
        withheld.push(Withheld {
            because_of: node.clone(),
            what: "found the swarm".to_owned(),
            why:
                "no node that answers is in one, and this one may be: two swarms could not be made one again"
                    .to_owned(),
            is_of_the_node_itself: false,
        });
    }
    withheld
}

/// Whether a node that does not answer may be the only one that knows of a swarm.
pub(super) fn may_hide_a_swarm(facts: &ClusterFacts) -> bool {
    !facts.is_whole() && !facts.values().any(NodeFacts::is_swarm_member)
}

/// Takes out what must not be done while a node does not answer: what disturbs another one, and what needs that.
pub(super) fn withhold(config: &Config, facts: &ClusterFacts, plan: &mut Plan) {
    let Some((missing, _)) = facts.holes().next() else { return };
    let mut left_out: BTreeSet<ChangeId> = BTreeSet::new();
    for change in &plan.changes {
        let shut = match &change.risk {
            Risk::Disruptive(_) => change.gates.iter().find_map(|gate| gate.check(config, facts).err()),
            Risk::Safe | Risk::Restarts(_) | Risk::MayCutSsh => None,
        };
        let why = match shut {
            Some(Shut { why, .. }) => why,
            None if change.after.iter().any(|id| left_out.contains(id)) => {
                "it comes after something that is withheld".to_owned()
            }
            None => continue,
        };
        left_out.insert(change.id.clone());
        let what = format!("{}: {}", change.node, change.summary);
        plan.withheld.push(Withheld { because_of: missing.clone(), what, why, is_of_the_node_itself: false });
    }
    let (out, kept): (Vec<Change>, Vec<Change>) =
        std::mem::take(&mut plan.changes).into_iter().partition(|change| left_out.contains(&change.id));
    plan.changes = kept;
    let out: BTreeMap<&ChangeId, &Change> = out.iter().map(|change| (&change.id, change)).collect();
    for change in &mut plan.changes {
        change.behind = behind_without(change, &out);
    }
}

/// Whom a change has its turn behind once others are left out: those that they had theirs behind.
fn behind_without(change: &Change, out: &BTreeMap<&ChangeId, &Change>) -> Vec<ChangeId> {
    let mut open: Vec<&ChangeId> = change.behind.iter().rev().collect();
    let mut seen: BTreeSet<&ChangeId> = change.after.iter().collect();
    let mut behind = Vec::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        match out.get(id) {
            Some(out) => open.extend(out.behind.iter().chain(&out.after)),
            None => behind.push(id.clone()),
        }
    }
    behind
}

/// Nodes that a procedure has drained and not brought back.
pub(super) fn unfinished(config: &Config, facts: &ClusterFacts) -> Vec<Unfinished> {
    let mut swarms = facts.values().filter_map(|facts| facts.engine.swarm());
    let Some(leading) = swarms.find(|swarm| swarm.is_manager_with_quorum) else { return Vec::new() };
    let of_member = |node: &crate::config::NodeConfig| {
        let member = leading.member_at(node.address)?;
        let Record { verb, since_unix_s, .. } = Record::of(member)?;
        let is_drained = member.availability == "drain";
        Some(Unfinished { node: node.name.clone(), verb, since_unix_s, is_drained })
    };
    config.nodes.iter().filter_map(of_member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::areas::machine::reboot;
    use crate::change::Kind;
    use crate::names::NodeName;

    fn change(id: &str, after: &[&str], behind: &[&str]) -> Change {
        let ids = |ids: &[&str]| ids.iter().map(|id| ChangeId((*id).to_owned())).collect();
        Change {
            id: ChangeId(id.to_owned()),
            node: NodeName::new("a").unwrap(),
            kind: Kind::of("test"),
            section: String::new(),
            summary: String::new(),
            reason: String::new(),
            differences: Vec::new(),
            risk: Risk::MayCutSsh,
            after: ids(after),
            behind: ids(behind),
            gates: Vec::new(),
            until: Vec::new(),
            handover: None,
            action: reboot::Action { boot_id: String::new() }.into(),
        }
    }

    #[test]
    fn a_change_behind_one_that_is_left_out_has_its_turn_behind_those_before_it() {
        let (second, third) = (change("second", &["needed"], &["first"]), change("third", &[], &["second"]));
        let out: BTreeMap<&ChangeId, &Change> = [&second, &third].map(|one| (&one.id, one)).into();
        let last = change("last", &["needed"], &["third"]);
        assert_eq!(behind_without(&last, &out), [ChangeId("first".to_owned())]);
        assert_eq!(behind_without(&last, &BTreeMap::new()), [ChangeId("third".to_owned())]);
    }
}
