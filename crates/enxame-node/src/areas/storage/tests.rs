//! What the actions do to a node, in memory.

use enxame_core::areas::storage::{
    EXPORTS_PATH, IMAGE_PATH, MOUNT_PATH, client, filesystem, removal, server,
};
use enxame_core::files::{HEADER, OwnedFile};

use crate::host::{FakeHost, Finished};
use crate::testing::acting::{act, fine, lines, refused};

fn making() -> filesystem::Action {
    filesystem::Action { bytes: 1 << 30, unit: OwnedFile::new(MOUNT_PATH, HEADER) }
}

fn with_disk() -> FakeHost {
    let device = Finished { stdout: "/dev/loop0\n".to_owned(), ..fine() };
    let programs = ["mkdir", "fallocate", "chmod", "mkfs.ext4", "sync", "mv", "systemctl", "resize2fs"];
    let host =
        programs.into_iter().fold(FakeHost::default(), |host, program| host.answering(program, fine()));
    host.answering("losetup --noheadings", device).answering("losetup", fine())
}

fn formatted(host: &FakeHost) -> bool {
    lines(host).iter().any(|line| line.starts_with("mkfs"))
}

#[test]
fn a_file_system_is_made_beside_its_place_and_one_that_is_there_is_never_formatted() {
    let host = with_disk();
    act(&host, None, making()).unwrap();
    let ran = lines(&host);
    let place = |what: &str| ran.iter().position(|line| line.contains(what)).unwrap();
    assert!(place("mkfs.ext4") < place("mv ") && place("mv ") < place("systemctl start"), "{ran:#?}");
    assert!(!ran[place("mkfs.ext4")].ends_with(&format!(" {IMAGE_PATH}")), "{ran:#?}");

    let host = with_disk().with_file(IMAGE_PATH, "whatever is in it");
    act(&host, None, making()).unwrap();
    assert!(
        !formatted(&host) && !lines(&host).iter().any(|line| line.starts_with("mv")),
        "{:#?}",
        lines(&host)
    );
    assert!(lines(&host).contains(&"resize2fs /dev/loop0".to_owned()));
}

#[test]
fn a_file_system_that_is_not_whole_does_not_come_to_its_place() {
    let host = FakeHost::default().answering("mkfs.ext4", refused("no space left on device"));
    let host =
        ["mkdir", "fallocate", "chmod"].into_iter().fold(host, |host, one| host.answering(one, fine()));
    assert!(act(&host, None, making()).is_err());
    assert!(!lines(&host).iter().any(|line| line.starts_with("mv") || line.starts_with("systemctl")));
}

fn serving(how: server::How) -> server::Action {
    let path = "/srv/nfs/swarm_data/web".to_owned();
    server::Action {
        install: Vec::new(),
        directories: vec![server::Directory { path, uid: 1000, gid: 1001, mode: 0o2750 }],
        files: vec![OwnedFile::new(EXPORTS_PATH, HEADER)],
        how,
    }
}

#[test]
fn nothing_is_made_in_the_place_of_a_file_system_that_is_not_mounted() {
    let host = FakeHost::default().answering("mountpoint", refused(""));
    let error = act(&host, None, serving(server::How::Restart)).unwrap_err();
    assert!(error.to_string().contains("is not mounted"), "{error}");
    assert_eq!(lines(&host).len(), 1);
    assert!(!host.files().keys().any(|path| path.ends_with("enxame.exports")));
}

#[test]
fn directories_get_their_owner_and_what_is_in_them_is_left_alone() {
    let programs = ["mountpoint", "mkdir", "chown", "chmod", "systemctl", "exportfs"];
    let host = programs.into_iter().fold(FakeHost::default(), |host, one| host.answering(one, fine()));
    act(&host, None, serving(server::How::Reload)).unwrap();
    let ran = lines(&host);
    assert!(ran.contains(&"chmod -- 2750 /srv/nfs/swarm_data/web".to_owned()), "{ran:#?}");
    assert!(!ran.iter().any(|line| line.contains("-R") || line.contains("recursive")), "{ran:#?}");
    assert_eq!(ran.last().unwrap(), "exportfs -r");
    assert!(!ran.iter().any(|line| line.contains("restart nfs-server")), "{ran:#?}");
}

#[test]
fn a_server_that_does_not_come_up_is_told_in_its_own_words() {
    let said = Finished { stdout: "rpc.nfsd: unable to bind AF_INET TCP socket\n".to_owned(), ..fine() };
    let programs = ["mountpoint", "mkdir", "chown", "chmod"];
    let host = programs.into_iter().fold(FakeHost::default(), |host, one| host.answering(one, fine()));
    let host = host
        .answering("systemctl restart nfs-server.service", refused("Job for nfs-server.service failed"))
        .answering("systemctl", fine())
        .answering("journalctl", said);
    let error = act(&host, None, serving(server::How::Restart)).unwrap_err();
    assert!(error.to_string().contains("unable to bind AF_INET TCP socket"), "{error}");
}

#[test]
fn what_listens_for_older_versions_is_masked_before_its_package_comes() {
    let action = client::Action {
        mask: vec!["rpcbind.socket".to_owned()],
        install: vec!["nfs-common".to_owned()],
        conf: OwnedFile::new("/etc/nfs.conf.d/enxame.conf", HEADER),
    };
    let host = ["systemctl", "apt-get", "dpkg"]
        .into_iter()
        .fold(FakeHost::default(), |host, one| host.answering(one, fine()));
    act(&host, None, action).unwrap();
    let ran = lines(&host);
    let place = |what: &str| ran.iter().position(|line| line.contains(what)).unwrap();
    assert!(place("mask --quiet rpcbind.socket") < place("nfs-common"), "{ran:#?}");
}

#[test]
fn whoever_exports_files_of_their_own_keeps_the_server() {
    let all = |serves, stop| {
        let host = ["systemctl", "exportfs"]
            .into_iter()
            .fold(FakeHost::default(), |host, one| host.answering(one, fine()))
            .with_file(EXPORTS_PATH, HEADER);
        act(&host, None, removal::Action { unmask: vec!["rpcbind.socket".to_owned()], serves, stop })
            .unwrap();
        assert_eq!(host.files().keys().filter(|path| !path.starts_with("/var/lib/enxame")).count(), 0);
        lines(&host)
    };
    assert!(all(true, true).contains(&"systemctl disable --now --quiet nfs-server.service".to_owned()));
    let kept = all(true, false);
    assert!(!kept.iter().any(|line| line.contains("disable --now --quiet nfs-server")), "{kept:#?}");
    assert_eq!(kept.last().unwrap(), "systemctl restart nfs-server.service");
    assert!(!all(false, false).iter().any(|line| line.contains("nfs-server")));
}
