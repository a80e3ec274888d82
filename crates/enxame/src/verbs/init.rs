//! `enxame init`: a look at servers becomes a first cluster.yaml.

use anyhow::bail;
use enxame_core::facts::FactsQuery;
use enxame_core::proposal::{self, Candidate};
use enxame_core::protocol::{Reply, Request};

use crate::cli::InitArgs;
use crate::fleet::{QUICK_DEADLINE, causes};
use crate::transport::{Agent, Channel, OwnBinary, Sharing, Target, TransportError};
use crate::{Ending, output};

pub(super) async fn init(arguments: &InitArgs) -> anyhow::Result<Ending> {
    let own = OwnBinary::read()?;
    let looking = arguments.hosts.iter().map(|word| {
        let own = &own;
        async move {
            let (user, host) =
                word.rsplit_once('@').map_or((None, word.as_str()), |(user, host)| (Some(user), host));
            let target = Target {
                host: host.to_owned(),
                user: user.map(str::to_owned),
                port: None,
                config_file: arguments.ssh_config.clone(),
            };
            let agent =
                Agent::connect(&target, Sharing::Allowed, own).await.map_err(|error| told(word, &error))?;
            let request = Request::Gather(FactsQuery::default());
            let reply = agent
                .request(&request, QUICK_DEADLINE, &mut |_| ())
                .await
                .map_err(|error| told(word, &error))?;
            agent.close().await;
            match reply {
                Reply::Facts(facts) => {
                    Ok(Candidate { host: host.to_owned(), user: user.map(str::to_owned), facts: *facts })
                }
                _ => bail!("{word}: the agent answered out of turn"),
            }
        }
    });
    let candidates = futures::future::try_join_all(looking).await?;
    let ssh_config = arguments.ssh_config.as_ref().map(std::fs::canonicalize).transpose()?;
    output::text(&proposal::propose(&candidates, ssh_config.as_deref())?)?;
    Ok(Ending::Done)
}

fn told(host: &str, error: &TransportError) -> anyhow::Error {
    let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    anyhow::anyhow!("{host}: {}{hint}", causes(error))
}
