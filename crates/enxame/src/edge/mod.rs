//! The provider's edge: looks at it and carries out what the plan says about it.
//!
//! Invariant: what fails half-way is put back, so that a server filters as before or as planned.

mod client;
mod error;
mod hostinger;
mod token;

use std::path::Path;

use enxame_core::config::{Config, EdgeProvider};
use enxame_core::edge::{EdgeChange, EdgeFacts};
use enxame_core::names::NodeName;
use futures::future::LocalBoxFuture;

pub(crate) use error::EdgeError;
pub(crate) use token::VARIABLE as TOKEN_VARIABLE;

/// A provider with an API.
pub(crate) trait Edge {
    /// Looks at what is there; changes nothing.
    fn look<'a>(&'a self, config: &'a Config) -> LocalBoxFuture<'a, Result<EdgeFacts, EdgeError>>;
    /// Carries the change out, or puts back what was there.
    fn apply<'a>(
        &'a self,
        change: &'a EdgeChange,
        observer: &'a dyn Observer,
    ) -> LocalBoxFuture<'a, Result<(), EdgeError>>;
}

/// Whoever observes a change at the edge.
pub(crate) trait Observer {
    /// What is being done.
    fn tell(&self, text: &str);
    /// Whether a node still answers a new SSH connection; the error says why not.
    fn confirm<'a>(&'a self, node: &'a NodeName) -> LocalBoxFuture<'a, Result<(), String>>;
}

/// The provider of the configuration; `None` where somebody clicks the rules in. Nothing is asked yet.
///
/// # Errors
/// [`EdgeError`] when there is no usable token.
pub(crate) fn of(config: &Config, directory: &Path) -> Result<Option<Box<dyn Edge>>, EdgeError> {
    let edge = &config.firewall.edge;
    match edge.provider {
        EdgeProvider::Manual => Ok(None),
        EdgeProvider::Hostinger => {
            let file = edge.token_file.as_ref().map(|file| directory.join(file));
            let token = token::read(std::env::var(token::VARIABLE).ok(), file.as_deref())?;
            let client = client::Client::new(&edge.url, token, client::Patience::default())?;
            Ok(Some(Box::new(hostinger::Hostinger::new(client))))
        }
    }
}

#[cfg(test)]
mod tests;
