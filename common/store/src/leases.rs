//! The lease table of the engines that live in one process. Its clock is the process's monotonic clock, so a step of
//! the wall clock changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::Lease;

/// One lease.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) holder: String,
    pub(crate) epoch: u64,
    pub(crate) until: Instant,
    pub(crate) ttl: Duration,
}

/// All leases by name. Expired ones stay, because their epochs must go on growing.
#[derive(Default)]
pub(crate) struct Leases {
    held: BTreeMap<String, Held>,
}

impl Leases {
    /// Puts back a lease as it was stored. It counts as held for its whole `ttl` from now, since nobody knows how
    /// much of it had passed when the store was closed.
    pub(crate) fn restore(&mut self, name: String, holder: String, epoch: u64, ttl: Duration, now: Instant) {
        self.held.insert(name, Held { holder, epoch, until: now + ttl, ttl });
    }

    /// Takes or renews `name` for `holder`. The flag says whether holder or epoch changed, and so whether an engine
    /// that persists leases must store the entry before it answers.
    pub(crate) fn take(&mut self, name: &str, holder: &str, ttl: Duration, now: Instant) -> (Lease, bool) {
        let Some(held) = self.held.get_mut(name) else {
            self.held.insert(name.to_owned(), Held { holder: holder.to_owned(), epoch: 1, until: now + ttl, ttl });
            return (Lease { holder: holder.to_owned(), epoch: 1, granted: true }, true);
        };
        let valid = held.until > now;
        if valid && held.holder != holder {
            return (Lease { holder: held.holder.clone(), epoch: held.epoch, granted: false }, false);
        }
        let changed = !valid || held.ttl != ttl;
        if !valid {
            held.epoch += 1;
            holder.clone_into(&mut held.holder);
        }
        held.until = now + ttl;
        held.ttl = ttl;
        (Lease { holder: held.holder.clone(), epoch: held.epoch, granted: true }, changed)
    }

    /// Frees `name` if `holder` has it; tells whether it did.
    pub(crate) fn release(&mut self, name: &str, holder: &str, now: Instant) -> bool {
        match self.held.get_mut(name) {
            Some(held) if held.holder == holder && held.until > now => {
                held.until = now;
                true
            }
            _ => false,
        }
    }

    /// The entry of a name, to persist it.
    pub(crate) fn entry(&self, name: &str) -> Option<&Held> {
        self.held.get(name)
    }

    /// Puts an entry back as it was before a change that could not be stored.
    pub(crate) fn put_back(&mut self, name: &str, before: Option<Held>) {
        match before {
            Some(held) => self.held.insert(name.to_owned(), held),
            None => self.held.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_grows_with_each_new_holder_and_after_expiry_but_not_on_renewal() {
        let (mut leases, start, ttl) = (Leases::default(), Instant::now(), Duration::from_secs(3));
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(leases.take("x", "a", ttl, at(0)).0.epoch, 1);
        assert_eq!(leases.take("x", "a", ttl, at(2000)).0.epoch, 1);
        let refused = leases.take("x", "b", ttl, at(4000)).0;
        assert_eq!((refused.granted, refused.holder.as_str(), refused.epoch), (false, "a", 1));
        assert_eq!(leases.take("x", "b", ttl, at(5000)).0, Lease { holder: "b".into(), epoch: 2, granted: true });
        assert_eq!(leases.take("x", "b", ttl, at(9000)).0.epoch, 3, "from itself to itself after expiry");
        assert!(!leases.release("x", "a", at(9001)));
        assert!(leases.release("x", "b", at(9001)));
        assert_eq!(leases.take("x", "a", ttl, at(9001)).0.epoch, 4);
    }
}
