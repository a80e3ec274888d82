//! One node as an emulated computer: its command line, its start, its end, and waiting until it answers.
//!
//! Invariant: two starts of a node differ in nothing but the state that is loaded, because a saved state
//! fits only the machine it was saved from.

use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;

use crate::{
    accelerator::Accelerator,
    disks::DiskSet,
    home::Home,
    image::{Image, Seeded, initrd_with_seed},
    network,
    process::Process,
    qmp::{self, Monitor},
    record::runtime_file,
    tool::{Tool, last_lines},
    topology::{Namespace, Node},
};

const START_DEADLINE: Duration = Duration::from_secs(60);
/// Three at once, emulated, on a busy machine.
const ANSWER_DEADLINE: Duration = Duration::from_secs(600);
const QUIT_DEADLINE: Duration = Duration::from_secs(20);

/// What is needed to start any node.
pub(crate) struct Rack<'a> {
    pub(crate) home: &'a Home,
    pub(crate) disks: &'a DiskSet,
    pub(crate) accelerator: Accelerator,
    /// Continue from this saved state instead of booting.
    pub(crate) state: Option<&'a str>,
}

impl Rack<'_> {
    /// Starts a node's emulator. It boots, or goes on from the saved state.
    pub(crate) fn start(&self, node: &'static Node) -> Result<Process> {
        let image = Image::of(self.home, self.disks.image_key());
        let initrd = self.home.inner("run").join(format!("{}.initrd", node.name));
        fs::create_dir_all(self.home.inner("run")).context("cannot create .lab/run")?;
        fs::write(
            &initrd,
            initrd_with_seed(&image.initrd(), self.home, node, Seeded::of(self.disks.flavour()))?,
        )
        .context("cannot write the initial RAM disk")?;
        let console = self.home.log(node.name);
        Tool::within(Namespace::Internet, "qemu-system-x86_64")
            .args(self.arguments(node, &image.kernel(), &initrd, &console))
            .deadline(START_DEADLINE)
            .run()
            .with_context(|| format!("cannot start {}", node.name))?;
        let pid = fs::read_to_string(pid_file(node)).context("the emulator wrote no process number")?;
        Process::of(pid.trim().parse().context("the emulator's process number is none")?)
    }

    fn arguments(&self, node: &Node, kernel: &Path, initrd: &Path, console: &Path) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "-name",
            node.name,
            "-machine",
            "pc",
            "-nodefaults",
            "-display",
            "none",
            "-smp",
            "1",
            "-daemonize",
        ]
        .into_iter()
        .chain(self.accelerator.options())
        .map(str::to_owned)
        .collect();
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        option("-m", node.memory_mib.to_string());
        option("-pidfile", pid_file(node).display().to_string());
        option("-qmp", format!("unix:{},server=on,wait=off", qmp::socket(node).display()));
        option("-serial", format!("file:{}", console.display()));
        // The machine's own crash loses the laboratory anyway: waiting for its disk buys nothing.
        option(
            "-drive",
            format!(
                "file={},if=virtio,cache=unsafe,discard=unmap",
                self.disks.disk(self.home, node).display()
            ),
        );
        option("-netdev", format!("tap,id=internet,ifname={},script=no,downscript=no", node.tap()));
        option("-device", format!("virtio-net-pci,netdev=internet,mac={},romfile=", node.mac()));
        option("-object", "rng-random,id=entropy,filename=/dev/urandom".to_owned());
        option("-device", "virtio-rng-pci,rng=entropy".to_owned());
        option("-rtc", "base=utc,clock=host".to_owned());
        option("-kernel", kernel.display().to_string());
        option("-initrd", initrd.display().to_string());
        option(
            "-append",
            "root=/dev/vda rw console=ttyS0 loglevel=4 fsck.mode=skip mitigations=off".to_owned(),
        );
        if let Some(state) = self.state {
            option("-loadvm", state.to_owned());
        }
        arguments
    }
}

fn pid_file(node: &Node) -> std::path::PathBuf {
    runtime_file(&format!("{}.pid", node.name))
}

/// Cuts a node's power. What it had written to its disk stays, what it held in memory is lost.
pub(crate) fn cut_power(node: &'static Node, process: Process) -> Result<()> {
    // Through the monitor first, so that the emulator's own bookkeeping of the disk file is whole.
    if let Ok(monitor) = Monitor::connect(node) {
        monitor.quit();
        if process.is_gone_within(QUIT_DEADLINE) {
            return Ok(());
        }
    }
    process.end()
}

/// Presses a node's power button, waits for its orderly end, and cuts the power if that takes too long.
pub(crate) fn shut_down(node: &'static Node, process: Process, patience: Duration) -> Result<()> {
    if let Ok(mut monitor) = Monitor::connect(node)
        && monitor.command("system_powerdown", &json!({})).is_ok()
        && process.is_gone_within(patience)
    {
        return Ok(());
    }
    cut_power(node, process)
}

/// Waits until a node answers over ssh with the host key it was given.
pub(crate) fn await_answer(home: &Home, node: &'static Node, process: Process) -> Result<()> {
    let since = Instant::now();
    let address: SocketAddr = format!("{}:22", node.address()).parse().context("a node's address")?;
    while !network::within(Namespace::Operator, move || Ok(has_banner(address)))? {
        if !process.is_alive() {
            bail!(silent(home, node, "its emulator ended"));
        }
        if since.elapsed() > ANSWER_DEADLINE {
            bail!(silent(
                home,
                node,
                &format!("no answer on port 22 within {} s", ANSWER_DEADLINE.as_secs())
            ));
        }
        thread::sleep(Duration::from_millis(200));
    }
    ssh(home, node)
        .arg("true")
        .deadline(ANSWER_DEADLINE.saturating_sub(since.elapsed()).max(Duration::from_secs(20)))
        .run()
        .map(drop)
        .map_err(|error| error.context(silent(home, node, "it refuses the operator")))
}

/// Waits until a node has finished booting: it answers over ssh before all of its services run.
pub(crate) fn await_end_of_boot(home: &Home, node: &Node) -> Result<()> {
    ssh(home, node)
        .arg("systemctl is-system-running --wait")
        .deadline(ANSWER_DEADLINE)
        // A unit that failed makes this fail too; the boot is over all the same.
        .status()
        .map(drop)
        .with_context(|| format!("{} does not finish booting", node.name))
}

/// Tells a node that stood still, or was put back in time, what time it is.
pub(crate) fn set_clock(home: &Home, node: &Node) -> Result<()> {
    let now = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("{}.{:06}\n", now.as_secs(), now.subsec_micros())
    };
    // The time is told once the node listens, because a new connection takes an emulated node a second.
    ssh(home, node)
        .arg("echo ready && read -r now && date --utc --set \"@$now\"")
        .answer_its_first_line(now)
        .with_context(|| format!("cannot set the clock of {}", node.name))
}

/// `ssh` to a node from the operator's place; what follows is its remaining command line.
pub(crate) fn ssh(home: &Home, node: &Node) -> Tool {
    let ssh = Tool::within(Namespace::Operator, "ssh");
    ssh.arg("-F").arg(home.ssh_config()).arg("-i").arg(home.lab_key()).arg(node.name)
}

fn has_banner(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(2)) else {
        return false;
    };
    let mut banner = [0; 4];
    // sshd under emulation takes seconds to say its first word.
    stream.set_read_timeout(Some(Duration::from_secs(15))).is_ok()
        && stream.read_exact(&mut banner).is_ok()
        && &banner == b"SSH-"
}

fn silent(home: &Home, node: &Node, what: &str) -> anyhow::Error {
    let console = home.log(node.name);
    let tail = last_lines(&fs::read_to_string(&console).unwrap_or_default(), 15);
    anyhow!(
        "{} does not answer: {what}\nits console ends with:\n{tail}\nhint: the whole console is in {}",
        node.name,
        console.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::NODES;

    fn arguments(state: Option<&str>) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        let disks = DiskSet::named("trixie-bare-0/1").unwrap();
        let rack = Rack { home: &home, disks: &disks, accelerator: Accelerator::Software, state };
        rack.arguments(&NODES[0], Path::new("k"), Path::new("i"), Path::new("c"))
            .into_iter()
            .map(|argument| argument.replace(&home.directory().display().to_string(), ".lab"))
            .collect()
    }

    #[test]
    fn a_loaded_state_is_the_only_difference_between_two_starts() {
        let (boot, load) = (arguments(None), arguments(Some("clean")));
        assert_eq!(load[..boot.len()], boot[..]);
        assert_eq!(load[boot.len()..], ["-loadvm", "clean"]);
    }

    #[test]
    fn a_node_has_its_own_disk_and_its_own_port() {
        let boot = arguments(None);
        assert!(
            boot.contains(
                &"file=.lab/disks/trixie-bare-0/1/kvm2-manager.qcow2,if=virtio,cache=unsafe,discard=unmap"
                    .to_owned()
            )
        );
        assert!(boot.contains(&"tap,id=internet,ifname=tap-12,script=no,downscript=no".to_owned()));
    }
}
