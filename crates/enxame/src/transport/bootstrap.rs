//! How the agent comes to a node: the program copies itself, once per build, checked by its hash.

use std::fs;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// What the remote side writes when it lacks the binary. As the head of a frame it would announce one that is
/// larger than any frame may be, so the two cannot be confused.
pub(super) const WANTS_THE_BINARY: [u8; 4] = *b"WANT";

/// Becomes root, without a question, and goes on with its first argument as a script. The login shell may be any:
/// all it has to understand is `exec sh -c '...' ...`.
const BECOME_ROOT: &str = "s=$1; shift; set -- \"$@\" \"$SSH_CONNECTION\"; if [ -O / ]; then eval \"$s\"; else exec sudo -n -- sh -c \"$s\" enxame \"$@\"; fi";

/// Takes the binary in when it is not there, and becomes the agent. `$1` is its SHA-256, `$2` what sshd says of the connection. What comes in is a line with
/// a length, and that many bytes of gzip.
const START_AGENT: &str = "umask 022
d=/var/lib/enxame/agents
f=$d/$1
if ! [ -x \"$f\" ]; then
  if [ \"$(uname -m)\" != x86_64 ]; then echo \"the server is $(uname -m), and this build is for x86-64 only\" >&2; exit 92; fi
  mkdir -p \"$d\" && t=$(mktemp \"$d/.new.XXXXXX\") || exit 90
  trap \"rm -f $t\" EXIT
  printf WANT
  read -r n && head -c \"$n\" | gzip -dc >\"$t\"
  if ! echo \"$1  $t\" | sha256sum --check --status; then echo \"the binary did not arrive whole\" >&2; exit 91; fi
  chmod 0755 \"$t\" && sync \"$t\" && mv \"$t\" \"$f\" || exit 90
  trap - EXIT
  find \"$d\" -type f ! -name \"$1\" -mtime +30 -delete
fi
exec \"$f\" agent --build \"$1\" --ssh \"$2\"";

/// This program's own file.
#[derive(Clone, Debug)]
pub(crate) struct OwnBinary {
    bytes: Vec<u8>,
    build: String,
}

impl OwnBinary {
    /// Reads this program's own file and computes its hash.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn read() -> io::Result<Self> {
        // Not current_exe(): the file may have been replaced since this process started.
        let bytes = fs::read("/proc/self/exe")?;
        let build = hex::encode(Sha256::digest(&bytes));
        Ok(Self { bytes, build })
    }

    /// What a node that wants the binary reads: the length of what follows, and the file in gzip.
    ///
    /// # Errors
    /// Never in practice: it is written to memory.
    pub(crate) fn packed(&self) -> io::Result<Vec<u8>> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&self.bytes)?;
        let packed = gzip.finish()?;
        Ok([format!("{}\n", packed.len()).as_bytes(), &packed].concat())
    }

    /// Its SHA-256, in hexadecimal.
    #[must_use]
    pub(crate) fn build(&self) -> &str {
        &self.build
    }

    /// The command that makes an agent of a login shell on a node.
    #[must_use]
    pub(super) fn remote_command(&self) -> String {
        debug_assert!(
            !BECOME_ROOT.contains('\'') && !START_AGENT.contains('\''),
            "quoted by single quotes below"
        );
        format!("exec sh -c '{BECOME_ROOT}' enxame '{START_AGENT}' {}", self.build)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// The scripts as they are, with the directory moved to where a test may write.
    fn run(own: &OwnBinary, directory: &std::path::Path, stdin: &[u8]) -> (Option<i32>, String, String) {
        let command =
            own.remote_command().replace("/var/lib/enxame/agents", &directory.display().to_string());
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn own(script: &str) -> OwnBinary {
        let bytes = script.as_bytes().to_vec();
        let build = hex::encode(Sha256::digest(&bytes));
        OwnBinary { bytes, build }
    }

    #[test]
    fn the_binary_is_taken_in_once_and_then_found() {
        if !nix_is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let own = own("#!/bin/sh\necho \"$@\"\n");
        let said = format!("agent --build {} --ssh \n", own.build);
        assert_eq!(
            run(&own, directory.path(), &own.packed().unwrap()),
            (Some(0), format!("WANT{said}"), String::new())
        );
        assert_eq!(run(&own, directory.path(), b""), (Some(0), said, String::new()));
    }

    #[test]
    fn a_binary_that_does_not_arrive_whole_is_refused_and_leaves_nothing() {
        if !nix_is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let own = own("#!/bin/sh\necho \"$@\"\n");
        let evil = self::own("#!/bin/sh\necho evil twin\n");
        let (code, _, words) = run(&own, directory.path(), &evil.packed().unwrap());
        assert_eq!((code, words.trim()), (Some(91), "the binary did not arrive whole"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    fn nix_is_root() -> bool {
        let is_root =
            fs::metadata("/proc/self").is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0);
        if !is_root {
            eprintln!("SKIPPED: needs root, as on a node");
        }
        is_root
    }
}
