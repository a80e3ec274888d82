//! A small Internet on this machine: an operator and servers with a real sshd, each with its own network, processes, host
//! name, accounts, `/etc`, `/run` and `/var`. Nothing of it touches this machine, and it ends with the test.
//!
//! What runs there must change nothing: the kernel and the installed programs are this machine's.

use std::fmt::{self, Write as _};
use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Uid;

/// Set in the half of a test that runs in its own namespaces.
const INSIDE: &str = "ENXAME_TEST_INSIDE_NAMESPACE";
const OPERATOR: &str = "203.0.113.1";
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes a process a server: its own files, accounts that only keys log in to, and sshd. `$1` is a directory for what it
/// writes, `$2` its name, `$3` where keys are, `$4` what else it is to be.
const BECOME_A_SERVER: &str = r#"set -eu
mount -t tmpfs tmpfs "$1"
for place in etc var; do
    mkdir -p "$1/$place/upper" "$1/$place/work"
    mount -t overlay -o "lowerdir=/$place,upperdir=$1/$place/upper,workdir=$1/$place/work" "$place" "/$place"
done
for place in /home /root /run; do
    mount -t tmpfs tmpfs "$place"
done
mkdir /run/sshd
hostname "$2"
echo "$2" >/etc/hostname
echo "127.0.0.1 localhost $2" >/etc/hosts
# The Debian that enxame is for, whatever the tests run on.
rm -f /etc/os-release
printf '%s\n' 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"' ID=debian VERSION_ID=13 VERSION_CODENAME=trixie >/etc/os-release
sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow
mkdir /etc/keys
key=$3/id.pub
cp "$key" /etc/keys/root
id=2000
# An account, by its name and its login shell.
account() {
    id=$((id + 1))
    echo "$1:x:$id:$id::/home/$1:$2" >>/etc/passwd
    echo "$1:x:$id:" >>/etc/group
    echo "$1:*:20000:0:99999:7:::" >>/etc/shadow
    mkdir "/home/$1"
    cp "$key" "/etc/keys/$1"
}
mkdir -p /etc/sudoers.d
# What an account may do by sudo.
sudoer() { echo "$1 $2" >"/etc/sudoers.d/$1"; }
account nosudo /bin/sh
account admin /bin/sh
sudoer admin 'ALL=(ALL:ALL) NOPASSWD: ALL'
cp "$3/host_key" /etc/host_key
chmod 0600 /etc/host_key
cat >/etc/sshd.conf <<CONFIG
HostKey /etc/host_key
AuthorizedKeysFile /etc/keys/%u
UseDNS no
PidFile none
CONFIG
eval "$4"
cat >>/etc/sshd.conf <<CONFIG
Match all
PasswordAuthentication no
KbdInteractiveAuthentication no
CONFIG
exec /usr/sbin/sshd -D -e -f /etc/sshd.conf
"#;

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {:?}\n{}\n{}", self.code, self.stdout, self.stderr)
    }
}

/// The operator's place, with a directory for its files.
pub(crate) struct World {
    directory: tempfile::TempDir,
    servers: Vec<Child>,
}

/// Runs a test in namespaces of its own: starts this test binary again there. Says so where that needs another account.
pub(crate) fn inside(test: &str, body: impl FnOnce(&mut World)) {
    if std::env::var_os(INSIDE).is_some() {
        return body(&mut World::new());
    }
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED {test}: a real sshd and its accounts need root");
        return;
    }
    let again = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let again = Ended::from(again.unwrap());
    assert!(again.code == Some(0) && again.stdout.contains("1 passed"), "{again}");
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let world = Self { directory, servers: Vec::new() };
        // `ip netns` keeps its names here.
        run("mount -t tmpfs tmpfs /run");
        for command in [
            "ip link set lo up",
            "ip link add internet type bridge",
            "ip addr add 203.0.113.1/24 dev internet",
            "ip link set internet up",
        ] {
            run(command);
        }
        for key in ["host_key", "id"] {
            world.new_key(key);
        }
        world.trust("host_key.pub");
        world.configure_ssh("");
        world
    }

    /// A file of the operator's.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a pair of keys; where it is.
    pub(crate) fn new_key(&self, name: &str) -> String {
        let path = self.file(name).display().to_string();
        run(&format!("ssh-keygen -q -t ed25519 -C test -N= -f {path}"));
        path
    }

    /// From now on the operator knows every server by the key in that file.
    pub(crate) fn trust(&self, key: &str) {
        let key = fs::read_to_string(self.file(key)).unwrap();
        fs::write(self.file("known_hosts"), format!("203.0.113.* {key}")).unwrap();
    }

    /// From now on the operator's `ssh_config` begins with that.
    pub(crate) fn configure_ssh(&self, settings: &str) {
        let (id, known) = (self.file("id"), self.file("known_hosts"));
        let text = format!(
            "{settings}\nHost *\n IdentityFile {}\n IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile {}\n \
             GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n ConnectTimeout 5\n",
            id.display(),
            known.display()
        );
        fs::write(self.file("ssh_config"), text).unwrap();
    }

    /// Starts a server, and waits until its sshd listens.
    pub(crate) fn server(&mut self, name: &str, address: &str) {
        self.server_with(name, address, "");
    }

    /// The same, of a server that `script` makes something of before its sshd starts.
    pub(crate) fn server_with(&mut self, name: &str, address: &str, script: &str) {
        for command in [
            format!("ip netns add {name}"),
            format!("ip link add {name} type veth peer name eth0 netns {name}"),
            format!("ip link set {name} master internet up"),
            format!("ip -n {name} link set lo up"),
            format!("ip -n {name} addr add {address}/24 dev eth0"),
            format!("ip -n {name} link set eth0 up"),
            format!("ip -n {name} route add default via {OPERATOR}"),
        ] {
            run(&command);
        }
        let scratch = self.file(name);
        fs::create_dir(&scratch).unwrap();
        let log = fs::File::create(self.file(&format!("{name}.log"))).unwrap();
        let server = Command::new("ip")
            .args(["netns", "exec", name, "unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child"])
            .args(["--mount-proc", "--", "sh", "-c", BECOME_A_SERVER, "sh"])
            .args([scratch.as_path(), Path::new(name), self.directory.path(), Path::new(script)])
            .env_remove(INSIDE)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.servers.push(server.unwrap());
        let log = || fs::read_to_string(self.file(&format!("{name}.log"))).unwrap();
        wait_until(&format!("{name} listens: {}", log()), || TcpStream::connect((address, 22)).is_ok());
    }

    /// Runs a shell command on a server, by the operator's own ssh.
    pub(crate) fn on(&self, address: &str, command: &str) -> Ended {
        let ssh = Command::new("ssh")
            .arg("-F")
            .arg(self.file("ssh_config"))
            .args(["-T", "-o", "BatchMode=yes"])
            .arg(format!("root@{address}"))
            .arg(command)
            .stdin(Stdio::null())
            .output();
        ssh.unwrap().into()
    }

    /// Writes a cluster file of these nodes; where it is.
    pub(crate) fn cluster(&self, user: &str, nodes: &[(&str, &str)]) -> PathBuf {
        let mut text = format!(
            "version: 1\ncluster: small\nssh: {{user: {user}, config_file: ssh_config, allow_from: [{OPERATOR}]}}\n\
             engine: {{source: distribution}}\nnodes:\n"
        );
        for (name, address) in nodes {
            writeln!(text, "  - {{name: {name}, address: {address}, roles: [storage, db, proxy]}}").unwrap();
        }
        let path = self.file(&format!("cluster-{user}.yaml"));
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enxame"));
        command.current_dir(self.directory.path()).args(arguments).stdin(Stdio::null());
        command.env_remove(INSIDE).env_remove("ENXAME_CONFIG").env("NO_COLOR", "1");
        command
    }

    /// Runs enxame where the operator is.
    pub(crate) fn enxame(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).output().unwrap().into()
    }

    /// Starts enxame beside the test.
    pub(crate) fn enxame_beside(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // It may have ended by itself.
            drop(server.kill());
            drop(server.wait());
        }
    }
}

/// Runs a command at the operator's.
pub(crate) fn run(command: &str) {
    // `-N=` is how a word that is empty is written here.
    let words: Vec<&str> =
        command.split(' ').flat_map(|word| if word == "-N=" { vec!["-N", ""] } else { vec![word] }).collect();
    let (program, arguments) = words.split_first().unwrap();
    let ended = Ended::from(Command::new(program).args(arguments).output().unwrap());
    assert_eq!(ended.code, Some(0), "{command}: {ended}");
}

/// Waits until a condition holds.
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
