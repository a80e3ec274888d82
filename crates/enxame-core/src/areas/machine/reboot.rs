//! Starting the machine anew (manual 7.3). No difference to converge on: a procedure asks for it.

use serde::{Deserialize, Serialize};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What `/proc/sys/kernel/random/boot_id` says before: a machine that has booted since is not booted again.
    pub boot_id: String,
}
