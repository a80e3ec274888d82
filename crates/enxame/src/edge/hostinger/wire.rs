//! The parts of Hostinger's API that are used, as its `OpenAPI` document has them.

use std::net::IpAddr;

use enxame_core::edge::{EdgeRule, RuleFacts};
use serde::Deserialize;
use serde_json::{Value, json};

/// What stands in `port` where a protocol has no ports: the field is required all the same.
const NO_PORT: &str = "any";

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) data: Vec<WireFirewall>,
    #[serde(default)]
    pub(super) meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Meta {
    pub(super) total: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireFirewall {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) name: String,
    pub(super) is_synced: bool,
    #[serde(default)]
    pub(super) rules: Vec<WireRule>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireRule {
    id: u64,
    action: String,
    protocol: String,
    port: Option<String>,
    source: String,
    source_detail: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireMachine {
    pub(super) id: u64,
    pub(super) firewall_group_id: Option<u64>,
    #[serde(default)]
    pub(super) hostname: String,
    actions_lock: Option<String>,
    ipv4: Option<Vec<Address>>,
    ipv6: Option<Vec<Address>>,
}

#[derive(Debug, Deserialize)]
struct Address {
    address: String,
}

/// Something that the provider does for a while.
#[derive(Debug, Deserialize)]
pub(super) struct WireAction {
    pub(super) id: u64,
    pub(super) state: ActionState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ActionState {
    Success,
    Error,
    /// It waits or runs, whatever the word for it.
    #[serde(other)]
    Going,
}

impl From<WireRule> for RuleFacts {
    fn from(rule: WireRule) -> Self {
        let WireRule { id, action, protocol, port, source, source_detail } = rule;
        let any = || NO_PORT.to_owned();
        let source_detail = source_detail.unwrap_or_else(any);
        Self { id, action, protocol, port: port.unwrap_or_else(any), source, source_detail }
    }
}

impl WireMachine {
    pub(super) fn is_locked(&self) -> bool {
        self.actions_lock.as_deref() == Some("locked")
    }

    pub(super) fn has(&self, address: IpAddr) -> bool {
        let own = [&self.ipv4, &self.ipv6].into_iter().flatten().flatten();
        own.filter_map(|own| own.address.parse::<IpAddr>().ok()).any(|own| own == address)
    }
}

/// The body that makes a rule. It has no action: rules made this way accept.
pub(super) fn new_rule(rule: &EdgeRule) -> Value {
    let port = rule.service.port().map_or(NO_PORT.to_owned(), |port| port.to_string());
    let source = rule.source_text();
    json!({
        "protocol": rule.service.protocol(),
        "port": port,
        "source": if source.is_some() { "custom" } else { "any" },
        "source_detail": source.as_deref().unwrap_or("any"),
    })
}

/// The body that makes a rule as it was.
pub(super) fn old_rule(rule: &RuleFacts) -> Value {
    let RuleFacts { protocol, port, source, source_detail, .. } = rule;
    json!({"protocol": protocol, "port": port, "source": source, "source_detail": source_detail})
}
