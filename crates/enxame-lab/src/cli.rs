//! The command line.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::{
    disks::Start,
    faults::Lateness,
    image::{Flavour, Kind, Release},
    states::StateName,
    topology::Place,
};

/// Three real virtual machines on an Internet of their own, to try enxame on.
#[derive(Debug, Parser)]
#[command(name = "enxame-lab", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The laboratory's directory; `.lab` of the project around the working directory otherwise.
    #[arg(long, global = true, env = "ENXAME_LAB_DIR", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build what is missing, boot the nodes, and wait until they answer.
    Up(Up),
    /// Build an image if it is missing, and boot nothing.
    Image(Debian),
    /// Shut the nodes down and remove the network. Disks and saved states stay.
    Down,
    /// Say what runs.
    Status {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Run a command at the operator's place (203.0.113.1), with `ENXAME_CONFIG` set.
    Exec(CommandLine),
    /// Run a command at the outsider's place (198.51.100.66), beyond a router.
    Outside(CommandLine),
    /// Log in to a node, or run a command there; words are joined with spaces, as ssh does.
    Ssh {
        /// The node.
        node: String,
        /// What to run there.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Save all nodes, memory included, under a name.
    Save {
        /// Lower-case letters, digits and hyphens.
        name: StateName,
    },
    /// Put all nodes back to a saved state. Faults are healed.
    Load {
        /// A saved name.
        name: StateName,
    },
    /// Cut a node's power.
    Kill {
        /// The node.
        node: String,
    },
    /// Boot a node that is off.
    Start {
        /// The node.
        node: String,
    },
    /// Let nothing pass between two places: nodes, `operator` or `outsider`.
    Cut {
        /// One end.
        a: Place,
        /// The other end.
        b: Place,
    },
    /// Let everything pass late between two places, and some of it never.
    Delay {
        /// One end.
        a: Place,
        /// The other end.
        b: Place,
        /// Added to each direction.
        milliseconds: u32,
        /// Lost in each direction, like `2.5%`.
        #[arg(default_value = "0%", value_parser = parse_loss)]
        loss: u32,
    },
    /// Send a VXLAN packet in clear from the outsider's place, as if a node had sent it: a datagram to a container.
    Forge(Forged),
    /// Undo every cut and delay.
    Heal,
    /// Watch the Internet's frames with tcpdump until interrupted.
    Capture {
        /// Write the frames to a pcap file instead of text.
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
        /// A filter in tcpdump's language.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        filter: Vec<String>,
    },
    /// Pass connections from the laboratory on to a port of this machine; started by `up`.
    #[command(hide = true)]
    Relay {
        /// The port, on loopback.
        port: u16,
    },
    /// Give the frames sent to a device back later; started by `delay`.
    #[command(hide = true)]
    HoldFrames {
        /// The device's name.
        device: String,
        /// How much later.
        milliseconds: u64,
    },
}

/// A packet that nobody asked for.
#[derive(Debug, Args)]
pub(crate) struct Forged {
    /// The address it seems to come from.
    #[arg(long)]
    pub(crate) from: Ipv4Addr,
    /// The node it goes to.
    #[arg(long)]
    pub(crate) to: Ipv4Addr,
    /// The overlay network's identifier.
    #[arg(long)]
    pub(crate) vni: u32,
    /// The container's MAC address.
    #[arg(long, value_parser = parse_mac)]
    pub(crate) mac: [u8; 6],
    /// The container's address; the datagram goes to its port 9 (discard).
    #[arg(long)]
    pub(crate) container: Ipv4Addr,
    /// How many.
    #[arg(long, default_value_t = 10)]
    pub(crate) count: u32,
}

fn parse_mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    bytes.try_into().map_err(|_| anyhow::anyhow!("a MAC address has six bytes"))
}

/// What nodes boot from.
#[derive(Debug, Args)]
pub(crate) struct Debian {
    /// The Debian release.
    #[arg(long, value_enum, default_value_t = Release::Trixie)]
    image: Release,
    /// How much is installed.
    #[arg(long, value_enum, default_value = "prepared")]
    kind: Kind,
}

impl Debian {
    pub(crate) fn flavour(&self) -> Flavour {
        Flavour { release: self.image, kind: self.kind }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) debian: Debian,
    /// Begin with empty disks. Saved states keep theirs.
    #[arg(long)]
    fresh: bool,
}

impl Up {
    pub(crate) fn start(&self) -> Start {
        if self.fresh { Start::Fresh } else { Start::WhereItWas }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CommandLine {
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}

impl Verb {
    /// Whether it changes the laboratory, so that two at a time would be in each other's way.
    pub(crate) fn changes_the_laboratory(&self) -> bool {
        !matches!(
            self,
            Self::Status { .. }
                | Self::Exec(_)
                | Self::Outside(_)
                | Self::Ssh { .. }
                | Self::Capture { .. }
                | Self::Forge(_)
        )
    }
}

/// Per cent with up to two decimals, in ten-thousandths.
fn parse_loss(text: &str) -> Result<u32> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let number = format!("{whole}{decimals:0<2}");
    match number.parse() {
        Ok(loss)
            if loss <= 10_000
                && decimals.len() <= 2
                && !whole.is_empty()
                && number.bytes().all(|it| it.is_ascii_digit()) =>
        {
            Ok(loss)
        }
        _ => bail!("a loss is a percentage with up to two decimals, like `2.5%`"),
    }
}

/// What `delay` asks for.
pub(crate) fn lateness(milliseconds: u32, loss: u32) -> Lateness {
    Lateness { milliseconds, lost_of_ten_thousand: loss }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_loss_is_a_percentage() {
        assert_eq!(parse_loss("2.5%").unwrap(), 250);
        assert_eq!(parse_loss("100").unwrap(), 10_000);
        assert_eq!(parse_loss("0.01%").unwrap(), 1);
        for wrong in ["101%", "-1", "1.234%", "x", "%", ""] {
            assert!(parse_loss(wrong).unwrap_err().to_string().contains("percentage"), "{wrong}");
        }
    }

    #[test]
    fn a_commands_own_options_are_its_own() {
        let cli = Cli::try_parse_from(["enxame-lab", "exec", "--", "ls", "--dir", "-l"]).unwrap();
        let Verb::Exec(CommandLine { command }) = cli.verb else { panic!("not exec") };
        assert_eq!(command, ["ls", "--dir", "-l"]);
    }
}
