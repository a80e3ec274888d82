use super::*;
use crate::config::{Config, Role};
use crate::facts::blank::blank;
use crate::facts::{InterfaceFacts, LinkFacts, Occupant, OccupiedNetwork};

const GIB: u64 = 1024 * 1024 * 1024;

fn candidate(argument: &str, hostname: &str, addresses: &[&str]) -> Candidate {
    let (user, host) = argument.rsplit_once('@').map_or((None, argument), |(user, host)| (Some(user), host));
    let interface = InterfaceFacts {
        name: "eth0".into(),
        mtu_bytes: 1500,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        link: LinkFacts::default(),
    };
    let facts = NodeFacts { hostname: hostname.into(), interfaces: vec![interface], ..blank() };
    Candidate { host: host.into(), user: user.map(str::to_owned), facts }
}

fn with_memory(mut candidate: Candidate, gib: u64) -> Candidate {
    candidate.facts.hardware.memory_bytes = gib * GIB;
    candidate
}

fn proposed(candidates: &[Candidate]) -> Config {
    let text = propose(candidates, None).unwrap();
    Config::parse("proposed", &text).unwrap_or_else(|error| panic!("{:#?}\n{text}", error.problems()))
}

fn names_of(candidates: &[Candidate]) -> Vec<String> {
    proposed(candidates).nodes.iter().map(|node| node.name.to_string()).collect()
}

#[test]
fn the_proposal_is_read_back_and_the_largest_server_gets_the_roles() {
    let candidates = [
        with_memory(candidate("root@203.0.113.12", "kvm2-manager", &["203.0.113.12"]), 2),
        with_memory(candidate("root@203.0.113.18", "kvm8-core.example.net", &["203.0.113.18"]), 8),
        with_memory(candidate("root@203.0.113.14", "kvm4-manager", &["203.0.113.14"]), 4),
    ];
    insta::assert_snapshot!(propose(&candidates, None).unwrap());
    let config = proposed(&candidates);
    assert_eq!(config.ssh.user.as_deref(), Some("root"));
    let core = config.founder().unwrap();
    assert_eq!(core.name.as_str(), "kvm8-core");
    assert_eq!(core.roles, BTreeSet::from([Role::Storage, Role::Db, Role::Proxy]));
    assert_eq!(config.nodes.iter().filter(|node| node.roles.is_empty()).count(), 2);
}

#[test]
fn of_servers_of_one_size_the_first_gets_the_roles() {
    let alike = [candidate("a", "a", &["203.0.113.1"]), candidate("b", "b", &["203.0.113.2"])];
    assert_eq!(proposed(&alike).founder().unwrap().name.as_str(), "a");
}

#[test]
fn host_names_that_are_shared_or_unusable_are_replaced() {
    let of = |hostnames: &[&str]| {
        let addresses: Vec<String> = (1..=hostnames.len()).map(|last| format!("203.0.113.{last}")).collect();
        let candidates: Vec<Candidate> = hostnames
            .iter()
            .zip(&addresses)
            .map(|(hostname, address)| candidate(address, hostname, &[address]))
            .collect();
        names_of(&candidates)
    };
    assert_eq!(of(&["vps", "vps", "VPS.example.net"]), ["vps", "node2", "node3"]);
    assert_eq!(of(&["localhost", "", "a_b"]), ["node1", "node2", "node3"]);
    // A name that is put in an unusable one's place may be another server's own.
    assert_eq!(of(&["node2", "localhost"]), ["node2", "node2x"]);
    assert_eq!(of(&["localhost", "node1"]), ["node1", "node2"]);
}

#[test]
fn what_yaml_takes_for_something_else_is_quoted() {
    for (user, host, hostname) in
        [("null", "1e3", "1234"), ("123", "yes", "true"), ("a: b", "# c", "0x1f"), ("~", "{}", "no")]
    {
        let argument = format!("{user}@{host}");
        let config = proposed_or_refused_words(&candidate(&argument, hostname, &["203.0.113.1"]));
        assert_eq!(config, [user, host, hostname].map(str::to_owned));
    }
}

/// The words as they are read back; blanks are refused by name, which is reading them back too.
fn proposed_or_refused_words(candidate: &Candidate) -> [String; 3] {
    let text = propose(std::slice::from_ref(candidate), None).unwrap();
    match Config::parse("proposed", &text) {
        Ok(config) => {
            let node = &config.nodes[0];
            [config.ssh.user.clone().unwrap(), node.ssh_host.clone(), node.name.to_string()]
        }
        Err(error) => {
            let problems: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
            let user = candidate.user.clone().unwrap();
            assert!(
                problems[0].ends_with(&format!("`{user}` is not a account that ssh can take")),
                "{problems:?}"
            );
            assert!(problems[1].ends_with(&format!("`{}` is not a host that ssh can take", candidate.host)));
            assert_eq!(problems.len(), 2);
            [user, candidate.host.clone(), candidate.facts.hostname.clone()]
        }
    }
}

#[test]
fn what_a_server_says_of_itself_does_not_become_a_line_of_the_file() {
    let mut liar = candidate("a", "a", &["203.0.113.1"]);
    liar.facts.os.pretty_name = "Debian\rssh: {user: mallory}\u{85}x\u{2028}\nengine: {}".into();
    assert_eq!(proposed(&[liar]).ssh.user, None);
}

#[test]
fn a_server_that_is_named_twice_is_refused() {
    let once = candidate("203.0.113.1", "a", &["203.0.113.1", "203.0.113.2"]);
    let twice = candidate("203.0.113.2", "a", &["203.0.113.1", "203.0.113.2"]);
    let by_name = candidate("web", "a", &["203.0.113.1", "203.0.113.2"]);
    let same = |first: &str, second: &str, at: &str| {
        ProposalError::SameServer(first.into(), second.into(), at.parse().unwrap())
    };
    assert_eq!(
        propose(&[once.clone(), twice.clone()], None),
        Err(same("203.0.113.1", "203.0.113.2", "203.0.113.2"))
    );
    assert_eq!(propose(&[once, by_name.clone()], None), Err(same("203.0.113.1", "web", "203.0.113.1")));
    assert_eq!(propose(&[twice, by_name], None), Err(same("203.0.113.2", "web", "203.0.113.1")));
}

#[test]
fn a_private_address_that_both_carry_does_not_make_two_servers_one() {
    let one = candidate("a", "a", &["10.0.0.1", "203.0.113.1"]);
    let other = candidate("b", "b", &["10.0.0.1", "203.0.113.2"]);
    let config = proposed(&[one, other]);
    assert_eq!(config.nodes[1].address.to_string(), "203.0.113.2");
}

#[test]
fn different_accounts_are_refused() {
    let root = candidate("root@a", "a", &["203.0.113.1"]);
    let admin = candidate("admin@b", "b", &["203.0.113.2"]);
    let bare = candidate("c", "c", &["203.0.113.3"]);
    assert_eq!(
        propose(&[root.clone(), admin], None),
        Err(ProposalError::DifferentAccounts("admin, root".into()))
    );
    assert_eq!(
        propose(&[root, bare.clone()], None),
        Err(ProposalError::DifferentAccounts("ssh_config's own, root".into()))
    );
    assert_eq!(proposed(&[bare]).ssh.user, None);
}

#[test]
fn all_servers_get_addresses_of_one_kind() {
    let addresses = |candidates: &[Candidate]| -> Vec<String> {
        proposed(candidates).nodes.iter().map(|node| node.address.to_string()).collect()
    };
    let both = candidate("a", "a", &["fe80::1", "10.0.0.1", "203.0.113.1", "2001:db8::1"]);
    let v4 = candidate("b", "b", &["203.0.113.2"]);
    let v6 = candidate("c", "c", &["fe80::2", "2001:db8::2"]);
    assert_eq!(addresses(&[both.clone(), v4.clone()]), ["203.0.113.1", "203.0.113.2"]);
    assert_eq!(addresses(&[both.clone(), v6.clone()]), ["2001:db8::1", "2001:db8::2"]);
    assert_eq!(propose(&[v4, v6], None), Err(ProposalError::NoAddress("b".into())));
    let reached = candidate("2001:db8::1", "a", &["203.0.113.1", "2001:db8::1"]);
    assert_eq!(addresses(&[reached]), ["2001:db8::1"]);
    let none = candidate("d", "d", &["127.0.0.1", "169.254.1.1", "::1"]);
    assert_eq!(propose(&[none], None), Err(ProposalError::NoAddress("d".into())));
}

#[test]
fn an_address_that_is_translated_on_the_way_is_kept_for_ssh_alone() {
    let behind = candidate("198.51.100.7", "a", &["10.0.0.5"]);
    let node = proposed(&[behind]).nodes.remove(0);
    assert_eq!((node.address.to_string().as_str(), node.ssh_host.as_str()), ("10.0.0.5", "198.51.100.7"));
}

#[test]
fn the_configuration_the_servers_were_reached_with_stands_in_the_file() {
    let text = propose(
        &[candidate("203.0.113.1", "web", &["203.0.113.1"])],
        Some(Path::new("/home/ana/ssh config")),
    )
    .unwrap();
    let config = Config::parse("cluster.yaml", &text).unwrap();
    assert_eq!(config.ssh.config_file, Some("/home/ana/ssh config".into()));
}

#[test]
fn a_pool_is_chosen_for_the_swarm_where_somebody_has_the_default_one() {
    let plain = candidate("a", "a", &["203.0.113.1"]);
    let mut private = candidate("b", "b", &["203.0.113.2", "10.0.1.5"]);
    private.facts.volatile.occupied =
        [OccupiedNetwork { network: "10.0.1.0/24".parse().unwrap(), by: Occupant::Interface("eth1".into()) }]
            .into();
    let pool = |candidates: &[Candidate]| proposed(candidates).swarm.address_pool.base.to_string();
    assert_eq!(pool(std::slice::from_ref(&plain)), "10.0.0.0/8");
    assert_eq!(pool(&[plain, private]), "10.64.0.0/10");
}

#[test]
fn tunnels_are_proposed_behind_marks_that_can_be_taken_away() {
    let plain = candidate("a", "a", &["203.0.113.1"]);
    let mut private = candidate("b", "b", &["203.0.113.2"]);
    let network = "192.168.255.0/24".parse().unwrap();
    private.facts.volatile.occupied = [OccupiedNetwork { network, by: Occupant::NameServer }].into();
    let text = propose(&[plain, private], None).unwrap();
    assert_eq!(Config::parse("proposed", &text).unwrap().tunnel, None);
    let config = Config::parse("proposed", &text.replace("# tunnel:", "tunnel:")).unwrap();
    assert_eq!(config.tunnel.unwrap().network, Some("192.168.254.0/24".parse().unwrap()));
    let addresses = config.nodes.iter().map(|node| node.tunnel.unwrap().to_string());
    assert_eq!(addresses.collect::<Vec<_>>(), ["192.168.254.1", "192.168.254.2"]);
}
