//! The whole of enxame on three real machines (nextest profile `lab`, one thread): what only real kernels, engines and a
//! real network between them can show. All else is in the unit tests, and over a real sshd in `tests/ssh`.
//!
//! A module is an area of `scripts/lab-times`. The tests share one laboratory and may run in any order: each begins from
//! a state of one chain, `prepared` (packages in, nothing configured), `applied` (after one apply by this very build),
//! `published` (with what people publish by mistake), `shared` (with tunnels and shared files). Who comes to a state first makes and saves it; run in order of
//! their names, that is the test that shows it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod apply;
mod edge;
mod editions;
mod failures;
mod firewall;
mod stacks;
mod storage;
mod support;
mod tunnel;
mod uninstall;
mod wire;

use serde_json::Value;
use support::enxame;

/// The plan's changes as `node: summary`.
fn planned() -> Vec<String> {
    let plan = enxame(&["plan", "--json", "--quiet"]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let changes = plan["changes"].as_array().unwrap().iter();
    changes.map(|c| format!("{}: {}", c["node"].as_str().unwrap(), c["summary"].as_str().unwrap())).collect()
}
