//! What every proof says of itself.

use super::Observations;
use crate::report::{Proof, ProofId};

/// A kind of proof: its file's whole furniture.
#[derive(Debug)]
pub struct ProofKind {
    /// What is proven; evidence files name it so.
    pub id: ProofId,
    /// The same for people, in a few words.
    pub title: &'static str,
    /// The manual's section that asks for it.
    pub manual: &'static str,
    /// Where the report has it.
    pub part: Part,
    /// What must be done to see it. Nothing else is.
    pub needs: &'static [Need],
    /// Judges. Pure: the same observations make the same proofs. A proof about a node that did not answer may say
    /// anything: [`super::judge`] makes it unknown.
    pub judge: fn(&Observations) -> Vec<Proof>,
    /// What all proofs of this kind counted, in a few words; empty where nothing is counted.
    pub counted: fn(&Totals<'_>) -> String,
}

/// A part of the report, and of what can be asked for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What is on the wire between the nodes.
    Wire,
    /// Who reaches which ports.
    Exposure,
    /// What goes through the tunnels between the nodes.
    Storage,
}

/// Something to be done before a proof can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A manager says which overlay networks there are.
    Networks,
    /// Nodes send each other echo requests.
    Echoes,
    /// Both ends watch the wire for the whole run.
    Watch,
    /// The tasks of a probe talk to each other on every ordinary overlay network.
    TaskLoad,
    /// Every node asks its own routing mesh.
    MeshLoad,
    /// The operator tries the nodes' ports, and nodes each other's.
    Scan,
    /// Nodes talk to each other in the tunnels and use the shared files, while the wire is watched.
    Shared,
}

/// The sums of what proofs counted.
#[derive(Clone, Copy, Debug)]
pub struct Totals<'a>(pub &'a [&'a Proof]);

impl Totals<'_> {
    /// The sum of the numbers of that name.
    #[must_use]
    pub fn of(&self, key: &str) -> u64 {
        self.0.iter().filter_map(|proof| proof.numbers.get(key)).sum()
    }
}
