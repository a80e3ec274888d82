//! The line to an agent that is scripted, and to the agent itself.

use std::cell::RefCell;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use enxame_core::facts::FactsQuery;
use enxame_core::ports::PortSet;
use enxame_core::probe::{ProbeRequest, Scan};
use enxame_core::protocol::{AgentEvent, FromAgent, Hello, RequestId, STILL_HERE, Say, ToAgent, encode};
use enxame_core::secret::Secret;
use futures::FutureExt;
use futures::future::join;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// The other end of a line.
struct Scripted(DuplexStream);

impl Scripted {
    /// The next frame; `None` at the end of the channel.
    async fn hear(&mut self) -> Option<ToAgent> {
        let mut head = STILL_HERE;
        while head == STILL_HERE {
            self.0.read_exact(&mut head).await.ok()?;
        }
        Some(line::read_body(&mut self.0, head).await.unwrap())
    }

    async fn hear_request(&mut self) -> RequestId {
        match self.hear().await {
            Some(ToAgent::Ask { id, .. }) => id,
            other => panic!("no request: {other:?}"),
        }
    }

    async fn hear_cancel(&mut self) -> RequestId {
        match self.hear().await {
            Some(ToAgent::Cancel { id }) => id,
            other => panic!("no cancel: {other:?}"),
        }
    }

    async fn say(&mut self, id: RequestId, say: Say) {
        self.0.write_all(&encode(&FromAgent { id, say }).unwrap()).await.unwrap();
    }

    /// A reply that carries a text.
    async fn reply(&mut self, id: RequestId, text: &str) {
        self.say(id, Say::Reply(Reply::ManagerToken(Secret::new(text.to_owned())))).await;
    }
}

fn connected() -> (Line, Scripted) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (from, to) = tokio::io::split(near);
    (Line::over(from, to), Scripted(far))
}

fn text(reply: Result<Reply, TransportError>) -> String {
    match reply {
        Ok(Reply::ManagerToken(word)) => word.reveal().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Begins to ask, and gives what waits for the reply.
async fn begun<'a>(
    asking: impl Future<Output = Result<Reply, TransportError>> + 'a,
) -> LocalBoxFuture<'a, Result<Reply, TransportError>> {
    let mut asking = asking.boxed_local();
    assert!(futures::poll!(&mut asking).is_pending());
    asking
}

#[tokio::test]
async fn replies_and_progress_reach_whoever_asked_in_whatever_order_they_come() {
    let (line, mut agent) = connected();
    let told = RefCell::new(Vec::new());
    let (mut of_first, mut of_second) = (
        |text: &str| told.borrow_mut().push(format!("first {text}")),
        |text: &str| told.borrow_mut().push(format!("second {text}")),
    );
    let first = line.request(&Request::ManagerToken, LONG, &mut of_first);
    let second = line.request(&Request::Settle, LONG, &mut of_second);
    let script = async {
        let (one, two) = (agent.hear_request().await, agent.hear_request().await);
        assert_ne!(one, two);
        agent.say(one, Say::Event(AgentEvent::Progress("at it".to_owned()))).await;
        agent.reply(two, "of the second").await;
        agent.reply(one, "of the first").await;
    };
    let ((first, second), ()) = join(join(first, second), script).await;
    assert_eq!((text(first), text(second)), ("of the first".to_owned(), "of the second".to_owned()));
    assert_eq!(*told.borrow(), ["first at it"]);
}

#[tokio::test]
async fn whoever_stops_waiting_has_cancelled_and_the_late_reply_is_nobodys() {
    let (line, mut agent) = connected();
    let mut silent = |_: &str| ();
    let asking = begun(line.request(&Request::ManagerToken, LONG, &mut silent)).await;
    let id = agent.hear_request().await;
    drop(asking);
    assert_eq!(agent.hear_cancel().await, id);
    agent.say(id, Say::Event(AgentEvent::Progress("still at it".to_owned()))).await;
    agent.reply(id, "late").await;
    let script = async {
        let next = agent.hear_request().await;
        agent.reply(id, "late, and twice").await;
        agent.reply(next, "in time").await;
    };
    let mut told = |text: &str| panic!("somebody else's progress: {text}");
    let (reply, ()) = join(line.request(&Request::Settle, LONG, &mut told), script).await;
    assert_eq!(text(reply), "in time");
}

#[tokio::test]
async fn a_deadline_cancels_and_the_line_is_still_of_use() {
    let (line, mut agent) = connected();
    let short = Duration::from_millis(20);
    match line.request(&Request::ManagerToken, short, &mut |_| ()).await {
        Err(TransportError::TimedOut { attempt: "fetch the join token", after }) => assert_eq!(after, short),
        other => panic!("{other:?}"),
    }
    let id = agent.hear_request().await;
    assert_eq!(agent.hear_cancel().await, id);
    let failure = Failure { causes: vec!["no".to_owned()], hint: None };
    let script = async {
        let next = agent.hear_request().await;
        agent.say(next, Say::Reply(Reply::Failed(failure.clone()))).await;
    };
    let (reply, ()) = join(line.request(&Request::Settle, LONG, &mut |_| ()), script).await;
    assert!(matches!(reply, Err(TransportError::Failed(told)) if told == failure));
    // What was answered is not cancelled: the next word is the end.
    drop(line.hang_up().await);
    assert!(agent.hear().await.is_none());
}

#[tokio::test]
async fn whoever_waits_on_a_channel_that_breaks_is_told_and_so_is_whoever_asks_later() {
    let (line, mut agent) = connected();
    let (mut silent, mut quiet) = (|_: &str| (), |_: &str| ());
    let first = begun(line.request(&Request::ManagerToken, LONG, &mut silent)).await;
    let second = begun(line.request(&Request::Settle, LONG, &mut quiet)).await;
    agent.hear_request().await;
    drop(agent);
    for outcome in [first.await, second.await, line.request(&Request::Settle, LONG, &mut |_| ()).await] {
        match outcome {
            Err(TransportError::Channel(error)) => assert!(
                matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe),
                "{error:?}"
            ),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_nobody_understands_breaks_the_channel() {
    let (line, mut agent) = connected();
    let script = async {
        agent.hear_request().await;
        agent.0.write_all(b"\0\0\0\x04what").await.unwrap();
    };
    let (outcome, ()) = join(line.request(&Request::Settle, LONG, &mut |_| ()), script).await;
    match outcome {
        Err(error @ TransportError::Channel(_)) => {
            assert!(error.hint().is_some_and(|hint| hint.contains("prints beside the agent")), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_agent_looks_while_it_scans_and_ends_in_time_when_the_channel_closes() {
    let (near, far) = UnixStream::pair().unwrap();
    let serving = std::thread::spawn(move || {
        let out = far.try_clone().unwrap();
        enxame_node::agent::serve("a build", None, far, out)
    });
    near.set_nonblocking(true).unwrap();
    let (mut from, to) = tokio::net::UnixStream::from_std(near).unwrap().into_split();
    let mut head = [0; 4];
    from.read_exact(&mut head).await.unwrap();
    let hello: Hello = line::read_body(&mut from, head).await.unwrap();
    assert_eq!(hello, Hello { protocol: PROTOCOL, build: "a build".to_owned() });

    let line = Line::over(from, to);
    // Nobody has this address (TEST-NET-1, RFC 5737): a minute of silence, where there is a route at all.
    let target = IpAddr::from(Ipv4Addr::new(192, 0, 2, 254));
    let scan = Scan { target, tcp: PortSet::all(), udp: PortSet::default(), controls: Vec::new() };
    let (scan, gather) = (Request::Probe(ProbeRequest::Scan(scan)), Request::Gather(FactsQuery::default()));
    let mut silent = |_: &str| ();
    let scanning = begun(line.request(&scan, LONG, &mut silent)).await;
    match line.request(&gather, LONG, &mut |_| ()).await {
        Ok(Reply::Facts(facts)) => assert!(!facts.hostname.is_empty()),
        other => panic!("{other:?}"),
    }
    drop(scanning);
    let begun = Instant::now();
    let reading = line.hang_up().await;
    tokio::task::spawn_blocking(move || serving.join().unwrap().unwrap()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(reading);
}
