//! Memory, descriptors, threads and processor time of this process, read when asked.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// First asked for soon after the start of the process.
static STARTED: LazyLock<f64> = LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()));

/// Remembers the start time.
pub(crate) fn mark_start() {
    LazyLock::force(&STARTED);
}

/// The metrics under their customary names.
pub(crate) fn text(name: &str) -> String {
    let mut out = String::new();
    let mut add = |metric: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = write!(out, "# HELP {metric} {help}\n# TYPE {metric} {kind}\n{metric} {value}\n");
        }
    };
    add("process_resident_memory_bytes", "gauge", "Resident memory", resident_bytes());
    add("process_open_fds", "gauge", "Open file descriptors", open_descriptors());
    add("process_threads", "gauge", "Threads", status_field("Threads:"));
    add("process_cpu_seconds_total", "counter", "Processor time", cpu_seconds());
    add("process_start_time_seconds", "gauge", "Start, seconds since 1970", Some(*STARTED));
    let _ = write!(
        out,
        "# HELP fogflow_build_info Version of this build\n# TYPE fogflow_build_info gauge\nfogflow_build_info{{service=\"{name}\",version=\"{}\"}} 1\n",
        crate::VERSION
    );
    out
}

fn resident_bytes() -> Option<f64> {
    status_field("VmRSS:").map(|kib| kib * 1024.0)
}

fn open_descriptors() -> Option<f64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    u32::try_from(count).ok().map(f64::from)
}

fn status_field(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the command in parentheses, may contain anything; utime and stime are fields 14 and 15.
    let after = stat.rsplit_once(')')?.1;
    let mut fields = after.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    // USER_HZ is 100 on every Linux that Rust supports.
    Some((user + system) / 100.0)
}
