//! How long a plan takes of clusters in which nothing differs, by size: a node of the scenarios' many times over, each as
//! the planner wants it.
//!
//! `make bench` runs it. It prints the median of 15 plans for 3, 10, 20 and 100 nodes, and how many times as long 100 take
//! as 10; and the same of judging a stack of 100 services. Clusters have 3 to 20 nodes; 100 show how it grows: each node lets in each other by name, so that rules, and what
//! is to be compared, grow with the square. Limits on an idle machine: 5 ms for 20 nodes, less than 80 times from 10 to 100.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::format_push_string,
    reason = "a measurement: it prints, and ends where it cannot measure"
)]

use std::time::{Duration, Instant};

use enxame_core::areas;
use enxame_core::areas::firewall::guard_table::{self, Guard, PUBLISHED_CHAIN};
use enxame_core::areas::firewall::ufw_rules::{self, Family};
use enxame_core::areas::firewall::{self, Firewall, docker_user, ufw};
use enxame_core::areas::machine::hosts;
use enxame_core::areas::stacks::lint::lint;
use enxame_core::areas::stacks::{Cluster, ComposeFile, Environment};
use enxame_core::config::{Config, ForeignRules, NodeConfig};
use enxame_core::facts::{
    ClusterFacts, EngineState, FileFacts, NodeFacts, Observed, RouteFacts, SwarmNodeFacts,
};
use enxame_core::files::with_block;
use enxame_core::plan;

const BASE: &str = include_str!("../tests/scenarios/bases/converged.json");
const RUNS: u32 = 15;

/// A cluster of nodes that are as they are to be: in the words that the planner itself has for that.
fn cluster(nodes: usize) -> (Config, ClusterFacts) {
    let mut yaml = "version: 1\ncluster: lab\nengine: {source: distribution}\nnodes:\n".to_owned();
    for index in 0..nodes {
        yaml += &format!(
            "  - {{name: node{index}, address: 203.0.{}.{}, preferred_leader: {}}}\n",
            113 + index / 250,
            10 + index % 240,
            index == 0
        );
    }
    let config = Config::parse("cluster.yaml", &yaml).unwrap();
    let base: ClusterFacts = serde_json::from_str(BASE).unwrap();
    let base = base.values().next().unwrap();
    let lines = config.nodes.iter().map(|node| format!("{} {}", node.address, node.name));
    let hosts = lines.collect::<Vec<_>>().join("\n") + "\n";
    let members: Vec<SwarmNodeFacts> = config.nodes.iter().map(|node| member(base, node)).collect();
    let firewall = Firewall::of(&config);
    let facts = config.nodes.iter().map(|node| {
        let mut facts = base.clone();
        facts.machine_id = node.name.to_string();
        facts.hostname = node.name.to_string();
        *file(&mut facts, "/etc/hostname") = format!("{}\n", node.name);
        let block = file(&mut facts, hosts::PATH);
        *block = with_block(block, &hosts).unwrap();
        let route = facts.routes.values().next().unwrap().known().unwrap().clone();
        let route = Observed::Known(RouteFacts { source: node.address, ..route });
        let peers = || config.peers_of(&node.name).map(|peer| peer.address);
        facts.routes = peers().map(|peer| (peer, route.clone())).collect();
        facts.volatile.round_trip_us = peers().map(|peer| (peer, Some(18_000))).collect();
        facts.interfaces.first_mut().unwrap().addresses = vec![node.address];
        let EngineState::Running { swarm, .. } = &mut facts.engine.state else { panic!("it runs") };
        swarm.node_id = node.name.to_string();
        swarm.node_address = node.address.to_string();
        swarm.nodes.clone_from(&members);
        guard(&mut facts, node, &firewall);
        for family in Family::ALL {
            filter(&mut facts, node, &firewall, family);
        }
        (node.name.clone(), facts)
    });
    let facts = facts.collect();
    (config, facts)
}

fn member(base: &NodeFacts, node: &NodeConfig) -> SwarmNodeFacts {
    let member = base.engine.swarm().unwrap().nodes.first().unwrap();
    SwarmNodeFacts {
        id: node.name.to_string(),
        hostname: node.name.to_string(),
        address: node.address.to_string(),
        labels: node.swarm_labels(),
        is_leader: node.is_preferred_leader,
        ..member.clone()
    }
}

fn guard(facts: &mut NodeFacts, node: &NodeConfig, firewall: &Firewall<'_>) {
    let text = Guard {
        interfaces: firewall::public_interfaces(node, facts).iter().map(|one| one.name.as_str()).collect(),
        openings: &firewall.on_node(node, facts.ssh_session),
        data_path_port: 4789,
        plaintext_vnis: Vec::new(),
        addresses: firewall::lasting_addresses(node, facts),
        tunnel: None,
    }
    .text();
    *file(facts, guard_table::PATH) = text;
}

fn filter(facts: &mut NodeFacts, node: &NodeConfig, firewall: &Firewall<'_>, family: Family) {
    let openings = firewall.on_node(node, facts.ssh_session);
    let rules = ufw_rules::rules(&openings, family, None);
    let user = file(facts, &ufw::user_rules(family));
    *user = ufw_rules::composed(user, &rules, ForeignRules::Keep).unwrap();
    let published = docker_user::published(&firewall.to_containers(node), family);
    let tables =
        docker_user::tables(&docker_user::jumps(["eth0"], PUBLISHED_CHAIN), &published, PUBLISHED_CHAIN);
    let after = file(facts, &ufw::after_rules(family));
    *after = with_block(after, &tables).unwrap();
    let live = match family {
        Family::V4 => &mut facts.filter.ipv4,
        Family::V6 => &mut facts.filter.ipv6,
    };
    let Observed::Known(live) = live else { panic!("the base has seen it") };
    live.user_input = Some(ufw_rules::saved(&openings, family, None));
    live.published = Some(published);
}

fn file<'a>(facts: &'a mut NodeFacts, path: &str) -> &'a mut String {
    match facts.files.get_mut(path) {
        Some(FileFacts::Text { content, .. }) => content,
        _ => panic!("the base has {path}"),
    }
}

fn median(nodes: usize) -> Duration {
    let (config, facts) = cluster(nodes);
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            let plan = plan::make(&config, &facts, None, areas::resources()).unwrap();
            let lasted = start.elapsed();
            assert_eq!(plan.changes, [], "a plan of something to do is not what is measured");
            lasted
        })
        .collect();
    times.sort_unstable();
    *times.get(times.len() / 2).expect("a run")
}

/// The median of reading a stack of so many services and judging it against a cluster.
fn linted(services: usize) -> Duration {
    let (config, facts) = cluster(3);
    let cluster = Cluster::of(&config, Some(&facts));
    let mut text = "services:\n".to_owned();
    for index in 0..services {
        text += &format!(
            "  app{index}:\n    image: registry.example.net/app:{index}\n    environment: {{A: '1', TOKEN: x}}\n    volumes: \
             ['data:/data', '/srv/{index}:/srv:ro']\n    networks: [inside]\n    healthcheck: {{test: [CMD, 'true']}}\n    \
             deploy:\n      replicas: 2\n      placement: {{constraints: [node.labels.db != true]}}\n      labels:\n        \
             - traefik.http.routers.app{index}.rule=Host(`{index}.example`)\n        \
             - traefik.http.services.app{index}.loadbalancer.server.port=80\n"
        );
    }
    text += "volumes: {data: {}}\nnetworks: {inside: {driver: overlay}}\n";
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            let file = ComposeFile::parse("stack.yaml", &text, &Environment::Unknown).unwrap();
            assert!(!lint(&[file], Some(&cluster)).is_empty());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    *times.get(times.len() / 2).expect("a run")
}

fn main() {
    let sizes = [3, 10, 20, 100].map(|nodes| (nodes, median(nodes)));
    for (nodes, time) in sizes {
        let limit = if nodes == 20 { " (limit 5 ms)" } else { "" };
        println!("{nodes:>4} nodes: {:.2} ms{limit}", time.as_secs_f64() * 1000.0);
    }
    let [_, (_, ten), _, (_, hundred)] = sizes;
    println!("10 to 100 nodes: {:.0} times (limit 80)", hundred.as_secs_f64() / ten.as_secs_f64());
    println!("lint of 100 services: {:.2} ms (limit 50 ms)", linted(100).as_secs_f64() * 1000.0);
}
