//! A rule of the provider's firewall: as it is kept there, and what it means.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::areas::firewall::{Opening, Service, Source};

/// A rule as the provider keeps it, in its own words, so that it can be put back as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFacts {
    /// The provider's number of it.
    pub id: u64,
    /// `accept` or `drop`.
    pub action: String,
    /// A protocol, or a name for a protocol and its port, e.g. `SSH`.
    pub protocol: String,
    /// A port, a range (`1024:2048`), or something that stands for all ports.
    pub port: String,
    /// `any` or `custom`.
    pub source: String,
    /// `any`, an address, a network (CIDR) or a range of addresses.
    pub source_detail: String,
}

/// What a rule of ours lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EdgeRule {
    /// What.
    pub service: Service,
    /// From whom; `None`: everybody.
    pub source: Option<IpNet>,
}

impl EdgeRule {
    /// The rules that an opening becomes: one for each source.
    pub(super) fn of(opening: &Opening) -> Vec<Self> {
        let service = opening.service;
        match opening.source.networks() {
            None => vec![Self { service, source: None }],
            Some(networks) => {
                networks.into_iter().map(|network| Self { service, source: Some(network) }).collect()
            }
        }
    }

    /// The source as it is written, a single address without its prefix length; `None`: everybody.
    #[must_use]
    pub fn source_text(&self) -> Option<String> {
        let networks = BTreeSet::from([self.source?]);
        Some(Source::Networks(networks).to_string())
    }
}

impl fmt::Display for EdgeRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.service.protocol())?;
        if let Some(port) = self.service.port() {
            write!(formatter, " {port}")?;
        }
        write!(formatter, " from {}", self.source_text().as_deref().unwrap_or("any"))
    }
}

impl RuleFacts {
    /// Whether it lets something in; the other kind cannot be made through the API.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.action.eq_ignore_ascii_case("accept")
    }

    /// The rule of ours that it says the same as; `None` when it is none that we would ever make.
    #[must_use]
    pub fn meaning(&self) -> Option<EdgeRule> {
        let service = self.service().filter(|_| self.accepts())?;
        let is_any = [&self.source, &self.source_detail].iter().any(|text| text.eq_ignore_ascii_case("any"));
        let source = if is_any { None } else { Some(network(&self.source_detail)?) };
        Some(EdgeRule { service, source })
    }

    fn service(&self) -> Option<Service> {
        let port = ports(&self.port);
        // The API's short names (its enum `protocol`) and the ports they stand for.
        let named = |own: u16| match port {
            Some(Ports::All) => Some(Service::Tcp(own)),
            Some(Ports::One(port)) if port == own => Some(Service::Tcp(own)),
            _ => None,
        };
        match (self.protocol.to_ascii_lowercase().as_str(), port) {
            ("tcp", Some(Ports::One(port))) => Some(Service::Tcp(port)),
            ("udp", Some(Ports::One(port))) => Some(Service::Udp(port)),
            // These have no ports, whatever stands in the field that every rule must have.
            ("esp", _) => Some(Service::Esp),
            ("icmp", _) => Some(Service::Icmp),
            ("icmpv6", _) => Some(Service::Icmpv6),
            ("any", Some(Ports::All)) => Some(Service::Any),
            ("ssh", _) => named(22),
            ("http", _) => named(80),
            ("https", _) => named(443),
            ("mysql", _) => named(3306),
            ("postgresql", _) => named(5432),
            _ => None,
        }
    }
}

impl fmt::Display for RuleFacts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.accepts() {
            write!(formatter, "{} ", self.action)?;
        }
        match self.meaning() {
            Some(rule) => rule.fmt(formatter),
            None => write!(formatter, "{} {} from {}", self.protocol, self.port, self.source_detail),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Ports {
    All,
    One(u16),
}

/// The field `port`; `None`: several ports, or nothing that is understood.
fn ports(text: &str) -> Option<Ports> {
    let text = text.trim();
    if ["", "any", "all", "*", "-", "0"].contains(&text.to_ascii_lowercase().as_str()) {
        return Some(Ports::All);
    }
    let (first, last) = text.split_once([':', '-']).unwrap_or((text, text));
    match (first.trim().parse().ok()?, last.trim().parse().ok()?) {
        (0 | 1, u16::MAX) => Some(Ports::All),
        (first, last) if first == last => Some(Ports::One(first)),
        _ => None,
    }
}

/// An address, a network, or a range of one address.
fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let address = |text: &str| text.trim().parse::<IpAddr>().ok();
    if let Ok(network) = text.parse::<IpNet>() {
        return Some(network.trunc());
    }
    if let Some((first, last)) = text.split_once('-') {
        return address(first).filter(|first| address(last) == Some(*first)).map(IpNet::from);
    }
    address(text).map(IpNet::from)
}
