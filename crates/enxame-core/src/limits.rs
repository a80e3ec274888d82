//! What a swarm bears (manual 1.2), and what enxame itself does. A swarm's managers elect by ticks of one second (swarmkit,
//! manager/state/raft/raft.go): loss hurts long before latency does.

/// From here a round trip is worth a warning, in microseconds.
pub(crate) const ROUND_TRIP_WARNING_US: u64 = 150_000;
/// From here elections become unstable, in microseconds.
pub(crate) const ROUND_TRIP_LIMIT_US: u64 = 500_000;
/// From here heartbeats get lost too often, in per cent of the packets there and back.
pub(crate) const LOSS_LIMIT_PERCENT: u32 = 2;

/// After this a node puts back what may have cut off SSH and was not confirmed. With what putting back takes it is in
/// reach again within 90 s.
pub const DEAD_MAN: std::time::Duration = std::time::Duration::from_secs(75);

/// The largest file that is read as text, in bytes, and so the largest that is ever written: ufw has two lines, some 200
/// bytes, for each address that it bans, and lists of bans have tens of thousands. The few such files of one look fit in
/// a frame together (`protocol::MAX_FRAME_BYTES`).
pub const MAX_TEXT_BYTES: u64 = 8 * 1024 * 1024;
