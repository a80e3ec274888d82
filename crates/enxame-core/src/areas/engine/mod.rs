//! The container engine (manual 5.1).

pub mod config;
mod conflicts;
pub mod docker_group;
pub(crate) mod facts;
pub mod package;
pub mod removal;

super::actions! {
    Engine:
    /// Its configuration file.
    Config(config),
    /// Its packages.
    Package(package),
    /// Who may use it.
    DockerGroup(docker_group),
    /// Taking off what was made of it.
    Removal(removal),
}
