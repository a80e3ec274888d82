//! What enxame runs on a node: the agent, the resources that act, and the probes that watch the wire.

pub mod engine;
pub mod facts;
pub mod host;
pub mod probes;
pub mod resources;
