//! Packets made by hand, and real ones between two network namespaces.

mod packets;
mod wire;
