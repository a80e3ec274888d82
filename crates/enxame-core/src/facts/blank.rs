//! Facts of a node that nothing is known of, for tests to fill in.

use super::{
    CloudInitFacts, DockerSnap, EngineFacts, EngineState, FilterFacts, Hardware, Kernel, NodeFacts, Observed,
    OperatingSystem, StorageFacts, TunnelFacts, VolatileFacts,
};

/// A Debian with memory enough, and nothing else.
pub(crate) fn blank() -> NodeFacts {
    NodeFacts {
        os: OperatingSystem {
            id: "debian".into(),
            pretty_name: "Debian GNU/Linux 13 (trixie)".into(),
            ..OperatingSystem::default()
        },
        kernel: Kernel::default(),
        machine_id: String::new(),
        hostname: String::new(),
        hardware: Hardware { processors: 2, memory_bytes: 4 << 30, disk_bytes: 40 << 30 },
        files: [].into(),
        unwritable: [].into(),
        modules: [].into(),
        modules_barred: [].into(),
        esp: Observed::Unknown(String::new()),
        sysctl: [].into(),
        sysctl_set: Vec::new(),
        packages: [].into(),
        units: [].into(),
        engine: EngineFacts { state: EngineState::Absent, flags: Vec::new(), socket_is_directory: false },
        interfaces: Vec::new(),
        routes: [].into(),
        cloud_init: CloudInitFacts::default(),
        docker_snap: DockerSnap::Absent,
        upgrades_unattended: false,
        docker_group_members: None,
        ssh_session: None,
        ssh_answers_by: None,
        filter: FilterFacts::default(),
        tunnel: TunnelFacts::default(),
        storage: StorageFacts::default(),
        interrupted: Vec::new(),
        not_put_back: Vec::new(),
        before: None,
        volatile: VolatileFacts::default(),
    }
}
