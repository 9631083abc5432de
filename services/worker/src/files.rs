//! The state directory of a worker: `<data>/worker/tasks/<task>/`, one directory per task.
//!
//! | File | Written by | Content |
//! |---|---|---|
//! | `task.json` | the task table, before a command is acknowledged | what the master wants of the task |
//! | `subscriptions.json` | the task's actor | ids of its input subscriptions at the broker |
//! | `process.json`, `output.log`, `code/` | the process engine | pid and start time, what the process wrote, inline code |
//!
//! Files are replaced whole (written aside, synced, renamed), so that a kill leaves the old or the new content.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fogflow_orchestration::ScheduledTaskInstance;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Name of the file with what the master wants.
pub(crate) const TASK_FILE: &str = "task.json";
/// Name of the file with the ids of subscriptions.
pub(crate) const SUBSCRIPTIONS_FILE: &str = "subscriptions.json";

/// What is remembered of a task over restarts of the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskRecord {
    /// The task as it was last wanted.
    pub(crate) task: ScheduledTaskInstance,
    /// What is to be done with it.
    pub(crate) phase: Phase,
}

/// What is to be done with a task that is found at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Adopt or start it.
    Wanted,
    /// Go on removing it, its outputs too.
    Leaving,
    /// Go on removing it; its outputs stay, since it runs elsewhere or this worker stopped it in order.
    LeavingKeepOutputs,
}

/// The state directory. Holding it keeps a second worker out.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    tasks: PathBuf,
    _lock: File,
}

impl StateDirectory {
    /// Opens or creates `root`, the worker's own directory below the data directory.
    ///
    /// # Errors
    /// `AddrInUse` if another process has it open, else what the file system says.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join("tasks"))?;
        let root = root.canonicalize()?;
        // Parameters, code and logs of tasks are nobody else's business (FAULT 37).
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700))?;
        let lock = File::options().create(true).truncate(false).write(true).open(root.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{} is in use by another worker", root.display())));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(StateDirectory { tasks: root.join("tasks"), _lock: lock })
    }

    /// Where all tasks are.
    pub(crate) fn tasks(&self) -> &Path {
        &self.tasks
    }

    /// The directory of one task; it may not exist yet.
    pub(crate) fn of(&self, task_id: &str) -> PathBuf {
        self.tasks.join(directory_name(task_id))
    }

    /// Every readable record, with a line in the log for each that is not. A directory without one is of a task that was
    /// never acknowledged, and goes.
    pub(crate) fn records(&self) -> Vec<TaskRecord> {
        let Ok(entries) = fs::read_dir(&self.tasks) else { return Vec::new() };
        let mut records = Vec::new();
        for directory in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            if directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TRASH)) {
                remove_tree(&directory);
                continue;
            }
            match read::<TaskRecord>(&directory.join(TASK_FILE)) {
                Ok(Some(record)) => records.push(record),
                Ok(None) => remove_tree(&directory),
                Err(error) => {
                    tracing::warn!(directory = %directory.display(), %error, "the record of a task cannot be read and is passed over")
                }
            }
        }
        records.sort_by(|a, b| a.task.id.cmp(&b.task.id));
        records
    }

    /// [`write()`] of a file of a task, off the async threads. The directory is held until it is done, also when nobody waits
    /// for it any more: the next worker must not find it half done.
    pub(crate) async fn write<T: Serialize + Send + 'static>(self: &Arc<Self>, task_id: &str, file: &str, value: T) -> io::Result<()> {
        let (state, path) = (Arc::clone(self), self.of(task_id).join(file));
        let written = tokio::task::spawn_blocking(move || {
            let result = write(&path, &value);
            drop(state);
            result
        });
        written.await.map_err(io::Error::other)?
    }

    /// Moves a task's directory aside, at once, and returns where it went; [`remove_tree`] does the rest.
    pub(crate) fn discard(&self, task_id: &str) -> Option<PathBuf> {
        let aside = self.tasks.join(format!("{TRASH}{}", uuid::Uuid::new_v4()));
        fs::rename(self.of(task_id), &aside).ok().map(|()| aside)
    }
}

const TRASH: &str = "%trash-";

/// Removes a directory and all in it; a failure is logged, since nothing depends on it.
pub(crate) fn remove_tree(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(directory = %directory.display(), %error, "cannot be removed");
    }
}

/// A task id as a file name: readable, without a path separator, and unique also when it had to be cut.
fn directory_name(task_id: &str) -> OsString {
    let mut name = String::with_capacity(task_id.len());
    for byte in task_id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            b'.' if !name.is_empty() => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.len() > 180 {
        name.truncate(180);
        name.push('%');
        name.push_str(&hex::encode(&Sha256::digest(task_id.as_bytes())[..8]));
    }
    name.into()
}

/// Reads a file of JSON; `None` if there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file of JSON and waits until it is on disk. Creates the directory when it is missing.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let directory = path.parent().ok_or_else(|| io::Error::other("a file without a directory"))?;
    fs::create_dir_all(directory)?;
    let aside = path.with_extension("new");
    let mut file = File::create(&aside)?;
    serde_json::to_writer(&mut file, value)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_second_worker_cannot_open_the_same_directory() {
        let root = tempfile::tempdir().unwrap();
        let first = StateDirectory::open(root.path()).unwrap();
        assert_eq!(StateDirectory::open(root.path()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        StateDirectory::open(root.path()).unwrap();
    }

    #[test]
    fn fault_37_nobody_else_may_look_into_the_directory_in_which_code_is_written() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("worker");
        let state = StateDirectory::open(&directory).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(state.of("Task.1").starts_with(directory.canonicalize().unwrap()));
    }

    #[test]
    fn a_directory_without_a_record_is_of_a_task_that_was_never_acknowledged_and_goes() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(root.path()).unwrap();
        fs::create_dir_all(state.of("Task.1").join("code")).unwrap();
        assert!(state.records().is_empty());
        assert!(!state.of("Task.1").exists());
    }

    #[tokio::test]
    async fn the_directory_is_held_until_a_write_is_done_also_when_nobody_waits_for_it() {
        let root = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDirectory::open(root.path()).unwrap());
        let file = state.of("Task.1").join("x.json");
        let writing = {
            let state = Arc::clone(&state);
            async move { state.write("Task.1", "x.json", 1).await }
        };
        let mut writing = Box::pin(writing);
        let begun = futures::poll!(&mut writing);
        drop((writing, state));
        // Whoever opens it now finds the whole file; before that it is in use.
        let opened = loop {
            match StateDirectory::open(root.path()) {
                Ok(opened) => break opened,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse),
            }
            tokio::task::yield_now().await;
        };
        assert!(begun.is_ready() || file.exists(), "{begun:?}");
        drop(opened);
    }

    #[test]
    fn a_damaged_record_does_not_hide_the_others() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(root.path()).unwrap();
        let record = TaskRecord { task: ScheduledTaskInstance { id: "Task.a/b".to_owned(), ..Default::default() }, phase: Phase::Wanted };
        write(&state.of("Task.a/b").join(TASK_FILE), &record).unwrap();
        fs::create_dir_all(state.of("x")).unwrap();
        fs::write(state.of("x").join(TASK_FILE), b"{\"task\":").unwrap();
        assert_eq!(state.records(), [record]);
    }

    #[test]
    fn a_discarded_directory_is_gone_at_once() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(root.path()).unwrap();
        fs::create_dir_all(state.of("x")).unwrap();
        let aside = state.discard("x").unwrap();
        assert!(!state.of("x").exists() && aside.exists());
        assert!(state.records().is_empty() && !aside.exists());
        assert!(state.discard("x").is_none());
    }

    proptest! {
        #[test]
        fn directory_names_are_plain_and_different_for_different_ids(a in ".{1,300}", b in ".{1,300}") {
            let name = directory_name(&a).into_string().unwrap();
            prop_assert!(!name.contains('/') && !name.starts_with('.') && !name.starts_with(TRASH) && name.len() <= 200);
            prop_assert_eq!(a == b, name == directory_name(&b).into_string().unwrap());
        }
    }
}
