//! A healthy run made by hand, every way to spoil it, and the registry.

mod absent;
mod exposure;
mod healthy;
mod registry;
mod shared;
mod spoilt;
