//! What people see. Data goes to the standard output, progress to the standard error.

pub(crate) mod edge;
pub(crate) mod lint;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod scan;
pub(crate) mod stacks;
pub(crate) mod status;
pub(crate) mod storage;
