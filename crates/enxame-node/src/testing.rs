//! What unit tests of more than one module need.

pub(crate) mod acting;
pub(crate) mod engine;
pub(crate) mod namespace;
