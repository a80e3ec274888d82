//! Configurations that are refused before any server is asked: with the place, what is wrong and what to do.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::process::{Command, Output};

/// Nobody is there: whoever asked would fail in another way (RFC 5737).
const CLUSTER: &str = "version: 1\ncluster: lab\nssh: {allow_from: [198.51.100.7]}\nnodes:\n\
                       \x20 - {name: kvm2, address: 192.0.2.12}\n";

fn enxame(verb: &str, more: &str, files: &[(&str, &str)]) -> Output {
    enxame_with(&[verb], more, files)
}

fn enxame_with(arguments: &[&str], more: &str, files: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    fs::write(directory.path().join("cluster.yaml"), CLUSTER.to_owned() + more).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_enxame"));
    command
        .current_dir(directory.path())
        .args(arguments)
        .env("NO_COLOR", "1")
        .env_remove("HOSTINGER_API_TOKEN");
    command.output().unwrap()
}

fn refusal(more: &str, files: &[(&str, &str)]) -> String {
    let output = enxame("plan", more, files);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8(output.stdout).unwrap().as_str()),
        (Some(1), ""),
        "{told}"
    );
    told
}

#[test]
fn what_is_no_network_is_refused_with_its_place() {
    let told = refusal("firewall: {openings: [{protocol: tcp, port: 9100, from: [10.0.0.0/33]}]}\n", &[]);
    assert!(told.contains("cluster.yaml:6:58: `10.0.0.0/33` is neither an address nor a network"), "{told}");
    let told = refusal("firewall: {openings: [{protocol: tcp, port: 9100, from: [198.51.100.7/24]}]}\n", &[]);
    assert!(told.contains("did you mean 198.51.100.0/24, or the single address 198.51.100.7?"), "{told}");
}

#[test]
fn a_public_port_that_no_stack_declares_is_refused_with_its_place() {
    let web = ("web.yaml", "services:\n  web:\n    image: nginx:alpine\n    ports: ['443:443']\n");
    let more = "stacks: [web.yaml]\nfirewall: {public_ports: [443, 8443]}\n";
    let told = refusal(more, &[web]);
    assert!(
        told.contains("cluster.yaml:7:32: port 8443 is open to everybody, and no stack publishes it"),
        "{told}"
    );
    let missing = refusal("stacks: [web.yaml]\n", &[]);
    assert!(missing.contains("cannot read web.yaml, which `stacks` names"), "{missing}");
    let broken = refusal("stacks: [web.yaml]\n", &[("web.yaml", "services: {web: {ports: ['x:80']}}\n")]);
    assert!(broken.contains("web.yaml:1:26: this is not a port that Docker publishes"), "{broken}");

    // The same file without the port, and the matrix of the edge is printed.
    let matrix = enxame("edge", "stacks: [web.yaml]\nfirewall: {public_ports: [443]}\n", &[web]);
    assert_eq!(matrix.status.code(), Some(0), "{matrix:?}");
    assert!(String::from_utf8(matrix.stdout).unwrap().contains("443"));
}

#[test]
fn an_edge_without_a_token_is_refused_before_anything_is_asked() {
    let told = refusal("firewall: {edge: {provider: hostinger}}\n", &[]);
    assert!(told.contains("HOSTINGER_API_TOKEN"), "{told}");
}

#[test]
fn evidence_that_cannot_be_written_is_said_before_a_run_of_minutes() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("cluster.yaml"), CLUSTER).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_enxame"))
        .current_dir(directory.path())
        .args(["verify", "--evidence", "no/such/place.json"])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot write no/such/place.json"), "{told}");
}

#[test]
fn what_a_file_says_cannot_drive_the_terminal() {
    // A snippet's neighbouring line, a message's quotation, and an escape that only YAML makes one of.
    let web =
        "services:\n  web: # \u{9b}2J\u{202e}\u{1b}]52;c;cm0gLXJm\u{7}\n    ports: [\"x:80\"] # \u{1b}[1A\n";
    for (more, web) in [
        ("stacks: [web.yaml]\n", web),
        // The reader stops at the place, and what is behind it is shown unread.
        ("stacks: [web.yaml]\n", "services: [web]\n# \u{1b}]52;c;cm0gLXJm\u{7}\u{9b}2J\n"),
        ("stacks: [web.yaml]\n", "services: {web: {ports: [x]}} # \u{202e}\u{85}\r\n"),
        ("stacks: [web.yaml]\n", "services: \"\\e[2J\"\n"),
        ("firewall: {mesh: \"\\e[2J\\nhint: run this\"}\n", ""),
        ("firewall: {openings: [{protocol: tcp, port: 9100, from: [\"\\e[2J\"]}]}\n", ""),
        ("\"\\e[2J\": 1\n", ""),
        ("stacks: [\"\\e[2J.yaml\"]\n", ""),
    ] {
        let told = refusal(more, &[("web.yaml", web)]);
        let drives = |one: char| one != '\n' && (one.is_control() || one == '\u{202e}');
        assert!(!told.contains(drives) && !told.contains("\nhint: run"), "{told:?}");
    }
}

#[test]
fn the_place_is_marked_behind_characters_that_are_not_shown_as_they_are() {
    let told = refusal(
        "stacks: [web.yaml]\n",
        &[("web.yaml", "# \u{202e}\u{85}\r\nservices: {web: {ports: ['x:80']}}\r\n")],
    );
    let lines: Vec<&str> = told.lines().collect();
    let at = lines.iter().position(|line| line.contains("services:")).unwrap();
    let quoted = lines[at].chars().position(|one| one == '\'').unwrap();
    let marked = lines[at + 1].chars().position(|one| "─-┬|^".contains(one)).unwrap();
    assert_eq!(quoted, marked, "{told}");
}

#[test]
fn every_verb_that_reads_the_file_checks_it_against_the_stacks() {
    let web = ("web.yaml", "services: {web: {ports: ['443:443']}}\n");
    for verb in ["check", "plan", "apply", "status", "verify", "edge"] {
        let output = enxame(verb, "stacks: [web.yaml]\nfirewall: {public_ports: [443, 8443]}\n", &[web]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{verb}: {told}");
        assert!(told.contains("cluster.yaml:7:32: port 8443 is open to everybody"), "{verb}: {told}");
    }
}

#[test]
fn the_default_public_ports_need_no_stack_that_publishes_them() {
    let database = ("db.yaml", "services: {db: {image: postgres}}\n");
    let matrix = enxame("edge", "stacks: [db.yaml]\n", &[database]);
    assert_eq!(matrix.status.code(), Some(0), "{matrix:?}");
}

#[test]
fn the_port_of_verifys_service_is_refused_with_its_place() {
    let told = refusal("firewall: {public_ports: [443, 29877]}\n", &[]);
    assert!(
        told.contains("cluster.yaml:6:32: port 29877 is kept for the service that `verify` publishes"),
        "{told}"
    );
    assert!(told.contains("publish yours on another port"), "{told}");
}

#[test]
fn stacks_are_judged_against_the_cluster_and_without_asking_it() {
    let text = "services:\n  web:\n    image: nginx:1.29\n    deploy: {placement: {constraints: [node.role == worker]}}\n";
    let files = [("web.yaml", text), ("\u{1b}[2Jx.yaml", "services: {web: {image: \"\\e[2J\"}}\n")];
    let lint = |more: &str, arguments: &[&str]| {
        let output = enxame_with(&[&["stack", "lint"], arguments].concat(), more, &files);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, found) = lint("stacks: [web.yaml]\n", &[]);
    assert_eq!(code, Some(3), "{found}");
    assert!(found.contains("web.yaml:4:40: error[no-fitting-node]: web: no node meets"), "{found}");
    // The same by its name, and nothing of what is not asked for.
    assert_eq!(lint("", &["web.yaml"]), (Some(3), found));
    let (code, json) = lint("stacks: [web.yaml]\n", &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json[0]["file"]), (Some(3), &serde_json::json!("web.yaml")));
    // What a file says does not drive the terminal.
    let (_, found) = lint("", &["\u{1b}[2Jx.yaml"]);
    assert!(found.contains("warning[floating-tag]") && !found.contains('\u{1b}'), "{found}");
}

#[test]
fn every_rule_has_a_page() {
    let page = enxame_with(&["explain", "unpinned-volume"], "", &[]);
    assert!(String::from_utf8(page.stdout).unwrap().starts_with("## unpinned-volume\n"));
    let none = enxame_with(&["explain", "unpinned"], "", &[]);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8(none.stderr).unwrap().contains("hint: `enxame explain` prints"));
}

#[test]
fn stacks_are_named_as_cluster_yaml_names_them_before_anything_is_asked() {
    let web = ("web.yaml", "services: {web: {image: 'nginx:1.29'}}\n");
    let told = |arguments: &[&str], more: &str| {
        let output = enxame_with(arguments, more, &[web]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, words) = told(&["stack", "deploy", "--quiet"], "stacks: [web.yaml]\n");
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("<NAME>...") || words.contains("--all"), "{words}");
    let (code, words) = told(&["stack", "deploy", "--quiet", "-oProxyCommand=x"], "stacks: [web.yaml]\n");
    assert_eq!(code, Some(1), "{words}");
    let (code, words) = told(&["stack", "diff", "--quiet", "wob"], "stacks: [web.yaml]\n");
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("cluster.yaml has no stack wob") && words.contains("it has web"), "{words}");
    let (code, words) = told(&["stack", "diff", "--quiet"], "");
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("cluster.yaml has no stacks"), "{words}");
}
