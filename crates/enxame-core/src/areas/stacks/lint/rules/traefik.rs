//! Labels for Traefik's swarm provider, which reads those of the service and not of its containers.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Found, Scope, Severity};
use crate::areas::stacks::compose::{Pair, Service};

/// Labels where Traefik does not look.
pub(super) fn labels(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        let at_containers = service.pairs(&["labels"]);
        if let Some(label) = at_containers.iter().find(|label| label.name.starts_with("traefik.")) {
            found.of(
                service,
                label.at,
                "these labels are the containers': Traefik's swarm provider reads those of the service",
                "below deploy.labels",
            );
        }
    }
}

/// A router's labels, by the router's name and then by what they say.
fn routers(service: Service<'_>) -> BTreeMap<String, BTreeMap<String, Pair>> {
    let mut routers: BTreeMap<String, BTreeMap<String, Pair>> = BTreeMap::new();
    for label in service.pairs(&["deploy", "labels"]) {
        let Some(rest) = label.name.strip_prefix("traefik.http.routers.") else { continue };
        let Some((router, what)) = rest.split_once('.') else { continue };
        routers.entry(router.to_owned()).or_default().insert(what.to_lowercase(), label.clone());
    }
    routers
}

/// Whether it is told to be Traefik's.
fn is_enabled(service: Service<'_>) -> bool {
    let labels = service.pairs(&["deploy", "labels"]);
    labels.iter().all(|label| label.name != "traefik.enable" || label.value.as_deref() == Some("true"))
}

/// A router that leads nowhere, is in clear, or is there twice.
pub(super) fn router(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services().filter(|service| is_enabled(*service)) {
        let routers = routers(service);
        let Some(first) = routers.values().flat_map(BTreeMap::values).next() else { continue };
        let labels = service.pairs(&["deploy", "labels"]);
        let has_port = labels.iter().any(|label| {
            let name = label.name.to_lowercase();
            name.starts_with("traefik.http.services.")
                && (name.ends_with(".loadbalancer.server.port") || name.ends_with(".loadbalancer.server.url"))
        });
        let is_elsewhere = routers.values().all(|labels| labels.contains_key("service"));
        if !has_port && !is_elsewhere {
            found.graded(Severity::Error).of(
                service,
                first.at,
                "no label says which port: in a swarm Traefik does not find it out, and leaves the service away",
                "traefik.http.services.NAME.loadbalancer.server.port=PORT",
            );
        }
        for (name, labels) in &routers {
            let points: BTreeSet<&str> = labels
                .get("entrypoints")
                .and_then(|points| points.value.as_deref())
                .into_iter()
                .flat_map(|points| points.split(','))
                .map(str::trim)
                .collect();
            let is_tls = labels.keys().any(|key| key == "tls" || key.starts_with("tls."));
            if !is_tls && points.contains("websecure") {
                let at = labels.get("entrypoints").map_or(first.at, |label| label.at);
                found.of(
                    service,
                    at,
                    format!("the router {name} is on websecure and says nothing of tls: unless the entry point does, it answers nobody"),
                    format!("traefik.http.routers.{name}.tls.certresolver=RESOLVER, or tls at the entry point"),
                );
            }
            twice(scope, service, name, labels, found);
        }
    }
}

/// Two routers for one rule: which of them answers is not said.
fn twice(
    scope: &Scope<'_>,
    service: Service<'_>,
    name: &str,
    labels: &BTreeMap<String, Pair>,
    found: &mut Found<'_>,
) {
    let Some(rule) = labels.get("rule") else { return };
    let said = |labels: &BTreeMap<String, Pair>| {
        ["rule", "entrypoints", "priority"].map(|key| labels.get(key).and_then(|label| label.value.clone()))
    };
    if rule.value.is_none() {
        return;
    }
    for file in scope.all {
        for other in file.services() {
            if file.name == scope.file.name && other.name() == service.name() {
                continue;
            }
            for (other_name, other_labels) in routers(other) {
                if said(&other_labels) == said(labels) {
                    found.of(
                        service,
                        rule.at,
                        format!(
                            "the router {name} has the rule of {other_name} of {}, {}: either may answer",
                            other.name(),
                            file.name
                        ),
                        "another rule, or a priority",
                    );
                    return;
                }
            }
        }
    }
}
