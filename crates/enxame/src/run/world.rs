//! What the executor acts through: the nodes, in truth or modelled.

use std::time::Duration;

use enxame_core::change::ChangeId;
use enxame_core::facts::ClusterFacts;
use enxame_core::names::NodeName;
use enxame_core::protocol::{Reply, Request};
use futures::future::LocalBoxFuture;

use crate::transport::TransportError;

/// The nodes.
pub(crate) trait World {
    /// Asks a node's agent. `tell` gets short texts for people.
    ///
    /// # Errors
    /// [`TransportError`].
    fn request<'a>(
        &'a self,
        node: &'a NodeName,
        request: &'a Request,
        deadline: Duration,
        tell: &'a dyn Fn(&str),
    ) -> LocalBoxFuture<'a, Result<Reply, TransportError>>;

    /// Has a change confirmed over a new connection to its node.
    ///
    /// # Errors
    /// [`TransportError`].
    fn confirm<'a>(
        &'a self,
        node: &'a NodeName,
        change: &'a ChangeId,
    ) -> LocalBoxFuture<'a, Result<(), TransportError>>;

    /// Looks at every node again, as far as gates need it. A node whose connection is gone is tried over a new one; one that
    /// does not answer is a hole.
    fn look(&self) -> LocalBoxFuture<'_, ClusterFacts>;
}
