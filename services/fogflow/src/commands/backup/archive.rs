//! The file of a backup: a tar archive that can be written while its parts come, and is checked as a whole before any is used.
//!
//! | Entry | Content |
//! |---|---|
//! | `fogflow-backup.json` | first: the form, the version of the program, site and time |
//! | `<service>.jsonl` | the service's store in its portable form |
//! | `photo/<name>` | a picture of the designer |
//! | `manifest.json` | last: length and checksum of every part; without it the file was cut off |

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use fogflow_chassis::UsageError;
use fogflow_store::portable::Portable;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const LABEL: &str = "fogflow-backup.json";
const MANIFEST: &str = "manifest.json";
/// The form of the archive; another number is refused.
const FORM: u64 = 2;
/// tar counts in blocks of this size.
const BLOCK: u64 = 512;
/// More is neither a label nor a manifest.
const MOST_JSON: u64 = 16 * 1024 * 1024;

/// What the archive is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Label {
    pub(super) form: u64,
    pub(super) version: String,
    pub(super) site: String,
    pub(super) made: String,
}

/// A part as the manifest describes it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// Of a store: the commit whose state it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sequence: Option<u64>,
    /// Of a store: how many documents were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lines: Option<u64>,
}

/// An archive that is being written. It appears under its name when it is finished; if it is dropped before, nothing remains.
pub(super) struct Draft {
    file: BufWriter<File>,
    partial: PathBuf,
    to: PathBuf,
    parts: BTreeMap<String, Part>,
    finished: bool,
}

impl Draft {
    pub(super) fn create(to: &Path, site: &str) -> anyhow::Result<Self> {
        let mut partial = to.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        // It holds what users stored: nobody else's business.
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial);
        let file = opened.map_err(|error| UsageError(format!("{}: {error}", partial.display())))?;
        let mut draft = Draft { file: BufWriter::new(file), partial, to: to.to_owned(), parts: BTreeMap::new(), finished: false };
        let (version, made) = (fogflow_chassis::VERSION.to_owned(), jiff::Timestamp::now().to_string());
        draft.whole(LABEL, &serde_json::to_vec(&Label { form: FORM, version, site: site.to_owned(), made })?)?;
        Ok(draft)
    }

    /// Begins a part of unknown length.
    pub(super) fn part(&mut self, name: &str) -> io::Result<Growing<'_>> {
        let begin = self.file.stream_position()?;
        self.file.write_all(&[0; BLOCK as usize])?;
        Ok(Growing { draft: self, name: name.to_owned(), begin, bytes: 0, digest: Sha256::new() })
    }

    fn whole(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut part = self.part(name)?;
        part.write(content)?;
        part.end(None)?;
        self.parts.remove(name);
        Ok(())
    }

    /// Completes the archive, and says how long it is.
    pub(super) fn finish(mut self) -> anyhow::Result<u64> {
        let manifest = serde_json::to_vec(&self.parts)?;
        self.whole(MANIFEST, &manifest)?;
        self.file.write_all(&[0; 2 * BLOCK as usize])?;
        self.file.flush()?;
        let file = self.file.get_ref();
        file.sync_all()?;
        let length = file.metadata()?.len();
        fs::rename(&self.partial, &self.to).with_context(|| self.to.display().to_string())?;
        self.finished = true;
        Ok(length)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed is overwritten by the next attempt.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// A part that is being written. Its header is written when its length is known.
pub(super) struct Growing<'a> {
    draft: &'a mut Draft,
    name: String,
    begin: u64,
    bytes: u64,
    digest: Sha256,
}

impl Growing<'_> {
    pub(super) fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.draft.file.write_all(content)?;
        self.digest.update(content);
        self.bytes += content.len() as u64;
        Ok(())
    }

    pub(super) fn end(self, store: Option<Portable>) -> io::Result<()> {
        let Growing { draft, name, begin, bytes, digest } = self;
        let padding = bytes.next_multiple_of(BLOCK) - bytes;
        draft.file.write_all(&vec![0; usize::try_from(padding).unwrap_or_default()])?;
        let mut header = tar::Header::new_gnu();
        header.set_path(&name)?;
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_cksum();
        draft.file.seek(SeekFrom::Start(begin))?;
        draft.file.write_all(header.as_bytes())?;
        draft.file.seek(SeekFrom::End(0))?;
        let (sequence, lines) = (store.map(|store| store.sequence), store.map(|store| store.lines));
        draft.parts.insert(name, Part { bytes, sha256: hex::encode(digest.finalize()), sequence, lines });
        Ok(())
    }
}

/// A complete archive, every part of which is as it was written.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    pub(super) label: Label,
    pub(super) parts: BTreeMap<String, Part>,
    positions: BTreeMap<String, u64>,
}

impl Archive {
    /// Reads the whole file and compares it with its manifest.
    ///
    /// # Errors
    /// A [`UsageError`] that says what is wrong with the file.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let file = File::open(path).map_err(|error| UsageError(format!("{shown}: {error}")))?;
        match Self::check(path, file) {
            Ok(archive) => Ok(archive),
            Err(reason) => Err(UsageError(format!("{shown} cannot be restored: {reason:#}")).into()),
        }
    }

    fn check(path: &Path, file: File) -> anyhow::Result<Self> {
        let mut tar = tar::Archive::new(BufReader::new(file));
        let mut label: Option<Label> = None;
        let mut found: BTreeMap<String, (u64, u64, String)> = BTreeMap::new();
        for entry in tar.entries()? {
            let mut entry = entry.context(if label.is_none() { "it is no backup of a node" } else { "it was cut off or damaged" })?;
            let name = entry.path()?.to_string_lossy().into_owned();
            if label.is_none() {
                ensure!(name == LABEL, "it is no backup of a node: its first entry is {name}");
                let read: Label = json(&mut entry)?;
                ensure!(read.form == FORM, "its form is {}, this program reads {FORM}", read.form);
                label = Some(read);
                continue;
            }
            if name == MANIFEST {
                let parts: BTreeMap<String, Part> = json(&mut entry)?;
                let label = label.context("it has no label")?;
                return Self::compare(path, label, parts, found);
            }
            let position = entry.raw_file_position();
            let mut sink = Hasher(Sha256::new());
            let bytes = io::copy(&mut entry, &mut sink).context("it was cut off or damaged")?;
            found.insert(name, (position, bytes, hex::encode(sink.0.finalize())));
        }
        ensure!(label.is_some(), "it is no backup of a node");
        bail!("it was cut off: its manifest is missing")
    }

    fn compare(
        path: &Path,
        label: Label,
        parts: BTreeMap<String, Part>,
        mut found: BTreeMap<String, (u64, u64, String)>,
    ) -> anyhow::Result<Self> {
        let mut positions = BTreeMap::new();
        for (name, part) in &parts {
            let (position, bytes, sha256) = found.remove(name).with_context(|| format!("{name} is missing"))?;
            ensure!(bytes == part.bytes && sha256 == part.sha256, "{name} is damaged: its checksum differs");
            positions.insert(name.clone(), position);
        }
        if let Some((name, _)) = found.pop_first() {
            bail!("{name} is not in its manifest");
        }
        Ok(Archive { path: path.to_owned(), label, parts, positions })
    }

    /// The content of a part.
    pub(super) fn read(&self, name: &str) -> anyhow::Result<io::Take<File>> {
        let (part, position) = self.parts.get(name).zip(self.positions.get(name)).with_context(|| format!("there is no part {name}"))?;
        let mut file = File::open(&self.path).with_context(|| self.path.display().to_string())?;
        file.seek(SeekFrom::Start(*position))?;
        Ok(file.take(part.bytes))
    }
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn json<T: serde::de::DeserializeOwned>(entry: &mut impl Read) -> anyhow::Result<T> {
    let mut text = Vec::new();
    entry.take(MOST_JSON).read_to_end(&mut text)?;
    serde_json::from_slice(&text).context("it was cut off or damaged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn made(folder: &Path) -> PathBuf {
        let path = folder.join("node.backup");
        let mut draft = Draft::create(&path, "001").unwrap();
        for (name, content) in [("broker.jsonl", vec![7; 100_000]), ("photo/a.png", b"picture".to_vec()), ("empty", Vec::new())] {
            let mut part = draft.part(name).unwrap();
            part.write(&content).unwrap();
            part.end(Some(Portable { lines: 3, sequence: 9 })).unwrap();
        }
        assert!(!path.exists(), "an archive appears when it is complete");
        draft.finish().unwrap();
        path
    }

    #[test]
    fn what_was_written_is_read_and_only_its_owner_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = made(folder.path());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let archive = Archive::open(&path).unwrap();
        assert_eq!(archive.label.site, "001");
        assert_eq!(archive.parts["broker.jsonl"].sequence, Some(9));
        let mut content = String::new();
        archive.read("photo/a.png").unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "picture");
        assert!(tar::Archive::new(File::open(&path).unwrap()).entries().unwrap().all(|entry| entry.is_ok()), "tar reads it, too");
    }

    #[test]
    fn a_file_that_is_cut_changed_or_something_else_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = made(folder.path());
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[50_000] ^= 1;
        let broken = [
            ("no backup", b"".as_slice()),
            ("no backup", b"hello"),
            ("no backup", &[b'x'; 4000]),
            ("cut off", &whole[..whole.len() / 2]),
            ("cut off", &whole[..whole.len() - 4 * BLOCK as usize]),
            ("broker.jsonl is damaged", &changed),
        ];
        for (reason, content) in broken {
            let file = folder.path().join("broken");
            fs::write(&file, content).unwrap();
            let error = Archive::open(&file).unwrap_err();
            assert!(error.downcast_ref::<UsageError>().is_some_and(|usage| usage.0.contains(reason)), "{reason}: {error:#}");
        }
    }

    #[test]
    fn an_archive_that_was_given_up_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        drop(Draft::create(&folder.path().join("b"), "001").unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
