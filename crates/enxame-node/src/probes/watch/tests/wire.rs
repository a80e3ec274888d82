//! Real packets, in network namespaces that the test makes. They need root.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use enxame_core::facts::Observed;
use enxame_core::probe::{Capture, Marker, Watch};
use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Protocol, Socket, Type};

use super::super::Watcher;

const MARKER: [u8; 32] = *b"the marker of this run: 32 bytes";
const NEAR: [u8; 4] = [192, 0, 2, 1];
const FAR: [u8; 4] = [192, 0, 2, 2];

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace and a thread that lives in it.
struct Place {
    path: String,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Place {
    fn new() -> Self {
        let (jobs, todo): (Sender<Job>, Receiver<Job>) = channel();
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let thread = nix::unistd::gettid();
            tell.send(format!("/proc/{}/task/{thread}/ns/net", nix::unistd::getpid())).unwrap();
            for job in todo {
                job();
            }
        });
        Self { path: told.recv().unwrap(), jobs: Some(jobs), thread: Some(thread) }
    }

    /// Does something inside.
    fn within<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        let job = Box::new(move || tell.send(job()).unwrap());
        self.jobs.as_ref().unwrap().send(job).unwrap();
        told.recv().unwrap()
    }

    fn ip(&self, arguments: &str) {
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        self.within(move || {
            let output = Command::new("ip").args(&arguments).output().unwrap();
            assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let _ = self.thread.take().unwrap().join();
    }
}

/// Two places with a wire between them.
fn wired() -> Option<(Place, Place)> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: this test makes network namespaces and needs root");
        return None;
    }
    let (near, far) = (Place::new(), Place::new());
    near.ip(&format!("link add near type veth peer name far netns {}", far.path));
    near.ip("address add 192.0.2.1/24 dev near");
    near.ip("link set near up");
    far.ip("address add 192.0.2.2/24 dev far");
    far.ip("link set far up");
    Some((near, far))
}

fn watcher(place: &Place, peer: [u8; 4]) -> Watcher {
    let peers = BTreeSet::from([IpAddr::from(peer)]);
    let watch = Watch { peers, data_path_port: 4789, marker: Marker::new(MARKER) };
    place.within(move || Watcher::start(&watch).unwrap())
}

/// What the watch saw once it saw as much as expected: a packet takes its time through the other end's processor.
fn read_until(place: &Place, watcher: Watcher, is_enough: fn(&Capture) -> bool) -> Capture {
    place.within(move || {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let capture = watcher.read().unwrap();
            if is_enough(&capture) || Instant::now() > deadline {
                return capture;
            }
        }
    })
}

fn vxlan(vni: u8, inner: &[u8]) -> Vec<u8> {
    [&[0x08, 0, 0, 0, 0, 0, vni, 0], inner].concat()
}

fn listener(at: [u8; 4]) -> UdpSocket {
    UdpSocket::bind((IpAddr::from(at), 4789)).unwrap()
}

fn send_udp(from: [u8; 4], to: [u8; 4], payload: &[u8]) {
    let socket = UdpSocket::bind((IpAddr::from(from), 0)).unwrap();
    socket.send_to(payload, (IpAddr::from(to), 4789)).unwrap();
}

fn send_esp(to: [u8; 4], payload: &[u8]) {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(50))).unwrap();
    socket.send_to(payload, &SocketAddr::from((to, 0)).into()).unwrap();
}

#[test]
fn what_goes_over_a_real_wire_is_counted_at_both_ends() {
    let Some((near, far)) = wired() else { return };
    // Without listeners the kernels would quote the datagrams in ICMP errors, marker and all.
    let _listeners = (near.within(|| listener(NEAR)), far.within(|| listener(FAR)));
    let at_near = watcher(&near, FAR);
    let at_far = watcher(&far, NEAR);
    near.within(|| {
        for _ in 0..3 {
            send_udp(NEAR, FAR, &vxlan(77, &MARKER));
        }
        for _ in 0..200 {
            send_esp(FAR, &[0xaa; 1000]);
        }
    });
    far.within(|| {
        send_udp(FAR, NEAR, &vxlan(78, b"without it"));
        send_esp(NEAR, &[0xbb; 100]);
    });
    let near_capture = read_until(&near, at_near, |capture| {
        capture.peers.values().all(|peer| peer.received.esp_packets == 1)
    });
    let far_capture = read_until(&far, at_far, |capture| {
        capture.peers.values().all(|peer| peer.received.esp_packets == 200)
    });
    assert_eq!(near_capture.interfaces, ["near"]);
    assert_eq!((near_capture.kernel_drops, near_capture.truncated, near_capture.marker_elsewhere), (0, 0, 0));

    let of_near = &near_capture.peers[&IpAddr::from(FAR)];
    let of_far = &far_capture.peers[&IpAddr::from(NEAR)];
    assert_eq!(of_near.sent, of_far.received);
    assert_eq!(of_near.received, of_far.sent);
    assert_eq!(of_near.sent.clear, [(77, 3)].into());
    assert_eq!(of_near.sent.marker, 3);
    assert_eq!((of_near.sent.esp_packets, of_near.sent.esp_bytes), (200, 200 * 1020));
    assert_eq!(of_near.received.clear, [(78, 1)].into());
    assert_eq!(of_near.received.marker, 0);
    assert_eq!(of_near.received.esp_packets, 1);
}

#[test]
fn a_datagram_the_kernel_cuts_is_counted_once_and_its_rest_as_fragments() {
    let Some((near, far)) = wired() else { return };
    let at_far = watcher(&far, NEAR);
    near.within(|| {
        send_udp(NEAR, FAR, &vxlan(9, &[0; 4000]));
    });
    let capture = read_until(&far, at_far, |capture| {
        capture.peers.values().all(|peer| peer.received.later_fragments == 2)
    });
    let counts = &capture.peers[&IpAddr::from(NEAR)].received;
    assert_eq!(counts.clear, [(9, 1)].into());
    assert_eq!((counts.first_fragments, counts.later_fragments), (1, 2));
}

#[test]
fn a_watch_that_loses_its_interface_says_so_from_then_on() {
    let Some((near, _far)) = wired() else { return };
    let at_near = watcher(&near, FAR);
    near.ip("link delete near");
    // The kernel tells the socket a moment later.
    let deadline = Instant::now() + Duration::from_secs(10);
    while at_near.read().is_ok() {
        assert!(Instant::now() < deadline, "the watch goes on without its interface");
    }
    assert!(at_near.read().is_err(), "a lost watch came back");
}

#[test]
fn a_peer_without_a_route_cannot_be_watched() {
    let Some((near, _far)) = wired() else { return };
    let peers = BTreeSet::from([IpAddr::from([198, 51, 100, 1])]);
    let watch = Watch { peers, data_path_port: 4789, marker: Marker::new(MARKER) };
    let error = near.within(move || Watcher::start(&watch).unwrap_err());
    assert!(matches!(error, crate::probes::ProbeError::System { .. }), "{error:?}");
}

#[test]
fn the_kernels_associations_are_listed_with_their_counters() {
    let Some((near, far)) = wired() else { return };
    let key = "0x00112233445566778899aabbccddeeff00112233";
    let add = "xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1234 mode transport";
    let aead: Vec<String> = add.split(' ').map(str::to_owned).collect();
    let added = near.within(move || {
        let output =
            Command::new("ip").args(aead).args(["aead", "rfc4106(gcm(aes))", key, "64"]).output().unwrap();
        output.status.success().then_some(()).ok_or(String::from_utf8_lossy(&output.stderr).into_owned())
    });
    if let Err(error) = added {
        eprintln!("SKIPPED: this kernel has no ESP here: {error}");
        return;
    }
    near.ip("xfrm policy add src 192.0.2.1 dst 192.0.2.2 proto udp dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp mode transport");
    let at_near = watcher(&near, FAR);
    let at_far = watcher(&far, NEAR);
    near.within(|| {
        for _ in 0..5 {
            send_udp(NEAR, FAR, &vxlan(77, &MARKER));
        }
    });
    let capture = near.within(move || at_near.read().unwrap());
    let Observed::Known(associations) = &capture.associations else { panic!("{:?}", capture.associations) };
    assert_eq!(associations.len(), 1);
    assert_eq!((associations[0].source, associations[0].destination), (NEAR.into(), FAR.into()));
    assert_eq!((associations[0].spi, associations[0].packets), (0x1234, 5));
    assert!(associations[0].bytes >= 5 * 68);
    let far_capture =
        read_until(&far, at_far, |capture| capture.peers.values().all(|peer| peer.received.esp_packets == 5));
    for counts in [&capture.peers[&IpAddr::from(FAR)].sent, &far_capture.peers[&IpAddr::from(NEAR)].received]
    {
        assert_eq!((counts.esp_packets, counts.clear.len(), counts.marker), (5, 0, 0));
    }
}
