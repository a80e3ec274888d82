//! `enxame scan`: which ports of some addresses answer from here.

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::thread;

use enxame_core::facts::Observed;
use enxame_core::probe::{Scan, Scanned};
use enxame_core::protocol::Failure;
use enxame_core::report::exposure::default_udp_ports;
use enxame_node::scan::{self, Effort};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::ScanArgs;
use crate::render::scan::Sight;
use crate::{Ending, output};

pub(crate) fn scan(arguments: &ScanArgs) -> anyhow::Result<Ending> {
    let bars = MultiProgress::new();
    if arguments.quiet {
        bars.set_draw_target(ProgressDrawTarget::hidden());
    }
    let sights = thread::scope(|scope| {
        let look = |address: IpAddr| {
            let bar = bars.add(bar_of(address));
            (address, scope.spawn(move || look(address, arguments, &bar)))
        };
        let looks: Vec<_> = arguments.addresses.iter().copied().map(look).collect();
        let ended_early = |_| Observed::Unknown("the scan ended early".to_owned());
        let sights = looks
            .into_iter()
            .map(|(address, thread)| Sight { address, seen: thread.join().unwrap_or_else(ended_early) });
        sights.collect::<Vec<_>>()
    });
    if arguments.json {
        output::json(&sights)?;
    } else {
        let texts: Vec<String> = sights.iter().map(Sight::text).collect();
        output::text(&texts.join("\n"))?;
    }
    Ok(if sights.iter().all(Sight::is_proof) { Ending::Done } else { Ending::Unproven })
}

fn look(address: IpAddr, arguments: &ScanArgs, bar: &ProgressBar) -> Observed<Scanned> {
    let order = Scan {
        target: address,
        tcp: arguments.ports.clone(),
        udp: default_udp_ports(),
        controls: arguments.control.into_iter().collect(),
    };
    let window = scan::window(arguments.addresses.len());
    let effort = Effort { window, cancelled: &AtomicBool::new(false) };
    let outcome = scan::scan(&order, effort, &mut |percent| bar.set_position(percent.into()));
    bar.finish_and_clear();
    match outcome {
        Ok(scanned) => Observed::Known(scanned),
        Err(error) => Observed::Unknown(Failure::of(&error).causes.join(": ")),
    }
}

fn bar_of(address: IpAddr) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:<40} {percent:>3} %")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(100).with_style(style).with_prefix(address.to_string())
}
