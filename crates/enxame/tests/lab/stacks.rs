//! What is said of stacks, against Docker's own command line.

use std::collections::BTreeMap;
use std::fmt::Write;

use enxame_core::areas::stacks::lint::{PAGES, Severity, lint};
use enxame_core::areas::stacks::{ComposeFile, Environment};

use crate::support::{applied, on_node};

/// The rules for what `docker stack deploy` does not even read.
const UNREADABLE: [&str; 3] = ["unknown-key", "wrong-type", "unset-variable"];

fn is_refused(text: &str) -> bool {
    let file = ComposeFile::parse("x.yaml", text, &Environment::Known(BTreeMap::new())).unwrap();
    let mut found = lint(&[file], None).into_iter();
    found.any(|finding| finding.severity == Severity::Error && UNREADABLE.contains(&finding.code))
}

#[test]
fn docker_refuses_every_example_that_lint_says_it_refuses_and_no_other() {
    applied();
    let examples: Vec<&str> =
        PAGES.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert!(examples.len() > 80);
    let mut command = "cd $(mktemp -d)\n".to_owned();
    for (number, text) in examples.iter().enumerate() {
        write!(command, "cat >{number}.yaml <<'EXAMPLE'\n{text}EXAMPLE\n").unwrap();
    }
    command += "for file in $(ls | sort -n); do docker stack config -c $file >/dev/null 2>&1 || echo ${file%.yaml}; done";
    let by_docker = on_node("kvm2-manager", &command);
    let by_docker: Vec<&str> =
        by_docker.lines().map(|number| examples[number.parse::<usize>().unwrap()]).collect();
    let by_lint: Vec<&str> = examples.iter().copied().filter(|text| is_refused(text)).collect();
    assert!(by_lint.len() >= 2, "{by_lint:?}");
    assert_eq!(by_docker, by_lint);
}
