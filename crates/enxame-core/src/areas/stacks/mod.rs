//! Stacks (manual 6): compose files beside `cluster.yaml`, which Docker's own `docker stack deploy` deploys, and what this
//! program says of them before.

mod cluster;
mod compose;
pub mod lint;

pub use cluster::{Candidate, Cluster};
pub use compose::{ComposeFile, Environment};
