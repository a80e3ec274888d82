//! The MTU in the tunnels: what fits below every pair of nodes, less what a packet gets around it.

use super::unit;
use crate::areas::swarm::overlay::smallest_path_mtu;
use crate::declare::View;
use crate::facts::FileFacts;

/// IPv6, UDP and `WireGuard`'s own header and tag: 40, 8 and 32 bytes. Over IPv4 it is 20 less, which nobody misses.
const AROUND_BYTES: u32 = 80;

/// In bytes. A path that could not be measured does not make it larger than it is: a server that is off may be the one
/// behind the narrow path.
pub(super) fn wanted(view: &View<'_>) -> u32 {
    let (smallest, unmeasured) = smallest_path_mtu(view);
    let wanted = smallest.saturating_sub(AROUND_BYTES);
    let unit = view.facts.files.get(unit::UNIT_PATH).and_then(FileFacts::content);
    let now = unit.and_then(unit::mtu_bytes).filter(|_| !unmeasured.is_empty() || !view.all.is_whole());
    now.map_or(wanted, |now| now.min(wanted))
}
