//! Systemd units, asked of systemd itself.
//!
//! Over its own socket, as `systemctl` does for root: it needs no message bus, and costs a tenth of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use enxame_core::facts::UnitFacts;
use tokio::net::UnixStream;
use zbus::connection::Builder;
use zbus::{Connection, OwnedObjectPath};

/// systemd(1): the manager's private socket, for root.
const SOCKET: &str = "/run/systemd/private";
const PATH: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
/// Everything together: a systemd that has crashed still has its socket, and accepts nothing on it.
const ALL: Duration = Duration::from_secs(20);
/// Of each call: systemd reads a unit it does not know from the disk.
const CALL: Duration = Duration::from_secs(10);

/// Looks at the units that were asked for. Units that could not be looked at are left out.
pub(super) fn look(wanted: &BTreeSet<String>) -> BTreeMap<String, UnitFacts> {
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Without systemd nothing is known of any unit.
    let Ok(runtime) = runtime else { return BTreeMap::new() };
    let asked = runtime.block_on(async { tokio::time::timeout(ALL, ask(wanted)).await });
    asked.ok().and_then(Result::ok).unwrap_or_default()
}

async fn ask(wanted: &BTreeSet<String>) -> zbus::Result<BTreeMap<String, UnitFacts>> {
    let stream = UnixStream::connect(SOCKET).await?.into_std()?;
    let systemd = Builder::unix_stream(stream).p2p().method_timeout(CALL).build().await?;
    let mut found = BTreeMap::new();
    for name in wanted {
        // A name that systemd refuses is no reason to know nothing of the others.
        if let Ok(Some(unit)) = listed(&systemd, name).await {
            let enabled = if unit.exists { enabled(&systemd, name).await? } else { String::new() };
            found.insert(name.clone(), UnitFacts { enabled, ..unit });
        }
    }
    Ok(found)
}

/// `ListUnitsByNames` of org.freedesktop.systemd1(5): name, description, load state, active state, sub state,
/// followed unit, object, job, the job's type and its object.
type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

async fn listed(systemd: &Connection, name: &str) -> zbus::Result<Option<UnitFacts>> {
    let reply =
        systemd.call_method(None::<&str>, PATH, Some(INTERFACE), "ListUnitsByNames", &(vec![name],)).await?;
    let listed: Vec<Listed> = reply.body().deserialize()?;
    Ok(listed.into_iter().next().map(|(_, _, load, active, ..)| UnitFacts {
        exists: load != "not-found",
        active,
        enabled: String::new(),
    }))
}

/// The state of its file; empty for a unit that has none.
async fn enabled(systemd: &Connection, name: &str) -> zbus::Result<String> {
    let reply = systemd.call_method(None::<&str>, PATH, Some(INTERFACE), "GetUnitFileState", &(name,)).await;
    match reply {
        Ok(reply) => reply.body().deserialize(),
        Err(zbus::Error::FDO(_) | zbus::Error::MethodError(..)) => Ok(String::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_systemd_no_unit_is_said_to_be_absent() {
        if std::os::unix::net::UnixStream::connect(SOCKET).is_err() {
            assert_eq!(look(&BTreeSet::from(["docker.service".to_owned()])), BTreeMap::new());
        }
    }
}
