//! `enxame verify`: a run of probes and a look around, judged.

use std::io::Read;
use std::pin::pin;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use enxame_core::config::Config;
use enxame_core::facts::ClusterFacts;
use enxame_core::probe::Marker;
use enxame_core::proofs::{self, Need, Part, ProofKind, REGISTRY, judge};
use enxame_core::report::exposure::Sighting;
use enxame_core::report::{Observations, Report, SharedSubject, Subject, SubjectError, Verdict};
use serde::Serialize;
use tokio::sync::watch;

use super::{directory_of, interrupts, load};
use crate::cli::{Subset, VerifyArgs};
use crate::fleet::{Fleet, Locking};
use crate::new_file::NewFile;
use crate::render::progress::Progress;
use crate::verify::{
    Course, FleetProbing, FromHere, Look, RunIdentity, Scene, look_around, observe, observe_shared, render,
};
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
    /// Why nothing could be proven about the wire, where nothing could.
    error: Option<String>,
    report: &'a Report,
    /// What could not be taken off the nodes again.
    leftovers: &'a [String],
    /// Who reached which ports of whom, beside what was expected.
    exposure: &'a [Sighting],
}

/// Whom a proof is about.
struct Cluster<'a> {
    config: &'a Config,
    facts: &'a ClusterFacts,
    probing: FleetProbing<'a>,
    progress: &'a Progress,
    /// The proofs that were asked for.
    kinds: Vec<&'static ProofKind>,
}

/// What was seen of it.
struct Gathered {
    observations: Observations,
    leftovers: Vec<String>,
    /// Why nothing could be proven about the wire.
    error: Option<SubjectError>,
}

pub(super) async fn verify(arguments: &VerifyArgs) -> anyhow::Result<Ending> {
    // Before anybody is asked: a run takes minutes, and its evidence must have a place.
    let file = arguments.evidence.as_deref().map(NewFile::make).transpose()?;
    let config = load(&arguments.common.config)?;
    if arguments.only == Some(Subset::Storage) && SharedSubject::of(&config).is_none() {
        anyhow::bail!(
            "{} has no tunnels and shares no files: there is nothing to prove\nhint: write `storage:` or `tunnel:` there: \
             docs/cluster-yaml.md",
            arguments.common.config.display()
        );
    }
    let progress = Progress::new(&config, arguments.common.quiet);
    let directory = directory_of(&arguments.common.config);
    // Under the lock of apply: a change in the middle of a proof would make it say nothing.
    let (fleet, facts, lost) = Fleet::reach(&config, directory, Locking::Locked, &progress).await?;
    let absent = facts.holes().map(|(node, why)| (node.clone(), why.to_owned())).collect();
    let stop = interrupts()?;
    let cluster = Cluster {
        config: &config,
        facts: &facts,
        probing: FleetProbing::new(&fleet, &progress),
        progress: &progress,
        kinds: chosen(arguments.only),
    };
    let seen = cluster.see(Observations { unreachable: absent, ..Observations::default() }, &stop).await;
    let kinds = cluster.kinds;
    fleet.close().await;
    progress.finish();
    let Gathered { observations, leftovers, error } = seen?;
    let error =
        error.map(|error| anyhow::Error::new(error).context("nothing could be proven about the wire"));
    let report = judge(&observations, &kinds);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let evidence = Evidence {
        cluster: config.cluster.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        at_unix_ms: u64::try_from(now).unwrap_or(u64::MAX),
        verdict: if error.is_some() { report.verdict().max(Verdict::Unknown) } else { report.verdict() },
        error: error.as_ref().map(|error| format!("{error:#}")),
        report: &report,
        leftovers: &leftovers,
        exposure: &observations.sightings,
    };
    let kept = file.map_or(Ok(()), |file| file.keep_json(&evidence));
    for error in &lost {
        output::note(&format!("warning: {}", error.told()));
    }
    for leftover in &leftovers {
        output::note(&format!("warning: left behind: {leftover} (the next verify removes it)"));
    }
    // Last: where nobody reads it any more, everything else is done.
    if arguments.common.json {
        output::json(&evidence)?;
    } else if !report.proofs.is_empty() {
        output::text(&render::report(&report))?;
    }
    if let Some(error) = &error {
        output::error(error);
    }
    kept?;
    Ok(match evidence.verdict {
        _ if *stop.borrow() => Ending::Interrupted,
        Verdict::Pass => Ending::Done,
        Verdict::Unknown | Verdict::Fail => Ending::Unproven,
    })
}

/// The proofs that were asked for.
fn chosen(only: Option<Subset>) -> Vec<&'static ProofKind> {
    let part = only.map(|subset| match subset {
        Subset::Wire => Part::Wire,
        Subset::Exposure => Part::Exposure,
        Subset::Storage => Part::Storage,
    });
    REGISTRY.iter().copied().filter(|kind| part.is_none_or(|part| kind.part == part)).collect()
}

impl Cluster<'_> {
    /// Does what the proofs need, and nothing else.
    async fn see(
        &self,
        mut observations: Observations,
        stop: &watch::Receiver<bool>,
    ) -> anyhow::Result<Gathered> {
        let interrupted = || {
            let mut stop = stop.clone();
            async move { drop(stop.wait_for(|stop| *stop).await) }
        };
        let needs = proofs::needs(&self.kinds);
        let (mut leftovers, mut error) = (Vec::new(), None);
        if needs.iter().any(|need| !matches!(need, Need::Scan | Need::Shared)) {
            match Subject::of(self.config, self.facts) {
                Ok(subject) => {
                    let unreachable = &observations.unreachable;
                    let course = Course { run: new_run()?, needs: needs.clone(), unreachable };
                    let outcome = observe(&self.probing, subject, &course, pin!(interrupted())).await;
                    (observations.wire, leftovers) = (Some(outcome.wire), outcome.leftovers);
                }
                Err(why) => error = Some(why),
            }
        }
        if needs.contains(&Need::Shared)
            && !*stop.borrow()
            && let Some(subject) = SharedSubject::of(self.config)
        {
            let run = new_run()?;
            let look = Look {
                run: &run,
                data_path_port: self.config.swarm.data_path_port,
                unreachable: &observations.unreachable,
            };
            let (seen, left) = observe_shared(&self.probing, subject, &look, pin!(interrupted())).await;
            observations.shared = Some(seen);
            leftovers.extend(left);
        }
        if needs.contains(&Need::Scan) {
            // After the load: a scan would be among the packets that are counted.
            let scene = Scene {
                config: self.config,
                facts: self.facts,
                unreachable: &observations.unreachable,
                probing: &self.probing,
                lookout: &FromHere { progress: self.progress },
            };
            observations.sightings = match leftovers.first() {
                None => look_around(&scene, pin!(interrupted())).await,
                Some(leftover) => {
                    scene.unseen(&format!("verify itself may still publish a port: {leftover}"))
                }
            };
        }
        Ok(Gathered { observations, leftovers, error })
    }
}

/// A name and a marker nobody could have guessed.
fn new_run() -> anyhow::Result<RunIdentity> {
    let mut random = [0; Marker::LENGTH + 4];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("cannot draw random bytes")?;
    let (marker, name) =
        random.split_first_chunk::<{ Marker::LENGTH }>().context("cannot draw random bytes")?;
    Ok(RunIdentity { name: hex::encode(name), marker: Marker::new(*marker) })
}
