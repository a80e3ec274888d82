//! ufw's `user.rules`, of which enxame writes a part.
#![no_main]

use enxame_core::areas::firewall::ufw_rules::{Family, all, composed, foreign, loaded, without_ours};
use enxame_core::config::ForeignRules;
use enxame_core::files::text_of;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = text_of(data);
    let ours = ["\n### tuple ### allow tcp 22 0.0.0.0/0 any 203.0.113.1 in comment=656e78616d653a20737368\n\
                 -A ufw-user-input -p tcp --dport 22 -s 203.0.113.1 -j ACCEPT\n"
        .to_owned()];
    let _ = (all(&text), foreign(&text), without_ours(&text, None));
    for family in Family::ALL {
        let _ = loaded(&text, family);
    }
    let Ok(once) = composed(&text, &ours, ForeignRules::Keep) else { return };
    assert_eq!(composed(&once, &ours, ForeignRules::Keep).as_ref(), Ok(&once), "once more is the same");
    // Nothing of anybody else's is lost on the way.
    let (before, after) = (foreign(&text).unwrap_or_default(), foreign(&once).unwrap_or_default());
    assert_eq!(before.len(), after.len(), "{before:?} {after:?}");
});
