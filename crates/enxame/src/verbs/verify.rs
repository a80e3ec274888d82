//! `enxame verify`: a run of probes and a look around, judged.

use std::io::Read;
use std::pin::pin;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use enxame_core::probe::Marker;
use enxame_core::report::exposure::View;
use enxame_core::report::{Report, Subject, SubjectError, Verdict, judge, judge_exposure};
use serde::Serialize;
use tokio::sync::watch;

use super::{Look, interrupts, look_at_nodes};
use crate::cli::{Subset, VerifyArgs};
use crate::fleet::Locking;
use crate::new_file::NewFile;
use crate::verify::{FleetProbing, FromHere, Run, Scene, look_around, observe, render};
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
    /// Why nothing could be proven, where nothing could.
    error: Option<String>,
    report: &'a Report,
    /// What could not be taken off the nodes again.
    leftovers: &'a [String],
    /// Who reached which ports of whom, beside what was expected.
    exposure: &'a [View],
}

/// What was proven.
struct Proven {
    report: Report,
    leftovers: Vec<String>,
    exposure: Vec<View>,
}

impl Proven {
    fn nothing() -> Self {
        Self { report: Report { proofs: Vec::new() }, leftovers: Vec::new(), exposure: Vec::new() }
    }
}

pub(super) async fn verify(arguments: &VerifyArgs) -> anyhow::Result<Ending> {
    // Before anybody is asked: a run takes minutes, and its evidence must have a place.
    let file = arguments.evidence.as_deref().map(NewFile::make).transpose()?;
    // Under the lock of apply: a change in the middle of a proof would make it say nothing.
    let look = look_at_nodes(&arguments.common, Locking::Locked).await?;
    let stop = interrupts()?;
    let proven = prove(&look, arguments.only, &stop).await;
    look.fleet.close().await;
    look.progress.finish();
    let (Proven { report, leftovers, exposure }, error) = match proven? {
        Ok(proven) => (proven, None),
        Err(error) => (Proven::nothing(), Some(anyhow::Error::new(error).context("nothing could be proven"))),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let evidence = Evidence {
        cluster: look.config.cluster.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        at_unix_ms: u64::try_from(now).unwrap_or(u64::MAX),
        verdict: if error.is_some() { Verdict::Unknown } else { report.verdict() },
        error: error.as_ref().map(|error| format!("{error:#}")),
        report: &report,
        leftovers: &leftovers,
        exposure: &exposure,
    };
    let kept = file.map_or(Ok(()), |file| file.keep_json(&evidence));
    for leftover in &leftovers {
        output::note(&format!("warning: left behind: {leftover} (the next verify removes it)"));
    }
    // Last: where nobody reads it any more, everything else is done.
    if arguments.common.json {
        output::json(&evidence)?;
    } else if error.is_none() {
        output::text(&render::report(&report))?;
    }
    if let Some(error) = &error {
        output::error(error);
    }
    kept?;
    if *stop.borrow() {
        return Ok(Ending::Interrupted);
    }
    Ok(if evidence.verdict == Verdict::Pass { Ending::Done } else { Ending::Unproven })
}

async fn prove(
    look: &Look,
    only: Option<Subset>,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<Result<Proven, SubjectError>> {
    let interrupted = || {
        let mut stop = stop.clone();
        async move { drop(stop.wait_for(|stop| *stop).await) }
    };
    let mut proven = Proven::nothing();
    let probing = FleetProbing::new(&look.fleet, &look.progress);
    if only != Some(Subset::Exposure) {
        let subject = match Subject::of(&look.config, &look.facts) {
            Ok(subject) => subject,
            Err(error) => return Ok(Err(error)),
        };
        let observed = observe(&probing, subject, &new_run()?, pin!(interrupted())).await;
        proven.report = judge(&observed.observations);
        proven.leftovers = observed.leftovers;
    }
    if only != Some(Subset::Wire) {
        // After the load: a scan would be among the packets that are counted.
        let lookout = FromHere { progress: &look.progress };
        let scene = Scene { config: &look.config, facts: &look.facts, probing: &probing, lookout: &lookout };
        proven.exposure = match proven.leftovers.first() {
            None => look_around(&scene, pin!(interrupted())).await,
            Some(leftover) => scene.unseen(&format!("verify itself may still publish a port: {leftover}")),
        };
        proven.report = proven.report.and(judge_exposure(&proven.exposure));
    }
    Ok(Ok(proven))
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
