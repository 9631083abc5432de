//! What is watched at discovery: one availability subscription per selector, and how far its entities are known.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_ngsi::Attribute;
use fogflow_ngsi::v1::availability::{ContextRegistration, NotifyContextAvailabilityRequest, Snapshot};
use fogflow_orchestration::EntityDetail;
use serde_json::{Value, json};

use crate::planner::{EntityKey, Selector};

/// Notifications that may wait for their subscription to become known (FAULT 15), and for how long.
const PARKED_LIMIT: usize = 256;
/// Entities in all of them together.
const PARKED_ENTITIES: usize = 50_000;
const PARKED_FOR: Duration = Duration::from_secs(30);
/// Upstream registers an entity before it stores it (FAULT 16): its broker is asked again after these pauses.
const LOOKUP_PAUSES: [Duration; 4] = [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(250), Duration::from_millis(1000)];

/// A watched selector.
#[derive(Debug)]
pub struct Watch {
    /// What is watched.
    pub selector: Arc<Selector>,
    /// The id that discovery gave the subscription; it has none yet when `None`.
    pub subscription: Option<String>,
    /// Whether all its entities are known.
    pub complete: bool,
    /// When it was last subscribed.
    pub since: Option<Instant>,
    /// The entities named by the snapshot that is arriving.
    arriving: Option<HashSet<EntityKey>>,
}

impl Watch {
    /// Whether discovery took our id, which only ours does.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.subscription.as_deref() == Some(&*self.selector.id)
    }
}

/// What a notification says about an entity of a selector.
#[derive(Clone, Debug, PartialEq)]
pub enum EntityNews {
    /// It is there, with these attributes and metadata.
    Known(EntityDetail),
    /// It is there; its broker has to be asked for the rest.
    Named {
        /// The entity.
        key: EntityKey,
        /// Its type.
        entity_type: String,
        /// The broker.
        provider: String,
    },
    /// It is gone.
    Gone(EntityKey),
}

/// A question to a broker that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The selector.
    pub selector: Arc<str>,
    /// The entity.
    pub key: EntityKey,
    /// Its type.
    pub entity_type: String,
    /// The broker.
    pub provider: String,
    /// The tenant.
    pub tenant: String,
}

#[derive(Debug)]
struct PendingLookup {
    lookup: Lookup,
    attempt: usize,
    due: Instant,
}

/// All watches.
#[derive(Debug, Default)]
pub struct Watches {
    by_selector: BTreeMap<Arc<str>, Watch>,
    by_subscription: HashMap<String, Arc<str>>,
    parked: VecDeque<(Instant, NotifyContextAvailabilityRequest)>,
    lookups: BTreeMap<(Arc<str>, EntityKey), PendingLookup>,
    /// Subscriptions at discovery that nothing needs.
    surplus: BTreeSet<String>,
}

/// What came of a notification.
#[derive(Debug, Default)]
pub struct Taken {
    /// News by selector, in their order.
    pub news: Vec<(Arc<str>, EntityNews)>,
    /// A snapshot ended: entities of the selector that it did not name are gone.
    pub ended: Option<(Arc<str>, HashSet<EntityKey>)>,
}

impl Watches {
    /// Takes the selectors that the plan reads now. Returns those that are new.
    pub fn set(&mut self, selectors: &BTreeMap<Arc<str>, Arc<Selector>>) -> Vec<Arc<str>> {
        let gone: Vec<Arc<str>> = self.by_selector.keys().filter(|id| !selectors.contains_key(*id)).cloned().collect();
        for id in gone {
            self.lookups.retain(|(selector, _), _| *selector != id);
            if let Some(subscription) = self.by_selector.remove(&id).and_then(|watch| watch.subscription) {
                self.by_subscription.remove(&subscription);
                self.surplus.insert(subscription);
            }
        }
        let mut new = Vec::new();
        for (id, selector) in selectors {
            if !self.by_selector.contains_key(id) {
                self.surplus.remove(&**id);
                let watch = Watch { selector: selector.clone(), subscription: None, complete: false, since: None, arriving: None };
                self.by_selector.insert(id.clone(), watch);
                new.push(id.clone());
            }
        }
        new
    }

    /// All watches.
    pub fn iter(&self) -> impl Iterator<Item = &Watch> {
        self.by_selector.values()
    }

    /// The selectors without subscription.
    pub fn to_subscribe(&self) -> Vec<Arc<Selector>> {
        self.by_selector.values().filter(|watch| watch.subscription.is_none()).map(|watch| watch.selector.clone()).collect()
    }

    /// Subscriptions to end at discovery.
    pub fn take_surplus(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.surplus)
    }

    /// Puts back a subscription that could not be ended.
    pub fn put_back_surplus(&mut self, subscription: String) {
        if !self.by_subscription.contains_key(&subscription) {
            self.surplus.insert(subscription);
        }
    }

    /// Before subscribing: a notification may come before the reply, under the id that we ask for.
    pub fn announce(&mut self, selector: &Arc<str>) {
        if self.by_selector.contains_key(selector) {
            self.by_subscription.insert(selector.to_string(), selector.clone());
        }
    }

    /// Discovery has subscribed a selector. Returns the notifications that came before this was known.
    pub fn subscribed(&mut self, selector: &Arc<str>, subscription: &str, now: Instant) -> Vec<NotifyContextAvailabilityRequest> {
        let Some(watch) = self.by_selector.get_mut(selector) else {
            self.surplus.insert(subscription.to_owned());
            return Vec::new();
        };
        if let Some(old) = watch.subscription.replace(subscription.to_owned())
            && old != subscription
        {
            self.by_subscription.remove(&old);
        }
        watch.since = Some(now);
        self.by_subscription.insert(subscription.to_owned(), selector.clone());
        let (known, parked): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.parked).into_iter().partition(|(_, notification)| notification.subscribe_id == subscription);
        self.parked = parked;
        known.into_iter().map(|(_, notification)| notification).collect()
    }

    /// Discovery has lost a subscription, or another master took the lead meanwhile.
    pub fn lost(&mut self, selector: &str) {
        if let Some(watch) = self.by_selector.get_mut(selector) {
            watch.subscription = None;
            watch.arriving = None;
        }
    }

    /// Every subscription has to be made anew, and every snapshot awaited.
    pub fn lose_all(&mut self) {
        for watch in self.by_selector.values_mut() {
            watch.subscription = None;
            watch.arriving = None;
            watch.complete = false;
        }
    }

    /// All entities of a selector are known.
    pub fn set_complete(&mut self, selector: &str) {
        if let Some(watch) = self.by_selector.get_mut(selector) {
            watch.complete = true;
        }
    }

    /// Whether all entities of all selectors are known.
    #[must_use]
    pub fn all_complete(&self) -> bool {
        self.by_selector.values().all(|watch| watch.complete)
    }

    /// Takes a notification apart; one of an unknown subscription is kept for later.
    pub fn take(&mut self, notification: NotifyContextAvailabilityRequest, now: Instant) -> Taken {
        let Some(selector) = self.by_subscription.get(notification.subscribe_id.as_str()).cloned() else {
            self.park(notification, now);
            return Taken::default();
        };
        let mut taken = Taken::default();
        let Some(watch) = self.by_selector.get_mut(&selector) else { return taken };
        if matches!(notification.snapshot, Some(Snapshot::Begin | Snapshot::Whole)) {
            watch.arriving = Some(HashSet::new());
        }
        let gone = notification.error_code.code == 410;
        for response in &notification.responses {
            for news in news_of(&response.registration, gone) {
                if let Some(arriving) = &mut watch.arriving {
                    match &news {
                        EntityNews::Known(detail) => drop(arriving.insert(EntityKey::of(detail))),
                        EntityNews::Named { key, .. } => drop(arriving.insert(key.clone())),
                        EntityNews::Gone(_) => {}
                    }
                }
                taken.news.push((selector.clone(), news));
            }
        }
        if matches!(notification.snapshot, Some(Snapshot::End | Snapshot::Whole)) {
            watch.complete = true;
            taken.ended = watch.arriving.take().map(|named| (selector, named));
        }
        taken
    }

    fn park(&mut self, notification: NotifyContextAvailabilityRequest, now: Instant) {
        self.parked.retain(|(at, _)| now.saturating_duration_since(*at) < PARKED_FOR);
        self.parked.push_back((now, notification));
        let entities = |parked: &VecDeque<(Instant, NotifyContextAvailabilityRequest)>| -> usize {
            parked.iter().map(|(_, notification)| notification.responses.len()).sum()
        };
        while self.parked.len() > PARKED_LIMIT || entities(&self.parked) > PARKED_ENTITIES {
            self.parked.pop_front();
        }
    }

    /// Ids of subscriptions whose notifications nobody has claimed for a while.
    pub fn expire_parked(&mut self, now: Instant) {
        while self.parked.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= PARKED_FOR) {
            if let Some((_, notification)) = self.parked.pop_front()
                && notification.subscribe_id.starts_with("Availability.")
            {
                // One of ours, of an intent that is gone.
                self.surplus.insert(notification.subscribe_id.to_string());
            }
        }
    }

    /// Asks a broker for an entity.
    pub fn look_up(&mut self, selector: &Arc<str>, key: EntityKey, entity_type: &str, provider: &str, now: Instant) {
        let Some(watch) = self.by_selector.get(selector) else { return };
        let lookup = Lookup {
            selector: selector.clone(),
            key: key.clone(),
            entity_type: entity_type.to_owned(),
            provider: provider.to_owned(),
            tenant: watch.selector.tenant.clone(),
        };
        self.lookups.insert((selector.clone(), key), PendingLookup { lookup, attempt: 0, due: now });
    }

    /// An entity needs no lookup any more.
    pub fn forget_lookup(&mut self, selector: &Arc<str>, key: &EntityKey) {
        self.lookups.remove(&(selector.clone(), key.clone()));
    }

    /// Whether lookups of a selector are under way.
    #[must_use]
    pub fn is_looking_up(&self, selector: &Arc<str>) -> bool {
        self.lookups.range((selector.clone(), EntityKey::from(""))..).next().is_some_and(|((of, _), _)| of == selector)
    }

    /// Lookups that are due now, and when the next one is. They come again unless [`Watches::forget_lookup`] is called.
    pub fn due_lookups(&mut self, now: Instant, limit: usize) -> (Vec<Lookup>, Option<Instant>) {
        let mut due = Vec::new();
        for pending in self.lookups.values_mut() {
            if pending.due <= now && due.len() < limit {
                due.push(pending.lookup.clone());
                pending.attempt += 1;
                pending.due = now + LOOKUP_PAUSES.get(pending.attempt).copied().unwrap_or(Duration::from_secs(5));
            }
        }
        (due, self.lookups.values().map(|pending| pending.due).min())
    }

    /// Whether a lookup was tried as often as it is worth.
    #[must_use]
    pub fn is_exhausted(&self, selector: &Arc<str>, key: &EntityKey) -> bool {
        self.lookups.get(&(selector.clone(), key.clone())).is_none_or(|pending| pending.attempt >= LOOKUP_PAUSES.len())
    }
}

fn news_of(registration: &ContextRegistration, gone: bool) -> Vec<EntityNews> {
    let is_described = !registration.attributes.is_empty() || !registration.metadata.is_empty() || !registration.broker_id.is_empty();
    let news = |entity: &fogflow_ngsi::v1::EntityId| {
        let key = EntityKey::new(&entity.id, &registration.service_path);
        if gone {
            EntityNews::Gone(key)
        } else if is_described {
            EntityNews::Known(EntityDetail {
                id: entity.id.to_string(),
                entity_type: entity.entity_type.to_string(),
                attributes: registration
                    .attributes
                    .iter()
                    .filter(|attribute| !attribute.is_domain)
                    .map(|attribute| attribute.name.to_string())
                    .collect(),
                metadata: metadata_of(&registration.metadata.0),
                provider: registration.providing_application.to_string(),
                service_path: key.path.as_deref().unwrap_or("/").to_owned(),
            })
        } else {
            EntityNews::Named { key, entity_type: entity.entity_type.to_string(), provider: registration.providing_application.to_string() }
        }
    };
    registration.entities.iter().filter(|entity| !entity.id.is_empty()).map(news).collect()
}

/// Domain metadata as the planner reads it.
pub fn metadata_of<'a>(items: impl IntoIterator<Item = &'a Attribute>) -> BTreeMap<String, Value> {
    let item = |item: &Attribute| json!({"type": item.value_type.as_deref().unwrap_or(""), "value": item.value.to_value()});
    items.into_iter().map(|attribute| (attribute.name.as_str().to_owned(), item(attribute))).collect()
}
