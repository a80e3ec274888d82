//! `enxame verify`: a run of probes, judged.

use std::io::Read;
use std::path::Path;
use std::pin::pin;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use enxame_core::probe::Marker;
use enxame_core::report::{Report, Subject, Verdict, judge};
use serde::Serialize;

use super::{interrupts, look_at_nodes};
use crate::cli::VerifyArgs;
use crate::fleet::Locking;
use crate::verify::{FleetProbing, Run, observe, render};
use crate::{Ending, output};

/// What `--evidence` writes and `--json` prints.
#[derive(Serialize)]
struct Evidence<'a> {
    cluster: String,
    /// `enxame`'s version.
    version: &'static str,
    /// When the run ended, in milliseconds since 1970, by the operator's clock.
    at_unix_ms: u64,
    verdict: Verdict,
    report: &'a Report,
    /// What could not be taken off the nodes again.
    leftovers: &'a [String],
}

pub(super) async fn verify(arguments: &VerifyArgs) -> anyhow::Result<Ending> {
    // Under the lock of apply: a change in the middle of a proof would make it say nothing.
    let mut look = look_at_nodes(&arguments.common, Locking::Locked).await?;
    let subject = match Subject::of(&look.config, &look.facts) {
        Ok(subject) => subject,
        Err(error) => {
            look.fleet.close().await;
            look.progress.finish();
            output::error(&anyhow::Error::new(error).context("nothing could be proven"));
            return Ok(Ending::Unproven);
        }
    };
    let run = new_run()?;
    let mut stop = interrupts();
    let observed = {
        let mut cancelled = pin!(async move { drop(stop.wait_for(|stop| *stop).await) });
        let probing = FleetProbing::new(&mut look.fleet, &look.progress);
        observe(&probing, subject, &run, cancelled.as_mut()).await
    };
    look.fleet.close().await;
    look.progress.finish();
    let report = judge(&observed.observations);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let evidence = Evidence {
        cluster: look.config.cluster.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        at_unix_ms: u64::try_from(now).unwrap_or(u64::MAX),
        verdict: report.verdict(),
        report: &report,
        leftovers: &observed.leftovers,
    };
    if arguments.common.json {
        output::json(&evidence)?;
    } else {
        output::text(&render::report(&report))?;
    }
    if let Some(path) = &arguments.evidence {
        write_evidence(path, &evidence)?;
    }
    for leftover in &observed.leftovers {
        output::note(&format!("warning: left behind: {leftover} (the next verify removes it)"));
    }
    Ok(if report.verdict() == Verdict::Pass { Ending::Done } else { Ending::Unproven })
}

fn write_evidence(path: &Path, evidence: &Evidence<'_>) -> anyhow::Result<()> {
    let json = serde_json::to_vec_pretty(evidence)?;
    std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
}

/// A name and a marker nobody could have guessed.
fn new_run() -> anyhow::Result<Run> {
    let mut random = [0; Marker::LENGTH + 4];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("cannot draw random bytes")?;
    let (marker, name) =
        random.split_first_chunk::<{ Marker::LENGTH }>().context("cannot draw random bytes")?;
    Ok(Run { name: hex::encode(name), marker: Marker::new(*marker) })
}
