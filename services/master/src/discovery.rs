//! Keeps the availability subscriptions equal to the selectors of the plan, and asks brokers for what an upstream discovery leaves
//! out of its notifications. Only the leading master does; the subscriptions' ids are the same for every master, so that the next
//! leader takes them over.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_client::Context;
use fogflow_ngsi::query::StringQuery;
use fogflow_ngsi::v1::availability::{DiscoverContextAvailabilityRequest, SubscribeContextAvailabilityRequest};
use fogflow_ngsi::v1::{EntityId, QueryContextRequest, Restriction, Scope};
use fogflow_orchestration::EntityDetail;
use futures::stream::{self, StreamExt as _};

use crate::master::Master;
use crate::planner::{self, EntityKey, Selector};
use crate::state::watches::{Lookup, metadata_of};

const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How often it is checked that discovery still has the subscriptions.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// A snapshot that has not come after this time is asked for again.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(5);
/// Subscriptions, or questions to brokers, at the same time.
const AT_ONCE: usize = 16;
const LOOKUPS_A_ROUND: usize = 1024;

/// Works until shutdown.
///
/// # Errors
/// Never; the type is that of a supervised task.
pub async fn run(master: Arc<Master>) -> anyhow::Result<()> {
    let mut checked = Instant::now();
    let mut was_there = true;
    loop {
        let mut pause = CHECK_EVERY;
        if master.read(|state| state.epoch().is_some()) {
            let outcome = if checked.elapsed() >= CHECK_EVERY {
                checked = Instant::now();
                check(&master).await
            } else {
                Ok(())
            };
            let outcome = match outcome {
                Ok(()) => subscribe_missing(&master).await,
                failed => failed,
            };
            match outcome {
                Ok(()) => was_there = true,
                Err(error) => {
                    if std::mem::replace(&mut was_there, false) {
                        tracing::warn!(%error, "discovery cannot be asked; known entities stay in force");
                    }
                    pause = RETRY_AFTER;
                }
            }
        }
        if !master.wait(&master.discovery_nudge, pause).await {
            return Ok(());
        }
        if !was_there && !master.pause(RETRY_AFTER).await {
            return Ok(());
        }
    }
}

async fn subscribe_missing(master: &Arc<Master>) -> anyhow::Result<()> {
    let (missing, surplus) = {
        let mut state = master.state.lock();
        (state.watches.to_subscribe(), state.watches.take_surplus())
    };
    for subscription in surplus {
        if let Err(error) = master.peers.discovery().unsubscribe(&subscription).await {
            master.state.lock().watches.put_back_surplus(subscription);
            return Err(error.into());
        }
    }
    let outcomes: Vec<anyhow::Result<()>> =
        stream::iter(missing).map(|selector| subscribe(master, selector)).buffer_unordered(AT_ONCE).collect().await;
    outcomes.into_iter().collect()
}

async fn subscribe(master: &Arc<Master>, selector: Arc<Selector>) -> anyhow::Result<()> {
    let entities = vec![EntityId { entity_type: selector.entity_type.as_str().into(), is_pattern: true, id: "".into() }];
    let attributes: Vec<_> = selector.attributes.iter().map(|name| name.as_str().into()).collect();
    let restriction = restriction_of(&selector.scope)?;
    let request = SubscribeContextAvailabilityRequest {
        entities: entities.clone(),
        attributes: attributes.clone(),
        reference: format!("{}/notifyContextAvailability", master.profile().agent).into(),
        restriction: restriction.clone(),
        subscription_id: (&*selector.id).into(),
        tenant: selector.tenant.as_str().into(),
        ..SubscribeContextAvailabilityRequest::default()
    };
    master.state.lock().watches.announce(&selector.id);
    let subscription = master.peers.discovery().subscribe(&request).await?;
    master.change(|state, now| state.subscribed(&selector.id, &subscription, now));
    if *subscription == *selector.id {
        // Ours: the snapshot comes as a notification, with all details.
        return Ok(());
    }
    // Upstream's snapshot says neither where it ends nor more than ids.
    let request = DiscoverContextAvailabilityRequest { entities, attributes, restriction, ..DiscoverContextAvailabilityRequest::default() };
    let found = master.peers.discovery().discover(&request).await?;
    let mut named = HashSet::new();
    master.change(|state, now| {
        for registration in found.responses.iter().map(|response| &response.registration) {
            for entity in &registration.entities {
                let key = EntityKey::new(&entity.id, &registration.service_path);
                named.insert(key.clone());
                state.watches.look_up(&selector.id, key, &entity.entity_type, &registration.providing_application, now);
            }
        }
        state.only(&selector.id, &named);
    });
    master.lookup_nudge.notify_one();
    Ok(())
}

fn restriction_of(scope: &planner::scope::Scope) -> anyhow::Result<Restriction> {
    let scope = match scope {
        planner::scope::Scope::Everywhere => return Ok(Restriction::default()),
        planner::scope::Scope::Circle { centre, radius } => {
            Scope::Circle { latitude: centre.latitude, longitude: centre.longitude, radius: *radius }
        }
        planner::scope::Scope::Polygon(vertices) => {
            Scope::Polygon(vertices.iter().map(|vertex| (vertex.latitude, vertex.longitude)).collect())
        }
        planner::scope::Scope::Metadata(items) => {
            let text: Vec<String> = items.iter().map(|(name, value)| format!("{name}={value}")).collect();
            Scope::StringQuery(StringQuery::parse(&text.join(";"))?)
        }
    };
    Ok(Restriction { scopes: vec![scope], ..Restriction::default() })
}

/// Looks whether discovery still has the subscriptions, and asks again for snapshots that do not come.
async fn check(master: &Arc<Master>) -> anyhow::Result<()> {
    let watched: Vec<(Arc<str>, String, bool, bool)> = master.read(|state| {
        let watch = |watch: &crate::state::watches::Watch| {
            let late = !watch.complete && watch.is_ours() && watch.since.is_some_and(|since| since.elapsed() > SNAPSHOT_WITHIN);
            Some((watch.selector.id.clone(), watch.subscription.clone()?, watch.is_ours(), late))
        };
        state.watches.iter().filter_map(watch).collect()
    });
    let mut upstreams: Option<BTreeSet<String>> = None;
    for (selector, subscription, is_ours, late) in watched {
        let is_there = if late {
            tracing::warn!(%selector, agent = master.profile().agent, "discovery's snapshot does not arrive; can it reach this address?");
            false
        } else if is_ours {
            master.peers.discovery().has_subscription(&subscription).await?
        } else {
            match &upstreams {
                Some(ids) => ids.contains(&subscription),
                None => {
                    let ids = master.peers.discovery().subscription_ids().await?;
                    let is_there = ids.contains(&subscription);
                    upstreams = Some(ids);
                    is_there
                }
            }
        };
        if !is_there {
            master.state.lock().watches.lost(&selector);
        }
    }
    Ok(())
}

/// Asks brokers for the attributes and metadata of entities that an upstream discovery only names. Works until shutdown.
///
/// # Errors
/// Never; the type is that of a supervised task.
pub async fn look_up(master: Arc<Master>) -> anyhow::Result<()> {
    loop {
        let (due, next) = master.state.lock().watches.due_lookups(Instant::now(), LOOKUPS_A_ROUND);
        if due.is_empty() {
            let limit = next.map_or(CHECK_EVERY, |at| at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
            if !master.wait(&master.lookup_nudge, limit).await {
                return Ok(());
            }
            continue;
        }
        stream::iter(due)
            .for_each_concurrent(AT_ONCE, |lookup| {
                let master = Arc::clone(&master);
                async move {
                    let found = ask(&master, &lookup).await;
                    master.change(|state, _| state.looked_up(&lookup, found));
                }
            })
            .await;
        if master.shutdown.is_cancelled() {
            return Ok(());
        }
    }
}

async fn ask(master: &Master, lookup: &Lookup) -> Option<EntityDetail> {
    let broker = master.peers.provider(&lookup.provider);
    let entity = EntityId { entity_type: "".into(), is_pattern: false, id: (&*lookup.key.id).into() };
    let request = QueryContextRequest { entities: vec![entity], ..QueryContextRequest::default() };
    let service_path = lookup.key.path.as_deref().unwrap_or_default().to_owned();
    let context = Context { tenant: lookup.tenant.clone(), service_path: service_path.clone(), ..Context::default() };
    let answer = match broker.query(&request, &context).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(entity = &*lookup.key.id, %error, "a broker does not tell about an entity");
            return None;
        }
    };
    let element = answer.responses.into_iter().map(|response| response.element).find(|element| *element.entity.id == *lookup.key.id)?;
    let entity = element.entity;
    Some(EntityDetail {
        id: lookup.key.id.to_string(),
        entity_type: entity.types.first().map_or_else(|| lookup.entity_type.clone(), |name| name.as_str().to_owned()),
        attributes: entity
            .attributes
            .iter()
            .filter(|attribute| !attribute.domain)
            .map(|attribute| attribute.name.as_str().to_owned())
            .collect(),
        metadata: metadata_of(entity.domain_metadata()),
        provider: lookup.provider.clone(),
        service_path,
    })
}
