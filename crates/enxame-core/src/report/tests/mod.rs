//! A healthy run made by hand, and every way to spoil it.

mod exposure;
mod healthy;
mod spoilt;
mod subject;
