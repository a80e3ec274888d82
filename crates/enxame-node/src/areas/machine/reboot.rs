//! Starting the machine anew.

use std::path::Path;

use enxame_core::areas::machine::reboot::Action;

use crate::actuate::{ActuateError, Context};
use crate::host::Command;

/// Where the kernel says which boot this is.
pub(crate) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    // Asked a second time, after the machine has done so.
    if on.host.read(Path::new(BOOT_ID)).content().is_some_and(|now| now.trim() != action.boot_id) {
        return Ok(());
    }
    // A moment later: this answer is on its way first.
    on.host.run_ok(&Command::new([
        "systemd-run",
        "--quiet",
        "--collect",
        "--on-active=2",
        "--timer-property=AccuracySec=100ms",
        "systemctl",
        "reboot",
    ]))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actuate::PackageLists;
    use crate::host::{FakeHost, Finished};

    fn act_on(host: &FakeHost) {
        let mut context =
            Context { host, handed: None, progress: &mut |_| (), package_lists: &mut PackageLists::Fetched };
        act(&mut context, &Action { boot_id: "before".to_owned() }).unwrap();
    }

    #[test]
    fn a_machine_that_has_booted_since_is_not_booted_again() {
        let fine = Finished { code: Some(0), stdout: String::new(), stderr: String::new() };
        let host = || FakeHost::default().answering("systemd-run", fine.clone());
        let before = host().with_file(BOOT_ID, "before\n");
        act_on(&before);
        assert_eq!(before.ran().len(), 1);
        let since = host().with_file(BOOT_ID, "after\n");
        act_on(&since);
        assert!(since.ran().is_empty());
    }
}
