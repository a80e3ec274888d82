//! Whether the kernel really takes the security associations of an encrypted overlay.
//!
//! The trial runs in a network namespace of its own that ends with the thread that made it. While a module it needs is
//! not loaded the trial would load it, which is a change, so [`look`] does not try then and [`try_esp`] does.

use std::io;
use std::thread;

use enxame_core::facts::Observed;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::{gave_up, modules, system};
use crate::host::Host;
use crate::netlink;

/// What the kernel would load by itself during the trial. The AEAD comes from `gcm` or, with AES-NI, from
/// `aesni_intel`; `seqiv` makes its IVs; `xfrm_user` takes the request.
const NEEDED: [&str; 3] = ["esp4", "xfrm_user", "seqiv"];

/// Tries only while looking changes nothing.
pub(crate) fn look(host: &dyn Host) -> Observed<bool> {
    let release = system::release();
    let in_kernel = modules::in_kernel(host, &release, &["esp4", "xfrm_user", "seqiv", "gcm"]);
    if let Some(missing) = NEEDED.into_iter().find(|name| !in_kernel.contains(*name)) {
        return Observed::Unknown(format!("{missing} is not loaded"));
    }
    if !in_kernel.contains("gcm") && !has_algorithm(&host.text("/proc/crypto"), "rfc4106(gcm(aes))") {
        return Observed::Unknown("gcm is not loaded".to_owned());
    }
    try_esp()
}

/// Adds an association as Docker would (moby, libnetwork/drivers/overlay/encryption.go: transport mode, 8-byte ICV
/// and, as everything about its keys, the kernel's), in a network namespace of its own. May load modules.
#[must_use]
pub(crate) fn try_esp() -> Observed<bool> {
    thread::scope(|scope| scope.spawn(try_in_new_namespace).join().unwrap_or_else(|_| gave_up()))
}

fn try_in_new_namespace() -> Observed<bool> {
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        return Observed::Unknown(format!("cannot make a network namespace: {error}"));
    }
    verdict(netlink::add_trial_association())
}

/// The kernel's own refusal says no: `ENOSYS` without the algorithm (`xfrm_user.c`), `EPROTONOSUPPORT` without `esp4` or
/// `xfrm_user`. That it may not be asked, had no memory or said nothing in time does not.
fn verdict(added: io::Result<()>) -> Observed<bool> {
    let Err(error) = added else { return Observed::Known(true) };
    match error.raw_os_error().map(Errno::from_raw) {
        None | Some(Errno::EPERM | Errno::EACCES | Errno::EAGAIN | Errno::ENOMEM | Errno::ENOBUFS) => {
            Observed::Unknown(format!("cannot add a security association: {error}"))
        }
        Some(_) => Observed::Known(false),
    }
}

/// Whether `/proc/crypto` lists an algorithm by that name.
fn has_algorithm(proc_crypto: &str, wanted: &str) -> bool {
    proc_crypto
        .lines()
        .filter_map(|line| line.strip_prefix("name")?.trim_start().strip_prefix(':'))
        .any(|name| name.trim() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    #[test]
    fn only_the_kernels_own_refusal_counts_as_no() {
        let refused = |errno: Errno| verdict(Err(errno.into()));
        assert_eq!(verdict(Ok(())), Observed::Known(true));
        assert_eq!(refused(Errno::ENOSYS), Observed::Known(false));
        assert_eq!(refused(Errno::EPROTONOSUPPORT), Observed::Known(false));
        assert_eq!(refused(Errno::EPERM).known(), None);
        assert_eq!(refused(Errno::EAGAIN).known(), None);
        assert_eq!(verdict(Err(io::ErrorKind::UnexpectedEof.into())).known(), None);
    }

    #[test]
    fn nothing_is_tried_that_would_load_a_module() {
        let host = FakeHost::default()
            .with_file("/proc/modules", "esp4 32768 0 - Live 0x0\nxfrm_user 53248 0 - Live 0x0\n");
        let release = system::release();
        if modules::in_kernel(&host, &release, &["seqiv"]).is_empty() {
            assert_eq!(look(&host), Observed::Unknown("seqiv is not loaded".to_owned()));
        }
    }

    #[test]
    fn the_algorithm_is_found_by_its_whole_name() {
        let crypto = "name         : rfc4106(gcm(aes))\ndriver       : rfc4106-gcm-aesni\nmodule       : aesni_intel\n";
        assert!(has_algorithm(crypto, "rfc4106(gcm(aes))"));
        assert!(!has_algorithm(crypto, "gcm(aes)"));
        assert!(!has_algorithm("driver : rfc4106(gcm(aes))\n", "rfc4106(gcm(aes))"));
    }
}
