//! The emulator's control socket: QMP, one JSON object per line (QEMU's qmp-spec).
//!
//! Invariant: a command has either returned or failed when its call returns; events are skipped, not lost answers.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{record::runtime_file, topology::Node};

/// Saving a whole machine under load is the slowest command.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// A connection to one node's emulator.
pub(crate) struct Monitor {
    reader: BufReader<UnixStream>,
    node: &'static str,
}

/// Where a node's emulator listens.
pub(crate) fn socket(node: &Node) -> PathBuf {
    runtime_file(&format!("{}.qmp", node.name))
}

impl Monitor {
    /// Connects and leaves the negotiation mode.
    pub(crate) fn connect(node: &'static Node) -> Result<Self> {
        let path = socket(node);
        let stream = UnixStream::connect(&path).with_context(|| {
            format!("{} does not run: no emulator listens on {}", node.name, path.display())
        })?;
        stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
        let mut monitor = Self { reader: BufReader::new(stream), node: node.name };
        monitor.receive()?;
        monitor.command("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// One command and its answer.
    pub(crate) fn command(&mut self, name: &str, arguments: &Value) -> Result<Value> {
        let line = json!({ "execute": name, "arguments": arguments }).to_string() + "\n";
        self.reader
            .get_mut()
            .write_all(line.as_bytes())
            .with_context(|| format!("{}: cannot send {name}", self.node))?;
        loop {
            let answer = self.receive().with_context(|| format!("{}: no answer to {name}", self.node))?;
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = answer.get("error") {
                bail!("{}: the emulator refused {name}: {}", self.node, error.get("desc").unwrap_or(error));
            }
        }
    }

    /// A command of the monitor for people. It succeeds silently, so any text is an error.
    pub(crate) fn human_command(&mut self, line: &str) -> Result<()> {
        let answer = self.command("human-monitor-command", &json!({ "command-line": line }))?;
        match answer.as_str().map(str::trim) {
            None | Some("") => Ok(()),
            Some(text) => bail!("{}: `{line}` failed: {text}", self.node),
        }
    }

    /// The power is cut. The emulator ends before or after it answers.
    pub(crate) fn quit(mut self) {
        let _ = self.command("quit", &json!({}));
    }

    fn receive(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            bail!("the emulator closed the connection");
        }
        serde_json::from_str(&line).with_context(|| format!("cannot read {line:?}"))
    }
}
