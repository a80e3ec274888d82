//! What is going on, node by node: a line that moves on a terminal, plain lines elsewhere, nothing when quiet.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use enxame_core::config::Config;
use enxame_core::names::NodeName;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::output::printable;
use crate::run::{Event, Outcome};

/// Progress on the standard error.
pub(crate) struct Progress {
    start: Instant,
    bars: Option<Bars>,
    is_quiet: bool,
}

struct Bars {
    all: MultiProgress,
    nodes: BTreeMap<NodeName, ProgressBar>,
}

impl Progress {
    /// Progress for the nodes of a configuration.
    pub(crate) fn new(config: &Config, is_quiet: bool) -> Self {
        let is_moving = std::io::stderr().is_terminal() && !is_quiet;
        let bars = is_moving.then(|| Bars::new(config));
        Self { start: Instant::now(), bars, is_quiet }
    }

    /// What a node is doing.
    pub(crate) fn tell(&self, node: &NodeName, text: &str) {
        if let Some(bar) = self.bars.as_ref().and_then(|bars| bars.nodes.get(node)) {
            bar.set_message(printable(text));
        }
    }

    /// What the executor tells.
    pub(crate) fn hear(&self, event: &Event<'_>) {
        match event {
            Event::Began(change) => self.tell(&change.node, &change.summary),
            Event::Said { node, text } => self.tell(node, text),
            Event::Waiting { change, gate, why } => {
                self.note(&format!("{:<14} waiting until {gate}: {why}", change.node));
                self.tell(&change.node, &format!("waiting: {why}"));
            }
            Event::Ended { change, outcome } => {
                let mark = match outcome {
                    Outcome::Done => "done",
                    Outcome::Failed { .. } => "FAILED",
                    Outcome::Unmet { .. } => "IN VAIN",
                    Outcome::Held { .. } => "not begun",
                    Outcome::Skipped(_) | Outcome::Stopped => "not tried",
                };
                self.note(&format!("{:<14} {mark}: {}", change.node, change.summary));
                self.tell(&change.node, "waiting");
            }
            Event::Stopping => self
                .note("stopping: what runs is ended, nothing more is begun (once more Ctrl-C cuts it off)"),
        }
    }

    /// A line that stays.
    pub(crate) fn note(&self, text: &str) {
        if self.is_quiet {
            return;
        }
        let line = format!("[{:>6.1}s] {}", self.start.elapsed().as_secs_f64(), printable(text));
        match &self.bars {
            // A terminal that went away takes nothing else with it.
            Some(bars) => drop(bars.all.println(line)),
            None => drop(writeln!(std::io::stderr().lock(), "{line}")),
        }
    }

    /// Takes the moving lines away.
    pub(crate) fn finish(&self) {
        if let Some(bars) = &self.bars {
            drop(bars.all.clear());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Bars {
    fn new(config: &Config) -> Self {
        let all = MultiProgress::new();
        let style = ProgressStyle::with_template("{spinner} {prefix:<16} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let nodes = config.nodes.iter().map(|node| {
            let bar = all
                .add(ProgressBar::new_spinner().with_style(style.clone()).with_prefix(node.name.to_string()));
            bar.enable_steady_tick(Duration::from_millis(200));
            (node.name.clone(), bar)
        });
        let nodes = nodes.collect();
        Self { all, nodes }
    }
}
