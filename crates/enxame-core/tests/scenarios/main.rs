//! Whole clusters, from `cluster.yaml` and facts to the plan.
//!
//! Each folder beside this file is a scenario: `cluster.yaml`, `facts.json` (a base and what is different from it, see
//! [`facts`]), `ask` where a procedure is asked for, and `plan.snap`, what the scenario shows of the plan (see [`show`]) as
//! text, compared byte for byte. `INSTA_UPDATE=always` writes it anew.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, which clippy takes for tests only inside a `#[test]`"
)]

mod bans;
mod between;
mod engines;
mod facts;
mod operators;
mod removal;
mod rivals;
mod shared;
mod show;
mod text;
mod tunnels;
mod variations;
mod world;

use std::path::{Path, PathBuf};

use enxame_core::config::Config;
use enxame_core::facts::ClusterFacts;
use enxame_core::plan::{self, Plan};
use enxame_core::procedures;

use crate::show::Area::{Engine, Firewall, Machine, Storage, Swarm, Tunnel};
use crate::show::Show::{self, Findings, Nothing, Only, Whole};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// A question that the facts leave open would be answered by whatever a resource takes for absent.
fn assert_answers(config: &Config, facts: &ClusterFacts) {
    for node in &config.nodes {
        let asked = plan::query_for(config, node, enxame_core::areas::resources());
        let Some(facts) = facts.get(&node.name) else { continue };
        let files = asked.files.iter().filter(|path| !facts.files.contains_key(*path));
        let modules = asked.modules.iter().filter(|name| !facts.modules.contains_key(*name));
        let sysctl = asked.sysctl.iter().filter(|key| !facts.sysctl.contains_key(*key));
        let units = asked.units.iter().filter(|unit| !facts.units.contains_key(*unit));
        let open: Vec<&String> = files.chain(modules).chain(sysctl).chain(units).collect();
        assert!(open.is_empty(), "the facts of {} do not say what of {open:?} is there", node.name);
        assert!(asked.peers.iter().all(|peer| facts.routes.contains_key(peer)));
    }
}

/// What the file `ask` says: a procedure, and the node it is about.
fn procedure(config: &Config, facts: &ClusterFacts, verb: &str, node: &str) -> Plan {
    const NOW_UNIX_S: u64 = 1_764_100_000;
    let node = node.parse().unwrap();
    match verb {
        "drain" => procedures::drain(config, facts, &node, NOW_UNIX_S),
        "activate" => procedures::activate(config, facts, &node),
        "reboot" => procedures::reboot(config, facts, &node, NOW_UNIX_S),
        other => panic!("nobody knows how to {other}"),
    }
    .unwrap()
}

fn plan_of(scenario: &str) -> Plan {
    let folder = directory().join(scenario);
    let yaml = std::fs::read_to_string(folder.join("cluster.yaml")).unwrap();
    let config = Config::parse("cluster.yaml", &yaml).unwrap();
    let facts = facts::read(&directory(), &folder.join("facts.json"));
    assert_answers(&config, &facts);
    let ask = std::fs::read_to_string(folder.join("ask")).unwrap_or_default();
    match ask.trim().split_once(' ') {
        Some((verb, node)) => procedure(&config, &facts, verb, node),
        None => plan::make(&config, &facts, None, enxame_core::areas::resources()).unwrap(),
    }
}

fn assert_snapshot(folder: &Path, show: Show, plan: Plan) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("plan", text::of(plan, show)));
}

macro_rules! scenarios {
    ($($name:ident: $show:expr),* $(,)?) => {
        $(#[test]
        fn $name() {
            let name = stringify!($name);
            assert_snapshot(&directory().join(name), $show, plan_of(name));
        })*

        #[test]
        fn every_folder_is_a_test() {
            let mut folders: Vec<String> = std::fs::read_dir(directory())
                .unwrap()
                .map(|entry| entry.unwrap())
                .filter(|entry| entry.path().join("cluster.yaml").exists())
                .map(|entry| entry.file_name().into_string().unwrap())
                .collect();
            folders.sort();
            let mut listed = vec![$(stringify!($name)),*];
            listed.sort_unstable();
            assert_eq!(folders, listed);
        }
    };
}

#[test]
fn a_systemd_that_does_not_answer_is_an_error_and_no_change() {
    let folder = directory().join("a_converged_cluster_needs_nothing");
    let yaml = std::fs::read_to_string(folder.join("cluster.yaml")).unwrap();
    let config = Config::parse("cluster.yaml", &yaml).unwrap();
    let mut facts = facts::read(&directory(), &folder.join("facts.json"));
    facts.values_mut().next().unwrap().units.clear();
    let plan = plan::make(&config, &facts, None, enxame_core::areas::resources()).unwrap();
    assert!(plan.is_refused());
    assert_eq!(plan.changes, [], "what was not seen is not known to be off");
    let text = text::of(plan, Whole);
    assert!(text.contains("systemd did not say which of these start: firewalld.service, "), "{text}");
}

scenarios! {
    a_ban_among_those_whom_an_opening_names_is_told: Findings,
    a_bare_cluster_gets_everything_from_docker: Whole,
    a_broken_daemon_json_is_refused_and_not_replaced: Only(&[Engine]),
    a_clone_is_refused: Findings,
    a_converged_cluster_needs_nothing: Whole,
    a_dead_manager_goes_before_another_joins: Only(&[Swarm]),
    a_debian_kernel_without_xt_bpf_is_refused: Only(&[Machine]),
    a_disruption_is_refused_while_a_manager_is_down: Only(&[Engine]),
    a_drain_is_asked_of_another_manager: Only(&[Swarm]),
    a_drain_that_is_asked_for_again_waits_for_the_tasks_there: Whole,
    a_firewall_of_somebody_elses_is_refused: Findings,
    a_file_that_stops_forwarding_is_refused: Findings,
    a_founder_that_stands_alone_goes_on: Only(&[Swarm]),
    a_freed_package_is_only_held: Only(&[Engine]),
    a_hosts_line_that_contradicts_is_named: Only(&[Machine]),
    a_kernel_without_wireguard_is_refused: Findings,
    a_later_sysctl_file_is_named: Only(&[Machine]),
    a_leaking_engine_gives_way_to_dockers: Only(&[Engine]),
    a_lost_label_is_set_again: Only(&[Swarm]),
    a_newcomer_across_the_odd_spi_is_refused: Only(&[Engine]),
    a_module_that_is_only_useful_is_left_alone_where_it_may_not_be_loaded: Only(&[Machine]),
    a_module_that_may_not_be_loaded_is_refused: Findings,
    a_node_in_another_swarm_is_refused: Findings,
    a_node_left_drained_is_never_nothing_to_change: Findings,
    a_node_that_is_drained_already_stays_drained_by_a_reboot: Only(&[Machine, Swarm]),
    a_node_that_is_drained_is_not_drained_again: Nothing,
    a_pair_of_managers_is_warned: Only(&[Engine, Swarm]),
    a_prepared_cluster_is_founded_in_order: Only(&[Engine, Swarm]),
    a_private_network_in_the_swarms_pool_is_refused: Findings,
    a_reboot_says_what_moves_what_waits_and_what_is_down: Only(&[Machine, Swarm]),
    a_reboot_that_was_cut_off_after_the_machine_came_back_only_activates: Only(&[Machine, Swarm]),
    a_reboot_that_was_cut_off_before_the_machine_went_down_goes_on: Only(&[Machine, Swarm]),
    a_route_from_another_address_is_refused: Findings,
    a_rule_of_others_shuts_nothing_that_the_node_may_serve_itself: Findings,
    a_rule_of_others_that_lets_a_udp_opening_pass_is_only_named: Findings,
    a_rule_of_others_that_lets_pass_whom_an_opening_names_is_only_named: Findings,
    a_rule_of_others_that_shuts_a_declared_port_is_refused: Findings,
    a_rule_of_others_that_shuts_a_udp_opening_is_refused: Findings,
    a_rule_of_others_that_shuts_an_opening_for_some_is_refused: Findings,
    a_secure_network_in_clear_is_made_again: Only(&[Swarm]),
    a_server_that_does_not_answer_keeps_the_others_from_nothing_but_what_needs_it: Whole,
    a_small_path_mtu_becomes_the_networks: Only(&[Swarm]),
    a_stopped_engine_is_started: Only(&[Engine]),
    a_stranger_in_the_swarm_is_named: Findings,
    a_swarm_is_not_founded_while_a_server_does_not_answer: Only(&[Engine, Swarm]),
    a_swarm_on_other_ports_is_refused: Only(&[Firewall]),
    a_worker_is_promoted: Only(&[Swarm]),
    activating_waits_for_what_only_that_node_can_run: Only(&[Swarm]),
    an_ipv6_cluster_leaves_room_for_the_longer_header: Only(&[Swarm]),
    an_ipv6_kernel_without_esp6_is_refused: Only(&[Machine]),
    an_old_engine_is_replaced_before_it_leaks: Only(&[Engine]),
    an_old_engine_on_another_port_is_refused: Only(&[Engine]),
    an_open_ingress_in_use_is_refused: Findings,
    an_open_ingress_is_made_again: Only(&[Swarm]),
    an_opening_for_an_interface_that_is_public_no_more_goes: Only(&[Firewall]),
    an_operator_in_a_tunnel_is_refused: Only(&[Firewall]),
    an_operator_in_a_tunnel_that_is_let_in_may_apply: Only(&[Firewall]),
    an_ubuntu_kernel_gets_its_extra_modules: Only(&[Machine]),
    an_unknown_path_mtu_is_the_routes: Only(&[Swarm]),
    bookworm_marks_with_u32: Only(&[Machine]),
    bookworm_moves_to_dockers_packages_in_one_go: Only(&[Engine]),
    cloud_init_that_rewrites_hosts_is_named: Only(&[Machine]),
    disruptions_go_one_by_one_and_the_founder_is_last: Whole,
    engines_that_cannot_talk_are_made_alike: Only(&[Engine]),
    engines_that_cannot_talk_are_refused: Only(&[Engine]),
    files_that_cannot_be_written_are_named_where_they_would_be: Findings,
    of_those_who_do_not_answer_only_members_are_labelled: Only(&[Swarm]),
    rules_of_others_in_docker_user_are_kept_in_order: Only(&[Firewall]),
    rules_of_others_in_docker_user_are_removed_by_name: Only(&[Firewall]),
    rules_of_others_in_front_are_named: Findings,
    rules_that_cannot_be_read_are_refused: Findings,
    silent_engines_found_no_second_swarm: Only(&[Engine, Swarm]),
    slow_links_are_named: Findings,
    the_data_of_a_lost_swarm_founds_no_other: Only(&[Engine, Swarm]),
    the_engine_moves_to_dockers_packages: Only(&[Engine]),
    the_manuals_own_apt_source_is_taken_away: Only(&[Engine]),
    the_users_own_engine_keys_stay: Only(&[Engine]),
    tunnels_in_somebody_elses_network_or_port_are_refused: Findings,
    shared_files_are_served_in_the_tunnels_alone: Only(&[Storage]),
    tunnels_that_are_written_are_made_behind_the_firewall: Only(&[Firewall, Tunnel]),
    tunnels_without_a_network_are_proposed_one_that_is_free: Findings,
    tunnels_without_addresses_are_proposed: Findings,
    what_a_living_swarms_pool_and_bridges_hide_is_named: Findings,
    what_could_not_be_put_back_is_named: Findings,
    what_keeps_an_engine_from_starting_or_from_the_swarm_is_refused: Findings,
    what_the_firewall_would_take_from_containers_and_programs_is_named: Findings,
    what_the_firewall_would_take_from_services_is_named: Only(&[Firewall, Swarm]),
    who_is_root_by_the_group_and_not_named_is_told: Only(&[Engine]),
}
