//! The real planner and the real executor against modelled nodes, on a clock that stands while anybody works.
//!
//! What a seed says goes wrong: channels break, replies are lost, servers and operators die. What must hold whatever goes
//! wrong is in [`invariants`]. A seed that fails prints what happened, and is the same every time: nothing here asks the
//! real clock or throws real dice.

mod acts;
mod campaign;
mod defects;
mod faults;
mod invariants;
mod model;
mod node;
mod operator;
pub(super) mod scenario;
mod swarm;
mod tests;
