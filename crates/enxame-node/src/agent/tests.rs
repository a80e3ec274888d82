//! The agent's dispatch, with scripted work instead of a node's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use enxame_core::change::ChangeId;
use enxame_core::facts::FactsQuery;
use enxame_core::ports::PortSet;
use enxame_core::probe::{Echoes, Scan};
use enxame_core::protocol::{AgentEvent, FromAgent, STILL_HERE, Say};
use nix::fcntl::Flock;

use super::*;
use crate::areas::machine::look::echo::EchoSocket;
use crate::cancel::Cancel;
use crate::host::FakeHost;
use crate::probes;

const DEADLINE: Duration = Duration::from_secs(10);

/// Work that waits for a word of the test: `Execute` and `Settle` for theirs, the first look for a second one.
struct Scripted {
    directory: tempfile::TempDir,
    lock: Mutex<Option<Flock<File>>>,
    /// What was begun and ended, in order.
    log: Mutex<Vec<String>>,
    /// What the test lets go on.
    words: Mutex<BTreeMap<&'static str, usize>>,
    noted: Condvar,
    let_go: Condvar,
}

impl Scripted {
    fn note(&self, what: &str) {
        self.log.lock().unwrap().push(what.to_owned());
        self.noted.notify_all();
    }

    fn until_noted(&self, what: &str) {
        let log = self.log.lock().unwrap();
        let missing = |log: &mut Vec<String>| !log.iter().any(|noted| noted == what);
        let (log, waited) = self.noted.wait_timeout_while(log, DEADLINE, missing).unwrap();
        assert!(!waited.timed_out(), "no `{what}` in {log:?}");
    }

    fn let_go_on(&self, what: &'static str) {
        *self.words.lock().unwrap().entry(what).or_default() += 1;
        self.let_go.notify_all();
    }

    fn until_let(&self, what: &'static str, times: usize) {
        let words = self.words.lock().unwrap();
        let not_yet = |words: &mut BTreeMap<_, _>| words.get(what).copied().unwrap_or_default() < times;
        let (words, waited) = self.let_go.wait_timeout_while(words, DEADLINE, not_yet).unwrap();
        drop(words);
        assert!(!waited.timed_out(), "nobody let `{what}` go on");
    }

    fn lock_path(&self) -> PathBuf {
        self.directory.path().join("lock")
    }

    fn is_locked(&self) -> bool {
        match lock::take(&self.lock_path(), "another") {
            Ok(_) => false,
            Err(failure) => failure.causes == ["me is applying to this node already"],
        }
    }
}

impl Work for Scripted {
    fn answer(&self, request: Request, task: &Task) -> Result<Reply, Failure> {
        match request {
            Request::Lock { operator } => {
                *self.lock.lock().unwrap() = Some(lock::take(&self.lock_path(), &operator)?);
                Ok(Reply::Done)
            }
            Request::Execute { change, .. } => {
                self.note(&format!("begun {change}"));
                self.until_let("execute", 1);
                self.note(&format!("ended {change}"));
                Ok(Reply::Done)
            }
            Request::Gather(_) => {
                self.note("begun look");
                self.let_go_on("look");
                // Ends only when another one is at it too.
                self.until_let("look", 2);
                Ok(Reply::Done)
            }
            Request::Settle => {
                self.note("settled");
                Ok(Reply::Done)
            }
            // A look that nothing ends.
            Request::ManagerToken => {
                self.note("begun token");
                thread::sleep(DEADLINE);
                Ok(Reply::Done)
            }
            Request::Probe(ProbeRequest::Scan(order)) => {
                task.progress("scanning");
                let reply = probes::scan(&order, task.cancel(), &mut |_| ());
                reply.map(Reply::Probe).map_err(|error| Failure::of(&error))
            }
            Request::Probe(ProbeRequest::Paths(order)) => {
                task.progress("echoing");
                let reply = probes::paths(&order, task.cancel(), &mut |_| ());
                reply.map(Reply::Probe).map_err(|error| Failure::of(&error))
            }
            Request::Probe(ProbeRequest::WatchRead) => {
                let text = "at it ".repeat(10_000);
                for _ in 0..100 {
                    task.progress(&text);
                }
                self.note("told all");
                Ok(Reply::Done)
            }
            Request::Probe(ProbeRequest::Clean) => panic!("a defect"),
            other => panic!("nobody asks for {other:?} here"),
        }
    }

    fn end(&self) {
        *self.lock.lock().unwrap() = None;
        self.note("end");
    }
}

/// An operator and an agent that serves it.
struct Served {
    work: Arc<Scripted>,
    to: UnixStream,
    from: BufReader<UnixStream>,
    serving: JoinHandle<io::Result<()>>,
}

impl Served {
    fn begin() -> Self {
        let work = Arc::new(Scripted {
            directory: tempfile::tempdir().unwrap(),
            lock: Mutex::default(),
            log: Mutex::default(),
            words: Mutex::default(),
            noted: Condvar::new(),
            let_go: Condvar::new(),
        });
        let (operator, agent) = UnixStream::pair().unwrap();
        operator.set_read_timeout(Some(DEADLINE)).unwrap();
        let serving = thread::spawn({
            let (work, out) = (Arc::clone(&work), agent.try_clone().unwrap());
            move || dispatch(&work, agent, out)
        });
        let from = BufReader::new(operator.try_clone().unwrap());
        Self { work, to: operator, from, serving }
    }

    fn ask(&mut self, id: u64, ask: Request) {
        write_frame(&mut self.to, &ToAgent::Ask { id: RequestId(id), ask }).unwrap();
    }

    fn cancel(&mut self, id: u64) {
        write_frame(&mut self.to, &ToAgent::Cancel { id: RequestId(id) }).unwrap();
    }

    fn hear(&mut self) -> (u64, Say) {
        let frame: FromAgent = read_frame(&mut self.from).unwrap().expect("a frame");
        (frame.id.0, frame.say)
    }

    /// The next reply, past events, and the causes where it failed.
    fn reply(&mut self) -> (u64, Vec<String>) {
        loop {
            match self.hear() {
                (id, Say::Reply(Reply::Failed(failure))) => return (id, failure.causes),
                (id, Say::Reply(_)) => return (id, Vec::new()),
                (_, Say::Event(_)) => {}
            }
        }
    }

    fn hang_up(&self) {
        self.to.shutdown(std::net::Shutdown::Write).unwrap();
    }

    fn until_ended(self) -> io::Result<()> {
        self.serving.join().unwrap()
    }
}

fn execute(change: &str) -> Request {
    let action = enxame_core::areas::machine::hosts::Action { lines: String::new() };
    Request::Execute { change: ChangeId(change.to_owned()), action: Box::new(action.into()), handed: None }
}

fn gather() -> Request {
    Request::Gather(FactsQuery::default())
}

/// Of a host that nobody is (TEST-NET-1, RFC 5737), so that it takes its time.
fn scan() -> Request {
    let target = Ipv4Addr::new(192, 0, 2, 254).into();
    let (udp, controls) = (PortSet::default(), Vec::new());
    Request::Probe(ProbeRequest::Scan(Scan { target, tcp: PortSet::all(), udp, controls }))
}

fn lock_request() -> Request {
    Request::Lock { operator: "me".to_owned() }
}

#[test]
fn two_looks_go_on_at_once() {
    let mut served = Served::begin();
    served.ask(1, gather());
    served.ask(2, gather());
    let mut answered = [served.reply().0, served.reply().0];
    answered.sort_unstable();
    assert_eq!(answered, [1, 2]);
}

#[test]
fn a_look_is_answered_while_a_change_is_made_and_the_next_change_waits() {
    let mut served = Served::begin();
    served.ask(1, execute("first"));
    served.ask(2, execute("second"));
    served.work.until_noted("begun first");
    served.to.write_all(&STILL_HERE).unwrap();
    for id in [3, 4] {
        served.ask(id, gather());
    }
    let mut looks = [served.reply(), served.reply()].map(|(id, _)| id);
    looks.sort_unstable();
    assert_eq!(looks, [3, 4]);
    assert!(!served.work.log.lock().unwrap().iter().any(|noted| noted == "begun second"));
    served.work.let_go_on("execute");
    assert_eq!([served.reply(), served.reply()], [(1, vec![]), (2, vec![])]);
    let acts = served.work.log.lock().unwrap().clone();
    let acts: Vec<_> = acts.iter().filter(|noted| !noted.ends_with("look")).collect();
    assert_eq!(acts, ["begun first", "ended first", "begun second", "ended second"]);
}

#[test]
fn a_scan_that_is_cancelled_says_so_at_once_and_holds_up_nothing_else() {
    let mut served = Served::begin();
    served.ask(1, scan());
    match served.hear() {
        (1, Say::Event(AgentEvent::Progress(text))) => assert_eq!(text, "scanning"),
        other => panic!("{other:?}"),
    }
    served.ask(2, Request::Settle);
    assert_eq!(served.reply(), (2, vec![]));
    let said = Instant::now();
    served.cancel(1);
    let (id, causes) = served.reply();
    // Where there is no route at all, it had ended before.
    let is_told = causes == ["the scan was cancelled"] || causes[0].starts_with("there is no route");
    assert!(id == 1 && is_told, "{id} {causes:?}");
    assert!(said.elapsed() < Duration::from_secs(1));
    // Twice, and of one that never was.
    served.cancel(1);
    served.cancel(99);
    served.ask(3, Request::Settle);
    assert_eq!(served.reply(), (3, vec![]));
}

#[test]
fn echoes_that_are_cancelled_end_at_once() {
    let mut served = Served::begin();
    let echoes =
        Echoes { peers: [Ipv4Addr::LOCALHOST.into()].into(), count: 60_000, interval_ms: 20, marker: None };
    served.ask(1, Request::Probe(ProbeRequest::Paths(echoes)));
    drop(served.hear());
    let said = Instant::now();
    served.cancel(1);
    let reply = served.reply();
    // Raw sockets are root's: who may send no echo requests was done before. That those end which are sent is shown
    // beside the socket too, without it.
    let may_send = EchoSocket::open(Ipv4Addr::LOCALHOST.into()).is_ok();
    let causes = if may_send { vec!["it was cancelled".to_owned()] } else { Vec::new() };
    assert_eq!(reply, (1, causes));
    // All of them would take twenty minutes.
    assert!(said.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_change_that_runs_is_not_cancelled_and_one_that_waits_is_not_begun() {
    let mut served = Served::begin();
    served.ask(1, execute("first"));
    served.ask(2, execute("second"));
    served.work.until_noted("begun first");
    served.cancel(1);
    served.cancel(2);
    // Read after the cancels.
    for id in [3, 4] {
        served.ask(id, gather());
    }
    drop([served.reply(), served.reply()]);
    served.work.let_go_on("execute");
    assert_eq!(served.reply(), (1, vec![]));
    assert_eq!(served.reply(), (2, vec!["it was cancelled before it began".to_owned()]));
    assert!(!served.work.log.lock().unwrap().iter().any(|noted| noted == "begun second"));
}

#[test]
fn the_end_of_the_channel_frees_the_lock_though_scans_and_looks_run() {
    let mut served = Served::begin();
    served.ask(1, lock_request());
    assert_eq!(served.reply(), (1, vec![]));
    assert!(served.work.is_locked());
    served.ask(2, scan());
    served.ask(3, Request::ManagerToken);
    served.work.until_noted("begun token");
    let work = Arc::clone(&served.work);
    let begun = Instant::now();
    served.hang_up();
    served.until_ended().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(!work.is_locked());
}

#[test]
fn the_end_of_the_channel_waits_for_the_change_that_is_made_and_then_frees_the_lock() {
    let mut served = Served::begin();
    served.ask(1, lock_request());
    served.ask(2, execute("first"));
    served.ask(3, execute("second"));
    served.work.until_noted("begun first");
    let work = Arc::clone(&served.work);
    served.hang_up();
    thread::sleep(Duration::from_millis(200));
    assert!(work.is_locked() && !served.serving.is_finished());
    work.let_go_on("execute");
    let begun = Instant::now();
    served.until_ended().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5) && !work.is_locked());
    let log = work.log.lock().unwrap().clone();
    assert_eq!(log, ["begun first", "ended first", "end"]);
}

#[test]
fn an_operator_who_reads_nothing_holds_up_neither_the_change_nor_the_end() {
    let mut served = Served::begin();
    served.ask(1, lock_request());
    assert_eq!(served.reply(), (1, vec![]));
    // More than the kernel keeps for somebody who does not read.
    served.ask(2, Request::Probe(ProbeRequest::WatchRead));
    served.ask(3, execute("first"));
    served.work.until_noted("begun first");
    served.work.let_go_on("execute");
    served.work.until_noted("told all");
    let (work, _deaf) = (Arc::clone(&served.work), served.to.try_clone().unwrap());
    let begun = Instant::now();
    served.hang_up();
    served.until_ended().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5) && !work.is_locked());
}

#[test]
fn a_frame_that_is_not_understood_ends_the_session_in_order() {
    let mut served = Served::begin();
    served.ask(1, lock_request());
    assert_eq!(served.reply(), (1, vec![]));
    served.ask(7, Request::ManagerToken);
    served.ask(7, Request::Settle);
    let work = Arc::clone(&served.work);
    let error = served.until_ended().unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (io::ErrorKind::InvalidData, "request 7 was asked twice".into())
    );
    assert!(!work.is_locked());
}

#[test]
fn a_request_whose_thread_ends_early_is_answered_all_the_same() {
    let mut served = Served::begin();
    for id in [1, 2] {
        served.ask(id, Request::Probe(ProbeRequest::Clean));
        assert_eq!(served.reply(), (id, vec!["the agent's work on it ended early".to_owned()]));
    }
}

#[test]
fn a_session_looks_through_its_host_and_acts_only_under_the_lock() {
    let host = FakeHost::default().with_file("/etc/machine-id", "0123\n");
    let session = Session::new(Box::new(host), None);
    let office = Arc::new(Office::new(io::sink()).unwrap());
    let task = office.open(RequestId(1)).unwrap();
    match session.answer(gather(), &task) {
        Ok(Reply::Facts(facts)) => assert_eq!(facts.machine_id, "0123"),
        other => panic!("{other:?}"),
    }
    let refused = session.answer(execute("first"), &task).unwrap_err();
    assert_eq!(refused.causes, ["the node was not locked for this operator"]);
}

#[test]
fn who_sleeps_wakes_when_it_is_cancelled() {
    let cancel = Cancel::new();
    let sleeping = thread::spawn({
        let cancel = cancel.clone();
        move || cancel.sleep(DEADLINE)
    });
    let said = Instant::now();
    cancel.set();
    sleeping.join().unwrap();
    assert!(said.elapsed() < Duration::from_secs(1));
}
