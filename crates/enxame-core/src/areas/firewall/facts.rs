//! What filters packets on a node now: the tables in the kernel, not the files they were made from.

use serde::{Deserialize, Serialize};

use super::Service;
use crate::facts::Observed;

/// The kernel's packet filter, as far as enxame has a hand in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterFacts {
    /// IPv4, as `iptables-save` shows it.
    pub ipv4: Observed<TableFacts>,
    /// IPv6, as `ip6tables-save` shows it.
    pub ipv6: Observed<TableFacts>,
    /// The table `inet enxame`.
    pub guard: Observed<GuardState>,
    /// A change of the firewall that was never confirmed and is about to be undone.
    pub unconfirmed: Option<String>,
    /// Who throws everybody's rules away when he starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rivals: Vec<RivalFacts>,
    /// The packages that apt would remove for those of the firewall that are missing, as far as its lists tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub installing_removes: Vec<String>,
}

/// Something that is started at boot, with an interface or by the clock, and throws away rules that are not its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RivalFacts {
    /// What is started: a unit, or a file.
    pub started_by: String,
    /// The file in which that was read.
    pub place: String,
    /// The line.
    pub text: String,
    /// Whether it comes to that line whenever it is started.
    pub is_sure: bool,
}

/// Something that waits at a port for whoever comes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listener {
    /// What is asked for.
    pub at: Service,
    /// The program's name (`proc_pid_comm(5)`); empty where it is the kernel.
    pub program: String,
}

impl Default for FilterFacts {
    fn default() -> Self {
        let unseen = || Observed::Unknown("not looked at".to_owned());
        Self {
            ipv4: unseen(),
            ipv6: unseen(),
            guard: Observed::Known(GuardState::Absent),
            unconfirmed: None,
            rivals: Vec::new(),
            installing_removes: Vec::new(),
        }
    }
}

/// The table `filter` of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    /// What becomes of packets to this node that no rule matches: `ACCEPT` or `DROP`.
    pub input_policy: String,
    /// The same for packets that pass through.
    pub forward_policy: String,
    /// Whether `INPUT`, `OUTPUT` and `FORWARD` come through all of ufw's chains.
    pub goes_through_ufw: bool,
    /// What `INPUT` lets in before it comes to ufw's chains, a rule each, without `-A CHAIN`.
    pub accepted_before_ufw: Vec<String>,
    /// What `FORWARD` lets pass before it comes to `DOCKER-USER`, likewise; `None` where it never comes there.
    pub accepted_before_docker_user: Option<Vec<String>>,
    /// `ufw-user-input` (`ufw6-user-input`), a rule each, without `-A CHAIN`; `None` where there is no such chain.
    pub user_input: Option<Vec<String>>,
    /// `DOCKER-USER`, likewise.
    pub docker_user: Option<Vec<String>>,
    /// The chain of ours that `DOCKER-USER` hands to what comes in from outside, likewise.
    pub published: Option<Vec<String>>,
}

/// What is there of the table `inet enxame`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardState {
    /// Nothing.
    Absent,
    /// What was loaded from its file.
    AsLoaded,
    /// Something else.
    Changed,
}
