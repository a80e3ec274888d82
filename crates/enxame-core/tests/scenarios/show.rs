//! How much of a plan a scenario's snapshot shows: what it is about, so that a change of one area renews only the
//! snapshots of that area.

use std::collections::BTreeSet;

use enxame_core::areas::Action;
use enxame_core::change::ChangeId;
use enxame_core::plan::Plan;

/// An area, as a scenario names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Machine,
    Firewall,
    Engine,
    Swarm,
    Tunnel,
    Storage,
    Stacks,
}

impl Area {
    fn of(action: &Action) -> Self {
        match action {
            Action::Machine(_) => Self::Machine,
            Action::Firewall(_) => Self::Firewall,
            Action::Engine(_) => Self::Engine,
            Action::Swarm(_) => Self::Swarm,
            Action::Tunnel(_) => Self::Tunnel,
            Action::Storage(_) => Self::Storage,
            Action::Stacks(_) => Self::Stacks,
        }
    }
}

/// What a snapshot shows. Findings, what is withheld and what is unfinished are in each.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Show {
    /// Every change: few scenarios, since each change of the program renews them.
    Whole,
    /// The changes of these areas, at least one, and their order among themselves.
    Only(&'static [Area]),
    /// No change: the scenario is about what is said.
    Findings,
    /// Neither changes nor anything said, and that is the point.
    Nothing,
}

impl Show {
    /// The plan with what is shown of it, and how many changes that is, in words.
    pub(crate) fn narrow(self, mut plan: Plan) -> (Plan, String) {
        let says_nothing = plan.findings.is_empty() && plan.withheld.is_empty() && plan.unfinished.is_empty();
        let count = match self {
            Self::Whole => format!("{} changes", plan.changes.len()),
            Self::Only(areas) => {
                plan.changes.retain(|change| areas.contains(&Area::of(&change.action)));
                assert!(!plan.changes.is_empty(), "no change is of {areas:?}: show the findings");
                let of = |area: Area| plan.changes.iter().filter(|one| Area::of(&one.action) == area).count();
                let counts: Vec<String> =
                    areas.iter().map(|area| format!("{} of {area:?}", of(*area))).collect();
                format!("changes: {}", counts.join(", "))
            }
            Self::Findings => {
                assert!(!says_nothing, "nothing is found: show that it is nothing");
                let count = if plan.changes.is_empty() { "no changes" } else { "changes not shown" };
                plan.changes.clear();
                count.to_owned()
            }
            Self::Nothing => {
                assert!(says_nothing && plan.changes.is_empty(), "something is there: {plan:?}");
                "nothing at all".to_owned()
            }
        };
        let shown: BTreeSet<ChangeId> = plan.changes.iter().map(|change| change.id.clone()).collect();
        for change in &mut plan.changes {
            change.after.retain(|id| shown.contains(id));
            change.behind.retain(|id| shown.contains(id));
        }
        (plan, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan_of;

    #[test]
    #[should_panic(expected = "no change is of [Swarm]")]
    fn an_area_in_which_nothing_changes_is_refused() {
        Show::Only(&[Area::Swarm]).narrow(plan_of("a_converged_cluster_needs_nothing"));
    }

    #[test]
    #[should_panic(expected = "nothing is found")]
    fn findings_that_are_not_there_are_refused() {
        Show::Findings.narrow(plan_of("a_node_that_is_drained_is_not_drained_again"));
    }

    #[test]
    #[should_panic(expected = "something is there")]
    fn nothing_must_be_nothing() {
        Show::Nothing.narrow(plan_of("a_lost_label_is_set_again"));
    }
}
