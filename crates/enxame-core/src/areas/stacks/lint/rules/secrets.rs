//! What nobody is to read.

use serde_saphyr::Location;

use super::super::{Found, Scope};

/// A password in the file, in the service's entry and in every `docker inspect`.
pub(super) fn plain_secret(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        for pair in service.pairs(&["environment"]) {
            let Some(value) = pair.value.as_deref().filter(|value| !value.is_empty()) else { continue };
            let is_elsewhere = pair.name.ends_with("_FILE") || value.starts_with('/');
            // What the environment gives is in no file; it is in the service's entry all the same.
            let is_truth = matches!(
                value.to_lowercase().as_str(),
                "true" | "false" | "yes" | "no" | "on" | "off" | "0" | "1"
            );
            if is_elsewhere || is_truth || !sounds_secret(&pair.name) {
                continue;
            }
            found.of(
                service,
                pair.at,
                format!("{} is readable to whoever may read this file or the service", pair.name),
                format!("a secret, and where the image knows it {}_FILE: /run/secrets/NAME", pair.name),
            );
        }
    }
}

/// Whether a variable of that name holds what nobody is to read.
pub(in crate::areas::stacks) fn sounds_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    ["PASSWORD", "PASSWD", "PASSPHRASE"].iter().any(|word| name.contains(word))
        || [
            "SECRET",
            "SECRET_KEY",
            "TOKEN",
            "API_KEY",
            "APIKEY",
            "PRIVATE_KEY",
            "ACCESS_KEY",
            "ENCRYPTION_KEY",
        ]
        .iter()
        .any(|word| name == *word || name.ends_with(&format!("_{word}")))
}

/// A secret or config of a file: when the file changes, deploying fails.
pub(super) fn unversioned_secret(scope: &Scope<'_>, found: &mut Found<'_>) {
    for (section, kind) in [("secrets", "secret"), ("configs", "config")] {
        for (key, node) in scope.file.section(section) {
            let has_version = node.get("name").is_some_and(|name| {
                name.is_unknown() || name.written().is_some_and(|name| ends_in_digit(&name))
            });
            if node.get("file").is_some() && !has_version {
                say(found, key.at, kind, &key.name);
            }
        }
    }
}

fn ends_in_digit(name: &str) -> bool {
    name.ends_with(|one: char| one.is_ascii_hexdigit() || one == '}')
        && name.contains(|one: char| one.is_ascii_digit())
}

fn say(found: &mut Found<'_>, at: Location, kind: &str, name: &str) {
    found.at(
        at,
        format!("the {kind} {name} can never change: Docker refuses to deploy it with another content"),
        format!("give it a name with a version, `name: {name}_v1`, and count it up with the content"),
    );
}
