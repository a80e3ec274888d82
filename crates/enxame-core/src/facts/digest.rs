//! The digest of facts: whether two looks saw the same.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ClusterFacts, Look, NodeFacts};

/// SHA-256 of all facts but the volatile ones, in hexadecimal. Only digests of one build can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FactsDigest(String);

impl fmt::Display for FactsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The digest of a cluster's facts.
#[must_use]
pub fn digest_of(facts: &ClusterFacts) -> FactsDigest {
    let mut digest = Sha256::new();
    let mut bytes = Vec::new();
    for (node, look) in facts.looks() {
        bytes.clear();
        // Maps with keys of text, numbers and lists: they serialise.
        let _ = match look {
            Look::Seen(facts) => serde_json::to_writer(&mut bytes, &(node, lasting(facts))),
            Look::Unreachable { unreachable } => serde_json::to_writer(&mut bytes, &(node, unreachable)),
        };
        digest.update(&bytes);
    }
    FactsDigest(hex::encode(digest.finalize()))
}

/// All but the volatile ones. What is new among them is missed here by the compiler.
fn lasting(facts: &NodeFacts) -> impl Serialize {
    let NodeFacts {
        os,
        kernel,
        machine_id,
        hostname,
        hardware,
        files,
        unwritable,
        modules,
        modules_barred,
        esp,
        sysctl,
        sysctl_set,
        packages,
        units,
        engine,
        interfaces,
        routes,
        cloud_init,
        docker_snap,
        upgrades_unattended,
        docker_group_members,
        ssh_session,
        ssh_answers_by,
        filter,
        tunnel,
        storage,
        interrupted,
        not_put_back,
        before,
        volatile: _,
    } = facts;
    (
        (os, kernel, machine_id, hostname, hardware),
        (files, unwritable, modules, modules_barred, esp, sysctl, sysctl_set, packages, units),
        (engine, interfaces, routes, cloud_init, docker_snap),
        (upgrades_unattended, docker_group_members, ssh_session, ssh_answers_by, filter, tunnel, storage),
        (interrupted, not_put_back, before),
    )
}
