//! A stack's files and variables, as the operator has them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use enxame_core::areas::stacks::{Bundle, Content, Environment, own_variables};
use enxame_core::config::{Config, StackConfig};

use super::lint;
use crate::config_file::directory_of;

/// More than swarmkit takes of any secret or config.
const LONGEST_FILE: u64 = 1 << 20;

/// The variables that a stack is deployed with: what enxame tells it, then the environment, then its own file.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn environment(
    config: &Config,
    path: &Path,
    stack: Option<&StackConfig>,
) -> anyhow::Result<Environment> {
    Ok(Environment::Known(variables(config, path, stack)?))
}

fn variables(
    config: &Config,
    path: &Path,
    stack: Option<&StackConfig>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    if let Some(file) = stack.and_then(|stack| stack.env_file.as_ref()) {
        let file = directory_of(path).join(file);
        let name = file.display();
        let read = dotenvy::from_path_iter(&file).with_context(|| format!("cannot read {name}"))?;
        for one in read {
            // The crate's own words have the line, and so perhaps a password.
            let Ok((name, value)) = one else {
                bail!(
                    "{name} has a line that sets no variable\nhint: `NAME=value`; quote what has blanks or `#`"
                );
            };
            variables.insert(name, value);
        }
    }
    // Docker reads the environment that it is started in; what is not a text is none of a stack's.
    variables.extend(
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    );
    variables.extend(own_variables(config));
    Ok(variables)
}

/// Everything that `docker stack deploy` reads of a stack.
///
/// # Errors
/// A file that cannot be read, is too long, or is not below the compose file's directory.
pub(super) fn bundle(config: &Config, path: &Path, stack: &StackConfig) -> anyhow::Result<Bundle> {
    let variables = variables(config, path, Some(stack))?;
    let file = directory_of(path).join(&stack.file);
    let compose = lint::read(&file, &Environment::Known(variables.clone()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut files: BTreeMap<String, Content> = [(name.clone(), content(&file)?)].into();
    let directory = directory_of(&file);
    for written in compose.files() {
        let Some(relative) = below(&written) else {
            bail!(
                "{} reads `{written}`, which is not below its directory\nhint: put it there: only that goes to the manager",
                file.display()
            );
        };
        files.insert(relative.display().to_string(), content(&directory.join(&relative))?);
    }
    let wanted = compose.variables();
    let environment = variables.into_iter().filter(|(name, _)| wanted.contains(name)).collect();
    Ok(Bundle { stack: stack.name.clone(), compose: vec![name], files, environment })
}

/// A path without its dots; `None` where it leads elsewhere.
fn below(written: &str) -> Option<PathBuf> {
    let parts = Path::new(written).components().filter(|part| *part != Component::CurDir);
    let parts: Option<PathBuf> =
        parts.map(|part| matches!(part, Component::Normal(_)).then_some(part)).collect();
    parts.filter(|path| !path.as_os_str().is_empty())
}

fn content(path: &Path) -> anyhow::Result<Content> {
    let name = path.display();
    let about = fs::metadata(path).with_context(|| format!("cannot read {name}"))?;
    if !about.is_file() || about.len() > LONGEST_FILE {
        bail!(
            "{name} is no file of at most {} KiB\nhint: Docker's limit for a config is 1000 KiB, for a secret 500 KiB",
            LONGEST_FILE >> 10
        );
    }
    Ok(Content(fs::read(path).with_context(|| format!("cannot read {name}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_goes_to_the_manager() {
        assert_eq!(below("./conf/haproxy.cfg"), Some(PathBuf::from("conf/haproxy.cfg")));
        for elsewhere in ["../x", "a/../../x", "/etc/passwd", "", "."] {
            assert_eq!(below(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_stack_gets_the_variables_that_it_has_and_the_files_that_it_reads() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "shop/web.yaml",
            "services:\n  web:\n    image: ${IMAGE}\n    environment: [FROM_OUTSIDE, A=1]\n    env_file: ./web.env\n\
              configs: {page: {file: conf/page.html, name: 'page_${VERSION:-1}'}}\n",
        );
        write("shop/web.env", "A=1\n");
        write("shop/conf/page.html", "\u{fc}");
        write("shop.env", "IMAGE='nginx:1.29 #not'\nFROM_OUTSIDE=2\nOTHER=3\nENXAME_NETWORK=mine\n");
        write(
            "cluster.yaml",
            "version: 1\ncluster: lab\nstacks: [{file: shop/web.yaml, env_file: shop.env}]\n\
               nodes: [{name: a, address: 203.0.113.12}]\n",
        );
        let path = directory.path().join("cluster.yaml");
        let config = crate::config_file::load(&path).unwrap();
        let made = bundle(&config, &path, &config.stacks[0]).unwrap();
        assert_eq!(made.stack.as_str(), "web");
        let files: Vec<&str> = made.files.keys().map(String::as_str).collect();
        assert_eq!(files, ["conf/page.html", "web.env", "web.yaml"]);
        assert_eq!(made.files["conf/page.html"].0, "\u{fc}".as_bytes());
        let expected = [("FROM_OUTSIDE", "2"), ("IMAGE", "nginx:1.29 #not")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(made.environment, expected.into());
        // Its own is not what somebody else says it is.
        let all = variables(&config, &path, Some(&config.stacks[0])).unwrap();
        assert_eq!(all["ENXAME_NETWORK"], "swarm-secure-net");

        write("shop.env", "IMAGE=x\nPASS WORD=geheim\n");
        let told = format!("{:#}", bundle(&config, &path, &config.stacks[0]).unwrap_err());
        assert!(
            told.contains("shop.env has a line that sets no variable") && !told.contains("geheim"),
            "{told}"
        );
    }
}
