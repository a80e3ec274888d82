//! The probe's image, made of this very binary: no registry is needed.
//!
//! The archive is an OCI layout and a `docker save` manifest at once, so that every engine's `load` takes it (the
//! graph-driver stores read `manifest.json`, the containerd store reads `index.json`), and holds nothing but the
//! static binary. The same binary makes the same bytes and therefore the same id everywhere.

use std::io::{self, Read, Seek};

use bytes::Bytes;
use enxame_core::probe::{LABEL, RESPONDER_VERB};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The image's name; the tag is made of its content.
pub(super) const REPOSITORY: &str = "enxame-probe";

/// Where the binary is in the image.
const BINARY: &str = "enxame";

/// How much of the binary is read at a time, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// An image's archive: what comes before the binary, the binary, and what comes after it.
#[derive(Debug)]
pub(super) struct Archive<F> {
    /// Name and tag.
    pub(super) reference: String,
    before: Vec<u8>,
    binary: F,
    after: Vec<u8>,
}

impl<F: Read + Seek> Archive<F> {
    /// Reads the binary once to know its length and hash.
    pub(super) fn of(mut binary: F) -> io::Result<Self> {
        let length = binary.seek(io::SeekFrom::End(0))?;
        binary.rewind()?;
        let inner_head = entry_head(BINARY, length, 0o755)?;
        let inner_tail = vec![0; padding(length)? + END_BYTES];
        let mut layer = Hashed::default();
        layer.add(&inner_head);
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let count = binary.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            layer.add(buffer.get(..count).unwrap_or_default());
        }
        layer.add(&inner_tail);
        binary.rewind()?;
        let layer_bytes = layer.length;
        let layer = layer.digest();
        let config = config(&layer).to_string();
        let config_digest = digest_of(config.as_bytes());
        let reference = format!("{REPOSITORY}:{}", config_digest.get(..12).unwrap_or_default());
        let described = Described {
            layer: &layer,
            layer_bytes,
            config: &config_digest,
            config_bytes: config.len(),
            reference: &reference,
        };

        let mut before = entry_head(&blob(&layer), layer_bytes, 0o644)?;
        before.extend_from_slice(&inner_head);
        let mut after = inner_tail;
        after.resize(after.len() + padding(layer_bytes)?, 0);
        let manifest = described.manifest().to_string();
        let manifest_digest = digest_of(manifest.as_bytes());
        let index = described.index(&manifest_digest, manifest.len()).to_string();
        let entries = [
            (blob(&config_digest), config),
            (blob(&manifest_digest), manifest),
            ("index.json".to_owned(), index),
            ("manifest.json".to_owned(), described.docker_manifest().to_string()),
            ("oci-layout".to_owned(), json!({ "imageLayoutVersion": "1.0.0" }).to_string()),
        ];
        for (name, content) in entries {
            let length = u64::try_from(content.len()).map_err(io::Error::other)?;
            after.extend_from_slice(&entry_head(&name, length, 0o644)?);
            after.extend_from_slice(content.as_bytes());
            after.resize(after.len() + padding(length)?, 0);
        }
        after.resize(after.len() + END_BYTES, 0);
        Ok(Self { reference, before, binary, after })
    }

    /// The archive piece by piece, so that a small machine never holds all of it in memory.
    pub(super) fn pieces(self) -> impl Iterator<Item = io::Result<Bytes>> {
        let mut binary = self.binary;
        let middle = std::iter::from_fn(move || {
            let mut piece = vec![0; CHUNK_BYTES];
            match binary.read(&mut piece) {
                Ok(0) => None,
                Ok(count) => {
                    piece.truncate(count);
                    Some(Ok(Bytes::from(piece)))
                }
                Err(error) => Some(Err(error)),
            }
        });
        let ends = |end: Vec<u8>| std::iter::once(Ok(Bytes::from(end)));
        ends(self.before).chain(middle).chain(ends(self.after))
    }
}

/// A tar entry's content fills blocks of this size, in bytes.
const BLOCK_BYTES: u64 = 512;

/// Two empty blocks end an archive.
const END_BYTES: usize = 1024;

fn padding(length: u64) -> io::Result<usize> {
    usize::try_from(length.next_multiple_of(BLOCK_BYTES) - length).map_err(io::Error::other)
}

/// The header block of a file: owner 0, time 0.
fn entry_head(name: &str, length: u64, mode: u32) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(length);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

fn digest_of(content: &[u8]) -> String {
    let mut hashed = Hashed::default();
    hashed.add(content);
    hashed.digest()
}

#[derive(Default)]
struct Hashed {
    hash: Sha256,
    length: u64,
}

impl Hashed {
    fn add(&mut self, piece: &[u8]) {
        self.hash.update(piece);
        self.length += u64::try_from(piece.len()).unwrap_or_default();
    }

    fn digest(self) -> String {
        use std::fmt::Write;
        self.hash.finalize().iter().fold(String::new(), |mut text, byte| {
            // Writing into a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The image's configuration (OCI image specification 1.0, `config.md`).
fn config(layer: &str) -> Value {
    json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": [format!("/{BINARY}"), RESPONDER_VERB],
            "Labels": { LABEL: "image" },
            "User": "65534:65534",
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "enxame" }],
    })
}

struct Described<'a> {
    layer: &'a str,
    layer_bytes: u64,
    config: &'a str,
    config_bytes: usize,
    reference: &'a str,
}

impl Described<'_> {
    fn manifest(&self) -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": format!("sha256:{}", self.config),
                "size": self.config_bytes,
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": format!("sha256:{}", self.layer),
                "size": self.layer_bytes,
            }],
        })
    }

    fn index(&self, manifest: &str, manifest_bytes: usize) -> Value {
        let tag = self.reference.split_once(':').map_or("", |(_, tag)| tag);
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": format!("sha256:{manifest}"),
                "size": manifest_bytes,
                "platform": { "architecture": "amd64", "os": "linux" },
                "annotations": {
                    "io.containerd.image.name": format!("docker.io/library/{}", self.reference),
                    "org.opencontainers.image.ref.name": tag,
                },
            }],
        })
    }

    /// What `docker save` writes, which the stores of engines up to 28 read.
    fn docker_manifest(&self) -> Value {
        json!([{
            "Config": blob(self.config),
            "RepoTags": [self.reference],
            "Layers": [blob(self.layer)],
        }])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Cursor;

    use super::*;

    fn archive(binary: &[u8]) -> Vec<u8> {
        let archive = Archive::of(Cursor::new(binary.to_vec())).unwrap();
        archive.pieces().flat_map(|piece| piece.unwrap().to_vec()).collect()
    }

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().to_string_lossy().into_owned(), content)
        });
        entries.collect()
    }

    #[test]
    fn the_same_binary_makes_the_same_archive_and_another_one_another() {
        assert_eq!(archive(b"binary"), archive(b"binary"));
        let reference = |binary: &[u8]| Archive::of(Cursor::new(binary.to_vec())).unwrap().reference;
        assert_ne!(reference(b"binary"), reference(b"Binary"));
    }

    #[test]
    fn every_blob_is_what_its_name_says_and_the_layer_holds_the_binary() {
        for length in [0, 1, 511, 512, 513, CHUNK_BYTES, 2 * CHUNK_BYTES + 77] {
            let binary: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let files = files(&archive(&binary));
            for (name, content) in &files {
                if let Some(digest) = name.strip_prefix("blobs/sha256/") {
                    assert_eq!(digest_of(content), digest, "length {length}");
                }
            }
            let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
            let layer = self::files(&files[manifest[0]["Layers"][0].as_str().unwrap()]);
            assert_eq!(layer.keys().collect::<Vec<_>>(), [BINARY]);
            assert_eq!(layer[BINARY], binary);
            let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
            let digest = index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:");
            assert!(files.contains_key(&blob(digest)));
        }
    }
}
