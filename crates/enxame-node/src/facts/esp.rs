//! Whether the kernel really takes the security associations of an encrypted overlay.
//!
//! The trial runs in a network namespace of its own that ends with the thread that made it. While a module it needs is
//! not loaded the trial would load it, which is a change, so [`look`] does not try then and [`try_esp`] does.

use std::thread;
use std::time::Duration;

use enxame_core::facts::Observed;
use nix::sched::{CloneFlags, unshare};

use super::{gave_up, machine, modules, text};
use crate::host::{Command, Host, HostError};

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
    thread::scope(|scope| {
        scope
            .spawn(|| try_in_new_namespace(host))
            .join()
            .unwrap_or_else(|_| gave_up())
    })
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
    verdict(host.run_ok(&command))
}

/// The kernel's refusal is an answer; a program that is not there or a missing right is not.
fn verdict(ended: Result<String, HostError>) -> Observed<bool> {
    match ended {
        Ok(_) => Observed::Known(true),
        Err(HostError::Refused { message, .. })
            if message.contains("RTNETLINK answers") && !message.contains("Operation not permitted") =>
        {
            Observed::Known(false)
        }
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
    use crate::host::{FakeHost, Finished};

    fn refused(message: &str) -> Result<String, HostError> {
        let (command, status) = ("ip xfrm".to_owned(), "exit code 2".to_owned());
        Err(HostError::Refused {
            command,
            status,
            message: message.to_owned(),
        })
    }

    #[test]
    fn only_the_kernels_own_refusal_counts_as_no() {
        assert_eq!(verdict(Ok(String::new())), Observed::Known(true));
        assert_eq!(
            verdict(refused("RTNETLINK answers: Function not implemented")),
            Observed::Known(false)
        );
        assert!(
            verdict(refused("RTNETLINK answers: Operation not permitted"))
                .known()
                .is_none()
        );
        assert!(
            verdict(refused("Error: argument \"aead\" is wrong"))
                .known()
                .is_none()
        );
    }

    #[test]
    fn nothing_is_tried_that_would_load_a_module() {
        let host = FakeHost::default()
            .with_file(
                "/proc/modules",
                "esp4 32768 0 - Live 0x0\nxfrm_user 53248 0 - Live 0x0\n",
            )
            .answering(
                "ip xfrm",
                Finished {
                    code: Some(0),
                    ..Finished::default()
                },
            );
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
        assert!(!has_algorithm(
            "driver : rfc4106(gcm(aes))\n",
            "rfc4106(gcm(aes))"
        ));
    }
}
