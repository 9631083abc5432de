use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use fogflow_ngsi::{Attribute, Entity, EntityKey, Json, Name, Tenant, Timestamp};
use proptest::prelude::*;
use smol_str::SmolStr;

use super::{Matcher, Watch, concerns};
use crate::change::Change;
use crate::filter::{EntitySelector, PathScope};
use crate::subscription::{Face, Subscription, Target};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn names() -> impl Strategy<Value = Vec<Name>> {
    proptest::sample::subsequence(NAMES.to_vec(), 0..3).prop_map(|names| names.into_iter().map(Name::new).collect())
}

fn selector() -> impl Strategy<Value = EntitySelector> {
    let id = proptest::option::of((0..4u8).prop_map(|n| SmolStr::from(format!("e{n}"))));
    let pattern = proptest::option::of(prop_oneof![Just(SmolStr::from("e[01]")), Just(SmolStr::from(".*")), Just(SmolStr::from("3$"))]);
    let types = proptest::sample::subsequence(vec!["A", "B", "C"], 0..3);
    (id, pattern, types).prop_map(|(id, id_pattern, types)| EntitySelector {
        id,
        id_pattern,
        types: types.into_iter().map(Name::new).collect(),
        ..EntitySelector::default()
    })
}

fn subscription() -> impl Strategy<Value = Subscription> {
    let correlator = prop_oneof![Just(""), Just("task")];
    let path = prop_oneof![
        Just(PathScope::Any),
        Just(PathScope::Exact("/".into())),
        Just(PathScope::Exact("/x".into())),
        Just(PathScope::Below("".into())),
    ];
    (proptest::collection::vec(selector(), 0..3), names(), names(), correlator, any::<bool>(), path).prop_map(
        |(entities, watched, required, correlator, ld, path)| {
            let face = if ld { Face::Ld } else { Face::V1 };
            let mut subscription = Subscription::new(face, Tenant::default(), Target::default());
            subscription.entities = entities;
            subscription.watched = watched;
            subscription.required = required;
            subscription.correlator = correlator.into();
            subscription.path = path;
            subscription
        },
    )
}

fn entity(id: u8) -> impl Strategy<Value = Entity> {
    (proptest::sample::subsequence(vec!["A", "B", "C"], 0..3), names()).prop_map(move |(types, attributes)| {
        let mut entity = Entity::new(&format!("e{id}"), None, Timestamp(0));
        entity.types = types.into_iter().map(Name::new).collect();
        entity.attributes = attributes.into_iter().map(|name| Attribute::property(name, Json::NULL, Timestamp(0))).collect();
        entity
    })
}

fn change() -> impl Strategy<Value = Change> {
    let states = (0..4u8).prop_flat_map(|id| (proptest::option::of(entity(id)), proptest::option::of(entity(id))));
    (states, names(), prop_oneof![Just(""), Just("task"), Just("other")], prop_oneof![Just("/"), Just("/x")]).prop_map(
        |((before, after), written, correlator, path)| {
            let id = after.as_ref().or(before.as_ref()).map(|entity| entity.id.clone()).unwrap_or_default();
            Change {
                key: EntityKey { tenant: Tenant::default(), path: path.into(), id },
                before: before.map(Arc::new),
                after: after.map(Arc::new),
                written: written.into_iter().collect(),
                correlator: correlator.into(),
                trace: SmolStr::default(),
                sequence: 1,
                silent: false,
                v1: OnceLock::new(),
            }
        },
    )
}

fn filed(number: usize, mut subscription: Subscription) -> Arc<Watch<usize>> {
    subscription.id = format!("s{number}").into();
    let filter = subscription.filter().unwrap();
    Arc::new(Watch { subscription: Arc::new(subscription), filter, payload: number })
}

proptest! {
    /// F 26: each registration and update looked at every subscription.
    #[test]
    fn the_index_finds_exactly_what_brute_force_finds(
        subscriptions in proptest::collection::vec(subscription(), 0..12),
        removed in proptest::collection::vec(any::<bool>(), 12),
        changes in proptest::collection::vec(change(), 1..8),
    ) {
        let watches: Vec<_> = subscriptions.into_iter().enumerate().map(|(number, subscription)| filed(number, subscription)).collect();
        let mut matcher = Matcher::default();
        for watch in &watches {
            matcher.insert(Arc::clone(watch));
        }
        let mut left = Vec::new();
        for (watch, removed) in watches.iter().zip(removed) {
            if removed {
                matcher.remove(&watch.subscription.tenant, &watch.subscription.id);
            } else {
                left.push(watch);
            }
        }
        for change in &changes {
            let mut found = Vec::new();
            matcher.matching(change, |watch| found.push(watch.payload));
            let once: BTreeSet<usize> = found.iter().copied().collect();
            prop_assert_eq!(once.len(), found.len(), "told twice");
            let expected: BTreeSet<usize> =
                left.iter().filter(|watch| concerns(&watch.subscription, &watch.filter, change)).map(|watch| watch.payload).collect();
            prop_assert_eq!(once, expected);
        }
    }
}

#[test]
fn an_emptied_matcher_keeps_no_buckets_fault_f17() {
    let mut matcher = Matcher::default();
    for number in 0..100 {
        let mut subscription = Subscription::new(Face::V1, Tenant::default(), Target::default());
        subscription.entities = vec![EntitySelector { id: Some(format!("e{number}").into()), ..EntitySelector::default() }];
        matcher.insert(filed(number, subscription));
    }
    for number in 0..100 {
        assert!(matcher.remove(&Tenant::default(), &format!("s{number}")).is_some());
    }
    assert!(matcher.is_empty());
    assert!(matcher.tenants.values().all(|index| index.by_id.is_empty() && index.by_type.is_empty()));
}

#[test]
fn a_writer_is_not_told_of_its_own_write() {
    let mut subscription = Subscription::new(Face::V1, Tenant::default(), Target::default());
    subscription.entities = vec![EntitySelector::default()];
    subscription.correlator = "task".into();
    let watch = filed(0, subscription);
    let entity = Arc::new(Entity::new("e", None, Timestamp(0)));
    let key = EntityKey { tenant: Tenant::default(), path: "/".into(), id: "e".into() };
    let mut change = Change::snapshot(key, entity, 1);
    assert!(concerns(&watch.subscription, &watch.filter, &change));
    change.correlator = "task".into();
    assert!(!concerns(&watch.subscription, &watch.filter, &change));
}
