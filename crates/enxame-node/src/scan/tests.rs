//! Scans of this very host: of its loopback, and of one behind a filter in a network namespace of its own.

mod filtered;
mod loopback;

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;

use enxame_core::ports::PortSet;
use enxame_core::probe::{Scan, Scanned};

use super::{Effort, ScanError, scan, window};

fn order(target: &str, tcp: &str) -> Scan {
    Scan {
        target: target.parse::<IpAddr>().unwrap(),
        tcp: tcp.parse().unwrap(),
        udp: PortSet::default(),
        controls: Vec::new(),
    }
}

fn scanned(order: &Scan) -> Result<Scanned, ScanError> {
    let effort = Effort { window: window(1), cancelled: &AtomicBool::new(false) };
    scan(order, effort, &mut |_| ())
}

fn ports(text: &str) -> PortSet {
    text.parse().unwrap()
}
