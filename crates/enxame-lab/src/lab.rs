//! The laboratory as a whole: up, down, load, and single nodes' power.
//!
//! Owns the order of things. Invariant: whatever is interrupted, the record lets the next command take over.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use anyhow::{Context, Result, anyhow, bail};

use crate::{
    accelerator::Accelerator,
    access,
    disks::{self, DiskSet, Start},
    home::Home,
    image::{self, Flavour, Recipe},
    machine::{self, Rack},
    network,
    progress::Progress,
    proxy,
    record::Record,
    states::{self, StateName, for_all_nodes},
    topology::{NODES, Node},
};

const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(60);

/// The laboratory of one project, while a command changes it.
pub(crate) struct Lab<'a> {
    pub(crate) home: &'a Home,
    pub(crate) progress: &'a Progress,
}

impl Lab<'_> {
    /// Brings up three nodes that answer. Those that run already are left alone.
    pub(crate) fn up(&self, flavour: Flavour, start: Start) -> Result<()> {
        let mut record = match Record::owned_by(self.home)?.filter(Record::is_alive) {
            Some(record) if start == Start::WhereItWas => {
                let disks = record.disks.as_deref().map(DiskSet::named).transpose()?;
                if let Some(disks) = disks.filter(|disks| disks.flavour() != flavour.to_string()) {
                    bail!(
                        "a laboratory of {} is up\nhint: enxame-lab down, then up again, or load a state",
                        disks.flavour()
                    );
                }
                if NODES.iter().all(|node| record.runs(node)) {
                    self.progress.step(&format!("the laboratory is already up, with {flavour}"));
                    return Ok(());
                }
                record
            }
            Some(record) => {
                // Their disks are about to be replaced: there is nothing to shut down for.
                cut_all_power(&record)?;
                self.end(record)?;
                Record::new(self.home)
            }
            None => Record::new(self.home),
        };
        self.surround(&mut record)?;
        let recipe = self.ensure_image(flavour)?;
        let disks = DiskSet::current(self.home, &recipe.key(), start)?;
        self.start_nodes(&mut record, &disks, None)?;
        self.remove_unused(&disks)
    }

    /// Builds an image if it is missing. A laboratory that is down is down again in the end.
    pub(crate) fn build_image(&self, flavour: Flavour) -> Result<()> {
        let running = Record::owned_by(self.home)?.filter(Record::is_alive);
        let was_up = running.is_some();
        let mut record = running.unwrap_or_else(|| Record::new(self.home));
        self.surround(&mut record)?;
        let built = self.ensure_image(flavour);
        if !was_up {
            withdraw(&record)?;
        }
        built.map(drop)
    }

    /// The recipe of an image that is there, built now if it was not. What is around the nodes must be up.
    fn ensure_image(&self, flavour: Flavour) -> Result<Recipe> {
        let recipe = Recipe::new(flavour, image::machine_mirror()?, proxy::address());
        image::ensure(self.home, &recipe, self.progress)?;
        Ok(recipe)
    }

    /// Puts all nodes back to a saved state, whether they run or not.
    pub(crate) fn load(&self, name: &StateName) -> Result<()> {
        let disks = states::find(self.home, name)?;
        let mut record = match Record::owned_by(self.home)?.filter(Record::is_alive) {
            Some(mut record) => {
                record.faults.heal()?;
                cut_all_power(&record)?;
                record
            }
            None => Record::new(self.home),
        };
        self.surround(&mut record)?;
        disks.make_current(self.home)?;
        self.start_nodes(&mut record, &disks, Some(name))?;
        self.set_clocks()
    }

    /// Saves all nodes under a name.
    pub(crate) fn save(&self, name: &StateName) -> Result<()> {
        let record = Record::running(self.home)?;
        if let Some(node) = NODES.iter().find(|node| !record.runs(node)) {
            bail!("{} is off, and a state is of all nodes\nhint: enxame-lab start {0}", node.name);
        }
        let disks = DiskSet::named(record.disks.as_deref().context("a running laboratory has disks")?)?;
        for_all_nodes(|node| machine::await_end_of_boot(self.home, node))?;
        states::save(self.home, &disks, name)?;
        self.progress.step("saved; setting the nodes' clocks, which stood still");
        self.set_clocks()
    }

    /// Shuts the nodes down and removes the network. Disks, images and saved states stay.
    pub(crate) fn down(&self) -> Result<()> {
        if let Some(record) = Record::owned_by(self.home)? {
            return self.end(record);
        }
        self.progress.step("the laboratory is not up");
        network::tear_down()
    }

    /// Cuts one node's power.
    pub(crate) fn kill(&self, node: &'static Node) -> Result<()> {
        let record = Record::running(self.home)?;
        let process = record.nodes.get(node.name).filter(|process| process.is_alive());
        machine::cut_power(node, *process.ok_or_else(|| anyhow!("{} is off already", node.name))?)
    }

    /// Boots one node and waits until it answers.
    pub(crate) fn start(&self, node: &'static Node) -> Result<()> {
        let mut record = Record::running(self.home)?;
        if record.runs(node) {
            bail!("{} runs already", node.name);
        }
        let disks = DiskSet::named(record.disks.as_deref().context("a running laboratory has disks")?)?;
        let rack = Rack {
            home: self.home,
            disks: &disks,
            accelerator: Accelerator::of_this_machine(self.home)?,
            state: None,
        };
        let process = rack.start(node)?;
        record.nodes.insert(node.name.to_owned(), process);
        record.write()?;
        machine::await_answer(self.home, node, process)?;
        self.progress.step(&format!("{} answers", node.name));
        Ok(())
    }

    /// Everything that nodes need around them: keys, network, package proxy.
    fn surround(&self, record: &mut Record) -> Result<()> {
        access::prepare(self.home)?;
        if !record.is_alive() || !network::is_up() {
            network::set_up()?;
        }
        record.write()?;
        proxy::ensure(self.home, record)
    }

    /// Starts the nodes that do not run and waits for all of them.
    fn start_nodes(&self, record: &mut Record, disks: &DiskSet, state: Option<&StateName>) -> Result<()> {
        let accelerator = Accelerator::of_this_machine(self.home)?;
        let doing = state.map_or("booting".to_owned(), |name| format!("loading {name} into"));
        self.progress.step(&format!(
            "{doing} {} nodes of {} (acceleration: {})",
            NODES.len(),
            disks.flavour(),
            accelerator.name()
        ));
        record.disks = Some(disks.to_string());
        record.write()?;
        let state = state.map(ToString::to_string);
        let rack = Rack { home: self.home, disks, accelerator, state: state.as_deref() };
        let shared = Mutex::new(record);
        for_all_nodes(|node| {
            let locked = || shared.lock().map_err(|_| anyhow!("another node's thread panicked"));
            let running = locked()?.nodes.get(node.name).copied().filter(|process| process.is_alive());
            let process = running.map_or_else(|| rack.start(node), Ok)?;
            {
                let mut record = locked()?;
                record.nodes.insert(node.name.to_owned(), process);
                record.write()?;
            }
            machine::await_answer(self.home, node, process)?;
            self.progress.step(&format!("{} answers", node.name));
            Ok(())
        })
    }

    fn end(&self, mut record: Record) -> Result<()> {
        self.progress.step("shutting the nodes down");
        record.faults.heal().or_else(|error| if network::is_up() { Err(error) } else { Ok(()) })?;
        for_all_nodes(|node| match record.nodes.get(node.name).filter(|process| process.is_alive()) {
            Some(process) => machine::shut_down(node, *process, SHUTDOWN_PATIENCE),
            None => Ok(()),
        })?;
        withdraw(&record)
    }

    /// Nodes that stood still, or were put back in time, learn what time it is.
    fn set_clocks(&self) -> Result<()> {
        for_all_nodes(|node| machine::set_clock(self.home, node))
    }

    /// What an older recipe of the same flavour left goes, unless a saved state needs it.
    fn remove_unused(&self, in_use: &DiskSet) -> Result<()> {
        let mut needed: BTreeSet<DiskSet> = states::all(self.home)?.into_values().collect();
        needed.insert(in_use.clone());
        needed.extend(
            disks::all_current(self.home)?.into_iter().filter(|set| set.flavour() != in_use.flavour()),
        );
        disks::remove_unused(self.home, &needed)
    }
}

/// Takes away what is around the nodes.
fn withdraw(record: &Record) -> Result<()> {
    record.helpers.values().try_for_each(|process| process.end())?;
    network::tear_down()?;
    Record::remove()
}

fn cut_all_power(record: &Record) -> Result<()> {
    for_all_nodes(|node| {
        record.nodes.get(node.name).map_or(Ok(()), |process| machine::cut_power(node, *process))
    })
}
