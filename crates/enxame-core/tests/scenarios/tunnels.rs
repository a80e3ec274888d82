//! By which ways operators come, and which of them the firewall would close behind their backs.

use enxame_core::config::Config;
use enxame_core::facts::{InterfaceFacts, LinkFacts, SshSession};
use enxame_core::plan;

use super::{directory, facts};

/// How the first node sees its operator.
struct Seen {
    /// The interface that answers to him leave by, and what it is.
    answers_by: (&'static str, u16, &'static str),
    /// Where he comes from, and the node's address that he asked for.
    session: (&'static str, &'static str),
    /// What `cluster.yaml` has besides.
    more: &'static str,
}

/// What the plan refuses of the first node's access; `None` where nothing.
fn refused(seen: &Seen) -> Option<String> {
    let folder = directory().join("a_converged_cluster_needs_nothing");
    let yaml = std::fs::read_to_string(folder.join("cluster.yaml")).unwrap();
    let yaml = format!("{yaml}ssh: {{allow_from: [10.8.0.0/24]}}\n{}", seen.more);
    let config = Config::parse("cluster.yaml", &yaml).unwrap();
    let mut facts = facts::read(&directory(), &folder.join("facts.json"));
    let node = facts.values_mut().next().unwrap();
    let (name, hardware, kind) = seen.answers_by;
    if name.starts_with("ppp") || name.starts_with("office") {
        node.interfaces.push(InterfaceFacts {
            name: name.to_owned(),
            mtu_bytes: 1400,
            addresses: vec!["10.8.0.1".parse().unwrap()],
            link: LinkFacts { hardware, kind: kind.to_owned() },
        });
    }
    node.ssh_answers_by = Some(name.to_owned());
    let (from, to) = seen.session;
    node.ssh_session = SshSession::parse(&format!("{from} 50022 {to} 22"));
    let plan = plan::make(&config, &facts, None, enxame_core::areas::resources()).unwrap();
    let cut = plan.findings.iter().find(|finding| finding.message.starts_with("would cut you off"));
    cut.map(|finding| finding.message.clone())
}

const PUBLIC: &str = "203.0.113.12";

#[test]
fn an_operator_in_a_tunnel_of_any_kind_and_name_is_refused_whatever_address_he_asks_for() {
    for (answers_by, to, told) in [
        // L2TP over IPsec, and PPTP.
        (("ppp0", 512, ""), "10.8.0.1", "the tunnel ppp0 is idle"),
        // The same, with the route to the public address through it.
        (("ppp0", 512, ""), PUBLIC, "the tunnel ppp0 is idle"),
        (("office0", 0xfffe, "wireguard"), PUBLIC, "the tunnel office0 is idle"),
        (("office0", 1, "tun"), "10.8.0.1", "the tunnel office0 is idle"),
        (("office0", 778, "gre"), "10.8.0.1", "the tunnel office0 is idle"),
        // wg-easy and its like: the tunnel ends in a container.
        (("br-2b1c0ffee000", 1, "bridge"), PUBLIC, "the container's tunnel behind br-2b1c0ffee000 is idle"),
    ] {
        let refused = refused(&Seen { answers_by, session: ("10.8.0.2", to), more: "" });
        assert!(refused.as_ref().is_some_and(|message| message.contains(told)), "{answers_by:?} {refused:?}");
    }
}

#[test]
fn an_operator_who_comes_by_a_wire_or_whose_tunnel_is_let_in_is_not_refused() {
    let open = "firewall: {openings: [{protocol: udp, port: 1701}]}\n";
    for (answers_by, from, to, more) in [
        (("eth0", 1, ""), "198.51.100.7", PUBLIC, ""),
        // A VLAN that somebody has called so.
        (("office0", 1, "vlan"), "10.8.0.2", "10.8.0.1", ""),
        // `cloudflared` and its like dial out.
        (("lo", 772, ""), "127.0.0.1", "127.0.0.1", ""),
        (("ppp0", 512, ""), "10.8.0.2", "10.8.0.1", open),
    ] {
        let seen = Seen { answers_by, session: (from, to), more };
        assert_eq!(refused(&seen), None, "{answers_by:?}");
    }
}
