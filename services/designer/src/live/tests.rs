use std::time::{Duration, Instant};

use fogflow_orchestration::{MasterReport, TaskRow, TaskState, TaskUpdate};

use super::plan::ToldEntity;
use super::tasks::{OldEpoch, TaskChange};
use super::*;

/// Takes a worker's update in, and says what became of the row.
fn take(table: &mut TaskTable, update: &TaskUpdate, from: &str, now: Instant) -> Option<TaskChange> {
    let row = table.update(update, from, now)?;
    table.put(row)
}

fn take_report(table: &mut TaskTable, report: &MasterReport, now: Instant) -> Result<(), OldEpoch> {
    for row in table.report(report)? {
        table.put(row);
    }
    table.heard(report.epoch, now);
    Ok(())
}

fn take_entity(hub: &Hub, id: &str) {
    let news = ToldEntity { entity_type: "T".to_owned(), attributes: Attributes::new(), metadata: Attributes::new() };
    hub.change(|picture| Ok::<_, ()>(picture.notification(&[(id.to_owned(), Some(news))]))).expect("taken");
}

fn update(status: TaskState, worker: &str, generation: Option<u64>) -> TaskUpdate {
    TaskUpdate { task_id: "t".to_owned(), status, worker_id: worker.to_owned(), generation, ..Default::default() }
}

fn report(epoch: u64, full: bool, tasks: &[(&str, &str)]) -> MasterReport {
    let row = |(id, worker): &(&str, &str)| TaskRow {
        task_id: (*id).to_owned(),
        worker: (*worker).to_owned(),
        status: TaskState::Running,
        ..Default::default()
    };
    MasterReport { epoch, full, tasks: tasks.iter().map(row).collect(), ..Default::default() }
}

#[test]
fn fault_33_removed_counts_only_from_the_worker_that_has_the_task() {
    let (mut table, now) = (TaskTable::default(), Instant::now());
    take(&mut table, &update(TaskState::Running, "", None), "W1", now).expect("new");
    take(&mut table, &update(TaskState::Running, "", None), "W2", now).expect("moved");
    assert_eq!(take(&mut table, &update(TaskState::Removed, "", None), "W1", now), None);
    assert_eq!(table.get("t").map(|row| row.worker.as_str()), Some("W2"));
    assert_eq!(take(&mut table, &update(TaskState::Removed, "", None), "W2", now), Some(TaskChange::Removed("t".to_owned())));
}

#[test]
fn an_update_of_an_older_generation_is_ignored() {
    let (mut table, now) = (TaskTable::default(), Instant::now());
    take(&mut table, &update(TaskState::Running, "W1", Some(5)), "", now).expect("new");
    assert_eq!(take(&mut table, &update(TaskState::Failed, "W1", Some(4)), "", now), None);
    assert!(take(&mut table, &update(TaskState::Paused, "W1", Some(5)), "", now).is_some());
}

#[test]
fn beside_a_master_that_reports_the_bus_neither_brings_back_nor_moves_tasks() {
    let (mut table, now) = (TaskTable::default(), Instant::now());
    take_report(&mut table, &report(1, true, &[("t", "W1")]), now).expect("accepted");
    assert_eq!(take(&mut table, &update(TaskState::Running, "W2", None), "", now), None);
    assert!(take(&mut table, &update(TaskState::Failed, "W1", None), "", now).is_some());
    take_report(&mut table, &report(1, true, &[]), now).expect("accepted");
    assert_eq!(take(&mut table, &update(TaskState::Running, "W1", None), "", now), None);
    // After that master fell silent the bus is all there is.
    let later = now + Duration::from_secs(60);
    assert!(take(&mut table, &update(TaskState::Running, "W1", None), "", later).is_some());
}

#[test]
fn a_partial_report_leaves_the_other_tasks_and_an_old_epoch_changes_nothing() {
    let (mut table, now) = (TaskTable::default(), Instant::now());
    take_report(&mut table, &report(2, true, &[("a", "W1"), ("b", "W1")]), now).expect("accepted");
    take_report(&mut table, &report(2, false, &[("c", "W1")]), now).expect("accepted");
    assert_eq!(table.rows().count(), 3);
    assert_eq!(take_report(&mut table, &report(1, true, &[]), now).expect_err("refused").newest, 2);
    assert_eq!(table.rows().count(), 3);
}

#[test]
fn the_same_report_twice_tells_nothing_twice() {
    let hub = Hub::default();
    hub.change(|picture| picture.report(&report(1, true, &[("a", "W1")]))).expect("accepted");
    let before = hub.attach(None).first[0].id.clone();
    hub.change(|picture| picture.report(&report(1, true, &[("a", "W1")]))).expect("accepted");
    assert_eq!(hub.attach(None).first[0].id, before);
}

#[test]
fn a_reader_of_another_process_or_of_long_ago_gets_a_snapshot() {
    let hub = Hub::default();
    for n in 0..3000 {
        hub.probed("s", "u", Ok((n.to_string(), None)));
    }
    let latest = hub.attach(None).first[0].id.clone();
    assert!(hub.attach(Some(&latest)).first.is_empty());
    let (start, generation) = latest.rsplit_once('-').expect("an id");
    let generation: u64 = generation.parse().expect("a number");
    assert_eq!(hub.attach(Some(&format!("{start}-{}", generation - 2))).first.len(), 2);
    for id in [format!("{start}-1"), format!("x-{generation}"), format!("{start}-{}", generation + 1), "nonsense".to_owned()] {
        assert_eq!(hub.attach(Some(&id)).first[0].event, "snapshot", "{id}");
    }
}

#[test]
fn the_table_of_entities_is_bounded_and_drops_the_one_longest_without_a_change() {
    let hub = Hub::default();
    take_entity(&hub, "first");
    for n in 0..4999 {
        take_entity(&hub, &format!("e{n}"));
    }
    take_entity(&hub, "first");
    take_entity(&hub, "one more");
    let snapshot: serde_json::Value = serde_json::from_str(&hub.attach(None).first[0].data).expect("JSON");
    assert_eq!(snapshot["entitiesKept"], 5000);
    let newest: Vec<&str> = snapshot["entities"].as_array().expect("a list").iter().take(2).filter_map(|row| row["id"].as_str()).collect();
    assert_eq!(newest, ["one more", "first"]);
}
