//! The nodes' disks: overlays on an image, kept in sets so that a fresh start never destroys a saved state.
//!
//! A set is `.lab/disks/<image key>/<number>`. Invariant: the disks of a set belong to one moment in time
//! together; sets that are neither current nor named by a saved state are removed with their images.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    home::{Home, replace_file},
    tool::Tool,
    topology::{NODES, Node},
};

/// One set of disks, by its name below `.lab/disks`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DiskSet {
    image_key: String,
    number: u32,
}

impl DiskSet {
    /// The set of that name.
    pub(crate) fn named(name: impl AsRef<Path>) -> Result<Self> {
        let name = name.as_ref();
        let parse = || {
            let (image_key, number) = name.to_str()?.split_once('/')?;
            Some(Self { image_key: image_key.to_owned(), number: number.parse().ok()? })
        };
        parse().with_context(|| format!("{} names no set of disks", name.display()))
    }

    /// The set that `up` uses for an image; a new one if there is none or a fresh start is wanted.
    pub(crate) fn current(home: &Home, image_key: &str, start: Start) -> Result<Self> {
        let all = home.inner("disks").join(image_key);
        if let (Some(set), Start::WhereItWas) = (Self::left_by_the_last(home, image_key), start) {
            return Ok(set);
        }
        let taken =
            children(&all)?.into_iter().filter_map(|name| name.parse::<u32>().ok()).max().unwrap_or(0);
        let set = Self { image_key: image_key.to_owned(), number: taken + 1 };
        set.create(home)?;
        set.make_current(home)?;
        Ok(set)
    }

    fn left_by_the_last(home: &Home, image_key: &str) -> Option<Self> {
        let number = fs::read_to_string(home.inner("disks").join(image_key).join("current"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        Some(Self { image_key: image_key.to_owned(), number }).filter(|set| set.exists(home))
    }

    /// From now on `up` uses this set for its image.
    pub(crate) fn make_current(&self, home: &Home) -> Result<()> {
        replace_file(
            &home.inner("disks").join(&self.image_key).join("current"),
            self.number.to_string().as_bytes(),
        )
    }

    /// The image below the overlays.
    pub(crate) fn image_key(&self) -> &str {
        &self.image_key
    }

    /// Release and kind, without the recipe's hash.
    pub(crate) fn flavour(&self) -> &str {
        self.image_key.rsplit_once('-').map_or(&self.image_key, |(flavour, _)| flavour)
    }

    /// One node's disk.
    pub(crate) fn disk(&self, home: &Home, node: &Node) -> PathBuf {
        self.directory(home).join(format!("{}.qcow2", node.name))
    }

    /// Whether its disks are still there.
    pub(crate) fn exists(&self, home: &Home) -> bool {
        NODES.iter().all(|node| self.disk(home, node).exists())
    }

    fn directory(&self, home: &Home) -> PathBuf {
        home.inner("disks").join(&self.image_key).join(self.number.to_string())
    }

    fn create(&self, home: &Home) -> Result<()> {
        let directory = self.directory(home);
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        // Relative to the overlay, so that a project can be moved.
        let image = format!("../../../images/{}/disk.raw", self.image_key);
        for node in &NODES {
            Tool::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &image])
                .arg(self.disk(home, node))
                .run()?;
        }
        Ok(())
    }
}

impl fmt::Display for DiskSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.image_key, self.number)
    }
}

/// Whether the nodes go on with what they have on their disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// As they were left.
    WhereItWas,
    /// As the image is.
    Fresh,
}

/// The current set of every image.
pub(crate) fn all_current(home: &Home) -> Result<Vec<DiskSet>> {
    Ok(children(&home.inner("disks"))?
        .iter()
        .filter_map(|image_key| DiskSet::left_by_the_last(home, image_key))
        .collect())
}

/// Removes the sets that nothing names and the images that no set needs.
pub(crate) fn remove_unused(home: &Home, needed: &BTreeSet<DiskSet>) -> Result<()> {
    for image_key in children(&home.inner("disks"))? {
        let sets = home.inner("disks").join(&image_key);
        let mut remaining = 0;
        for number in children(&sets)?.iter().filter_map(|name| name.parse().ok()) {
            let set = DiskSet { image_key: image_key.clone(), number };
            if needed.contains(&set) {
                remaining += 1;
            } else {
                remove_directory(&set.directory(home))?;
            }
        }
        if remaining == 0 {
            remove_directory(&sets)?;
        }
    }
    let kept = children(&home.inner("disks"))?;
    for image_key in children(&home.inner("images"))?.difference(&kept) {
        // Half-built images are here too.
        remove_directory(&home.inner("images").join(image_key))?;
    }
    Ok(())
}

fn remove_directory(directory: &Path) -> Result<()> {
    fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))
}

/// The names in a directory; none if it does not exist.
pub(crate) fn children(directory: &Path) -> Result<BTreeSet<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).with_context(|| format!("cannot list {}", directory.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_found_by_its_own_name() {
        let set = DiskSet::named("trixie-bare-01ab/3").unwrap();
        assert_eq!(set.to_string(), "trixie-bare-01ab/3");
        assert_eq!(set.flavour(), "trixie-bare");
    }

    #[test]
    fn only_what_something_needs_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        for kept in
            ["disks/a-1/1", "disks/a-1/2", "disks/b-1/1", "images/a-1", "images/b-1", "images/c-1.partial"]
        {
            fs::create_dir_all(home.inner(kept)).unwrap();
        }
        remove_unused(&home, &BTreeSet::from([DiskSet::named("a-1/2").unwrap()])).unwrap();
        assert_eq!(children(&home.inner("disks/a-1")).unwrap(), BTreeSet::from(["2".to_owned()]));
        assert_eq!(children(&home.inner("disks")).unwrap(), BTreeSet::from(["a-1".to_owned()]));
        assert_eq!(children(&home.inner("images")).unwrap(), BTreeSet::from(["a-1".to_owned()]));
    }
}
