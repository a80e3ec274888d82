//! What ufw's files and chains are to be, from the openings: decided with the plan, and made again on the node from what the
//! action carries.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::super::guard_table::PUBLISHED_CHAIN;
use super::super::ufw_rules::{self as ufw, Family};
use super::super::{Firewall, NoNetwork, Opening, Service, Source, docker_user, public_interfaces};
use crate::areas::tunnel::INTERFACE;
use crate::change::Difference;
use crate::config::ForeignRules;
use crate::declare::View;
use crate::facts::TableFacts;

/// What one family's files and chains are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Our rules, as they stand in ufw's file.
    pub rules: Vec<String>,
    /// The same as the kernel shows them.
    saved: Vec<String>,
    /// Ours in `DOCKER-USER`.
    pub docker_user: Vec<String>,
    /// The chain that those hand to.
    pub published: Vec<String>,
}

/// Openings for the same sources: those are as many as the cluster has nodes, and are written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    from: String,
    what: Vec<(Service, Cow<'static, str>)>,
}

pub(super) fn allowed(openings: &[Opening]) -> Vec<Allowed> {
    let alike = openings.chunk_by(|one, other| one.source == other.source);
    let what = |opening: &Opening| (opening.service, opening.purpose.clone());
    let group = |group: &[Opening]| {
        let from = group.first().map(|opening| opening.source.to_string()).unwrap_or_default();
        Allowed { from, what: group.iter().map(what).collect() }
    };
    alike.map(group).collect()
}

pub(super) fn openings(allowed: &[Allowed]) -> Result<Vec<Opening>, NoNetwork> {
    let mut openings = Vec::new();
    for Allowed { from, what } in allowed {
        let source: Source = from.parse()?;
        openings.extend(what.iter().map(|(service, purpose)| Opening {
            service: *service,
            source: source.clone(),
            purpose: purpose.clone(),
        }));
    }
    Ok(openings)
}

/// What is let in, before it becomes one family's rules.
pub(super) struct Wishes {
    pub(super) node: Vec<Opening>,
    pub(super) containers: Vec<Opening>,
    /// By the tunnels between the nodes alone.
    pub(super) tunnel: Vec<Opening>,
    pub(super) interfaces: Vec<String>,
}

impl Wishes {
    pub(super) fn of(view: &View<'_>, firewall: &Firewall<'_>) -> Self {
        let interfaces = public_interfaces(view.node, view.facts);
        Self {
            node: firewall.on_node(view.node, view.facts.ssh_session),
            containers: firewall.to_containers(view.node),
            tunnel: firewall.in_the_tunnel(view.node, view.facts.ssh_session).unwrap_or_default(),
            interfaces: interfaces.into_iter().map(|interface| interface.name.clone()).collect(),
        }
    }

    pub(super) fn wanted(&self, family: Family) -> Wanted {
        let of_all = |of: fn(&[Opening], Family, Option<&str>) -> Vec<String>| {
            let mut rules = of(&self.node, family, None);
            rules.extend(of(&self.tunnel, family, Some(INTERFACE)));
            rules
        };
        Wanted {
            rules: of_all(ufw::rules),
            saved: of_all(ufw::saved),
            docker_user: docker_user::jumps(self.interfaces.iter().map(String::as_str), PUBLISHED_CHAIN),
            published: docker_user::published(&self.containers, family),
        }
    }
}

impl Wanted {
    /// The block in ufw's `after.rules`.
    #[must_use]
    pub fn block(&self) -> String {
        docker_user::tables(&self.docker_user, &self.published, PUBLISHED_CHAIN)
    }

    /// What of the kernel's table is not as wanted; `loaded` is what the file has for `ufw-user-input`.
    pub(super) fn differences(
        &self,
        now: &TableFacts,
        loaded: ufw::Loaded,
        (family, fate): (Family, ForeignRules),
    ) -> Vec<Difference> {
        let name = family.restore().trim_end_matches("-restore");
        let mut found = Vec::new();
        for (chain, policy) in [("INPUT", &now.input_policy), ("FORWARD", &now.forward_policy)] {
            if policy != "DROP" {
                found.push(Difference::changed(format!("{name} {chain} (policy)"), policy, "DROP"));
            }
        }
        if !now.goes_through_ufw {
            found.push(Difference::added(format!("{name} INPUT, OUTPUT, FORWARD"), "through ufw's chains"));
        }
        let user = now.user_input.as_deref().unwrap_or_default();
        let ours = user.get(loaded.before_ours..).unwrap_or_default();
        if !ours.starts_with(&self.saved) || user.len() != loaded.all {
            let (old, new) = (format!("{} rules", user.len()), format!("the {} of its file", loaded.all));
            found.push(Difference::changed(
                format!("{name} {}-user-input (live)", family.prefix()),
                old,
                new,
            ));
        }
        let chain = now.docker_user.as_deref().unwrap_or_default();
        let docker_user = docker_user::composed(chain, &self.docker_user, fate);
        found.extend(docker_user::differences(now, &docker_user, &self.published, name));
        found
    }
}
