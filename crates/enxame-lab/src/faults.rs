//! What is broken on purpose between two places: nothing passes (`cut`), or late and not all (`delay`).
//!
//! Faults are on the bridge, outside the nodes, which cannot see or undo them. Cuts drop frames between two
//! ports. Delays take frames out at one end's port and hand them to a process that puts them back later
//! (`delay.rs`). Invariant: the rules in the kernel are always generated whole from the recorded faults.

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    home::Home,
    process::Process,
    tool::Tool,
    topology::{BRIDGE, Namespace, Place},
};

const DEVICE_DEADLINE: Duration = Duration::from_secs(5);

/// Two different places, in no order.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Pair(Place, Place);

impl Pair {
    /// The pair of two places.
    pub(crate) fn new(one: Place, other: Place) -> Result<Self> {
        if one == other {
            bail!("{one} cannot be cut off from itself\nhint: name two different places");
        }
        Ok(Self(one, other))
    }

    fn directions(self) -> [(Place, Place); 2] {
        [(self.0, self.1), (self.1, self.0)]
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        other.directions().contains(&(self.0, self.1))
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} and {}", self.0, self.1)
    }
}

/// How late frames arrive, and how many never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lateness {
    /// Each way.
    pub(crate) milliseconds: u32,
    /// Of 10,000 frames, each way.
    pub(crate) lost_of_ten_thousand: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Delay {
    pair: Pair,
    lateness: Lateness,
    process: Process,
}

/// All faults of a laboratory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Faults {
    cuts: Vec<Pair>,
    delays: Vec<Delay>,
}

impl Faults {
    /// Nothing passes between the two any more.
    pub(crate) fn cut(&mut self, pair: Pair) -> Result<()> {
        self.forget(pair)?;
        self.cuts.push(pair);
        self.enforce()
    }

    /// What passes between the two passes late, or not at all.
    pub(crate) fn delay(&mut self, home: &Home, pair: Pair, lateness: Lateness) -> Result<()> {
        self.forget(pair)?;
        self.enforce()?;
        let device = device(pair);
        let process = Tool::within(Namespace::Internet, std::env::current_exe()?)
            .args(["hold-frames", &device, &lateness.milliseconds.to_string()])
            .detach(&home.log(&device))?;
        self.delays.push(Delay { pair, lateness, process });
        attach(&device, process, home)?;
        self.enforce()
    }

    /// Everything passes again.
    pub(crate) fn heal(&mut self) -> Result<()> {
        self.cuts.clear();
        let delays = std::mem::take(&mut self.delays);
        // First the rules, so that no frame is sent to a process that is going away.
        self.enforce()?;
        delays.into_iter().try_for_each(|delay| delay.process.end())
    }

    /// The processes that hold frames back.
    pub(crate) fn processes(&self) -> impl Iterator<Item = Process> {
        self.delays.iter().map(|delay| delay.process)
    }

    /// One line per fault.
    pub(crate) fn describe(&self) -> Vec<String> {
        let cuts = self.cuts.iter().map(|pair| format!("cut between {pair}"));
        let delays = self.delays.iter().map(|Delay { pair, lateness, .. }| {
            let lost = f64::from(lateness.lost_of_ten_thousand) / 100.0;
            format!("{} ms and {lost} % loss each way between {pair}", lateness.milliseconds)
        });
        cuts.chain(delays).collect()
    }

    fn forget(&mut self, pair: Pair) -> Result<()> {
        self.cuts.retain(|it| *it != pair);
        let (ended, kept) =
            std::mem::take(&mut self.delays).into_iter().partition(|delay| delay.pair == pair);
        self.delays = kept;
        let ended: Vec<Delay> = ended;
        if !ended.is_empty() {
            self.enforce()?;
        }
        ended.into_iter().try_for_each(|delay| delay.process.end())
    }

    fn enforce(&self) -> Result<()> {
        Tool::within(Namespace::Internet, "nft").args(["-f", "-"]).input(self.rules()).run().map(drop)
    }

    /// One nftables script that replaces all earlier rules at once.
    fn rules(&self) -> String {
        let mut chains = String::new();
        let mut drops = String::new();
        for (from, to) in self.cuts.iter().flat_map(|pair| pair.directions()) {
            let _ = writeln!(drops, "    iifname \"{}\" oifname \"{}\" drop", from.port(), to.port());
        }
        for place in self.delayed_places() {
            let port = place.port();
            let _ = writeln!(
                chains,
                "  chain from-{port} {{\n    type filter hook ingress device \"{port}\" priority 0;"
            );
            for delay in &self.delays {
                for (_, to) in delay.pair.directions().into_iter().filter(|(from, _)| *from == place) {
                    let (mac, lost) = (to.mac(), delay.lateness.lost_of_ten_thousand);
                    if lost > 0 {
                        let _ =
                            writeln!(chains, "    ether daddr {mac} numgen random mod 10000 < {lost} drop");
                    }
                    let _ = writeln!(chains, "    ether daddr {mac} fwd to \"{}\"", device(delay.pair));
                }
            }
            chains.push_str("  }\n");
        }
        format!(
            "table bridge cuts {{}}\ndelete table bridge cuts\ntable netdev delays {{}}\ndelete table netdev delays\n\
             table bridge cuts {{\n  chain forward {{\n    type filter hook forward priority 0;\n{drops}  }}\n}}\n\
             table netdev delays {{\n{chains}}}\n"
        )
    }

    fn delayed_places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for (from, _) in self.delays.iter().flat_map(|delay| delay.pair.directions()) {
            if !places.contains(&from) {
                places.push(from);
            }
        }
        places
    }
}

fn device(pair: Pair) -> String {
    let (one, other) = (pair.0.number(), pair.1.number());
    format!("delay-{}-{}", one.min(other), one.max(other))
}

/// Makes the holding process's device a port of the bridge that only ever gives frames back.
fn attach(device: &str, process: Process, home: &Home) -> Result<()> {
    let since = Instant::now();
    while Tool::new("ip").args(["-netns", Namespace::Internet.name(), "link", "show", device]).run().is_err()
    {
        if !process.is_alive() || since.elapsed() > DEVICE_DEADLINE {
            bail!(
                "the process that holds frames back did not start\nhint: see {}",
                home.log(device).display()
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
    // It must not learn: the senders' addresses live behind their own ports.
    let commands = format!(
        "link set {device} addrgenmode none master {BRIDGE} up\n\
         link set {device} type bridge_slave learning off flood off mcast_flood off bcast_flood off\n"
    );
    Tool::new("ip")
        .args(["-netns", Namespace::Internet.name(), "-batch", "-"])
        .input(commands)
        .run()
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        name.parse().unwrap()
    }

    #[test]
    fn a_cut_drops_both_directions() {
        let faults =
            Faults { cuts: vec![Pair(place("kvm2-manager"), place("operator"))], delays: Vec::new() };
        let rules = faults.rules();
        assert!(rules.contains("iifname \"tap-12\" oifname \"operator\" drop"), "{rules}");
        assert!(rules.contains("iifname \"operator\" oifname \"tap-12\" drop"), "{rules}");
    }

    #[test]
    fn a_delay_loses_before_it_holds_back() {
        let pair = Pair(place("kvm2-manager"), place("kvm8-core"));
        let lateness = Lateness { milliseconds: 40, lost_of_ten_thousand: 150 };
        let process = Process::of(std::process::id()).unwrap();
        let rules = Faults { cuts: Vec::new(), delays: vec![Delay { pair, lateness, process }] }.rules();
        let lost = rules.find("ether daddr 52:54:00:71:00:0c numgen random mod 10000 < 150 drop").unwrap();
        let held = rules.find("ether daddr 52:54:00:71:00:0c fwd to \"delay-12-18\"").unwrap();
        assert!(lost < held, "{rules}");
    }

    #[test]
    fn a_pair_has_no_order() {
        let (one, other) = (place("kvm2-manager"), place("kvm4-manager"));
        assert_eq!(Pair(one, other), Pair(other, one));
        assert!(Pair::new(one, one).unwrap_err().to_string().contains("two different places"));
    }
}
