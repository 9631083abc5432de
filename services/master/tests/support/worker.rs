//! Simulated workers on the bus: ours (full reports, generations) and upstream's (10 s heartbeat, neither).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fogflow_bus::{Message, Queue, SharedBus};
use fogflow_orchestration::{
    DesiredTasks, Envelope, FlowInfo, Location, MessageType, ScheduledTaskInstance, TaskState, TaskUpdate, WorkerProfile, WorkerTasks,
    routing,
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub struct Book {
    pub tasks: BTreeMap<String, ScheduledTaskInstance>,
    /// Every message that came, in order.
    pub received: Vec<(String, Value)>,
    /// Containers started: more than one per task is a doubled task.
    pub starts: BTreeMap<String, usize>,
    /// Removals that were to keep outputs.
    pub kept_outputs: Vec<String>,
    /// Reported instead of running.
    pub state: Option<TaskState>,
    pub epoch: u64,
}

#[derive(Clone)]
pub struct SimWorker {
    pub id: String,
    pub profile: WorkerProfile,
    pub book: Arc<Mutex<Book>>,
    bus: SharedBus,
    stop: CancellationToken,
}

impl SimWorker {
    pub async fn ours(bus: &SharedBus, id: &str, place: (f64, f64), capacity: u32) -> Self {
        let mut profile = profile(id, place, capacity);
        profile.engine = "docker".to_owned();
        profile.heartbeat_seconds = Some(1);
        profile.incarnation = "once".to_owned();
        Self::start(bus, profile, Book::default()).await
    }

    pub async fn upstream(bus: &SharedBus, id: &str, place: (f64, f64), capacity: u32) -> Self {
        Self::start(bus, profile(id, place, capacity), Book::default()).await
    }

    pub async fn start(bus: &SharedBus, profile: WorkerProfile, book: Book) -> Self {
        let worker = SimWorker {
            id: profile.id.clone(),
            profile,
            book: Arc::new(Mutex::new(book)),
            bus: bus.clone(),
            stop: CancellationToken::new(),
        };
        let queue = Queue { name: worker.id.clone(), bindings: routing::worker_bindings(&worker.id), prefetch: 3 };
        let mut subscription = bus.subscribe(queue).await.unwrap();
        let consumer = worker.clone();
        tokio::spawn(async move {
            loop {
                let delivery = tokio::select! {
                    () = consumer.stop.cancelled() => return,
                    delivery = subscription.next() => delivery,
                };
                let Some(delivery) = delivery else { return };
                let envelope: Envelope = serde_json::from_slice(&delivery.message().body).unwrap();
                consumer.handle(envelope).await;
                delivery.ack().await;
            }
        });
        let beater = worker.clone();
        tokio::spawn(async move {
            let mut kind = MessageType::WorkerJoin;
            loop {
                beater.beat(kind).await;
                kind = MessageType::WorkerHeartbeat;
                tokio::select! {
                    () = beater.stop.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_millis(300)) => {}
                }
            }
        });
        worker
    }

    fn is_upstream(&self) -> bool {
        self.profile.incarnation.is_empty()
    }

    async fn beat(&self, kind: MessageType) {
        let (profile, report) = {
            let book = self.book.lock();
            let workload = u32::try_from(book.tasks.len()).unwrap();
            let tasks = book.tasks.values().map(|task| self.update_of(task, book.state.unwrap_or(TaskState::Running))).collect();
            (
                WorkerProfile { workload, ..self.profile.clone() },
                WorkerTasks { worker_id: self.id.clone(), epoch: book.epoch, generation: None, tasks },
            )
        };
        self.say(routing::HEARTBEAT, kind, &profile).await;
        if !self.is_upstream() {
            self.say(routing::HEARTBEAT, MessageType::WorkerTasks, &report).await;
        }
    }

    fn update_of(&self, task: &ScheduledTaskInstance, status: TaskState) -> TaskUpdate {
        TaskUpdate {
            task_id: task.id.clone(),
            topology_name: task.topology_name.clone(),
            task_name: task.task_name.clone(),
            service_intent_id: task.service_intent_id.clone(),
            status,
            worker_id: if self.is_upstream() { String::new() } else { self.id.clone() },
            generation: if self.is_upstream() { None } else { task.generation },
            ..TaskUpdate::default()
        }
    }

    async fn handle(&self, envelope: Envelope) {
        self.book.lock().received.push((envelope.message_type.clone(), envelope.payload.clone()));
        match envelope.kind().unwrap() {
            MessageType::AddTask => self.add(serde_json::from_value(envelope.payload).unwrap()).await,
            MessageType::RemoveTask => self.remove(serde_json::from_value(envelope.payload).unwrap()).await,
            MessageType::AddInput => {
                let flow: FlowInfo = serde_json::from_value(envelope.payload).unwrap();
                let mut book = self.book.lock();
                let task = book.tasks.get_mut(&flow.task_instance_id).expect("an input for a task that it has");
                task.inputs.push(flow.input_stream);
                task.generation = flow.generation;
            }
            MessageType::RemoveInput => {
                let flow: FlowInfo = serde_json::from_value(envelope.payload).unwrap();
                let mut book = self.book.lock();
                let task = book.tasks.get_mut(&flow.task_instance_id).expect("an input of a task that it has");
                task.inputs.retain(|input| input.id != flow.input_stream.id);
                task.generation = flow.generation;
            }
            MessageType::DesiredTasks => {
                assert!(!self.is_upstream(), "upstream's worker does not know this message");
                let desired: DesiredTasks = serde_json::from_value(envelope.payload).unwrap();
                self.book.lock().epoch = desired.epoch;
                let surplus: Vec<ScheduledTaskInstance> = self
                    .book
                    .lock()
                    .tasks
                    .values()
                    .filter(|task| !desired.tasks.iter().any(|wanted| wanted.id == task.id))
                    .cloned()
                    .collect();
                for task in surplus {
                    let keep_outputs = desired.moved.contains(&task.id);
                    self.remove(ScheduledTaskInstance { keep_outputs, ..task }).await;
                }
                for task in desired.tasks {
                    self.add(task).await;
                }
            }
            _ => {}
        }
    }

    async fn add(&self, task: ScheduledTaskInstance) {
        let update = {
            let mut book = self.book.lock();
            book.epoch = book.epoch.max(task.epoch.unwrap_or(0));
            // Ours takes a repeated task as a correction; upstream's starts a second container (FAULT 6).
            if self.is_upstream() || !book.tasks.contains_key(&task.id) {
                *book.starts.entry(task.id.clone()).or_default() += 1;
            }
            let update = self.update_of(&task, book.state.unwrap_or(TaskState::Running));
            book.tasks.insert(task.id.clone(), task);
            update
        };
        self.say(routing::TASK, MessageType::TaskUpdate, &update).await;
    }

    async fn remove(&self, task: ScheduledTaskInstance) {
        let removed = {
            let mut book = self.book.lock();
            if task.keep_outputs {
                book.kept_outputs.push(task.id.clone());
            }
            book.tasks.remove(&task.id)
        };
        if let Some(removed) = removed {
            self.say(routing::TASK, MessageType::TaskUpdate, &self.update_of(&removed, TaskState::Removed)).await;
        }
    }

    async fn say(&self, key: &str, kind: MessageType, payload: &impl serde::Serialize) {
        let envelope = Envelope::new(kind, key, &self.id, payload).unwrap();
        let body = serde_json::to_vec(&envelope).unwrap().into();
        self.bus.publish(Message { routing_key: key.to_owned(), body, traceparent: None }).await.unwrap();
    }

    /// Dies without a word; its tasks stay in the book.
    pub fn kill(&self) -> Book {
        self.stop.cancel();
        std::mem::take(&mut *self.book.lock())
    }

    pub async fn leave(&self) {
        self.stop.cancel();
        self.say(routing::HEARTBEAT, MessageType::WorkerLeave, &self.profile).await;
    }

    pub fn task_ids(&self) -> Vec<String> {
        self.book.lock().tasks.keys().cloned().collect()
    }

    pub fn count(&self, kind: MessageType) -> usize {
        self.book.lock().received.iter().filter(|(word, _)| word == kind.as_str()).count()
    }
}

fn profile(id: &str, (latitude, longitude): (f64, f64), capacity: u32) -> WorkerProfile {
    WorkerProfile {
        id: id.to_owned(),
        location: Location { latitude, longitude },
        os: "linux".to_owned(),
        hardware: "amd64".to_owned(),
        capacity,
        ..WorkerProfile::default()
    }
}
