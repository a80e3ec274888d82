//! The guard on a node: its table looked at, loaded, and loaded again at every boot before the network is up (manual 3).

use std::path::Path;
use std::time::Duration;

use enxame_core::areas::firewall::guard::{Action, UNIT, UNIT_PATH};
use enxame_core::areas::firewall::guard_table::{LIST, LISTING, PATH};
use enxame_core::facts::{FileFacts, GuardState, Observed};

use crate::actuate::{ActuateError, Context};
use crate::deadman::{Step, WayBack};
use crate::host::{Command, Host};

/// Loading a table takes a moment; the dead-man switch waits for all steps together.
const STEP: Duration = Duration::from_secs(10);

pub(super) fn way_back(host: &dyn Host) -> Result<WayBack, ActuateError> {
    // What is live, not what the file says: it may be somebody's way out of a lock-out that there is no table.
    let live = match look(host) {
        Observed::Known(GuardState::Absent) => String::new(),
        Observed::Known(GuardState::AsLoaded | GuardState::Changed) => host.run_ok(&list())?,
        Observed::Unknown(why) => {
            let message = format!("cannot see what of the table inet enxame is there: {why}");
            return Err(ActuateError::wrong(message, ""));
        }
    };
    // Both lines, so that it is no error when there is none.
    let table = format!("table inet enxame\ndelete table inet enxame\n{live}");
    host.run_ok(&Command::new(["nft", "--check", "-f", "-"]).reading(table.as_bytes()).within(STEP))?;
    let load = Step::reading(["nft", "-f", "-"], table);
    let files = [PATH, UNIT_PATH, LISTING].map(str::to_owned).to_vec();
    let reload = vec![load, Step::new(["systemctl", "daemon-reload"])];
    Ok(WayBack { files, reload })
}

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let Action { table, unit, .. } = action;
    let check = Command::new(["nft", "--check", "-f", "-"]).reading(table.content.as_bytes());
    on.host.run_ok(&check.within(STEP))?;
    on.host.write_owned(table)?;
    on.host.write_owned(unit)?;
    // Reads the units again as well.
    on.host.run_ok(&Command::new(["systemctl", "enable", "--quiet", UNIT]))?;
    on.host.run_ok(&Command::new(["nft", "-f", PATH]).within(STEP))?;
    let listing = on.host.run_ok(&list())?;
    on.host.write(Path::new(LISTING), &listing, 0o600)?;
    Ok(())
}

/// Whether the kernel has the table as it was loaded.
pub(crate) fn look(host: &dyn Host) -> Observed<GuardState> {
    match listed(host) {
        Observed::Known(listed) => Observed::Known(state(host, listed.as_deref())),
        Observed::Unknown(why) => Observed::Unknown(why),
    }
}

/// The table as the kernel lists it; `None` where it has none.
pub(crate) fn listed(host: &dyn Host) -> Observed<Option<String>> {
    if loaded(host).is_none() && host.read(Path::new(PATH)) == FileFacts::Absent {
        return Observed::Known(None);
    }
    match host.run(&list()) {
        Ok(finished) if finished.succeeded() => Observed::Known(Some(finished.stdout)),
        Ok(finished) if finished.stderr.contains("No such file or directory") => Observed::Known(None),
        Ok(finished) => Observed::Unknown(finished.last_words()),
        Err(error) => Observed::Unknown(error.to_string()),
    }
}

/// What a listing means.
pub(crate) fn state(host: &dyn Host, listed: Option<&str>) -> GuardState {
    match listed {
        None => GuardState::Absent,
        Some(listed) if loaded(host).as_deref() == Some(listed) => GuardState::AsLoaded,
        Some(_) => GuardState::Changed,
    }
}

/// The listing from right after it was loaded.
fn loaded(host: &dyn Host) -> Option<String> {
    match host.read(Path::new(LISTING)) {
        FileFacts::Text { content, .. } => Some(content),
        FileFacts::Absent | FileFacts::Unreadable(_) => None,
    }
}

fn list() -> Command {
    Command::new(LIST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actuate::PackageLists;
    use crate::host::{FakeHost, Finished};
    use enxame_core::files::OwnedFile;

    #[test]
    fn a_table_that_is_not_as_it_was_loaded_is_seen_and_silence_is_no_absence() {
        let listing =
            |text: &str, code| Finished { code: Some(code), stdout: text.into(), stderr: String::new() };
        let host = |finished| {
            let host = FakeHost::default().answering("nft --stateless list table inet enxame", finished);
            host.write(Path::new(LISTING), "table\n", 0o600).unwrap();
            host
        };
        assert_eq!(look(&host(listing("table\n", 0))), Observed::Known(GuardState::AsLoaded));
        assert_eq!(look(&host(listing("table { }\n", 0))), Observed::Known(GuardState::Changed));
        let gone = Finished { stderr: "Error: No such file or directory\n".into(), ..listing("", 1) };
        assert_eq!(look(&host(gone)), Observed::Known(GuardState::Absent));
        assert_eq!(look(&host(listing("no memory", 1))), Observed::Unknown("no memory".into()));
        assert_eq!(look(&FakeHost::default()), Observed::Known(GuardState::Absent));
    }

    fn done(stdout: &str) -> Finished {
        Finished { code: Some(0), stdout: stdout.into(), stderr: String::new() }
    }

    fn refusing() -> Finished {
        Finished { code: Some(1), stdout: String::new(), stderr: "syntax error\n".into() }
    }

    fn lines(host: &FakeHost) -> Vec<String> {
        host.ran().iter().map(ToString::to_string).collect()
    }

    fn made(host: &FakeHost) -> Result<(), ActuateError> {
        let action = Action {
            table: OwnedFile::new(PATH, "table inet enxame {}\n"),
            unit: OwnedFile::new(UNIT_PATH, "[Unit]\n"),
            closed: None,
        };
        let mut context =
            Context { host, handed: None, progress: &mut |_| {}, package_lists: &mut PackageLists::Fetched };
        act(&mut context, &action)
    }

    #[test]
    fn the_table_is_tried_written_loaded_and_its_listing_kept() {
        let host = FakeHost::default()
            .answering("nft --stateless list", done("as listed\n"))
            .answering("nft", done(""))
            .answering("systemctl", done(""));
        made(&host).unwrap();
        let ran = lines(&host);
        assert!(ran[0].starts_with("nft --check -f -"), "{ran:?}");
        assert_eq!(ran.len(), 4, "{ran:?}");
        assert_eq!(ran[2], format!("nft -f {PATH}"));
        let content = |path: &str| host.read(Path::new(path)).content().map(str::to_owned);
        assert_eq!(content(PATH).as_deref(), Some("table inet enxame {}\n"));
        assert_eq!(content(LISTING).as_deref(), Some("as listed\n"));
    }

    #[test]
    fn a_table_that_nft_does_not_take_is_not_written() {
        let host = FakeHost::default().answering("nft --check", refusing());
        let refused = made(&host).expect_err("a refusal");
        assert!(format!("{:?}", refused.failure()).contains("syntax error"), "{refused:?}");
        assert_eq!(host.read(Path::new(PATH)), FileFacts::Absent);
        assert_eq!(host.ran().len(), 1);
    }

    #[test]
    fn a_table_that_is_not_loaded_leaves_no_listing() {
        let host = FakeHost::default()
            .answering("nft --check", done(""))
            .answering("nft -f", refusing())
            .answering("systemctl", done(""));
        let refused = made(&host).expect_err("a refusal");
        assert!(format!("{:?}", refused.failure()).contains("syntax error"), "{refused:?}");
        assert_eq!(host.read(Path::new(LISTING)), FileFacts::Absent);
    }

    #[test]
    fn the_way_back_loads_what_is_live_and_is_tried_first() {
        let live = "table inet enxame { live }\n";
        let host =
            || FakeHost::default().with_file(LISTING, "other").answering("nft --stateless list", done(live));
        let way = way_back(&host().answering("nft --check", done(""))).unwrap();
        assert_eq!(way.files, [PATH, UNIT_PATH, LISTING]);
        let table = format!("table inet enxame\ndelete table inet enxame\n{live}");
        assert_eq!(way.reload[0], Step::reading(["nft", "-f", "-"], table));
        let refused = way_back(&host().answering("nft --check", refusing())).expect_err("a refusal");
        assert!(format!("{:?}", refused.failure()).contains("syntax error"), "{refused:?}");
    }
}
