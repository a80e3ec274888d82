//! What becomes of an apply when the provider, the network or SSH fail on the way.

use std::time::Instant;

use super::server::Fault::{Dropped, DroppedButDone, Failed, FailedButDone, Throttled};
use super::*;

/// The rules of our firewall and what is in force where, without the provider's numbers.
fn state(server: &Server) -> (Vec<String>, Vec<Option<Vec<String>>>) {
    let world = server.world();
    let ours = world.account.firewalls.values().find(|firewall| firewall.name == "enxame-lab");
    let mut rules: Vec<String> =
        ours.into_iter().flat_map(|one| &one.rules).map(account::Rule::text).collect();
    rules.sort();
    (rules, MACHINES.map(|(id, _)| world.account.in_force(id)).to_vec())
}

#[tokio::test]
async fn passing_faults_are_waited_out_and_nothing_is_made_twice() {
    let server = Server::start(account()).await;
    server.world().faults = vec![
        ("VPS_getVirtualMachinesV1", Failed),
        ("VPS_getFirewallListV1", Dropped),
        ("VPS_createNewFirewallV1", DroppedButDone),
        ("VPS_createFirewallRuleV1", FailedButDone),
        ("VPS_createFirewallRuleV1", DroppedButDone),
        ("VPS_createFirewallRuleV1", Dropped),
        ("VPS_createFirewallRuleV1", Failed),
        ("VPS_activateFirewallV1", FailedButDone),
        ("VPS_activateFirewallV1", Dropped),
        ("VPS_getActionDetailsV1", Failed),
        ("VPS_getActionDetailsV1", Dropped),
    ];
    apply(&server, ALWAYS).await.unwrap();
    assert_the_matrix_is_in_force(&server);
    assert_eq!(state(&server).0, matrix());
    let world = server.world();
    assert!(world.faults.is_empty());
    assert_eq!(world.account.firewalls.values().filter(|one| one.name == "enxame-lab").count(), 1);
}

#[tokio::test]
async fn stale_rules_are_deleted_once_even_when_the_answer_gets_lost() {
    let server = Server::start(outdated()).await;
    let faults = [DroppedButDone, FailedButDone, Dropped].map(|fault| ("VPS_deleteFirewallRuleV1", fault));
    server.world().faults = faults.to_vec();
    apply(&server, ALWAYS).await.unwrap();
    assert_the_matrix_is_in_force(&server);
}

#[tokio::test]
async fn a_throttled_request_waits_as_long_as_the_provider_asks() {
    let server = Server::start(account()).await;
    server.world().faults = vec![("VPS_createFirewallRuleV1", Throttled(1))];
    let start = Instant::now();
    apply(&server, ALWAYS).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_the_matrix_is_in_force(&server);
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_an_error_at_once() {
    let server = Server::start(account()).await;
    server.world().faults = vec![("VPS_getFirewallListV1", Throttled(3600))];
    let error = apply(&server, ALWAYS).await.unwrap_err();
    assert!(error.causes().join(": ").contains("wait 3600 s"), "{:?}", error.causes());
    assert_eq!(server.world().writes(), 0);
}

#[tokio::test]
async fn faults_that_do_not_pass_end_with_an_error_and_what_was_there_is_put_back() {
    let server = Server::start(outdated()).await;
    let before = state(&server);
    // More of them than the deadline has room for, and then none.
    server.world().faults = vec![("VPS_syncFirewallV1", Failed); 1000];
    let patience = Patience { total: Duration::from_millis(200), ..impatient() };
    let error = apply_with(&server, ALWAYS, patience).await.unwrap_err();
    // Undoing needs `sync` too: what could not be undone is told.
    assert!(matches!(&error, EdgeError::NotPutBack { also, .. } if also.len() == 3), "{error:?}");
    server.world().faults.clear();
    assert_eq!(state(&server), before);
    apply(&server, ALWAYS).await.unwrap();
    assert_the_matrix_is_in_force(&server);
}

#[tokio::test]
async fn an_action_that_ends_in_an_error_is_told_by_its_number_and_undone() {
    let server = Server::start(outdated()).await;
    let before = state(&server);
    server.world().account.failing = vec![("sync", 14)];
    let error = apply(&server, ALWAYS).await.unwrap_err();
    let EdgeError::PutBack(cause) = &error else { panic!("{error:?}") };
    assert!(matches!(&**cause, EdgeError::ActionFailed { action: 1001.., .. }), "{error:?}");
    assert_eq!(state(&server), before);
    assert_ssh_was_never_cut(&server);
}

#[tokio::test]
async fn a_firewall_that_cannot_be_activated_leaves_no_machine_with_it() {
    let server = Server::start(account()).await;
    server.world().account.failing = vec![("activate", 18)];
    let error = apply(&server, ALWAYS).await.unwrap_err();
    assert!(matches!(&error, EdgeError::PutBack(_)), "{error:?}");
    assert_eq!(state(&server).1, [None, None, None]);
    // The next apply goes on with the firewall that was made.
    apply(&server, ALWAYS).await.unwrap();
    assert_the_matrix_is_in_force(&server);
}

#[tokio::test]
async fn a_machine_that_ssh_does_not_reach_any_more_gets_its_former_firewall_back() {
    let mut account = account();
    let other = *account.firewalls.keys().next().unwrap();
    account.install(other, 14);
    let server = Server::start(account).await;
    let before = state(&server).1;
    let error = apply(&server, 1).await.unwrap_err();
    let EdgeError::PutBack(cause) = &error else { panic!("{error:?}") };
    assert!(matches!(&**cause, EdgeError::Unconfirmed { node, .. } if node == "kvm4"), "{error:?}");
    assert_eq!(state(&server).1, before);
    assert_eq!(server.world().account.machines[&14].firewall, Some(other));
    // The third was never touched.
    assert!(!server.world().account.history.iter().any(|(machine, _)| *machine == 18));
}

#[tokio::test]
async fn rules_that_were_taken_away_come_back_when_ssh_is_lost_after_it() {
    let server = Server::start(outdated()).await;
    let before = state(&server);
    // Three confirmations after the new rules, one after the old ones are gone.
    let error = apply(&server, 4).await.unwrap_err();
    assert!(matches!(&error, EdgeError::PutBack(_)), "{error:?}");
    assert!(error.causes().join(": ").contains("kvm4 does not answer a new SSH connection"));
    assert_eq!(server.world().count("VPS_deleteFirewallRuleV1"), 3 + 4);
    assert_eq!(state(&server), before);
    assert_ssh_was_never_cut(&server);
}

#[tokio::test]
async fn a_rule_that_drops_cannot_be_made_again_and_that_is_told() {
    let mut account = outdated();
    let ours = account.firewalls.values_mut().find(|one| one.name == "enxame-lab").unwrap();
    ours.rules[1].action = "drop";
    let server = Server::start(account).await;
    let error = apply(&server, 4).await.unwrap_err();
    let EdgeError::NotPutBack { also, .. } = &error else { panic!("{error:?}") };
    assert!(also.len() == 1 && also[0].contains("drop TCP 8080"), "{also:?}");
    // Above all it does not come back as one that accepts.
    assert!(!state(&server).0.contains(&"TCP 8080 any".to_owned()));
}

#[tokio::test]
async fn an_action_that_never_ends_is_given_up_and_undone() {
    let server = Server::start(account()).await;
    let patience = Patience { action: Duration::ZERO, ..impatient() };
    let error = apply_with(&server, ALWAYS, patience).await.unwrap_err();
    // It may end later, and then nobody confirms it: never "put back as it was".
    let EdgeError::NotPutBack { cause, also } = &error else { panic!("{error:?}") };
    assert!(matches!(&**cause, EdgeError::ActionIsSlow { .. }), "{error:?}");
    assert!(also.iter().any(|what| what.contains("may still be carried out")), "{also:?}");
}

#[tokio::test]
async fn rules_that_were_edited_and_never_in_force_are_not_put_in_force_to_go_back() {
    let mut account = outdated();
    // Somebody took SSH away in the panel and did not synchronise: it still works.
    let (id, ssh) = account
        .firewalls
        .iter()
        .find_map(|(id, one)| (one.name == "enxame-lab").then_some((*id, one.rules[0].id)))
        .unwrap();
    account.delete_rule(id, ssh);
    let server = Server::start(account).await;
    let before = state(&server).1;
    server.world().account.failing = vec![("sync", 14)];
    let error = apply(&server, ALWAYS).await.unwrap_err();
    let EdgeError::NotPutBack { also, .. } = &error else { panic!("{error:?}") };
    assert!(also[0].contains("what filtered before is not known"), "{also:?}");
    assert_ssh_was_never_cut(&server);
    let (rules, after) = state(&server);
    assert_eq!(after[2], before[2], "the third was told of nothing");
    assert!(rules.contains(&"TCP 22 198.51.100.9".to_owned()), "{rules:?}");
    apply(&server, ALWAYS).await.unwrap();
    assert_the_matrix_is_in_force(&server);
}
