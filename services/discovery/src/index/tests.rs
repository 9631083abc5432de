use std::collections::BTreeSet;

use fogflow_ngsi::query::StringQuery;
use fogflow_ngsi::v1::availability::RegistrationAttribute;
use fogflow_ngsi::v1::decode_domain_metadata;
use fogflow_ngsi::{Attribute, Tenant};
use geo::Point;
use proptest::prelude::*;

use super::*;
use crate::filter::EntityFilter;
use crate::geometry::{Area, Nearby};

fn owner(number: u8) -> Arc<Owner> {
    Arc::new(Owner { broker: Some(format!("Broker.{number}").into()), url: format!("http://10.0.0.{number}:8070/ngsi10").into() })
}

fn key(id: &str) -> EntityRef {
    EntityRef::new(Tenant::default(), id)
}

fn metadata(name: &str, kind: &str, value: &str) -> Attribute {
    decode_domain_metadata(&format!(r#"[{{"name": "{name}", "type": "{kind}", "value": {value}}}]"#)).unwrap().remove(0)
}

fn place(latitude: f64, longitude: f64) -> Attribute {
    metadata("location", "point", &format!(r#"{{"latitude": {latitude}, "longitude": {longitude}}}"#))
}

fn located(id: &str, kind: &str, latitude: f64, longitude: f64) -> Registration {
    Registration::new(key(id), kind.into(), owner(1)).with_metadata(vec![place(latitude, longitude)])
}

fn of_type(kind: &str) -> Filter {
    Filter { entities: EntityFilter::compile("", kind, true).unwrap().into_iter().collect(), ..Filter::default() }
}

fn nearest(kind: &str, limit: usize) -> Filter {
    Filter { nearby: Some(Nearby { centre: Point::new(8.6, 49.4), limit }), ..of_type(kind) }
}

fn ids(found: &[Found]) -> Vec<&str> {
    found.iter().map(|found| found.registration.key.id.as_str()).collect()
}

fn seen(events: &[Event]) -> Vec<(&str, EventKind)> {
    events.iter().map(|event| (event.registration.key.id.as_str(), event.kind)).collect()
}

/// FAULT 22: the type `Home` also selected `SmartHome`.
#[test]
fn types_are_exact_and_id_patterns_unanchored() {
    let mut index = Index::default();
    index.put(located("Device.temp001", "Temperature", 49.0, 8.0), false);
    index.put(located("Device.temp002", "TemperatureSensorXL", 49.0, 8.0), false);
    assert_eq!(ids(&index.get(&of_type("Temperature"))), ["Device.temp001"]);
    let pattern = Filter { entities: EntityFilter::compile("temp", "", true).unwrap().into_iter().collect(), ..Filter::default() };
    assert_eq!(index.get(&pattern).len(), 2);
    assert!(EntityFilter::compile("temp(", "", true).is_err());
    assert!(EntityFilter::compile("", "", false).unwrap().is_none());
}

#[test]
fn fault_19_an_entity_without_a_location_is_in_no_area() {
    let mut index = Index::default();
    index.put(Registration::new(key("nowhere"), "Car".into(), owner(1)), false);
    index.put(located("here", "Car", 49.4, 8.6), false);
    let circle = Area::circle(49.4, 8.6, 2e7);
    assert_eq!(ids(&index.get(&Filter { areas: vec![circle], ..of_type("Car") })), ["here"]);
    assert_eq!(ids(&index.get(&nearest("Car", 10))), ["here"]);
}

#[test]
fn fault_20_an_entity_that_leaves_a_filter_is_gone_for_the_subscriber() {
    let mut index = Index::default();
    let circle = Area::circle(49.4, 8.6, 1000.0);
    index.watch("s".into(), Filter { areas: vec![circle], ..of_type("Car") });
    assert_eq!(seen(&index.put(located("c", "Car", 49.4, 8.6), false)), [("c", EventKind::Appeared)]);
    assert_eq!(seen(&index.put(located("c", "Car", 49.4001, 8.6), false)), [("c", EventKind::Changed)]);
    assert_eq!(seen(&index.put(located("c", "Car", 50.0, 8.6), false)), [("c", EventKind::Gone)]);
    assert!(index.put(located("c", "Car", 51.0, 8.6), false).is_empty());
}

#[test]
fn fault_14_a_lost_owner_takes_its_entities_along_and_brings_them_back() {
    let mut index = Index::default();
    index.watch("s".into(), of_type("Car"));
    index.put(located("c", "Car", 49.4, 8.6), false);
    assert_eq!(seen(&index.set_lost(&owner(1), true)), [("c", EventKind::Gone)]);
    assert!(index.get(&of_type("Car")).is_empty() && index.types().is_empty());
    assert!(index.put(located("d", "Car", 49.4, 8.6), false).is_empty());
    assert_eq!(index.set_lost(&owner(1), false).len(), 2);
    assert_eq!(index.get(&of_type("Car")).len(), 2);
}

#[test]
fn fault_36_nearby_is_sorted_limited_and_also_holds_for_later_changes() {
    let mut index = Index::default();
    for (id, latitude) in [("far", 49.9), ("near", 49.41), ("middle", 49.5)] {
        index.put(located(id, "Car", latitude, 8.6), false);
    }
    assert_eq!(ids(&index.get(&nearest("Car", 2))), ["near", "middle"]);
    index.watch("s".into(), nearest("Car", 2));
    // Outside of the two nearest: no event. Inside: the former second is gone for the subscriber.
    assert!(index.put(located("farther", "Car", 50.0, 8.6), false).is_empty());
    assert_eq!(
        seen(&index.put(located("closest", "Car", 49.4, 8.6), false)),
        [("middle", EventKind::Gone), ("closest", EventKind::Appeared)]
    );
    assert_eq!(seen(&index.remove(&key("near")).1), [("near", EventKind::Gone), ("middle", EventKind::Appeared)]);
}

#[test]
fn fault_26_a_registration_touches_only_candidate_subscriptions() {
    let mut index = Index::default();
    for number in 0..1000 {
        index.watch(format!("s{number}").into(), of_type(&format!("Type{number}")));
    }
    let registration = located("c", "Type7", 49.4, 8.6);
    assert_eq!(index.watches.candidates([&registration]), BTreeSet::from(["s7".into()]));
}

#[test]
fn a_snapshot_leaves_what_was_not_registered_again() {
    let mut index = Index::default();
    index.put(located("old", "Car", 49.4, 8.6), false);
    index.put(located("kept", "Car", 49.4, 8.6), false);
    let mark = index.begin_snapshot();
    index.put(located("kept", "Car", 49.4, 8.6), false);
    index.put(located("new", "Car", 49.4, 8.6), false);
    assert_eq!(index.older_than(mark, |owner| owner.broker.as_deref() == Some("Broker.1")), [key("old")]);
}

fn any_registration() -> impl Strategy<Value = Registration> {
    let position = prop_oneof![
        1 => Just(None),
        4 => (-89.0..89.0f64, -180.0..180.0f64).prop_map(Some),
        4 => (49.0..50.0f64, 8.0..9.0f64).prop_map(Some)
    ];
    (0..60u8, 0..4u8, 1..4u8, position, 0..3u8, any::<bool>()).prop_map(|(id, kind, holder, position, level, has_attribute)| {
        let mut items = vec![metadata("level", "integer", &level.to_string())];
        items.extend(position.map(|(latitude, longitude)| place(latitude, longitude)));
        let mut registration =
            Registration::new(key(&format!("e{id}")), format!("T{kind}").as_str().into(), owner(holder)).with_metadata(items);
        if has_attribute {
            registration.attributes = Arc::from([RegistrationAttribute { name: "temp".into(), ..RegistrationAttribute::default() }]);
        }
        registration
    })
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let entity = prop_oneof![
        (0..60u8).prop_map(|id| EntityFilter::compile(&format!("e{id}"), "", false)),
        (0..4u8).prop_map(|kind| EntityFilter::compile("", &format!("T{kind}"), true)),
        (0..6u8, 0..4u8).prop_map(|(digit, kind)| EntityFilter::compile(&format!("{digit}$"), &format!("T{kind}"), true)),
        Just(EntityFilter::compile("", "", true)),
    ]
    .prop_map(|compiled| compiled.unwrap().unwrap());
    let centre = prop_oneof![(49.0..50.0f64, 8.0..9.0f64), (-89.9..89.9f64, -180.0..180.0f64)];
    let area = prop_oneof![
        (centre.clone(), 0.0..2e6f64).prop_map(|((latitude, longitude), radius)| Area::circle(latitude, longitude, radius)),
        (centre.clone(), 0.01..9.0f64).prop_map(|((latitude, longitude), size)| {
            let wrap = |degrees: f64| if degrees > 180.0 { degrees - 360.0 } else { degrees };
            let corner = |north: f64, east: f64| ((latitude + north).min(90.0), wrap(longitude + east));
            Area::polygon(&[corner(0.0, 0.0), corner(0.0, size), corner(size, size), corner(size, 0.0)])
        }),
    ];
    let nearby = (centre, 1..5usize).prop_map(|((latitude, longitude), limit)| Nearby { centre: Point::new(longitude, latitude), limit });
    (
        prop::collection::vec(entity, 0..3),
        any::<bool>(),
        prop::collection::vec(area, 0..2),
        prop::option::weighted(0.3, 0..3u8),
        prop::option::weighted(0.3, nearby),
    )
        .prop_map(|(entities, with_attribute, areas, level, nearby)| Filter {
            entities,
            attributes: with_attribute.then(|| "temp".into()).into_iter().collect(),
            areas,
            string_queries: level.map(|level| StringQuery::parse(&format!("level={level}")).unwrap()).into_iter().collect(),
            nearby,
            ..Filter::default()
        })
}

/// What the index must answer, by looking at everything.
fn brute_force(index: &Index, filter: &Filter) -> Vec<String> {
    let mut all: Vec<_> = index.slots.iter().flatten().map(|slot| Arc::clone(&slot.registration)).collect();
    all.retain(|registration| filter.matches(registration) && index.is_available(registration));
    all.sort_by(|a, b| a.key.cmp(&b.key));
    if let Some(nearby) = filter.nearby {
        let distance = |registration: &Arc<Registration>| registration.location.as_ref().unwrap().distance(nearby.centre);
        all.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        all.truncate(nearby.limit);
    }
    all.iter().map(|registration| registration.key.id.to_string()).collect()
}

fn answers(index: &Index, filter: &Filter) -> Vec<String> {
    let mut answers: Vec<String> = ids(&index.get(filter)).into_iter().map(str::to_owned).collect();
    if filter.nearby.is_none() {
        answers.sort();
    }
    answers
}

#[derive(Clone, Debug)]
enum Step {
    Put(Registration),
    Remove(u8),
    Lose(u8, bool),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any_registration().prop_map(Step::Put),
        2 => (0..60u8).prop_map(Step::Remove),
        1 => (1..4u8, any::<bool>()).prop_map(|(holder, lost)| Step::Lose(holder, lost)),
    ]
}

fn apply(index: &mut Index, step: Step) -> Vec<Event> {
    match step {
        Step::Put(registration) => index.put(registration, false),
        Step::Remove(id) => index.remove(&key(&format!("e{id}"))).1,
        Step::Lose(holder, lost) => index.set_lost(&owner(holder), lost),
    }
}

proptest! {
    #[test]
    fn the_index_answers_what_looking_at_everything_answers(
        steps in prop::collection::vec(any_step(), 0..80),
        filters in prop::collection::vec(any_filter(), 1..8),
    ) {
        let mut index = Index::default();
        for step in steps {
            apply(&mut index, step);
        }
        for filter in &filters {
            prop_assert_eq!(answers(&index, filter), brute_force(&index, filter), "{:?}", filter);
        }
    }

    #[test]
    fn a_subscriber_that_applies_all_events_knows_exactly_what_matches(
        steps in prop::collection::vec(any_step(), 0..80),
        filter in any_filter(),
        begin in 0..40usize,
    ) {
        let mut index = Index::default();
        let mut known = BTreeSet::new();
        for (number, step) in steps.into_iter().enumerate() {
            if number == begin {
                known = ids(&index.watch("s".into(), filter.clone())).into_iter().map(str::to_owned).collect();
            }
            for event in apply(&mut index, step) {
                let id = event.registration.key.id.to_string();
                let fits = match event.kind {
                    EventKind::Appeared => known.insert(id),
                    EventKind::Changed => known.contains(&id),
                    EventKind::Gone => known.remove(&id),
                };
                prop_assert!(fits, "{:?} does not follow from what was told before", event);
            }
        }
        if index.watch_count() > 0 {
            prop_assert_eq!(known.into_iter().collect::<BTreeSet<_>>(), brute_force(&index, &filter).into_iter().collect());
        }
    }
}

#[test]
fn large_indexes_are_searched_through_the_tree_and_answer_the_same() {
    let mut index = Index::default();
    for number in 0..5000u32 {
        let (latitude, longitude) = (f64::from(number % 170) - 85.0, f64::from(number * 7 % 360) - 180.0 + f64::from(number) / 10_000.0);
        index.put(located(&format!("e{number}"), "Car", latitude, longitude.min(180.0)), false);
    }
    for area in [Area::circle(49.0, 8.0, 3e5), Area::circle(84.0, 179.9, 5e5), Area::circle(0.0, -179.9, 1e6)] {
        let filter = Filter { areas: vec![area], ..of_type("Car") };
        assert_eq!(answers(&index, &filter), brute_force(&index, &filter));
    }
    for (latitude, longitude, limit) in [(49.4, 8.6, 1), (89.0, 0.0, 40), (0.0, 180.0, 3), (10.0, 10.0, 6000)] {
        let filter = Filter { nearby: Some(Nearby { centre: Point::new(longitude, latitude), limit }), ..of_type("Car") };
        assert_eq!(answers(&index, &filter), brute_force(&index, &filter));
    }
}
