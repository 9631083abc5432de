//! The end of a process: for people, and for whoever waits for it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::proc;

const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How a process ended, in words: its exit code, or the signal that killed it.
pub(crate) fn reason(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(number)) => {
            let name = signal_name(number);
            format!("killed by signal {number}{}{}", if name.is_empty() { "" } else { " " }, name)
        }
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

fn signal_name(number: i32) -> &'static str {
    match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL, possibly because memory ran out",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => "",
    }
}

/// Waits for the end of a process that is not our child, such as one that an earlier start of the worker began. The kernel
/// tells nobody but the parent, so this looks again and again. Its exit code is not ours to learn.
pub(crate) async fn of_stranger(pid: i32, start_time: u64) {
    while proc::is_alive(pid, start_time) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Sends a signal to every process of a group. One that is gone counts as done.
pub(crate) fn signal_group(group: i32, signal: Signal) {
    if let Some(group) = Pid::from_raw(group) {
        match rustix::process::kill_process_group(group, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => tracing::warn!(group = group.as_raw_nonzero().get(), %error, "a signal could not be sent"),
        }
    }
}

/// Kills processes that a task started and that have left its group.
pub(crate) fn kill_all(pids: &[i32]) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        match rustix::process::kill_process(pid, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => tracing::warn!(pid = pid.as_raw_nonzero().get(), %error, "a process of a task cannot be killed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_signals_are_told_apart() {
        assert_eq!(reason(ExitStatus::from_raw(0x0300)), "exited with code 3");
        assert_eq!(reason(ExitStatus::from_raw(15)), "killed by signal 15 SIGTERM");
        assert_eq!(reason(ExitStatus::from_raw(50)), "killed by signal 50");
    }
}
