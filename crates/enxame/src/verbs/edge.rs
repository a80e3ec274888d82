//! `enxame edge`: what to click into the provider's firewall.

use std::collections::BTreeSet;

use anyhow::bail;
use enxame_core::areas::firewall::Firewall;

use crate::cli::EdgeArgs;
use crate::config_file::load;
use crate::render::edge as render;
use crate::{Ending, output};

pub(crate) fn edge(arguments: &EdgeArgs) -> anyhow::Result<Ending> {
    let config = load(&arguments.config)?;
    if config.ssh.allow_from.is_empty() {
        bail!(
            "{} says of nobody that they may log in: with these rules you could not either\n\
             hint: write where you log in from: `ssh: {{allow_from: [198.51.100.7]}}`. An address that changes: \
             your provider's network, or that of a VPN",
            arguments.config.display()
        );
    }
    if config.ssh.port.is_none() {
        output::note(
            "note: SSH is taken to listen on port 22; where it does not, write `ssh: {port: ...}`, or these rules keep \
             you out",
        );
    }
    let openings = Firewall::of(&config).at_the_edge(&BTreeSet::new());
    if arguments.json {
        output::json(&render::rows(&openings))?;
    } else if arguments.csv {
        output::text(&render::csv(&openings)?)?;
    } else {
        output::text(&render::table(&openings))?;
    }
    Ok(Ending::Done)
}
