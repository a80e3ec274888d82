//! What enxame runs on a node: the agent, the resources that act, and the probes that watch the wire.

pub mod actuate;
pub mod agent;
pub mod apt;
pub mod areas;
pub mod before;
pub mod cancel;
pub mod deadman;
pub mod engine;
pub mod facts;
pub mod forget;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod host;
pub mod journal;
mod netlink;
pub mod operator_channel;
pub mod probes;
pub mod program;
pub mod replace;
pub mod scan;
pub mod swarm;
#[cfg(test)]
mod testing;
