//! Whether the kernel really takes the security associations of an encrypted overlay.
//!
//! The trial runs in a network namespace of its own that ends with the thread that made it. While a module it needs is
//! not loaded the trial would load it, which is a change, so [`look`] does not try then and [`try_esp`] does.

use std::thread;
use std::time::Duration;

use enxame_core::facts::Observed;
use nix::sched::{CloneFlags, unshare};

use super::{gave_up, machine, modules, text};
use crate::host::{Command, Finished, Host, HostError};

/// What the kernel would load by itself during the trial. The AEAD comes from `gcm` or, with AES-NI, from
/// `aesni_intel`; `seqiv` makes its IVs; `xfrm_user` takes the request.
const NEEDED: [&str; 3] = ["esp4", "xfrm_user", "seqiv"];

/// Tries only while looking changes nothing.
pub(super) fn look(host: &dyn Host) -> Observed<bool> {
    let release = machine::kernel().release;
    let in_kernel = modules::in_kernel(host, &release, &["esp4", "xfrm_user", "seqiv", "gcm"]);
    if let Some(missing) = NEEDED.into_iter().find(|name| !in_kernel.contains(*name)) {
        return Observed::Unknown(format!("{missing} is not loaded"));
    }
    if !in_kernel.contains("gcm") && !has_algorithm(&text(host, "/proc/crypto"), "rfc4106(gcm(aes))") {
        return Observed::Unknown("gcm is not loaded".to_owned());
    }
    try_esp(host)
}

/// Adds an association as Docker would (moby, libnetwork/drivers/overlay/encryption.go: transport mode, 8-byte ICV)
/// in a namespace that is thrown away. May load modules.
pub fn try_esp(host: &dyn Host) -> Observed<bool> {
    thread::scope(|scope| scope.spawn(|| try_in_new_namespace(host)).join().unwrap_or_else(|_| gave_up()))
}

fn try_in_new_namespace(host: &dyn Host) -> Observed<bool> {
    // Only this thread moves; the process it starts inherits its namespaces (clone(2)).
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        return Observed::Unknown(format!("cannot make a network namespace: {error}"));
    }
    // 16 bytes of key and 4 of salt (RFC 4106, 8.1).
    let key = format!("0x{}", "0".repeat(40));
    let line = "ip xfrm state add src 127.0.0.1 dst 127.0.0.1 proto esp spi 0x1 mode transport aead rfc4106(gcm(aes))";
    let command = Command::new(line.split(' ').chain([key.as_str(), "64"])).within(Duration::from_secs(10));
    verdict(host.run(&command))
}

/// The kernel's refusal, with which ip(8) exits with 2 whatever the words (6.2 and later have their own, older ones
/// `RTNETLINK answers`), is an answer. A command line that ip(8) refuses (255) or a missing right is not.
fn verdict(ended: Result<Finished, HostError>) -> Observed<bool> {
    match ended {
        Ok(finished) if finished.succeeded() => Observed::Known(true),
        Ok(finished) if finished.code == Some(2) && !finished.stderr.contains("Operation not permitted") => {
            Observed::Known(false)
        }
        Ok(finished) => Observed::Unknown(format!(
            "ip xfrm ended with {}: {}",
            finished.status_text(),
            finished.last_words()
        )),
        Err(error) => Observed::Unknown(error.to_string()),
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

    fn ended(code: i32, stderr: &str) -> Observed<bool> {
        verdict(Ok(Finished { code: Some(code), stdout: String::new(), stderr: stderr.to_owned() }))
    }

    #[test]
    fn only_the_kernels_own_refusal_counts_as_no() {
        assert_eq!(ended(0, ""), Observed::Known(true));
        // Kernel 6.1 and 6.18.
        assert_eq!(ended(2, "RTNETLINK answers: Function not implemented\n"), Observed::Known(false));
        assert_eq!(ended(2, "Error: Requested AEAD algorithm not found.\n"), Observed::Known(false));
        assert!(ended(2, "RTNETLINK answers: Operation not permitted\n").known().is_none());
        assert!(ended(255, "Error: argument \"aead\" is wrong: ALGO-NAME\n").known().is_none());
    }

    #[test]
    fn nothing_is_tried_that_would_load_a_module() {
        let host = FakeHost::default()
            .with_file("/proc/modules", "esp4 32768 0 - Live 0x0\nxfrm_user 53248 0 - Live 0x0\n")
            .answering("ip xfrm", Finished { code: Some(0), ..Finished::default() });
        let release = machine::kernel().release;
        if modules::in_kernel(&host, &release, &["seqiv"]).is_empty() {
            assert_eq!(look(&host), Observed::Unknown("seqiv is not loaded".to_owned()));
            assert!(host.ran().is_empty());
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
