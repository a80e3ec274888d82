//! What the `ssh` that `enxame` starts is given.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// The user's own `ssh` may start anything (`ProxyCommand`) and send variables on (`SendEnv`).
#[test]
fn the_providers_token_is_not_handed_to_ssh_and_the_users_own_environment_is() {
    let directory = tempfile::tempdir().unwrap();
    let ssh = directory.path().join("ssh");
    fs::write(&ssh, "#!/bin/sh\nenv >\"$ENXAME_TEST_OUT\"\nexit 255\n").unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let seen = directory.path().join("environment");
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let output = Command::new(env!("CARGO_BIN_EXE_enxame"))
        .args(["init", "kvm2"])
        .env("PATH", path)
        .env("ENXAME_TEST_OUT", &seen)
        .env("HOSTINGER_API_TOKEN", "very-secret")
        .env("SSH_AUTH_SOCK", "/run/agent")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && told.contains("ssh could not connect"), "{told}");
    let environment = fs::read_to_string(seen).unwrap();
    assert!(environment.contains("SSH_AUTH_SOCK=/run/agent"), "{environment}");
    assert!(!environment.contains("very-secret"), "{environment}");
}
