//! cloud-init: whether it acts, and what of the machine it would write anew at every boot.

use enxame_core::facts::CloudInitFacts;
use serde::Deserialize;

use crate::host::Host;

/// Where cloud-init keeps what the provider gave the server, in one piece (cloud-init, `helpers.py`, `Paths.lookups`).
const GIVEN: [(&str, &str); 3] = [
    ("user-data", "/var/lib/cloud/instance/cloud-config.txt"),
    ("vendor-data", "/var/lib/cloud/instance/vendor-cloud-config.txt"),
    ("vendor-data2", "/var/lib/cloud/instance/vendor2-cloud-config.txt"),
];

/// Looks at what the provider gave.
pub(crate) fn look(host: &dyn Host) -> CloudInitFacts {
    CloudInitFacts {
        is_active: host.exists("/usr/bin/cloud-init") && !host.exists("/etc/cloud/cloud-init.disabled"),
        hosts_rewritten_by: GIVEN
            .iter()
            .filter(|(_, path)| rewrites_hosts(&host.long_text(path)))
            .map(|(name, _)| (*name).to_owned())
            .collect(),
    }
}

/// Whether a cloud-config makes cloud-init write `/etc/hosts` anew at every boot. Nothing else of it is kept: it may hold
/// passwords.
fn rewrites_hosts(cloud_config: &str) -> bool {
    #[derive(Default, Deserialize)]
    struct CloudConfig {
        #[serde(default)]
        manage_etc_hosts: serde_json::Value,
    }
    // What cloud-init could not read either makes it do nothing.
    let given: CloudConfig = serde_saphyr::from_str(cloud_config).unwrap_or_default();
    let text = match given.manage_etc_hosts {
        serde_json::Value::String(text) => text.to_lowercase(),
        other => other.to_string(),
    };
    // cloud-init, `util.translate_bool`, and `cc_update_etc_hosts`, which takes `template` for true.
    ["true", "1", "on", "yes", "template"].contains(&text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    #[test]
    fn what_the_provider_gave_is_looked_at_for_what_rewrites_hosts() {
        for (text, rewrites) in [
            ("#cloud-config\npassword: secret\nmanage_etc_hosts: true\n", true),
            ("manage_etc_hosts: 'True'", true),
            ("manage_etc_hosts: yes", true),
            ("manage_etc_hosts: template", true),
            ("manage_etc_hosts: localhost", false),
            ("manage_etc_hosts: false", false),
            ("packages: [curl]\n", false),
            ("", false),
            ("no: [yaml", false),
        ] {
            let host = FakeHost::default().with_file(GIVEN[1].1, text);
            let seen = look(&host).hosts_rewritten_by;
            assert_eq!(seen, if rewrites { vec!["vendor-data".to_owned()] } else { Vec::new() }, "{text}");
        }
    }

    #[test]
    fn cloud_init_is_active_until_it_is_disabled() {
        let host = || FakeHost::default().with_file("/usr/bin/cloud-init", "#!/usr/bin/python3\n");
        let is_active = |host: FakeHost| look(&host).is_active;
        assert!(is_active(host()));
        assert!(!is_active(host().with_file("/etc/cloud/cloud-init.disabled", "")));
        assert!(!is_active(FakeHost::default()));
    }
}
