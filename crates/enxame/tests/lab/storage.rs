//! Files that every node shares, in the tunnels: made over a swarm that had neither, used by containers, and through the loss of
//! the server.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::{
    self, Ended, NODES, applied, enxame, lab, loaded_or, node, on_node, outside, wait_until,
};

pub(crate) const SERVER: &str = "kvm8-core";
pub(crate) const DIRECTORY: &str = "/srv/nfs/swarm_data/web";
const OPTIONS: &str = "addr=192.168.255.3,nfsvers=4.2,hard,timeo=100,retrans=2";

/// `.lab/cluster.yaml` with tunnels and shared files.
fn config() -> PathBuf {
    let path = support::config().with_file_name("storage.yaml");
    let mut text = fs::read_to_string(support::config()).unwrap();
    for (place, (_, address)) in NODES.iter().enumerate() {
        let own = format!("    address: {address}\n");
        assert!(text.contains(&own), "{text}");
        text = text.replace(&own, &format!("{own}    tunnel: 192.168.255.{}\n", place + 1));
    }
    text += "\ntunnel:\n  network: 192.168.255.0/24\nstorage:\n  size: 256M\n  exports:\n    - name: web\n      uid: 1000\n    \
             - name: database\n      uid: 999\n      squash: none\n      clients: [kvm8-core]\n";
    fs::write(&path, text).unwrap();
    path
}

pub(crate) fn with_files(arguments: &[&str]) -> Ended {
    enxame(&[arguments, &["--config", config().to_str().unwrap()]].concat())
}

fn make() {
    applied();
    let first = with_files(&["apply", "--yes", "--quiet"]);
    assert_eq!(first.code, 0, "{first}");
}

pub(crate) fn shared() {
    loaded_or("shared", make);
}

pub(crate) fn planned() -> Vec<String> {
    let plan = with_files(&["plan", "--json", "--quiet"]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let changes = plan["changes"].as_array().unwrap().iter();
    changes.map(|c| format!("{}: {}", c["node"].as_str().unwrap(), c["summary"].as_str().unwrap())).collect()
}

#[test]
fn a_swarm_gets_tunnels_and_shared_files_which_are_proven_and_nothing_else_is_open() {
    shared();
    assert_eq!(planned(), Vec::<String>::new());
    let verify = with_files(&["verify", "--only", "storage", "--quiet"]);
    assert_eq!(verify.code, 0, "{verify}");
    // What the kernel says, and not a file.
    assert_eq!(on_node(SERVER, "cat /proc/fs/nfsd/versions"), "-3 +4 -4.0 +4.1 +4.2");
    for (name, _) in NODES {
        let listening =
            on_node(name, "ss -Hlntu | awk '{print $5}' | grep -E ':(111|2049)$' | sort -u || true");
        let expected = if name == SERVER { "192.168.255.3:2049" } else { "" };
        assert_eq!(listening, expected, "{name}");
        // A role alone let it in between public addresses before there were tunnels.
        let rules = on_node(name, "ufw status; nft list table inet enxame");
        let public = rules.lines().filter(|line| line.contains("2049") && line.contains("203.0.113."));
        assert_eq!(public.collect::<Vec<_>>(), Vec::<&str>::new(), "{name}");
    }
    let stranger = outside(&[
        "sh",
        "-c",
        "timeout 3 bash -c '</dev/tcp/203.0.113.18/2049' 2>/dev/null && echo open || echo shut",
    ]);
    assert_eq!(stranger.trim(), "shut");
    // Its room is its own: what is promised is there.
    let blocks =
        on_node(SERVER, "stat -c '%b %B' /srv/nfs/swarm_data.ext4 | awk '{print $1 * $2 / 1048576}'");
    assert!(blocks.parse::<f64>().unwrap() >= 255.0, "{blocks} MiB of 256 are allocated");
}

/// What is spoilt behind enxame's back is proven to be so, planned and mended.
#[test]
fn what_is_opened_by_hand_is_proven_open_and_apply_shuts_it() {
    shared();
    on_node(
        SERVER,
        "sed -i 's/^vers4.0=n/vers4.0=y/; /^host=/d' /etc/nfs.conf.d/enxame.conf && systemctl restart nfs-server && \
         exportfs -o rw,no_root_squash,no_all_squash,no_subtree_check,insecure 192.168.255.1:/srv/nfs/swarm_data/web",
    );
    let verify = with_files(&["verify", "--only", "storage", "--json", "--quiet"]);
    assert_eq!(verify.code, 3, "{verify}");
    let evidence: Value = serde_json::from_str(&verify.stdout).unwrap();
    let proofs = evidence["report"]["proofs"].as_array().unwrap();
    let failed: BTreeSet<String> = proofs
        .iter()
        .filter(|proof| proof["verdict"] == "fail")
        .map(|proof| format!("{} {}", proof["id"].as_str().unwrap(), proof["node"].as_str().unwrap()))
        .collect();
    let expected = [
        "files_owned kvm2-manager",
        "files_shut kvm2-manager",
        "files_shut kvm4-manager",
        "files_shut kvm8-core",
    ];
    assert_eq!(failed, expected.map(str::to_owned).into(), "{verify}");
    assert!(verify.stdout.contains("NFSv4.0 takes calls"), "{verify}");

    assert!(
        planned().contains(&format!("{SERVER}: serve the shared files in the tunnels")),
        "{:?}",
        planned()
    );
    let mended = with_files(&["apply", "--yes", "--quiet"]);
    assert_eq!(mended.code, 0, "{mended}");
    assert_eq!(planned(), Vec::<String>::new());

    // Other keys for all, and everything is as before.
    let keys = || NODES.map(|(name, _)| on_node(name, "wg show enxame0 public-key"));
    let before = keys();
    let rotated = with_files(&["rotate", "tunnel-keys", "--yes", "--quiet"]);
    assert_eq!(rotated.code, 0, "{rotated}");
    assert!(keys().iter().zip(&before).all(|(now, before)| now != before), "{before:?}");
    assert_eq!(planned(), Vec::<String>::new());
    let verify = with_files(&["verify", "--only", "storage", "--quiet"]);
    assert_eq!(verify.code, 0, "{verify}");
}

/// An image with a shell, out of the node's own programs: there is none to be had from elsewhere.
const IMAGE: &str = "T=$(mktemp -d) && mkdir -p $T/bin $T/lib64 $T/lib/x86_64-linux-gnu && cp /usr/bin/dash $T/bin/sh && \
    cp /usr/bin/sync /usr/bin/cat $T/bin/ && cp -L /lib64/ld-linux-x86-64.so.2 $T/lib64/ && \
    cp -L /lib/x86_64-linux-gnu/libc.so.6 $T/lib/x86_64-linux-gnu/ && tar -C $T -c . | docker import - shell >/dev/null && rm -r $T";

/// Appends numbered lines for ever, each flushed to the server's disk before the next, and tells on the node which were.
fn write_in_container(on: &str, writer: &str) {
    let count = format!(
        "i=0; while :; do i=$((i+1)); echo $i >>/data/{writer} && sync /data/{writer} && echo $i >/told/{writer}; done"
    );
    on_node(on, "mkdir -p /run/told");
    on_node(
        on,
        &format!(
            "docker run -d --name {writer} -v web:/data:nocopy -v /run/told:/told shell sh -c '{count}'"
        ),
    );
}

fn told(on: &str, writer: &str) -> u64 {
    on_node(on, &format!("cat /run/told/{writer} 2>/dev/null || true")).parse().unwrap_or(0)
}

#[test]
fn containers_that_write_while_the_server_loses_its_power_wait_and_lose_nothing() {
    shared();
    let writers = [("kvm2-manager", "one"), ("kvm2-manager", "two"), ("kvm4-manager", "three")];
    for name in ["kvm2-manager", "kvm4-manager"] {
        on_node(name, IMAGE);
        on_node(
            name,
            &format!(
                "docker volume create --driver local --opt type=nfs --opt device=:{DIRECTORY} --opt o={OPTIONS} web"
            ),
        );
    }
    // The engine's volumes with the entry's options are nothing to speak of; with others they are named.
    assert_eq!(planned(), Vec::<String>::new());
    on_node(
        "kvm4-manager",
        &format!(
            "docker volume create --driver local --opt type=nfs --opt device=:{DIRECTORY} --opt o=addr=192.168.255.3,soft old"
        ),
    );
    let plan = with_files(&["plan", "--quiet"]);
    assert!(plan.stdout.contains("the volume old mounts"), "{plan}");

    for (on, writer) in writers {
        write_in_container(on, writer);
    }
    wait_until(Duration::from_secs(60), "all write", || {
        writers.iter().all(|(on, writer)| told(on, writer) > 3)
    });
    lab(&["kill", SERVER]);
    let before: Vec<u64> = writers.iter().map(|(on, writer)| told(on, writer)).collect();
    lab(&["start", SERVER]);
    // Nobody lends a hand: the tunnel, the file system and the server come up by themselves, and clients claim what they had.
    wait_until(Duration::from_secs(240), "all write again", || {
        writers.iter().zip(&before).all(|((on, writer), before)| told(on, writer) > before + 3)
    });
    for (on, writer) in writers {
        on_node(on, &format!("docker rm -f {writer}"));
        let last = told(on, writer);
        let missing = format!("seq {last} | grep -vxFf {DIRECTORY}/{writer} | wc -l");
        assert_eq!(
            on_node(SERVER, &missing),
            "0",
            "{writer}: of {last} lines that were told to be on the disk"
        );
    }
    let status = with_files(&["storage", "status", "--quiet"]);
    assert!(status.succeeded() && status.stdout.contains("kvm8-core serves NFS v4.1, v4.2"), "{status}");
    wait_until(Duration::from_secs(60), "the plan is empty", || {
        let plan = with_files(&["plan", "--quiet"]);
        plan.code == 0
    });

    // Whoever fills the shared files fills nothing else.
    let full = node(
        SERVER,
        &format!(
            "dd if=/dev/zero of={DIRECTORY}/full bs=1M; rm {DIRECTORY}/full; df --output=avail -m / | tail -1"
        ),
    );
    assert!(full.stderr.contains("No space left on device"), "{full}");
    assert!(full.stdout.trim().parse::<u64>().unwrap() > 1000, "{full}");
}
