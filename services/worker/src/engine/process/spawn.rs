//! Starts a process for a task: its own group, files as output, no new privileges.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Resource, Rlimit};
use tokio::process::{Child, Command};

use super::sandbox;

/// Open files that a task may have (soft and hard limit, never above the worker's own hard limit).
const OPEN_FILES: u64 = 65_536;
/// Variables of the worker that a task gets; everything else, credentials above all, stays with the worker.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];

/// What to execute.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The executable file.
    pub(crate) path: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Its working directory.
    pub(crate) directory: Option<PathBuf>,
    /// Its environment beside what every process inherits.
    pub(crate) environment: BTreeMap<String, String>,
    /// Private memory that it may have, in bytes.
    pub(crate) memory: Option<u64>,
    /// Where it may write beside its working directory.
    pub(crate) own: PathBuf,
}

/// Looks a program up as a shell would: a name with a slash is a path (relative to `directory`), another one is searched
/// in `PATH`.
pub(crate) fn find(name: &str, directory: Option<&Path>) -> Option<PathBuf> {
    if name.contains('/') {
        let path = directory.map_or_else(|| PathBuf::from(name), |directory| directory.join(name));
        return is_executable(&path).then(|| std::path::absolute(&path).unwrap_or(path));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Starts the program. Both outputs go to the end of `log`, in the order in which they are written.
///
/// Must be called on a thread of its own inside the runtime: `no_new_privs` and the restriction of writes are set for the calling
/// thread and passed on to the child, which needs no code between fork and exec.
pub(crate) fn start(program: &Program, log: &Path) -> io::Result<Child> {
    let output: File = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .kill_on_drop(false);
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(&program.environment);
    if let Some(directory) = &program.directory {
        command.current_dir(directory);
    }
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        tracing::warn!(%error, "this kernel cannot keep tasks from gaining privileges");
    }
    sandbox::restrict([program.own.as_path()].into_iter().chain(program.directory.as_deref()));
    let child = command.spawn()?;
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        limit(pid, program.memory);
    }
    Ok(child)
}

/// Limits of a task. Address space is not among them: runtimes such as Node reserve far more than they use. Private memory
/// (`RLIMIT_DATA`) is limited when the operator says so.
fn limit(pid: Pid, memory: Option<u64>) {
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum.map_or(OPEN_FILES, |own| own.min(OPEN_FILES));
    let mut limits = vec![
        (Resource::Nofile, Rlimit { current: Some(hard), maximum: Some(hard) }),
        (Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }),
    ];
    limits.extend(memory.map(|bytes| (Resource::Data, Rlimit { current: Some(bytes), maximum: Some(bytes) })));
    for (resource, limit) in limits {
        if let Err(error) = rustix::process::prlimit(Some(pid), resource, limit)
            && error != rustix::io::Errno::SRCH
        {
            tracing::debug!(%error, ?resource, "a limit of a task could not be set");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_path_or_relative_to_the_working_directory() {
        assert!(find("sh", None).unwrap().is_absolute());
        assert_eq!(find("no-such-program-at-all", None), None);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run");
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        assert_eq!(find("./run", Some(directory.path())), None, "a file that may not be executed is no program");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(find("./run", Some(directory.path())).unwrap().canonicalize().unwrap(), path.canonicalize().unwrap());
    }
}
