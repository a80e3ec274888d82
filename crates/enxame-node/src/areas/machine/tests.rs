//! What acts on the machine, on a node in memory.

use std::path::Path;

use enxame_core::areas::machine::{cloud_init, hostname, hosts, kernel_modules, sysctl, time_sync};
use enxame_core::files::OwnedFile;

use crate::actuate::ActuateError;
use crate::host::{FakeHost, Host};
use crate::testing::acting::{act, fine, lines, refused};

fn content(host: &FakeHost, path: &str) -> String {
    host.read(Path::new(path)).content().unwrap_or_default().to_owned()
}

#[test]
fn the_block_in_hosts_is_written_and_what_the_user_wrote_since_stays() {
    let host = FakeHost::default().with_file("/etc/hosts", "127.0.0.1 localhost\n192.0.2.9 mine\n");
    let action = hosts::Action { lines: "203.0.113.12 kvm2\n".to_owned() };
    act(&host, None, action.clone()).unwrap();
    let once = content(&host, "/etc/hosts");
    assert!(once.starts_with("127.0.0.1 localhost\n192.0.2.9 mine\n# BEGIN enxame"), "{once}");
    act(&host, None, action).unwrap();
    assert_eq!(content(&host, "/etc/hosts"), once);

    let broken = FakeHost::default().with_file("/etc/hosts", "# BEGIN enxame\n");
    let error = act(&broken, None, hosts::Action { lines: String::new() }).unwrap_err();
    assert!(matches!(error, ActuateError::Wrong { .. }), "{error:?}");
    assert_eq!(content(&broken, "/etc/hosts"), "# BEGIN enxame\n");
}

#[test]
fn cloud_init_gets_its_file() {
    let host = FakeHost::default();
    act(&host, None, cloud_init::Action(OwnedFile::new("/etc/cloud/x.cfg", "preserve_hostname: true\n")))
        .unwrap();
    assert_eq!(content(&host, "/etc/cloud/x.cfg"), "preserve_hostname: true\n");
}

#[test]
fn time_synchronisation_is_unmasked_and_started() {
    let host = FakeHost::default().answering("systemctl", fine());
    act(&host, None, time_sync::Action { unit: "chrony.service".to_owned(), install: None }).unwrap();
    assert_eq!(lines(&host), ["systemctl unmask chrony.service", "systemctl enable --now chrony.service"]);
}

#[test]
fn a_package_that_does_not_come_starts_no_unit() {
    let host =
        FakeHost::default().answering("apt-get", refused("E: no mirror")).answering("systemctl", fine());
    let install = Some("systemd-timesyncd".to_owned());
    let error = act(&host, None, time_sync::Action { unit: "systemd-timesyncd.service".to_owned(), install })
        .unwrap_err();
    assert!(matches!(error, ActuateError::Host(_)), "{error:?}");
    assert!(lines(&host).iter().all(|line| !line.starts_with("systemctl")));
}

#[test]
fn a_key_that_the_kernel_does_not_have_is_named_and_the_file_is_there() {
    let host = FakeHost::default();
    let file = OwnedFile::new("/etc/sysctl.d/99-x.conf", "kernel.enxame_no_such_key = 1\n");
    let live = [("kernel.enxame_no_such_key".to_owned(), "1".to_owned())].into();
    let error = act(&host, None, sysctl::Action { file, live }).unwrap_err();
    assert_eq!(error.to_string(), "cannot set kernel.enxame_no_such_key to 1");
    assert!(content(&host, "/etc/sysctl.d/99-x.conf").contains("enxame_no_such_key"));
}

#[test]
fn a_host_name_that_the_kernel_refuses_is_an_error() {
    // Longer than any kernel takes (uts_namespaces(7)): nothing is renamed by this test.
    let name = "x".repeat(65);
    let host = FakeHost::default();
    let file = OwnedFile::new("/etc/hostname", format!("{name}\n"));
    let error = act(&host, None, hostname::Action { file, name }).unwrap_err();
    assert!(matches!(error, ActuateError::System { .. }), "{error:?}");
}

#[test]
fn modules_that_do_not_load_are_an_error_and_are_kept_for_the_next_boot() {
    let host = FakeHost::default().answering("modprobe", refused("FATAL: Module esp4 not found"));
    let action = kernel_modules::Action {
        file: OwnedFile::new("/etc/modules-load.d/swarm-crypto.conf", "esp4\n"),
        load: vec!["esp4".to_owned()],
        package: None,
    };
    let error = act(&host, None, action).unwrap_err();
    assert!(matches!(error, ActuateError::Host(_)), "{error:?}");
    assert_eq!(lines(&host), ["modprobe --all -- esp4"]);
    assert_eq!(content(&host, "/etc/modules-load.d/swarm-crypto.conf"), "esp4\n");
}
