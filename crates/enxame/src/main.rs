//! `enxame`: the operator's side, and the agent that it starts on the nodes.

mod cli;
mod config_file;
mod edge;
mod fleet;
mod new_file;
mod output;
mod render;
mod run;
mod transport;
mod verbs;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Verb};
use enxame_core::facts::SshSession;
use enxame_node::deadman::When;

/// How a verb ended, when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Done; for `plan`: nothing to change.
    Done,
    /// An error that was told already.
    Failed,
    /// `plan` found changes.
    Changes,
    /// A check or proof failed or could not be made.
    Unproven,
    /// The user asked to stop, and it was ended in order.
    Interrupted,
    /// What a command on a server ended with.
    Command(u8),
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Done => 0,
            Ending::Failed => 1,
            Ending::Changes => 2,
            Ending::Unproven => 3,
            // What a shell says of a program that SIGINT ended.
            Ending::Interrupted => 130,
            Ending::Command(code) => code,
        })
    }
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        // Help and version are no errors; a wrong command line is 1 and not clap's 2, which means changes here.
        let code = i32::from(error.use_stderr());
        drop(error.print());
        std::process::exit(code)
    });
    match run(cli) {
        Ok(ending) => ending.into(),
        Err(error) => {
            output::error(&error);
            Ending::Failed.into()
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Ending> {
    match cli.verb {
        // No runtime: the agent has a thread for everything that it does at the same time.
        Verb::Agent { build, ssh } => {
            let operator = enxame_node::operator_channel::Patient::of_standard_input()?;
            let session = SshSession::parse(&ssh);
            enxame_node::agent::serve(&build, session, operator, std::io::stdout())?;
            Ok(Ending::Done)
        }
        Verb::PutBack { at_boot } => {
            let when = if at_boot { When::AtBoot } else { When::Now };
            enxame_node::deadman::put_back(&enxame_node::host::RealHost::new(), when)?;
            Ok(Ending::Done)
        }
        Verb::ProbeResponder => {
            enxame_node::probes::responder::run()?;
            Ok(Ending::Done)
        }
        Verb::Edge(arguments) => verbs::edge(&arguments),
        Verb::Scan(arguments) => verbs::scan(&arguments),
        Verb::Schema => verbs::schema(),
        Verb::Explain(arguments) => verbs::explain(&arguments),
        verb => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(verbs::run(verb)),
    }
}
