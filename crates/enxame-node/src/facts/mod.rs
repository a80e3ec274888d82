//! Gathering.
