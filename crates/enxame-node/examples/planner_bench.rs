//! How long the planner takes, and how much memory a cluster's facts and plan do (`make bench`).
//!
//! Synthetic facts of nodes with a route to every other are planned with the real registry, in two states: 10, 100 and
//! 1,000 prepared servers without ufw, on which everything is to be done; and 10 and 100 after that, on which nothing is,
//! and whose rules are looked at one by one (a thousand nodes have five million).
//! Each measurement is a process of its own, so that none inherits another's memory. Nothing fails for being slow.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use enxame_core::config::{Config, ForeignRules, NodeConfig};
use enxame_core::declare::Declare;
use enxame_core::facts::{
    CloudInit, ClusterFacts, DockerSnap, EngineFacts, EngineState, FactsQuery, FileFacts, FilterFacts,
    GuardState, Hardware, InterfaceFacts, Kernel, LocalSwarmState, ModuleState, NetworkFacts, NodeFacts,
    Observed, OperatingSystem, PackageFacts, RouteFacts, SwarmFacts, SwarmNodeFacts, SwarmSettings,
    TableFacts, UnitFacts, VolatileFacts,
};
use enxame_core::firewall::Firewall;
use enxame_core::plan::{self, Plan};
use enxame_core::version::EngineVersion;
use enxame_node::files::with_block;
use enxame_node::guard::PUBLISHED_CHAIN;
use enxame_node::ufw::{self, Family};
use serde_json::Value;

const SIZES: [usize; 3] = [10, 100, 1_000];
const HOSTS: &str = "/etc/hosts";
const ROUNDS: usize = 5;
/// What issue 2 asks of 1,000 nodes.
const LIMIT: Duration = Duration::from_millis(250);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [state, size] => measure(state, size.parse()?),
        _ => all(),
    }
}

fn all() -> Outcome<()> {
    let mut out = std::io::stdout();
    if cfg!(debug_assertions) {
        writeln!(out, "a debug build: the times say nothing (cargo run --release --example planner_bench)")?;
    }
    writeln!(
        out,
        "{:<10} {:>6} {:>8} {:>9} {:>10} {:>10} {:>12}",
        "state", "nodes", "changes", "best", "facts", "with plan", "per node"
    )?;
    for (state, sizes) in [("prepared", SIZES.as_slice()), ("converged", SIZES.get(..2).unwrap_or_default())]
    {
        for size in sizes {
            let own = std::env::current_exe()?;
            if !Command::new(own).args([state, &size.to_string()]).status()?.success() {
                return Err(format!("the measurement of {size} {state} nodes ended early").into());
            }
        }
    }
    Ok(())
}

fn measure(state: &str, size: usize) -> Outcome<()> {
    let mut out = std::io::stdout();
    let config = cluster(size)?;
    let registry = enxame_node::resources::declarations();
    let before = resident_kib();
    let facts = if state == "prepared" {
        prepared(&config, &registry)
    } else {
        let mut facts = prepared(&config, &registry);
        let todo = plan::make(&config, &facts, None, &registry)?;
        converge(&config, &mut facts, &todo);
        facts
    };
    let with_facts = resident_kib();
    let mut best = Duration::MAX;
    let mut made = None;
    for _ in 0..ROUNDS {
        // The last one's memory is not this one's time.
        drop(made.take());
        let start = Instant::now();
        made = Some(plan::make(&config, &facts, None, &registry)?);
        best = best.min(start.elapsed());
    }
    let plan = made.ok_or("no round was made")?;
    let with_plan = resident_kib();
    if plan.is_refused() || plan.is_empty() != (state == "converged") {
        let (change, finding) = (plan.changes.first(), plan.findings.first());
        return Err(format!("the facts are not of a {state} cluster: {change:?}, {finding:?}").into());
    }
    // The converged facts come of a first plan, whose memory would be counted with them.
    let memory =
        |kib: u64, unit: &str| if state == "prepared" { format!("{kib} {unit}") } else { "-".to_owned() };
    let per_node = with_plan.saturating_sub(before) / u64::try_from(size)?;
    writeln!(
        out,
        "{state:<10} {size:>6} {:>8} {:>6} ms {:>10} {:>10} {:>12}",
        plan.changes.len(),
        format!("{:.1}", best.as_secs_f64() * 1_000.0),
        memory(with_facts / 1024, "MiB"),
        memory(with_plan / 1024, "MiB"),
        memory(per_node, "KiB"),
    )?;
    if SIZES.last() == Some(&size) {
        let verdict = if best <= LIMIT { "at most" } else { "MORE THAN" };
        writeln!(out, "{:>10} {size} nodes take {verdict} {} ms", "", LIMIT.as_millis())?;
    }
    Ok(())
}

/// `VmRSS` of this process (`proc_pid_status(5)`), in KiB; 0 where it cannot be read.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

fn cluster(size: usize) -> Outcome<Config> {
    let mut text = "version: 1\ncluster: bench\nengine: {source: distribution}\nssh: {allow_from: [192.0.2.1]}\nnodes:\n".to_owned();
    for index in 0..size {
        // 198.18.0.0/15 is for benchmarks (RFC 2544).
        let (high, low) = (index / 250, index % 250 + 1);
        writeln!(text, "  - name: node-{index}\n    address: 198.18.{high}.{low}")?;
    }
    Ok(Config::parse("bench", &text)?)
}

fn prepared(config: &Config, registry: &[&dyn Declare]) -> ClusterFacts {
    let facts_of = |node: &NodeConfig| {
        let query = plan::query_for(config, node, registry);
        (node.name.clone(), answers(node, query))
    };
    config.nodes.iter().map(facts_of).collect()
}

/// What a Debian 13 with the distribution's engine and nothing configured answers.
fn answers(node: &NodeConfig, query: FactsQuery) -> NodeFacts {
    let package = || PackageFacts { installed: Some("26.1.5+dfsg1-9+b9".to_owned()), is_held: false };
    let foreign = |name: &String| {
        name.starts_with("docker-ce")
            || name.ends_with("-plugin")
            || name == "containerd.io"
            || name == "docker-engine"
    };
    let route = || {
        Observed::Known(RouteFacts {
            source: node.address,
            interface: "eth0".to_owned(),
            mtu_bytes: 1500,
            path_mtu_bytes: Observed::Known(1500),
        })
    };
    NodeFacts {
        os: OperatingSystem {
            id: "debian".to_owned(),
            version_id: "13".to_owned(),
            codename: "trixie".to_owned(),
            pretty_name: "Debian GNU/Linux 13 (trixie)".to_owned(),
        },
        kernel: Kernel { release: "6.12.48+deb13-amd64".to_owned(), architecture: "x86_64".to_owned() },
        machine_id: format!("{:0>32}", node.name),
        hostname: node.name.to_string(),
        hardware: Hardware { processors: 2, memory_bytes: 4 << 30, disk_bytes: 40 << 30 },
        files: query.files.into_iter().map(|path| (path, FileFacts::Absent)).collect(),
        modules: query.modules.into_iter().map(|name| (name, ModuleState::Loadable)).collect(),
        esp: Observed::Unknown("esp4 is not loaded".to_owned()),
        sysctl: query.sysctl.into_iter().map(|key| (key, Some("0".to_owned()))).collect(),
        packages: query.packages.into_iter().filter(|n| !foreign(n)).map(|name| (name, package())).collect(),
        units: query.units.into_iter().map(|unit| (unit.clone(), unit_of(&unit))).collect(),
        engine: engine(SwarmFacts::inactive()),
        interfaces: vec![InterfaceFacts {
            name: "eth0".to_owned(),
            mtu_bytes: 1500,
            addresses: vec![node.address],
        }],
        routes: query.peers.iter().map(|peer| (*peer, route())).collect(),
        cloud_init: CloudInit { is_active: true, hosts_rewritten_by: Vec::new() },
        docker_snap: DockerSnap::Absent,
        upgrades_unattended: true,
        docker_group_members: Some(Vec::new()),
        ssh_session: None,
        filter: FilterFacts::default(),
        interrupted: Vec::new(),
        volatile: VolatileFacts {
            clock_unix_ms: 1_760_000_000_000,
            clock_synchronised: true,
            memory_available_bytes: 2 << 30,
            disk_available_bytes: 30 << 30,
            round_trip_us: query.peers.iter().map(|peer| (*peer, Some(18_000))).collect(),
        },
    }
}

/// The engine runs and something keeps the clock; there is no firewall yet, ours or another.
fn unit_of(name: &str) -> UnitFacts {
    if ["docker.service", "systemd-timesyncd.service"].contains(&name) {
        return UnitFacts { exists: true, active: "active".to_owned(), enabled: "enabled".to_owned() };
    }
    UnitFacts { exists: false, active: "inactive".to_owned(), enabled: String::new() }
}

fn engine(swarm: SwarmFacts) -> EngineFacts {
    EngineFacts {
        state: EngineState::Running {
            version_text: "26.1.5+dfsg1".to_owned(),
            version: Some(EngineVersion::new(26, 1, 5)),
            api_version: "1.45".to_owned(),
            storage_driver: "overlay2".to_owned(),
            live_restore: false,
            swarm: Box::new(swarm),
        },
    }
}

/// What the nodes would answer once the plan is carried out.
fn converge(config: &Config, facts: &mut ClusterFacts, todo: &Plan) {
    for change in &todo.changes {
        let Some(node) = facts.get_mut(&change.node) else { continue };
        let parts = ["file", "table", "unit"].iter().filter_map(|part| change.action.get(part));
        for file in parts.chain([&change.action]) {
            if let (Some(Value::String(path)), Some(Value::String(content))) =
                (file.get("path"), file.get("content"))
            {
                let mode = file.get("mode").and_then(Value::as_u64).and_then(|mode| mode.try_into().ok());
                let text = text(content.clone(), mode.unwrap_or(0o644));
                node.files.insert(path.clone(), text);
            }
        }
        // `/etc/hosts` is a block in a file of the user's own.
        if let (Some(FileFacts::Absent), Some(lines)) = (node.files.get(HOSTS), change.action.as_str()) {
            let content = with_block("127.0.0.1 localhost\n", lines).unwrap_or_default();
            node.files.insert(HOSTS.to_owned(), text(content, 0o644));
        }
        if let Some(keys) = change.action.get("keys") {
            node.files.insert("/etc/docker/daemon.json".to_owned(), text(keys.to_string(), 0o644));
        }
        for (key, value) in change.action.get("live").and_then(Value::as_object).into_iter().flatten() {
            node.sysctl.insert(key.clone(), value.as_str().map(str::to_owned));
        }
    }
    let members: Vec<SwarmNodeFacts> = config.nodes.iter().map(member).collect();
    let founder = config.founder().map(|node| &node.name);
    let firewall = Firewall::of(config);
    for node in &config.nodes {
        let Some(facts) = facts.get_mut(&node.name) else { continue };
        close(&firewall, node, facts);
        facts.modules.values_mut().for_each(|state| *state = ModuleState::Loaded);
        facts.packages.values_mut().for_each(|package| package.is_held = true);
        facts.esp = Observed::Known(true);
        let mut swarm = swarm(node);
        // A thousand managers that each list a thousand nodes would fill the machine; the plan reads one list.
        if founder == Some(&node.name) {
            swarm.nodes.clone_from(&members);
        }
        facts.engine = engine(swarm);
    }
}

fn text(content: String, mode: u32) -> FileFacts {
    FileFacts::Text { content, mode, uid: 0, gid: 0 }
}

/// The node behind its firewall.
fn close(firewall: &Firewall<'_>, node: &NodeConfig, facts: &mut NodeFacts) {
    let (openings, containers) = (firewall.on_node(node, None), firewall.to_containers(node));
    let docker_user = ufw::docker_user(["eth0"], PUBLISHED_CHAIN);
    let mut table = |family: Family| {
        let rules = ufw::rules(&openings, family);
        let ours: Vec<String> = rules.iter().map(|rule| rule.text(family)).collect();
        let published = ufw::published(&containers, family);
        let block = ufw::docker_tables(&docker_user, &published, PUBLISHED_CHAIN);
        let user = ufw::composed("### RULES ###\nCOMMIT\n", &ours, ForeignRules::Keep).unwrap_or_default();
        let after = with_block("COMMIT\n", &block).unwrap_or_default();
        for (name, content) in [("user", user), ("after", after)] {
            facts.files.insert(format!("/etc/ufw/{name}{}.rules", family.digit()), text(content, 0o640));
        }
        Observed::Known(TableFacts {
            input_policy: "DROP".to_owned(),
            forward_policy: "DROP".to_owned(),
            goes_through_ufw: true,
            accepted_before_ufw: Vec::new(),
            accepted_before_docker_user: Some(Vec::new()),
            user_input: Some(rules.iter().map(ufw::Rule::saved).collect()),
            docker_user: Some(docker_user.clone()),
            published: Some(published),
        })
    };
    let (ipv4, ipv6) = (table(Family::V4), table(Family::V6));
    let guard = Observed::Known(GuardState::AsLoaded);
    facts.filter = FilterFacts { ipv4, ipv6, guard, unconfirmed: None };
    let defaults = "IPV6=yes\nDEFAULT_INPUT_POLICY=\"DROP\"\nDEFAULT_OUTPUT_POLICY=\"ACCEPT\"\nDEFAULT_FORWARD_POLICY=\"DROP\"\n";
    facts.files.insert("/etc/default/ufw".to_owned(), text(defaults.to_owned(), 0o644));
    facts.files.insert("/etc/ufw/ufw.conf".to_owned(), text("ENABLED=yes\n".to_owned(), 0o644));
    for unit in ["ufw.service", "enxame-guard.service"] {
        let enabled = UnitFacts { exists: true, active: "active".to_owned(), enabled: "enabled".to_owned() };
        facts.units.insert(unit.to_owned(), enabled);
    }
}

fn id_of(address: IpAddr) -> String {
    format!("{:x>25}", address.to_string())
}

fn swarm(node: &NodeConfig) -> SwarmFacts {
    let network = |name: &str, is_ingress| NetworkFacts {
        id: format!("{name:x>25}"),
        name: name.to_owned(),
        is_ingress,
        is_attachable: !is_ingress,
        is_encrypted: true,
        underlay_mtu_bytes: Some(1500),
        vnis: vec![4097],
        subnets: vec!["10.0.0.0/24".to_owned()],
        labels: BTreeMap::new(),
        services: Vec::new(),
    };
    SwarmFacts {
        local: LocalSwarmState::Active,
        node_id: id_of(node.address),
        node_address: node.address.to_string(),
        cluster_id: Some("c".repeat(25)),
        is_manager_with_quorum: true,
        settings: Some(SwarmSettings {
            address_pool: vec!["10.0.0.0/8".to_owned()],
            subnet_prefix_length: 24,
            data_path_port: 4789,
            heartbeat_ns: 5_000_000_000,
            autolock: false,
        }),
        networks: vec![network("ingress", true), network("swarm-secure-net", false)],
        ..SwarmFacts::inactive()
    }
}

fn member(node: &NodeConfig) -> SwarmNodeFacts {
    SwarmNodeFacts {
        id: id_of(node.address),
        hostname: node.name.to_string(),
        address: node.address.to_string(),
        management_port: Some(2377),
        state: "ready".to_owned(),
        availability: "active".to_owned(),
        is_manager: true,
        is_leader: false,
        reachability: "reachable".to_owned(),
        engine_version: "26.1.5+dfsg1".to_owned(),
        labels: node.swarm_labels(),
    }
}
