//! `docker stack deploy` and its like: the command line, and the directory that it reads a stack from.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use enxame_core::areas::stacks::Bundle;

use crate::actuate::ActuateError;
use crate::host::{Command, Host};

/// Below it is memory, which a power cut forgets: a stack's files may hold secrets.
const PLACE: &str = "/run";
/// A registry far away is asked for each image.
const DEPLOY: Duration = Duration::from_secs(10 * 60);
const LOG: Duration = Duration::from_secs(20);
/// How much of what a task wrote is told.
const LOG_LINES: &str = "20";

/// A directory of root's alone that is gone with this value.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn make() -> Result<Self, ActuateError> {
        Self::below(Path::new(PLACE))
    }

    pub(super) fn below(place: &Path) -> Result<Self, ActuateError> {
        // It is made for its owner alone.
        let path = nix::unistd::mkdtemp(&place.join("enxame-stack-XXXXXX"));
        path.map(Self).map_err(|errno| system("make a directory for the stack's files", errno.into()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a stack's files into it.
    pub(super) fn unpack(&self, bundle: &Bundle) -> Result<(), ActuateError> {
        for (name, content) in &bundle.files {
            let relative = Path::new(name);
            let is_below = relative.components().all(|part| matches!(part, Component::Normal(_)));
            if name.is_empty() || !is_below {
                let message = format!("the stack's file `{name}` is not below its directory");
                return Err(ActuateError::wrong(message, "this is a defect of enxame"));
            }
            let path = self.0.join(relative);
            let write = || {
                if let Some(directory) = path.parent() {
                    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
                }
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                file.write_all(&content.0)
            };
            write().map_err(|source| system(&format!("write the stack's file {name}"), source))?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left of it is in memory, and root's alone.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn system(attempt: &str, source: std::io::Error) -> ActuateError {
    ActuateError::System { attempt: attempt.to_owned(), source }
}

/// Runs `docker stack deploy` for a stack that was unpacked, against an engine's socket; what it says on its standard error, one
/// text for each paragraph.
pub(super) fn deploy(
    host: &dyn Host,
    bundle: &Bundle,
    directory: &Path,
    socket: &Path,
) -> Result<Vec<String>, ActuateError> {
    let mut argv = vec!["docker".to_owned(), "stack".to_owned(), "deploy".to_owned()];
    for file in &bundle.compose {
        // Paths in it are relative to the file, and the first one's directory is that of all.
        argv.extend(["--compose-file".to_owned(), directory.join(file).display().to_string()]);
    }
    argv.push("--with-registry-auth".to_owned());
    if knows_detach(host)? {
        argv.push("--detach=true".to_owned());
    }
    argv.push(bundle.stack.to_string());
    let mut command = Command::new(argv).within(DEPLOY);
    command.environment =
        bundle.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    // The last one of a name counts.
    let command = command.with("DOCKER_HOST", &format!("unix://{}", socket.display()));
    let command = [("PATH", crate::host::PATH), ("HOME", "/root"), ("LC_ALL", "C.UTF-8")]
        .into_iter()
        .fold(command, |command, (name, value)| command.with(name, value));
    let finished = host.run(&command)?;
    let told = |text: &str| text.replace(&format!("{}/", directory.display()), "");
    if finished.succeeded() {
        let words = told(&finished.stderr);
        let paragraphs =
            words.split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        return Ok(paragraphs.filter(|text| !text.is_empty()).collect());
    }
    // What it warns of stands before it, in paragraphs of their own.
    let words = told(&finished.stderr);
    let last = words.trim_end().rsplit("\n\n").next().unwrap_or_default();
    let last = last.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = if last.is_empty() { finished.status_text() } else { last };
    let message = format!("docker refuses the stack {}: {said}", bundle.stack);
    Err(ActuateError::wrong(message, ""))
}

/// Whether the command can be told not to wait (from 26.0 on, where waiting is to become the default).
fn knows_detach(host: &dyn Host) -> Result<bool, ActuateError> {
    let help = host.run_ok(&Command::new(["docker", "stack", "deploy", "--help"]))?;
    Ok(help.contains("--detach"))
}

/// Runs `docker stack rm`.
pub(super) fn remove(host: &dyn Host, stack: &str) -> Result<(), ActuateError> {
    host.run_ok(&Command::new(["docker", "stack", "rm", stack]).within(DEPLOY))?;
    Ok(())
}

/// The last lines that a task wrote, wherever it runs.
pub(crate) fn task_log(host: &dyn Host, task: &str) -> Result<Vec<String>, ActuateError> {
    let command = ["docker", "service", "logs", "--raw", "--no-trunc", "--tail", LOG_LINES, task];
    let finished = host.run(&Command::new(command).within(LOG))?;
    if !finished.succeeded() {
        return Err(ActuateError::wrong(format!("docker tells no log: {}", finished.last_words()), ""));
    }
    // What it wrote to either.
    Ok([finished.stdout.lines(), finished.stderr.lines()].into_iter().flatten().map(str::to_owned).collect())
}
