//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use enxame_core::names::{NodeName, ObjectName};
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
    /// Judge, compare and deploy stacks
    #[command(subcommand)]
    Stack(StackVerb),
    /// Show what a service's tasks write, wherever they run
    Logs(LogsArgs),
    /// Run a command in a service's container, wherever it runs
    Exec(ExecArgs),
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
    /// Show what deploying would change, field by field; change nothing
    Diff(StackDiffArgs),
    /// Deploy stacks, and wait until every service runs as its file says
    Deploy(StackDeployArgs),
    /// Show the stacks that run and those that cluster.yaml names
    Ls(CommonArgs),
    /// Show a stack's tasks
    Ps(StackPsArgs),
    /// Take a stack away; its volumes stay
    Rm(StackRmArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StackDiffArgs {
    /// The stacks; all that cluster.yaml names, where none is given
    #[arg(value_name = "NAME")]
    pub(crate) stacks: Vec<ObjectName>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StackDeployArgs {
    /// The stacks, in cluster.yaml's order
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub(crate) stacks: Vec<ObjectName>,
    /// All that cluster.yaml names
    #[arg(short, long, conflicts_with = "stacks")]
    pub(crate) all: bool,
    /// Remove services that are no longer in the file, once the others run
    #[arg(long)]
    pub(crate) prune: bool,
    /// How long the services of a stack may take until all of them run, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StackPsArgs {
    /// The stack
    #[arg(value_name = "NAME")]
    pub(crate) stack: ObjectName,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StackRmArgs {
    /// The stack
    #[arg(value_name = "NAME")]
    pub(crate) stack: ObjectName,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The service, e.g. `web_app`
    #[arg(value_name = "SERVICE")]
    pub(crate) service: ObjectName,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only what was written since, e.g. 10m or 2026-11-27T08:00:00
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only so many of the last lines of each task
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u32>,
    /// With the time of each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// The cluster's file
    #[arg(short, long, value_name = "FILE", env = "ENXAME_CONFIG", default_value = "cluster.yaml")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// The service, and which of its tasks, e.g. `web_app` or `web_app.2`; of one on every node, the node: `web_app.kvm2`
    #[arg(value_name = "SERVICE[.SLOT]")]
    pub(crate) service: String,
    /// The command
    #[arg(required = true, last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
    /// As this user of the container
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// The cluster's file
    #[arg(short, long, value_name = "FILE", env = "ENXAME_CONFIG", default_value = "cluster.yaml")]
    pub(crate) config: PathBuf,
    /// No progress on the standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
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
