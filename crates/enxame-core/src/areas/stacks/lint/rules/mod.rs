//! The rules, by what they are about.

mod containers;
mod data;
mod images;
mod keys;
mod network;
mod placement;
mod secrets;
mod traefik;
mod updates;

pub(in crate::areas::stacks) use secrets::sounds_secret;

use super::Severity::{Advice, Error, Warning};
use super::{Found, Rule, Scope, Severity};

const fn rule(code: &'static str, severity: Severity, check: fn(&Scope<'_>, &mut Found<'_>)) -> Rule {
    Rule { code, severity, check }
}

/// All of them, in the order of their pages.
pub(super) static RULES: [Rule; 43] = [
    rule("unknown-key", Error, keys::unknown_key),
    rule("wrong-type", Error, keys::wrong_type),
    rule("ignored-key", Warning, keys::ignored_key),
    rule("privileges-ignored", Warning, keys::privileges_ignored),
    rule("depends-on", Advice, keys::depends_on),
    rule("unset-variable", Error, keys::unset_variable),
    rule("undefined-reference", Error, keys::undefined_reference),
    rule("no-image", Error, images::no_image),
    rule("floating-tag", Warning, images::floating_tag),
    rule("no-digest", Advice, images::no_digest),
    rule("docker-socket", Warning, containers::docker_socket),
    rule("host-path", Error, containers::host_path),
    rule("relative-bind", Error, containers::relative_bind),
    rule("unpinned-bind", Warning, containers::unpinned_bind),
    rule("no-memory-limit", Advice, containers::no_memory_limit),
    rule("no-healthcheck", Advice, containers::no_healthcheck),
    rule("unbounded-logs", Warning, containers::unbounded_logs),
    rule("restart-condition", Warning, containers::restart_condition),
    rule("plain-secret", Warning, secrets::plain_secret),
    rule("unversioned-secret", Warning, secrets::unversioned_secret),
    rule("clear-network", Error, network::clear_network),
    rule("missing-network", Error, network::missing_network),
    rule("dnsrr-ingress", Error, network::dnsrr_ingress),
    rule("shut-port", Warning, network::shut_port),
    rule("database-port", Warning, network::database_port),
    rule("host-port-replicas", Error, network::host_port_replicas),
    rule("keepalive", Warning, network::keepalive),
    rule("no-fitting-node", Error, placement::no_fitting_node),
    rule("too-many-replicas", Error, placement::too_many_replicas),
    rule("over-capacity", Error, placement::over_capacity),
    rule("no-rollback", Warning, updates::no_rollback),
    rule("short-monitor", Warning, updates::short_monitor),
    rule("start-first-writer", Error, updates::start_first_writer),
    rule("start-first-no-room", Error, updates::start_first_no_room),
    rule("unpinned-volume", Error, data::unpinned_volume),
    rule("volume-conflict", Error, data::volume_conflict),
    rule("nfs-options", Error, data::nfs_options),
    rule("nfs-database", Warning, data::nfs_database),
    rule("postgres-data", Error, data::postgres_data),
    rule("small-shm", Warning, data::small_shm),
    rule("short-grace", Warning, data::short_grace),
    rule("traefik-labels", Warning, traefik::labels),
    rule("traefik-router", Warning, traefik::router),
];
