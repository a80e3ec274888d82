//! What is in force at the provider after an apply, and at every moment of it.

use super::*;

#[tokio::test]
async fn from_nothing_the_matrix_is_in_force_everywhere_and_a_second_run_writes_nothing() {
    let server = Server::start(account()).await;
    let foreign = server.world().account.firewalls.clone();
    let change = apply(&server, ALWAYS).await.unwrap().unwrap();
    assert_eq!((change.add.len(), change.activate.len()), (MATRIX.len(), 3));
    assert_the_matrix_is_in_force(&server);
    assert_ssh_was_never_cut(&server);
    let writes = server.world().writes();
    assert_eq!(apply(&server, ALWAYS).await.unwrap(), None);
    assert_eq!(server.world().writes(), writes);
    // Nobody else's firewall or machine was touched.
    let world = server.world();
    assert!(foreign.iter().all(|(id, firewall)| world.account.firewalls.get(id) == Some(firewall)));
    assert_eq!(world.account.machines[&99].in_force, None);
    assert!(world.count("VPS_getFirewallListV1") > 2, "several pages were needed");
}

#[tokio::test]
async fn stale_rules_go_once_the_new_ones_are_in_force_on_every_machine() {
    let server = Server::start(outdated()).await;
    let change = apply(&server, ALWAYS).await.unwrap().unwrap();
    assert_eq!((change.add.len(), change.delete.len(), change.activate.len()), (4, 3, 0));
    assert_the_matrix_is_in_force(&server);
    assert_ssh_was_never_cut(&server);
    let history = server.world().account.history.split_off(3);
    for (machine, rules) in history {
        let rules: Vec<String> = rules.iter().flatten().map(account::Rule::text).collect();
        assert!(matrix().iter().all(|rule| rules.contains(rule)), "{machine}: {rules:?}");
    }
    // Three machines, told before and after the stale rules went.
    assert_eq!(server.world().count("VPS_syncFirewallV1"), 6);
    assert_eq!(apply(&server, ALWAYS).await.unwrap(), None);
}

#[tokio::test]
async fn another_firewall_in_front_of_a_machine_is_replaced_and_itself_left_as_it_is() {
    let mut account = account();
    let other = *account.firewalls.keys().next().unwrap();
    account.install(other, 14);
    let before = account.firewalls[&other].clone();
    let server = Server::start(account).await;
    let change = apply(&server, ALWAYS).await.unwrap().unwrap();
    assert_eq!(change.activate.iter().filter_map(|one| one.replaces).collect::<Vec<_>>(), [other]);
    assert_the_matrix_is_in_force(&server);
    assert_ssh_was_never_cut(&server);
    assert_eq!(server.world().account.firewalls[&other], before);
}

#[tokio::test]
async fn rules_that_somebody_edited_and_did_not_synchronise_are_put_in_force() {
    let mut account = outdated();
    account.history.clear();
    let server = Server::start(account).await;
    apply(&server, ALWAYS).await.unwrap();
    let id = server.world().account.machines[&12].firewall.unwrap();
    // An edit and its opposite leave the rules as they were, and the machines out of step.
    let rule = server.world().account.add_rule(id, ["TCP", "1", "any", "any"].map(str::to_owned));
    server.world().account.delete_rule(id, rule["id"].as_u64().unwrap());
    let change = apply(&server, ALWAYS).await.unwrap().unwrap();
    assert!(change.is_out_of_sync && change.add.is_empty() && change.delete.is_empty());
    assert_eq!(apply(&server, ALWAYS).await.unwrap(), None);
}

#[tokio::test]
async fn a_token_that_is_refused_is_told_once_without_being_shown_and_nothing_is_written() {
    let server = Server::start(account()).await;
    let error = edge(&server, "an-old-token", impatient()).look(&config()).await.unwrap_err();
    assert!(
        matches!(&error, EdgeError::Request { fault: crate::edge::error::Fault::Refused(_), .. }),
        "{error:?}"
    );
    let told = format!("{}{}", error.causes().join(": "), error.hint().unwrap());
    assert!(told.contains("refused the API token: Unauthenticated"), "{told}");
    assert!(!format!("{told}{error:?}").contains("an-old-token"));
    let world = server.world();
    assert_eq!((world.requests, world.done.len()), (1, 0));
}

#[tokio::test]
async fn two_firewalls_with_our_name_are_refused() {
    let mut account = account();
    account.add_firewall("enxame-lab", &[]);
    account.add_firewall("enxame-lab", &[]);
    let server = Server::start(account).await;
    let error = apply(&server, ALWAYS).await.unwrap_err();
    assert!(matches!(error, EdgeError::Ambiguous { count: 2, .. }), "{error:?}");
    assert_eq!(server.world().writes(), 0);
}

#[tokio::test]
async fn names_are_resolved_in_a_static_binary() {
    let mut server = Server::start(account()).await;
    server.url = server.url.replace("127.0.0.1", "localhost");
    let seen = edge(&server, TOKEN, impatient()).look(&config()).await.unwrap();
    assert_eq!(seen.machines.len(), 3);
}
