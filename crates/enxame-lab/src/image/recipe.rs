//! What is in an image: a release, its packages, and the few files that make it boot fast here.
//!
//! Pure. Invariant: everything that changes the image is in [`Recipe`], so that its hash names the image.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Mirror, hex};

/// A Debian release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Release {
    /// Debian 13.
    Trixie,
    /// Debian 12.
    Bookworm,
}

/// How much is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// What a provider's minimal server has: sshd and little else.
    Bare,
    /// The same with Docker, the firewall's tools, NFS and time synchronisation installed, nothing configured.
    Prepared,
    /// A bare one with what Ubuntu's images for clouds have and Debian's lack: see [`UBUNTU_LIKE`].
    #[serde(rename = "ubuntu-like")]
    UbuntuLike,
}

/// Which image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flavour {
    pub(crate) release: Release,
    pub(crate) kind: Kind,
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Trixie => "trixie",
            Self::Bookworm => "bookworm",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bare => "bare",
            Self::Prepared => "prepared",
            Self::UbuntuLike => "ubuntu-like",
        })
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.release, self.kind)
    }
}

const BARE: &[&str] = &[
    "apparmor",
    "ca-certificates",
    "dbus",
    "e2fsprogs",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "linux-image-cloud-amd64",
    "nano",
    "netbase",
    "openssh-server",
    "procps",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tzdata",
    "udev",
];
const PREPARED: &[&str] = &[
    "containerd",
    "docker.io",
    "iptables",
    "nfs-common",
    "nfs-kernel-server",
    "nftables",
    "runc",
    "systemd-timesyncd",
    "ufw",
    "wireguard-tools",
];

/// cloud-init makes the account, the host name and the hosts file; netplan the network. The firewall's front end is there,
/// services are restarted and packages upgraded by themselves.
const UBUNTU_LIKE: &[&str] = &["cloud-init", "needrestart", "netplan.io", "ufw", "unattended-upgrades"];

/// Before the root directory is handed to systemd on a node's first boot, its own files are unpacked into it.
const SEED_SCRIPT: &str = "\
#!/bin/sh
[ \"$1\" = prereqs ] && exit 0
[ -e \"$rootmnt/etc/ssh/ssh_host_ed25519_key\" ] && exit 0
[ -e /seed.tar ] || exit 0
chroot \"$rootmnt\" tar --extract --directory / < /seed.tar
";

/// A file put into the image before packages are installed.
#[derive(Debug, Serialize)]
pub(crate) struct Extra {
    pub(crate) path: &'static str,
    pub(crate) content: &'static str,
    pub(crate) mode: u32,
}

/// The initial RAM disk holds what these virtual machines need and no more: unpacking it is emulated too.
const EXTRAS: &[Extra] = &[
    Extra { path: "etc/initramfs-tools/conf.d/lab", content: "MODULES=list\n", mode: 0o644 },
    Extra {
        path: "usr/share/initramfs-tools/modules.d/lab",
        content: "virtio_pci\nvirtio_blk\next4\n",
        mode: 0o644,
    },
    Extra { path: "etc/initramfs-tools/scripts/init-bottom/lab-seed", content: SEED_SCRIPT, mode: 0o755 },
];

/// What Ubuntu's images say to cloud-init and apt, and a stand-in for snapd with Docker in it: a program that can take
/// that snap away, and what tells that it is there.
const UBUNTU_LIKE_FILES: &[Extra] = &[
    Extra {
        path: "etc/cloud/cloud.cfg.d/90-provider.cfg",
        content: "datasource_list: [NoCloud, None]\ndisable_root: true\nssh_deletekeys: false\n\
                  preserve_hostname: false\nmanage_etc_hosts: true\nusers: [default]\nsystem_info:\n  default_user:\n    \
                  name: ubuntu\n    lock_passwd: true\n    groups: [adm, sudo]\n    sudo: [\"ALL=(ALL) NOPASSWD:ALL\"]\n    \
                  shell: /bin/bash\n",
        mode: 0o644,
    },
    Extra {
        path: "etc/apt/apt.conf.d/20auto-upgrades",
        content: "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n",
        mode: 0o644,
    },
    Extra {
        path: "usr/bin/snap",
        content: "#!/bin/sh\n[ \"$*\" = \"remove docker\" ] || { echo \"error: unknown command\" >&2; exit 64; }\n\
                  rm -r /snap/docker /var/lib/snapd/snaps/docker_*.snap\necho \"docker removed\"\n",
        mode: 0o755,
    },
    Extra { path: "snap/docker/current/meta/snap.yaml", content: "name: docker\n", mode: 0o644 },
    Extra { path: "var/lib/snapd/snaps/docker_2976.snap", content: "", mode: 0o600 },
];

/// Units that do not start by themselves: timers that would fetch packages or scan the disk in the middle of a
/// test, and the compilation of the distribution's AppArmor profiles, which takes an emulated node half a
/// minute (measured). The kernel's AppArmor is on, and Docker loads its own profile without that unit. What serves files is
/// there and rests, as on a server that nobody shares files on.
const SILENCED: &[&str] = &[
    "apparmor.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "nfs-client.target",
    "nfs-server.service",
    "rpcbind.service",
    "rpcbind.socket",
];

/// Everything an image is made from.
#[derive(Debug, Serialize)]
pub(crate) struct Recipe {
    pub(crate) flavour: Flavour,
    pub(crate) mirror: Mirror,
    pub(crate) packages: Vec<&'static str>,
    pub(crate) extras: &'static [Extra],
    /// What is in the finished image.
    pub(crate) files: &'static [Extra],
    pub(crate) silenced: Vec<&'static str>,
    pub(crate) proxy: String,
    /// Raised when the way of building changes and nothing above does.
    way: u32,
}

impl Recipe {
    /// The recipe of that image with packages from that mirror.
    pub(crate) fn new(flavour: Flavour, mirror: Mirror, proxy: String) -> Self {
        let mut packages = BARE.to_vec();
        let (mut files, mut silenced) = ([].as_slice(), SILENCED.to_vec());
        match flavour.kind {
            Kind::Bare => {}
            Kind::Prepared => {
                packages.extend(PREPARED);
                // Debian 13 has Docker's client in a package of its own.
                packages.extend((flavour.release == Release::Trixie).then_some("docker-cli"));
            }
            Kind::UbuntuLike => {
                packages.extend(UBUNTU_LIKE);
                files = UBUNTU_LIKE_FILES;
                silenced.retain(|unit| *unit != "apparmor.service");
            }
        }
        Self { flavour, mirror, packages, extras: EXTRAS, files, silenced, proxy, way: 2 }
    }

    /// The image's name: its flavour and what it was made from.
    pub(crate) fn key(&self) -> String {
        let digest = Sha256::digest(format!("{self:?}").as_bytes());
        let short = hex(digest.iter().take(5));
        format!("{}-{short}", self.flavour)
    }

    /// The lines of the image's sources.list.
    pub(crate) fn sources(&self) -> [String; 3] {
        let (release, Mirror { archive, security }) = (self.flavour.release, &self.mirror);
        [
            format!("deb {archive} {release} main"),
            format!("deb {archive} {release}-updates main"),
            format!("deb {security} {release}-security main"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(kind: Kind, archive: &str) -> Recipe {
        let mirror =
            Mirror { archive: archive.to_owned(), security: "http://mirror.test/security".to_owned() };
        Recipe::new(Flavour { release: Release::Trixie, kind }, mirror, "http://proxy.test".to_owned())
    }

    #[test]
    fn a_changed_recipe_is_another_image() {
        let key = recipe(Kind::Prepared, "http://mirror.test/debian").key();
        assert!(key.starts_with("trixie-prepared-"), "{key}");
        assert_eq!(key, recipe(Kind::Prepared, "http://mirror.test/debian").key());
        assert_ne!(key, recipe(Kind::Prepared, "http://other.test/debian").key());
    }

    #[test]
    fn a_bare_server_has_nothing_that_apply_should_install() {
        let bare = recipe(Kind::Bare, "http://mirror.test/debian").packages;
        assert!(PREPARED.iter().all(|package| !bare.contains(package)));
    }

    #[test]
    fn packages_come_from_the_release_its_updates_and_its_security_archive() {
        let sources = recipe(Kind::Bare, "http://mirror.test/debian").sources().join("\n");
        assert_eq!(
            sources,
            "deb http://mirror.test/debian trixie main\ndeb http://mirror.test/debian trixie-updates main\n\
             deb http://mirror.test/security trixie-security main"
        );
    }
}
