//! Ports for tasks.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a port that was given out is not given out again, whether its task listens by then or not.
const RESERVED: Duration = Duration::from_secs(30);
const ATTEMPTS: usize = 64;

/// Chooses free ports. Nothing can keep a port free until a task binds it; a task that finds it taken ends, and its next
/// start gets another one. What this does prevent is giving one port to two tasks that start at the same time.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    given: Mutex<HashMap<u16, Instant>>,
}

impl Ports {
    /// A port on which nobody listens now.
    pub(crate) fn choose(&self) -> io::Result<u16> {
        let mut given = self.given.lock();
        let now = Instant::now();
        given.retain(|_, since| now.duration_since(*since) < RESERVED);
        for _ in 0..ATTEMPTS {
            // On all addresses, as tasks do: a port that is free on loopback only would not help them.
            let port = TcpListener::bind(("0.0.0.0", 0))?.local_addr()?.port();
            if given.insert(port, now).is_none() {
                return Ok(port);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no free port was found"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_26_tasks_that_start_together_get_different_ports() {
        let ports = Ports::default();
        let chosen: std::collections::BTreeSet<u16> = (0..200).map(|_| ports.choose().unwrap()).collect();
        assert_eq!(chosen.len(), 200);
    }
}
