//! Where a task may write: its folder for temporary files (`TMPDIR`) and its working directory, by Landlock.
//!
//! The restriction is set on the thread that starts the process and inherited by it and by all that it starts; nothing runs
//! between fork and exec. Reading and executing stay as the file permissions say.

use std::path::Path;
use std::sync::OnceLock;

use landlock::{ABI, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, path_beneath_rules};

/// Rights that this version of Landlock knows; on an older kernel those that it knows are restricted.
const RIGHTS: ABI = ABI::V3;
/// Devices that programs write to, and the memory that processes share by name.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/shm", "/dev/pts"];

/// Restricts this thread, and what it starts, to writing below `directories`. Without Landlock in the kernel it does nothing, and
/// says so once.
pub(super) fn restrict<'a>(directories: impl IntoIterator<Item = &'a Path>) {
    static TOLD: OnceLock<()> = OnceLock::new();
    let outcome = enforce(directories);
    TOLD.get_or_init(|| match &outcome {
        Ok(RulesetStatus::FullyEnforced) => tracing::info!("tasks may write to their own directories only (Landlock)"),
        Ok(RulesetStatus::PartiallyEnforced) => {
            tracing::warn!("this kernel's Landlock is old: tasks may truncate and move files outside of their own directories");
        }
        Ok(RulesetStatus::NotEnforced) => tracing::warn!("this kernel has no Landlock: tasks may write wherever the worker may"),
        Err(error) => tracing::warn!(%error, "tasks may write wherever the worker may: Landlock does not work"),
    });
}

fn enforce<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Result<RulesetStatus, RulesetError> {
    let writing = AccessFs::from_write(RIGHTS);
    let places = directories.into_iter().chain(DEVICES.iter().map(Path::new));
    let ruleset = Ruleset::default().handle_access(writing)?.create()?.add_rules(path_beneath_rules(places, writing))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_restricted_process_writes_to_its_own_directory_and_nowhere_else_and_reads_everywhere() {
        let root = tempfile::tempdir().unwrap();
        let (own, other) = (root.path().join("own"), root.path().join("other"));
        for folder in [&own, &other] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(other.join("file"), "kept").unwrap();
        let (inside, outside) = (own.clone(), other);
        let ended = std::thread::spawn(move || {
            let status = enforce([inside.as_path()]).unwrap();
            let script = "echo a > own/a && cat other/file > own/b && echo > /dev/null && ! (echo b > other/b) 2>/dev/null \
                && ! (echo c > other/file) 2>/dev/null && ! rm other/file 2>/dev/null && ! mv own/a other/ 2>/dev/null";
            let ran = Command::new("sh").args(["-c", script]).current_dir(inside.parent().unwrap()).status().unwrap();
            (status, ran.success())
        });
        let (status, as_expected) = ended.join().unwrap();
        if status == RulesetStatus::NotEnforced {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "SKIPPED a_restricted_process_writes_to_its_own_directory: this kernel has no Landlock");
            return;
        }
        assert!(as_expected);
        assert_eq!(std::fs::read_to_string(own.join("b")).unwrap(), "kept");
        assert_eq!(std::fs::read_dir(outside).unwrap().count(), 1);
        std::fs::write(root.path().join("free"), "other threads are not restricted").unwrap();
    }
}
