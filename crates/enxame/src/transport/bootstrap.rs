//! How the agent comes to a node: the program copies itself, once per build, checked by its hash.

use std::fs;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::heard::Stage;

/// What the remote side writes when it lacks the binary. As the head of a frame it would announce one that is
/// larger than any frame may be, so the two cannot be confused.
pub(super) const WANTS_THE_BINARY: [u8; 4] = *b"WANT";

/// Says that it runs, becomes root without a question, and goes on with its first argument as a script. `$2` is the
/// build. The login shell may be any: all it has to understand is `exec sh -c '...' ...` in one line, with nothing in the
/// quotes that any shell takes for its own (csh replaces `!` there, fish reads `\`). What is said is said in English: ssh
/// hands the operator's language on (`SendEnv LANG LC_*` of Debian's `ssh_config`).
const BECOME_ROOT: &str = "export LC_ALL=C; s=$1; shift; printf \"enxame %s runs \" \"$1\"; set -- \"$@\" \"$SSH_CONNECTION\"; \
    if [ \"$(id -u)\" = 0 ]; then eval \"$s\"; else exec sudo -n -- sh -c \"$s\" enxame \"$@\"; fi";

/// Says that it is root, takes the binary in when it is not there, and becomes the agent. `$1` is its SHA-256, `$2` what
/// sshd says of the connection. What comes in is a line with a length, and that many bytes of gzip. Nothing is asked for
/// where it could not be run: an empty program is tried first, and the mount is named.
const START_AGENT: &str = "export LC_ALL=C; printf \"enxame %s root \" \"$1\"; umask 022; d=/var/lib/enxame/agents; f=$d/$1; \
    stop() { c=$1; shift; echo \"enxame: $*\" >&2; exit $c; }; \
    on() { p=$d; until [ -e \"$p\" ]; do p=${p%/*}; done; findmnt -n -o TARGET,OPTIONS -T \"${p:-/}\"; }; \
    unwritable() { stop 90 \"cannot write in $d, on $(on)\"; }; \
    [ -x \"$f\" ] || { \
    [ \"$(uname -m)\" = x86_64 ] || stop 92 \"the server is $(uname -m), and this build is for x86-64 only\"; \
    mkdir -p \"$d\" && t=$(mktemp \"$d/.new.XXXXXX\") || unwritable; \
    trap \"rm -f $t\" EXIT; \
    chmod 0755 \"$t\" && \"$t\" || stop 93 \"cannot run a program of $d, on $(on)\"; \
    printf WANT; \
    read -r n && head -c \"$n\" | gzip -dc >\"$t\"; \
    echo \"$1  $t\" | sha256sum --check --status || stop 91 \"the binary did not arrive whole in $d, on $(on)\"; \
    sync \"$t\" && mv \"$t\" \"$f\" || unwritable; \
    trap - EXIT; \
    find \"$d\" -type f -not -name \"$1\" -mtime +30 -delete; }; \
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

    /// What our own scripts print when they have come to a stage. It is not in the text of the command, which a server that
    /// does not run it may show.
    #[must_use]
    pub(super) fn mark(&self, stage: Stage) -> String {
        format!("enxame {} {} ", self.build, if stage == Stage::Account { "runs" } else { "root" })
    }

    /// The command that makes an agent of a login shell on a node.
    #[must_use]
    pub(super) fn remote_command(&self) -> String {
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
            .env("LC_ALL", "pt_BR.UTF-8")
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
        let own = own("#!/bin/sh\necho \"$@\" $LC_ALL\n");
        let marks = [Stage::Account, Stage::Root].map(|stage| own.mark(stage)).concat();
        let said = format!("agent --build {} --ssh  C\n", own.build);
        assert_eq!(
            run(&own, directory.path(), &own.packed().unwrap()),
            (Some(0), format!("{marks}WANT{said}"), String::new())
        );
        assert_eq!(run(&own, directory.path(), b""), (Some(0), format!("{marks}{said}"), String::new()));
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
        assert_eq!(code, Some(91), "{words}");
        assert!(words.starts_with("enxame: the binary did not arrive whole in "), "{words}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_command_has_nothing_in_its_quotes_that_a_shell_takes_for_its_own() {
        let command = own("").remote_command();
        assert_eq!(command.matches('\'').count(), 4, "{command}");
        assert!(!command.contains(['!', '\\', '\n']), "{command}");
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
