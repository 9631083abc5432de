//! Recorded histories of a register, and whether they are linearizable: whether every call can have happened at one
//! moment between its beginning and its end.
//!
//! The check is the search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with the memory of
//! visited states of Lowe ("Testing for linearizability", 2017).

use std::collections::HashSet;
use std::sync::Mutex;

/// A call on the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Writes a value.
    Write(u64),
    /// Reads the value.
    Read,
}

/// The number of a call in its history.
#[derive(Clone, Copy, Debug)]
pub struct Call(usize);

#[derive(Clone, Debug)]
struct Entry {
    what: Register,
    begun: usize,
    /// When it was answered. A write that was not may have happened at any time since, or never.
    ended: Option<usize>,
    read: Option<u64>,
    forgotten: bool,
}

#[derive(Default)]
struct Recorded {
    clock: usize,
    calls: Vec<Entry>,
}

/// A history in the making; clients record in it from any thread.
pub struct History {
    first: u64,
    recorded: Mutex<Recorded>,
}

impl History {
    /// A history of a register with this value.
    #[must_use]
    pub fn starting_with(first: u64) -> Self {
        History { first, recorded: Mutex::default() }
    }

    /// A call begins.
    pub fn invoke(&self, what: Register) -> Call {
        let mut recorded = self.recorded.lock().unwrap();
        recorded.clock += 1;
        let begun = recorded.clock;
        recorded.calls.push(Entry { what, begun, ended: None, read: None, forgotten: false });
        Call(recorded.calls.len() - 1)
    }

    /// A call was answered; a read with what it read.
    pub fn complete(&self, call: Call, read: Option<u64>) {
        let mut recorded = self.recorded.lock().unwrap();
        recorded.clock += 1;
        let ended = recorded.clock;
        recorded.calls[call.0].ended = Some(ended);
        recorded.calls[call.0].read = read;
    }

    /// A call had no effect: a read without an answer.
    pub fn forget(&self, call: Call) {
        self.recorded.lock().unwrap().calls[call.0].forgotten = true;
    }

    /// How many calls have begun.
    #[must_use]
    pub fn len(&self) -> usize {
        self.recorded.lock().unwrap().calls.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many calls were answered.
    #[must_use]
    pub fn completed(&self) -> usize {
        self.recorded.lock().unwrap().calls.iter().filter(|call| call.ended.is_some()).count()
    }

    /// Looks for an order of the calls that explains every read.
    ///
    /// # Errors
    /// Where the longest explanation ends.
    pub fn check(&self) -> Result<(), String> {
        let recorded = self.recorded.lock().unwrap();
        let seen: HashSet<u64> = recorded.calls.iter().filter_map(|call| call.read).collect();
        // A write that was not answered and whose value nobody saw need not have happened; each would double the search.
        let matters = |call: &&Entry| match call.what {
            Register::Write(value) => call.ended.is_some() || seen.contains(&value),
            Register::Read => call.ended.is_some(),
        };
        let calls: Vec<Entry> = recorded.calls.iter().filter(|call| !call.forgotten).filter(matters).cloned().collect();
        drop(recorded);
        let must = calls.iter().filter(|call| call.ended.is_some()).count();
        let mut seen: HashSet<(Vec<u64>, u64)> = HashSet::new();
        let mut states = vec![(vec![0u64; calls.len() / 64 + 1], self.first, 0)];
        let mut longest = (0, String::new());
        while let Some((done, value, explained)) = states.pop() {
            if explained == must {
                return Ok(());
            }
            let is_done = |index: usize| done[index / 64] >> (index % 64) & 1 == 1;
            let open = || calls.iter().enumerate().filter(|(index, _)| !is_done(*index));
            let Some(deadline) = open().filter_map(|(_, call)| call.ended).min() else { continue };
            if explained > longest.0 {
                let next: Vec<&Entry> = open().map(|(_, call)| call).filter(|call| call.begun < deadline).collect();
                longest = (explained, format!("after {explained} of {must} calls the value is {value}; next could be {next:?}"));
            }
            for (index, call) in open().filter(|(_, call)| call.begun < deadline) {
                let after = match call.what {
                    Register::Write(written) => written,
                    Register::Read if call.read == Some(value) => value,
                    Register::Read => continue,
                };
                let mut done = done.clone();
                done[index / 64] |= 1 << (index % 64);
                if seen.insert((done.clone(), after)) {
                    states.push((done, after, explained + usize::from(call.ended.is_some())));
                }
            }
        }
        Err(longest.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(history: &History, value: u64) {
        let call = history.invoke(Register::Write(value));
        history.complete(call, None);
    }

    fn read(history: &History, value: u64) {
        let call = history.invoke(Register::Read);
        history.complete(call, Some(value));
    }

    #[test]
    fn an_old_value_after_a_new_one_is_found() {
        let history = History::starting_with(0);
        write(&history, 1);
        read(&history, 1);
        assert_eq!(history.check(), Ok(()));
        read(&history, 0);
        assert!(history.check().is_err());
    }

    #[test]
    fn a_write_without_an_answer_may_have_happened_at_any_time_but_once() {
        let history = History::starting_with(0);
        history.invoke(Register::Write(7));
        read(&history, 0);
        read(&history, 7);
        assert_eq!(history.check(), Ok(()));
        read(&history, 0);
        assert!(history.check().is_err());
    }

    #[test]
    fn calls_at_the_same_time_may_have_happened_in_any_order() {
        let history = History::starting_with(0);
        let (one, two) = (history.invoke(Register::Write(1)), history.invoke(Register::Write(2)));
        let early = history.invoke(Register::Read);
        history.complete(early, Some(2));
        history.complete(one, None);
        history.complete(two, None);
        read(&history, 1);
        assert_eq!(history.check(), Ok(()));
    }
}
