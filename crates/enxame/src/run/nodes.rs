//! The nodes in truth, for the executor: the agents of a fleet, and new ones for those that have gone away.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use enxame_core::change::ChangeId;
use enxame_core::facts::{ClusterFacts, FactsQuery, NodeFacts};
use enxame_core::names::NodeName;
use enxame_core::protocol::{Reply, Request};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};

use super::World;
use crate::fleet::{Fleet, causes, lock_request};
use crate::transport::{Agent, Channel, TransportError};

/// A look for a gate: the engine's own patience with a swarm that has lost its leader is 25 s.
const LOOK_DEADLINE: Duration = Duration::from_secs(60);

/// The nodes of a fleet.
pub(crate) struct FleetNodes<'a> {
    fleet: &'a Fleet,
    /// Of nodes that have booted or lost their connection since.
    anew: RefCell<BTreeMap<NodeName, Rc<Agent>>>,
}

impl<'a> FleetNodes<'a> {
    /// The nodes that a fleet has agents of.
    pub(crate) fn of(fleet: &'a Fleet) -> Self {
        Self { fleet, anew: RefCell::default() }
    }

    /// Ends the agents that were started on the way.
    pub(crate) async fn close(self) {
        let agents = self.anew.into_inner().into_values().filter_map(Rc::into_inner);
        join_all(agents.map(Agent::close)).await;
    }

    async fn ask(
        &self,
        node: &NodeName,
        request: &Request,
        deadline: Duration,
        tell: &dyn Fn(&str),
    ) -> Result<Reply, TransportError> {
        let mut told = |text: &str| tell(text);
        let anew = self.anew.borrow().get(node).cloned();
        match (anew, self.fleet.agents.get(node)) {
            (Some(agent), _) => agent.request(request, deadline, &mut told).await,
            (None, Some(agent)) => agent.request(request, deadline, &mut told).await,
            (None, None) => Err(TransportError::OutOfTurn),
        }
    }

    async fn seen(&self, node: &NodeName) -> Result<NodeFacts, TransportError> {
        let look = Request::Gather(FactsQuery::default());
        match self.ask(node, &look, LOOK_DEADLINE, &|_| ()).await {
            Ok(Reply::Facts(facts)) => return Ok(*facts),
            Ok(_) => return Err(TransportError::OutOfTurn),
            Err(error @ TransportError::Failed(_)) => return Err(error),
            Err(_) => {}
        }
        // The connection is gone: the node may have booted.
        let agent = self.fleet.doors.open(node).await?;
        agent.request(&lock_request(), LOOK_DEADLINE, &mut |_| ()).await?;
        self.anew.borrow_mut().insert(node.clone(), Rc::new(agent));
        match self.ask(node, &look, LOOK_DEADLINE, &|_| ()).await? {
            Reply::Facts(facts) => Ok(*facts),
            _ => Err(TransportError::OutOfTurn),
        }
    }
}

impl World for FleetNodes<'_> {
    fn request<'a>(
        &'a self,
        node: &'a NodeName,
        request: &'a Request,
        deadline: Duration,
        tell: &'a dyn Fn(&str),
    ) -> LocalBoxFuture<'a, Result<Reply, TransportError>> {
        self.ask(node, request, deadline, tell).boxed_local()
    }

    fn confirm<'a>(
        &'a self,
        node: &'a NodeName,
        change: &'a ChangeId,
    ) -> LocalBoxFuture<'a, Result<(), TransportError>> {
        self.fleet.doors.confirm(node, change).boxed_local()
    }

    fn look(&self) -> LocalBoxFuture<'_, ClusterFacts> {
        async {
            let looks = self.fleet.agents.keys().map(|node| async { (node.clone(), self.seen(node).await) });
            let mut facts = ClusterFacts::default();
            for (node, seen) in join_all(looks).await {
                match seen {
                    Ok(seen) => facts.insert(node, seen),
                    Err(error) => facts.insert_hole(node, causes(&error)),
                }
            }
            facts
        }
        .boxed_local()
    }
}
