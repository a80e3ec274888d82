//! What an action is tried with: a node in memory.

use enxame_core::areas::Action;
use enxame_core::secret::Secret;

use crate::actuate::{ActuateError, Context, PackageLists};
use crate::areas;
use crate::host::{FakeHost, Finished};

/// A command that worked.
pub(crate) fn fine() -> Finished {
    Finished { code: Some(0), ..Finished::default() }
}

/// A command that said no.
pub(crate) fn refused(words: &str) -> Finished {
    Finished { code: Some(1), stderr: words.to_owned(), ..Finished::default() }
}

/// Carries an action out on the node, with what another handed over.
pub(crate) fn act(
    host: &FakeHost,
    handed: Option<&Secret>,
    action: impl Into<Action>,
) -> Result<(), ActuateError> {
    let mut context =
        Context { host, handed, progress: &mut |_| (), package_lists: &mut PackageLists::default() };
    areas::act(&mut context, &action.into())
}

/// The command lines that were run, in order.
pub(crate) fn lines(host: &FakeHost) -> Vec<String> {
    host.ran().iter().map(ToString::to_string).collect()
}
