use std::os::unix::fs::symlink;

use super::*;

/// A machine's files, below a directory of their own.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A unit that is started at boot.
    fn enabled(self, unit: &str, text: &str) -> Self {
        let wants = self.0.path().join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants).unwrap();
        symlink(format!("/usr/lib/systemd/system/{unit}"), wants.join(unit)).unwrap();
        self.with(&format!("usr/lib/systemd/system/{unit}"), text)
    }

    /// Who is found: what is started, the line, and whether it is sure.
    fn rivals(&self) -> Vec<(String, String, bool)> {
        look(self.0.path()).into_iter().map(|one| (one.started_by, one.text, one.is_sure)).collect()
    }

    fn rival(&self) -> (String, String, bool) {
        let mut all = self.rivals();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

fn unit(start: &str) -> String {
    format!(
        "[Unit]\nDescription=Something of ours\n[Service]\nExecStart={start}\nExecStop=/usr/sbin/iptables -F\n"
    )
}

#[test]
fn a_unit_that_loads_rules_whole_or_flushes_is_found_whatever_it_is_called() {
    for start in [
        "/usr/sbin/iptables-restore /etc/iptables/iptables.rules",
        "/bin/sh -c '/sbin/iptables-legacy-restore < /etc/iptables.rules'",
        "-/usr/sbin/ip6tables -t nat -F",
        "/usr/sbin/iptables --flush INPUT",
        "/usr/sbin/nft flush ruleset",
    ] {
        let found = Machine::new().enabled("mine.service", &unit(start)).rival();
        assert_eq!(found, ("mine.service".to_owned(), format!("ExecStart={start}"), true));
    }
    // A file in nft's language, as Debian's nftables.service loads it.
    let found = Machine::new()
        .enabled("mine.service", &unit("/usr/sbin/nft -f /etc/mine.nft"))
        .with("etc/mine.nft", "#!/usr/sbin/nft -f\n\nflush ruleset\n")
        .rival();
    assert!(found.2 && found.1.ends_with("/etc/mine.nft"), "{found:?}");
}

#[test]
fn what_adds_to_the_rules_of_others_or_is_not_started_is_no_rival() {
    for start in [
        "/usr/sbin/iptables-restore --noflush /etc/mine.rules",
        "/usr/sbin/iptables-restore -n /etc/mine.rules",
        "/usr/sbin/iptables -F f2b-sshd",
        "/usr/sbin/iptables -A INPUT -p tcp --dport 80 -j ACCEPT",
        "/usr/sbin/nft -f /etc/mine.nft",
        "/usr/bin/echo iptables",
    ] {
        let machine = Machine::new()
            .enabled("mine.service", &unit(start))
            .with("etc/mine.nft", "# flush ruleset\ntable inet mine\ndelete table inet mine\n");
        assert_eq!(machine.rivals(), [], "{start}");
    }
    let flushing = unit("/usr/sbin/iptables -F");
    let installed = Machine::new().with("usr/lib/systemd/system/mine.service", &flushing);
    assert_eq!(installed.rivals(), [], "it is not enabled");
    let masked = Machine::new().enabled("mine.service", &flushing);
    symlink("/dev/null", masked.0.path().join("etc/systemd/system/mine.service")).unwrap();
    assert_eq!(masked.rivals(), [], "it is masked");
    let ufw = Machine::new().enabled("ufw.service", &unit("/usr/sbin/iptables -F"));
    assert_eq!(ufw.rivals(), []);
}

#[test]
fn what_hooks_timers_and_boot_scripts_start_is_read_too() {
    let restore = "iptables-restore < /etc/iptables.rules";
    let script = format!("#!/bin/sh\n# iptables -F\n{restore}\n");
    let scripts = ["etc/network/if-pre-up.d/iptables", "etc/rc.local", "etc/cron.daily/rules"];
    for path in scripts {
        let found = Machine::new().with(path, &script).rival();
        assert_eq!(found, (format!("/{path}"), restore.to_owned(), true));
    }
    let tables = [
        ("etc/network/interfaces", format!("iface eth0 inet dhcp\n    pre-up {restore}\n")),
        ("etc/cron.d/rules", format!("@reboot root {restore}\n")),
    ];
    for (path, text) in tables {
        assert_eq!(Machine::new().with(path, &text).rival().0, format!("/{path}"));
    }
    let timer = Machine::new()
        .enabled("rules.timer", "[Timer]\nOnBootSec=1m\n")
        .with("etc/systemd/system/rules.service", &unit("/usr/local/sbin/rules"))
        .with("usr/local/sbin/rules", &script);
    assert_eq!(timer.rival(), ("rules.service".to_owned(), restore.to_owned(), true));
    let boot = Machine::new().with("etc/rc2.d/S01rules", "").with("etc/init.d/rules", &script);
    assert_eq!(boot.rival().0, "/etc/init.d/rules");
    assert_eq!(Machine::new().with("etc/init.d/rules", &script).rivals(), [], "it is not started");
}

#[test]
fn scripts_are_followed_and_what_hangs_on_a_condition_is_told_as_such() {
    // As Debian's netfilter-persistent 1.0.20 and its plugins are.
    let plugins = Machine::new()
        .enabled("mine.service", &unit("/usr/sbin/mine start"))
        .with(
            "usr/sbin/mine",
            "#!/bin/sh\nPLUGINS=/usr/share/mine\nrun() {\n    run-parts -a ${1} ${PLUGINS}\n}\n",
        )
        .with(
            "usr/share/mine/15-ip4tables",
            "#!/bin/sh\nload() {\n    iptables-restore < /etc/iptables/rules.v4\n}\n",
        );
    let found = ("mine.service".to_owned(), "iptables-restore < /etc/iptables/rules.v4".to_owned(), false);
    assert_eq!(plugins.rival(), found);
    let variable = Machine::new()
        .enabled("mine.service", &unit("/usr/sbin/mine"))
        .with("usr/sbin/mine", "#!/bin/bash\nIPT=/sbin/iptables\n$IPT -t filter -F\n");
    assert_eq!(variable.rival().1, "$IPT -t filter -F");
    // Two that call each other end.
    let circle = Machine::new()
        .enabled("mine.service", &unit("/usr/sbin/mine"))
        .with("usr/sbin/mine", "#!/bin/sh\n/usr/sbin/other\n")
        .with("usr/sbin/other", "#!/bin/sh\n/usr/sbin/mine\n");
    assert_eq!(circle.rivals(), []);
}

#[test]
fn firewalls_that_are_no_scripts_are_known_by_name_or_by_what_they_say_of_themselves() {
    let known = Machine::new().enabled("ferm.service", &unit("/etc/init.d/ferm start")).rival();
    assert!(known.0 == "ferm.service" && known.2, "{known:?}");
    let says = |more: &str| {
        let text = format!("[Unit]\nDescription=Our Firewall\n{more}[Service]\nExecStart=/usr/sbin/ours\n");
        Machine::new().enabled("ours.service", &text)
    };
    assert!(says("Before=network-pre.target shutdown.target\n").rival().2);
    // CrowdSec's bouncer comes between the network and those that load rules whole.
    assert_eq!(says("After=network.target\nBefore=netfilter-persistent.service\n").rivals(), []);
}
