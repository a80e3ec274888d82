//! The firewall, as an attacker beyond a router sees it, and as the operator who might be locked out does.

use std::fs;
use std::time::Duration;

use crate::planned;
use crate::support::{
    self, NODES, applied, enxame, enxame_in_background, lab, loaded_or, node, on_node, outside, wait_until,
};

/// Ports that somebody listens on, or might, and no configuration declares.
const CLOSED: [u16; 10] = [22, 111, 2049, 2375, 2377, 7946, 8080, 8081, 9090, 29877];
/// What an image needs to listen; the responder of `verify` is at hand on every node.
const IMAGE: &str = "cd /tmp && rm -rf web && mkdir web && \
    cp /var/lib/enxame/agents/$(ls -t /var/lib/enxame/agents | head -1) web/enxame && tar -c -C web . | \
    docker import -c 'ENTRYPOINT [\"/enxame\",\"probe-responder\"]' - lab-web";
const MARKER: &str = "ENXAME_PROBE_MARKER=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Three servers after an apply, and what people publish by mistake: a service through the routing mesh (8080, and 80,
/// which is declared), one in host mode (8081), a container of one node (9090).
pub(crate) fn published() {
    loaded_or("published", || {
        applied();
        for (name, _) in NODES {
            on_node(name, IMAGE);
        }
        on_node(
            "kvm8-core",
            &format!(
                "docker service create -q -d --no-resolve-image --mode global --name web --network swarm-secure-net \
                 -e {MARKER} -p 8080:7797 -p 80:7797 --publish mode=host,target=7797,published=8081 lab-web"
            ),
        );
        on_node(
            "kvm2-manager",
            &format!("docker run -d --restart always --name bare -e {MARKER} -p 9090:7797 lab-web"),
        );
        wait_until(Duration::from_secs(180), "the service runs everywhere", || {
            let tasks = on_node("kvm8-core", "docker service ps web --format '{{.CurrentState}}'");
            tasks.lines().filter(|line| line.starts_with("Running")).count() == NODES.len()
        });
    });
}

/// Starts a container that listens and is attached to a network: `on-NETWORK`.
pub(crate) fn listen_on(name: &str, network: &str) {
    let run = format!("docker run -d --name on-{network} --network {network} -e {MARKER} lab-web");
    on_node(name, &format!("{{ docker image inspect lab-web >/dev/null 2>&1 || {{ {IMAGE}; }}; }} && {run}"));
}

/// Its address there.
pub(crate) fn address_on(name: &str, network: &str) -> String {
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    on_node(name, &format!("docker inspect -f '{format}' on-{network}"))
}

fn addresses() -> Vec<String> {
    NODES.iter().flat_map(|(_, v4)| [(*v4).to_owned(), v4.replace("203.0.113.", "2001:db8:113::")]).collect()
}

/// What answers the outsider of these ports, be it with a connection or with a refusal: `address port answer`.
fn seen(ports: &[u16]) -> Vec<String> {
    let list = |items: Vec<String>| items.join(" ");
    let script = format!(
        "for a in {}; do for p in {}; do (timeout 4 bash -c \"</dev/tcp/$a/$p\" 2>/dev/null; \
         case $? in 0) echo $a $p open;; 1) echo $a $p refused;; esac) & done; done; wait",
        list(addresses()),
        list(ports.iter().map(ToString::to_string).collect())
    );
    let mut lines: Vec<String> = outside(&["bash", "-c", &script]).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// What answers the outsider over IPv4 of the ports that are to be closed.
pub(crate) fn seen_over_ipv4() -> Vec<String> {
    seen(&CLOSED).into_iter().filter(|line| line.starts_with("203.0.113.")).collect()
}

pub(crate) fn everywhere(command: &str) {
    for (name, _) in NODES {
        on_node(name, command);
    }
}

#[test]
fn only_declared_ports_answer_the_outside_and_each_layer_closes_the_rest_by_itself() {
    published();
    let expected: Vec<String> = {
        let mut lines: Vec<String> = addresses().iter().map(|address| format!("{address} 80 open")).collect();
        lines.sort();
        lines
    };
    assert_eq!(seen(&[&CLOSED[..], &[80]].concat()), expected);

    // Without the guard, ufw and DOCKER-USER hold; without those, the guard does.
    everywhere("nft delete table inet enxame");
    assert_eq!(seen(&CLOSED), Vec::<String>::new(), "without the guard");
    everywhere("iptables -F enxame-published && ip6tables -F enxame-published");
    everywhere("nft -f /etc/enxame/guard.nft");
    assert_eq!(seen(&CLOSED), Vec::<String>::new(), "without DOCKER-USER");

    // The negative twin: without either, what Docker publishes is open to the world, whatever ufw says.
    everywhere("nft delete table inet enxame");
    let open = seen(&CLOSED);
    for (node, port) in [("203.0.113.12", 9090), ("203.0.113.14", 8080), ("203.0.113.18", 8081)] {
        assert!(open.contains(&format!("{node} {port} open")), "{open:#?}");
    }
    on_node("kvm4-manager", "ufw disable");
    let open = seen(&CLOSED);
    assert!(open.contains(&"2001:db8:113::14 22 open".to_owned()), "{open:#?}");

    // What was taken away is drift, and one apply puts all of it back: also the jumps to ufw's chains, which ufw itself
    // takes to be there for as long as its chains are.
    let flush = "for t in iptables ip6tables; do $t -S | grep -E '^-A (INPUT|FORWARD|OUTPUT) -j ufw' | sed 's/^-A/-D/' | \
                 while read -r rule; do $t $rule; done; done";
    on_node("kvm4-manager", flush);
    let mended = enxame(&["apply", "--yes", "--quiet"]);
    assert_eq!(mended.code, 0, "{mended}");
    assert_eq!(planned(), Vec::<String>::new());
    assert_eq!(seen(&CLOSED), Vec::<String>::new());

    // What somebody lets in before the layers have a say is named.
    on_node("kvm2-manager", "iptables -I INPUT -s 192.0.2.0/24 -j ACCEPT");
    on_node("kvm4-manager", "iptables -D FORWARD -j DOCKER-USER");
    let plan = enxame(&["plan", "--quiet"]);
    assert_eq!(plan.code, 0, "{plan}");
    for named in [
        "kvm2-manager iptables has rules of others in INPUT that let in before ufw has a say: -s 192.0.2.0/24 -j ACCEPT",
        "kvm4-manager iptables' FORWARD does not come to DOCKER-USER",
    ] {
        assert!(plan.stdout.contains(named), "{plan}");
    }
}

/// An endpoint of kvm8-core's on an overlay network.
struct Target {
    network: &'static str,
    /// As `docker network inspect` knows it.
    endpoint: String,
    /// Names its network namespace to `nsenter`.
    namespace: String,
}

impl Target {
    /// A task's container.
    fn container() -> Self {
        let endpoint = on_node("kvm8-core", "docker ps -q --no-trunc --filter name=web | head -1");
        let process = on_node("kvm8-core", &format!("docker inspect -f '{{{{.State.Pid}}}}' {endpoint}"));
        Self { network: "swarm-secure-net", endpoint, namespace: format!("--target {process} --net") }
    }

    /// Where the routing mesh takes requests in. The containers behind it drop datagrams of that network by themselves.
    fn routing_mesh() -> Self {
        let namespace = "--net=/run/docker/netns/ingress_sbox".to_owned();
        Self { network: "ingress", endpoint: "ingress-sbox".to_owned(), namespace }
    }

    /// Datagrams that arrived at a port where nobody listens.
    fn strays(&self) -> u64 {
        let count = format!("nsenter {} awk '/^Udp: [0-9]/ {{print $3}}' /proc/net/snmp", self.namespace);
        on_node("kvm8-core", &count).parse().unwrap()
    }

    /// Ten packets in clear VXLAN, which the outsider sends to it in a peer's name.
    fn forge(&self) {
        let inspect = |what: &str| {
            on_node("kvm8-core", &format!("docker network inspect -f '{{{{{what}}}}}' {}", self.network))
        };
        let of_endpoint = |what: &str| inspect(&format!("(index .Containers \"{}\").{what}", self.endpoint));
        let vni = inspect("index .Options \"com.docker.network.driver.overlay.vxlanid_list\"");
        let (mac, address) = (of_endpoint("MacAddress"), of_endpoint("IPv4Address"));
        let address = address.split('/').next().unwrap();
        let ends = ["--from", "203.0.113.14", "--to", "203.0.113.18"];
        lab(&[&["forge"][..], &ends, &["--vni", &vni, "--mac", &mac, "--container", address]].concat());
    }
}

#[test]
fn a_forged_clear_vxlan_packet_never_arrives() {
    published();
    let targets = [Target::container(), Target::routing_mesh()];
    let strays = || targets.each_ref().map(Target::strays);
    // Counted from the beginning on, so that a packet that is late is not forgotten.
    let before = strays();
    let forge = || targets.iter().for_each(Target::forge);
    forge();
    assert_eq!(strays(), before, "the guard lets none through");

    // dockerd fails open where its rules are lost. The negative twin is without both.
    let dockers = "iptables -S INPUT | grep -e '--pol none' | sed 's/^-A/-D/' | \
                   while read -r rule; do echo \"iptables $rule\"; done | sh";
    on_node("kvm8-core", dockers);
    forge();
    assert_eq!(strays(), before, "the guard alone lets none through");
    on_node("kvm8-core", "nft delete table inet enxame");
    forge();
    assert_eq!(strays(), before.map(|count| count + 10), "without a guard all arrive");
}

/// Minutes of looking: `make drills` runs it.
pub(crate) fn no_port_opens_while_rules_reload_docker_restarts_or_any_node_boots() {
    published();
    // A round each second or so; what answers is written down.
    let watched = "22 8080 9090";
    let script = format!(
        "while :; do for a in {}; do for p in {watched}; do (timeout 1 bash -c \"</dev/tcp/$a/$p\" 2>/dev/null; \
         case $? in 0) echo $a $p open;; 1) echo $a $p refused;; esac) & done; done; sleep 1; done",
        addresses().join(" ")
    );
    let scan = support::outside_in_background(&["bash", "-c", &script]);
    everywhere("ufw reload");
    on_node("kvm4-manager", "systemctl restart docker && systemctl restart ufw");
    for (name, _) in NODES {
        let boot = || node(name, "cat /proc/sys/kernel/random/boot_id").stdout;
        let old = boot();
        node(name, "systemctl reboot");
        wait_until(Duration::from_secs(240), "the node is up again", || {
            let new = boot();
            !new.is_empty() && new != old && node(name, "docker info").succeeded()
        });
        wait_until(Duration::from_secs(120), "its tasks run", || {
            node(name, "docker ps -q --filter name=web").stdout.trim() != ""
        });
    }
    let answers = scan.stop();
    assert_eq!(answers, "", "something answered the outsider");
    assert_eq!(planned(), Vec::<String>::new(), "after a boot everything stands as it was applied");
    // The negative twin of the scan: with the layers off it sees the same ports.
    everywhere("nft delete table inet enxame; iptables -F enxame-published");
    assert!(seen(&[8080]).contains(&"203.0.113.18 8080 open".to_owned()));
}

/// A cluster file that lets somebody else in, and not the operator.
pub(crate) fn cutting() -> String {
    let text = fs::read_to_string(support::config()).unwrap();
    let path = support::config().with_file_name("cutting.yaml");
    let (mine, somebodys) =
        ("allow_from: [203.0.113.1]", "allow_operator: false\n  allow_from: [198.51.100.7]");
    assert!(text.contains(mine), "{text}");
    fs::write(&path, text.replace(mine, somebodys)).unwrap();
    path.display().to_string()
}

/// Lets something happen on a node as soon as its dead-man switch is armed and the change is made, and before anybody
/// can say that it went well.
fn when_armed(name: &str, act: &str) {
    let wait = "while ! [ /run/enxame-guard.listing -nt /var/lib/enxame/dead-man/armed.json ] || \
                ! [ -e /var/lib/enxame/dead-man/armed.json ]; do sleep 0.2; done; sleep 1";
    on_node(name, &format!("systemd-run --quiet --collect --unit=lab-fault sh -c '{wait}; {act}'"));
}

pub(crate) fn the_node_goes_back_by_itself_after(act: &str, deadline: Duration) {
    applied();
    let config = cutting();
    let refused = enxame(&["apply", "--yes", "--quiet", "--config", &config]);
    assert_eq!(refused.code, 3, "{refused}");
    assert!(refused.stdout.contains("would not let you in any more: you come from 203.0.113.1"), "{refused}");
    when_armed("kvm2-manager", act);
    let cut = enxame_in_background(&["apply", "--yes", "--quiet", "--allow-ssh-cut", "--config", &config]);
    wait_until(Duration::from_secs(60), "the node is cut off", || !node("kvm2-manager", "true").succeeded());
    wait_until(deadline, "the node is back", || node("kvm2-manager", "true").succeeded());
    assert_eq!(cut.wait().code, 1);
    wait_until(Duration::from_secs(120), "its engine answers", || {
        node("kvm2-manager", "docker info").succeeded()
    });
    assert_eq!(planned(), Vec::<String>::new(), "nothing is left half-applied");
    let left = "find /etc /var/lib/enxame -name '*.enxame-before' -o -path '*/dead-man/*.json' -o -name 'enxame-dead-man*'";
    assert_eq!(on_node("kvm2-manager", left), "");
}

#[test]
fn a_plan_that_cuts_off_ssh_is_refused_and_a_node_that_tries_it_is_back_within_90_s_with_its_agent_killed() {
    the_node_goes_back_by_itself_after(
        "pkill -KILL -f /var/lib/enxame/agents/.*build",
        Duration::from_secs(90),
    );
}

#[test]
fn rules_of_the_users_own_stay_behind_ours_or_go_and_ufw_understands_its_files() {
    applied();
    // ufw reads what we wrote, and writes it as we did.
    on_node("kvm4-manager", "ufw allow 12345/tcp >/dev/null && ufw delete allow 12345/tcp >/dev/null");
    assert_eq!(planned(), Vec::<String>::new());
    on_node("kvm4-manager", "ufw insert 1 deny from 192.0.2.9 comment ban && ufw allow 51820/udp");
    assert_eq!(planned(), Vec::<String>::new(), "a ban of a stranger may stand in front, an opening behind");
    on_node("kvm4-manager", "ufw insert 1 deny from 203.0.113.12 comment mine");
    let plan = enxame(&["plan", "--quiet"]);
    assert_eq!(plan.code, 2, "{plan}");
    assert!(plan.stdout.contains("deny any from 203.0.113.12 (mine)"), "{plan}");
    let applied = enxame(&["apply", "--yes", "--quiet"]);
    assert_eq!(applied.code, 0, "{applied}");
    let added = on_node("kvm4-manager", "ufw show added");
    let place = |rule: &str| added.find(rule).unwrap_or_else(|| panic!("no {rule}: {added}"));
    assert!(place("allow from 203.0.113.12 to any port 2377 proto tcp") < place("comment 'mine'"), "{added}");
    assert!(place("comment 'ban'") < place("allow from 203.0.113.12 to any port 2377 proto tcp"), "{added}");
    assert!(added.contains("ufw allow 51820/udp"), "{added}");

    let text = fs::read_to_string(support::config()).unwrap() + "firewall:\n  foreign: remove\n";
    let path = support::config().with_file_name("removing.yaml");
    fs::write(&path, text).unwrap();
    let removed = enxame(&["apply", "--yes", "--quiet", "--config", path.to_str().unwrap()]);
    assert_eq!(removed.code, 0, "{removed}");
    let named = "ufw has rules that are not enxame's, and loses them: ";
    assert!(
        removed.stdout.contains(named) && removed.stdout.contains("deny any from 203.0.113.12 (mine)"),
        "{removed}"
    );
    let added = on_node("kvm4-manager", "ufw show added");
    assert!(!added.contains("mine") && !added.contains("ban") && !added.contains("51820"), "{added}");
}
