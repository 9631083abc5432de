use std::collections::BTreeMap;

use fogflow_ngsi::{Attribute, Detail, Entity, Json, Name, Timestamp};
use proptest::prelude::*;
use smol_str::SmolStr;

use super::{merge, reconcile};
use crate::command::{Action, AttributeSelector, Effect, LD_NULL, Refusal};

type Slot = (String, bool, Option<String>);

fn slot(attribute: &Attribute) -> Slot {
    (attribute.name.as_str().to_owned(), attribute.domain, attribute.dataset_id().map(str::to_owned))
}

/// The value of each instance; fails if one is there twice.
fn values(entity: &Entity) -> BTreeMap<Slot, String> {
    let mut values = BTreeMap::new();
    for attribute in &entity.attributes {
        assert!(values.insert(slot(attribute), attribute.value.to_string()).is_none(), "{attribute:?} is there twice");
    }
    values
}

fn attribute(name: &str, value: i32) -> Attribute {
    Attribute::property(name, Json::from(f64::from(value)), Timestamp(0))
}

fn any_attribute() -> impl Strategy<Value = Attribute> {
    let name = proptest::sample::select(vec!["a", "b", "c", "d"]);
    let dataset = proptest::option::weighted(0.2, Just(SmolStr::new_static("urn:d")));
    (name, any::<bool>(), -9..9i32, dataset, 1..50i64).prop_map(|(name, domain, value, dataset_id, modified)| {
        let mut attribute = attribute(name, value);
        attribute.domain = domain;
        attribute.modified_at = Timestamp(modified);
        if dataset_id.is_some() {
            attribute.detail = Some(Box::new(Detail { dataset_id, ..Detail::default() }));
        }
        attribute
    })
}

fn any_entity() -> impl Strategy<Value = Entity> {
    (proptest::collection::vec(any_attribute(), 0..8), proptest::option::of("[AB]")).prop_map(|(attributes, kind)| {
        let mut entity = Entity::new("e", kind.as_deref(), Timestamp(1));
        for attribute in attributes {
            if entity.attributes.iter().all(|other| !other.same_instance(&attribute)) {
                entity.attributes.push(attribute);
            }
        }
        entity
    })
}

fn after(current: Option<&Entity>, action: Action) -> Entity {
    merge(current, &action, Timestamp(100)).unwrap().after.unwrap()
}

fn upsert(patch: &Entity) -> Action {
    Action::Upsert { patch: patch.clone(), merge_metadata: true }
}

proptest! {
    #[test]
    fn an_upsert_writes_what_it_names_and_keeps_the_rest(current in any_entity(), patch in any_entity()) {
        let result = after(Some(&current), upsert(&patch));
        let mut expected = values(&current);
        expected.extend(values(&patch));
        prop_assert_eq!(values(&result), expected);
        prop_assert_eq!(result.created_at, current.created_at);
        prop_assert_eq!(result.types, if patch.types.is_empty() { current.types } else { patch.types });
    }

    #[test]
    fn an_upsert_twice_is_an_upsert_once(current in proptest::option::of(any_entity()), patch in any_entity()) {
        let once = after(current.as_ref(), upsert(&patch));
        prop_assert_eq!(&after(Some(&once), upsert(&patch)), &once);
    }

    #[test]
    fn a_replacement_is_exactly_what_was_given_and_names_what_is_gone(current in any_entity(), entity in any_entity()) {
        let merged = merge(Some(&current), &Action::Replace { entity: entity.clone(), create: false }, Timestamp(100)).unwrap();
        prop_assert_eq!(values(merged.after.as_ref().unwrap()), values(&entity));
        for old in &current.attributes {
            prop_assert!(merged.written.contains(&old.name));
        }
    }

    #[test]
    fn an_append_without_overwriting_changes_no_value(current in any_entity(), patch in any_entity()) {
        let merged = merge(Some(&current), &Action::Append { patch: patch.clone(), overwrite: false }, Timestamp(100)).unwrap();
        let result = values(merged.after.as_ref().unwrap());
        for (slot, value) in values(&current) {
            prop_assert_eq!(result.get(&slot), Some(&value));
        }
        prop_assert_eq!(merged.skipped.len() + result.len(), current.attributes.len() + patch.attributes.len());
    }

    #[test]
    fn deleting_attributes_leaves_the_others(current in any_entity()) {
        let selector = AttributeSelector { name: Name::new("a"), dataset_id: None, all: true };
        let there = current.attributes.iter().any(|attribute| attribute.name.as_str() == "a");
        match merge(Some(&current), &Action::DeleteAttributes(vec![selector]), Timestamp(100)) {
            Ok(merged) => {
                let mut expected = values(&current);
                expected.retain(|(name, _, _), _| name != "a");
                prop_assert_eq!(values(&merged.after.unwrap()), expected);
            }
            Err(refusal) => prop_assert!(!there && refusal == Refusal::NoSuchAttribute),
        }
    }

    #[test]
    fn reconciling_loses_no_instance_and_takes_the_newer_value(mine in any_entity(), theirs in any_entity()) {
        let result = reconcile(&mine, &theirs);
        let times = |entity: &Entity| entity.attributes.iter().map(|one| (slot(one), one.modified_at)).collect::<BTreeMap<_, _>>();
        let (mut expected, result_times) = (times(&mine), times(&result));
        for (slot, time) in times(&theirs) {
            let newest = expected.entry(slot).or_insert(time);
            *newest = (*newest).max(time);
        }
        prop_assert_eq!(result_times, expected);
        prop_assert_eq!(values(&reconcile(&result, &theirs)), values(&result));
    }

    #[test]
    fn what_does_not_exist_is_only_made_by_actions_that_may(entity in any_entity()) {
        for action in [
            upsert(&entity),
            Action::Create(entity.clone()),
            Action::Replace { entity: entity.clone(), create: true },
            Action::Replace { entity: entity.clone(), create: false },
            Action::Append { patch: entity.clone(), overwrite: true },
            Action::Update { patch: entity.clone(), partial: false },
            Action::Merge(entity.clone()),
            Action::Reconcile(entity.clone()),
            Action::Delete,
        ] {
            match merge(None, &action, Timestamp(100)) {
                Ok(merged) => prop_assert!(action.may_create() && merged.effect == Effect::Created),
                Err(refusal) => prop_assert!(!action.may_create() && refusal == Refusal::NotFound),
            }
        }
    }
}

#[test]
fn creating_what_exists_is_refused() {
    let entity = Entity::new("e", Some("T"), Timestamp(1));
    assert_eq!(merge(Some(&entity), &Action::Create(entity.clone()), Timestamp(2)).unwrap_err(), Refusal::AlreadyExists);
}

#[test]
fn v1_metadata_is_merged_by_name_and_v2_metadata_replaced() {
    let with = |names: &[&str]| {
        let mut entity = Entity::new("e", None, Timestamp(1));
        let mut one = attribute("a", 1);
        let attributes = names.iter().map(|name| attribute(name, 2)).collect();
        one.detail = Some(Box::new(Detail { attributes, ..Detail::default() }));
        entity.attributes.push(one);
        entity
    };
    let names = |entity: &Entity| entity.attributes[0].attributes().iter().map(|one| one.name.to_string()).collect::<Vec<_>>();
    let current = with(&["x", "y"]);
    assert_eq!(names(&after(Some(&current), upsert(&with(&["z"])))), ["x", "y", "z"]);
    let replace = Action::Upsert { patch: with(&["z"]), merge_metadata: false };
    assert_eq!(names(&after(Some(&current), replace)), ["z"]);
}

#[test]
fn an_update_writes_only_what_exists() {
    let mut current = Entity::new("e", None, Timestamp(1));
    current.attributes.push(attribute("a", 1));
    let mut patch = Entity::new("e", None, Timestamp(1));
    patch.attributes.extend([attribute("a", 2), attribute("b", 3)]);
    let merged = merge(Some(&current), &Action::Update { patch: patch.clone(), partial: false }, Timestamp(9)).unwrap();
    assert_eq!(merged.skipped, [Name::new("b")]);
    assert_eq!(merged.after.unwrap().attributes.len(), 1);
    patch.attributes.remove(0);
    let refused = merge(Some(&current), &Action::Update { patch, partial: false }, Timestamp(9)).unwrap_err();
    assert_eq!(refused, Refusal::NoSuchAttribute);
}

#[test]
fn a_partial_update_keeps_what_it_does_not_mention() {
    let mut current = Entity::new("e", None, Timestamp(1));
    current.attributes.push(attribute("a", 1));
    let mut patch = current.clone();
    patch.attributes[0].value = Json::NULL;
    patch.attributes[0].detail = Some(Box::new(Detail { unit_code: Some("CEL".into()), ..Detail::default() }));
    let result = after(Some(&current), Action::Update { patch, partial: true });
    assert_eq!(result.attributes[0].value, current.attributes[0].value);
    assert_eq!(result.attributes[0].detail.as_ref().and_then(|detail| detail.unit_code.as_deref()), Some("CEL"));
}

#[test]
fn a_merge_patch_merges_objects_and_deletes_by_null() {
    let json = |text: &str| Json::parse(text).unwrap();
    let mut current = Entity::new("e", None, Timestamp(1));
    current.attributes.push(Attribute::property("a", json(r#"{"x":1,"y":{"z":2}}"#), Timestamp(1)));
    current.attributes.push(attribute("b", 1));
    let mut patch = Entity::new("e", None, Timestamp(1));
    patch.attributes.push(Attribute::property("a", json(r#"{"x":"urn:ngsi-ld:null","y":{"w":3}}"#), Timestamp(1)));
    patch.attributes.push(Attribute::property("b", json(LD_NULL), Timestamp(1)));
    let result = after(Some(&current), Action::Merge(patch));
    assert_eq!(result.attributes.len(), 1);
    assert!(result.attributes[0].value.means(&json(r#"{"y":{"z":2,"w":3}}"#)), "{}", result.attributes[0].value);
}

#[test]
fn an_entity_is_given_away_only_as_it_was_handed_over() {
    let entity = Entity::new("e", None, Timestamp(5));
    assert!(merge(Some(&entity), &Action::GiveAway(Timestamp(5)), Timestamp(9)).unwrap().after.is_none());
    assert!(merge(Some(&entity), &Action::GiveAway(Timestamp(4)), Timestamp(9)).is_err());
}
