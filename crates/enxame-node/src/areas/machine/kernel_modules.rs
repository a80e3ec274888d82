//! Kernel modules for encrypted overlay networks and the routing mesh (manual 2.2, corrected): the set follows the
//! engine's version, is kept across reboots, loaded now, and tried out by adding a real ESP association.

use enxame_core::areas::machine::kernel_modules::Action;
use enxame_core::facts::Observed;

use crate::actuate::{ActuateError, Context};
use crate::apt;
use crate::host::Command;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    if let Some(package) = &action.package {
        apt::install(on, std::slice::from_ref(package))?;
    }
    on.host.write_owned(&action.file)?;
    if !action.load.is_empty() {
        let words = ["modprobe", "--all", "--"].into_iter().map(str::to_owned);
        let words = words.chain(action.load.iter().cloned());
        on.host.run_ok(&Command::new(words))?;
    }
    match super::look::esp::try_esp() {
        Observed::Known(true) => Ok(()),
        Observed::Known(false) => Err(ActuateError::wrong(
            "the kernel refuses an ESP association with rfc4106(gcm(aes)) although its modules are loaded",
            "see `dmesg` on the node; boot the distribution's own kernel",
        )),
        Observed::Unknown(why) => Err(ActuateError::wrong(
            format!("cannot try an ESP association: {why}"),
            "see `dmesg` on the node",
        )),
    }
}
