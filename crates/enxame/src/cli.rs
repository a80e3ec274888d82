//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use enxame_core::names::NodeName;
use enxame_core::ports::PortSet;

/// A hardened, encrypted Docker Swarm of a few rented servers, from one file, proven on the wire.
#[derive(Debug, Parser)]
#[command(name = "enxame", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done (plan: nothing to change), 1 error, 2 plan found changes, \
                        3 a check or proof failed or could not be made, or refuses a plan, \
                        130 cut off by a second Ctrl-C or kill.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Look at servers and propose a cluster.yaml on the standard output
    Init(InitArgs),
    /// Check cluster.yaml and the servers; change nothing
    Check(CommonArgs),
    /// Show what apply would do; change nothing
    Plan(PlanArgs),
    /// Make the servers what cluster.yaml says
    Apply(ApplyArgs),
    /// Drain, activate or reboot a node
    #[command(subcommand)]
    Node(NodeVerb),
    /// Give the servers other keys
    #[command(subcommand)]
    Rotate(RotateVerb),
    /// Take off the servers all that enxame made, and put back what was there before
    Uninstall(UninstallArgs),
    /// Prove on the wire that nothing leaves the servers in clear, and that only what is declared is open
    Verify(VerifyArgs),
    /// Show which ports of an address answer from here; asks no server and needs no cluster.yaml
    Scan(ScanArgs),
    /// Show nodes, leader, quorum, networks and drift
    Status(CommonArgs),
    /// Look at the files that the servers share
    #[command(subcommand)]
    Storage(StorageVerb),
    /// Judge stacks before they are deployed
    #[command(subcommand)]
    Stack(StackVerb),
    /// Explain a rule that `stack lint` found something by
    Explain(ExplainArgs),
    /// The operators' own ends of the tunnels
    #[command(subcommand)]
    Tunnel(TunnelVerb),
    /// Show what the provider's firewall must let in; asks no server
    Edge(EdgeArgs),
    /// Print the JSON Schema of cluster.yaml
    Schema,
    /// The far end of an SSH channel; started by enxame itself
    #[command(hide = true)]
    Agent {
        /// The build the operator's side expects.
        #[arg(long)]
        build: String,
        /// sshd's own `SSH_CONNECTION`, which sudo does not hand on.
        #[arg(long, default_value = "")]
        ssh: String,
    },
    /// What the dead-man switch runs on a node
    #[command(hide = true)]
    PutBack {
        /// The machine is starting: what is put back is loaded after this.
        #[arg(long)]
        at_boot: bool,
    },
    /// What verify runs inside its probe containers
    #[command(hide = true)]
    ProbeResponder,
}

#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// The cluster's file
    #[arg(short, long, value_name = "FILE", env = "ENXAME_CONFIG", default_value = "cluster.yaml")]
    pub(crate) config: PathBuf,
    /// Print JSON on the standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress on the standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EdgeArgs {
    /// The cluster's file
    #[arg(short, long, value_name = "FILE", env = "ENXAME_CONFIG", default_value = "cluster.yaml")]
    pub(crate) config: PathBuf,
    /// Print JSON on the standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// Print CSV on the standard output, a line for each source
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Servers to look at, as you give them to ssh
    #[arg(required = true, value_name = "[USER@]HOST")]
    pub(crate) hosts: Vec<String>,
    /// An SSH configuration to use instead of yours
    #[arg(short = 'F', long, value_name = "FILE")]
    pub(crate) ssh_config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Write the plan to a file that `apply --plan` carries out if nothing has moved meanwhile
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Carry out this plan, and refuse when another one would be made now
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Try even what would cut off SSH from here; the node still goes back unless a new connection confirms it, and the
    /// provider's edge as long as enxame runs
    #[arg(long)]
    pub(crate) allow_ssh_cut: bool,
    /// Go on without a server that does not answer; once for each
    #[arg(long, value_name = "NODE")]
    pub(crate) without: Vec<NodeName>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// Take the tasks off a node and give it none, until it is activated
    Drain(NodeArgs),
    /// Give tasks to a node again; nothing moves to it by that alone
    Activate(NodeArgs),
    /// Drain a node, start the machine anew, wait until it is back whole, and give it tasks again
    Reboot(NodeArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RotateVerb {
    /// Have every server make another key for the tunnels, and hand it to all others
    TunnelKeys(RotateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StorageVerb {
    /// Show what is shared, its space and its clients, and the entries that stacks mount it by
    Status(CommonArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum StackVerb {
    /// Say what in compose files loses data, opens a door or never converges; asks no server
    Lint(StackLintArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StackLintArgs {
    /// Compose files; those that cluster.yaml names, where none are given
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The cluster's file, to judge against its nodes, labels, networks and ports; cluster.yaml, where there is one
    #[arg(short, long, value_name = "FILE", env = "ENXAME_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON on the standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The rule, e.g. floating-tag; all of them, where none is given
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TunnelVerb {
    /// Print an operator's own file for wg-quick, with every node's key; the operator's private key is not in it
    Config(TunnelConfigArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TunnelConfigArgs {
    /// The operator, as `tunnel.operators` in cluster.yaml has it
    #[arg(value_name = "NAME")]
    pub(crate) name: NodeName,
    /// The cluster's file
    #[arg(short, long, value_name = "FILE", env = "ENXAME_CONFIG", default_value = "cluster.yaml")]
    pub(crate) config: PathBuf,
    /// No progress on the standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The node, as cluster.yaml calls it
    #[arg(value_name = "NODE")]
    pub(crate) node: NodeName,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UninstallArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Leave the swarm too: its services, networks and labels are gone then; volumes stay on the disks
    #[arg(long)]
    pub(crate) swarm: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Prove only this
    #[arg(long, value_name = "WHAT")]
    pub(crate) only: Option<Subset>,
    /// Write the evidence, as JSON, to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: Option<PathBuf>,
}

/// A part of what is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subset {
    /// That nothing of encrypted networks leaves the servers in clear
    Wire,
    /// That nothing but what is declared can be reached
    Exposure,
    /// That the tunnels carry, and that shared files are written, read and locked by those who may, and by nobody else
    Storage,
}

#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// The addresses to look at
    #[arg(required = true, value_name = "ADDRESS")]
    pub(crate) addresses: Vec<IpAddr>,
    /// The TCP ports to try, e.g. 1-1023,8080
    #[arg(short, long, value_name = "PORTS", default_value = "1-65535")]
    pub(crate) ports: PortSet,
    /// A TCP port that answers: without its answer, silence proves nothing
    #[arg(long, value_name = "PORT")]
    pub(crate) control: Option<u16>,
    /// Print JSON on the standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress on the standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
