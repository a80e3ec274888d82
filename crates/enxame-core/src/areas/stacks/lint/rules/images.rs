//! Which image runs.

use super::super::{Found, Scope, Severity};
use crate::areas::stacks::compose::Image;

/// A service that nothing can run.
pub(super) fn no_image(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        if service.get(&["image"]).is_none() {
            let builds = service.get(&["build"]).is_some();
            let hint = if builds {
                "nodes build nothing: build the image, push it to a registry, and name it in `image:`"
            } else {
                "name one in `image:`"
            };
            found.of(service, service.key.at, "the service names no image", hint);
        }
    }
}

/// An image that is another one tomorrow.
pub(super) fn floating_tag(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        let Some(node) = service.get(&["image"]) else { continue };
        let Some(text) = node.text() else { continue };
        let image = Image::parse(text);
        if !image.is_by_digest && image.tag.is_none_or(|tag| tag == "latest") {
            found.of(
                service,
                node.at,
                format!("{text} is another image tomorrow: a node that pulls it then runs something else"),
                "name a version, e.g. nginx:1.29",
            );
        }
    }
}

/// A tag, which its owner can move, over several nodes.
pub(super) fn no_digest(scope: &Scope<'_>, found: &mut Found<'_>) {
    // What is worth this are the files of a cluster.
    if scope.cluster.is_none_or(|cluster| cluster.nodes.len() < 2) {
        return;
    }
    for service in scope.services() {
        let Some(node) = service.get(&["image"]) else { continue };
        let Some(text) = node.text() else { continue };
        let image = Image::parse(text);
        if !image.is_by_digest && image.tag.is_some_and(|tag| tag != "latest") {
            found.graded(Severity::Advice).of(
                service,
                node.at,
                format!("{text} is by its tag, which its owner can move between two deploys"),
                "pin it: NAME:TAG@sha256:…, as `docker service inspect` shows it after deploying",
            );
        }
    }
}
