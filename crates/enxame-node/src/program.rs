//! Where units and timers find this program: one path, whatever becomes of the agents' own files.
//!
//! Builds are kept by their hash and swept away when a new one comes; what systemd starts needs a name that stays. It
//! is another name of the build that last applied, replaced atomically. Invariant: once it is there it is never absent.

use std::io;
use std::path::Path;

use crate::replace::replace_by_link;

/// The path.
pub const PROGRAM: &str = "/var/lib/enxame/bin/enxame";

/// Lets the path be this program. Called before anything is made that starts it.
///
/// # Errors
/// When this program's own file is gone; what was there stays.
pub fn keep() -> io::Result<()> {
    replace_by_link(Path::new(PROGRAM), &std::env::current_exe()?)
}
