//! Operators in the tunnels: let in from wherever they are, where SSH is shut to everybody else.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::support::{NODES, applied, enxame, in_operators_place, root};

const ELSEWHERE: &str = "203.0.113.77";
const HOME: &str = "203.0.113.1";
/// A key that nobody here has.
const OTHER: &str = "UUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUA=";
/// Its interface is called like it.
const OPERATOR: &str = "ana";

fn lab_file(name: &str) -> PathBuf {
    root().join(".lab").join(name)
}

/// Writes a file that root alone reads.
fn write(name: &str, text: &str) -> String {
    let path = lab_file(name);
    // Its mode is that of its making.
    let _ = fs::remove_file(&path);
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The operator's end of the tunnels, while it is held; where the operator is at home again afterwards.
struct OwnEnd(String);

impl OwnEnd {
    fn up(file: String) -> Self {
        in_operators_place("ip link show ana >/dev/null 2>&1 && ip link del ana; true");
        in_operators_place(&format!(
            "WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go wg-quick up {file} 2>&1"
        ));
        Self(file)
    }
}

impl Drop for OwnEnd {
    fn drop(&mut self) {
        move_from(ELSEWHERE, HOME);
        in_operators_place(&format!("wg-quick down {} 2>&1 || true", self.0));
    }
}

fn move_from(here: &str, there: &str) {
    in_operators_place(&format!(
        "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1
         ip addr show eth0 | grep -q {there}/ || ip addr add {there}/24 dev eth0
         ip addr show eth0 | grep -q {here}/ && ip addr del {here}/24 dev eth0
         ip route replace default via 203.0.113.254"
    ));
}

#[test]
fn an_operator_whose_address_changes_works_on_through_the_tunnels_and_nobody_else_reaches_ssh() {
    applied();
    let mut text = fs::read_to_string(lab_file("cluster.yaml")).unwrap();
    let mut ssh = format!("Include {}\n", lab_file("ssh_config").display());
    for (place, (name, address)) in NODES.iter().enumerate() {
        let inside = format!("192.168.255.{}", place + 1);
        text = text.replace(
            &format!("    address: {address}\n"),
            &format!("    address: {address}\n    tunnel: {inside}\n"),
        );
        let _ = write!(ssh, "Host {inside}\n    HostKeyAlias {name}\n    User root\n");
    }
    let key = in_operators_place("wg genkey");
    let public_key = in_operators_place(&format!("echo {key} | wg pubkey"));
    let _ = write!(
        text,
        "\ntunnel:\n  network: 192.168.255.0/24\n  operators:\n    - name: {OPERATOR}\n      public_key: {public_key}\n      \
         address: 192.168.255.254\n"
    );
    let from_home = write("operators.yaml", &text);
    let made = enxame(&["apply", "--yes", "--quiet", "--config", &from_home]);
    assert_eq!(made.code, 0, "{made}");

    let file = enxame(&["tunnel", "config", OPERATOR, "--quiet", "--config", &from_home]);
    assert_eq!(file.code, 0, "{file}");
    assert!(!file.stdout.contains(&key));
    let with_key = file.stdout.replace("[Interface]\n", &format!("[Interface]\nPrivateKey = {key}\n"));
    let _own_end = OwnEnd::up(write("ana.conf", &with_key));

    // Through the tunnels SSH is shut to all public addresses.
    write("tunnel_ssh_config", &ssh);
    for (place, (_, address)) in NODES.iter().enumerate() {
        let inside = format!("    tunnel: 192.168.255.{}\n", place + 1);
        assert!(text.contains(&inside), "{address}");
        text = text.replace(&inside, &format!("{inside}    ssh_host: 192.168.255.{}\n", place + 1));
    }
    text = text.replace("config_file: ssh_config", "config_file: tunnel_ssh_config");
    let home = text.lines().find(|line| line.starts_with("  allow_from:")).unwrap().to_owned();
    text = text.replace(&home, "  allow_from: []\n  allow_operator: false");
    let through = write("through.yaml", &text);
    let closed = enxame(&["apply", "--yes", "--quiet", "--config", &through]);
    assert_eq!(closed.code, 0, "{closed}");
    let in_clear = "for node in 12 14 18; do timeout 4 bash -c \"</dev/tcp/203.0.113.$node/22\" 2>/dev/null && echo open; done; true";
    assert_eq!(in_operators_place(in_clear), "");

    // The address changes; nothing has to be said to anybody.
    move_from(HOME, ELSEWHERE);
    assert_eq!(in_operators_place(in_clear), "");
    let settled = enxame(&["plan", "--quiet", "--config", &through]);
    assert_eq!((settled.code, settled.stdout.trim()), (0, "Nothing to change."), "{settled}");
    let seen = in_operators_place(&format!(
        "ssh -F {} 192.168.255.1 wg show enxame0 endpoints",
        lab_file("tunnel_ssh_config").display()
    ));
    assert!(seen.contains(ELSEWHERE) && !seen.contains(&format!("{HOME}:")), "{seen}");
    // From there, and through the tunnel, what would shut that out is refused.
    let locked_out = write(
        "locked-out.yaml",
        &text.replace(&format!("name: {OPERATOR}"), "name: other").replace(&public_key, OTHER),
    );
    let refused = enxame(&["apply", "--yes", "--quiet", "--config", &locked_out]);
    assert_eq!(refused.code, 3, "{refused}");
}
