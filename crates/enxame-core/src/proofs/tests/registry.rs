//! Every proof is registered once, under its own id, with what it needs.

use std::collections::BTreeSet;

use super::super::{Need, Part, REGISTRY, judge, kind_of, needs};
use crate::report::{Observations, ProofId};

#[test]
fn every_kind_is_registered_once_under_its_own_id_in_the_order_of_the_report() {
    let ids: Vec<ProofId> = REGISTRY.iter().map(|kind| kind.id).collect();
    assert!(ids.is_sorted_by(|left, right| left < right), "{ids:?}");
    for kind in REGISTRY {
        assert!(std::ptr::eq(*kind, kind_of(kind.id)), "{:?} is another file's", kind.id);
    }
}

#[test]
fn every_proof_has_a_title_of_its_own_a_section_and_something_it_needs() {
    let titles: BTreeSet<&str> = REGISTRY.iter().map(|kind| kind.title).collect();
    assert_eq!(titles.len(), REGISTRY.len());
    for kind in REGISTRY {
        let section: Vec<Option<u8>> = kind.manual.split('.').map(|part| part.parse().ok()).collect();
        assert!(section.len() >= 2 && section.iter().all(Option::is_some), "{:?}: {}", kind.id, kind.manual);
        assert!(!kind.needs.is_empty(), "{:?}", kind.id);
        // `--only exposure` works without a swarm, and `--only wire` scans nothing.
        let scans = kind.needs == [Need::Scan];
        assert_eq!(scans, kind.part == Part::Exposure, "{:?}", kind.id);
        assert_eq!(kind.needs == [Need::Shared], kind.part == Part::Storage, "{:?}", kind.id);
    }
}

#[test]
fn ids_keep_their_names_in_evidence_files() {
    let names: Vec<String> = REGISTRY
        .iter()
        .map(|kind| serde_json::to_value(kind.id).unwrap().as_str().unwrap().to_owned())
        .collect();
    let expected = [
        "path_quality",
        "declared_encrypted",
        "no_clear_packets",
        "marker_hidden",
        "esp_seen",
        "associations_rose",
        "names_resolve",
        "bulk_tcp",
        "udp_echo",
        "mesh_reaches",
        "nothing_else_open",
        "declared_open",
        "tunnels_carry",
        "files_shared",
        "files_owned",
        "files_hidden",
        "files_shut",
    ];
    assert_eq!(names, expected);
}

#[test]
fn what_is_needed_is_what_the_chosen_proofs_need_and_no_more() {
    assert_eq!(needs(&[]), BTreeSet::new());
    assert_eq!(needs(&[kind_of(ProofId::PathQuality)]), [Need::Echoes].into());
    let some = [kind_of(ProofId::BulkTcp), kind_of(ProofId::PathQuality)];
    assert_eq!(needs(&some), [Need::Networks, Need::Echoes, Need::TaskLoad].into());
}

#[test]
fn nothing_is_judged_that_was_not_asked_for_or_not_looked_at() {
    assert_eq!(judge(&Observations::default(), REGISTRY).proofs, []);
    let seen = Observations { wire: Some(super::healthy::healthy()), ..Observations::default() };
    let report = judge(&seen, &[kind_of(ProofId::UdpEcho)]);
    assert!(report.proofs.len() == 6 && report.proofs.iter().all(|proof| proof.id == ProofId::UdpEcho));
}
