//! The subscriptions in a fixed number of slots, and which of them this replica may serve.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fogflow_ngsi::Tenant;
use xxhash_rust::xxh3::xxh3_64;

/// Slots of a shared store. All replicas must agree.
pub const SLOTS: usize = 16;

/// Which slots are this replica's.
#[derive(Debug)]
pub struct Slots {
    begun: Instant,
    slots: Vec<Slot>,
}

/// How a slot stands, as a byte.
const FOREIGN: u8 = 0;
const MINE: u8 = 1;
const LEAVING: u8 = 2;

#[derive(Debug)]
struct Slot {
    stands: AtomicU8,
    /// Until when it may send, in milliseconds since the start.
    until: AtomicU64,
}

impl Slots {
    /// One slot that is always ours: nobody else uses the store.
    #[must_use]
    pub fn sole() -> Self {
        Slots { begun: Instant::now(), slots: vec![Slot { stands: AtomicU8::new(MINE), until: AtomicU64::new(u64::MAX) }] }
    }

    /// All slots of a shared store, none of them ours yet.
    #[must_use]
    pub fn shared() -> Self {
        let none = || Slot { stands: AtomicU8::new(FOREIGN), until: AtomicU64::new(0) };
        Slots { begun: Instant::now(), slots: std::iter::repeat_with(none).take(SLOTS).collect() }
    }

    /// Whether the store is shared.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.slots.len() > 1
    }

    /// The slot of a subscription. The same in every replica and release.
    #[must_use]
    pub fn of(&self, tenant: &Tenant, id: &str) -> usize {
        if !self.is_shared() {
            return 0;
        }
        let hash = xxh3_64(id.as_bytes()) ^ xxh3_64(tenant.0.as_bytes()).rotate_left(1);
        usize::try_from(hash % self.slots.len() as u64).unwrap_or(0)
    }

    /// Whether changes wait here for the subscriptions of a slot.
    #[must_use]
    pub fn is_mine(&self, slot: usize) -> bool {
        self.stands(slot) == MINE
    }

    /// Whether what waits here is still to be sent from here.
    #[must_use]
    pub fn holds(&self, slot: usize) -> bool {
        self.stands(slot) != FOREIGN
    }

    /// Whether notifications of a slot may be sent now: it is ours and its lease is not in doubt.
    #[must_use]
    pub fn may_send(&self, slot: usize) -> bool {
        let until = self.slots.get(slot).map_or(0, |slot| slot.until.load(Ordering::Acquire));
        self.holds(slot) && (until == u64::MAX || self.now(Instant::now()) < until)
    }

    /// Takes a slot, or ends serving it.
    pub fn set_mine(&self, slot: usize, mine: bool) {
        self.set(slot, if mine { MINE } else { FOREIGN });
    }

    /// No further changes wait here for a slot; those that do are still sent.
    pub fn set_leaving(&self, slot: usize) {
        self.set(slot, LEAVING);
    }

    fn set(&self, slot: usize, stands: u8) {
        if let Some(slot) = self.slots.get(slot) {
            slot.stands.store(stands, Ordering::Release);
        }
    }

    fn stands(&self, slot: usize) -> u8 {
        self.slots.get(slot).map_or(FOREIGN, |slot| slot.stands.load(Ordering::Acquire))
    }

    /// Until when a slot may be sent for.
    pub fn set_until(&self, slot: usize, until: Instant) {
        if let Some(slot) = self.slots.get(slot) {
            slot.until.store(self.now(until), Ordering::Release);
        }
    }

    fn now(&self, time: Instant) -> u64 {
        let since = time.checked_duration_since(self.begun).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_has_the_same_slot_in_every_release() {
        let slots = Slots::shared();
        let of = |tenant: &str, id: &str| slots.of(&Tenant(tenant.into()), id);
        let all: Vec<usize> = (0..1000).map(|number| of("", &format!("urn:{number}"))).collect();
        for slot in 0..SLOTS {
            let count = all.iter().filter(|other| **other == slot).count();
            assert!((30..100).contains(&count), "slot {slot} has {count} of 1000");
        }
        assert_eq!(all, (0..1000).map(|number| of("", &format!("urn:{number}"))).collect::<Vec<_>>());
        assert!(Slots::sole().may_send(Slots::sole().of(&Tenant::default(), "x")));
    }

    #[test]
    fn nothing_is_sent_for_a_slot_whose_lease_is_in_doubt() {
        let slots = Slots::shared();
        slots.set_mine(3, true);
        slots.set_until(3, Instant::now() + Duration::from_secs(60));
        assert!(slots.is_mine(3) && slots.may_send(3) && !slots.may_send(4));
        slots.set_until(3, Instant::now() - Duration::from_millis(1));
        assert!(slots.is_mine(3) && !slots.may_send(3), "changes still wait here");
    }
}
