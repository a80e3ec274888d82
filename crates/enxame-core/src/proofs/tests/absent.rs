//! A node that does not answer: what is about it is unknown and names it, what is about the others stands.

use super::healthy::*;
use crate::probe::PeerCounts;
use crate::report::{LoadOutcome, Proof, ProofId, Verdict, WireObservations};

const WHY: &str = "kvm8 does not answer: no route to host";

/// The healthy run as it is where nobody could ask kvm8 anything from the beginning.
fn without_kvm8() -> WireObservations {
    let mut run = healthy();
    let gone = name("kvm8");
    for phase in &mut run.phases {
        phase.before.remove(&gone);
        phase.after.remove(&gone);
        phase.load.remove(&gone);
    }
    run.whole.remove(&gone);
    run.tasks.remove(&gone);
    run.paths.remove(&gone);
    for node in ["kvm2", "kvm4"] {
        known(&mut run.paths, node).remove(&address("kvm8"));
        for capture in run.phases.iter_mut().flat_map(|phase| [&mut phase.before, &mut phase.after]) {
            *known(capture, node).peers.get_mut(&address("kvm8")).unwrap() = PeerCounts::default();
        }
        *known(&mut run.whole, node).peers.get_mut(&address("kvm8")).unwrap() = PeerCounts::default();
        let LoadOutcome::Traffic(traffic) = known(&mut run.phases[0].load, node) else { panic!() };
        traffic.resolved = Ok([on_network("kvm2"), on_network("kvm4")].into());
        traffic.peers.remove(&on_network("kvm8"));
        let LoadOutcome::Mesh(mesh) = known(&mut run.phases[1].load, node) else { panic!() };
        mesh.answered.remove("id-kvm8");
    }
    run
}

fn is_about_kvm8(proof: &Proof) -> bool {
    let ends = proof.pair.iter().flat_map(|pair| [&pair.from, &pair.to]).chain(&proof.node);
    ends.into_iter().any(|node| *node == name("kvm8"))
}

fn failed(run: &WireObservations) -> Vec<String> {
    let proofs = judged_without(run, &["kvm8"]).proofs;
    proofs.iter().filter(|proof| proof.verdict == Verdict::Fail).map(short).collect()
}

#[test]
fn every_proof_about_it_is_unknown_and_names_it_and_the_others_pass() {
    let report = judged_without(&without_kvm8(), &["kvm8"]);
    assert_eq!(report.verdict(), Verdict::Unknown);
    let (about_it, others): (Vec<_>, Vec<_>) = report.proofs.iter().partition(|proof| is_about_kvm8(proof));
    // As many as if it answered: nothing is left out. Of six directions four have it at an end.
    assert_eq!(report.proofs.len(), judged(&healthy()).proofs.len());
    assert_eq!(about_it.len(), 2 * 4 * 4 + 4 + 2 * 4 + 1 + 4);
    for proof in about_it {
        assert_eq!((proof.verdict, proof.text.as_str()), (Verdict::Unknown, WHY), "{proof:#?}");
        assert!(proof.numbers.is_empty(), "{proof:#?}");
    }
    for proof in others {
        assert_eq!(proof.verdict, Verdict::Pass, "{proof:#?}");
    }
}

#[test]
fn whatever_was_seen_of_it_is_neither_passed_nor_failed() {
    // It was healthy as far as anybody could see, or leaked to everybody: nobody could ask it.
    let mut leaking = healthy();
    for node in ["kvm2", "kvm4"] {
        sent(&mut leaking.whole, "kvm8", node).clear.insert(SECURE_VNI, 3);
    }
    for run in [healthy(), leaking] {
        let report = judged_without(&run, &["kvm8"]);
        for proof in report.proofs.iter().filter(|proof| is_about_kvm8(proof)) {
            assert_eq!((proof.verdict, proof.text.as_str()), (Verdict::Unknown, WHY), "{proof:#?}");
        }
    }
}

#[test]
fn both_ends_are_named_where_neither_answers() {
    let report = judged_without(&healthy(), &["kvm4", "kvm8"]);
    let both = |proof: &&Proof| {
        proof.pair.as_ref().is_some_and(|pair| pair.from == name("kvm4") && pair.to == name("kvm8"))
    };
    let proof = report.proofs.iter().find(both).unwrap();
    assert_eq!(proof.text, "kvm4 does not answer: no route to host; kvm8 does not answer: no route to host");
    assert!(report.proofs.iter().all(|proof| proof.pair.is_none() || proof.verdict == Verdict::Unknown));
}

#[test]
fn what_a_node_that_answers_leaks_to_it_is_its_own_failure() {
    let mut run = without_kvm8();
    sent(&mut run.whole, "kvm2", "kvm8").clear.insert(SECURE_VNI, 2);
    assert_eq!(failed(&run), ["NoClearPackets secure kvm2"]);
    let text =
        judged_without(&run, &["kvm8"]).proofs.into_iter().find(|proof| proof.verdict == Verdict::Fail);
    assert_eq!(text.unwrap().text, "2 clear packets of secure went from kvm2 to kvm8, which does not answer");

    let mut run = without_kvm8();
    let received = &mut known(&mut run.whole, "kvm4").peers.get_mut(&address("kvm8")).unwrap().received;
    received.clear.insert(7777, 5);
    received.marker = 1;
    assert_eq!(failed(&run), ["NoClearPackets VNI 7777 kvm4", "MarkerHidden - kvm4"]);
    // What a kernel decrypted before anybody could watch was not clear on the wire.
    known(&mut run.whole, "kvm4").decrypts_before_watching = true;
    assert_eq!(failed(&run), Vec::<String>::new());

    let mut run = without_kvm8();
    run.subject.plaintext.push(network("plain-id", "plain", 5000));
    sent(&mut run.whole, "kvm2", "kvm8").clear.insert(5000, 100);
    assert_eq!(failed(&run), Vec::<String>::new(), "declared plaintext");
}

#[test]
fn a_name_that_resolves_to_an_address_more_may_be_its_task_and_to_one_less_fails() {
    let resolved = |addresses: &[&str]| {
        let mut run = without_kvm8();
        let LoadOutcome::Traffic(traffic) = known(&mut run.phases[0].load, "kvm4") else { panic!() };
        traffic.resolved = Ok(addresses.iter().map(|node| on_network(node)).collect());
        let proofs = judged_without(&run, &["kvm8"]).proofs;
        let of_kvm4 = |proof: &Proof| proof.id == ProofId::NamesResolve && proof.node == Some(name("kvm4"));
        proofs.into_iter().find(of_kvm4).unwrap()
    };
    assert_eq!(resolved(&["kvm2", "kvm4"]).verdict, Verdict::Pass);
    let unknown = resolved(&["kvm2", "kvm4", "kvm8"]);
    assert_eq!(unknown.verdict, Verdict::Unknown);
    assert_eq!(unknown.text, format!("the probe's name resolved to 10.0.1.8 too, and {WHY}"));
    assert_eq!(resolved(&["kvm2", "kvm8"]).verdict, Verdict::Fail);
}
