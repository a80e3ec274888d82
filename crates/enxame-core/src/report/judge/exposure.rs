//! Who reaches what: nothing but what is declared answers, and what is declared does.

use super::super::exposure::{Vantage, View};
use super::{Finding, Proof, ProofId, Verdict};
use crate::facts::Observed;
use crate::firewall::is_public;
use crate::ports::PortSet;
use crate::probe::{Scanned, UdpAnswer};

/// How many ranges of ports a sentence bears.
const TOLD_RANGES: usize = 12;

/// The proofs that one look makes.
pub(super) fn proofs(view: &View) -> Vec<Proof> {
    let findings = match &view.seen {
        Observed::Known(scanned) => [Some(nothing_else(view, scanned)), declared(view, scanned)],
        Observed::Unknown(why) => {
            let unknown = |id| Finding::unknown(id, why.clone());
            let is_declared = !view.expected.controls().is_empty();
            let declared = is_declared.then(|| unknown(ProofId::DeclaredOpen));
            [Some(unknown(ProofId::NothingElseOpen)), declared]
        }
    };
    findings.into_iter().flatten().map(|finding| placed(view, finding)).collect()
}

fn placed(view: &View, mut finding: Finding) -> Proof {
    finding.text = format!("{} from {}: {}", view.address, place(view), finding.text);
    match &view.from {
        Vantage::Operator => finding.on(None, &view.node),
        Vantage::Peer(peer) => finding.between(None, peer, &view.node),
    }
}

fn place(view: &View) -> String {
    let mut place = match &view.from {
        Vantage::Operator => "the operator".to_owned(),
        Vantage::Peer(peer) => peer.to_string(),
    };
    if let Some(address) = view.seen_as {
        place = format!("{place} ({address})");
    }
    match (&view.instead, is_translated(view)) {
        (Some(why), _) => format!("{place}, because {why}"),
        (None, true) => format!("{place}, behind address translation or a jump host"),
        (None, false) => place,
    }
}

/// Whether the node takes the one who looks for somebody else than it is, or nobody can tell.
fn is_translated(view: &View) -> bool {
    let source = view.seen.known().map(|scanned| scanned.source);
    let differs = source.is_some_and(|source| view.seen_as != Some(source));
    // A private address does not cross the Internet as it is.
    differs || (is_public(view.address) && view.seen_as.is_some_and(|address| !is_public(address)))
}

/// Nothing that is not declared lets anything through.
fn nothing_else(view: &View, scanned: &Scanned) -> Finding {
    let expected = &view.expected;
    let open = scanned.open.without(&expected.admitted);
    let refused = scanned.refused.without(&expected.admitted);
    let answered = scanned.udp_ports(UdpAnswer::Answered).without(&expected.admitted_udp);
    let unreachable = scanned.udp_ports(UdpAnswer::Unreachable).without(&expected.admitted_udp);
    let unsent = scanned.udp_ports(UdpAnswer::Unsent).without(&expected.admitted_udp);
    let unexpected = [
        (&open, "TCP", "answers, and nothing declares it"),
        (&refused, "TCP", "is not filtered, though nothing listens"),
        (&answered, "UDP", "answers, and nothing declares it"),
        (&unreachable, "UDP", "is not filtered, though nothing listens"),
    ];
    let told: Vec<String> = unexpected
        .iter()
        .filter(|(ports, ..)| !ports.is_empty())
        .map(|(ports, protocol, what)| format!("{protocol} {} {what}", ports.brief(TOLD_RANGES)))
        .collect();
    let answering = scanned.open.and(&scanned.refused);
    let (verdict, text) = if !told.is_empty() {
        (Verdict::Fail, told.join("; "))
    } else if scanned.control.is_none() {
        let why =
            "nothing answers, and nothing is declared open to here that would tell a filter from a cut way";
        (Verdict::Unknown, why.to_owned())
    } else if !unsent.is_empty() {
        let text = format!(
            "UDP {} was not tried: the host that looks let nothing out to it (a filter of its own, or a full table \
             of connections)",
            unsent.brief(TOLD_RANGES)
        );
        (Verdict::Unknown, text)
    } else {
        let tried = scanned.tried_tcp.len();
        let text = format!("of {tried} TCP ports {} answer, and all are declared", answering.len());
        (Verdict::Pass, text)
    };
    let count = |port_sets: [&PortSet; 2]| port_sets.iter().map(|ports| ports.count()).sum();
    let numbers = vec![
        ("open_tcp_ports", scanned.open.count()),
        ("refused_tcp_ports", scanned.refused.count()),
        ("rejected_tcp_ports", scanned.rejected.count()),
        ("silent_tcp_ports", scanned.silent().count()),
        ("expected_tcp_ports", expected.admitted.common(&scanned.tried_tcp).count()),
        ("unexpected_tcp_ports", count([&open, &refused])),
        ("unexpected_udp_ports", count([&answered, &unreachable])),
        ("silent_udp_ports", scanned.udp_ports(UdpAnswer::Silent).count()),
        ("scanned_tcp_ports", scanned.tried_tcp.count()),
        ("scanned_udp_ports", u64::try_from(scanned.udp.len()).unwrap_or(u64::MAX)),
        ("untried_udp_ports", scanned.udp_ports(UdpAnswer::Unsent).count()),
    ];
    Finding { id: ProofId::NothingElseOpen, verdict, numbers, text }
}

/// What is declared gets through; `None` where nothing is.
fn declared(view: &View, scanned: &Scanned) -> Option<Finding> {
    let open = view.expected.open.common(&scanned.tried_tcp);
    let declared = view.expected.declared.and(&open).common(&scanned.tried_tcp);
    if declared.is_empty() {
        return None;
    }
    let filtered = scanned.silent().and(&scanned.rejected);
    let idle = open.common(&scanned.refused);
    let shut = open.common(&filtered);
    let hidden = declared.without(&open).common(&filtered);
    let problems = [
        (&shut, "should take connections from here, and is filtered"),
        (&idle, "should take connections from here, and nothing listens"),
        (&hidden, "is declared open, and is filtered"),
    ];
    let told: Vec<String> = problems
        .iter()
        .filter(|(ports, _)| !ports.is_empty())
        .map(|(ports, what)| format!("TCP {} {what}", ports.brief(TOLD_RANGES)))
        .collect();
    let (verdict, text) = if told.is_empty() {
        (Verdict::Pass, format!("TCP {} gets through", declared.brief(TOLD_RANGES)))
    } else if hidden.is_empty() && idle.is_empty() && view.from == Vantage::Operator && is_translated(view) {
        // The login came by another way, perhaps: a jump host may be let in where this host is not.
        let text = format!("{}; but nobody can tell whether it is here that is let in", told.join("; "));
        (Verdict::Unknown, text)
    } else {
        (Verdict::Fail, told.join("; "))
    };
    let numbers = vec![
        ("declared_tcp_ports", declared.count()),
        ("filtered_tcp_ports", shut.and(&hidden).count()),
        ("open_tcp_ports", declared.common(&scanned.open).count()),
    ];
    Some(Finding { id: ProofId::DeclaredOpen, verdict, numbers, text })
}
