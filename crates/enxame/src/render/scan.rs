//! Which ports of an address answer, for people.

use std::fmt::Write;
use std::net::IpAddr;

use comfy_table::{Table, presets};
use enxame_core::facts::Observed;
use enxame_core::ports::PortSet;
use enxame_core::probe::{Scanned, UdpAnswer};
use serde::Serialize;

/// How many ranges of ports a row bears.
const TOLD_RANGES: usize = 20;

/// What was seen of an address; `--json` prints a list of them.
#[derive(Debug, Serialize)]
pub(crate) struct Sight {
    pub(crate) address: IpAddr,
    pub(crate) seen: Observed<Scanned>,
}

impl Sight {
    /// Whether there was anything to see: where nothing answers, a filter is not told from a host that is not there.
    pub(crate) fn is_proof(&self) -> bool {
        let is_answer = |answer: &UdpAnswer| !matches!(answer, UdpAnswer::Silent | UdpAnswer::Unsent);
        let answers = |scanned: &Scanned| scanned.udp.values().any(is_answer);
        self.seen.known().is_some_and(|scanned| scanned.control.is_some() || answers(scanned))
    }

    /// A headline and a row for each kind of answer.
    pub(crate) fn text(&self) -> String {
        let scanned = match &self.seen {
            Observed::Known(scanned) => scanned,
            Observed::Unknown(why) => return format!("{}: could not look: {why}\n", self.address),
        };
        let tried = scanned.tried_tcp.len();
        let (source, silent) = (scanned.source, scanned.silent().len());
        let mut out =
            format!("{} from {source}: {tried} TCP ports tried, {silent} did not answer\n", self.address);
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["PROTOCOL", "PORTS", "ANSWER"]);
        for (protocol, ports, answer) in rows(scanned) {
            if !ports.is_empty() {
                table.add_row([protocol, &ports.brief(TOLD_RANGES), answer]);
            }
        }
        if table.row_count() > 0 {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{}", table.trim_fmt());
        }
        if !self.is_proof() {
            out.push_str("nothing answers: a filter cannot be told from a host that is not there\n");
        }
        out
    }
}

fn rows(scanned: &Scanned) -> [(&'static str, PortSet, &'static str); 7] {
    let udp = |answer| scanned.udp_ports(answer);
    [
        ("TCP", scanned.open.clone(), "open"),
        ("TCP", scanned.refused.clone(), "refused: not filtered, and nothing listens"),
        ("TCP", scanned.rejected.clone(), "rejected by a filter"),
        ("UDP", udp(UdpAnswer::Answered), "answers"),
        ("UDP", udp(UdpAnswer::Unreachable), "unreachable: not filtered, and nothing listens"),
        ("UDP", udp(UdpAnswer::Rejected), "rejected by a filter"),
        ("UDP", udp(UdpAnswer::Unsent), "not tried: this host let nothing out to it"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(open: &str, control: Option<u16>, udp: UdpAnswer) -> Sight {
        let scanned = Scanned {
            source: [198, 51, 100, 66].into(),
            tried_tcp: PortSet::all(),
            open: open.parse().unwrap(),
            refused: PortSet::default(),
            rejected: PortSet::default(),
            udp: [(53, UdpAnswer::Silent), (65_000, udp)].into(),
            control,
        };
        Sight { address: [203, 0, 113, 12].into(), seen: Observed::Known(scanned) }
    }

    #[test]
    fn what_answers_has_a_row_and_silence_a_number() {
        let text = sight("22,80-81", Some(22), UdpAnswer::Unreachable).text();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines[0], "203.0.113.12 from 198.51.100.66: 65535 TCP ports tried, 65532 did not answer");
        assert!(lines.iter().any(|line| line.starts_with("TCP") && line.contains("22, 80-81")), "{text}");
        assert!(lines.iter().any(|line| line.starts_with("UDP") && line.contains("65000")), "{text}");
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn silence_alone_is_no_proof() {
        let silent = sight("", None, UdpAnswer::Silent);
        assert!(!silent.is_proof() && silent.text().contains("cannot be told from"), "{}", silent.text());
        assert!(sight("22", Some(22), UdpAnswer::Silent).is_proof());
        assert!(sight("", None, UdpAnswer::Unreachable).is_proof());
        assert!(!sight("", None, UdpAnswer::Unsent).is_proof());
        let blind =
            Sight { address: [203, 0, 113, 12].into(), seen: Observed::Unknown("no route".to_owned()) };
        assert!(!blind.is_proof());
        assert_eq!(blind.text(), "203.0.113.12: could not look: no route\n");
    }
}
