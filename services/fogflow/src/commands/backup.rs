//! `fogflow backup` and `fogflow restore`: the data directory of a stopped node as one tar archive.
//!
//! Whatever a service holds open is locked by it (`<service>/lock`), so taking those locks proves that the node is stopped and keeps it
//! stopped meanwhile. The worker's directory is left out: what ran when the backup was made does not run where it is restored.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use fogflow_chassis::{CommonArgs, UsageError, load_config};
use fogflow_config::{Config, StoreEngine};
use serde_json::{Value, json};

use crate::output::{complain, print};

/// The first entry: what the archive is.
const LABEL: &str = "fogflow-backup.json";
/// The form of the archive; another number is refused.
const FORM: u64 = 1;
const LOCK: &str = "lock";

/// Writes the archive. It appears under its name only when it is complete.
pub(crate) async fn backup(common: &CommonArgs, to: &Path) -> anyhow::Result<()> {
    let config = load_config(common)?.config;
    let to = to.to_owned();
    let (files, bytes) = tokio::task::spawn_blocking(move || write(&config, &to)).await??;
    Ok(print(&format!("{files} files, an archive of {bytes} bytes\n"))?)
}

/// Reads an archive into the data directory, which has to be empty or absent. It appears under its name only when it is complete.
pub(crate) async fn restore(common: &CommonArgs, from: &Path) -> anyhow::Result<()> {
    let config = load_config(common)?.config;
    let from = from.to_owned();
    let files = tokio::task::spawn_blocking(move || read(&config, &from)).await??;
    Ok(print(&format!("{files} files restored\n"))?)
}

fn write(config: &Config, to: &Path) -> anyhow::Result<(usize, u64)> {
    for service in ["broker", "discovery", "designer", "master"] {
        if config.store_of(service).engine != StoreEngine::Embedded {
            complain(&format!("note: the state of the {service} is in its database server; back it up with that server's tools"));
        }
    }
    let data = &config.data_dir;
    let services = services(data).map_err(|error| UsageError(format!("{}: {error}", data.display())))?;
    ensure!(!services.is_empty(), UsageError(format!("there is no state in {}", data.display())));
    let _locks: Vec<File> = services.iter().map(|service| lock(&data.join(service))).collect::<anyhow::Result<_>>()?;
    let partial = to.with_extension("partial");
    let result = archive(data, &services, &partial);
    match result {
        Ok(counts) => {
            fs::rename(&partial, to).with_context(|| to.display().to_string())?;
            Ok(counts)
        }
        Err(error) => {
            // What cannot be removed is overwritten by the next attempt.
            let _ = fs::remove_file(&partial);
            Err(error)
        }
    }
}

fn archive(data: &Path, services: &[String], to: &Path) -> anyhow::Result<(usize, u64)> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        // It holds what users stored, and the admin token.
        .mode(0o600)
        .open(to)
        .with_context(|| to.display().to_string())?;
    let mut builder = tar::Builder::new(BufWriter::new(file));
    let label = json!({ "form": FORM, "version": fogflow_chassis::VERSION, "made": jiff::Timestamp::now().to_string() }).to_string();
    let mut header = tar::Header::new_gnu();
    header.set_size(label.len() as u64);
    header.set_mode(0o600);
    builder.append_data(&mut header, LABEL, label.as_bytes())?;
    let mut paths = vec![PathBuf::from("admin-token")];
    for service in services {
        collect(data, Path::new(service), Path::new(service), &mut paths)?;
    }
    let mut count = 0;
    for path in paths {
        let full = data.join(&path);
        if full.is_dir() {
            builder.append_dir(&path, &full).with_context(|| full.display().to_string())?;
        } else if full.is_file() {
            builder.append_path_with_name(&full, &path).with_context(|| full.display().to_string())?;
            count += 1;
        }
    }
    let writer = builder.into_inner()?;
    let mut file = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.flush()?;
    file.sync_all()?;
    Ok((count, file.metadata()?.len()))
}

/// The directories of services other than workers.
fn services(data: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && !name.starts_with("worker") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn lock(dir: &Path) -> anyhow::Result<File> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK)).with_context(|| dir.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(UsageError(format!("{} is in use: stop the node first", dir.display())).into()),
        Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| dir.display().to_string()),
    }
}

fn collect(data: &Path, service: &Path, relative: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(data.join(relative)).with_context(|| relative.display().to_string())? {
        let entry = entry?;
        let path = relative.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // Empty directories count as well: a store may insist on them.
            paths.push(path.clone());
            collect(data, service, &path, paths)?;
        } else if kind.is_file() && path != service.join(LOCK) {
            paths.push(path);
        }
    }
    Ok(())
}

fn read(config: &Config, from: &Path) -> anyhow::Result<usize> {
    let data = &config.data_dir;
    if fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(UsageError(format!("{} is not empty: restore into a new directory (--data DIR)", data.display())).into());
    }
    let partial = data.with_extension("restoring");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| partial.display().to_string())?;
    }
    match extract(from, &partial) {
        Ok(count) => {
            if data.exists() {
                fs::remove_dir(data).with_context(|| data.display().to_string())?;
            }
            fs::rename(&partial, data).with_context(|| data.display().to_string())?;
            Ok(count)
        }
        Err(error) => {
            // What cannot be removed is removed by the next attempt.
            let _ = fs::remove_dir_all(&partial);
            Err(error)
        }
    }
}

fn extract(from: &Path, to: &Path) -> anyhow::Result<usize> {
    let shown = from.display();
    let file = File::open(from).map_err(|error| UsageError(format!("{shown}: {error}")))?;
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut entries = archive.entries().with_context(|| shown.to_string())?;
    let first = entries.next().ok_or_else(|| UsageError(format!("{shown} is empty")))?;
    check_label(first).map_err(|reason| UsageError(format!("{shown} is no backup of a node: {reason}")))?;
    let mut count = 0;
    for entry in entries {
        let mut entry = entry.with_context(|| shown.to_string())?;
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        // Preallocated files of a store are sparse in the archive.
        let is_plain = kind.is_dir() || kind.is_file() || kind.is_gnu_sparse();
        if !is_plain || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            bail!("{shown}: the entry {} is neither a file nor within the data directory", path.display());
        }
        let target = to.join(&path);
        if kind.is_dir() {
            fs::create_dir_all(&target).with_context(|| target.display().to_string())?;
            continue;
        }
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let mut out = File::create_new(&target).with_context(|| target.display().to_string())?;
        std::io::copy(&mut entry, &mut out).with_context(|| format!("{shown}: {}", path.display()))?;
        out.set_permissions(Permissions::from_mode(entry.header().mode().unwrap_or(0o600) & 0o777))?;
        out.sync_all()?;
        count += 1;
    }
    Ok(count)
}

fn check_label<R: std::io::Read>(entry: std::io::Result<tar::Entry<'_, R>>) -> Result<(), String> {
    let mut entry = entry.map_err(|error| error.to_string())?;
    if entry.path().map_err(|error| error.to_string())?.as_ref() != Path::new(LABEL) {
        return Err(format!("its first entry is not {LABEL}"));
    }
    let mut text = String::new();
    entry.by_ref().take(64 * 1024).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let label: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    match label.get("form").and_then(Value::as_u64) {
        Some(FORM) => Ok(()),
        form => Err(format!("its form is {form:?}, this program reads {FORM}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogflow_store::{Batch, Durability, Engine, Expect, Key, StoreSettings, Write};

    fn config(data: &Path) -> Config {
        Config { data_dir: data.to_owned(), ..Config::default() }
    }

    fn settings(dir: PathBuf) -> StoreSettings {
        StoreSettings { engine: Engine::Embedded, url: String::new(), service: "broker".to_owned(), dir, durability: Durability::Fsync, spawner: Default::default() }
    }

    #[tokio::test]
    async fn what_was_stored_is_there_after_backup_and_restore_elsewhere_and_a_running_node_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (data, file, other) = (folder.path().join("data"), folder.path().join("node.backup"), folder.path().join("other"));
        fs::create_dir_all(data.join("worker/tasks")).unwrap();
        fs::write(data.join("worker/tasks/t"), "pid").unwrap();
        fs::write(data.join("admin-token"), "secret\n").unwrap();
        let key = Key::new("entity", "", "a");
        let store = fogflow_store::open(&settings(data.join("broker"))).await.unwrap();
        let written = Write { key: key.clone(), expect: Expect::Any, value: Some("value".into()) };
        store.commit(Batch::one(written)).await.unwrap();

        let refused = write(&config(&data), &file).unwrap_err();
        assert!(refused.downcast_ref::<UsageError>().is_some_and(|usage| usage.0.contains("stop the node first")), "{refused:#}");
        store.close().await.unwrap();

        write(&config(&data), &file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(read(&config(&data), &file).is_err(), "a directory with state is not overwritten");
        read(&config(&other), &file).unwrap();
        assert_eq!(fs::read_to_string(other.join("admin-token")).unwrap(), "secret\n");
        assert!(!other.join("worker").exists());
        let store = fogflow_store::open(&settings(other.join("broker"))).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap().unwrap().value.as_deref(), Some(b"value".as_slice()));
        store.close().await.unwrap();
    }

    #[test]
    fn an_archive_that_is_cut_or_none_at_all_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (data, file) = (folder.path().join("data"), folder.path().join("b"));
        fs::create_dir_all(data.join("broker")).unwrap();
        fs::write(data.join("broker/log"), vec![7_u8; 100_000]).unwrap();
        write(&config(&data), &file).unwrap();
        let bytes = fs::read(&file).unwrap();
        let other = folder.path().join("other");
        for (name, content) in [("cut", &bytes[..bytes.len() / 2]), ("text", b"hello".as_slice()), ("nothing", b"".as_slice())] {
            let broken = folder.path().join(name);
            fs::write(&broken, content).unwrap();
            assert!(read(&config(&other), &broken).is_err(), "{name}");
            assert!(!other.exists() && !other.with_extension("restoring").exists(), "{name}");
        }
    }
}
