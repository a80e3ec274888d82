//! The pure part of enxame: what the user wants ([`config`]), what is there ([`facts`]), what to do
//! about the difference ([`plan`]) and what was proven ([`proofs`], [`report`]).
//!
//! Nothing here performs I/O, reads a clock, draws randomness or starts a process. Data goes one way:
//! `cluster.yaml` and facts become a plan; applying it and probing the wire becomes a report.

pub mod areas;
pub mod change;
pub mod config;
pub mod declare;
pub mod edge;
pub mod facts;
pub mod files;
pub mod gate;
pub mod journal;
pub mod limits;
pub mod names;
pub mod plan;
pub mod ports;
pub mod probe;
pub mod procedures;
pub mod proofs;
pub mod proposal;
pub mod protocol;
pub mod report;
pub mod secret;
pub mod terminal;
pub mod version;
