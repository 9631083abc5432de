//! Tokens of users: made once, shown once, and kept as hashes in a file that all services of a node read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use fogflow_config::Config;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Time between two looks whether the file has changed.
const LOOK: Duration = Duration::from_secs(1);
const FILE: &str = "tokens.json";

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read.
    Viewer,
    /// Read, and change what runs; but not bring code.
    Operator,
    /// Everything.
    Admin,
    /// What components of FogFlow ask of each other.
    Component,
}

/// A token as it is kept. Its text is 32 random bytes, so a plain hash cannot be turned back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredToken {
    /// What its holder may do.
    pub role: Role,
    /// SHA-256 of its text, in hexadecimal.
    pub sha256: String,
}

/// The file of tokens, by the names that they were given.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TokenFile {
    #[serde(skip)]
    path: PathBuf,
    /// Name to token.
    pub tokens: BTreeMap<String, StoredToken>,
}

impl TokenFile {
    /// Reads the file that the configuration names; none is an empty one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let path = path_of(config);
        let tokens = read(&path).with_context(|| path.display().to_string())?;
        Ok(TokenFile { path, tokens })
    }

    /// Adds a token, replaces that of the same name, and returns its text, which is kept nowhere.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(&mut self, name: &str, role: Role) -> anyhow::Result<String> {
        let text = random();
        self.tokens.insert(name.to_owned(), StoredToken { role, sha256: hash(&text) });
        self.write()?;
        Ok(text)
    }

    /// Removes a token; false when there is none of that name.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn revoke(&mut self, name: &str) -> anyhow::Result<bool> {
        let was_there = self.tokens.remove(name).is_some();
        if was_there {
            self.write()?;
        }
        Ok(was_there)
    }

    /// Replaces the file as a whole: services that read it meanwhile see the old or the new one.
    fn write(&self) -> anyhow::Result<()> {
        let shown = || self.path.display().to_string();
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).with_context(shown)?;
        }
        let aside = self.path.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside).with_context(shown)?;
        file.write_all(&serde_json::to_vec_pretty(self)?).with_context(shown)?;
        file.sync_all().with_context(shown)?;
        fs::rename(&aside, &self.path).with_context(shown)
    }
}

/// The tokens as a service knows them. A change of the file is seen within a second or so.
#[derive(Debug)]
pub(crate) struct Tokens {
    path: PathBuf,
    known: Mutex<Known>,
}

/// Time, length and number of a file: one that was replaced has another.
type Mark = (Option<SystemTime>, u64, u64);

#[derive(Debug)]
struct Known {
    looked: Instant,
    changed: Option<Mark>,
    roles: BTreeMap<String, Role>,
}

impl Tokens {
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let path = path_of(config);
        let changed = changed(&path);
        let tokens = read(&path).with_context(|| path.display().to_string())?;
        Ok(Tokens { path, known: Mutex::new(Known { looked: Instant::now(), changed, roles: roles(tokens) }) })
    }

    /// The role of a token.
    pub(crate) fn role(&self, text: &str) -> Option<Role> {
        let mut known = self.known.lock();
        if known.looked.elapsed() >= LOOK {
            known.looked = Instant::now();
            let changed = changed(&self.path);
            if changed != known.changed {
                match read(&self.path) {
                    Ok(tokens) => (known.changed, known.roles) = (changed, roles(tokens)),
                    Err(error) => tracing::error!(file = %self.path.display(), %error, "tokens cannot be read; those known before count"),
                }
            }
        }
        known.roles.get(&hash(text)).copied()
    }
}

fn roles(tokens: BTreeMap<String, StoredToken>) -> BTreeMap<String, Role> {
    tokens.into_values().map(|token| (token.sha256, token.role)).collect()
}

fn path_of(config: &Config) -> PathBuf {
    let named = &config.security.tokens_file;
    if named.as_os_str().is_empty() { config.data_dir.join(FILE) } else { named.clone() }
}

fn changed(path: &Path) -> Option<Mark> {
    fs::metadata(path).ok().map(|data| (data.modified().ok(), data.len(), data.ino()))
}

fn read(path: &Path) -> io::Result<BTreeMap<String, StoredToken>> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice::<TokenFile>(&text)?.tokens),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// 32 random bytes in hexadecimal.
pub(crate) fn random() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

/// A token of this node in a file of its own, made at the first start, readable by its owner only.
pub(crate) fn own(path: &Path) -> anyhow::Result<String> {
    for _ in 0..100 {
        match fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
            // Another process of this node is between creating and writing it.
            Ok(_) => std::thread::sleep(Duration::from_millis(10)),
            Err(error) if error.kind() == ErrorKind::NotFound => create(path)?,
            Err(error) => return Err(error).with_context(|| format!("cannot read the token {}", path.display())),
        }
    }
    anyhow::bail!("{} is empty: remove it, and a new token is made", path.display())
}

fn create(path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the data directory {}", folder.display()))?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            file.write_all(format!("{}\n", random()).as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
            file.sync_all().with_context(|| format!("cannot write {}", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot make the token {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_is_shown_once_kept_as_a_hash_for_its_owner_only_and_gone_when_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
        let mut file = TokenFile::open(&config).unwrap();
        let text = file.create("alice", Role::Operator).unwrap();
        let path = folder.path().join(FILE);
        assert!(!fs::read_to_string(&path).unwrap().contains(&text));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let tokens = Tokens::open(&config).unwrap();
        assert_eq!((tokens.role(&text), tokens.role("other")), (Some(Role::Operator), None));
        assert!(file.revoke("alice").unwrap() && !file.revoke("alice").unwrap());
        tokens.known.lock().looked -= LOOK;
        assert_eq!(tokens.role(&text), None, "a change of the file is seen");
        // A file that cannot be read takes nobody's rights away, nor gives any.
        let text = file.create("bob", Role::Viewer).unwrap();
        tokens.known.lock().looked -= LOOK;
        assert_eq!(tokens.role(&text), Some(Role::Viewer));
        fs::write(&path, "{").unwrap();
        tokens.known.lock().looked -= LOOK;
        assert_eq!(tokens.role(&text), Some(Role::Viewer));
        assert!(TokenFile::open(&config).is_err());
    }
}
