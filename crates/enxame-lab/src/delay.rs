//! The process behind `delay`: takes frames from a tap device and gives each back a fixed time later.
//!
//! The bridge's rules decide which frames come here. Invariant: frames leave in the order they came, and the
//! device ends with the process, so that an ended delay leaves nothing behind.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::fd::AsRawFd,
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use nix::libc;

/// A frame of the largest IP packet; the kernel splits segmentation offloads before it hands them over.
const LARGEST_FRAME: usize = 65_535 + 14;
/// More than this many frames under way are dropped by the kernel, as a full router would.
const FRAMES_UNDER_WAY: usize = 20_000;

/// Runs until it is ended.
pub(crate) fn hold_frames(device: &str, delay: Duration) -> Result<()> {
    let mut tap = open_tap(device)?;
    let output = tap.try_clone().context("cannot use the device twice")?;
    let (sender, receiver) = sync_channel(FRAMES_UNDER_WAY);
    thread::spawn(move || give_back(output, &receiver));
    let mut buffer = vec![0; LARGEST_FRAME];
    loop {
        // The device fails reads while it is down.
        let Ok(length) = tap.read(&mut buffer) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let frame = buffer.get(..length).unwrap_or_default().to_vec();
        sender
            .send((Instant::now() + delay, frame))
            .map_err(|_| anyhow!("the thread that gives frames back ended"))?;
    }
}

fn give_back(mut output: File, frames: &Receiver<(Instant, Vec<u8>)>) {
    for (due, frame) in frames {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // A frame that the bridge does not take is lost, as on a wire.
        let _ = output.write(&frame);
    }
}

nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);

/// A tap device that exists as long as the returned file (kernel documentation, networking/tuntap).
#[expect(unsafe_code, reason = "the tap device is configured by an ioctl on a C structure")]
fn open_tap(name: &str) -> Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("cannot open /dev/net/tun")?;
    // SAFETY: all zeroes is a valid `ifreq`: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero, so the name is always terminated.
    for (slot, byte) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *slot = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI)?;
    // SAFETY: the descriptor is open and the kernel only reads and writes the `ifreq` it is given.
    unsafe { set_interface(file.as_raw_fd(), &raw const request) }
        .with_context(|| format!("cannot make the device {name}"))?;
    Ok(file)
}
