//! The checks of `firewall.edge`: whose firewall stands in front of the servers, and how its API is reached.

use std::net::IpAddr;

use serde_saphyr::Spanned;

use super::error::Problems;
use super::model::EdgeConfig;
use super::v1::EdgeFile;
use super::words::EdgeProvider;
use crate::names::ObjectName;

/// Where Hostinger's API is (its `OpenAPI` document, `servers`).
const HOSTINGER_URL: &str = "https://developers.hostinger.com";
/// A name is a field of a panel: longer ones are mistakes.
const LONGEST_NAME: usize = 100;

pub(super) fn check(file: &EdgeFile, cluster: &ObjectName, found: &mut Problems<'_>) -> EdgeConfig {
    if file.provider == EdgeProvider::Manual {
        let keys = [
            ("token_file", file.token_file.as_ref().map(|key| key.referenced)),
            ("firewall", file.firewall.as_ref().map(|key| key.referenced)),
            ("url", file.url.as_ref().map(|key| key.referenced)),
        ];
        for (key, place) in keys.into_iter().filter_map(|(key, place)| Some((key, place?))) {
            let message = format!("`{key}` is for a provider with an API");
            found.add(place, message, "say `provider: hostinger` beside it, or take it away");
        }
    }
    if let Some(name) = &file.firewall
        && (name.value.trim() != name.value
            || name.value.is_empty()
            || name.value.len() > LONGEST_NAME
            || name.value.chars().any(char::is_control))
    {
        let hint = "one line of 1 to 100 characters, without blanks at either end";
        found.add(name.referenced, format!("`{}` is not a firewall's name", name.value), hint);
    }
    if let Some(url) = &file.url {
        check_url(url, found);
    }
    EdgeConfig {
        provider: file.provider,
        token_file: file.token_file.as_ref().map(|file| file.value.clone()),
        firewall: file
            .firewall
            .as_ref()
            .map_or_else(|| format!("enxame-{cluster}"), |name| name.value.clone()),
        url: file.url.as_ref().map_or(HOSTINGER_URL, |url| &url.value).trim_end_matches('/').to_owned(),
    }
}

/// The token goes there: never in clear over a network.
fn check_url(url: &Spanned<String>, found: &mut Problems<'_>) {
    let text = &url.value;
    // Nothing that two readers of URLs could take for the end of a host.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_:/[]".contains(c);
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if !text.chars().all(is_plain) || host.is_empty() || !["http", "https"].contains(&scheme) {
        found.add(
            url.referenced,
            format!("`{text}` is not an API's address"),
            "e.g. https://api.example.com",
        );
    } else if scheme == "http" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
        let message = format!("`{text}` would carry the token in clear");
        found.add(url.referenced, message, "use https; http goes to a loopback address only");
    }
}
