//! Which of a worker's tasks run now: a pure function of what the worker was given.
//!
//! As long as an exclusive task exists, only the exclusive tasks of the highest level run and all others are paused;
//! without one, every task runs. The answer depends on nothing else, above all not on what runs at the moment, so that a
//! task that ends or appears is judged in the same way as a restart of the worker.

use fogflow_orchestration::ScheduledTaskInstance;

/// What a worker shall do with one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Run it.
    Run,
    /// Stop it, keep its outputs, start it again when this decision changes. The reason is for people.
    Pause(String),
}

/// The exclusive task that has the most to say: all that is decided depends on it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    id: String,
    level: i32,
}

impl Top {
    /// Of these tasks. Of several of one level the one with the smallest id is named, so that reasons are stable.
    pub fn of<'a>(tasks: impl IntoIterator<Item = &'a ScheduledTaskInstance>) -> Option<Self> {
        let exclusive = tasks.into_iter().filter(|task| task.is_exclusive);
        let top = exclusive.max_by(|a, b| a.priority_level.cmp(&b.priority_level).then_with(|| b.id.cmp(&a.id)))?;
        Some(Top { id: top.id.clone(), level: top.priority_level })
    }
}

/// Decides about one task of a worker.
#[must_use]
pub fn decide(task: &ScheduledTaskInstance, top: Option<&Top>) -> Decision {
    match top {
        None => Decision::Run,
        Some(top) if task.is_exclusive && task.priority_level == top.level => Decision::Run,
        Some(Top { id, level }) => Decision::Pause(format!("the exclusive task {id} of level {level} has the worker for itself")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn desired_state(tasks: &[ScheduledTaskInstance]) -> BTreeMap<String, Decision> {
        let top = Top::of(tasks);
        tasks.iter().map(|task| (task.id.clone(), decide(task, top.as_ref()))).collect()
    }

    fn task(id: &str, is_exclusive: bool, priority_level: i32) -> ScheduledTaskInstance {
        ScheduledTaskInstance { id: id.to_owned(), is_exclusive, priority_level, ..Default::default() }
    }

    fn running(tasks: &[ScheduledTaskInstance]) -> Vec<String> {
        desired_state(tasks).into_iter().filter(|(_, decision)| *decision == Decision::Run).map(|(id, _)| id).collect()
    }

    #[test]
    fn fault_19_an_exclusive_task_of_level_0_outranks_a_task_that_is_not_exclusive() {
        assert_eq!(running(&[task("a", false, 100), task("b", true, 0)]), ["b"]);
    }

    #[test]
    fn fault_19_when_the_highest_exclusive_task_goes_only_the_exclusive_tasks_of_the_next_level_come_back() {
        let all = [task("a", false, 50), task("b", true, 50), task("c", true, 50), task("d", true, 100)];
        assert_eq!(running(&all), ["d"]);
        assert_eq!(running(&all[..3]), ["b", "c"]);
        assert_eq!(running(&all[..1]), ["a"]);
    }

    #[test]
    fn fault_19_a_parked_task_does_not_park_others_a_lower_exclusive_one_has_no_say() {
        let decisions = desired_state(&[task("a", true, 10), task("b", true, 20), task("c", false, 0)]);
        assert_eq!(decisions["a"], decisions["c"]);
        assert!(matches!(&decisions["c"], Decision::Pause(reason) if reason.contains("task b of level 20")));
    }

    prop_compose! {
        fn tasks()(list in prop::collection::btree_map("[a-e][0-9]", (any::<bool>(), -2..3i32), 0..12)) -> Vec<ScheduledTaskInstance> {
            list.into_iter().map(|(id, (exclusive, level))| task(&id, exclusive, level)).collect()
        }
    }

    proptest! {
        #[test]
        fn every_task_gets_a_decision_and_something_runs_whenever_there_is_a_task(tasks in tasks()) {
            let decisions = desired_state(&tasks);
            prop_assert_eq!(decisions.len(), tasks.len());
            prop_assert_eq!(running(&tasks).is_empty(), tasks.is_empty());
        }

        #[test]
        fn exclusive_and_other_tasks_never_run_together_and_exclusive_ones_are_of_one_level(tasks in tasks()) {
            let names = running(&tasks);
            let chosen: Vec<_> = tasks.iter().filter(|task| names.contains(&task.id)).collect();
            prop_assert!(chosen.iter().all(|task| task.is_exclusive) || chosen.iter().all(|task| !task.is_exclusive));
            if chosen.iter().any(|task| task.is_exclusive) {
                prop_assert!(chosen.windows(2).all(|pair| pair[0].priority_level == pair[1].priority_level));
                prop_assert!(tasks.iter().filter(|task| task.is_exclusive).all(|task| task.priority_level <= chosen[0].priority_level));
            } else {
                prop_assert_eq!(chosen.len(), tasks.len());
            }
        }

        #[test]
        fn the_order_of_arrival_does_not_matter(mut tasks in tasks(), swaps in prop::collection::vec((0..12usize, 0..12usize), 0..12)) {
            let before = desired_state(&tasks);
            for (a, b) in swaps {
                if a < tasks.len() && b < tasks.len() {
                    tasks.swap(a, b);
                }
            }
            prop_assert_eq!(before, desired_state(&tasks));
        }

        #[test]
        fn removing_a_paused_task_changes_nothing_for_the_others_that_run(tasks in tasks()) {
            let before = running(&tasks);
            for gone in &tasks {
                if before.contains(&gone.id) { continue; }
                let rest: Vec<_> = tasks.iter().filter(|task| task.id != gone.id).cloned().collect();
                prop_assert_eq!(&before, &running(&rest));
            }
        }
    }
}
