//! Several replicas of discovery over one store: how each of them learns what the others were told.
//!
//! A replica applies a request to its own memory at once and stores it behind; what the others store it takes from the
//! feed. Of two writes of one document the later one in the store's order counts, everywhere: a write of another replica
//! is ignored if one of our own is later, which is certain for one that is still to be sent, and known by its sequence
//! for one that was. For one that is on its way it is decided when the answer comes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use fogflow_ngsi::Timestamp;
use fogflow_store::follow::{Follower, StateMachine, Step};
use fogflow_store::{Document, Key, Outcome, Sequence, SharedStore, StoreError};
use foldhash::fast::RandomState;
use smol_str::SmolStr;

use super::Registry;
use super::persist::{self, BEAT, BROKER, PART, REGISTRATION, SUBSCRIPTION, StoredPart, StoredRegistration, StoredSubscription};
use super::state::State;
use crate::brokers::{Broker, OpenSnapshot, Presence};
use crate::clock::Clock;
use crate::filter::Filter;

/// In the order in which they are loaded.
const COLLECTIONS: [&str; 5] = [BROKER, REGISTRATION, SUBSCRIPTION, BEAT, PART];

/// Whether other processes may use the same store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// This process alone has it.
    None,
    /// There may be other replicas.
    Possible,
}

/// Own writes that may cross those of other replicas.
#[derive(Debug, Default)]
pub(crate) struct Crossing {
    under_way: HashSet<Key, RandomState>,
    /// What the feed brought for documents of which a write is on its way.
    met: HashMap<Key, Document, RandomState>,
    /// The sequences of own writes that the feed has not brought yet.
    own: HashMap<Key, Sequence, RandomState>,
}

impl Crossing {
    /// These documents are about to be written.
    pub(super) fn begin(&mut self, keys: impl Iterator<Item = Key>) {
        self.under_way.extend(keys);
    }

    /// The writes that were under way failed; they will be sent again.
    pub(super) fn give_up(&mut self) {
        self.under_way.clear();
        self.met.clear();
    }

    /// A write has been answered. Returns what another replica wrote after it.
    fn settle(&mut self, key: Key, sequence: Sequence) -> Option<Document> {
        self.under_way.remove(&key);
        let met = self.met.remove(&key);
        match met {
            Some(met) if met.sequence > sequence => Some(met),
            // The feed has brought it already.
            Some(met) if met.sequence == sequence => None,
            _ => {
                self.own.insert(key, sequence);
                None
            }
        }
    }

    /// Whether a document of the feed is news.
    fn is_news(&mut self, document: &Document) -> bool {
        if self.under_way.contains(&document.key) {
            self.met.insert(document.key.clone(), document.clone());
            return false;
        }
        match self.own.get(&document.key) {
            Some(own) if *own >= document.sequence => {
                if *own == document.sequence {
                    self.own.remove(&document.key);
                }
                false
            }
            _ => {
                self.own.remove(&document.key);
                true
            }
        }
    }
}

impl Registry {
    /// Own writes have been answered.
    pub(super) fn settled(&self, keys: Vec<Key>, outcomes: &[Outcome]) {
        let mut state = self.state.write();
        let Some(mut crossing) = state.crossing.take() else { return };
        let mut later = Vec::new();
        for (key, outcome) in keys.into_iter().zip(outcomes) {
            if let Outcome::Committed { sequence, .. } = outcome {
                later.extend(crossing.settle(key, *sequence));
            }
        }
        state.crossing = Some(crossing);
        let now = self.clock.now();
        for document in later {
            if let Err(error) = state.take_over(document, now) {
                tracing::error!(%error, "what another replica wrote cannot be read");
            }
        }
        let is_ready = !state.ready.is_empty();
        drop(state);
        if is_ready {
            self.ready.notify_one();
        }
    }
}

/// Brings what is stored into the memory of a registry, and keeps it there.
pub struct Replica {
    registry: Arc<Registry>,
    follower: Arc<Follower<()>>,
    clock: Clock,
    /// The documents of an unfinished reading of everything.
    named: HashSet<Key, RandomState>,
}

impl Replica {
    pub(super) fn new(registry: Arc<Registry>, store: SharedStore, clock: Clock) -> Self {
        let follower = Arc::new(Follower::new(store, &COLLECTIONS));
        Replica { registry, follower, clock, named: HashSet::default() }
    }

    /// Tells how far it is.
    #[must_use]
    pub fn follower(&self) -> Arc<Follower<()>> {
        Arc::clone(&self.follower)
    }

    pub(super) async fn load(&mut self) -> Result<(), StoreError> {
        let follower = self.follower();
        follower.load(self).await
    }

    /// Follows the changes of other replicas until `stop` is done.
    ///
    /// # Errors
    /// When the store holds what cannot be understood.
    pub async fn follow(mut self, stop: impl Future<Output = ()>) -> Result<(), StoreError> {
        let follower = self.follower();
        follower.run(&mut self, stop).await
    }

    fn take_over(&self, documents: Vec<Document>) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut state = self.registry.state.write();
        for document in documents {
            let is_news = match &mut state.crossing {
                Some(crossing) => crossing.is_news(&document),
                None => true,
            };
            if is_news && !state.is_dirty(&document.key) {
                state.take_over(document, now)?;
            }
        }
        let is_ready = !state.ready.is_empty();
        drop(state);
        if is_ready {
            self.registry.ready.notify_one();
        }
        Ok(())
    }
}

#[async_trait]
impl StateMachine for Replica {
    type Own = ();

    async fn apply(&mut self, steps: Vec<Step<()>>) -> Result<(), StoreError> {
        let read = |step| match step {
            Step::Read(document) => Some(document),
            Step::Own(..) => None,
        };
        self.take_over(steps.into_iter().filter_map(read).collect())
    }

    async fn restore(&mut self, documents: Vec<Document>, last: bool) -> Result<(), StoreError> {
        self.named.extend(documents.iter().map(|document| document.key.clone()));
        self.take_over(documents)?;
        if last {
            let named = std::mem::take(&mut self.named);
            let gone = self.registry.state.read().keys().filter(|key| !named.contains(key)).collect::<Vec<_>>();
            let removal = |key| Document { key, version: 0, sequence: self.follower.applied(), value: None };
            self.take_over(gone.into_iter().map(removal).collect())?;
        }
        Ok(())
    }
}

impl State {
    /// The documents of all registrations and subscriptions.
    fn keys(&self) -> impl Iterator<Item = Key> {
        let registrations = self.index.all().map(|registration| persist::registration_key(&registration.key));
        registrations.chain(self.subscriptions.keys().map(|id| Key::new(SUBSCRIPTION, "", id.clone())))
    }

    /// Whether a change of our own is still to be written, which will then be the later one.
    fn is_dirty(&self, key: &Key) -> bool {
        match key.collection.as_str() {
            REGISTRATION => !self.dirty.registrations.is_empty() && self.dirty.registrations.contains(&persist::entity_of(key.clone())),
            SUBSCRIPTION => self.dirty.subscriptions.contains(&key.id),
            BROKER => self.dirty.brokers.contains(&key.id),
            _ => false,
        }
    }

    /// Takes a stored document over. It is not written again, whatever follows from it.
    fn take_over(&mut self, document: Document, now: Timestamp) -> Result<(), StoreError> {
        let (dirty, version) = (std::mem::take(&mut self.dirty), self.version);
        let taken = self.take_in(document, now);
        self.dirty = dirty;
        self.version = version;
        taken
    }

    fn take_in(&mut self, document: Document, now: Timestamp) -> Result<(), StoreError> {
        let id = document.key.id.clone();
        match (document.key.collection.as_str(), document.value.is_some()) {
            (REGISTRATION, true) => {
                let stored: StoredRegistration = read(&document)?;
                let registration = persist::restore(self, document.key, stored);
                let announce = registration.owner.broker.is_none() && self.duty.is_on();
                self.put(registration, announce);
            }
            (REGISTRATION, false) => self.remove(&persist::entity_of(document.key)),
            (SUBSCRIPTION, true) => {
                let stored: StoredSubscription = read(&document)?;
                // After a restart subscribers may know of what is gone by now.
                let even_if_empty = stored.even_if_empty || self.crossing.is_none();
                match Filter::of_subscription(&stored.subscription) {
                    Ok(filter) => self.subscribe(stored.subscription, filter, stored.expires, even_if_empty, now),
                    Err(reason) => {
                        tracing::error!(subscription = %id, %reason, "a stored availability subscription is not understood and rests");
                    }
                }
            }
            (SUBSCRIPTION, false) => {
                self.unsubscribe(&id);
            }
            (BROKER, true) => self.restore_broker(&id, read(&document)?, now),
            (BEAT, true) => self.brokers.seen_elsewhere(&id, now),
            (PART, true) => {
                let StoredPart { broker, round, told } = read(&document)?;
                let open = self.brokers.get_mut(&broker).and_then(|broker| broker.snapshot.as_mut());
                if let Some(open) = open.filter(|open| open.round == round) {
                    open.told_elsewhere.extend(told);
                    open.parts.push(id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn restore_broker(&mut self, id: &SmolStr, mut stored: Broker, now: Timestamp) {
        let known = self.brokers.get_mut(id).and_then(|broker| broker.snapshot.take());
        stored.snapshot = match (stored.snapshot, known) {
            (Some(stored), Some(known)) if stored.round == known.round => Some(known),
            (Some(stored), _) if self.crossing.is_some() => Some(OpenSnapshot { mark: self.index.begin_snapshot(), ..stored }),
            _ => None,
        };
        let was_away = self.brokers.get(id).is_some_and(|broker| broker.presence != Presence::Present);
        let is_away = stored.presence != Presence::Present;
        self.brokers.restore(id.clone(), stored, now);
        if was_away || is_away {
            self.show_according_to_presence(id);
        }
    }
}

fn read<'a, T: serde::Deserialize<'a>>(document: &'a Document) -> Result<T, StoreError> {
    persist::parse(document).map_err(|error| StoreError::Damaged(format!("{error:#}")))
}
