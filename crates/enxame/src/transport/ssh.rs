//! The arguments of `ssh`.

use std::path::{Path, PathBuf};

use enxame_core::config::{Config, NodeConfig};

/// What to connect to, and with which of the user's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// A host, an address or an alias of the user's `ssh_config`.
    pub(crate) host: String,
    /// The account, when it is not the user's configuration that says it.
    pub(crate) user: Option<String>,
    /// The port, likewise.
    pub(crate) port: Option<u16>,
    /// An `ssh_config` instead of the user's own.
    pub(crate) config_file: Option<PathBuf>,
}

/// Whether a connection of the user's that is open already may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// It may.
    Allowed,
    /// No: that a new one can be made is what is to be shown. Neither may it take forever.
    Never,
}

impl Target {
    /// The target of a node; relative paths are relative to `directory`, where `cluster.yaml` is.
    #[must_use]
    pub(crate) fn of_node(config: &Config, node: &NodeConfig, directory: &Path) -> Self {
        Self {
            host: node.ssh_host.clone(),
            user: config.ssh.user.clone(),
            port: config.ssh.port,
            config_file: config.ssh.config_file.as_ref().map(|file| directory.join(file)),
        }
    }

    /// All arguments for a command that root runs there, with our own standard streams and perhaps a terminal.
    ///
    /// # Errors
    /// A command with a NUL, which no command line can have.
    pub(crate) fn interactive(&self, has_terminal: bool, command: &[&str]) -> anyhow::Result<Vec<String>> {
        /// The login shell may be any: it has to understand words in single quotes.
        const AS_ROOT: &str = "if [ \"$(id -u)\" = 0 ]; then exec \"$@\"; else exec sudo -n -- \"$@\"; fi";
        let mut arguments: Vec<String> = Vec::new();
        if let Some(file) = &self.config_file {
            arguments.extend(["-F".to_owned(), file.display().to_string()]);
        }
        arguments.push(if has_terminal { "-t" } else { "-T" }.to_owned());
        for option in ["ClearAllForwardings=yes", "RemoteCommand=none", "LogLevel=ERROR"] {
            arguments.extend(["-o".to_owned(), option.to_owned()]);
        }
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        let words = shlex::try_join(command.iter().copied())?;
        arguments.extend(["--".to_owned(), self.host.clone()]);
        arguments.push(format!("exec sh -c '{AS_ROOT}' enxame {words}"));
        Ok(arguments)
    }

    /// The arguments up to and with the host; the remote command comes next.
    #[must_use]
    pub(crate) fn arguments(&self, sharing: Sharing) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        if let Some(file) = &self.config_file {
            arguments.extend(["-F".to_owned(), file.display().to_string()]);
        }
        // Options that a command without a terminal needs; all else is the user's own configuration.
        // A question nobody can answer is an error; no terminal, no forwarding; links that drop idle connections
        // are kept busy; a shared connection is used where there is one and never founded, because it would end with
        // us; a command of the user's configuration would stand in the way of ours, and what one here prints would be
        // taken for the agent's words. ssh says whether it was let in, which tells its words from the server's.
        arguments.extend(["-T", "-a", "-x"].map(str::to_owned));
        for option in [
            "BatchMode=yes",
            "ControlMaster=no",
            "ClearAllForwardings=yes",
            "RemoteCommand=none",
            "PermitLocalCommand=no",
            "ServerAliveInterval=15",
            "LogLevel=VERBOSE",
        ] {
            arguments.extend(["-o".to_owned(), option.to_owned()]);
        }
        if sharing == Sharing::Never {
            for option in ["ControlPath=none", "ConnectTimeout=10", "ConnectionAttempts=1"] {
                arguments.extend(["-o".to_owned(), option.to_owned()]);
            }
        }
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.extend(["--".to_owned(), self.host.clone()]);
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::{Sharing, Target};

    #[test]
    fn the_host_can_never_be_taken_for_an_option() {
        let target =
            Target { host: "-oProxyCommand=x".into(), user: None, port: Some(2222), config_file: None };
        let arguments = target.arguments(Sharing::Allowed);
        assert_eq!(arguments[arguments.len() - 4..], ["-p", "2222", "--", "-oProxyCommand=x"]);
        assert!(!arguments.contains(&"ControlPath=none".to_owned()));
    }

    #[test]
    fn a_commands_words_stay_words() {
        let target =
            Target { host: "kvm2".into(), user: Some("admin".into()), port: None, config_file: None };
        let words = ["sh", "-c", "echo $HOME; it's"];
        let arguments = target.interactive(true, &words).unwrap();
        assert_eq!(arguments[0], "-t");
        let (_, written) = arguments.last().unwrap().split_once(" enxame ").unwrap();
        assert_eq!(shlex::split(written).unwrap(), words);
        assert!(target.interactive(false, &["a\0b"]).is_err());
    }

    #[test]
    fn a_new_connection_is_no_open_ones_channel() {
        let target = Target { host: "kvm2".into(), user: None, port: None, config_file: None };
        assert!(target.arguments(Sharing::Never).contains(&"ControlPath=none".to_owned()));
    }
}
