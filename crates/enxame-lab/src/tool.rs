//! Other programs: started from an argument vector, with a deadline, and with errors that quote them.
//!
//! Invariant: nothing waits for ever, and no argument passes through a shell of this machine.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{process::Process, topology::Namespace};

const POLL: Duration = Duration::from_millis(20);
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// A program about to be started.
pub(crate) struct Tool {
    argv: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: Vec<u8>,
    deadline: Duration,
}

impl Tool {
    /// A program found on the search path.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            environment: Vec::new(),
            input: Vec::new(),
            deadline: DEFAULT_DEADLINE,
        }
    }

    /// The same, in one of the laboratory's network namespaces.
    pub(crate) fn within(namespace: Namespace, program: impl AsRef<OsStr>) -> Self {
        Self::new("ip").args(["netns", "exec", namespace.name()]).arg(program)
    }

    /// One more argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.argv.push(argument.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.argv.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// One environment variable besides the inherited ones.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// What it reads on its standard input.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// How long it may take; half a minute otherwise.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end and returns what it wrote to its standard output.
    pub(crate) fn run(self) -> Result<String> {
        let (status, output, complaint) = self.outcome()?;
        if !status.success() {
            bail!("`{}` ended with {status}: {}", self.shown(), last_lines(&complaint, 12));
        }
        Ok(output)
    }

    /// Runs it to its end; as soon as it has written a line, it is told what `reply` says at that moment.
    pub(crate) fn answer_its_first_line(self, reply: impl FnOnce() -> String + Send + 'static) -> Result<()> {
        let mut child = self
            .command()?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.shown()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        thread::spawn(move || {
            let (mut input, output) = (input?, output?);
            BufReader::new(output).read_line(&mut String::new()).ok()?;
            // A program that ended meanwhile says so by its exit status.
            input.write_all(reply().as_bytes()).ok()
        });
        let status = self.wait(&mut child)?;
        if !status.success() {
            bail!("`{}` ended with {status}", self.shown());
        }
        Ok(())
    }

    /// Runs it to its end, whatever the end is.
    pub(crate) fn status(self) -> Result<ExitStatus> {
        self.outcome().map(|(status, _, _)| status)
    }

    /// Becomes the program. Returns only if that failed.
    pub(crate) fn replace_this_process(self) -> anyhow::Error {
        match self.command() {
            Ok(mut command) => {
                let error = command.exec();
                anyhow!(error).context(format!("cannot start `{}`", self.shown()))
            }
            Err(error) => error,
        }
    }

    /// Starts it as a process that outlives this one and its terminal, in a session of its own, writing to `log`.
    pub(crate) fn detach(mut self, log: &Path) -> Result<Process> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        // A child that leads no process group becomes the program itself, under its own number (setsid(1)).
        self.argv.insert(0, "setsid".into());
        let child = self
            .command()?
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.shown()))?;
        Process::of(child.id())
    }

    fn command(&self) -> Result<Command> {
        let (program, arguments) = self.argv.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn outcome(&self) -> Result<(ExitStatus, String, String)> {
        let mut child = self
            .command()?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.shown()))?;
        let output = child.stdout.take().map(read_in_background);
        let complaint = child.stderr.take().map(read_in_background);
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends without reading its input says why by its exit status.
            let _ = stdin.write_all(&self.input);
        }
        let status = self.wait(&mut child)?;
        let text = |reader: Option<thread::JoinHandle<String>>| {
            reader.and_then(|it| it.join().ok()).unwrap_or_default()
        };
        Ok((status, text(output), text(complaint)))
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > self.deadline {
                child.kill()?;
                child.wait()?;
                bail!("`{}` was still running after {} s", self.shown(), self.deadline.as_secs());
            }
            thread::sleep(POLL);
        }
    }

    fn shown(&self) -> String {
        self.argv.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }
}

fn read_in_background(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The end of a text, which is where programs say what went wrong.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_quoted_with_what_it_said() {
        let error = Tool::new("sh").args(["-c", "echo why >&2; exit 3"]).run().unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("why"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_at_the_deadline() {
        let error =
            Tool::new("sleep").arg("60").deadline(Duration::from_millis(50)).run().unwrap_err().to_string();
        assert!(error.contains("still running"), "{error}");
    }

    #[test]
    fn a_program_is_answered_once_it_has_said_something() {
        let heard = tempfile::NamedTempFile::new().unwrap();
        let script = "echo ready && read -r word && echo \"$word\" > \"$1\"";
        Tool::new("sh")
            .args(["-c", script, "sh"])
            .arg(heard.path())
            .answer_its_first_line(|| "now\n".to_owned())
            .unwrap();
        assert_eq!(std::fs::read_to_string(heard.path()).unwrap(), "now\n");
    }

    #[test]
    fn only_the_last_lines_with_text_are_shown() {
        assert_eq!(last_lines("a\n\nb\nc\n", 2), "b\nc");
    }
}
