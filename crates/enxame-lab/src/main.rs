//! `enxame-lab`: three real virtual machines on an Internet of their own, to try enxame on.
//!
//! `topology` says what there is; `image` and `disks` make what nodes boot from; `network`, `proxy` and
//! `access` what is around them; `machine`, `qmp` and `accelerator` run them; `states` saves them; `faults`
//! and `delay` break the network between them; `record` remembers what runs; `lab` puts it in order.

mod accelerator;
mod access;
mod cli;
mod delay;
mod disks;
mod faults;
mod forge;
mod home;
mod image;
mod lab;
mod machine;
mod needs;
mod network;
mod process;
mod progress;
mod proxy;
mod qmp;
mod record;
mod states;
mod status;
mod tool;
mod topology;

use std::{io::Write, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;

use crate::{
    cli::{Cli, CommandLine, Verb},
    faults::Pair,
    home::Home,
    lab::Lab,
    progress::Progress,
    record::Record,
    tool::Tool,
    topology::{BRIDGE, Namespace, Node},
};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed there is nobody to tell.
            let _ = writeln!(std::io::stderr().lock(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match &cli.verb {
        Verb::HoldFrames { device, milliseconds } => {
            return delay::hold_frames(device, Duration::from_millis(*milliseconds));
        }
        Verb::Relay { port } => return proxy::relay(*port),
        _ => {}
    }
    needs::check()?;
    let home = Home::find(cli.dir.as_deref())?;
    let _lock = if cli.verb.changes_the_laboratory() { Some(record::lock()?) } else { None };
    let progress = Progress::start();
    let lab = Lab { home: &home, progress: &progress };
    match cli.verb {
        Verb::Up(up) => lab.up(up.debian.flavour(), up.start())?,
        Verb::Image(debian) => lab.build_image(debian.flavour())?,
        Verb::Down => lab.down()?,
        Verb::Status { json } => return status::show(&home, json),
        Verb::Exec(command) => return Err(run_at(&home, Namespace::Operator, command)?),
        Verb::Outside(command) => return Err(run_at(&home, Namespace::Outsider, command)?),
        Verb::Ssh { node, command } => {
            Record::running(&home)?;
            return Err(machine::ssh(&home, Node::named(&node)?).args(command).replace_this_process());
        }
        Verb::Save { name } => lab.save(&name)?,
        Verb::Load { name } => lab.load(&name)?,
        Verb::Kill { node } => lab.kill(Node::named(&node)?)?,
        Verb::Start { node } => lab.start(Node::named(&node)?)?,
        Verb::Cut { a, b } => break_network(&home, |record| record.faults.cut(Pair::new(a, b)?))?,
        Verb::Delay { a, b, milliseconds, loss } => {
            break_network(&home, |record| {
                record.faults.delay(&home, Pair::new(a, b)?, cli::lateness(milliseconds, loss))
            })?;
        }
        Verb::Forge(forged) => {
            Record::running(&home)?;
            network::within(Namespace::Outsider, move || forge::send(&forged))?;
        }
        Verb::Heal => break_network(&home, |record| record.faults.heal())?,
        Verb::Capture { write, filter } => {
            Record::running(&home)?;
            let file = write.iter().flat_map(|path| {
                ["-U".into(), "-Z".into(), "root".into(), "-w".into(), path.clone().into_os_string()]
            });
            let tcpdump = Tool::within(Namespace::Internet, "tcpdump")
                .args(["-i", BRIDGE, "-n", "-l"])
                .args(file)
                .args(filter);
            return Err(tcpdump.replace_this_process());
        }
        Verb::HoldFrames { .. } | Verb::Relay { .. } => {}
    }
    progress.step("done");
    Ok(())
}

/// Runs a command somewhere in place of this process.
fn run_at(home: &Home, namespace: Namespace, command: CommandLine) -> Result<anyhow::Error> {
    Record::running(home)?;
    let mut words = command.command.into_iter();
    let program = words.next().unwrap_or_default();
    Ok(Tool::within(namespace, program)
        .args(words)
        .env("ENXAME_CONFIG", home.cluster_file())
        .replace_this_process())
}

/// Changes the faults and writes them down, also when only a part of the change succeeded.
fn break_network(home: &Home, change: impl FnOnce(&mut Record) -> Result<()>) -> Result<()> {
    let mut record = Record::running(home)?;
    let outcome = change(&mut record);
    record.write()?;
    outcome
}
