//! Time synchronisation (the manual is silent): certificates and elections need clocks that agree.

use crate::change::{Difference, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Scope, SwarmFate, View};
use crate::facts::FactsQuery;
use serde::{Deserialize, Serialize};

pub(crate) const KIND: Kind = Kind::of("time_sync");
const DEFAULT_UNIT: &str = "systemd-timesyncd.service";
const DEFAULT_PACKAGE: &str = "systemd-timesyncd";
/// Any of them will do.
const UNITS: [&str; 6] =
    [DEFAULT_UNIT, "chrony.service", "chronyd.service", "ntpsec.service", "ntp.service", "openntpd.service"];

/// See the module.
pub(crate) struct TimeSync;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The unit to enable: the user's own choice where there is one.
    pub unit: String,
    /// The package to install before, where none is there.
    pub install: Option<String>,
}

impl Declare for TimeSync {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "2"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        &[]
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery { units: UNITS.map(str::to_owned).into(), ..FactsQuery::default() }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let units = &view.facts.units;
        if UNITS.iter().any(|unit| units.get(*unit).is_some_and(|unit| unit.active == "active")) {
            return Declaration::nothing();
        }
        // Units that could not be looked at are not known to be missing.
        if units.is_empty() {
            return Declaration::nothing();
        }
        let there = UNITS.into_iter().find(|unit| units.get(*unit).is_some_and(|unit| unit.exists));
        let install = there.is_none();
        let unit = there.unwrap_or(DEFAULT_UNIT);
        let mut differences = Vec::new();
        if install {
            differences.push(Difference::added(format!("package {DEFAULT_PACKAGE}"), "installed"));
        }
        differences.push(Difference::changed(unit, "inactive", "active, enabled"));
        let reason = "nothing keeps the clock; certificates of nodes that join are valid by it";
        Draft::new(
            "keep the clock synchronised",
            reason,
            Action { unit: unit.to_owned(), install: install.then(|| DEFAULT_PACKAGE.to_owned()) },
        )
        .differing(differences)
        .into()
    }

    fn undeclare(&self, _: &View<'_>, _: SwarmFate) -> Declaration {
        // Nothing of its own: a clock that is right stays right.
        Declaration::nothing()
    }
}
