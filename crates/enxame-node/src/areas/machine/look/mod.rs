//! What is seen of the machine. Each file owns one concern: parsers are pure functions on text, and a `look` reads what
//! they parse.

pub(crate) mod accounts;
mod barred;
pub(crate) mod clock;
pub(crate) mod cloud_init;
pub(crate) mod drop_ins;
pub(crate) mod echo;
pub(crate) mod esp;
pub(crate) mod interfaces;
pub(crate) mod modules;
pub(crate) mod occupied;
pub(crate) mod packages;
pub(crate) mod path_mtu;
pub(crate) mod routes;
pub(crate) mod sysctl;
pub(crate) mod system;
pub(crate) mod units;
pub(crate) mod unwritable;
pub(crate) mod upgrades;

use enxame_core::facts::Observed;

/// What a part says whose thread panicked, which its lints should rule out.
pub(crate) fn gave_up<T>() -> Observed<T> {
    Observed::Unknown("the look at it ended early".to_owned())
}
