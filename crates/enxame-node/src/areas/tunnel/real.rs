//! Real tunnels between network namespaces: by the kernel's `WireGuard` where it has it, by Debian's `wireguard-go` where not.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use enxame_core::areas::firewall::{Firewall, guard_table::Guard};
use enxame_core::areas::tunnel::conf::{self, Operator, Peer};
use enxame_core::areas::tunnel::{CONF_PATH, INTERFACE, key, operator, unit};
use enxame_core::config::Config;
use enxame_core::facts::{ClusterFacts, DeviceFacts, FactsQuery, KeyFacts, Observed, PublicKey};
use enxame_core::names::NodeName;

use super::look;
use crate::actuate::{Context, PackageLists};
use crate::host::{Host, RealHost};
use crate::testing::namespace::{inside_with_mounts, is_inside, run};

const CLUSTER: &str = "version: 1\ncluster: lab\ntunnel: {network: 192.168.255.0/24}\nnodes:\n\
                       \x20 - {name: near, address: 203.0.113.12, tunnel: 192.168.255.1, roles: [storage]}\n\
                       \x20 - {name: far, address: 203.0.113.14, tunnel: 192.168.255.2}\n";
const PORT: u16 = 51_820;

/// Another namespace, with files of its own below `/run`.
struct Place {
    holder: Child,
}

impl Place {
    fn new() -> Self {
        let script = "mount -t tmpfs none /run && echo ready && exec sleep 300";
        let mut command = Command::new("unshare");
        command.args(["-mn", "sh", "-c", script]).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut ready = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut ready)
            .unwrap();
        assert_eq!(ready, "ready\n");
        let place = Self { holder };
        place.run("ip link set lo up");
        place
    }

    fn id(&self) -> String {
        self.holder.id().to_string()
    }

    fn output(&self, script: &str) -> Output {
        Command::new("nsenter").args(["-m", "-n", "-t", &self.id(), "bash", "-c", script]).output().unwrap()
    }

    fn run(&self, script: &str) {
        let output = self.output(script);
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Whether somebody answers within a second or two.
    fn reaches(&self, address: &str) -> bool {
        self.output(&format!("ping -n -c 1 -W 2 {address}")).status.success()
    }

    fn connects(&self, address: &str, port: u16) -> bool {
        self.output(&format!("timeout 2 bash -c '</dev/tcp/{address}/{port}'")).status.success()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// One end: its files, and how a line of shell is run there.
struct End<'a> {
    root: &'a Path,
    shell: &'a dyn Fn(&str) -> Output,
}

impl End<'_> {
    /// Makes the end's key, as the node does; gives its public half.
    fn make_key(&self) -> PublicKey {
        let host = RealHost::rooted(self.root);
        let mut context = Context {
            host: &host,
            handed: None,
            progress: &mut |_| (),
            package_lists: &mut PackageLists::Fetched,
        };
        super::key::act(&mut context, &key::Action { install: Vec::new(), renew: false }).unwrap();
        match look::key(&host) {
            KeyFacts::Usable { public, mode: 0o600 } => public,
            other => panic!("{other:?}"),
        }
    }

    fn write_peers(&self, peers: &[Peer]) {
        self.write_peers_and(peers, &[]);
    }

    fn write_peers_and(&self, peers: &[Peer], operators: &[Operator]) {
        let file = conf::file(PORT, peers, operators, &BTreeMap::new()).unwrap();
        let host: &dyn Host = &RealHost::rooted(self.root);
        host.write_owned(&file).unwrap();
        assert!(self.root.join(CONF_PATH.trim_start_matches('/')).exists());
    }

    /// Carries out the unit's own steps, with the end's files in the place of the machine's.
    fn carry_out(&self, step: &str, address: &str) {
        let unit = unit(address.parse().unwrap(), "192.168.255.0/24".parse().unwrap(), 1420).content;
        let unit = unit.replace("/etc/enxame", &self.root.join("etc/enxame").display().to_string());
        for line in unit.lines().filter_map(|line| line.strip_prefix(step)) {
            let (line, may_fail) = line.strip_prefix('-').map_or((line, false), |line| (line, true));
            let output = (self.shell)(line);
            assert!(
                may_fail || output.status.success(),
                "{line}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }

    /// Makes the interface where the kernel cannot; `false`: nobody can.
    fn can_have_a_tunnel(&self) -> bool {
        let works = |line: &str| (self.shell)(line).status.success();
        if works(&format!("ip link add {INTERFACE} type wireguard")) {
            return true;
        }
        // It goes into the background once the interface is there.
        works(&format!("wireguard-go {INTERFACE} >/dev/null 2>&1 </dev/null"))
    }
}

fn local(line: &str) -> Output {
    Command::new("bash").args(["-c", line]).output().unwrap()
}

fn peer(node: &str, endpoint: &str, address: &str, key: &PublicKey) -> Peer {
    Peer {
        node: NodeName::new(node).unwrap(),
        endpoint: format!("{endpoint}:{PORT}").parse().unwrap(),
        address: address.parse().unwrap(),
        key: Some(key.clone()),
    }
}

/// The end of somebody who is no node: its key, made where it is used.
fn key_pair(place: &Place) -> (String, PublicKey) {
    let told = |script: &str| String::from_utf8(place.output(script).stdout).unwrap().trim().to_owned();
    let private = told("wg genkey");
    let public = told(&format!("echo {private} | wg pubkey"));
    (private, PublicKey::new(public).unwrap())
}

/// Brings up somebody's own file as `wg-quick` does, with the private key that it says to put in.
fn brings_up(place: &Place, shared: &Path, (file, private): (&str, &str)) -> bool {
    let path = shared.join("enxame.conf");
    let lines = file.lines().map(|line| {
        let is_place = line.starts_with("# PrivateKey = ");
        if is_place { format!("PrivateKey = {private}\n") } else { format!("{line}\n") }
    });
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let makes = format!(
        "ip link add {INTERFACE} type wireguard 2>/dev/null || wireguard-go {INTERFACE} >/dev/null 2>&1 </dev/null"
    );
    if !place.output(&makes).status.success() {
        return false;
    }
    place.run(&format!(
        "chmod 600 {path} && wg setconf {INTERFACE} <(wg-quick strip {path}) && \
         ip address add $(sed -n 's/^Address = //p' {path}) dev {INTERFACE} && ip link set {INTERFACE} up && \
         for to in $(sed -n 's/^AllowedIPs = //p' {path}); do ip route add $to dev {INTERFACE}; done",
        path = path.display()
    ));
    true
}

fn handshake(key: &PublicKey) -> Option<u64> {
    look::look(&RealHost::new()).1.get(key)?.handshake_unix_s
}

fn within(deadline: Duration, is_so: impl Fn() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A place whose packets this end forwards under its own address.
fn container_behind_this_end() -> Place {
    let container = Place::new();
    run(&format!("ip link add veth0 type veth peer name eth0 netns {}", container.id()));
    run("ip address add 172.16.9.1/24 dev veth0");
    run("ip link set veth0 up");
    container.run(
        "ip address add 172.16.9.2/24 dev eth0 && ip link set eth0 up && ip route add default via 172.16.9.1",
    );
    run("nft add table ip nat");
    run("nft add chain ip nat post { type nat hook postrouting priority 100 ; }");
    run("nft add rule ip nat post oifname enxame0 masquerade");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    container
}

#[test]
fn what_is_written_connects_two_ends_keeps_sessions_and_lets_in_what_is_served_alone() {
    const TEST: &str = "areas::tunnel::real::\
                        what_is_written_connects_two_ends_keeps_sessions_and_lets_in_what_is_served_alone";
    if !is_inside() {
        return inside_with_mounts(TEST);
    }
    run("mount -t tmpfs none /run");
    let directory = tempfile::tempdir_in("/run").unwrap();
    let far_place = Place::new();
    run("ip link set lo up");
    run(&format!("ip link add wire0 type veth peer name wire1 netns {}", far_place.id()));
    run("ip address add 203.0.113.12/24 dev wire0");
    run("ip link set wire0 up");
    far_place.run("ip address add 203.0.113.14/24 dev wire1 && ip link set wire1 up");

    // Its own `/run` hides what is below this one's.
    let shared = std::env::temp_dir().join(format!("enxame-tunnel-{}", std::process::id()));
    std::fs::create_dir_all(&shared).unwrap();
    let in_far = |line: &str| far_place.output(line);
    let near = End { root: directory.path(), shell: &local };
    let far = End { root: &shared, shell: &in_far };
    if !near.can_have_a_tunnel() || !far.can_have_a_tunnel() {
        std::fs::remove_dir_all(&shared).unwrap();
        eprintln!("SKIPPED {TEST}: this kernel has no WireGuard, and there is no wireguard-go");
        return;
    }
    let (near_key, far_key) = (near.make_key(), far.make_key());
    let to_far = peer("far", "203.0.113.14", "192.168.255.2", &far_key);
    near.write_peers(std::slice::from_ref(&to_far));
    far.write_peers(&[peer("near", "203.0.113.12", "192.168.255.1", &near_key)]);
    near.carry_out("ExecStart=", "192.168.255.1");
    far.carry_out("ExecStart=", "192.168.255.2");

    assert!(far_place.reaches("192.168.255.1"), "{}", String::from_utf8_lossy(&local("wg show").stdout));
    let (seen, _) = look::look(&RealHost::new());
    let Observed::Known(Some(device)) = seen.interface else { panic!("{seen:?}") };
    let allowed = [(far_key.clone(), ["192.168.255.2/32".parse().unwrap()].into())].into();
    assert_eq!(
        device,
        DeviceFacts { public_key: Some(near_key.clone()), port: PORT, is_up: true, peers: allowed }
    );
    let agreed = handshake(&far_key);
    assert!(agreed.is_some());

    // Somebody comes, and the session with whom is there goes on.
    let other = PublicKey::new("KnZN7Q7h0VHb336NXFrNItUP7FXSQKC548fQNR2C7gs=").unwrap();
    near.write_peers(&[to_far.clone(), peer("other", "203.0.113.18", "192.168.255.3", &other)]);
    near.carry_out("ExecReload=", "192.168.255.1");
    assert!(far_place.reaches("192.168.255.1"));
    assert_eq!(handshake(&far_key), agreed, "no new handshake was needed");
    near.write_peers(std::slice::from_ref(&to_far));
    near.carry_out("ExecReload=", "192.168.255.1");

    // A container of this end would be taken for the end itself.
    let container = container_behind_this_end();
    assert!(container.reaches("192.168.255.2"), "without the guard it goes through");

    let config = Config::parse("cluster.yaml", CLUSTER).unwrap();
    let firewall = Firewall::of(&config);
    let node = &config.nodes[0];
    let served = firewall.in_the_tunnel(node, None).unwrap();
    let guard = Guard {
        interfaces: ["wire0"].into(),
        openings: &firewall.on_node(node, None),
        data_path_port: 4789,
        plaintext_vnis: Vec::new(),
        addresses: [node.address].into(),
        tunnel: Some(&served),
    };
    let table = directory.path().join("guard.nft");
    std::fs::write(&table, guard.text()).unwrap();
    let listeners = [2049, 2050].map(|port| TcpListener::bind(("0.0.0.0", port)).unwrap());
    assert!(far_place.connects("192.168.255.1", 2050), "without the guard it is open");
    run(&format!("nft -f {}", table.display()));
    assert!(far_place.connects("192.168.255.1", 2049), "what is served");
    assert!(!far_place.connects("192.168.255.1", 2050), "and nothing else");
    assert!(!far_place.connects("203.0.113.12", 2049), "and not outside the tunnel");
    far_place.run("nft add table ip seen");
    far_place.run("nft add chain ip seen in '{ type filter hook input priority 0 ; }'");
    far_place.run("nft add rule ip seen in icmp type echo-request counter");
    assert!(!container.reaches("192.168.255.2"), "nobody else's packets go on by the tunnel");
    let seen = far_place.output("nft list chain ip seen in").stdout;
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("counter packets 0 "), "not even one way: {seen}");
    assert!(far_place.reaches("192.168.255.1"), "the tunnel itself is let in");
    drop(listeners);

    // Who leaves is cut off at once, and half a key takes nobody's peers away.
    near.write_peers(&[]);
    near.carry_out("ExecReload=", "192.168.255.1");
    assert!(!far_place.reaches("192.168.255.1"));
    near.write_peers(std::slice::from_ref(&to_far));
    near.carry_out("ExecReload=", "192.168.255.1");
    assert!(within(Duration::from_secs(15), || far_place.reaches("192.168.255.1")));
    std::fs::write(directory.path().join("etc/enxame/tunnel.key"), "[Interface]\n").unwrap();
    let half = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        near.carry_out("ExecReload=", "192.168.255.1");
    }));
    assert!(half.is_err(), "the unit fails");
    assert!(far_place.reaches("192.168.255.1"));
    near.carry_out("ExecStop=", "192.168.255.1");
    assert_eq!(look::flags().unwrap(), None);
    std::fs::remove_dir_all(&shared).unwrap();
}

const OPERATED: &str = "version: 1\ncluster: lab\nssh: {allow_operator: false}\nnodes:\n\
                        \x20 - {name: near, address: 203.0.113.12, tunnel: 192.168.255.1}\n\
                        tunnel:\n  network: 192.168.255.0/24\n  operators:\n";

#[test]
fn an_operator_goes_on_from_another_address_and_a_stranger_gets_no_answer() {
    const TEST: &str = "areas::tunnel::real::\
                        an_operator_goes_on_from_another_address_and_a_stranger_gets_no_answer";
    if !is_inside() {
        return inside_with_mounts(TEST);
    }
    run("mount -t tmpfs none /run");
    run("ip link set lo up");
    let directory = tempfile::tempdir_in("/run").unwrap();
    let shared = std::env::temp_dir().join(format!("enxame-operator-{}", std::process::id()));
    std::fs::create_dir_all(&shared).unwrap();
    let (ana_place, stranger_place) = (Place::new(), Place::new());
    for (wire, place, network) in
        [("wire0", &ana_place, "203.0.113"), ("wire1", &stranger_place, "198.51.100")]
    {
        run(&format!("ip link add {wire} type veth peer name eth0 netns {}", place.id()));
        run(&format!("ip address add {network}.12/24 dev {wire}"));
        run(&format!("ip link set {wire} up"));
        place.run(&format!("ip address add {network}.50/24 dev eth0 && ip link set eth0 up"));
    }
    let near = End { root: directory.path(), shell: &local };
    if !near.can_have_a_tunnel() {
        std::fs::remove_dir_all(&shared).unwrap();
        eprintln!("SKIPPED {TEST}: this kernel has no WireGuard, and there is no wireguard-go");
        return;
    }
    let near_key = near.make_key();
    let (private, public) = key_pair(&ana_place);
    let operator = format!("    - {{name: ana, public_key: {public}, address: 192.168.255.254}}\n");
    let config = Config::parse("cluster.yaml", &format!("{OPERATED}{operator}")).unwrap();
    let (node, ana) = (&config.nodes[0], config.operators().next().unwrap());
    let one = Operator { name: ana.name.clone(), address: ana.address.unwrap(), key: public };
    near.write_peers_and(&[], std::slice::from_ref(&one));
    near.carry_out("ExecStart=", "192.168.255.1");
    let firewall = Firewall::of(&config);
    let inside = firewall.in_the_tunnel(node, None).unwrap();
    let guard = Guard {
        interfaces: ["wire0", "wire1"].into(),
        openings: &firewall.on_node(node, None),
        data_path_port: 4789,
        plaintext_vnis: Vec::new(),
        addresses: [node.address].into(),
        tunnel: Some(&inside),
    };
    let table = directory.path().join("guard.nft");
    std::fs::write(&table, guard.text()).unwrap();
    run(&format!("nft -f {}", table.display()));
    let [ssh, _other] = [22, 2222].map(|port| TcpListener::bind(("0.0.0.0", port)).unwrap());

    // What she has is what `enxame tunnel config` prints, and her key.
    let mut facts = crate::facts::gather(&crate::host::FakeHost::default(), &FactsQuery::default());
    facts.tunnel.key = KeyFacts::Usable { public: near_key.clone(), mode: 0o600 };
    let mut all = ClusterFacts::default();
    all.insert(node.name.clone(), facts);
    let file = operator::file(&config, &all, &ana.name).unwrap().text;
    assert!(brings_up(&ana_place, &shared, (&file, &private)));
    assert!(!ana_place.connects("203.0.113.12", 22), "SSH is open to no public address");
    assert!(ana_place.connects("192.168.255.1", 22), "{}", String::from_utf8_lossy(&local("wg show").stdout));
    assert!(!ana_place.connects("192.168.255.1", 2222), "and nothing else in the tunnel");
    drop(ssh.accept().unwrap());

    // Her address changes overnight, and a session that stands goes on.
    let script = format!(
        "exec 3<>/dev/tcp/192.168.255.1/22; echo before >&3; until [ -e {0}/moved ]; do sleep 0.1; done; echo after >&3; \
         until [ -e {0}/end ]; do sleep 0.1; done",
        shared.display()
    );
    let mut working = Command::new("nsenter")
        .args(["-m", "-n", "-t", &ana_place.id(), "timeout", "120", "bash", "-c", &script])
        .spawn()
        .unwrap();
    let (session, _) = ssh.accept().unwrap();
    session.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(session));
    assert_eq!(lines.next().unwrap().unwrap(), "before");
    ana_place.run("ip address flush dev eth0 && ip address add 203.0.113.77/24 dev eth0");
    std::fs::write(shared.join("moved"), "").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "after");
    assert!(ana_place.connects("192.168.255.1", 22), "and new ones come");
    let endpoint = look::look(&RealHost::new()).1[&one.key].endpoint.unwrap();
    assert_eq!(endpoint.ip().to_string(), "203.0.113.77");
    std::fs::write(shared.join("end"), "").unwrap();
    working.wait().unwrap();
    // A reload leaves her where she is.
    near.carry_out("ExecReload=", "192.168.255.1");
    assert!(ana_place.connects("192.168.255.1", 22));

    // Whoever has the file and no key that is known hears nothing at all.
    stranger_place.run("nft add table ip seen");
    stranger_place.run("nft add chain ip seen in '{ type filter hook input priority 0 ; }'");
    stranger_place.run("nft add rule ip seen in ip protocol != tcp counter");
    let (other_private, _) = key_pair(&stranger_place);
    let theirs = file.replace("203.0.113.12", "198.51.100.12");
    assert!(brings_up(&stranger_place, &shared, (&theirs, &other_private)));
    assert!(!stranger_place.connects("192.168.255.1", 22));
    let told = stranger_place.output(&format!("wg show {INTERFACE} transfer")).stdout;
    let told = String::from_utf8_lossy(&told).into_owned();
    let sent: u64 = told.trim().rsplit('\t').next().unwrap().parse().unwrap();
    assert!(sent > 0, "it has called: {told}");
    let heard = stranger_place.output("nft list chain ip seen in").stdout;
    let heard = String::from_utf8_lossy(&heard);
    assert!(heard.contains("counter packets 0 "), "{heard}");

    // Who is no operator any more is cut off at once.
    near.write_peers_and(&[], &[]);
    near.carry_out("ExecReload=", "192.168.255.1");
    assert!(!ana_place.connects("192.168.255.1", 22));
    near.carry_out("ExecStop=", "192.168.255.1");
    std::fs::remove_dir_all(&shared).unwrap();
}
