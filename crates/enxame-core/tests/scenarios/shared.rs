//! Shared files, from the first apply on: what is planned is made in the facts, and planned again.

use enxame_core::areas::storage::{EXPORTS_PATH, server::How};
use enxame_core::areas::{self, Action, storage};
use enxame_core::change::{Change, Risk};
use enxame_core::config::Config;
use enxame_core::declare::{Severity, SwarmFate};
use enxame_core::facts::{FileFacts, MountFacts, NodeFacts, PlaceFacts, ServerFacts, VolumeFacts};
use enxame_core::plan;

use crate::world::World;

const SERVER: &str = "kvm8-core";

fn new() -> World {
    World::of("shared_files_are_served_in_the_tunnels_alone")
}

fn served() -> World {
    let mut world = new();
    world.apply();
    world
}

fn kinds(world: &World) -> Vec<String> {
    world.changes().iter().map(|change| format!("{}/{}", change.node, change.kind)).collect()
}

fn warnings(world: &World) -> Vec<String> {
    let findings = world.plan().findings.into_iter().filter(|one| one.severity == Severity::Warning);
    findings
        .map(|one| one.message)
        .filter(|message| message.contains("/srv/") || message.contains("volume"))
        .collect()
}

fn server(node: &mut NodeFacts) -> &mut ServerFacts {
    node.storage.server.as_mut().unwrap()
}

fn how(change: &Change) -> How {
    match &change.action {
        Action::Storage(storage::Action::Server(action)) => action.how,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_apply_serves_them_and_leaves_nothing_to_do() {
    let world = new();
    assert_eq!(world.errors(), [""; 0]);
    let changes = world.changes();
    let serving = changes.iter().find(|change| change.kind.0 == "storage_server").unwrap();
    for before in ["storage_client", "storage_filesystem", "tunnel"] {
        let id = format!("{SERVER}/{before}");
        assert!(serving.after.iter().any(|after| after.0 == id), "{:?} has no {id}", serving.after);
    }
    let world = served();
    assert_eq!(kinds(&world), [""; 0]);
    let exports = world.seen(SERVER).files[EXPORTS_PATH].content().unwrap().to_owned();
    assert!(!exports.contains("no_root_squash") || exports.matches("/database ").count() == 1, "{exports}");
    assert!(!exports.contains("203.0.113."), "an address of the Internet is no key: {exports}");
}

#[test]
fn what_the_kernel_serves_counts_and_not_what_the_files_say() {
    type Spoil = fn(&mut NodeFacts);
    let spoils: [(&str, How, Spoil); 8] = [
        ("nfsd versions (live)", How::Restart, |node| {
            assert!(server(node).versions.insert("4.0".to_owned()));
        }),
        ("nfsd versions (live)", How::Restart, |node| assert!(server(node).versions.insert("3".to_owned()))),
        ("nfsd protocols (live)", How::Restart, |node| {
            assert!(server(node).protocols.insert("udp".to_owned()));
        }),
        ("nfsd addresses (live)", How::Restart, |node| {
            server(node).addresses = ["0.0.0.0".parse().unwrap()].into();
        }),
        ("nfs-server.service (live)", How::Restart, |node| node.storage.server = None),
        ("export of /srv/nfs/swarm_data/web to 192.168.255.1 (live)", How::Reload, |node| {
            let export = server(node).exports.iter_mut().find(|one| one.path.ends_with("/web")).unwrap();
            export.options.remove("all_squash");
        }),
        ("export of /srv/nfs/swarm_data/web to * (live)", How::Reload, |node| {
            let mut export = server(node).exports[0].clone();
            export.client = "*".to_owned();
            server(node).exports.push(export);
        }),
        ("/srv/nfs/swarm_data/web", How::Reload, |node| {
            node.storage.directories.get_mut("web").unwrap().mode = 0o777;
        }),
    ];
    for (field, expected, spoil) in spoils {
        let mut world = served();
        spoil(world.node(SERVER));
        let change = world.only_change();
        assert_eq!(change.id.0, format!("{SERVER}/storage_server"), "{field}");
        assert!(change.differences.iter().any(|one| one.field == field), "{field}: {:?}", change.differences);
        assert_eq!(how(&change), expected, "{field}");
        let disturbs = matches!(change.risk, Risk::Restarts(_));
        assert_eq!(
            disturbs,
            expected == How::Restart && world.seen(SERVER).storage.server.is_some(),
            "{field}"
        );
        world.apply();
        assert_eq!(kinds(&world), [""; 0], "{field}");
    }
}

#[test]
fn what_listens_for_older_versions_stays_masked_on_every_node() {
    for unit in ["rpcbind.service", "rpcbind.socket", "rpc-statd.service"] {
        let mut world = served();
        world.node("kvm2-manager").units.get_mut(unit).unwrap().active = "active".to_owned();
        assert_eq!(kinds(&world), ["kvm2-manager/storage_client"], "{unit}");
    }
}

#[test]
fn an_export_that_is_named_no_more_is_shut_and_its_files_stay() {
    let mut world = served();
    world.yaml = world.yaml.replace("    - name: web\n      uid: 1000\n", "");
    let change = world.only_change();
    assert_eq!(how(&change), How::Reload);
    assert_eq!(warnings(&world), ["/srv/nfs/swarm_data/web is shared no more, and its files stay"]);
    world.apply();
    assert_eq!((kinds(&world), warnings(&world)), (Vec::new(), Vec::new()));
}

#[test]
fn nothing_is_made_over_files_or_beyond_the_disk_and_each_refusal_says_what_to_do() {
    type Spoil = fn(&mut World);
    fn place(world: &mut World, place: PlaceFacts) {
        world.node(SERVER).storage.place = place;
    }
    let spoils: [(&str, Spoil); 9] = [
        ("has files in it and is no file system", |world| place(world, PlaceFacts::Directory { entries: 3 })),
        ("cannot hold the shared files: it is no directory", |world| {
            place(world, PlaceFacts::Other("it is no directory".to_owned()));
        }),
        ("is mounted read-only", |world| {
            place(
                world,
                PlaceFacts::Mounted(MountFacts {
                    source: "/dev/vdb".to_owned(),
                    filesystem: "xfs".to_owned(),
                    size_bytes: 1 << 30,
                    is_read_only: true,
                }),
            );
        }),
        ("how large the shared files may grow is not written", |world| {
            world.yaml = world.yaml.replace("  size: 2G\n", "");
        }),
        ("`storage.size` is 12G, and 10G are free", |world| {
            world.yaml = world.yaml.replace("size: 2G", "size: 12G");
        }),
        ("the shared files have 4G, and `storage.size` says 2G", |world| {
            world.node(SERVER).storage.image_bytes = Some(4 << 30);
        }),
        ("exports files already that cluster.yaml does not name: /etc/exports:1: /data *(rw)", |world| {
            world.node(SERVER).storage.foreign_exports = vec!["/etc/exports:1: /data *(rw)".to_owned()];
        }),
        ("/mnt/nas is mounted by NFS before version 4", |world| {
            world.node("kvm2-manager").storage.old_mounts = vec!["/mnt/nas".to_owned()];
        }),
        ("gives the role `storage` to kvm4-manager", |world| {
            world.apply();
            world.yaml = world
                .yaml
                .replace("roles: [storage, db, proxy]", "roles: [db, proxy]")
                .replace("    tunnel: 192.168.255.2\n", "    tunnel: 192.168.255.2\n    roles: [storage]\n");
        }),
    ];
    for (words, spoil) in spoils {
        let mut world = new();
        spoil(&mut world);
        let errors = world.errors();
        assert!(errors.iter().any(|error| error.contains(words)), "{words}: {errors:?}");
        assert!(world.plan().is_refused());
        let findings = world.plan().findings;
        assert!(findings.iter().all(|one| !one.hint.is_empty()), "{findings:?}");
    }
}

#[test]
fn a_file_system_of_the_users_own_is_taken_as_it_is_and_an_empty_directory_is_mounted_over() {
    let mut world = new();
    world.yaml = world.yaml.replace("  size: 2G\n", "");
    world.node(SERVER).storage.place = PlaceFacts::Mounted(MountFacts {
        source: "/dev/mapper/vg-files".to_owned(),
        filesystem: "xfs".to_owned(),
        size_bytes: 1 << 40,
        is_read_only: false,
    });
    assert_eq!(world.errors(), [""; 0]);
    assert!(!kinds(&world).contains(&format!("{SERVER}/storage_filesystem")));
    world.apply();
    assert_eq!(kinds(&world), [""; 0]);

    let mut world = new();
    world.node(SERVER).storage.place = PlaceFacts::Directory { entries: 0 };
    assert_eq!(world.errors(), [""; 0]);
    world.apply();
    assert_eq!(kinds(&world), [""; 0]);
}

#[test]
fn they_grow_by_what_is_written() {
    let mut world = served();
    world.yaml = world.yaml.replace("size: 2G", "size: 3G");
    let change = world.only_change();
    assert_eq!(
        (change.differences[0].old.as_deref(), change.differences[0].new.as_deref()),
        (Some("2G"), Some("3G"))
    );
    world.apply();
    assert_eq!(kinds(&world), [""; 0]);
    // Without a size they stay as they are.
    world.yaml = world.yaml.replace("  size: 3G\n", "");
    assert_eq!(kinds(&world), [""; 0]);
}

#[test]
fn a_volume_with_other_options_is_named_because_the_engine_says_nothing() {
    let mut world = served();
    let volume =
        |o: &str| VolumeFacts { device: ":/srv/nfs/swarm_data/web".to_owned(), options: o.to_owned() };
    let config = Config::parse("cluster.yaml", &world.yaml).unwrap();
    let entry =
        storage::volumes::entries(&config).into_iter().find(|one| one.export.as_str() == "web").unwrap();
    let node = world.node("kvm4-manager");
    node.storage.volumes.insert("good".to_owned(), volume(&entry.options));
    assert_eq!(warnings(&world), [""; 0]);
    let node = world.node("kvm4-manager");
    node.storage.volumes.insert("site".to_owned(), volume("addr=203.0.113.18,nfsvers=4,soft"));
    let told = warnings(&world);
    assert!(
        matches!(told.as_slice(), [one] if one.contains("the volume site mounts :/srv/nfs/swarm_data/web with `addr=203.0.113.18")),
        "{told:?}"
    );
}

#[test]
fn taken_away_they_are_served_no_more_and_stay_where_they_are() {
    let mut world = served();
    let (before, _) = world.yaml.split_once("storage:\n  size").unwrap();
    world.yaml = before.to_owned();
    let changes = world.changes();
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert!(warnings(&world).iter().any(|one| one == "the shared files stay in /srv/nfs/swarm_data"));
    world.apply();
    assert_eq!(kinds(&world), [""; 0]);
    assert!(matches!(world.seen(SERVER).storage.place, PlaceFacts::Mounted(_)));

    // Taken off whole, it is the same; and files of somebody else's with these names stay.
    let mut world = served();
    let other = FileFacts::Text { content: "[nfsd]\n".to_owned(), mode: 0o644, uid: 0, gid: 0 };
    world.node("kvm2-manager").files.insert("/etc/nfs.conf.d/enxame.conf".to_owned(), other);
    let plan =
        plan::make_removal(&world.config(), &world.facts, SwarmFate::Stays, areas::resources()).unwrap();
    let nodes: Vec<&str> = plan
        .changes
        .iter()
        .filter(|change| matches!(change.action, Action::Storage(_)))
        .map(|change| change.node.as_str())
        .collect();
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    assert!(!nodes.contains(&"kvm2-manager"));
}

#[test]
fn whoever_exports_files_of_their_own_keeps_the_server() {
    let mut world = served();
    let (before, _) = world.yaml.split_once("storage:\n  size").unwrap();
    world.yaml = before.to_owned();
    world.node(SERVER).storage.foreign_exports = vec!["/etc/exports:1: /data *(rw)".to_owned()];
    let change = world.only_of(SERVER);
    let Action::Storage(storage::Action::Removal(action)) = &change.action else { panic!("{change:?}") };
    assert_eq!((action.serves, action.stop), (true, false));
}

#[test]
fn a_node_that_does_not_answer_keeps_its_exports() {
    let mut world = served();
    world.facts.insert_hole("kvm2-manager".parse().unwrap(), "no route to host");
    assert_eq!(kinds(&world), [""; 0]);
}
