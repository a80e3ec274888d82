//! One thing wrong at a time: each proof fails for its own reason, and is unknown where nobody could look.

use std::net::IpAddr;

use super::super::{Totals, kind_of};
use super::healthy::*;
use crate::facts::Observed;
use crate::probe::{Capture, Counts, PathQuality};
use crate::report::{LoadOutcome, Proof, ProofId, Verdict, WireObservations};

fn failed(observations: &WireObservations) -> Vec<String> {
    not_passed(observations, Verdict::Fail)
}

fn unknown(observations: &WireObservations) -> Vec<String> {
    not_passed(observations, Verdict::Unknown)
}

fn text_of(observations: &WireObservations, id: ProofId) -> String {
    let report = judged(observations);
    report.proofs.into_iter().find(|proof| proof.id == id && proof.verdict != Verdict::Pass).unwrap().text
}

/// As if the network had no encryption: all of its load clear, none of it in ESP, nothing in the associations.
fn without_encryption(observations: &mut WireObservations, id: &str, vni: u32) {
    let phase = observations.phases.iter_mut().find(|phase| phase.network == id).unwrap();
    for node in NODES {
        let before = known(&mut phase.before, node).clone();
        let after = known(&mut phase.after, node);
        *after = before;
        for peer in after.peers.values_mut() {
            for counts in [&mut peer.sent, &mut peer.received] {
                counts.clear.insert(vni, 36);
                counts.marker += 30;
            }
        }
        *known(&mut observations.whole, node) = known(&mut phase.after, node).clone();
    }
}

#[test]
fn an_ingress_network_left_unencrypted_fails_with_network_pair_and_number() {
    let mut run = healthy();
    run.subject.networks[0].is_encrypted = false;
    without_encryption(&mut run, INGRESS, INGRESS_VNI);
    let failed = failed(&run);
    assert_eq!(failed.len(), 1 + 6 * 4, "{failed:#?}");
    assert!(failed.iter().all(|proof| proof.contains(" ingress ")), "{failed:#?}");
    let text = text_of(&run, ProofId::NoClearPackets);
    assert_eq!(text, "36 clear packets of ingress went from kvm2 to kvm4");
    assert_eq!(unknown(&run), Vec::<String>::new());
    assert_eq!(judged(&run).verdict(), Verdict::Fail);
}

#[test]
fn a_network_made_without_encrypted_fails_even_where_nothing_was_sent_yet() {
    let mut run = healthy();
    let mut forgotten = network("forgotten-id", "forgotten", 4098);
    forgotten.is_encrypted = false;
    run.subject.networks.push(forgotten);
    assert_eq!(failed(&run), ["DeclaredEncrypted forgotten -"]);
    assert_eq!(unknown(&run).len(), 6 * 6 + 3);
    assert!(unknown(&run).iter().all(|proof| proof.contains(" forgotten ")));
}

#[test]
fn an_encrypted_network_that_leaks_one_packet_fails_whoever_saw_it() {
    let mut run = healthy();
    sent(&mut run.whole, "kvm8", "kvm2").clear.insert(SECURE_VNI, 1);
    assert_eq!(failed(&run), ["NoClearPackets secure kvm8>kvm2"]);

    let mut run = healthy();
    let receiver = known(&mut run.whole, "kvm2");
    receiver.peers.get_mut(&address("kvm8")).unwrap().received.clear.insert(SECURE_VNI, 2);
    assert_eq!(failed(&run), ["NoClearPackets secure kvm8>kvm2"]);
    assert_eq!(text_of(&run, ProofId::NoClearPackets), "2 clear packets of secure went from kvm8 to kvm2");
}

#[test]
fn a_leak_is_a_failure_even_for_a_watch_that_lost_packets() {
    let mut run = healthy();
    known(&mut run.whole, "kvm8").kernel_drops = 9;
    sent(&mut run.whole, "kvm8", "kvm2").clear.insert(SECURE_VNI, 1);
    assert!(failed(&run).contains(&"NoClearPackets secure kvm8>kvm2".to_owned()));
}

#[test]
fn packets_of_a_network_nobody_knows_fail_and_those_of_the_plaintext_one_do_not() {
    let mut run = healthy();
    run.subject.plaintext.push(network("plain-id", "plain", 5000));
    sent(&mut run.whole, "kvm4", "kvm8").clear.insert(5000, 100);
    assert_eq!(failed(&run), Vec::<String>::new());
    sent(&mut run.whole, "kvm4", "kvm8").clear.insert(5001, 3);
    assert_eq!(failed(&run), ["NoClearPackets VNI 5001 kvm4>kvm8"]);
}

#[test]
fn clear_packets_towards_strangers_fail() {
    let mut run = healthy();
    let stranger = IpAddr::from([198, 51, 100, 66]);
    known(&mut run.whole, "kvm4").clear_elsewhere.insert(stranger, [(SECURE_VNI, 2)].into());
    assert_eq!(failed(&run), ["NoClearPackets secure kvm4"]);
    assert!(text_of(&run, ProofId::NoClearPackets).contains("198.51.100.66"));
}

#[test]
fn a_visible_marker_fails_under_load_outside_of_it_and_elsewhere() {
    let mut run = healthy();
    sent(&mut run.phases[0].after, "kvm2", "kvm4").marker = 5;
    sent(&mut run.whole, "kvm2", "kvm4").marker = 5;
    assert_eq!(failed(&run), ["MarkerHidden secure kvm2>kvm4"]);

    let mut run = healthy();
    sent(&mut run.whole, "kvm2", "kvm4").marker = 5;
    assert_eq!(failed(&run), ["MarkerHidden - kvm2>kvm4"]);

    let mut run = healthy();
    known(&mut run.whole, "kvm2").marker_elsewhere = 1;
    assert_eq!(failed(&run), ["MarkerHidden - kvm2"]);
}

#[test]
fn less_esp_than_payload_fails_since_the_rest_went_another_way() {
    let mut run = healthy();
    sent(&mut run.phases[0].after, "kvm2", "kvm4").esp_bytes = 1_999_999;
    assert_eq!(failed(&run), ["EspSeen secure kvm2>kvm4"]);

    let mut run = healthy();
    let quiet = Counts { esp_packets: 3, esp_bytes: 3_000, ..Counts::default() };
    *sent(&mut run.phases[0].after, "kvm2", "kvm4") = quiet;
    assert_eq!(failed(&run), ["EspSeen secure kvm2>kvm4"]);
    assert!(text_of(&run, ProofId::EspSeen).starts_with("only 0 ESP packets"));
}

#[test]
fn associations_that_do_not_count_the_load_fail_and_new_keys_are_summed() {
    let of = |capture: &mut Capture| match &mut capture.associations {
        Observed::Known(associations) => std::mem::take(associations),
        Observed::Unknown(why) => panic!("{why}"),
    };
    let mut run = healthy();
    let capture = known(&mut run.phases[0].after, "kvm2");
    of(capture);
    capture.associations = Observed::Known(Vec::new());
    let failed = failed(&run);
    assert_eq!(failed.len(), 4, "both directions with both peers: {failed:#?}");
    assert!(failed.iter().all(|proof| proof.starts_with("AssociationsRose secure ")));

    // The keys were changed midway: what the old one counted before counts once, the new one from zero.
    let mut run = healthy();
    let capture = known(&mut run.phases[0].after, "kvm2");
    let mut associations = of(capture);
    let mut new = associations[0].clone();
    associations[0].bytes -= 500_000;
    new.spi = 8;
    new.bytes = 500_000;
    associations.push(new);
    capture.associations = Observed::Known(associations);
    assert_eq!(not_passed(&run, Verdict::Fail), Vec::<String>::new());
}

#[test]
fn names_that_resolve_to_less_more_or_not_at_all_fail() {
    for resolved in [Ok([on_network("kvm2")].into()), Ok([].into()), Err("no answer".to_owned())] {
        let mut run = healthy();
        let LoadOutcome::Traffic(traffic) = known(&mut run.phases[0].load, "kvm4") else { panic!() };
        traffic.resolved = resolved;
        assert_eq!(failed(&run), ["NamesResolve secure kvm4"]);
    }
}

#[test]
fn bulk_data_that_does_not_arrive_or_comes_from_another_fails() {
    let mut run = healthy();
    let LoadOutcome::Traffic(traffic) = known(&mut run.phases[0].load, "kvm4") else { panic!() };
    traffic.peers.get_mut(&on_network("kvm8")).unwrap().tcp = Err("it stopped after 1 packet".to_owned());
    assert_eq!(failed(&run), ["BulkTcp secure kvm4>kvm8"]);
    assert_eq!(text_of(&run, ProofId::BulkTcp), "it stopped after 1 packet");

    let mut run = healthy();
    let LoadOutcome::Traffic(traffic) = known(&mut run.phases[0].load, "kvm4") else { panic!() };
    traffic.peers.get_mut(&on_network("kvm8")).unwrap().tcp.as_mut().unwrap().answered_by =
        "id-kvm2".to_owned();
    assert_eq!(failed(&run), ["BulkTcp secure kvm4>kvm8"]);

    let mut run = healthy();
    let LoadOutcome::Traffic(traffic) = known(&mut run.phases[0].load, "kvm4") else { panic!() };
    traffic.peers.get_mut(&on_network("kvm8")).unwrap().udp_echoes = 0;
    assert_eq!(failed(&run), ["UdpEcho secure kvm4>kvm8"]);
}

#[test]
fn where_nothing_flowed_nothing_is_proven_about_the_wire() {
    let mut run = healthy();
    for (node, peer) in [("kvm2", "kvm4"), ("kvm4", "kvm2")] {
        let LoadOutcome::Traffic(traffic) = known(&mut run.phases[0].load, node) else { panic!() };
        traffic.peers.get_mut(&on_network(peer)).unwrap().tcp = Err("cut".to_owned());
    }
    assert_eq!(failed(&run), ["BulkTcp secure kvm2>kvm4", "BulkTcp secure kvm4>kvm2"]);
    let unknown = unknown(&run);
    assert_eq!(unknown.len(), 2 * 4, "{unknown:#?}");
    assert_eq!(text_of(&run, ProofId::NoClearPackets), "no payload flowed, so there was nothing to see");
}

#[test]
fn a_mesh_that_never_reaches_a_node_fails_and_proves_nothing_about_its_wire() {
    let mut run = healthy();
    for (node, peer) in [("kvm2", "kvm8"), ("kvm8", "kvm2")] {
        let LoadOutcome::Mesh(mesh) = known(&mut run.phases[1].load, node) else { panic!() };
        mesh.answered.remove(&format!("id-{peer}"));
    }
    assert_eq!(failed(&run), ["MeshReaches ingress kvm2>kvm8", "MeshReaches ingress kvm8>kvm2"]);
    assert_eq!(unknown(&run).len(), 2 * 4);

    let mut run = healthy();
    let LoadOutcome::Mesh(mesh) = known(&mut run.phases[1].load, "kvm2") else { panic!() };
    mesh.failed = 1;
    mesh.last_error = Some("timed out".to_owned());
    assert_eq!(failed(&run), ["MeshReaches ingress kvm2>kvm4", "MeshReaches ingress kvm2>kvm8"]);
}

#[test]
fn a_watch_that_lost_packets_or_cut_them_proves_no_absence() {
    for spoil in
        [|capture: &mut Capture| capture.kernel_drops = 1, |capture: &mut Capture| capture.truncated = 1]
    {
        let mut run = healthy();
        for phase in &mut run.phases {
            spoil(known(&mut phase.after, "kvm2"));
        }
        spoil(known(&mut run.whole, "kvm2"));
        assert_eq!(failed(&run), Vec::<String>::new());
        // All ESP was seen all the same; that nothing else was there is what nobody can say.
        let unknown = unknown(&run);
        assert_eq!(unknown.len(), 2 * 2 * 4, "{unknown:#?}");
        let absence = |proof: &String| proof.starts_with("NoClear") || proof.starts_with("MarkerHidden");
        assert!(unknown.iter().all(|proof| absence(proof) && proof.contains("kvm2")), "{unknown:#?}");
    }
}

#[test]
fn packets_nobody_can_read_prove_no_absence() {
    for counts in
        [Counts { unreadable: 1, ..Counts::default() }, Counts { later_fragments: 1, ..Counts::default() }]
    {
        let mut run = healthy();
        *sent(&mut run.whole, "kvm2", "kvm4") = counts;
        assert_eq!(unknown(&run), ["NoClearPackets ingress kvm2>kvm4", "NoClearPackets secure kvm2>kvm4"]);
    }
    let mut run = healthy();
    sent(&mut run.whole, "kvm2", "kvm4").later_fragments = 2;
    sent(&mut run.whole, "kvm2", "kvm4").first_fragments = 1;
    assert_eq!(unknown(&run), Vec::<String>::new(), "fragments whose beginnings were read are no riddle");
}

#[test]
fn a_node_nobody_could_ask_leaves_unknowns_and_never_a_pass() {
    let mut run = healthy();
    let gone = || Observed::Unknown("the connection broke".to_owned());
    for phase in &mut run.phases {
        phase.before.insert(name("kvm8"), gone());
        phase.after.insert(name("kvm8"), Observed::Unknown("the connection broke".to_owned()));
        phase.load.insert(name("kvm8"), Observed::Unknown("the connection broke".to_owned()));
    }
    run.whole.insert(name("kvm8"), gone());
    run.tasks.insert(name("kvm8"), Observed::Unknown("the connection broke".to_owned()));
    run.paths.insert(name("kvm8"), Observed::Unknown("the connection broke".to_owned()));
    assert_eq!(failed(&run), Vec::<String>::new());
    let report = judged(&run);
    assert_eq!(report.verdict(), Verdict::Unknown);
    let about_it = |proof: &&Proof| {
        proof.pair.as_ref().is_some_and(|pair| pair.from == name("kvm8") || pair.to == name("kvm8"))
    };
    for proof in report.proofs.iter().filter(about_it) {
        // What the others saw by themselves may stand: the mesh of another node did reach it, it answered echoes.
        let by_another = matches!(proof.id, ProofId::MeshReaches | ProofId::PathQuality)
            && proof.pair.as_ref().unwrap().from != name("kvm8");
        assert!(by_another || proof.verdict == Verdict::Unknown, "{proof:#?}");
    }
    assert!(text_of(&run, ProofId::NoClearPackets).contains("the connection broke"));
}

#[test]
fn a_run_that_ended_early_says_why_in_every_proof_it_lacks() {
    let mut run = healthy();
    run.phases.clear();
    run.whole.clear();
    run.paths.clear();
    run.trouble = Some("the service could not be created".to_owned());
    assert_eq!(failed(&run), Vec::<String>::new());
    assert_eq!(text_of(&run, ProofId::BulkTcp), "no load was put on it: the service could not be created");
    let passed = judged(&run).proofs.into_iter().filter(|proof| proof.verdict == Verdict::Pass);
    assert!(passed.map(|proof| proof.id).all(|id| id == ProofId::DeclaredEncrypted));
}

#[test]
fn a_kernel_that_decrypts_before_anybody_can_watch_leaves_the_judgement_to_the_sender_and_the_proof_says_so()
{
    let run = decrypting_at("kvm8");
    assert_eq!(failed(&run), Vec::<String>::new());
    assert_eq!(unknown(&run), Vec::<String>::new());
    // Two directions arrive at it, on two networks.
    for id in [ProofId::NoClearPackets, ProofId::MarkerHidden, ProofId::EspSeen] {
        let proofs = judged(&run).proofs.into_iter().filter(|proof| proof.id == id);
        let (at_it, others): (Vec<_>, Vec<_>) =
            proofs.partition(|proof| proof.pair.as_ref().unwrap().to == name("kvm8"));
        assert_eq!(at_it.len(), 4);
        for proof in at_it {
            assert!(
                proof.text.contains("the kernel of kvm8 decrypts before anybody can watch"),
                "{proof:#?}"
            );
            assert_eq!(proof.numbers["unwatched_ends"], 1);
        }
        assert!(others.iter().all(|proof| !proof.text.contains("decrypts")), "{others:#?}");
        let report = judged(&run);
        let proofs: Vec<&Proof> = report.proofs.iter().filter(|proof| proof.id == id).collect();
        let counted = (kind_of(id).counted)(&Totals(&proofs));
        assert!(counted.ends_with("; 4 watched where they left only"), "{counted}");
    }
    let mut leaking = run.clone();
    sent(&mut leaking.whole, "kvm2", "kvm8").clear.insert(SECURE_VNI, 4);
    assert_eq!(failed(&leaking), ["NoClearPackets secure kvm2>kvm8"]);
}

#[test]
fn where_the_end_that_decrypts_first_is_the_only_one_nothing_is_proven() {
    let mut run = decrypting_at("kvm8");
    for phase in &mut run.phases {
        phase.after.insert(name("kvm2"), Observed::Unknown("the watch broke".to_owned()));
    }
    run.whole.insert(name("kvm2"), Observed::Unknown("the watch broke".to_owned()));
    assert_eq!(failed(&run), Vec::<String>::new());
    let unknown = unknown(&run);
    for id in ["NoClearPackets", "MarkerHidden", "EspSeen"] {
        for network in ["secure", "ingress"] {
            assert!(unknown.contains(&format!("{id} {network} kvm2>kvm8")), "{unknown:#?}");
        }
    }
}

/// What a node whose kernel decrypts first saw coming in is clear, and says nothing.
fn decrypting_at(node: &str) -> WireObservations {
    let mut run = healthy();
    let decrypted = |capture: &mut Capture| {
        capture.decrypts_before_watching = true;
        for peer in capture.peers.values_mut() {
            peer.received =
                Counts { clear: [(SECURE_VNI, 50), (77, 3)].into(), marker: 50, ..Counts::default() };
        }
    };
    for phase in &mut run.phases {
        decrypted(known(&mut phase.after, node));
        decrypted(known(&mut phase.before, node));
    }
    decrypted(known(&mut run.whole, node));
    run
}

#[test]
fn a_slow_or_lossy_way_fails_for_its_pair_and_one_that_answers_nothing_is_unknown() {
    let spoilt = |quality: Result<PathQuality, String>| {
        let mut run = healthy();
        known(&mut run.paths, "kvm2").insert(address("kvm8"), quality);
        run
    };
    let lossy = spoilt(Ok(PathQuality { returned: 98, ..good_path() }));
    assert_eq!(failed(&lossy), ["PathQuality - kvm2>kvm8"]);
    assert_eq!(
        text_of(&lossy, ProofId::PathQuality),
        "2 of 100 echoes lost, 12.3 ms there and back, 0.2 ms jitter"
    );
    let slow = spoilt(Ok(PathQuality { mean_us: Some(500_000), ..good_path() }));
    assert_eq!(failed(&slow), ["PathQuality - kvm2>kvm8"]);
    let silent = spoilt(Ok(PathQuality { returned: 0, mean_us: None, jitter_us: 0, ..good_path() }));
    assert_eq!(unknown(&silent), ["PathQuality - kvm2>kvm8"]);
    let unsent = spoilt(Err("Operation not permitted".to_owned()));
    assert_eq!(unknown(&unsent), ["PathQuality - kvm2>kvm8"]);
    assert_eq!((failed(&unsent), failed(&silent)), (Vec::new(), Vec::new()));
}

#[test]
fn a_longer_series_outweighs_a_few_lost_by_chance() {
    let chance = PathQuality { returned: 97, ..good_path() };
    assert!(chance.loses_too_much() && !good_path().loses_too_much());
    let longer = PathQuality { sent: 1000, returned: 998, mean_us: Some(11_000), jitter_us: 90 };
    let both = chance.and(&longer);
    assert_eq!(both, PathQuality { sent: 1100, returned: 1095, mean_us: Some(11_000), jitter_us: 90 });
    assert!(!both.loses_too_much());
}

#[test]
fn members_nobody_watches_and_a_network_that_is_not_there_are_no_pass() {
    let mut run = healthy();
    run.subject.strangers.push("vps-99 (x1)".to_owned());
    assert_eq!(unknown(&run), ["NoClearPackets - -"]);
    run.subject.strangers.clear();
    run.subject.missing = Some("swarm-secure-net".to_owned());
    assert_eq!(failed(&run), ["DeclaredEncrypted swarm-secure-net -"]);
    let mut alone = healthy();
    alone.subject.nodes.retain(|node, _| *node == name("kvm2"));
    assert!(text_of(&alone, ProofId::NoClearPackets).contains("single node"));
}

#[test]
fn a_watch_that_is_behind_saw_nothing_for_certain() {
    let mut run = healthy();
    known(&mut run.whole, "kvm2").is_behind = true;
    assert!(unknown(&run).contains(&"NoClearPackets secure kvm2>kvm4".to_owned()));
    assert_eq!(failed(&run), Vec::<String>::new());
}
