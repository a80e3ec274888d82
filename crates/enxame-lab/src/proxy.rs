//! The package proxy: the only thing from outside that the laboratory's Internet can reach.
//!
//! A caching proxy of the laboratory's own (apt-cacher-ng) runs on the machine's network, on loopback; a relay
//! listens on the operator's address in the laboratory and connects to it. Images are built through it as
//! well, so packages are fetched once; what `scripts/docker-repository` made is served under `/docker`. Invariant:
//! there is no route, only these relayed connections.

use std::{
    fmt::Write as _,
    fs, io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    home::{Home, replace_file},
    network,
    process::Process,
    record::{Record, runtime_file},
    tool::{Tool, last_lines},
    topology::{Namespace, OPERATOR, PROXY_PORT},
};

const START_DEADLINE: Duration = Duration::from_secs(10);
/// The cache takes a port above 32,767 for none at all.
const PORTS: std::ops::Range<u16> = 13_142..13_242;
const CACHE: &str = "package-cache";
const RELAY: &str = "package-relay";

/// What apt is told.
pub(crate) fn address() -> String {
    format!("http://{OPERATOR}:{PROXY_PORT}")
}

/// Starts both halves unless both run. They are in the record afterwards.
pub(crate) fn ensure(home: &Home, record: &mut Record) -> Result<()> {
    if [CACHE, RELAY].iter().all(|name| record.helpers.get(*name).is_some_and(|process| process.is_alive())) {
        return Ok(());
    }
    record.helpers.values().try_for_each(|process| process.end())?;
    let port = free_port()?;
    record.helpers.insert(CACHE.to_owned(), start_cache(home, port)?);
    record.write()?;
    await_port(home, record, CACHE, move || Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?))?;
    let relay =
        Tool::new(std::env::current_exe()?).args(["relay", &port.to_string()]).detach(&home.log(RELAY))?;
    record.helpers.insert(RELAY.to_owned(), relay);
    record.write()?;
    await_port(home, record, RELAY, || {
        network::within(Namespace::Operator, || Ok(TcpStream::connect((OPERATOR, PROXY_PORT))?))
    })
}

/// Passes connections on until it is ended: accepted in the laboratory, made on the machine's network.
pub(crate) fn relay(port: u16) -> Result<()> {
    // A socket stays in the namespace that it was made in, whoever uses it.
    let listener = network::within(Namespace::Operator, || {
        TcpListener::bind((OPERATOR, PROXY_PORT))
            .with_context(|| format!("cannot listen on {OPERATOR}:{PROXY_PORT}"))
    })?;
    for client in listener.incoming() {
        let client = client.context("cannot accept a connection")?;
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("the package cache is gone")?;
        pass_on(client.try_clone()?, server.try_clone()?);
        pass_on(server, client);
    }
    Ok(())
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // Either end may break off at any time; the other then learns it by the end of its stream.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

fn start_cache(home: &Home, port: u16) -> Result<Process> {
    let (packages, configuration) = (home.inner("apt-cache"), home.inner("apt-cacher-ng"));
    fs::create_dir_all(&packages).with_context(|| format!("cannot create {}", packages.display()))?;
    let mut settings = format!(
        "CacheDir: {}\nLogDir: {}\nSocketPath: {}\nSupportDir: /usr/lib/apt-cacher-ng\nBindAddress: {}\nPort: {port}\n\
         ForeGround: 1\nVerboseLog: 0\nExThreshold: 30\nLocalDirs: docker {}\n",
        packages.display(),
        home.inner("log").display(),
        // Without one of its own it takes away that of the machine's own cache.
        runtime_file("package-cache.socket").display(),
        Ipv4Addr::LOCALHOST,
        home.inner("docker-repository").display(),
    );
    if let Some(upstream) = machine_proxy()? {
        writeln!(settings, "Proxy: {upstream}")?;
    }
    replace_file(&configuration.join("acng.conf"), settings.as_bytes())?;
    Tool::new("apt-cacher-ng").arg("-c").arg(&configuration).detach(&home.log(CACHE))
}

/// The proxy that the machine itself needs to reach its mirror.
fn machine_proxy() -> Result<Option<String>> {
    let dump = Tool::new("apt-config").args(["dump", "Acquire::http::Proxy"]).run()?;
    Ok(dump.split('"').nth(1).filter(|value| value.starts_with("http")).map(str::to_owned))
}

fn free_port() -> Result<u16> {
    PORTS
        .into_iter()
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no free port on loopback for the package cache")
}

fn await_port(
    home: &Home,
    record: &Record,
    name: &str,
    connect: impl Fn() -> Result<TcpStream>,
) -> Result<()> {
    let since = Instant::now();
    while connect().is_err() {
        let runs = record.helpers.get(name).is_some_and(|process| process.is_alive());
        if !runs || since.elapsed() > START_DEADLINE {
            let log = fs::read_to_string(home.log(name)).unwrap_or_default();
            bail!("{name} did not start: {}\nhint: see {}", last_lines(&log, 8), home.log(name).display());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
