//! Disk images of Debian servers, built from packages and named by their recipe.
//!
//! `recipe` says what is in an image (pure), `build` makes it, `mirror` finds where packages come from,
//! `seed` is what makes one node of a copy of it. Invariant: an image that exists is whole and never changes.

mod build;
mod mirror;
mod recipe;
mod seed;

pub(crate) use build::{Image, ensure};
pub(crate) use mirror::{Mirror, machine_mirror};
pub(crate) use recipe::{Flavour, Kind, Recipe, Release};
pub(crate) use seed::{Seeded, initrd_with_seed};

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
