//! A model of the seam in a few lines, and random histories that engine and model must agree on.

use std::collections::BTreeMap;

use bytes::Bytes;
use fogflow_store::{Batch, Document, Expect, Key, Outcome, Write};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::{Fixture, changes, scan_all};

/// What a store is, without any engineering.
#[derive(Clone, Default)]
struct Model {
    documents: BTreeMap<Key, Document>,
    log: Vec<Document>,
}

impl Model {
    fn commit(&mut self, batch: &Batch) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for group in &batch.groups {
            let before = self.clone();
            let mut of_group = Vec::new();
            let mut conflict = None;
            for (position, write) in group.iter().enumerate() {
                let there = self.documents.get(&write.key);
                let holds = match write.expect {
                    Expect::Any => true,
                    Expect::Absent => there.is_none_or(|there| there.value.is_none()),
                    Expect::Version(version) => there.map_or(0, |there| there.version) == version,
                };
                if !holds {
                    conflict = Some((position, before.documents.get(&write.key).cloned()));
                    break;
                }
                let (version, sequence) = (there.map_or(0, |there| there.version) + 1, self.log.len() as u64 + 1);
                let document = Document { key: write.key.clone(), version, sequence, value: write.value.clone() };
                self.documents.insert(write.key.clone(), document.clone());
                self.log.push(document);
                of_group.push(Outcome::Committed { version, sequence });
            }
            if let Some((position, there)) = conflict {
                *self = before;
                of_group = vec![Outcome::GroupAborted; group.len()];
                of_group[position] = Outcome::Conflict(there);
            }
            outcomes.extend(of_group);
        }
        outcomes
    }
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Batch),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = (0..2_u8, 0..2_u8, 0..4_u8).prop_map(|(collection, tenant, id)| {
        Key::new(["entity", "sub"][usize::from(collection)], ["", "t"][usize::from(tenant)], format!("id{id}"))
    });
    let expect = prop_oneof![3 => Just(Expect::Any), 2 => Just(Expect::Absent), 3 => (0..4_u64).prop_map(Expect::Version)];
    let value = prop_oneof![3 => (0..1000_u16).prop_map(|number| Some(Bytes::from(number.to_string()))), 1 => Just(None)];
    let write = (key, expect, value).prop_map(|(key, expect, value)| Write { key, expect, value });
    let group = proptest::collection::vec(write, 1..4);
    let batch = proptest::collection::vec(group, 1..5).prop_map(|groups| Batch { groups });
    let step = prop_oneof![12 => batch.prop_map(Step::Commit), 1 => Just(Step::Restart)];
    proptest::collection::vec(step, 1..25)
}

pub(crate) async fn random_batches_do_what_the_model_does(mut fixture: impl Fixture) {
    let mut runner = TestRunner::new(Config::default());
    let mut model = Model::default();
    // One long history: a store that is wrong about an old state is wrong later as well.
    for _ in 0..12 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        for step in steps {
            match step {
                Step::Commit(batch) => {
                    let outcomes = fixture.store().commit(batch.clone()).await.unwrap();
                    assert_eq!(outcomes, model.commit(&batch), "{batch:?}");
                }
                Step::Restart if fixture.durable() => fixture.restart().await,
                Step::Restart => {}
            }
        }
        let store = fixture.store();
        assert_eq!(changes(&*store, 0).await, model.log);
        assert_eq!(store.head().await.unwrap(), model.log.len() as u64);
        for collection in ["entity", "sub"] {
            let expected: Vec<_> = model
                .documents
                .values()
                .filter(|document| document.key.collection == collection && document.value.is_some())
                .cloned()
                .collect();
            assert_eq!(scan_all(&*store, None, collection, 3).await, expected);
        }
        for (key, expected) in &model.documents {
            assert_eq!(store.get(key).await.unwrap().as_ref(), Some(expected).filter(|document| document.value.is_some()));
        }
    }
}
