//! What `docker stack deploy` would write of a stack, and what of it runs.

use std::collections::BTreeMap;
use std::path::Path;

use enxame_core::areas::stacks::{Bundle, Conversion};
use serde_json::Value;

use super::command::{self, Scratch};
use super::recorder::Recorder;
use crate::actuate::ActuateError;
use crate::host::Host;

/// The label by which Docker knows what belongs to a stack.
pub(super) const NAMESPACE: &str = "com.docker.stack.namespace";

/// Asks the node's own command line, which gets to read and not to write.
pub(crate) fn convert(host: &dyn Host, bundle: &Bundle) -> Result<Conversion, ActuateError> {
    let scratch = Scratch::make()?;
    scratch.unpack(bundle)?;
    let place = Scratch::below(scratch.path())?;
    let recorder = Recorder::start(&place.path().join("docker.sock"), host.engine_socket())
        .map_err(|source| ActuateError::System { attempt: "listen for docker".to_owned(), source })?;
    let said = command::deploy(host, bundle, scratch.path(), recorder.socket())?;
    let writes = recorder.end();
    let engine = host.engine_socket();
    let of_the_stack = format!("?filters=%7B%22label%22%3A%5B%22{NAMESPACE}%3D{}%22%5D%7D", bundle.stack);
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let networks = listed(engine, "/networks")?;
    let networks: BTreeMap<String, String> =
        networks.iter().filter_map(|network| Some((text(network, "Id")?, text(network, "Name")?))).collect();
    Ok(Conversion {
        stack: bundle.stack.clone(),
        writes,
        said,
        services: listed(engine, &format!("/services{of_the_stack}"))?,
        configs: listed(engine, &format!("/configs{of_the_stack}"))?,
        networks,
    })
}

fn listed(engine: &Path, path: &str) -> Result<Vec<Value>, ActuateError> {
    let answer = super::recorder::get(engine, path)
        .map_err(|source| ActuateError::System { attempt: format!("ask the engine for {path}"), source })?;
    Ok(serde_json::from_slice::<Vec<Value>>(&answer)?)
}
