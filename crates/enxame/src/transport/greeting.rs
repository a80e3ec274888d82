//! From the start of ssh to the agent's first word, past whatever a login prints.
//!
//! Invariant: nothing is sent before the server asks for it, so that no login script can swallow it.

use std::io;
use std::time::Duration;

use enxame_core::protocol::Hello;
use tokio::io::{AsyncBufRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::bootstrap::{OwnBinary, WANTS_THE_BINARY};
use super::heard::{End, Stage};
use super::line;

/// From starting `ssh` to the agent's first word.
const CONNECT_DEADLINE: Duration = Duration::from_secs(60);
/// The same when the binary has to be copied first.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(300);
/// How much a login may print before our own first word, in bytes: far more than any message of the day.
const MOST_PRINTED: usize = 1024 * 1024;

/// Where it has come to, and what was printed on the way.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    pub(super) stage: Stage,
    pub(super) printed: Vec<u8>,
}

/// Why there is no first word.
#[derive(Debug)]
pub(super) enum Unheard {
    /// Nobody will say it.
    Ended(End),
    /// The channel closed, or carries something else.
    Channel(io::Error),
}

impl From<io::Error> for Unheard {
    fn from(error: io::Error) -> Self {
        Self::Channel(error)
    }
}

impl Greeting {
    /// Waits for the agent's first word, and copies the binary when the server lacks it.
    ///
    /// # Errors
    /// [`Unheard`]; how far it came is in `self`.
    pub(super) async fn hear(
        &mut self,
        from: &mut (impl AsyncBufRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        own: &OwnBinary,
    ) -> Result<Hello, Unheard> {
        let mut head = within(CONNECT_DEADLINE, self.enter(from, own)).await?;
        if head == WANTS_THE_BINARY {
            let upload = async {
                to.write_all(&own.packed()?).await?;
                to.flush().await?;
                from.read_exact(&mut head).await?;
                Ok(())
            };
            within(UPLOAD_DEADLINE, upload).await?;
        }
        within(CONNECT_DEADLINE, async { Ok(line::read_body(from, head).await?) }).await
    }

    /// The first word of our own script once it is root.
    async fn enter(
        &mut self,
        from: &mut (impl AsyncBufRead + Unpin),
        own: &OwnBinary,
    ) -> Result<[u8; 4], Unheard> {
        for stage in [Stage::Account, Stage::Root] {
            self.skip_to(from, own.mark(stage).as_bytes()).await?;
            self.stage = stage;
        }
        let mut head = [0; 4];
        from.read_exact(&mut head).await?;
        Ok(head)
    }

    /// Reads on until a mark has been read; what came before it was printed by others.
    async fn skip_to(&mut self, from: &mut (impl AsyncBufRead + Unpin), mark: &[u8]) -> Result<(), Unheard> {
        while !self.printed.ends_with(mark) {
            if self.printed.len() == MOST_PRINTED {
                return Err(Unheard::Ended(End::Flood));
            }
            self.printed.push(from.read_u8().await?);
        }
        self.printed.truncate(self.printed.len() - mark.len());
        Ok(())
    }
}

async fn within<T>(
    deadline: Duration,
    reading: impl Future<Output = Result<T, Unheard>>,
) -> Result<T, Unheard> {
    timeout(deadline, reading).await.map_err(|_| Unheard::Ended(End::Late(deadline)))?
}

#[cfg(test)]
mod tests {
    use enxame_core::protocol::{PROTOCOL, encode};
    use tokio::io::BufReader;

    use super::*;

    /// What is made of what a server prints, and where it had come to.
    async fn greet(printed: &[u8]) -> (Greeting, Result<Hello, Unheard>, Vec<u8>) {
        let (mut greeting, mut sent) = (Greeting::default(), Vec::new());
        let own = OwnBinary::read().unwrap();
        let hello = greeting.hear(&mut BufReader::new(printed), &mut sent, &own).await;
        (greeting, hello, sent)
    }

    fn marks() -> [String; 2] {
        let own = OwnBinary::read().unwrap();
        [Stage::Account, Stage::Root].map(|stage| own.mark(stage))
    }

    fn hello() -> Hello {
        Hello { protocol: PROTOCOL, build: "a build".to_owned() }
    }

    #[tokio::test]
    async fn the_agents_first_word_is_found_behind_whatever_a_login_prints() {
        let [account, root] = marks();
        let words = encode(&hello()).unwrap();
        // The message of the day looks like a frame, like a mark and like our question for the binary.
        let noise = [&b"\0\0\0\x02{}WANT"[..], &account.as_bytes()[..9], b"\xff\0 Welcome!"].concat();
        let printed = [&noise, account.as_bytes(), &noise, root.as_bytes(), &words].concat();
        let (greeting, heard, sent) = greet(&printed).await;
        assert_eq!((greeting.stage, heard.unwrap(), sent), (Stage::Root, hello(), Vec::new()));
        assert_eq!(greeting.printed, [&noise[..], &noise[..]].concat());
    }

    #[tokio::test]
    async fn the_binary_is_sent_when_our_own_script_asks_for_it() {
        let [account, root] = marks();
        let printed = [account.as_bytes(), root.as_bytes(), b"WANT", &encode(&hello()).unwrap()].concat();
        let (_, heard, sent) = greet(&printed).await;
        assert_eq!(heard.unwrap(), hello());
        assert_eq!(sent, OwnBinary::read().unwrap().packed().unwrap());
    }

    #[tokio::test]
    async fn a_command_that_is_shown_instead_of_run_is_no_first_word() {
        let own = OwnBinary::read().unwrap();
        let (greeting, heard, sent) =
            greet(format!("not allowed: {}\n", own.remote_command()).as_bytes()).await;
        assert!(
            matches!(heard, Err(Unheard::Channel(error)) if error.kind() == io::ErrorKind::UnexpectedEof)
        );
        assert_eq!((greeting.stage, sent), (Stage::Login, Vec::new()));
    }

    #[tokio::test]
    async fn a_login_that_prints_without_end_is_left() {
        let (greeting, heard, _) = greet(&b"y\n".repeat(MOST_PRINTED)).await;
        assert!(matches!(heard, Err(Unheard::Ended(End::Flood))));
        assert_eq!(greeting.printed.len(), MOST_PRINTED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_does_not_end_is_left_in_time_and_what_it_printed_is_kept() {
        let (mut greeting, own) = (Greeting::default(), OwnBinary::read().unwrap());
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b"your name? ").await.unwrap();
        let heard = greeting.hear(&mut BufReader::new(near), &mut Vec::new(), &own).await;
        assert!(matches!(heard, Err(Unheard::Ended(End::Late(CONNECT_DEADLINE)))));
        assert_eq!(greeting.printed, b"your name? ");
    }
}
