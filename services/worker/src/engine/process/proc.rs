//! What the kernel tells of processes (`/proc`): who runs, since when, in which group, for which task.

use std::fs;
use std::path::Path;

/// The variable by which a process of a task is recognised: the absolute path of the task's directory.
pub(crate) const MARK: &str = "FOGFLOW_TASK_DIRECTORY";

/// One line of `/proc/<pid>/stat`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Process id.
    pub(crate) pid: i32,
    /// `R`, `S`, … `Z` for a process that has ended and waits for its parent.
    pub(crate) state: char,
    /// Process group.
    pub(crate) group: i32,
    /// Start time in clock ticks since boot. With the pid it names a process for as long as the machine runs.
    pub(crate) start_time: u64,
}

/// Reads the stat line of a process; `None` when there is none.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(line: &str) -> Option<Stat> {
    // The name in parentheses may contain anything, also spaces and parentheses: what follows the last one is regular.
    let (head, rest) = (line.get(..line.find('(')?)?, line.get(line.rfind(')')? + 1..)?);
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        pid: head.trim().parse().ok()?,
        state: fields.first()?.chars().next()?,
        group: fields.get(2)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// Whether exactly this process still runs.
pub(crate) fn is_alive(pid: i32, start_time: u64) -> bool {
    stat(pid).is_some_and(|stat| stat.start_time == start_time && !matches!(stat.state, 'Z' | 'X'))
}

/// The task directory that a process was marked with. `None` also when the process is not ours to look into.
pub(crate) fn mark_of(pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))
        .map(|value| String::from_utf8_lossy(value).into_owned())
}

/// Ids of all processes.
pub(crate) fn all_pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The leaders of process groups that carry the mark of a task below `tasks`, with that task's directory.
pub(crate) fn marked_leaders(tasks: &Path) -> Vec<(Stat, String)> {
    all_pids()
        .into_iter()
        .filter_map(|pid| {
            let stat = stat(pid).filter(|stat| stat.group == pid && !matches!(stat.state, 'Z' | 'X'))?;
            let mark = mark_of(pid).filter(|mark| Path::new(mark).parent() == Some(tasks))?;
            Some((stat, mark))
        })
        .collect()
}

/// Every process that carries the mark of this task, also one that has left its group.
pub(crate) fn marked(task_directory: &Path) -> Vec<i32> {
    all_pids().into_iter().filter(|pid| mark_of(*pid).is_some_and(|mark| Path::new(&mark) == task_directory)).collect()
}

/// Whether the kernel still has a process in this group.
pub(crate) fn group_exists(group: i32) -> bool {
    all_pids().into_iter().filter_map(stat).any(|stat| stat.group == group && !matches!(stat.state, 'Z' | 'X'))
}

/// Whose socket accepts connections on a TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// A process of the task.
    Task,
    /// A process that is not of the task.
    Foreign,
    /// Nobody that could be looked into.
    Unknown,
}

/// Finds out whether the listener of a port belongs to the task: a process of its group, or one that carries its mark.
/// Without this a port that another program took between its choice and its use would look like a task that is up
/// (FAULT 26).
pub(crate) fn listener_of(port: u16, group: i32, task_directory: &str) -> Listener {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    if inodes.is_empty() {
        return Listener::Unknown;
    }
    let mut found = Listener::Unknown;
    for pid in all_pids() {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let holds = files
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()));
        if holds {
            if stat(pid).is_some_and(|stat| stat.group == group) || mark_of(pid).as_deref() == Some(task_directory) {
                return Listener::Task;
            }
            found = Listener::Foreign;
        }
    }
    found
}

/// The sockets of `/proc/net/tcp` that listen on a port, as links of `/proc/<pid>/fd` show them.
fn listening(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
            let matches = u16::from_str_radix(local_port, 16).ok()? == port && *fields.get(3)? == LISTEN;
            matches.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]"))).flatten()
        })
        .collect()
}

/// Names this boot of the machine; start times of different boots cannot be compared.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) (b c) S 1 40 40 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 100 200";
        assert_eq!(parse_stat(line), Some(Stat { pid: 42, state: 'S', group: 40, start_time: 987_654 }));
        assert_eq!(parse_stat("42 (a"), None);
    }

    #[test]
    fn this_process_is_alive_and_a_process_with_its_pid_but_another_start_is_not() {
        let own = stat(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(is_alive(own.pid, own.start_time));
        assert!(!is_alive(own.pid, own.start_time + 1));
    }

    #[test]
    fn fault_26_a_port_that_another_program_listens_on_is_not_taken_for_the_tasks() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listener_of(port, 1, "/no/such/task"), Listener::Foreign);
        drop(listener);
        assert_eq!(listener_of(port, 1, "/no/such/task"), Listener::Unknown);
    }
}
