//! Whether this machine can run guests in hardware.
//!
//! A `/dev/kvm` that opens is not enough: nested virtualisation may be advertised and yet never run an
//! instruction. Invariant: hardware is used only after a trial guest really ran on it.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};

use crate::{home::Home, tool::Tool};

/// Long enough for a loaded machine; a guest that runs at all is done in a fraction of a second.
const TRIAL_DEADLINE: Duration = Duration::from_secs(3);
/// QEMU's isa-debug-exit ends the emulator with twice the value written, plus one.
const TRIAL_VALUE: u8 = 0x2a;

/// How guests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// In hardware.
    Kvm,
    /// Translated in software.
    Software,
}

impl Accelerator {
    /// What this machine can do. Tried once per laboratory directory, then remembered.
    pub(crate) fn of_this_machine(home: &Home) -> Result<Self> {
        let remembered = home.inner("accelerator");
        match fs::read_to_string(&remembered).as_deref().map(str::trim) {
            Ok("kvm") if Path::new("/dev/kvm").exists() => return Ok(Self::Kvm),
            Ok("software") => return Ok(Self::Software),
            _ => {}
        }
        let accelerator = if Path::new("/dev/kvm").exists() && runs_a_guest(home, Self::Kvm)? {
            Self::Kvm
        } else {
            Self::Software
        };
        fs::write(&remembered, accelerator.name()).context("cannot remember whether KVM works")?;
        Ok(accelerator)
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Software => "software",
        }
    }

    /// QEMU's options for it.
    pub(crate) fn options(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Five-level page tables cost every emulated memory access one more step.
            Self::Software => ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off"],
        }
    }
}

/// Starts a firmware of three instructions, which ends the emulator with a value nothing else produces.
fn runs_a_guest(home: &Home, accelerator: Accelerator) -> Result<bool> {
    let firmware = home.inner("trial-firmware");
    fs::write(&firmware, trial_firmware()).with_context(|| format!("cannot write {}", firmware.display()))?;
    let outcome = Tool::new("qemu-system-x86_64")
        .args(["-machine", "pc", "-nodefaults", "-display", "none", "-m", "32"])
        .args(accelerator.options())
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-bios"])
        .arg(&firmware)
        .deadline(TRIAL_DEADLINE)
        .status();
    // Not to have ended in time is an answer too.
    Ok(outcome.is_ok_and(|status| status.code() == Some(i32::from(TRIAL_VALUE) * 2 + 1)))
}

/// 64 KiB whose last sixteen bytes are where an x86 processor starts: `mov al, value; out 0xf4, al; hlt`.
fn trial_firmware() -> Vec<u8> {
    let mut firmware = vec![0; 0xfff0];
    firmware.extend([0xb0, TRIAL_VALUE, 0xe6, 0xf4, 0xf4]);
    firmware.resize(0x1_0000, 0);
    firmware
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trial_guest_runs_where_everything_runs() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        if Tool::new("qemu-system-x86_64").arg("--version").run().is_err() {
            return;
        }
        assert!(runs_a_guest(&home, Accelerator::Software).unwrap());
    }

    #[test]
    fn what_was_found_out_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        fs::write(home.inner("accelerator"), "software\n").unwrap();
        assert_eq!(Accelerator::of_this_machine(&home).unwrap(), Accelerator::Software);
    }
}
