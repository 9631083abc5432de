//! Random commands, crashes of the worker and silences of the broker; in the end everything is as the last commands say.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use fogflow_orchestration::{DesiredTasks, MessageType, ScheduledTaskInstance, TaskState};
use fogflow_worker::desired::{Decision, Top, decide};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::{WORKER, World, eventually, flow, input, task};

const STEPS: usize = 60;

/// What a master would expect of the worker.
#[derive(Default)]
struct Model {
    tasks: BTreeMap<String, ScheduledTaskInstance>,
    early: BTreeMap<String, BTreeSet<String>>,
    generation: u64,
}

impl Model {
    fn next(&mut self) -> Option<u64> {
        self.generation += 1;
        Some(self.generation)
    }

    fn fresh(&mut self, random: &mut StdRng, id: &str) -> ScheduledTaskInstance {
        let inputs = (0..random.random_range(0..4)).map(|_| device(random)).collect::<BTreeSet<_>>();
        ScheduledTaskInstance {
            is_exclusive: random.random_bool(0.2),
            priority_level: random.random_range(0..3),
            inputs: inputs.iter().map(|id| input(id)).collect(),
            epoch: Some(1),
            generation: self.next(),
            ..task(id)
        }
    }

    /// Which task is subscribed to which entity.
    fn subscriptions(&self) -> BTreeSet<(String, String)> {
        let top = Top::of(self.tasks.values());
        let running = self.tasks.values().filter(|task| decide(task, top.as_ref()) == Decision::Run);
        running.flat_map(|task| task.inputs.iter().map(|input| (task.id.clone(), input.id.clone()))).collect()
    }

    fn states(&self) -> BTreeMap<String, TaskState> {
        let top = Top::of(self.tasks.values());
        let state = |task| if decide(task, top.as_ref()) == Decision::Run { TaskState::Running } else { TaskState::Paused };
        self.tasks.iter().map(|(id, task)| (id.clone(), state(task))).collect()
    }
}

fn device(random: &mut StdRng) -> String {
    format!("Device.{}", random.random_range(0..5))
}

async fn add(world: &World, model: &mut Model, random: &mut StdRng, id: &str) {
    let mut task = model.fresh(random, id);
    world.add(&task).await;
    for early in model.early.remove(id).unwrap_or_default() {
        if !task.inputs.iter().any(|input| input.id == early) {
            task.inputs.push(input(&early));
        }
    }
    model.tasks.insert(id.to_owned(), task);
}

async fn step(world: &World, model: &mut Model, random: &mut StdRng) {
    let id = format!("Task.{}", random.random_range(0..6));
    match random.random_range(0..100) {
        0..40 => add(world, model, random, &id).await,
        40..60 => {
            let removal =
                ScheduledTaskInstance { epoch: Some(1), generation: model.next(), keep_outputs: random.random_bool(0.5), ..task(&id) };
            world.send(MessageType::RemoveTask, &removal).await;
            model.tasks.remove(&id);
            model.early.remove(&id);
        }
        60..75 => {
            let mut flow = flow(&id, input(&device(random)));
            (flow.epoch, flow.generation) = (Some(1), model.next());
            world.send(MessageType::AddInput, &flow).await;
            match model.tasks.get_mut(&id) {
                Some(task) => {
                    task.generation = flow.generation;
                    if !task.inputs.contains(&flow.input_stream) {
                        task.inputs.push(flow.input_stream);
                    }
                }
                None => drop(model.early.entry(id).or_default().insert(flow.input_stream.id)),
            }
        }
        75..90 => {
            let mut flow = flow(&id, input(&device(random)));
            (flow.epoch, flow.generation) = (Some(1), model.next());
            world.send(MessageType::RemoveInput, &flow).await;
            if let Some(early) = model.early.get_mut(&id) {
                early.remove(&flow.input_stream.id);
            }
            if let Some(task) = model.tasks.get_mut(&id) {
                task.generation = flow.generation;
                task.inputs.retain(|input| input.id != flow.input_stream.id);
            }
        }
        _ => {
            model.tasks.retain(|_, _| random.random_bool(0.7));
            let generation = model.next().unwrap();
            let tasks = model.tasks.values().cloned().collect();
            let desired = DesiredTasks { worker_id: WORKER.to_owned(), epoch: 1, generation, tasks, moved: Vec::new() };
            world.send(MessageType::DesiredTasks, &desired).await;
        }
    }
}

/// Waits until the worker has heard every command.
async fn settled(world: &World, model: &Model) {
    let wanted: Vec<(String, Option<u64>)> = model.tasks.values().map(|task| (task.id.clone(), task.generation)).collect();
    eventually("the worker has every task in its newest generation", || {
        let reports = world.of_kind::<fogflow_orchestration::WorkerTasks>(MessageType::WorkerTasks);
        let last = reports.last().map(|report| report.tasks.iter().map(|task| (task.task_id.clone(), task.generation)).collect::<Vec<_>>());
        if last.as_ref() == Some(&wanted) { Ok(()) } else { Err(format!("{last:?}, wanted {wanted:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_any_commands_crashes_and_silences_subscriptions_states_and_directories_are_as_the_last_commands_say() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::with(|settings| settings.start_actual_task = false).await;
        let mut model = Model::default();
        for _ in 0..STEPS {
            match random.random_range(0..100) {
                0..6 => {
                    // Commands are obeyed in order: when this one shows, all before it were heard.
                    add(&world, &mut model, &mut random, "Task.0").await;
                    settled(&world, &model).await;
                    world.crash().await;
                    world.again().await;
                    model.early.clear();
                }
                6..12 => world.broker.set_down(true),
                12..20 => world.broker.set_down(false),
                _ => step(&world, &mut model, &mut random).await,
            }
        }
        world.broker.set_down(false);
        settled(&world, &model).await;

        eventually(&format!("seed {seed}: subscriptions are those of the running tasks"), || {
            let found: Vec<(String, String)> = world
                .broker
                .subscriptions()
                .values()
                .map(|one| (one.headers["fiware-correlator"].clone(), one.entity().to_owned()))
                .collect();
            let set: BTreeSet<_> = found.iter().cloned().collect();
            if found.len() == set.len() && set == model.subscriptions() {
                Ok(())
            } else {
                Err(format!("{found:?}, wanted {:?}", model.subscriptions()))
            }
        })
        .await;
        eventually(&format!("seed {seed}: states are those of the decisions"), || {
            let reports = world.of_kind::<fogflow_orchestration::WorkerTasks>(MessageType::WorkerTasks);
            let states: BTreeMap<_, _> = reports.last().unwrap().tasks.iter().map(|task| (task.task_id.clone(), task.status)).collect();
            if states == model.states() { Ok(()) } else { Err(format!("{states:?}, wanted {:?}", model.states())) }
        })
        .await;
        eventually(&format!("seed {seed}: directories are those of the tasks"), || {
            let directory = world.settings.directory.join("tasks");
            let found: BTreeSet<String> =
                std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            let wanted: BTreeSet<String> = model.tasks.keys().cloned().collect();
            if found == wanted { Ok(()) } else { Err(format!("{found:?}, wanted {wanted:?}")) }
        })
        .await;
        world.terminate().await;
    }
}
