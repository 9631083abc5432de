//! Which commands are too old to be obeyed.
//!
//! Our masters number their leadership (`Epoch`) and, within it, each change to a task (`Generation`). Upstream's masters
//! send neither; their commands are always obeyed, in the order in which they arrive.

use std::collections::{HashMap, VecDeque};

use fogflow_orchestration::DesiredTasks;

/// Removed tasks whose last generation is remembered, against commands that were overtaken by the removal.
const REMEMBERED: usize = 4096;

/// A command's place in the order of a master's commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) epoch: Option<u64>,
    pub(crate) generation: Option<u64>,
}

impl Stamp {
    /// Whether a command with this stamp was given before one with `other`, as far as both say.
    fn is_before(self, other: Stamp) -> bool {
        match (self.epoch, other.epoch) {
            (Some(mine), Some(theirs)) if mine != theirs => mine < theirs,
            _ => matches!((self.generation, other.generation), (Some(mine), Some(theirs)) if mine < theirs),
        }
    }
}

/// What has been seen.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    epoch: u64,
    /// The newest command heard: its epoch and generation.
    heard: (u64, u64),
    full: Option<(u64, u64)>,
    last: HashMap<String, Stamp>,
    order: VecDeque<String>,
}

impl Fence {
    /// The highest epoch seen.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The generation of the newest command heard in the highest epoch, of which there may be none yet. A master sends its
    /// commands to a worker in the order of their generations, so all before it were heard too.
    pub(crate) fn heard(&self) -> Option<u64> {
        (self.heard.1 > 0 && self.heard.0 == self.epoch).then_some(self.heard.1)
    }

    /// Whether to obey a command about a task; notes it if so.
    pub(crate) fn admit(&mut self, task_id: &str, stamp: Stamp) -> bool {
        self.heard = self.heard.max((stamp.epoch.unwrap_or(0), stamp.generation.unwrap_or(0)));
        if stamp.epoch.is_some_and(|epoch| epoch < self.epoch) || self.last.get(task_id).is_some_and(|last| stamp.is_before(*last)) {
            return false;
        }
        self.epoch = self.epoch.max(stamp.epoch.unwrap_or(0));
        if stamp.generation.is_some() && self.last.insert(task_id.to_owned(), stamp).is_none() {
            self.order.push_back(task_id.to_owned());
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.last.remove(&oldest);
            }
        }
        true
    }

    /// Whether to obey a master's whole set; notes it if so.
    pub(crate) fn admit_full(&mut self, desired: &DesiredTasks) -> bool {
        let stamp = (desired.epoch, desired.generation);
        self.heard = self.heard.max(stamp);
        if desired.epoch < self.epoch || self.full.is_some_and(|full| stamp < full) {
            return false;
        }
        self.epoch = desired.epoch;
        self.full = Some(stamp);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(epoch: u64, generation: u64) -> Stamp {
        Stamp { epoch: Some(epoch), generation: Some(generation) }
    }

    #[test]
    fn the_newest_generation_of_the_highest_epoch_is_what_was_heard() {
        let mut fence = Fence::default();
        assert_eq!(fence.heard(), None);
        fence.admit("a", stamp(2, 7));
        fence.admit("a", stamp(2, 5));
        assert_eq!(fence.heard(), Some(7), "also when an old one is not obeyed");
        fence.admit_full(&DesiredTasks { epoch: 3, generation: 2, ..DesiredTasks::default() });
        assert_eq!(fence.heard(), Some(2));
        fence.admit("a", Stamp::default());
        assert_eq!(fence.heard(), Some(2), "an upstream master's commands have no number");
    }

    #[test]
    fn a_command_that_was_overtaken_is_refused_and_a_repeated_one_is_not() {
        let mut fence = Fence::default();
        assert!(fence.admit("a", stamp(1, 5)));
        assert!(fence.admit("a", stamp(1, 5)));
        assert!(!fence.admit("a", stamp(1, 4)));
        assert!(fence.admit("b", stamp(1, 1)));
    }

    #[test]
    fn a_new_leader_starts_counting_anew_and_the_old_one_is_refused_from_then_on() {
        let mut fence = Fence::default();
        assert!(fence.admit("a", stamp(1, 50)));
        assert!(fence.admit("a", stamp(2, 1)));
        assert!(!fence.admit("a", stamp(1, 51)));
        assert!(!fence.admit_full(&DesiredTasks { epoch: 1, generation: 99, ..Default::default() }));
        assert!(fence.admit_full(&DesiredTasks { epoch: 2, generation: 3, ..Default::default() }));
        assert!(!fence.admit_full(&DesiredTasks { epoch: 2, generation: 2, ..Default::default() }));
    }

    #[test]
    fn an_upstream_master_that_numbers_nothing_is_obeyed() {
        let mut fence = Fence::default();
        assert!(fence.admit("a", Stamp::default()));
        assert!(fence.admit("a", stamp(3, 1)));
        assert!(fence.admit("a", Stamp::default()));
    }

    #[test]
    fn what_is_remembered_of_removed_tasks_is_bounded() {
        let mut fence = Fence::default();
        for number in 0..(REMEMBERED + 10) {
            assert!(fence.admit(&format!("t{number}"), stamp(1, 7)));
        }
        assert_eq!(fence.last.len(), REMEMBERED);
        assert_eq!(fence.order.len(), REMEMBERED);
    }
}
