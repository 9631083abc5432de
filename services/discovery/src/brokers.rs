//! Which brokers are there. A broker keeps its registrations by a lease that heartbeats renew. Pure: time comes in.

use std::collections::{HashMap, HashSet};

use fogflow_ngsi::Timestamp;
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::{EntityRef, Owner};

/// How many heartbeats may be missed before the lease ends.
const MISSED_BEATS: i64 = 3;
/// Upstream brokers beat every 10 s, whatever the configuration says; their lease is at least this long (microseconds).
const UPSTREAM_LEASE: i64 = 30_000_000;
/// The shortest lease, so that a tiny interval does not make brokers flicker (microseconds).
const SHORTEST_LEASE: i64 = 1_000_000;

/// Whether a broker is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It has a valid lease.
    #[default]
    Present,
    /// Its lease ended without a word.
    Lost,
    /// It said good-bye: its own registration was deleted.
    Left,
}

/// A full re-registration that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSnapshot {
    /// The broker's generation.
    pub generation: u64,
    /// Tells it from an earlier one of the same generation.
    pub round: SmolStr,
    /// The index's mark since the first part.
    #[serde(skip)]
    pub mark: u32,
    /// What other replicas of discovery were told in it.
    #[serde(skip)]
    pub told_elsewhere: HashSet<EntityRef, RandomState>,
    /// The stored lists of what each replica was told.
    #[serde(skip)]
    pub parts: Vec<SmolStr>,
}

/// A broker. The fields that a restart of discovery must not forget are the stored ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Broker {
    /// `Broker.<site>` or `Broker.<site>.<instance>`.
    #[serde(skip)]
    pub id: SmolStr,
    /// Where it answers, for example `http://10.0.0.5:8070/ngsi10`.
    pub url: SmolStr,
    /// Its start, if it says so; upstream brokers do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The generation whose registrations discovery has in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<u64>,
    /// Whether it is there.
    #[serde(default)]
    pub presence: Presence,
    /// The last sign of life.
    #[serde(skip)]
    pub last_seen: Timestamp,
    /// Whether it shall register in full again although `complete` is its generation: it was away for a while.
    #[serde(skip)]
    pub stale: bool,
    /// Its re-registration, if one is under way. Only replicas that share a store find it there again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<OpenSnapshot>,
}

/// What a sign of life changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignOfLife {
    /// Something that must be stored.
    pub stored: bool,
    /// The broker was away and what it registered may be shown again.
    pub returned: bool,
}

/// All brokers by id.
#[derive(Debug)]
pub struct Brokers {
    all: HashMap<SmolStr, Broker, RandomState>,
    /// Microseconds.
    lease: i64,
}

impl Broker {
    /// Whether an owner of registrations is this broker: by id, or by URL if the registration named no id.
    #[must_use]
    pub fn is(&self, owner: &Owner) -> bool {
        match &owner.broker {
            Some(id) => *id == self.id,
            None => owner.url == self.url,
        }
    }

    /// Whether it shall register everything again.
    #[must_use]
    pub fn registrations_wanted(&self) -> bool {
        self.generation.is_some() && (self.stale || self.complete != self.generation)
    }
}

impl Brokers {
    /// None yet; leases of three times `interval` seconds.
    #[must_use]
    pub fn new(interval_seconds: u64) -> Self {
        let interval = i64::try_from(interval_seconds).unwrap_or(i64::MAX / 4_000_000).min(i64::MAX / 4_000_000);
        Brokers { all: HashMap::default(), lease: (interval * 1_000_000 * MISSED_BEATS).max(SHORTEST_LEASE) }
    }

    /// Takes in a stored broker. It gets a whole lease to show up.
    pub fn restore(&mut self, id: SmolStr, mut broker: Broker, now: Timestamp) {
        broker.id = id.clone();
        broker.last_seen = now;
        self.all.insert(id, broker);
    }

    /// Another replica has heard of this broker.
    pub fn seen_elsewhere(&mut self, id: &str, now: Timestamp) {
        if let Some(broker) = self.all.get_mut(id) {
            broker.last_seen = broker.last_seen.max(now);
        }
    }

    /// Nobody could be heard for a while: silence until now proves nothing.
    pub fn excuse_silence(&mut self, now: Timestamp) {
        self.all.values_mut().for_each(|broker| broker.last_seen = broker.last_seen.max(now));
    }

    /// One broker.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Broker> {
        self.all.get(id)
    }

    /// One broker, to change it.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Broker> {
        self.all.get_mut(id)
    }

    /// The broker that is this owner, if it is a broker that is known.
    #[must_use]
    pub fn of(&self, owner: &Owner) -> Option<&Broker> {
        match &owner.broker {
            Some(id) => self.all.get(id),
            None => self.all.values().find(|broker| broker.url == owner.url),
        }
    }

    /// Those that are there, by id.
    #[must_use]
    pub fn present(&self) -> Vec<&Broker> {
        let mut present: Vec<&Broker> = self.all.values().filter(|broker| broker.presence == Presence::Present).collect();
        present.sort_by(|a, b| a.id.cmp(&b.id));
        present
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Broker> {
        self.all.values()
    }

    /// Takes note of a heartbeat or of another request that a broker signed with its id.
    pub fn sign_of_life(&mut self, id: &SmolStr, url: &SmolStr, generation: Option<u64>, now: Timestamp) -> SignOfLife {
        let known = self.all.contains_key(id);
        let broker = self.all.entry(id.clone()).or_insert_with(|| Broker { id: id.clone(), ..Broker::default() });
        let mut stored = !known;
        broker.last_seen = now;
        if !url.is_empty() && broker.url != *url {
            broker.url = url.clone();
            stored = true;
        }
        if generation.is_some() && broker.generation != generation {
            broker.generation = generation;
            broker.snapshot = None;
            stored = true;
        }
        let was_away = broker.presence != Presence::Present;
        // A broker that was started anew shows its entities again when it has registered them all; one that was only
        // out of reach, or that cannot register in full (upstream's), shows them at once.
        let returned = was_away && (broker.generation.is_none() || broker.complete == broker.generation);
        if returned {
            broker.presence = Presence::Present;
            broker.stale = broker.generation.is_some();
        }
        SignOfLife { stored: stored || returned, returned }
    }

    /// The brokers whose lease has ended and who are not known to be away yet.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> Vec<SmolStr> {
        let ended = |broker: &&Broker| {
            let lease = if broker.generation.is_none() { self.lease.max(UPSTREAM_LEASE) } else { self.lease };
            broker.presence == Presence::Present && now.0 - broker.last_seen.0 > lease
        };
        self.all.values().filter(ended).map(|broker| broker.id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn beat(brokers: &mut Brokers, generation: Option<u64>, second: i64) -> SignOfLife {
        brokers.sign_of_life(&"Broker.001".into(), &"http://b/ngsi10".into(), generation, Timestamp(second * SECOND))
    }

    #[test]
    fn fault_14_a_lease_ends_after_three_missed_heartbeats() {
        let mut brokers = Brokers::new(10);
        beat(&mut brokers, Some(7), 0);
        assert!(brokers.expired(Timestamp(29 * SECOND)).is_empty());
        beat(&mut brokers, Some(7), 20);
        assert!(brokers.expired(Timestamp(50 * SECOND)).is_empty());
        assert_eq!(brokers.expired(Timestamp(51 * SECOND)), ["Broker.001"]);
    }

    #[test]
    fn fault_14_a_missing_interval_does_not_make_upstream_brokers_vanish() {
        let mut brokers = Brokers::new(0);
        beat(&mut brokers, None, 0);
        assert!(brokers.expired(Timestamp(12 * SECOND)).is_empty());
    }

    #[test]
    fn a_broker_that_was_away_is_asked_for_everything_but_shown_at_once_if_it_is_the_same_process() {
        let mut brokers = Brokers::new(10);
        beat(&mut brokers, Some(7), 0);
        assert!(brokers.get("Broker.001").unwrap().registrations_wanted());
        brokers.get_mut("Broker.001").unwrap().complete = Some(7);
        assert!(!brokers.get("Broker.001").unwrap().registrations_wanted());
        brokers.get_mut("Broker.001").unwrap().presence = Presence::Lost;
        assert!(beat(&mut brokers, Some(7), 100).returned);
        assert!(brokers.get("Broker.001").unwrap().registrations_wanted());
        brokers.get_mut("Broker.001").unwrap().presence = Presence::Lost;
        assert!(!beat(&mut brokers, Some(8), 200).returned);
    }
}
