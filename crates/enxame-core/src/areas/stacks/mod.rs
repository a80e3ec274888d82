//! Stacks (manual 6): compose files beside `cluster.yaml`, which Docker's own `docker stack deploy` deploys, what this program
//! says of them before, and whether they run after.

mod bundle;
mod cluster;
mod compose;
pub mod convergence;
mod conversion;
pub mod deploy;
mod diff;
mod environment;
pub mod lint;
pub mod prune;
pub mod removal;

pub use bundle::{Bundle, Content};
pub use cluster::{Candidate, Cluster};
pub use compose::{ComposeFile, Environment};
pub use conversion::{Conversion, Write};
pub use diff::{ServiceDifference, StackDifference, TasksFate};
pub use environment::own_variables;

/// The manual's section.
pub const SECTION: &str = "6";

super::actions! {
    Stacks:
    /// Deploying one.
    Deploy(deploy),
    /// Taking services away that are no longer in its file.
    Prune(prune),
    /// Taking one away.
    Removal(removal),
}
