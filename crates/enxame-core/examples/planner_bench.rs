//! How long a plan of clusters takes in which nothing differs, by size: the scenarios' three nodes, many times over.
//!
//! `make bench` runs it. Clusters have 3 to 20 nodes; the larger ones show how it grows.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::format_push_string,
    reason = "a measurement: it prints, and ends where it cannot measure"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use enxame_core::areas;
use enxame_core::config::Config;
use enxame_core::facts::ClusterFacts;
use enxame_core::plan;
use serde_json::Value;

const BASE: &str = include_str!("../tests/scenarios/bases/converged.json");
const RUNS: u32 = 15;

fn cluster(nodes: usize) -> (Config, ClusterFacts) {
    let mut yaml = "version: 1\ncluster: lab\nengine: {source: distribution}\nnodes:\n".to_owned();
    let address = |index: usize| format!("203.0.{}.{}", 113 + index / 250, 1 + index % 250);
    for index in 0..nodes {
        yaml += &format!(
            "  - {{name: node{index}, address: {}, preferred_leader: {}}}\n",
            address(index),
            index == 0
        );
    }
    let config = Config::parse("cluster.yaml", &yaml).unwrap();
    let base: Value = serde_json::from_str(BASE).unwrap();
    let mut facts: BTreeMap<String, Value> = BTreeMap::new();
    for index in 0..nodes {
        let text = serde_json::to_string(&base["kvm2-manager"]).unwrap();
        let text =
            text.replace("203.0.113.12", &address(index)).replace("kvm2-manager", &format!("node{index}"));
        let mut node: Value = serde_json::from_str(&text).unwrap();
        node["machine_id"] = format!("{index:032x}").into();
        let route = node["routes"].as_object().unwrap().values().next().unwrap().clone();
        let peers = (0..nodes).filter(|peer| *peer != index);
        node["routes"] =
            peers.map(|peer| (address(peer), route.clone())).collect::<serde_json::Map<_, _>>().into();
        facts.insert(format!("node{index}"), node);
    }
    (config, serde_json::from_value(serde_json::to_value(facts).unwrap()).unwrap())
}

fn median(nodes: usize) -> Duration {
    let (config, facts) = cluster(nodes);
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            plan::make(&config, &facts, None, areas::resources()).unwrap();
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
    println!("10 to 100 nodes: {:.0} times", hundred.as_secs_f64() / ten.as_secs_f64());
}
